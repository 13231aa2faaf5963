"""The agent as a whole: what it says of itself, what it delivers, how it stops."""

import socket
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.own_metrics import Sample, page_of
from agents.shares import Decision
from agents.sources import replay
from agents.sources.configs import DatagramsConfig, HiccupsConfig
from pipeline.chain import Chain
from pipeline.sql import compile_query
from tests.agents.live import HICCUPS, REQUESTS, requests_agent, send_requests, turned
from tests.agents.world import (
    MACHINE,
    PLAN,
    BrokenPublisher,
    assert_same_answer,
    probe_file,
    publisher_to,
    received,
    replay_config,
    spool_rows,
    truth,
)
from tests.fleet import START_NS, TABLES
from wire.heartbeat import FINISHED_NS, decode_heartbeat


@pytest.mark.parametrize("policy", ["all-src", "all-sp"])
def test_a_replayed_file_arrives_whole_and_is_reported_as_finished(tmp_path: Path, policy: str) -> None:
    path, records = probe_file(tmp_path, 5_000)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(replay_config(tmp_path, path, policy=policy), [PLAN], TABLES, publisher, machine=MACHINE)
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


def test_what_was_sampled_out_stands_beside_the_other_counters_and_on_the_metrics(tmp_path: Path) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = requests_agent(tmp_path, publisher, epoch_s=60.0)
        agent.executor.decide(Decision(sampled=0.5))  # as the breaker does
        send_requests(str(tmp_path / "rows.sock"), 10)
        agent.turn()
        agent._end_epoch()
        shown = {sample.metric: sample.value for sample in agent.samples()}
        assert shown["tailwatch_agents_sampled_out_rows_total"] == 5
        agent.close()
    last = received(tmp_path / "log.db", Chain(REQUESTS, {})).heartbeats[-1]
    assert (last.counters["records_in_total"], last.counters["sampled_out_rows_total"]) == (10, 5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.15, "0.15"), (3, "3"), (True, "1"), (2.0, "2"), (1e300, "1e+300"), (np.float64(0.1), "0.1"),
        (np.int64(7), "7"), (2**60 + 1, "1152921504606846977"),
    ],
)  # fmt: skip
def test_metrics_show_numbers_as_short_as_they_read_back(value: float, text: str) -> None:
    page = page_of([Sample("tailwatch_agents_cpu_cores", value)])
    assert page.splitlines()[-1] == f"tailwatch_agents_cpu_cores {text}"
    assert float(text) == float(value)


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
        measured_to_ns = killed.sources[0].watermark_ns
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
    assert live.first_ns < live.watermark_ns == measured_to_ns <= last_kept.sent_ns


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


def test_heartbeats_say_which_incarnation_was_before_and_how_far_it_went(tmp_path: Path) -> None:
    path, _ = probe_file(tmp_path, 300)
    with publisher_to(tmp_path / "log.db") as publisher:
        for _ in range(3):
            agent = Agent(replay_config(tmp_path, path), [PLAN], TABLES, publisher, machine=MACHINE)
            agent.turn()
            agent.close()
    got = received(tmp_path / "log.db")
    lives = {header.started_ns: header.incarnation for header in got.headers}
    frames_of = Counter(header.incarnation for header in got.headers)
    before = ""
    for started_ns in sorted(lives):
        said = {
            (beat.previous_incarnation, beat.previous_sequence)
            for beat in got.heartbeats
            if beat.started_ns == started_ns
        }
        assert said == {(before, frames_of[before])}
        before = lives[started_ns]


def test_the_heartbeat_and_the_metrics_say_how_old_the_oldest_frame_is(tmp_path: Path) -> None:
    agent = requests_agent(tmp_path, BrokenPublisher())
    agent.spool._db.execute("UPDATE frames SET created_ns = created_ns - 90000000000")
    agent.checkpoint()
    assert 90 <= agent.counters()["spool_oldest_age_s"] <= 100
    page = {sample.metric: sample.value for sample in agent.samples()}
    assert 90 <= page["tailwatch_agents_spool_oldest_age_seconds"] <= 100
    bodies = spool_rows(
        agent.spool.path, "SELECT bodies.body FROM frames JOIN bodies USING (id) WHERE kind = 'heartbeat' ORDER BY id"
    )
    ages = [decode_heartbeat(bytes(body[0])).counters["spool_oldest_age_s"] for body in bodies]  # type: ignore[call-overload]
    assert ages[0] == 0
    assert 90 <= ages[1] <= 100
    agent.abandon()
