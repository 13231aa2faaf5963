"""A dry run sees what an agent would, and leaves no trace."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.bounds import ALWAYS
from agents.config import AgentConfig, BudgetConfig
from agents.dry_run import DryRun, Seen
from agents.errors import SourceError
from agents.executor import Wanted
from agents.planned import Choice, OwnQueries
from agents.planned_once import planned_once
from agents.sources import replay
from agents.sources.configs import DatagramsConfig, HiccupsConfig, ReplayConfig, StatsdConfig
from agents.sources.streams import BUILTIN_STREAMS
from agents.sources.udp import udp_socket, unix_socket
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import stream_schema
from pipeline.sql import compile_query
from tests.agents.live import HICCUPS, REQUESTS, requests_agent, send_requests
from tests.agents.plan_api import PlanApi, plan_api
from tests.agents.world import MACHINE, PLAN, probe_file, publisher_to, replay_config, truth
from tests.fleet import HOSTS, SCHEMA, TABLES, probe_plan

COUNTS = probe_plan("SELECT src, count(*) AS n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "counts")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the dry run may write; nothing stays there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def wanted(*plans: Plan) -> list[Wanted]:
    return [Wanted(Chain(plan, TABLES), ALWAYS.spans) for plan in plans]


def seen_of(config: AgentConfig, *plans: Plan, seconds: float = 30.0, most_rows: int = 10**9) -> Seen:
    return DryRun(config, wanted(*plans), most_rows=most_rows).run(seconds)


def seen_with_an_epoch(config: AgentConfig) -> Seen:
    """So long that an epoch is left behind the first part, which ends late where the machine is busy."""
    seen = seen_of(config, PLAN, seconds=2.0)
    for seconds in (6.0, 18.0):
        if seen.as_agent_cores is None:
            seen = seen_of(config, PLAN, seconds=seconds)
    return seen


def test_a_file_is_read_to_its_end_and_each_query_is_profiled(tmp_path: Path) -> None:
    path, records = probe_file(tmp_path, 20_000)
    seen = seen_of(replay_config(tmp_path, path, epoch_s=2.0, checkpoint_s=5.0), PLAN, COUNTS)
    (source,) = seen.sources
    assert (source.rows, source.streams, source.not_read) == (20_000, ("probes",), "")
    assert source.rows_per_s > 0
    assert seen.run_s < 30, "it ended with the file"
    probes, counts = seen.queries
    assert probes.costs is not None
    assert counts.costs is not None
    assert (probes.records, counts.records, probes.paced) == (20_000, 20_000, False)
    kept = (records["err"] == 0).mean()
    assert probes.costs.operators[0].selectivity == pytest.approx(kept, abs=0.01)
    assert probes.costs.records == pytest.approx(probes.records_per_s * 2.0), "per epoch of the configuration"
    assert probes.costs.groups.checkpoint_epochs == 3
    assert len(probes.costs.operators) == len(PLAN.stages)
    assert probes.costs.groups.distinct == pytest.approx(truth(records).height, abs=1)
    assert all(size > 0 for size in probes.costs.drained_bytes)
    assert seen.reading_s["probes"] > 0
    assert {one.name for one in tmp_path.iterdir()} == {"probes.csv", "temporary"}, "no spool, no log"


def test_of_a_file_without_a_pace_no_more_rows_are_read_than_say_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 5_000)
    path, _ = probe_file(tmp_path, 20_000)
    seen = seen_of(replay_config(tmp_path, path), PLAN, most_rows=5_000)
    assert seen.sources[0].rows == 5_000
    paced = ReplayConfig(stream="probes", path=str(path), rows_per_s=1e6)
    seen = seen_of(replay_config(tmp_path, path, sources=(paced,)), PLAN, most_rows=5_000)
    assert seen.sources[0].rows == 20_000
    assert seen.queries[0].paced
    assert seen.reading_s == {}


def test_what_cannot_wait_is_also_run_as_an_agent_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 100)
    path, _ = probe_file(tmp_path, 20_000)
    (tmp_path / "other").mkdir()
    other, _ = probe_file(tmp_path / "other", 20_000)
    paced = ReplayConfig(stream="probes", path=str(path), rows_per_s=1_000)
    unpaced = ReplayConfig(stream="probes", path=str(other))
    config = replay_config(tmp_path, path, sources=(paced,), epoch_s=0.2, checkpoint_s=0.4)
    seen = seen_with_an_epoch(config)
    assert seen.as_agent_cores is not None
    assert seen.as_agent_cores > 0
    assert seen.queries[0].records == seen.sources[0].rows, "also those of the second part"
    assert seen_of(replay_config(tmp_path, path), PLAN, seconds=1.0).as_agent_cores is None, "it can all wait"
    short = replay_config(tmp_path, path, sources=(paced,), epoch_s=0.8)
    assert seen_of(short, PLAN, seconds=1.0).as_agent_cores is None, "no epoch long"
    both = seen_with_an_epoch(replay_config(tmp_path, path, sources=(paced, unpaced), epoch_s=0.2))
    assert both.as_agent_cores is not None
    read_s = {one.name.endswith("other/probes.csv"): one.read_s for one in both.sources}
    assert read_s[True] < read_s[False], "a file that can wait waits"


def test_ports_and_paths_that_an_agent_listens_at_are_left_alone(tmp_path: Path) -> None:
    path, _ = probe_file(tmp_path, 1_000)
    with udp_socket("127.0.0.1:0") as held, unix_socket(tmp_path / "s"):
        port = f"127.0.0.1:{held.getsockname()[1]}"
        sources = (
            ReplayConfig(stream="probes", path=str(path)),
            StatsdConfig(listen=port),
            StatsdConfig(listen="", socket_path=str(tmp_path / "s")),
        )
        counted = compile_query(
            "lines", "SELECT count(*) AS n FROM statsd GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)", BUILTIN_STREAMS, {}
        )
        seen = seen_of(replay_config(tmp_path, path, sources=sources), PLAN, counted)
    told = [one.not_read for one in seen.sources if one.name.startswith("statsd")]
    assert ["another process" in reason for reason in told] == [True, True]
    assert any(port in reason for reason in told)


def test_it_disturbs_no_agent_that_runs_with_the_same_configuration(tmp_path: Path) -> None:
    path, _ = probe_file(tmp_path, 1_000)
    sources = (
        ReplayConfig(stream="probes", path=str(path)),
        DatagramsConfig(stream="api_requests", path=str(tmp_path / "rows.sock")),
    )
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = requests_agent(tmp_path, publisher, sources=sources)
        seen = seen_of(agent._config, PLAN, REQUESTS)
        send_requests(str(tmp_path / "rows.sock"), 5)
        agent.turn()
        assert agent.counters()["records_in_total"] == 5
        agent.close()
        by_name = {one.name: one for one in seen.sources}
        skipped = by_name[f"datagrams:api_requests:{tmp_path / 'rows.sock'}"]
        assert "another process listens on" in skipped.not_read
        assert seen.queries[1].costs is None
        again = Agent(replay_config(tmp_path, path), [PLAN], TABLES, publisher, machine=MACHINE)
        again.turn()
        assert again.sources[0].rows == 1_000, "its place is its own"
        again.close()


def test_a_live_source_is_taken_as_it_is_and_let_go_of(tmp_path: Path) -> None:
    config = AgentConfig(
        sources=(
            HiccupsConfig(),
            DatagramsConfig(stream="api_requests", path=str(tmp_path / "rows.sock")),
            DatagramsConfig(stream="jobs", path=str(tmp_path / "jobs.sock")),
        ),
        streams={"jobs": {"queue": "string"}},
    )
    seen = seen_of(config, HICCUPS, REQUESTS, seconds=0.6)
    for seconds in (2.0, 6.0, 18.0):  # so long that the sampler, a process of its own, has started
        if not any(one.rows for one in seen.sources):
            seen = seen_of(config, HICCUPS, REQUESTS, seconds=seconds)
    hiccups, requests, jobs = sorted(
        seen.sources, key=lambda one: ("hiccups", "api_requests", "jobs").index(one.streams[0])
    )
    assert hiccups.rows > 0
    assert (requests.rows, requests.not_read) == (0, "")
    assert jobs.not_read == "no query reads it"
    assert seen.idle.samplers == 1
    assert not (tmp_path / "rows.sock").exists()


def test_a_budget_that_an_idle_agent_does_not_fit_into_is_named(tmp_path: Path) -> None:
    path, _ = probe_file(tmp_path, 100)
    enough = seen_of(replay_config(tmp_path, path, budget=BudgetConfig(cores=1.0)), PLAN)
    assert (enough.refused, enough.budget_cores, enough.budget_from) == ("", 1.0, "cores")
    scarce = seen_of(replay_config(tmp_path, path, budget=BudgetConfig(cores=1e-9)), PLAN)
    assert "agent.budget.cores is 1e-09" in scarce.refused


def test_nothing_to_read_and_what_cannot_be_opened_are_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"agent\.sources is empty"):
        seen_of(AgentConfig(sources=()), PLAN)
    with pytest.raises(SourceError, match=r"hiccups: no query reads it"):
        seen_of(AgentConfig(sources=(HiccupsConfig(),)), PLAN)
    with pytest.raises(SourceError, match=r"missing\.csv"):
        seen_of(replay_config(tmp_path, tmp_path / "missing.csv"), PLAN)


OWN = OwnQueries([Chain(COUNTS, {})], {}, {"probes": stream_schema(SCHEMA)})


def asked(folder: Path, api: PlanApi, *, asks_api: bool = True) -> tuple[Choice, list[str]]:
    config = AgentConfig(id="a", spool_path=str(folder / "spool.db"), plan_url=api.url)
    return planned_once(config, OWN, asks_api=asks_api)


def test_the_api_is_asked_once_and_nothing_is_kept(tmp_path: Path) -> None:
    with plan_api() as api:
        api.upload(HOSTS)
        api.say(PLAN)
        choice, remarks = asked(tmp_path, api)
        assert [one.chain.plan for one in choice.wanted] == [PLAN, COUNTS]
        assert remarks == []
        assert [path for path, _ in api.asked if "/plan" in path] == ["/api/v1/agents/a/plan"]
        before = len(api.asked)
        choice, remarks = asked(tmp_path, api, asks_api=False)
        assert [one.chain.plan for one in choice.wanted] == [COUNTS]
        assert remarks == [f"the API at {api.url} is not asked"]
        assert len(api.asked) == before
        api.status = 503
        choice, remarks = asked(tmp_path, api)
        assert [one.chain.plan for one in choice.wanted] == [COUNTS]
        assert "status 503" in remarks[0]
    assert [one.name for one in tmp_path.iterdir()] == ["temporary"]
