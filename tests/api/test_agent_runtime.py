"""What operators see of the agents' runtime: from frames that an agent makes, through log and collector, to the API."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from agents.checkpoint import Checkpointer
from agents.executor import Executor
from agents.sources.source import Batch
from agents.spool import Spool
from agents.uplink import Uplink
from api.fleet_models import AgentDetail, AgentsPage
from collector.config import CollectorConfig
from collector.plans import Plans
from collector.runner import Collector
from store.agent_status import AgentStatus, write_statuses
from store.connect import open_engine, upgrade
from tests.agents.world import MACHINE, PLAN
from tests.api.world import asking
from tests.fleet import SECOND_NS, START_NS, TABLES, probe_records
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.status import Labels, ProxyStatus, QueryStatus, Status

NOW_NS = START_NS + 45 * SECOND_NS
PROXIES = [ProxyStatus("filter", 1.0, 60, 60, 0), ProxyStatus("aggregate", 0.75, 54, 40, 3)]
STATUS = Status(
    "agent-1", 0, "adaptive", "adapt", 3, 1.0, 0.5, "cgroup_share", 0.48, "sampling", 0.25,
    [QueryStatus("probes", PLAN.version, PROXIES, 1_250.0, 1_200.0)], left_out=2,
)  # fmt: skip
RUNTIME = {
    "policy": "adaptive",
    "state": "adapt",
    "epochs_in_state": 3,
    "epoch_s": 1.0,
    "budget_cores": 0.5,
    "budget_from": "cgroup_share",
    "cpu_cores": 0.48,
    "breaker": "sampling",
    "sampled": 0.25,
    "queries": [
        {
            "query": "probes",
            "version": PLAN.version,
            "proxies": [
                {"operator": "filter", "share": 1.0, "reached": 60, "local": 60, "overflowed": 0},
                {"operator": "aggregate", "share": 0.75, "reached": 54, "local": 40, "overflowed": 3},
            ],
            "wire_bytes_per_s": 1_250.0,
            "predicted_bytes_per_s": 1_200.0,
        }
    ],
    "queries_left_out": 2,
}


class Gathered(Executor):
    """Gives a checkpoint what the test gathered."""

    def __init__(self) -> None:
        super().__init__([], {}, "h", "all-src")
        self.deltas: list[Any] = []

    def take(self) -> list[Any]:
        taken, self.deltas = self.deltas, []
        return taken


class Pipeline:
    """An agent's checkpoints, the log, a collector and a database; what is gathered and said is the test's."""

    def __init__(self, folder: Path, url: str) -> None:
        upgrade(url)
        self.url = url
        self.engine = open_engine(url)
        plans = Plans(self.engine, TABLES)
        plans.register([PLAN], 0, 0)
        self.publisher = EmbeddedPublisher(folder / "log.db")
        self.spool = Spool(folder / "spool.db", MACHINE, 2**26)
        self.uplink = Uplink(self.spool, self.publisher)
        subscriber = EmbeddedSubscriber(folder / "log.db")
        self.collector = Collector(CollectorConfig(flush_interval_s=1e-9), self.engine, plans, subscriber)
        self.queries = Gathered()
        self.status: Status | None = STATUS
        self.begin(START_NS)

    def begin(self, now_ns: int) -> None:
        """A start of the agent."""
        self.checkpointer = Checkpointer(
            self.spool, self.spool.begin("agent-1", now_ns), self.queries, [],
            host="h", machine=MACHINE, counters=dict, status=lambda: self.status,
        )  # fmt: skip

    def checkpoint(self, now_ns: int) -> None:
        """From the agent to the database."""
        self.checkpointer.take(now_ns)
        self.uplink.drain(10.0)
        for _ in range(6):
            self.collector.step(0.0)

    def say(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(STATUS, **changes)

    def close(self) -> None:
        self.spool.close()
        self.publisher.close()
        self.engine.dispose()


@pytest.fixture
def pipeline(tmp_path: Path, upgraded_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """On SQLite and PostgreSQL in turn. The collector's clock stands, too: it forgets starts that are a week old."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    made = Pipeline(tmp_path, upgraded_url)
    yield made
    made.close()


def shown(url: str, now_ns: int = NOW_NS) -> Any:
    """The agent's runtime, the same in the list and on its own."""
    with asking(url, now_ns=lambda: now_ns) as client:
        page, one = client.get("/api/v1/agents"), client.get("/api/v1/agents/agent-1")
    AgentsPage.model_validate_json(page.content, strict=True)
    AgentDetail.model_validate_json(one.content, strict=True)
    (listed,) = page.json()["agents"]
    assert listed["runtime"] == one.json()["runtime"]
    return listed["runtime"]


def test_what_the_runtime_decided_goes_from_the_agent_to_the_api(pipeline: Pipeline) -> None:
    pipeline.checkpoint(START_NS)
    at = {"sent": "2026-11-18T11:06:40Z", "sent_ns": START_NS, "age_s": 45.0}
    assert shown(pipeline.url) == RUNTIME | at
    pipeline.say(breaker="closed", sampled=1.0)
    pipeline.checkpoint(START_NS + 2 * SECOND_NS)
    assert {name: shown(pipeline.url)[name] for name in ("breaker", "sampled", "age_s")} == {
        "breaker": "closed",
        "sampled": 1.0,
        "age_s": 43.0,
    }


def test_a_new_start_shows_nothing_until_it_has_said_something(pipeline: Pipeline) -> None:
    pipeline.checkpoint(START_NS)
    pipeline.status = None
    pipeline.begin(START_NS + 20 * SECOND_NS)
    pipeline.checkpoint(START_NS + 20 * SECOND_NS)
    assert shown(pipeline.url) is None
    pipeline.say(state="profile")
    pipeline.checkpoint(START_NS + 22 * SECOND_NS)
    assert shown(pipeline.url)["state"] == "profile"


def test_where_the_agent_stands_goes_there_too_and_outlives_its_start(pipeline: Pipeline) -> None:
    def labels() -> dict[str, str]:
        with asking(pipeline.url, now_ns=lambda: NOW_NS) as client:
            (listed,) = client.get("/api/v1/agents").json()["agents"]
            one = client.get("/api/v1/agents/agent-1").json()
        assert listed["labels"] == one["labels"]
        return dict(one["labels"])

    pipeline.checkpoint(START_NS)
    assert labels() == {"rack": "", "tor": "", "dc": ""}
    pipeline.say(labels=Labels(rack="r12", dc="fra1"))
    pipeline.checkpoint(START_NS + 2 * SECOND_NS)
    assert labels() == {"rack": "r12", "tor": "", "dc": "fra1"}
    pipeline.status = None
    pipeline.begin(START_NS + 20 * SECOND_NS)
    pipeline.checkpoint(START_NS + 20 * SECOND_NS)
    assert labels() == {"rack": "r12", "tor": "", "dc": "fra1"}


def test_a_text_that_another_release_wrote_otherwise_is_no_runtime_and_no_failure(pipeline: Pipeline) -> None:
    pipeline.checkpoint(START_NS)
    incarnation = pipeline.checkpointer.incarnation
    with pipeline.engine.begin() as connection:
        odd = AgentStatus("agent-1", incarnation.id, START_NS, 99, START_NS, '{"agent": "agent-1"}')
        write_statuses(connection, [odd], START_NS)
    assert shown(pipeline.url) is None


def test_a_retired_agent_has_no_runtime(pipeline: Pipeline) -> None:
    pipeline.checkpoint(START_NS)
    with asking(pipeline.url, now_ns=lambda: NOW_NS + 3600 * SECOND_NS) as client:
        assert client.request("DELETE", "/api/v1/agents/agent-1").status_code == 200
    with pipeline.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM agent_status")).scalar_one() == 0
    assert shown(pipeline.url, NOW_NS + 3600 * SECOND_NS) is None


def test_what_an_agent_sampled_out_is_in_every_answer_about_its_windows(pipeline: Pipeline) -> None:
    records = probe_records(60, seed=5, windows=1)
    executor = Executor([PLAN], TABLES, "h", "all-src")
    executor.add(Batch("probes", records))
    (delta,) = executor.take()
    for item in ("in", "sampled_out"):
        delta.manifest.add(item, np.array([START_NS]), np.array([180]))
    pipeline.queries.deltas = [delta]
    pipeline.checkpoint(START_NS + 11 * SECOND_NS)
    with asking(pipeline.url, now_ns=lambda: NOW_NS) as client:
        asked = {"start": str(START_NS // SECOND_NS), "end": str(START_NS // SECOND_NS + 10)}
        for path, name in (("quantiles", "rtt_us"), ("distribution", "rtt_us"), ("values", "probes_total")):
            answer = client.get(f"/api/v1/{path}", metric=name, **asked).json()
            for coverage in (answer["coverage"], answer["groups"][0]["coverage"]):
                assert (coverage["sampled_out"], coverage["sampled_share"]) == (180, 0.25)
                assert (coverage["records_known"], coverage["ratio"]) == (240, 0.25)
            header, row = client.get(f"/api/v1/{path}", metric=name, format="csv", **asked).text.splitlines()[:2]
            assert header.split(",")[-2:] == ["coverage", "sampled_share"]
            assert row.split(",")[-2:] == ["0.25", "0.25"]
        told = client.get(
            "/prometheus/api/v1/query", query="sum(increase(probes_total[10s]))", time=asked["end"]
        ).json()
    assert told["warnings"][0].startswith("agents over their CPU budget sampled out 180 records")
