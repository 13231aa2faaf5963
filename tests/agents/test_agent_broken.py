"""The agent beside what is broken: it names it, and the rest goes on."""

import re
import socket
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.errors import SourceError, SpoolBusyError, SpoolWriteError
from agents.sources import replay
from agents.sources.configs import DatagramsConfig, ReplayConfig
from pipeline.chain import Chain
from tests.agents.live import REQUESTS, got, received_of, requests_agent, send_requests, turned
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
from tests.fleet import TABLES
from tests.promptness import promptly


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
        with promptly(0.5):
            back.close()
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


def test_beside_a_spool_of_another_machine_it_starts_clean_and_reads_its_files_from_the_beginning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, records = probe_file(tmp_path, 500)
    theirs = Agent(replay_config(tmp_path, path), [PLAN], TABLES, BrokenPublisher(), machine="a" * 32)
    assert turned(theirs, lambda: theirs.sources[0].source.finished)
    theirs.close()
    kept = theirs.spool.frames
    assert kept > 0
    with publisher_to(tmp_path / "log.db") as publisher:
        ours = Agent(replay_config(tmp_path, path), [PLAN], TABLES, publisher, machine=MACHINE)
        aside = tmp_path / f"spool.db.of-{'a' * 8}"
        assert f"another machine wrote it path={tmp_path / 'spool.db'} machine=aaaaaaaa kept_as={aside}" in caplog.text
        assert turned(ours, lambda: ours.sources[0].source.finished)
        ours.close()
        assert ours.spool.frames == 0
    assert spool_rows(aside, "SELECT count(*) FROM frames") == [(kept,)]
    got = received(tmp_path / "log.db")
    assert_same_answer(got.merged(), truth(records))
    assert {beat.machine_id for beat in got.heartbeats} == {MACHINE}
    assert {(beat.previous_incarnation, beat.previous_sequence) for beat in got.heartbeats} == {("", 0)}
    assert {header.incarnation for header in got.headers} == {ours.incarnation.id}
