"""Statuses on their way to the transport: when one is due, that none holds up data, and what goes when space is short.

And the share of records that was taken in, as the frames of a sampling agent carry it.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from agents.checkpoint import Checkpointer
from agents.executor import Executor
from agents.frames import frames_of, heartbeat_frame, manifest_frames, status_frame
from agents.shares import Policy
from agents.sources.source import Batch
from agents.spool import Checkpoint, Spool
from agents.spool_room import SpoolRoom
from agents.status_times import StatusTimes
from agents.uplink import Uplink
from agents.waiting import SpoolFrame
from pipeline.manifest import Manifest
from tests.agents.world import (
    CHAIN,
    MACHINE,
    PLAN,
    Received,
    assert_same_answer,
    publisher_to,
    received,
    spool_rows,
    truth,
)
from tests.fleet import SECOND_NS, START_NS, TABLES, probe_records
from wire.heartbeat import Heartbeat
from wire.status import ProxyStatus, QueryStatus, Status, decode_status

QUERY = QueryStatus("probes", PLAN.version, [ProxyStatus("aggregate", 0.5, 10, 5, 0)], 1.0)
STATUS = Status("agent-1", 0, "adaptive", "adapt", 3, 1.0, 0.5, "cores", 0.4, "closed", 1.0, [QUERY])


def changed(**changes: object) -> Status:
    return msgspec.structs.replace(STATUS, **changes)


class Told:
    """A source of statuses, and what of them is due."""

    def __init__(self) -> None:
        self.status: Status | None = STATUS
        self.times = StatusTimes(lambda: self.status)

    def at(self, now_s: float, **changes: object) -> Status | None:
        self.status = None if self.status is None else msgspec.structs.replace(self.status, **changes)
        frame = self.times.due(START_NS + round(now_s * SECOND_NS))
        return None if frame is None else decode_status(frame.body)


def test_a_status_is_due_at_first_and_every_ten_seconds_by_the_checkpoints_clock() -> None:
    told = Told()
    due = [now_s for now_s in range(0, 32, 2) if told.at(now_s) is not None]
    assert due == [0, 10, 20, 30]
    assert told.at(50) == changed(sent_ns=START_NS + 50 * SECOND_NS)


@pytest.mark.parametrize(
    "news",
    [
        {"policy": "all-sp"},
        {"state": "profile"},
        {"breaker": "sampling"},
        {"budget_from": "idle_share"},
        {"budget_cores": 0.56},
        {"budget_cores": 0.44},
    ],
    ids=str,
)
def test_what_changed_is_told_at_once_and_once(news: dict[str, object]) -> None:
    told = Told()
    told.at(0)
    assert told.at(1) is None
    found = told.at(2, **news)
    assert found == changed(sent_ns=START_NS + 2 * SECOND_NS, **news)
    assert [told.at(now_s) is None for now_s in (3, 11, 12)] == [True, True, False]


@pytest.mark.parametrize("noise", [{"budget_cores": 0.54}, {"cpu_cores": 0.1}, {"epochs_in_state": 4}], ids=str)
def test_what_moves_all_the_time_is_no_news(noise: dict[str, object]) -> None:
    told = Told()
    told.at(0)
    assert told.at(1, **noise) is None


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    told = Told()
    told.at(3600)
    assert told.at(0) is not None
    assert told.at(5) is None


def test_an_agent_with_nothing_to_say_says_nothing_until_it_has() -> None:
    told = Told()
    told.status = None
    assert told.at(0) is None
    told.status = STATUS
    assert told.at(1) is not None


class Queries(Executor):
    """Gives a checkpoint what the test gathered."""

    def __init__(self) -> None:
        super().__init__([], {}, "h", "all-src")
        self.gathered: list[Any] = []

    def take(self) -> list[Any]:
        taken, self.gathered = self.gathered, []
        return taken


def delta_of(seed: int, policy: Policy = "all-src") -> Any:
    """What 50 records leave behind."""
    executor = Executor([PLAN], TABLES, "h", policy)
    executor.add(Batch("probes", probe_records(50, seed)))
    (delta,) = executor.take()
    return delta


def checkpointer(spool: Spool, queries: Queries, told: Told) -> Checkpointer:
    def status() -> Status | None:
        return told.status

    incarnation = spool.begin("agent-1", START_NS)
    made = Checkpointer(spool, incarnation, queries, [], host="h", machine=MACHINE, counters=dict, status=status)
    made.room.know([CHAIN], ())
    return made


def delivered(spool: Spool, log: Path) -> Received:
    with publisher_to(log) as publisher:
        Uplink(spool, publisher).drain(10.0)
    assert spool.frames == 0
    spool.close()
    return received(log)


def test_statuses_stand_behind_the_heartbeat_and_in_no_manifest(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**26)
    queries, told = Queries(), Told()
    taken = checkpointer(spool, queries, told)
    for number in range(8):
        queries.gathered = [delta_of(number)] if number else []
        taken.take(START_NS + number * 2 * SECOND_NS)
    taken.go_on_anew(START_NS + 16 * SECOND_NS)
    got = delivered(spool, tmp_path / "log.db")
    sent = sorted((status.sent_ns - START_NS) // SECOND_NS for status in got.statuses)
    assert sent == [0, 10, 16]  # a new incarnation begins with one
    kinds = [header.kind for header in got.headers]
    assert kinds[:2] == ["heartbeat", "status"]
    assert kinds.count("heartbeat") == 10
    assert {(h.query, h.version, h.rows) for h in got.headers if h.kind == "status"} == {("", "", 0)}
    assert got.manifest().conserved()
    assert sum(window.n_in for window in got.manifest().windows().values()) == 7 * 50


def test_a_status_that_no_collector_would_take_is_left_out_told_once_and_holds_up_no_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**26)
    queries, told = Queries(), Told()
    told.status = changed(cpu_cores=float("nan"))
    taken = checkpointer(spool, queries, told)
    with caplog.at_level(logging.ERROR):
        for number in range(20):
            queries.gathered = [delta_of(number)]
            taken.take(START_NS + number * 2 * SECOND_NS)
        assert [record.message.partition(" error=")[0] for record in caplog.records] == [
            "the status cannot be sent, it is left out"
        ]
        told.status = STATUS
        taken.take(START_NS + 40 * SECOND_NS)
    got = delivered(spool, tmp_path / "log.db")
    assert len(got.statuses) == 1
    assert sum(window.n_in for window in got.manifest().windows().values()) == 20 * 50


def stored(spool: Spool, room: SpoolRoom, checkpoints: Iterable[list[SpoolFrame]]) -> None:
    life = spool.begin("agent-1", 1)
    for number, frames in enumerate(checkpoints, start=1):
        spool.store(life, Checkpoint(number, frames, {}, number, False), room.make)
        room.settle()


def beat(number: int) -> SpoolFrame:
    return heartbeat_frame(Heartbeat("agent-1", "h", MACHINE, 1, number, False, [], {}))


def test_when_space_is_short_replaced_statuses_go_before_anything_else(tmp_path: Path) -> None:
    statuses = [status_frame(changed(sent_ns=number)) for number in range(40)]
    beats = [beat(number) for number in range(40)]
    spool = Spool(tmp_path / "spool.db", MACHINE, sum(one.bytes for one in beats) + 2 * statuses[0].bytes)
    room = SpoolRoom([CHAIN])
    pairs = list(zip(beats, statuses, strict=True))
    life = spool.begin("agent-1", 1)
    for number, pair in enumerate(pairs, start=1):
        spool.store(life, Checkpoint(number, list(pair), {}, number, False), room.make)
        room.settle()
        ((newest,),) = spool_rows(spool.path, "SELECT max(created_ns) FROM frames WHERE kind = 'status'")
        assert newest == number - 1
    assert spool.bytes <= spool.max_bytes
    got = delivered(spool, tmp_path / "log.db")
    assert [one.sent_ns for one in got.heartbeats] == list(range(40))
    assert 1 <= len(got.statuses) <= 2
    assert got.statuses[-1].sent_ns == 39
    assert (room.dropped_rows, room.merged_frames) == (0, 0)


def sampled_delta(seed: int, left_out: int, policy: Policy = "all-src") -> Any:
    """Beside the 50 records of `delta_of`, so many in its first window that were not taken in."""
    delta = delta_of(seed, policy)
    windows, counts = np.array([START_NS]), np.array([left_out])
    delta.manifest.add("in", windows, counts)
    delta.manifest.add("sampled_out", windows, counts)
    return delta


@pytest.mark.parametrize("policy", ["all-sp", "all-src"])
def test_frames_carry_the_share_that_was_taken_in_while_they_were_gathered(tmp_path: Path, policy: Policy) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**26)
    stored(
        spool, SpoolRoom([CHAIN]), [[beat(1), *frames_of(sampled_delta(1, 150, policy), 1)], frames_of(delta_of(2), 2)]
    )
    got = delivered(spool, tmp_path / "log.db")
    assert [header.sampled for header in got.headers] == [1.0, 0.25, 0.25, 1.0, 1.0]


def test_merged_frames_carry_the_share_of_all_that_they_hold(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 1)  # no room at all: whatever may be merged is
    room = SpoolRoom([CHAIN])
    parts = [(1, 150), (2, 0), (3, 50)]
    stored(spool, room, ([*frames_of(sampled_delta(*part), 1), beat(part[0])] for part in parts))
    got = delivered(spool, tmp_path / "log.db")
    shares = {header.kind: header.sampled for header in got.headers}
    assert [header.kind for header in got.headers].count("partial") == 1
    assert shares["manifest"] == pytest.approx(150 / 350)
    held = [sum(window.n_local for window in delta_of(seed).manifest.windows().values()) for seed, _ in parts]
    offered = held[0] / 0.25 + held[1] + held[2] / 0.5
    assert shares["partial"] == pytest.approx(sum(held) / offered)
    assert_same_answer(got.merged(), truth(pl.concat([probe_records(50, seed) for seed, _ in parts])))
    assert got.manifest().conserved()


def test_a_manifest_of_nothing_or_of_nothing_but_records_left_out_has_a_share() -> None:
    manifest = Manifest()
    assert manifest.sampled == 1.0
    manifest.add("in", np.array([START_NS]), np.array([5]))
    manifest.add("sampled_out", np.array([START_NS]), np.array([5]))
    assert manifest.sampled == 0.0
    (frame,) = manifest_frames(PLAN, manifest, 1)
    assert frame.sampled == 0.0
