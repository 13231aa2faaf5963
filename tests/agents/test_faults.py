"""A kill between any two statements, then a restart: every record of a replayed file counts exactly once.

The machine at the moment of the kill is the spool's files as they lie on the disk then, copied before the statement
runs. Every statement of every checkpoint, hand-over, acknowledgement and start is such a moment, and so is every call
of the transport; none is left out. Each run is killed a second time while it recovers.
"""

import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from agents import uplink
from agents.agent import Agent
from agents.frames import frames_of
from agents.hand_over import Lane
from agents.query_run import QueryRun
from agents.shares import Decision
from agents.sources import replay
from agents.spool import Checkpoint, Spool, StoredPosition
from agents.spool_room import SpoolRoom
from agents.uplink import Uplink
from tests.agents.world import (
    CHAIN,
    MACHINE,
    PLAN,
    assert_same_answer,
    probe_file,
    publisher_to,
    received,
    replay_config,
    truth,
)
from tests.fleet import TABLES, probe_records
from wire.embedded import EmbeddedPublisher
from wire.heartbeat import FINISHED_NS

ROWS = 240
#: What an adaptive agent is told after its first batch: rows are drained at every cut.
DECISION = Decision({PLAN.version: (0.5, 0.7, 1.0, 0.5)}, profile=True)


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Burns one step per moment; when it is through, the disk is copied and the process dies."""

    spool: ClassVar[Path]
    image: ClassVar[Path]
    left: ClassVar[int] = -1
    moments: ClassVar[int] = 0
    anew_at: ClassVar[int] = 1

    @classmethod
    def light(cls, spool: Path, image: Path, moments: int) -> None:
        cls.spool, cls.image, cls.left, cls.moments = spool, image, moments, 0

    @classmethod
    def burn(cls) -> None:
        cls.moments += 1
        cls.left -= 1
        if cls.left == 0:
            shutil.rmtree(cls.image, ignore_errors=True)
            cls.image.mkdir()
            for name in (cls.spool.name, cls.spool.name + "-wal"):
                if (cls.spool.parent / name).exists():
                    shutil.copy(cls.spool.parent / name, cls.image / name)
            raise Killed


class KilledConnection(sqlite3.Connection):
    """A connection on whose every statement the process may die."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        Fuse.burn()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        Fuse.burn()
        return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        Fuse.burn()
        return super().executescript(*arguments)


class KilledPublisher:
    """A real transport on whose every call, before and after, the process may die."""

    def __init__(self, real: EmbeddedPublisher) -> None:
        self._real = real

    def partitions(self) -> int:
        return self._real.partitions()

    def publish(self, partition: int, token: int, payload: bytes) -> None:
        Fuse.burn()
        self._real.publish(partition, token, payload)

    def acknowledged(self, timeout_s: float) -> list[int]:
        Fuse.burn()
        durable = self._real.acknowledged(timeout_s)
        Fuse.burn()
        return durable

    def close(self) -> None:
        self._real.close()


def run(folder: Path, spool: Path, data: Path, policy: str, kill_at: int, image: Path, *, anew: bool = False) -> bool:
    """One life of an agent; whether it ended by itself. `kill_at` 0 means never.

    With `anew` it goes on as another incarnation after every checkpoint, and its frames go in two lanes.
    The epochs of an adaptive one are so long that none ends; it is told what to do: its moments are always the same.
    """
    Fuse.light(spool, image, kill_at or -1)
    config = replay_config(folder, data, spool_path=str(spool), policy=policy)
    with publisher_to(folder / "log.db") as real:
        agent = None
        try:
            agent = Agent(config, [PLAN], TABLES, KilledPublisher(real), machine=MACHINE, connection=KilledConnection)
            while not agent.sources[0].source.finished:
                agent.turn()
                if policy == "adaptive":
                    agent.executor.end_epoch()
                    agent.executor.decide(DECISION)
                agent.turn()
                agent.checkpoint()
                if anew:
                    agent._checkpointer.go_on_anew(time.time_ns())
                    agent.turn()
            agent.close()
        except Killed:
            Fuse.left = -1
            if agent is not None:
                agent.abandon()
            return False
    return True


@pytest.mark.parametrize(
    ("policy", "anew", "first", "step"),
    [
        ("adaptive", False, 1, 1),
        ("all-sp", True, 1, 1),
        # These are at the same statements as the adaptive one, with other frames: between them, at two thirds of them.
        ("all-src", False, 1, 3),
        ("all-sp", False, 2, 3),
    ],
)
def test_a_kill_at_any_moment_loses_and_repeats_nothing(
    tmp_path: Path, policy: str, anew: bool, first: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 120)
    if anew:
        monkeypatch.setattr(uplink, "AT_ONCE_BYTES", 1)
    data, records = probe_file(tmp_path, ROWS)
    wanted = truth(records)
    (tmp_path / "clean").mkdir()
    assert run(tmp_path / "clean", tmp_path / "clean" / "spool.db", data, policy, 0, tmp_path / "none", anew=anew)
    moments = Fuse.moments
    assert moments > 60

    for kill_at in range(first, moments + 1, step):
        folder = tmp_path / f"{policy}-{kill_at}"
        folder.mkdir()
        assert not run(folder, folder / "spool.db", data, policy, kill_at, folder / "first", anew=anew), kill_at
        again_at = 1 + kill_at * 37 % 90
        ended = run(folder, folder / "first" / "spool.db", data, policy, again_at, folder / "second", anew=anew)
        if not ended:
            assert run(folder, folder / "second" / "spool.db", data, policy, 0, folder / "none"), kill_at
        got = received(folder / "log.db")
        assert_same_answer(got.merged(), wanted)
        manifest = got.manifest()
        assert manifest.conserved()
        assert sum(window.n_in for window in manifest.windows().values()) == ROWS
        last = max((beat for beat in got.heartbeats if beat.queries), key=lambda beat: beat.sent_ns).queries[0]
        assert (last.watermark_ns, last.finished, last.interrupted_from_ns) == (FINISHED_NS, True, None)
        assert last.first_ns == records["ts"].min()
        shutil.rmtree(folder)


def life_at_the_cap(folder: Path, spool_path: Path, cut: int, kill_at: int, image: Path, *, anew: bool = False) -> bool:
    """Four checkpoints with hardly any room, some frames handed over in between; whether it ended by itself.

    With `anew` there are two more, of another incarnation, as after an outage; both lanes are handed over in turn.
    """
    Fuse.light(spool_path, image, kill_at or -1)
    spool = None
    try:
        spool = Spool(spool_path, MACHINE, 3_500 if cut else 4_000, KilledConnection)
        life = spool.begin("agent-1", 1)
        at = spool.positions().get("source")
        room = SpoolRoom([CHAIN])
        number = 0
        for part in range(int(at.position) if at else 0, 6 if anew else 4):
            if part == 4 and number:
                Fuse.anew_at = Fuse.moments
                life, number = spool.successor(life, 1), 0
            number += 1
            query = QueryRun(CHAIN, cut)
            query.run(probe_records(40, part))
            position = {"source": StoredPosition(str(part + 1).encode(), None, None)}
            spool.store(life, Checkpoint(number, frames_of(query.take(), 1), position, 1, False), room.make)
            room.settle()
            if part == 0:
                spool.hand_over(1, (), lambda: 4)
            if part == 4:
                held = [one.id for one in spool.hand_over(2, (), lambda: 4, Lane.LIVE)]
                spool.hand_over(2, held, lambda: 4, Lane.BACKLOG)
        with publisher_to(folder / "log.db") as real:
            Uplink(spool, KilledPublisher(real)).drain(10.0)
        assert spool.frames == 0
        spool.close()
    except Killed:
        Fuse.left = -1
        if spool is not None:
            spool.close()
        return False
    return True


@pytest.mark.parametrize("anew", [False, True], ids=["one incarnation", "catching up"])
@pytest.mark.parametrize("cut", [0, CHAIN.row_stages + 1])
def test_a_kill_while_a_full_spool_makes_room_keeps_every_count(
    tmp_path: Path, cut: int, anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if anew:
        monkeypatch.setattr(uplink, "AT_ONCE_BYTES", 1)
    (tmp_path / "clean").mkdir()
    assert life_at_the_cap(tmp_path / "clean", tmp_path / "clean" / "spool.db", cut, 0, tmp_path / "none", anew=anew)
    moments, first = Fuse.moments, Fuse.anew_at if anew else 1
    undisturbed = received(tmp_path / "clean" / "log.db")
    parts = 6 if anew else 4
    assert len([header for header in undisturbed.headers if header.kind != "manifest"]) < parts
    assert len({header.incarnation for header in undisturbed.headers}) == 1 + anew
    wanted = truth(pl.concat([probe_records(40, part) for part in range(parts)]))
    for kill_at in range(first, moments + 1):  # without the outage, every moment before it is tried as well
        folder = tmp_path / f"{cut}-{kill_at}"
        folder.mkdir()
        assert not life_at_the_cap(folder, folder / "spool.db", cut, kill_at, folder / "first", anew=anew), kill_at
        assert life_at_the_cap(folder, folder / "first" / "spool.db", cut, 0, folder / "none", anew=anew)
        got = received(folder / "log.db")
        windows = got.manifest().windows().values()
        assert got.manifest().conserved()
        assert sum(window.n_in for window in windows) == 40 * parts
        if cut:
            assert_same_answer(got.merged(), wanted)
        else:
            drained = sum(sum(window.n_drained) for window in windows)
            assert sum(header.rows for header in got.headers if header.kind == "drained") == drained
        shutil.rmtree(folder)
