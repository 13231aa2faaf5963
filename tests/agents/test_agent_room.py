"""The agent when disk or spool are full: files wait, live rows are counted, nothing accepted is lost."""

from pathlib import Path

import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.sources import replay
from agents.sources.configs import DatagramsConfig, ReplayConfig
from agents.uplink import Uplink
from pipeline.chain import Chain
from tests.agents.live import REQUESTS, received_of, send_requests, turned, until
from tests.agents.world import (
    MACHINE,
    PLAN,
    BrokenPublisher,
    assert_same_answer,
    probe_file,
    publisher_to,
    received,
    replay_config,
    truth,
)
from tests.fleet import TABLES


def test_a_full_disk_stops_files_counts_live_rows_and_loses_nothing_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 500)
    path, records = probe_file(tmp_path, 20_000)
    config = AgentConfig(
        id="agent-1",
        host="h",
        spool_path=str(tmp_path / "spool.db"),
        policy="all-src",
        checkpoint_s=60,
        epoch_s=60,
        sources=(
            ReplayConfig(stream="probes", path=str(path)),
            DatagramsConfig(stream="api_requests", path=str(tmp_path / "rows.sock")),
        ),
    )
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN, REQUESTS], TABLES, publisher, machine=MACHINE)
        agent.intake.held_bytes = 4_000
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


@pytest.mark.parametrize("cap", [2**12, 2**16, 2**19])
@pytest.mark.parametrize("policy", ["all-src", "all-sp"])
def test_rows_of_a_file_are_never_dropped_whatever_the_cap(
    tmp_path: Path, policy: str, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 2_000)
    path, records = probe_file(tmp_path, 40_000)
    config = replay_config(tmp_path, path, policy=policy, spool_max_bytes=cap)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        agent.uplink = Uplink(agent.spool, BrokenPublisher())
        for _ in range(30):
            agent.turn()
            agent.checkpoint()
        if policy == "all-sp":
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
    config = replay_config(tmp_path, path, policy="all-sp", spool_max_bytes=2**22)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        used: list[int] = []
        for _ in range(20):
            agent.intake.poll()  # and no checkpoint that would make room
        assert agent.sources[0].rows < 200_000

        def finished() -> bool:
            agent.intake.poll()
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
        agent.intake.poll()
        assert agent.sources[0].rows == 0
        assert agent.counters()["samples_dropped_spool_full_total"] == 30
        agent.spool._measure()
        assert turned(agent, lambda: agent.sources[0].source.finished)
        agent.close()


@pytest.mark.parametrize(("rows_per_s", "pauses"), [(None, False), (1_000.0, True)])
def test_a_file_with_a_pace_leaves_the_loop_its_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_per_s: float | None, pauses: bool
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 2_000)
    path, _ = probe_file(tmp_path, 20_000)
    source = ReplayConfig(stream="probes", path=str(path), rows_per_s=rows_per_s)
    config = replay_config(tmp_path, path, sources=(source,))
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE)
        waits_s: list[float] = []
        assert turned(agent, lambda: agent.sources[0].rows)
        read = agent.sources[0].rows
        assert until(lambda: (waits_s.append(agent.turn()), agent.sources[0].rows > read)[1])
        assert (waits_s[-1] > 0) == pauses
        agent.abandon()
