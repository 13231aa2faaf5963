"""Log files in a whole agent: each line once over kills and rotations, progress, pace, reload, metrics."""

import random
import shutil
import time
from pathlib import Path

import polars as pl
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.own_metrics import page_of
from agents.progress import SourceProgress
from agents.reload import NewSetup
from agents.sources import logs
from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource
from agents.sources.streams import ACCESS_LOG, BUILTIN_STREAMS
from pipeline.chain import Chain
from pipeline.sql import compile_query
from tests.agents.live import received_of
from tests.agents.world import MACHINE, publisher_to, received

PLAN = compile_query(
    "access",
    "SELECT status, sketch(request_s) AS nginx_request_s, count(*) AS nginx_requests_total, "
    "sum(sent_bytes) AS nginx_sent_bytes FROM access_log GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), status",
    dict(BUILTIN_STREAMS),
    {},
)
CHAIN = Chain(PLAN, {})
# The agent's own clock is the real one.
START_S = int(time.time()) - 120
NOW_NS = (START_S + 60) * 10**9


class Log:
    """A log that is written and rotated; `rows` is what it said."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.rows: list[tuple[int, float]] = []
        self._draw = random.Random(seed)
        self._rotations = 0

    def write(self, count: int) -> None:
        with self.path.open("a") as file:
            for _ in range(count):
                status, took = self._draw.choice([200, 404]), len(self.rows) / 1000
                self.rows.append((status, took))
                at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(START_S + len(self.rows) % 60))
                file.write(f'10.0.0.1 - - [{at}] "GET / HTTP/1.1" {status} 10 "-" "-" {took:.3f}\n')

    def rotate(self) -> None:
        self._rotations += 1
        rotated = self.path.with_suffix(f".{self._rotations}")
        if self._draw.random() < 0.5:
            self.path.rename(rotated)
        else:
            shutil.copy(self.path, rotated)
            self.path.write_text("")
        self.write(1)


def agent_on(folder: Path, publisher: object, **changes: object) -> Agent:
    values: dict[str, object] = {"paths": (str(folder / "access.log"),), "pattern": "access", "begin": "beginning"}
    config = AgentConfig(
        id="agent-1", host="h", policy="all-src", checkpoint_s=60.0, epoch_s=60.0, spool_path=str(folder / "spool.db"),
        sources=(LogsConfig(**(values | changes)),),  # type: ignore[arg-type]
    )  # fmt: skip
    return Agent(config, [PLAN], {}, publisher, machine=MACHINE)  # type: ignore[arg-type]


def source_of(agent: Agent) -> LogsSource:
    (one,) = agent.sources
    assert isinstance(one.source, LogsSource)
    return one.source


def read_all(agent: Agent) -> None:
    """Turn until a look at all files has left nothing unread."""
    source = source_of(agent)
    source._next_look_s = 0.0
    agent.turn()
    while source.lag_bytes:
        agent.turn()


@pytest.mark.parametrize("seed", range(6))
def test_kills_and_rotations_leave_each_line_counted_once(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "BLOCK_BYTES", 4000)
    draw = random.Random(100 + seed)
    log = Log(tmp_path / "access.log", seed)
    log.write(50)
    with publisher_to(tmp_path / "log.db") as publisher:
        for _ in range(8):
            agent = agent_on(tmp_path, publisher, max_line_bytes=256)
            for _ in range(draw.randrange(4)):
                agent.turn()
            read_all(agent)
            agent.checkpoint()
            log.write(draw.randrange(60))
            if draw.random() < 0.5:
                agent.turn()
            if draw.random() < 0.3:
                agent.checkpoint()
            if draw.random() < 0.6:
                log.rotate()
                log.write(draw.randrange(30))
            if draw.random() < 0.5:
                read_all(agent)
            if draw.random() < 0.3:
                agent.close()
            else:
                agent.abandon()
        agent = agent_on(tmp_path, publisher)
        read_all(agent)
        read_all(agent)
        agent.close()
    answer = received_of(tmp_path, "access", CHAIN)
    wanted = pl.DataFrame(log.rows, schema=["status", "took"], orient="row")
    assert answer["rows"].sum() == len(log.rows)
    for status in (200, 404):
        mine = answer.filter(pl.col("status") == str(status))
        rows = wanted.filter(pl.col("status") == status)
        assert mine["rows"].sum() == rows.height
        assert round(float(mine["nginx_request_s.max"].max()), 3) == rows["took"].max()  # type: ignore[arg-type]


def test_what_is_gone_is_a_lost_record_of_its_window_once(tmp_path: Path) -> None:
    log = Log(tmp_path / "access.log", 1)
    log.write(50)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = agent_on(tmp_path, publisher)
        read_all(agent)
        agent.close()
        log.write(5)
        changed_ns = log.path.stat().st_mtime_ns
        log.path.unlink()
        for ends in (Agent.abandon, Agent.close, Agent.close):  # a kill before the loss is stored, then twice after it
            agent = agent_on(tmp_path, publisher)
            read_all(agent)
            ends(agent)
    windows = received(tmp_path / "log.db", CHAIN).manifest().windows()
    lost = {start_ns: window.n_dropped for start_ns, window in windows.items() if window.n_dropped}
    (start_ns,) = lost
    assert lost == {start_ns: {"log_gone": 1}}
    # The file was last seen to be written before the five lines.
    assert start_ns <= changed_ns < start_ns + 2 * PLAN.window_ns
    assert sum(window.n_in for window in windows.values()) == 50 + 1


def test_a_turn_waits_when_all_is_read_and_not_while_something_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "BLOCK_BYTES", 4000)
    log = Log(tmp_path / "access.log", 1)
    log.write(100)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = agent_on(tmp_path, publisher, max_line_bytes=256)
        assert agent.turn() == 0.0
        assert source_of(agent).lag_bytes > 0
        page = page_of(agent.samples())
        assert f'tailwatch_agents_source_lag_bytes{{source="logs:access_log:{log.path}"}} ' in page
        while agent.turn() == 0.0:
            assert source_of(agent).lag_bytes > 0
        assert source_of(agent).lag_bytes == 0
        log.write(1)
        assert agent.turn() > 0  # a row came, and there is no more
        assert agent.intake.records_in == {"access_log": 101}
        agent.abandon()


def test_a_changed_configuration_goes_on_where_the_files_were_left(tmp_path: Path) -> None:
    log = Log(tmp_path / "access.log", 1)
    log.write(20)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = agent_on(tmp_path, publisher)
        read_all(agent)
        log.write(5)
        other = Log(tmp_path / "other.log", 2)
        other.write(7)
        entry = LogsConfig((str(log.path), str(other.path)), "access", begin="beginning", max_files=7)
        config = AgentConfig(
            **{f: getattr(agent._config, f) for f in AgentConfig.__struct_fields__} | {"sources": (entry,)}
        )
        agent.reload(NewSetup.of(config, [PLAN], {}))
        read_all(agent)
        agent.close()
    assert received_of(tmp_path, "access", CHAIN)["rows"].sum() == 32


def progress_of(path: Path, begin: str, clock: list[float]) -> SourceProgress:
    entry = LogsConfig(paths=(str(path),), pattern="access", begin=begin)  # type: ignore[arg-type]
    source = LogsSource(entry, ACCESS_LOG, clock_s=lambda: clock[0], clock_ns=lambda: NOW_NS)
    return SourceProgress(source, None, 0)


def test_a_quiet_log_does_not_hold_its_query_back(tmp_path: Path) -> None:
    log, clock = Log(tmp_path / "access.log", 1), [0.0]
    log.write(3)
    one = progress_of(log.path, "beginning", clock)
    assert (one.first_ns, one.watermark_ns) == (None, None)
    clock[0] += 1
    low = one.poll(NOW_NS)[0].rows["ts"].min()
    assert (one.first_ns, one.watermark_ns) == (low, NOW_NS)
    clock[0] += 1
    one.poll(NOW_NS + 7)
    assert (one.first_ns, one.watermark_ns) == (low, NOW_NS + 7)
    one.source.close()
    stored = one.to_store()
    assert stored is not None
    assert (stored.first_ns, stored.watermark_ns) == (low, NOW_NS + 7)


def test_a_log_begun_at_its_end_vouches_from_then_on_whatever_old_times_come(tmp_path: Path) -> None:
    log, clock = Log(tmp_path / "access.log", 1), [0.0]
    log.write(3)
    one = progress_of(log.path, "end", clock)
    clock[0] += 1
    assert one.poll(NOW_NS) == []
    log.write(3)
    clock[0] += 1
    assert one.poll(NOW_NS + 5)[0].rows.height == 3
    assert (one.first_ns, one.watermark_ns) == (NOW_NS, NOW_NS + 5)
    one.source.close()
