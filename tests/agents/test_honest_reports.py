"""No heartbeat vouches for rows that were not handed over before it, whatever outages, restarts and lanes there are.

The reader here believes frames in the order in which they were published. It keeps what every heartbeat claims, and
holds against it the rows that had come by then.
"""

import itertools
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import catch_up, uplink
from agents.agent import Agent
from agents.errors import SpoolWriteError
from agents.sources import replay
from agents.sources.configs import DatagramsConfig, ReplayConfig
from agents.uplink import Uplink
from pipeline.chain import Chain
from pipeline.schema import polars_schema
from tests.agents.live import REQUESTS
from tests.agents.transports import Clock, SlowTransport
from tests.agents.world import MACHINE, PLAN, probe_file, replay_config, spool_rows
from tests.fleet import TABLES
from wire.columns import unpack_columns
from wire.errors import TransportError
from wire.frame import decode_frame
from wire.heartbeat import FINISHED_NS, Heartbeat, decode_heartbeat

CHAINS = {PLAN.version: Chain(PLAN, TABLES), REQUESTS.version: Chain(REQUESTS, {})}
FILE_ROWS = 400
ACTIONS = ["send", "turn", "checkpoint", "away", "back", "wait", "wait", "outage", "outage", "restart", "kill"]


@dataclass
class Reader:
    """Rows by version, as time stamps, and how many of them had arrived when a heartbeat did."""

    rows: dict[str, Counter[int]] = field(default_factory=lambda: {version: Counter() for version in CHAINS})
    beats: list[tuple[Heartbeat, dict[str, Counter[int]]]] = field(default_factory=list)
    seen: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def read(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            frame = decode_frame(payload)
            header = frame.header
            key = (header.incarnation, header.sequence)
            if key in self.seen:
                assert self.seen[key] == payload, "a frame was sent again, but changed"
                continue
            assert header.sequence == 1 or (header.incarnation, header.sequence - 1) in self.seen, "a gap"
            self.seen[key] = payload
            if header.kind == "drained":
                rows = unpack_columns(frame.body, polars_schema(CHAINS[header.version].schema_at(header.cut)))
                self.rows[header.version].update(rows["ts"].to_list())
            elif header.kind == "heartbeat":
                beat = decode_heartbeat(frame.body)
                self.beats.append((beat, {version: Counter(rows) for version, rows in self.rows.items()}))
            assert header.sequence > 1 or header.kind == "heartbeat", "a heartbeat announces an incarnation"


class QuickConnection(sqlite3.Connection):
    """Does not wait for the disk: nothing here pulls the plug."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if arguments == ("PRAGMA synchronous = FULL",):
            arguments = ("PRAGMA synchronous = OFF",)
        return super().execute(*arguments)


class World:
    """An agent with a file and a live stream, its transport, and all that is true about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path, self.records = probe_file(folder, FILE_ROWS)
        self.config = replay_config(
            folder,
            path,
            policy="all-sp",
            sources=(
                ReplayConfig(stream="probes", path=str(path)),
                DatagramsConfig(stream="api_requests", path=str(folder / "rows.sock")),
            ),
        )
        self.clock = Clock()
        self.transport = SlowTransport(prompt=True)
        self.live: list[int] = []
        self.numbers = itertools.count()
        self.start()

    def start(self) -> None:
        self.agent = Agent(
            self.config, [PLAN, REQUESTS], TABLES, self.transport, machine=MACHINE, connection=QuickConnection
        )
        self.agent.uplink = Uplink(self.agent.spool, self.transport, self.clock, catch_up_bytes_per_s=3_000)

    def send(self) -> None:
        """Ten live rows, taken in at once."""
        source = self.agent.sources[1].source
        stamps = [time.time_ns() for _ in range(10)]
        self.live += stamps
        rows = [[stamp, f"/{next(self.numbers)}", "GET", 200, 1.0] for stamp in stamps]
        source._waiting.append(msgspec.msgpack.encode({"stream": "api_requests", "rows": rows}))  # type: ignore[attr-defined]
        self.agent.intake.take_in(self.agent.sources[1])

    def act(self, action: str) -> None:
        if action == "send":
            self.send()
        elif action == "turn":
            self.agent.turn()
        elif action == "checkpoint":
            self.agent.checkpoint()
        elif action == "away":
            self.transport.error = TransportError("away")
        elif action == "back":
            self.transport.error = None
            self.clock.now_s += 40
        elif action == "outage":
            for step in ["away", *["send", "checkpoint", "turn"] * 4, "back", "wait"]:
                self.act(step)
        elif action == "wait":
            self.clock.now_s += 1
            self.agent.turn()
        else:
            if action == "restart":
                self.agent.close()
            else:
                self.agent.checkpoint()  # what a kill costs is not the matter here
                self.agent.abandon()
            self.start()

    def finish(self) -> None:
        self.act("back")
        for _ in range(100):
            self.clock.now_s += 10
            self.agent.turn()
            if self.agent.sources[0].source.finished and not self.agent.spool.frames:
                break
        self.agent.checkpoint()
        self.agent.turn()
        self.agent.close()


@settings(max_examples=15, deadline=None)
@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=30))
def test_no_heartbeat_vouches_for_rows_that_were_not_handed_over(
    actions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "BATCH_ROWS", 20)
        for module in (catch_up, uplink):
            patch.setattr(module, "AT_ONCE_BYTES", 3_000)
        world = World(tmp_path_factory.mktemp("reports"))
        for action in actions:
            world.act(action)
        world.finish()
    check(world)


def check(world: World) -> Reader:
    reader = Reader()
    reader.read([payload for _, _, payload in world.transport.taken])
    in_file = Counter(world.records["ts"].to_list())
    truth = {PLAN.version: in_file, REQUESTS.version: Counter(world.live)}
    assert reader.rows == truth, "a row was lost or came twice"
    for beat, arrived in reader.beats:
        for progress in beat.queries:
            vouched = {
                stamp: count
                for stamp, count in truth[progress.version].items()
                if progress.first_ns <= stamp < progress.watermark_ns
            }
            missing = sum((Counter(vouched) - arrived[progress.version]).values())
            assert missing == 0, f"{progress.query}: {missing} of {sum(vouched.values())} rows had not been handed over"
    last = {progress.version: progress for progress in reader.beats[-1][0].queries}
    assert last[PLAN.version].watermark_ns == FINISHED_NS
    return reader


def test_an_outage_leaves_no_gap_between_what_the_two_incarnations_vouch_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (catch_up, uplink):
        monkeypatch.setattr(module, "AT_ONCE_BYTES", 3_000)
    monkeypatch.setattr(replay, "BATCH_ROWS", 20)
    world = World(tmp_path)
    world.agent.turn()
    first = world.agent.incarnation
    world.act("away")
    for _ in range(10):
        world.send()
        world.act("checkpoint")
        world.act("turn")
    with caplog.at_level("INFO"):
        world.act("back")
        for _ in range(3):
            world.act("wait")
    second = world.agent.incarnation
    assert f"catching up incarnation={second.id} backlog=" in caplog.text
    assert (second.previous, second.started_ns > first.started_ns) == (first.id, True)
    backlog = world.agent.spool.backlog_frames
    assert backlog > 0
    assert {sample.metric: sample.value for sample in world.agent.samples()}[
        "tailwatch_agents_backlog_frames"
    ] == backlog
    assert world.agent.counters()["spool_oldest_age_s"] == world.agent.spool.oldest_age_s(time.time_ns())
    world.act("checkpoint")
    world.act("wait")
    assert world.agent.spool.backlog_frames > 0
    latest = [beat for beat in beats(world) if beat.started_ns == second.started_ns][-1]
    assert [progress.query for progress in latest.queries] == ["requests"], "the file is not vouched for meanwhile"
    assert latest.previous_incarnation == first.id
    world.finish()
    reader = check(world)
    of_live: dict[int, list[tuple[int, int]]] = {}
    for beat, _ in reader.beats:
        for progress in beat.queries:
            if progress.version == REQUESTS.version:
                of_live.setdefault(beat.started_ns, []).append((progress.first_ns, progress.watermark_ns))
                assert progress.interrupted_from_ns is None
    lives = [of_live[start] for start in sorted(of_live)]
    assert len(lives) == 2
    assert max(watermark for _, watermark in lives[0]) == lives[1][0][0]
    assert {first_ns for first_ns, _ in lives[1]} == {lives[1][0][0]}


def beats(world: World) -> list[Heartbeat]:
    """In the order in which they were published."""
    frames = [decode_frame(payload) for _, _, payload in world.transport.taken]
    return [decode_heartbeat(frame.body) for frame in frames if frame.header.kind == "heartbeat"]


def test_a_second_outage_while_catching_up_makes_room_in_the_backlog_of_this_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (catch_up, uplink):
        monkeypatch.setattr(module, "AT_ONCE_BYTES", 3_000)
    monkeypatch.setattr(replay, "BATCH_ROWS", 20)
    world = World(tmp_path)
    world.agent.turn()
    for _ in range(2):
        world.act("away")
        for _ in range(10):
            world.send()
            world.act("checkpoint")
            world.act("turn")
        world.act("back")
        for _ in range(3):
            world.act("wait")
    spool = world.agent.spool
    assert spool.backlog_frames > 0
    world.act("away")
    world.send()
    before = spool.backlog_frames
    (replaced,) = spool_rows(spool.path, "SELECT sum(bytes) FROM frames WHERE sequence IS NULL AND kind = 'heartbeat'")
    spool.max_bytes = spool.bytes - int(str(replaced[0]))  # so that manifests must be merged as well
    world.act("checkpoint")
    assert world.agent._checkpointer.room.dropped_rows == 0
    assert world.agent._checkpointer.room.merged_frames > 0
    assert spool.backlog_frames < before
    spool.max_bytes = 2**24
    world.finish()
    check(world)


@pytest.mark.parametrize("reached_the_disk", [False, True])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_disk_that_fails_while_it_goes_on_anew_costs_nothing(
    tmp_path: Path, failing: int, reached_the_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint of the one incarnation, or the first of the next."""
    for module in (catch_up, uplink):
        monkeypatch.setattr(module, "AT_ONCE_BYTES", 3_000)
    monkeypatch.setattr(replay, "BATCH_ROWS", 20)
    world = World(tmp_path)
    spool, first = world.agent.spool, world.agent.incarnation
    for action in ["turn", "away", *["send", "checkpoint", "turn"] * 10, "back"]:
        world.act(action)
    store, calls = spool.store, itertools.count(1)

    def fails_once(*arguments: Any) -> None:
        fails = next(calls) == failing
        if reached_the_disk or not fails:
            store(*arguments)
        if fails:
            raise SpoolWriteError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(spool, "store", fails_once)
        world.act("wait")
        assert next(calls) == failing + 1
        assert world.agent._checkpointer.failing
        assert (world.agent.incarnation.id == first.id) == (failing == 1)
        world.send()
        world.act("checkpoint")
        for _ in range(3):
            world.act("wait")
    assert world.agent.incarnation.previous == first.id
    world.finish()
    reader = check(world)
    assert len({incarnation for incarnation, _ in reader.seen}) == 2
