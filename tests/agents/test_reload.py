"""A running agent takes over another configuration, whole or not at all."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.bounds import ALWAYS
from agents.config import AgentConfig, BudgetConfig, LabelsConfig
from agents.errors import (
    AgentError,
    BudgetTooSmallError,
    MetricsPortError,
    NeedsRestartError,
    ReloadError,
    SourceError,
    SpoolWriteError,
)
from agents.executor import Wanted
from agents.own_metrics import page_of
from agents.progress import SourceProgress
from agents.reload import NewSetup, Refusal, source_changes
from agents.runner import Reloads
from agents.sources import replay
from agents.sources.configs import DatagramsConfig, HostConfig, ReplayConfig
from agents.sources.datagrams import DatagramsSource
from agents.sources.host import HostSource
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import stream_schema
from pipeline.sql import compile_query
from tests.agents.live import REQUESTS, got, requests_agent, send_requests, turned, until
from tests.agents.plan_api import plan_api
from tests.agents.world import (
    MACHINE,
    PLAN,
    Received,
    assert_same_answer,
    probe_file,
    publisher_to,
    received,
    replay_config,
    truth,
)
from tests.counterparts.choice import free_port
from tests.fleet import SCHEMA, TABLES, probe_plan
from wire.embedded import EmbeddedPublisher
from wire.heartbeat import Heartbeat
from wire.status import Labels

COUNTS = probe_plan("SELECT src, count(*) AS n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "counts")
NEXT = compile_query(
    "requests",
    "SELECT route, count(*) AS n FROM api_requests GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), route",
    {"api_requests": {"route": "string"}},
    {},
)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[EmbeddedPublisher]:
    with publisher_to(tmp_path / "log.db") as made:
        yield made


def setup(config: AgentConfig, *plans: Plan) -> NewSetup:
    return NewSetup.of(config, plans, TABLES)


def requests_config(folder: Path, *sockets: str, **changes: object) -> AgentConfig:
    values: dict[str, object] = {
        "id": "agent-1",
        "spool_path": str(folder / "spool.db"),
        "policy": "all-src",
        "checkpoint_s": 60.0,
        "sources": tuple(DatagramsConfig(stream="api_requests", path=str(folder / name)) for name in sockets),
    }
    return AgentConfig(**(values | changes))  # type: ignore[arg-type]


def rows_of(got: Received) -> tuple[int, int]:
    windows = got.manifest().windows().values()
    return sum(window.n_in for window in windows), sum(window.n_local for window in windows)


def stored(agent: Agent, folder: Path, chain: Chain) -> Received:
    agent.checkpoint()
    assert turned(agent, lambda: not agent.spool.frames)
    return received(folder / "log.db", chain)


def newest(got: Received) -> Heartbeat:
    return max(got.heartbeats, key=lambda beat: beat.sent_ns)


def test_what_changes_is_told_from_what_stays(tmp_path: Path) -> None:
    path, _ = probe_file(tmp_path, 10)
    columns = stream_schema(SCHEMA)
    running = [
        SourceProgress(source, None, 1)
        for source in (
            HostSource(1.0),
            replay.ReplaySource("probes", path, columns),
            DatagramsSource("api_requests", tmp_path / "a.sock", columns),
        )
    ]
    host, file, live = (one.source.name for one in running)
    entries = {
        host: HostConfig(),
        file: ReplayConfig(stream="probes", path=str(path)),
        live: DatagramsConfig(stream="api_requests", path=str(tmp_path / "a.sock")),
    }
    more = replay.ReplaySource("probes", path, stream_schema({"src": "string"}))
    added = DatagramsSource("api_requests", tmp_path / "b.sock", columns)
    changes = source_changes(
        running, entries, [HostSource(2.0), more, added], {host: HostConfig(interval_s=2.0), file: entries[file]}
    )
    assert changes.kept == []
    assert [one.source.name for one, _ in changes.changed] == [host, file], "another entry, other columns"
    assert changes.removed == [running[2]]
    assert changes.added == [added]
    same = source_changes(running, entries, [one.source for one in running], entries)
    assert same.kept == running
    running[0].failure = "gone"
    assert [one for one, _ in source_changes(running, entries, [HostSource()], entries).changed] == [running[0]]
    for one in running:
        one.source.close()


def test_rows_before_and_after_belong_to_the_queries_of_their_time(
    tmp_path: Path, publisher: EmbeddedPublisher
) -> None:
    agent = requests_agent(tmp_path, publisher)
    send_requests(str(tmp_path / "rows.sock"), 5)
    agent.turn()
    agent.reload(setup(requests_config(tmp_path, "rows.sock", checkpoint_s=59.0), NEXT))
    send_requests(str(tmp_path / "rows.sock"), 7)
    agent.close()
    assert rows_of(received(tmp_path / "log.db", Chain(REQUESTS, {}))) == (5, 5)
    assert rows_of(received(tmp_path / "log.db", Chain(NEXT, {}))) == (7, 7)
    assert len({header.incarnation for header in received(tmp_path / "log.db", Chain(NEXT, {})).headers}) == 1


def test_a_file_goes_on_at_its_place_also_with_other_columns_and_another_pace(
    tmp_path: Path, publisher: EmbeddedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 100)
    path, records = probe_file(tmp_path, 1_000)
    agent = Agent(replay_config(tmp_path, path), [COUNTS], TABLES, publisher, machine=MACHINE)
    assert turned(agent, lambda: agent.sources[0].rows >= 300)
    taken = agent.sources[0].rows
    paced = ReplayConfig(stream="probes", path=str(path), rows_per_s=1e6)
    agent.reload(setup(replay_config(tmp_path, path, sources=(paced,)), COUNTS, PLAN))
    assert turned(agent, lambda: agent.sources[0].source.finished)
    agent.close()
    counts = Chain(COUNTS, {})
    whole = received(tmp_path / "log.db", counts)
    assert rows_of(whole) == (1_000, 1_000)
    rest = received(tmp_path / "log.db", Chain(PLAN, TABLES))
    assert_same_answer(rest.merged(), truth(records[taken:]))


def test_a_file_that_was_away_is_read_on_where_it_was_left(
    tmp_path: Path, publisher: EmbeddedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 100)
    path, records = probe_file(tmp_path, 1_000)
    config = replay_config(tmp_path, path)
    agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
    assert turned(agent, lambda: agent.sources[0].rows >= 300)
    agent.reload(setup(replay_config(tmp_path, path, sources=()), PLAN))
    assert agent.sources == []
    agent.reload(setup(config, PLAN))
    assert turned(agent, lambda: agent.sources[0].source.finished)
    agent.close()
    assert_same_answer(received(tmp_path / "log.db").merged(), truth(records))


def test_a_live_source_that_goes_is_taken_in_to_its_end(tmp_path: Path, publisher: EmbeddedPublisher) -> None:
    agent = requests_agent(tmp_path, publisher)
    send_requests(str(tmp_path / "rows.sock"), 5)
    agent.reload(setup(requests_config(tmp_path, "other.sock"), REQUESTS))
    assert not (tmp_path / "rows.sock").exists()
    send_requests(str(tmp_path / "other.sock"), 3)
    agent.close()
    assert rows_of(received(tmp_path / "log.db", Chain(REQUESTS, {}))) == (8, 8)


def test_a_live_query_that_was_away_does_not_seem_to_have_been_there(
    tmp_path: Path, publisher: EmbeddedPublisher
) -> None:
    chain = Chain(REQUESTS, {})
    agent = requests_agent(tmp_path, publisher)
    first = newest(stored(agent, tmp_path, chain))
    agent.reload(setup(requests_config(tmp_path, "rows.sock")))
    assert newest(stored(agent, tmp_path, chain)).queries == []
    back_ns = time.time_ns()
    agent.reload(setup(requests_config(tmp_path, "rows.sock"), REQUESTS))
    turned(agent, lambda: (agent.sources[0].watermark_ns or 0) > back_ns)
    last = newest(stored(agent, tmp_path, chain))
    assert last.started_ns > first.started_ns, "collectors take it for a new start"
    assert last.queries[0].first_ns >= back_ns
    agent.close()


def test_a_live_source_that_changes_goes_on_vouching(tmp_path: Path, publisher: EmbeddedPublisher) -> None:
    streams = {"jobs": {"queue": "string"}}
    chain = Chain(compile_query("jobs", JOBS, {"jobs": {"queue": "string"}}, {}), {})
    source = (DatagramsConfig(stream="jobs", path=str(tmp_path / "jobs.sock")),)
    config = requests_config(tmp_path, sources=source, streams=streams)
    agent = Agent(config, [chain.plan], {}, publisher, machine=MACHINE)
    first = newest(stored(agent, tmp_path, chain)).queries[0].first_ns
    wider = requests_config(tmp_path, sources=source, streams={"jobs": {"queue": "string", "wait_ms": "float64"}})
    agent.reload(NewSetup(wider, [chain], {}))
    agent.turn()
    last = newest(stored(agent, tmp_path, chain))
    assert last.queries[0].first_ns == first
    assert list(agent.sources[0].source.streams["jobs"]) == ["ts", "host", "queue", "wait_ms"]
    agent.close()


JOBS = "SELECT queue, count(*) AS n FROM jobs GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), queue"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "other"}, "agent.id is 'agent-1' and would be 'other'.*restart"),
        ({"host": "h2"}, "agent.host is '' and would be 'h2'"),
        ({"spool_path": "/elsewhere"}, "agent.spool_path is"),
    ],
)
def test_what_needs_a_restart_is_refused_by_its_key(
    tmp_path: Path, publisher: EmbeddedPublisher, changes: dict[str, object], said: str
) -> None:
    agent = requests_agent(tmp_path, publisher)
    with pytest.raises(NeedsRestartError, match=said):
        agent.reload(setup(requests_config(tmp_path, "rows.sock", **changes), NEXT))
    assert [run.chain.plan for run in agent.executor.runs] == [REQUESTS]
    agent.abandon()


def test_a_source_that_cannot_be_opened_leaves_all_as_it_was(
    tmp_path: Path, publisher: EmbeddedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = requests_agent(tmp_path, publisher)
    missing = ReplayConfig(stream="probes", path=str(tmp_path / "missing.csv"))
    fresh = DatagramsConfig(stream="api_requests", path=str(tmp_path / "new.sock"))
    plain = DatagramsConfig(stream="api_requests", path=str(tmp_path / "plain"))
    (tmp_path / "plain").write_text("no socket")
    config = requests_config(tmp_path, sources=(fresh, missing), metrics_port=free_port())
    with pytest.raises(AgentError, match=r"missing\.csv"):
        agent.reload(setup(config, NEXT, PLAN))
    with pytest.raises(AgentError, match="is no socket"):
        agent.reload(setup(requests_config(tmp_path, sources=(fresh, plain)), NEXT))
    assert not (tmp_path / "new.sock").exists(), "opened before the other one failed"
    assert got(config.metrics_port, "/healthz")[0] == 0, "its port is let go of"
    # A socket that another stream is to have must be let go of first.
    taken_over = DatagramsConfig(stream="probes", path=str(tmp_path / "rows.sock"))
    opened = DatagramsSource.open
    monkeypatch.setattr(DatagramsSource, "open", refusing_of("probes", opened))
    with pytest.raises(SourceError, match="no such luck"):
        agent.reload(setup(requests_config(tmp_path, sources=(taken_over,), streams={"probes": STREAM}), COUNTS))
    send_requests(str(tmp_path / "rows.sock"), 4)
    agent.close()
    assert rows_of(received(tmp_path / "log.db", Chain(REQUESTS, {}))) == (4, 4)


STREAM = {name: kind for name, kind in SCHEMA.items() if name not in ("ts", "host")}


def refusing_of(stream: str, opened: object) -> object:
    def open_it(source: DatagramsSource, position: bytes | None) -> None:
        if stream in source.streams:
            raise SourceError("no such luck")
        opened(source, position)  # type: ignore[operator]

    return open_it


def test_a_socket_is_handed_over_from_one_stream_to_another(tmp_path: Path, publisher: EmbeddedPublisher) -> None:
    agent = requests_agent(tmp_path, publisher)
    send_requests(str(tmp_path / "rows.sock"), 4)
    source = DatagramsConfig(stream="probes", path=str(tmp_path / "rows.sock"))
    agent.reload(setup(requests_config(tmp_path, sources=(source,), streams={"probes": STREAM}), COUNTS))
    assert [one.source.name.split(":")[1] for one in agent.sources] == ["probes"]
    assert (tmp_path / "rows.sock").exists()
    agent.close()
    assert rows_of(received(tmp_path / "log.db", Chain(REQUESTS, {}))) == (4, 4)


def test_a_file_that_is_wanted_again_goes_on_where_the_checkpoint_that_still_waits_left_it(
    tmp_path: Path, publisher: EmbeddedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 40)
    data, records = probe_file(tmp_path, 120)
    columns = {name: kind for name, kind in SCHEMA.items() if name not in ("ts", "host")}
    config = replay_config(tmp_path, data, streams={"probes": columns})
    agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
    chain = agent.executor.runs[0].chain
    agent.turn()
    store, tries = agent.spool.store, iter([False])

    def full_once(*given: object) -> None:
        if not next(tries, True):
            raise SpoolWriteError("no space left")
        store(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(agent.spool, "store", full_once)
    agent.reload(setup(config, NEXT))
    assert agent.sources == []
    agent._run_these([Wanted(chain, ALWAYS.spans)])  # as when a plan asks for the query again
    assert turned(agent, lambda: agent.sources[0].source.finished)
    agent.close()
    assert_same_answer(received(tmp_path / "log.db").merged(), truth(records))


def test_nothing_changes_hands_while_the_spool_cannot_be_written(
    tmp_path: Path, publisher: EmbeddedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = requests_agent(tmp_path, publisher)
    config = requests_config(tmp_path, "rows.sock")
    store = agent.spool.store

    def full(*_: object) -> None:
        raise SpoolWriteError("no space left")

    monkeypatch.setattr(agent.spool, "store", full)
    agent.checkpoint()
    with pytest.raises(ReloadError, match="spool cannot be written"):
        agent.reload(setup(config, NEXT))
    monkeypatch.setattr(agent.spool, "store", store)
    agent.checkpoint()
    agent.reload(setup(config, NEXT))
    assert [run.chain.plan for run in agent.executor.runs] == [NEXT]
    agent.abandon()


def test_the_metrics_move_to_another_port_and_say_what_was_refused(
    tmp_path: Path, publisher: EmbeddedPublisher
) -> None:
    first, second = free_port(), free_port()
    agent = requests_agent(tmp_path, publisher, metrics_port=first)
    agent.refuse("line one\nline two")
    assert got(first, "/healthz") == (200, b"ok\nreload: refused: line one\nreload: refused: line two\n")
    assert 'reloads_total{result="refused"} 1' in page_of(agent.samples())
    assert "reload_last_refused 1" in page_of(agent.samples())
    with socket.socket() as other:
        other.bind(("127.0.0.1", second))
        other.listen()
        with pytest.raises(MetricsPortError, match=str(second)):
            agent.reload(setup(requests_config(tmp_path, "rows.sock", metrics_port=second), NEXT))
    assert [run.chain.plan for run in agent.executor.runs] == [REQUESTS]
    agent.reload(setup(requests_config(tmp_path, "rows.sock", metrics_port=second), NEXT))
    assert got(first, "/healthz")[0] == 0
    assert got(second, "/healthz") == (200, b"ok\n")
    assert b'reloads_total{result="applied"} 1' in got(second, "/metrics")[1]
    assert b"reload_last_refused 0" in got(second, "/metrics")[1]
    agent.close()


def test_it_begins_and_ends_to_ask_an_api_and_asks_another(tmp_path: Path, publisher: EmbeddedPublisher) -> None:
    path, _ = probe_file(tmp_path, 10)
    sources = (ReplayConfig(stream="probes", path=str(path)),)
    values: dict[str, object] = {"sources": sources, "streams": {"probes": STREAM}, "plan_poll_s": 0.1}
    with plan_api() as api, plan_api() as other:
        api.say(COUNTS)
        other.say(PLAN)
        agent = Agent(requests_config(tmp_path, **values), [], {}, publisher, machine=MACHINE)
        assert agent.executor.runs == []
        agent.reload(setup(requests_config(tmp_path, plan_url=api.url, **values)))
        assert turned(agent, lambda: [run.chain.plan for run in agent.executor.runs] == [COUNTS])
        planner = agent._planner
        agent.reload(setup(requests_config(tmp_path, plan_url=api.url, **values, checkpoint_s=59.0)))
        assert agent._planner is planner, "nothing of its own has changed"
        agent.reload(NewSetup.of(requests_config(tmp_path, plan_url=other.url, **values), [], TABLES))
        assert turned(agent, lambda: [run.chain.plan for run in agent.executor.runs] == [PLAN])
        agent.reload(setup(requests_config(tmp_path, **values), COUNTS))
        assert [run.chain.plan for run in agent.executor.runs] == [COUNTS]
        assert until(lambda: "planner" not in {one.name for one in threading.enumerate()}), "nobody asks any more"
        agent.close()


def test_a_budget_below_the_floor_is_refused(tmp_path: Path, publisher: EmbeddedPublisher) -> None:
    agent = requests_agent(tmp_path, publisher)
    scarce = requests_config(tmp_path, "rows.sock", "more.sock", budget=BudgetConfig(cores=1e-9))
    with pytest.raises(BudgetTooSmallError, match=r"agent\.budget\.cores is 1e-09"):
        agent.reload(setup(scarce, NEXT))
    assert len(agent.sources) == 1
    assert agent.loop.budget_cores > 1e-9
    agent.abandon()


def test_numbers_change_while_it_runs(tmp_path: Path, publisher: EmbeddedPublisher) -> None:
    agent = requests_agent(tmp_path, publisher)
    changed = requests_config(
        tmp_path,
        "rows.sock",
        policy="all-sp",
        budget=BudgetConfig(cores=0.25),
        memory_max_bytes=2**22,
        spool_max_bytes=2**25,
        epoch_s=0.05,
        checkpoint_s=0.05,
        catch_up_bytes_per_s=2**22,
        labels=LabelsConfig(rack="r2"),
    )
    agent.reload(setup(changed, REQUESTS))
    stored_before = agent._checkpointer.stored
    assert turned(agent, lambda: agent._checkpointer.stored > stored_before + 1)
    assert agent.spool.max_bytes == 2**25
    assert agent.uplink._allowance.most == 2**22
    assert agent.executor.memory_max_bytes == 2**22
    assert agent.executor.labels == {"rack": "r2", "tor": "", "dc": ""}
    assert agent.loop.status().labels == Labels(rack="r2")
    assert (agent.loop.budget_cores, agent.loop.status().policy) == (0.25, "all-sp")
    assert agent.executor.runs[0].proxies.shares == (0.0,) * agent.executor.runs[0].operators
    agent.close()


def test_the_newest_file_is_the_last_to_come_and_a_bad_one_is_a_refusal(tmp_path: Path) -> None:
    asked, reading = threading.Event(), threading.Event()
    files: list[str] = []
    let_go = threading.Event()

    def load() -> NewSetup:
        name = files[-1]
        reading.set()
        let_go.wait(10)
        if name == "bad":
            raise ValueError("line 3: no such key")
        return setup(requests_config(tmp_path, name))

    reloads = Reloads(asked, load)
    assert reloads.news() is None
    files.append("one")
    asked.set()
    assert reloads.news() is None
    assert reading.wait(10)
    files.append("two")
    asked.set()
    assert reloads.news() is None, "the first is still being read"
    let_go.set()
    news: list[object] = []
    assert until(lambda: (news.extend(one for one in [reloads.news()] if one), len(news) == 2)[1])
    paths = [one.config.sources[0].path for one in news if isinstance(one, NewSetup)]  # type: ignore[union-attr]
    assert [Path(path).name for path in paths] == ["one", "two"]
    files.append("bad")
    asked.set()
    assert until(lambda: (news.extend(one for one in [reloads.news()] if one), len(news) == 3)[1])
    assert news[-1] == Refusal("line 3: no such key")
    assert not asked.is_set()
