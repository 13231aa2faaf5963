"""The agent as a whole: what it says of itself, how it stops, and what it does when disk or transport are away."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from agents import agent as agent_module
from agents.agent import Agent
from agents.config import AgentConfig, DatagramsConfig, HiccupsConfig, ReplayConfig
from agents.errors import AgentError, MetricsPortError, SourceError, SpoolBusyError, SpoolWriteError
from agents.own_metrics import METRICS
from agents.runner import run_agent
from agents.sources import replay
from agents.sources.streams import BUILTIN_STREAMS
from agents.uplink import Uplink
from pipeline.chain import Chain
from pipeline.partial import Partial
from pipeline.plan import encode_plan
from pipeline.sql import compile_query
from tests.agents.world import (
    MACHINE,
    PLAN,
    BrokenPublisher,
    assert_same_answer,
    probe_file,
    publisher_to,
    received,
    records_in,
    replay_config,
    truth,
)
from tests.fleet import START_NS, TABLES
from wire.columns import unpack_columns
from wire.frame import decode_frame
from wire.heartbeat import FINISHED_NS

ROOT = Path(__file__).parents[2]
HICCUPS = compile_query(
    "hiccups",
    "SELECT host, sketch(late_ns) AS late_ns FROM hiccups GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), host",
    dict(BUILTIN_STREAMS),
    {},
)
REQUESTS = compile_query(
    "requests",
    "SELECT route, sum(status) AS status_total FROM api_requests GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), route",
    dict(BUILTIN_STREAMS),
    {},
)


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def turned(agent: Agent, done: Callable[[], object], timeout_s: float = 10.0) -> bool:
    return until(lambda: (agent.turn(), done())[1], timeout_s)


def send_requests(path: str, count: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(path)
        rows = [[START_NS + i, "/r", "GET", 200, 1.0] for i in range(count)]
        sender.send(msgspec.msgpack.encode({"stream": "api_requests", "rows": rows}))


def requests_agent(folder: Path, publisher: object, **changes: object) -> Agent:
    values: dict[str, object] = {
        "id": "agent-1",
        "spool_path": str(folder / "spool.db"),
        "checkpoint_s": 60.0,
        "sources": (DatagramsConfig(stream="api_requests", path=str(folder / "rows.sock")),),
    }
    return Agent(AgentConfig(**(values | changes)), [REQUESTS], {}, publisher, machine=MACHINE)  # type: ignore[arg-type]


@pytest.mark.parametrize("execution", ["local", "drain"])
def test_a_replayed_file_arrives_whole_and_is_reported_as_finished(tmp_path: Path, execution: str) -> None:
    path, records = probe_file(tmp_path, 5_000)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(replay_config(tmp_path, path, execution=execution), [PLAN], TABLES, publisher, machine=MACHINE)
        assert turned(agent, lambda: agent.sources[0].source.finished)
        agent.close()
    got = received(tmp_path / "log.db")
    assert_same_answer(got.merged(), truth(records))
    assert got.manifest().conserved()
    first, *_, last = got.heartbeats
    assert first.queries == []
    assert (last.agent, last.host, last.machine_id, last.clean) == ("agent-1", "h", MACHINE, True)
    (progress,) = last.queries
    assert (progress.query, progress.version) == (PLAN.query, PLAN.version)
    assert (progress.first_ns, progress.watermark_ns) == (records["ts"].min(), FINISHED_NS)
    assert (progress.replayable, progress.finished, progress.interrupted_from_ns) == (True, True, None)
    assert last.counters["records_in_total"] == 5_000
    assert last.counters["frames_total"] >= 1
    assert last.counters["samples_dropped_total"] == 0


def test_the_watermark_of_a_replay_follows_the_rows_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 100)
    path, records = probe_file(tmp_path, 300)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(replay_config(tmp_path, path), [PLAN], TABLES, publisher, machine=MACHINE)
        agent.turn()
        agent.checkpoint()
        agent.turn()
        agent.abandon()
    progress = received(tmp_path / "log.db").heartbeats[-1].queries[0]
    assert progress.watermark_ns == records["ts"][99]
    assert not progress.finished


def test_after_a_kill_live_queries_are_marked_from_the_last_checkpoint_on(tmp_path: Path) -> None:
    config = AgentConfig(id="a", spool_path=str(tmp_path / "spool.db"), checkpoint_s=60, sources=(HiccupsConfig(),))
    with publisher_to(tmp_path / "log.db") as publisher:
        killed = Agent(config, [HICCUPS], {}, publisher, machine=MACHINE)
        assert turned(killed, lambda: killed.sources[0].rows > 0)
        killed.checkpoint()
        killed.abandon()
        after = Agent(config, [HICCUPS], {}, publisher, machine=MACHINE)
        after.close()
        clean = Agent(config, [HICCUPS], {}, publisher, machine=MACHINE)
        clean.close()
    got = received(tmp_path / "log.db", Chain(HICCUPS, {}))
    beats = sorted(got.heartbeats, key=lambda beat: beat.sent_ns)
    of_life = [[beat for beat in beats if beat.started_ns == start] for start in sorted({b.started_ns for b in beats})]
    assert len(of_life) == 3
    last_kept = of_life[0][-1]
    vouched_ns = last_kept.queries[0].watermark_ns
    assert vouched_ns < last_kept.sent_ns
    assert [beat.queries[0].interrupted_from_ns for beat in of_life[0]] == [None, None]
    for beat in of_life[1]:
        progress = beat.queries[0]
        assert (progress.interrupted_from_ns, progress.interrupted_to_ns) == (vouched_ns, beat.started_ns)
    assert [beat.queries[0].interrupted_from_ns for beat in of_life[2]] == [None, None]
    assert [beat.clean for beat in beats] == [False, False, False, True, False, True]
    live = last_kept.queries[0]
    assert (live.replayable, live.first_ns) == (False, last_kept.started_ns)
    assert last_kept.sent_ns - 3 * 10**8 < live.watermark_ns <= last_kept.sent_ns


def test_it_starts_and_counts_while_the_transport_is_away_and_delivers_later(tmp_path: Path) -> None:
    away = requests_agent(tmp_path, BrokenPublisher())
    send_requests(str(tmp_path / "rows.sock"), 10)
    away.turn()
    away.close()
    assert away.uplink.failures > 0
    with publisher_to(tmp_path / "log.db") as publisher:
        back = requests_agent(tmp_path, publisher)
        send_requests(str(tmp_path / "rows.sock"), 5)
        back.close()
        assert back.spool.frames == 0
    got = received(tmp_path / "log.db", Chain(REQUESTS, {}))
    assert sum(window.n_local for window in got.manifest().windows().values()) == 15
    assert len({header.incarnation for header in got.headers}) == 2


def test_rows_that_arrive_while_it_stops_are_kept(tmp_path: Path) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = requests_agent(tmp_path, publisher)
        send_requests(str(tmp_path / "rows.sock"), 7)
        agent.close()
    got = received(tmp_path / "log.db", Chain(REQUESTS, {}))
    assert sum(window.n_in for window in got.manifest().windows().values()) == 7


def test_a_full_disk_stops_files_counts_live_rows_and_loses_nothing_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 500)
    monkeypatch.setattr(agent_module, "HELD_BYTES", 4_000)
    path, records = probe_file(tmp_path, 20_000)
    config = AgentConfig(
        id="agent-1",
        host="h",
        spool_path=str(tmp_path / "spool.db"),
        checkpoint_s=60,
        epoch_s=60,
        sources=(
            ReplayConfig(stream="probes", path=str(path)),
            DatagramsConfig(stream="api_requests", path=str(tmp_path / "rows.sock")),
        ),
    )
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN, REQUESTS], TABLES, publisher, machine=MACHINE)
        agent.uplink = Uplink(agent.spool, BrokenPublisher())  # so that nothing makes room in the file
        (pages,) = agent.spool._db.execute("PRAGMA page_count").fetchone()
        agent.spool._db.execute(f"PRAGMA max_page_count = {pages}")
        assert turned(agent, lambda: (agent.checkpoint(), agent._checkpointer.failing)[1])
        assert "SQLITE_FULL" in caplog.text
        agent.checkpoint()
        assert agent._checkpointer.failures == 2
        read_before = agent.sources[0].rows
        for _ in range(5):
            send_requests(str(tmp_path / "rows.sock"), 100)
            agent.turn()
        assert agent.sources[0].rows == read_before < 20_000
        assert 0 < agent.counters()["samples_dropped_spool_unwritable_total"] < 500
        dropped = agent.counters()["samples_dropped_total"]
        agent.spool._db.execute("PRAGMA max_page_count = 1000000")
        agent.uplink = Uplink(agent.spool, publisher)
        agent.checkpoint()
        assert turned(agent, lambda: agent.sources[0].source.finished)
        agent.close()
    of_probes = received_of(tmp_path, PLAN.query, Chain(PLAN, TABLES))
    assert_same_answer(of_probes, truth(records))
    of_requests = received_of(tmp_path, REQUESTS.query, Chain(REQUESTS, {}))
    assert of_requests["rows"].sum() + dropped == 500


def received_of(folder: Path, query: str, chain: Chain) -> pl.DataFrame:
    """The merged answer of one of several queries in the log."""
    parts = []
    for record in records_in(folder / "log.db"):
        frame = decode_frame(record.payload)
        if (frame.header.query, frame.header.kind) == (query, "partial"):
            parts.append(Partial.from_frame(chain.plan, unpack_columns(frame.body, Partial.schema(chain.plan))))
    return Partial.merge(parts).sorted().to_frame()


@pytest.mark.parametrize("cap", [2**12, 2**16, 2**19])
@pytest.mark.parametrize("execution", ["local", "drain"])
def test_rows_of_a_file_are_never_dropped_whatever_the_cap(
    tmp_path: Path, execution: str, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 2_000)
    path, records = probe_file(tmp_path, 40_000)
    config = replay_config(tmp_path, path, execution=execution, spool_max_bytes=cap)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        agent.uplink = Uplink(agent.spool, BrokenPublisher())
        for _ in range(30):
            agent.turn()
            agent.checkpoint()
        if execution == "drain":
            assert agent.sources[0].rows < 40_000
        agent.uplink = Uplink(agent.spool, publisher)
        assert turned(agent, lambda: agent.sources[0].source.finished, 30.0)
        agent.close()
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        agent.close()
    got = received(tmp_path / "log.db")
    assert_same_answer(got.merged(), truth(records))
    assert got.manifest().conserved()
    assert {reason for window in got.manifest().windows().values() for reason in window.n_dropped} == set()


def test_a_file_is_read_no_faster_than_the_spool_takes_it(tmp_path: Path) -> None:
    path, _ = probe_file(tmp_path, 200_000)
    config = replay_config(tmp_path, path, execution="drain", spool_max_bytes=2**22)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        used: list[int] = []
        for _ in range(20):
            agent._poll()  # and no checkpoint that would make room
        assert agent.sources[0].rows < 200_000

        def finished() -> bool:
            agent._poll()
            used.append(agent.executor.held_bytes)
            return agent.sources[0].source.finished

        assert turned(agent, finished)
        assert max(used) < 2**22
        assert agent._checkpointer.stored > 2
        agent.close()


def test_with_a_full_spool_files_wait_and_live_rows_are_counted(tmp_path: Path) -> None:
    path, _ = probe_file(tmp_path, 1_000)
    config = replay_config(
        tmp_path,
        path,
        sources=(
            ReplayConfig(stream="probes", path=str(path)),
            DatagramsConfig(stream="api_requests", path=str(tmp_path / "rows.sock")),
        ),
    )
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN, REQUESTS], TABLES, publisher, machine=MACHINE)
        agent.spool.bytes = agent.spool.max_bytes
        send_requests(str(tmp_path / "rows.sock"), 30)
        agent._poll()
        assert agent.sources[0].rows == 0
        assert agent.counters()["samples_dropped_spool_full_total"] == 30
        agent.spool._measure()
        assert turned(agent, lambda: agent.sources[0].source.finished)
        agent.close()


def test_a_source_that_breaks_is_left_alone_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("ts,src,rtt_us,load,err\n1795000000000000000,a,fast,1.0,0\n")
    config = AgentConfig(
        id="a",
        spool_path=str(tmp_path / "spool.db"),
        sources=(
            ReplayConfig(stream="probes", path=str(path)),
            DatagramsConfig(stream="api_requests", path=str(tmp_path / "rows.sock")),
        ),
    )
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN, REQUESTS], TABLES, publisher, machine=MACHINE)
        send_requests(str(tmp_path / "rows.sock"), 5)
        agent.turn()
        up = {sample.labels[0][1]: sample.value for sample in agent.samples() if sample.metric.endswith("source_up")}
        assert up == {f"replay:probes:{path}": 0, f"datagrams:api_requests:{tmp_path / 'rows.sock'}": 1}
        assert agent.counters()["records_in_total"] == 5
        agent.close()


@pytest.mark.parametrize("damage", ["cut", "gone", "unreadable"])
def test_a_file_that_broke_between_two_starts_leaves_the_live_sources_alone(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 100)
    path, records = probe_file(tmp_path, 300)
    whole = path.read_bytes()
    sources = (
        ReplayConfig(stream="probes", path=str(path)),
        DatagramsConfig(stream="api_requests", path=str(tmp_path / "rows.sock")),
    )
    config = replay_config(tmp_path, path, sources=sources)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN, REQUESTS], TABLES, publisher, machine=MACHINE)
        agent.turn()
        agent.close()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(whole[:100] if damage == "cut" else whole[:-1] + b",more,fields\n")
        for _ in range(2):
            agent = Agent(config, [PLAN, REQUESTS], TABLES, publisher, machine=MACHINE)
            send_requests(str(tmp_path / "rows.sock"), 5)
            agent.turn()
            assert agent.sources[0].failure is not None
            assert "source stopped" in caplog.text
            assert agent.counters()["records_in_total"] == 5
            agent.close()
        path.write_bytes(whole)
        agent = Agent(config, [PLAN, REQUESTS], TABLES, publisher, machine=MACHINE)
        assert turned(agent, lambda: agent.sources[0].source.finished)
        agent.close()
    assert_same_answer(received_of(tmp_path, PLAN.query, Chain(PLAN, TABLES)), truth(records))


def test_frames_for_a_partition_that_is_gone_are_named_and_hold_up_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Larger(BrokenPublisher):
        def partitions(self) -> int:
            return 1_000_000

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = requests_agent(tmp_path, Larger())
    send_requests(str(tmp_path / "rows.sock"), 10)
    away.turn()
    away.close()
    with publisher_to(tmp_path / "log.db") as publisher:
        back = requests_agent(tmp_path, publisher, metrics_port=port)
        send_requests(str(tmp_path / "rows.sock"), 5)
        back.turn()
        back.checkpoint()
        back.turn()
        stuck = back.spool.stuck.stranded
        assert stuck == back.spool.frames > 0 == back.uplink.failures
        back.checkpoint()
        assert caplog.text.count("which the transport lacks") == 1
        status, page = got(port, "/healthz")
        assert status == 503
        assert re.match(rf"{stuck} frames are numbered for partition \d+, which the transport lacks".encode(), page)
        assert f'spool_stuck_frames{{reason="no_partition"}} {stuck}\n'.encode() in got(port, "/metrics")[1]
        started_s = time.monotonic()
        back.close()
        assert time.monotonic() - started_s < 0.5
    arrived = received(tmp_path / "log.db", Chain(REQUESTS, {}))
    assert sum(window.n_local for window in arrived.manifest().windows().values()) == 5


def test_what_cannot_be_opened_is_told_and_nothing_stays_open(tmp_path: Path) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        with pytest.raises(SourceError, match=r"nowhere\.csv"):
            Agent(replay_config(tmp_path, tmp_path / "nowhere.csv"), [PLAN], TABLES, publisher, machine=MACHINE)
        path, _ = probe_file(tmp_path, 10)
        config = replay_config(tmp_path, path)
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        with pytest.raises(SpoolBusyError):
            Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        agent.close()
        twice = replay_config(tmp_path, path, sources=(ReplayConfig(stream="probes", path=str(path)),) * 2)
        with pytest.raises(SourceError, match="2 entries"):
            Agent(twice, [PLAN], TABLES, publisher, machine=MACHINE)
        unknown = replay_config(tmp_path, path, sources=(DatagramsConfig(stream="api_request", path="x.sock"),))
        with pytest.raises(SourceError, match="did you mean 'api_requests'"):
            Agent(unknown, [PLAN], TABLES, publisher, machine=MACHINE)
        with pytest.raises(SpoolWriteError, match=r"set agent\.spool_path"):
            Agent(replay_config(tmp_path, path, spool_path="/proc/spool.db"), [PLAN], TABLES, publisher)


def test_datagrams_of_a_configured_stream_are_read_in_the_configured_order(tmp_path: Path) -> None:
    streams = {"jobs": {"queue": "string", "wait_ms": "float64"}}
    schema = {"ts": "int64", "host": "string", "queue": "string", "wait_ms": "float64"}
    sql = "SELECT sum(wait_ms) AS wait_ms FROM jobs GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)"
    plan = compile_query("jobs", sql, {"jobs": schema}, {})
    path = str(tmp_path / "jobs.sock")
    config = AgentConfig(
        id="a",
        spool_path=str(tmp_path / "spool.db"),
        streams=streams,
        sources=(DatagramsConfig(stream="jobs", path=path),),
    )
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [plan], {}, publisher, machine=MACHINE)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(path)
            sender.send(msgspec.msgpack.encode({"stream": "jobs", "rows": [[START_NS, "batch", 2.5]]}))
        agent.close()
    (partial,) = received(tmp_path / "log.db", Chain(plan, {})).partials
    assert partial.states["wait_ms"].to_columns("x")["x.hi"].to_list() == [2.5]


def test_run_agent_stops_within_its_time_and_serves_its_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = AgentConfig(id="a", spool_path=str(tmp_path / "spool.db"), metrics_port=port, checkpoint_s=0.1)
    plans = [HICCUPS, REQUESTS]
    stop = threading.Event()
    with publisher_to(tmp_path / "log.db") as publisher:
        runner = threading.Thread(target=run_agent, args=(config, plans, {}, publisher, stop))
        with caplog.at_level(logging.INFO):
            runner.start()
            assert until(lambda: b'records_in_total{stream="hiccups"}' in got(port, "/metrics")[1])
        status, page = got(port, "/metrics")
        assert status == 200
        assert {line.split()[2] for line in page.decode().splitlines() if line.startswith("# TYPE")} <= set(METRICS)
        assert got(port, "/healthz") == (200, b"ok\n")
        assert got(port, "/else")[0] == 404
        with pytest.raises(MetricsPortError, match=rf"127.0.0.1:{port}.*agent\.metrics_port"):
            run_agent(
                msgspec.structs.replace(config, spool_path=str(tmp_path / "other.db")), plans, {}, publisher, stop
            )
        started_s = time.monotonic()
        stop.set()
        runner.join()
        assert time.monotonic() - started_s < 1.5
        assert "no query reads it streams=host," in caplog.text
    assert received(tmp_path / "log.db", Chain(HICCUPS, {})).heartbeats[-1].clean


def got(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


CHILD = """
import logging, pathlib, sys, threading
from agents.config import AgentConfig, HiccupsConfig, HostConfig, ReplayConfig
from agents.runner import run_agent
from pipeline.plan import decode_plan
from tests.fleet import TABLES
from wire.embedded import EmbeddedPublisher
folder, data = pathlib.Path(sys.argv[1]), sys.argv[2]
config = AgentConfig(id="a", host="h", spool_path=str(folder / "spool.db"), checkpoint_s=0.05, epoch_s=0.05,
    sources=(ReplayConfig(stream="probes", path=data, rows_per_s=20000), HiccupsConfig(), HostConfig()))
plans = [decode_plan((folder / name).read_bytes()) for name in ("probes.plan", "hiccups.plan")]
heavy = {"numba", "sqlalchemy", "fastapi", "xgboost", "pyarrow", "pandas"}
print("heavy:", *sorted(heavy & set(sys.modules)), flush=True)
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
run_agent(config, plans, TABLES, EmbeddedPublisher(folder / "log.db"), threading.Event())
"""


@pytest.mark.system
def test_kill_nine_at_random_moments_counts_every_record_of_a_file_once(tmp_path: Path) -> None:
    data, records = probe_file(tmp_path, 20_000)
    (tmp_path / "probes.plan").write_bytes(encode_plan(PLAN))
    (tmp_path / "hiccups.plan").write_bytes(encode_plan(HICCUPS))
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(data)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
    for life_s in (0.15, 0.3, 0.21):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "heavy:\n"
            # A life begins here, not with the process: how long a start takes depends on the machine.
            assert any(line.startswith("agent started") for line in process.stdout)
            time.sleep(life_s)
            process.send_signal(signal.SIGKILL)
    with publisher_to(tmp_path / "log.db") as publisher:
        last = Agent(replay_config(tmp_path, data), [PLAN], TABLES, publisher, machine=None)
        assert len(last.spool.positions()) == 1
        assert turned(last, lambda: last.sources[0].source.finished, 60)
        last.checkpoint()
        # `close` publishes for 0.6 s only and leaves the rest to the next start, which does not come here.
        assert turned(last, lambda: not last.spool.frames, 60)
        last.close()
    assert_same_answer(received_of(tmp_path, PLAN.query, Chain(PLAN, TABLES)), truth(records))
    lives = {decode_frame(record.payload).header.incarnation for record in records_in(tmp_path / "log.db")}
    assert len(lives) == 4


def test_every_setting_metric_and_error_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "agent.md").read_text(encoding="utf-8")
    settings = list(AgentConfig.__struct_fields__)
    for kind in AgentConfig.__annotations__["sources"].__args__[0].__args__:
        settings += [kind.__struct_config__.tag, *kind.__struct_fields__]
    streams = [*BUILTIN_STREAMS, *(column for schema in BUILTIN_STREAMS.values() for column in schema)]
    errors = re.findall(r"class (\w+Error)", (ROOT / "agents" / "errors.py").read_text())
    wanted = [*settings, *METRICS, *streams, *errors]
    assert len(wanted) > 80
    assert [name for name in wanted if f"`{name}`" not in text and f"`{name}:" not in text] == []
    assert AgentError.__name__ in wanted
