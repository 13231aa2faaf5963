"""One agent that is told what to run while it runs: what it says of itself, and what of a restart."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import polars as pl
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.sources import replay
from agents.sources.configs import DatagramsConfig, ReplayConfig
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.sql import compile_query
from tests.agents.live import REQUESTS, got, requests_agent, send_requests, turned, until
from tests.agents.plan_api import PlanApi, plan_api
from tests.agents.transports import Clock
from tests.agents.world import MACHINE, PLAN, publisher_to, received, records_in
from tests.counterparts.choice import free_port
from tests.fleet import HOSTS, SCHEMA, START_NS, WINDOW_NS, probe_plan
from wire.frame import decode_frame
from wire.heartbeat import FINISHED_NS, Heartbeat, QueryProgress, decode_heartbeat
from wire.transport import Publisher

COUNTS = probe_plan("SELECT src, count(*) AS n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "counts")
STREAM = {name: kind for name, kind in SCHEMA.items() if name not in ("ts", "host")}
NEXT = compile_query(
    "requests",
    "SELECT route, sum(status) AS status_total, count(*) AS n FROM api_requests "
    "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), route",
    {"api_requests": {"route": "string", "status": "int64"}},
    {},
)


@pytest.fixture
def api() -> Iterator[PlanApi]:
    with plan_api() as made:
        made.upload(HOSTS)
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which files with a pace are read: none comes to its end while a test waits for something else."""
    made = Clock()
    monkeypatch.setattr(replay, "time", SimpleNamespace(monotonic=made))
    return made


def beats(folder: Path) -> list[Heartbeat]:
    frames = sorted(
        (decode_frame(record.payload) for record in records_in(folder / "log.db")), key=lambda f: f.header.created_ns
    )
    return [decode_heartbeat(frame.body) for frame in frames if frame.header.kind == "heartbeat"]


def progress(folder: Path, plan: Plan) -> QueryProgress | None:
    """What the last heartbeat says of a version."""
    return next((one for one in beats(folder)[-1].queries if one.version == plan.version), None)


def handed_over(agent: Agent) -> None:
    agent.checkpoint()
    assert turned(agent, lambda: not agent.spool.frames)


def probe_agent(folder: Path, publisher: Publisher, api: PlanApi, **changes: object) -> Agent:
    """An agent without queries of its own and a socket for probes."""
    values: dict[str, object] = {
        "id": "agent-1",
        "host": "h",
        "spool_path": str(folder / "spool.db"),
        "policy": "all-src",
        "checkpoint_s": 60.0,
        "streams": {"probes": STREAM},
        "sources": (DatagramsConfig(stream="probes", path=str(folder / "rows.sock")),),
        "plan_url": api.url,
        "plan_poll_s": 0.1,
    }
    return Agent(AgentConfig(**(values | changes)), [], {}, publisher, machine=MACHINE)  # type: ignore[arg-type]


def test_a_source_that_nobody_had_asked_for_starts_with_the_first_query_of_it(tmp_path: Path, api: PlanApi) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = probe_agent(tmp_path, publisher, api)
        assert agent.sources == []
        assert not (tmp_path / "rows.sock").exists()
        api.say(PLAN)
        assert turned(agent, lambda: agent.sources)
        begun_ns = agent.sources[0].first_ns
        assert begun_ns is not None
        handed_over(agent)
        assert "plan_failures_total" in beats(tmp_path)[-1].counters
        agent.close()
    said = progress(tmp_path, PLAN)
    assert said is not None
    assert said.first_ns == begun_ns <= said.watermark_ns


def test_a_version_vouches_from_when_it_was_run_and_no_further_than_its_end(
    tmp_path: Path, api: PlanApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_ns, now_ns = 0, time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + ahead_ns)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = requests_agent(tmp_path, publisher, plan_url=api.url, plan_poll_s=0.1)
        assert turned(agent, lambda: (agent.sources[0].watermark_ns or 0) > (agent.sources[0].first_ns or 0))
        change_ns = (time.time_ns() // 10**9 + 3600) * 10**9
        spans = {REQUESTS.version: (None, change_ns), NEXT.version: (change_ns, None)}
        api.say(REQUESTS, NEXT, spans=spans)
        assert turned(agent, lambda: len(agent.executor.runs) == 2)
        handed_over(agent)
        assert progress(tmp_path, NEXT) is None, "it has not begun"
        ahead_ns = 2 * 3600 * 10**9
        assert turned(agent, lambda: (agent.sources[0].watermark_ns or 0) > change_ns)
        handed_over(agent)
        old, new = progress(tmp_path, REQUESTS), progress(tmp_path, NEXT)
        assert old is not None
        assert new is not None
        assert old.watermark_ns == new.first_ns == change_ns < new.watermark_ns
        agent.close()


def test_a_query_that_comes_while_a_file_is_read_does_not_vouch_for_the_rows_before(
    tmp_path: Path, api: PlanApi, clock: Clock
) -> None:
    rows = pl.DataFrame(
        {"ts": [START_NS + i * WINDOW_NS // 100 for i in range(200)], "src": "a", "rtt_us": 5, "load": 1.0, "err": 0}
    )
    rows.write_csv(tmp_path / "probes.csv")
    source = ReplayConfig(stream="probes", path=str(tmp_path / "probes.csv"), rows_per_s=100.0)
    api.say(PLAN)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = probe_agent(tmp_path, publisher, api, sources=(source,))
        clock.now_s += 0.25
        assert turned(agent, lambda: agent.sources[0].rows == 25)
        api.say(PLAN, COUNTS)
        assert turned(agent, lambda: len(agent.executor.runs) == 2)
        clock.now_s += 0.25
        assert turned(agent, lambda: agent.sources[0].rows == 50)
        handed_over(agent)
        begun_ns = agent.lineup.readers.missed()[COUNTS.version][1]
        assert begun_ns > START_NS
        agent.abandon()
        again = probe_agent(tmp_path, publisher, api, sources=(source,))
        clock.now_s += 2.0
        assert turned(again, lambda: again.sources[0].source.finished)
        handed_over(again)
        again.close()
    said = {plan.query: progress(tmp_path, plan) for plan in (PLAN, COUNTS)}
    assert {name: one and (one.watermark_ns, one.interrupted_to_ns) for name, one in said.items()} == {
        "probes": (FINISHED_NS, None),
        "counts": (FINISHED_NS, begun_ns),
    }
    frames = [decode_frame(record.payload) for record in records_in(tmp_path / "log.db")]
    assert {frame.header.query for frame in frames if frame.header.kind == "partial"} == {"probes", "counts"}


def test_a_retired_query_of_the_file_takes_no_more_records(tmp_path: Path, api: PlanApi) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = requests_agent(tmp_path, publisher, plan_url=api.url, plan_poll_s=0.1)
        path = str(tmp_path / "rows.sock")
        send_requests(path, 3)
        assert turned(agent, lambda: agent.samples() and sum(agent.intake.records_in.values()) == 3)
        api.say(retired=("requests",))
        assert turned(agent, lambda: not agent.executor.runs)
        send_requests(path, 5)
        assert turned(agent, lambda: agent.sources[0].rows == 8)
        handed_over(agent)
        agent.close()
    got_rows = received(tmp_path / "log.db", Chain(REQUESTS, {}))
    assert sum(sum(partial.record_counts().values()) for partial in got_rows.partials) == 3
    assert progress(tmp_path, REQUESTS) is None


def test_what_is_refused_and_what_fails_shows_on_metrics_and_health_but_not_as_ill(
    tmp_path: Path, api: PlanApi
) -> None:
    odd = compile_query(
        "odd", "SELECT count(*) AS n FROM api_requests WHERE colour = 'red' GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)",
        {"api_requests": {"colour": "string"}}, {},
    )  # fmt: skip
    api.say(odd, COUNTS)
    port = free_port()
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = requests_agent(tmp_path, publisher, plan_url=api.url, plan_poll_s=0.1, metrics_port=port)
        api.status = 500
        assert turned(agent, lambda: agent._planner is not None and agent._planner.failures["refused"])
        handed_over(agent)
        page = got(port, "/metrics")[1].decode()
        for line in (
            'tailwatch_agents_plan_versions{state="running"} 1',
            'tailwatch_agents_plan_versions{state="refused"} 1',
            'tailwatch_agents_plan_versions{state="no_source"} 1',
            'tailwatch_agents_plan_failures_total{reason="refused"}',
        ):
            assert line in page
        status, health = got(port, "/healthz")
        assert (status, health.decode().splitlines()[0]) == (200, "ok")
        assert "plan: refused odd" in health.decode()
        assert "no column 'colour' here" in health.decode()
        assert "plan: none from the API for" in health.decode()
        agent.close()
    assert beats(tmp_path)[-1].counters["plan_queries_refused"] == 1
    assert msgspec.to_builtins(beats(tmp_path)[-1])["counters"]["plan_failures_total"] >= 1


def test_a_kill_between_keeping_a_plan_and_running_it_vouches_for_no_row_before(
    tmp_path: Path, api: PlanApi, clock: Clock
) -> None:
    rows = pl.DataFrame(
        {"ts": [START_NS + i * WINDOW_NS // 100 for i in range(200)], "src": "a", "rtt_us": 5, "load": 1.0, "err": 0}
    )
    rows.write_csv(tmp_path / "probes.csv")
    source = ReplayConfig(stream="probes", path=str(tmp_path / "probes.csv"), rows_per_s=100.0)
    api.say(PLAN)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = probe_agent(tmp_path, publisher, api, sources=(source,))
        clock.now_s += 0.25
        assert turned(agent, lambda: agent.sources[0].rows == 25)
        agent.checkpoint()
        read = agent.sources[0].watermark_ns
        api.say(PLAN, COUNTS)
        assert until(lambda: agent._planner is not None and len(agent._planner.choice.wanted) == 2)
        agent.abandon()
        again = probe_agent(tmp_path, publisher, api, sources=(source,))
        assert read is not None
        missed = again.lineup.readers.missed()
        assert missed == {COUNTS.version: (START_NS, read + 1)}
        again.abandon()
        once_more = probe_agent(tmp_path, publisher, api, sources=(source,))
        assert once_more.lineup.readers.missed() == missed
        once_more.close()


def test_a_file_that_was_read_before_and_is_opened_late_vouches_for_no_row_before(
    tmp_path: Path, api: PlanApi, clock: Clock
) -> None:
    rows = pl.DataFrame(
        {"ts": [START_NS + i * WINDOW_NS // 100 for i in range(200)], "src": "a", "rtt_us": 5, "load": 1.0, "err": 0}
    )
    rows.write_csv(tmp_path / "probes.csv")
    source = ReplayConfig(stream="probes", path=str(tmp_path / "probes.csv"), rows_per_s=100.0)
    api.say(PLAN)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = probe_agent(tmp_path, publisher, api, sources=(source,))
        clock.now_s += 0.25
        assert turned(agent, lambda: agent.sources[0].rows == 25)
        agent.checkpoint()
        read = agent.sources[0].watermark_ns
        api.say()
        assert turned(agent, lambda: not agent.executor.runs)
        agent.abandon()
        again = probe_agent(tmp_path, publisher, api, sources=(source,))
        assert again.sources == []
        api.say(COUNTS)
        assert turned(again, lambda: again.sources)
        assert read is not None
        assert again.lineup.readers.missed() == {COUNTS.version: (START_NS, read + 1)}
        again.close()
