"""A full spool: sums are merged without loss, drained rows are dropped with a count, what was sent is never touched."""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import SpoolWriteError
from agents.frames import frames_of, heartbeat_frame
from agents.query_run import QueryRun
from agents.spool import Checkpoint, Incarnation, Spool
from agents.spool_room import SpoolRoom
from agents.uplink import Uplink
from agents.waiting import SpoolFrame
from pipeline.chain import Chain
from pipeline.manifest import MANIFEST_SCHEMA, Manifest
from pipeline.partial import Partial
from tests.agents.world import CHAIN, MACHINE, Received, assert_same_answer, publisher_to, received, truth
from tests.fleet import probe_plan, probe_records
from wire.columns import unpack_columns
from wire.frame import decode_frame
from wire.heartbeat import Heartbeat, decode_heartbeat

AGGREGATE = CHAIN.row_stages + 1


def beat(number: int) -> SpoolFrame:
    return heartbeat_frame(Heartbeat("agent-1", "h", MACHINE, 1, number, False, [], {}))


def stored(spool: Spool, life: Incarnation, room: SpoolRoom, batches: list[tuple[pl.DataFrame, int]]) -> None:
    """One checkpoint per batch, each cut where it says."""
    for number, (rows, cut) in enumerate(batches, start=1):
        run = QueryRun(CHAIN, cut)
        run.run(rows)
        frames = [*frames_of(run.take(), number), beat(number)]
        spool.store(life, Checkpoint(number, frames, {}, number, False), room.make)
        room.settle()


def delivered(spool: Spool, log: Path) -> Received:
    with publisher_to(log) as publisher:
        Uplink(spool, publisher).drain(10.0)
    assert spool.frames == 0
    spool.close()
    return received(log)


def of_query(manifest: Manifest) -> tuple[int, int, int]:
    """(in, drained, dropped because the spool was full)."""
    windows = manifest.windows().values()
    return (
        sum(window.n_in for window in windows),
        sum(sum(window.n_drained) for window in windows),
        sum(window.n_dropped.get("spool_full", 0) for window in windows),
    )


def test_partials_merge_into_the_oldest_place_and_lose_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 40_000)
    room = SpoolRoom([CHAIN])
    parts = [probe_records(200, seed) for seed in range(30)]
    stored(spool, spool.begin("agent-1", 1), room, [(part, AGGREGATE) for part in parts])
    assert spool.bytes <= 40_000
    assert room.merged_frames > 20
    assert room.dropped_rows == 0
    got = delivered(spool, tmp_path / "log.db")
    assert len(got.partials) < len(parts)
    assert_same_answer(got.merged(), truth(pl.concat(parts)))
    assert got.manifest().conserved()
    assert of_query(got.manifest()) == (30 * 200, 0, 0)
    assert got.heartbeats[-1].sent_ns == 30
    kinds = [header.kind for header in got.headers]
    assert kinds.index("partial") < kinds.index("manifest")


def test_lines_that_merge_in_a_full_spool_are_those_of_one_pass(tmp_path: Path) -> None:
    long = "x" * 2_000
    plan = probe_plan(
        f"""SELECT first_lines(REPLACE(src, 'a', '{long}'), rtt_us) AS a_lines, last_lines(src) AS b_lines
        FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)"""
    )
    chain = Chain(plan, {})
    spool, room = Spool(tmp_path / "spool.db", MACHINE, 30_000), SpoolRoom([chain])
    life, parts = spool.begin("agent-1", 1), [probe_records(150, seed) for seed in range(20)]
    for number, rows in enumerate(parts, start=1):
        run = QueryRun(chain, AGGREGATE)
        run.run(rows)
        spool.store(
            life, Checkpoint(number, [*frames_of(run.take(), number), beat(number)], {}, number, False), room.make
        )
        room.settle()
    assert room.merged_frames > 5
    with publisher_to(tmp_path / "log.db") as publisher:
        Uplink(spool, publisher).drain(10.0)
    spool.close()
    merged = Partial.merge(received(tmp_path / "log.db", chain).partials).sorted()
    assert merged.to_frame().equals(truth(pl.concat(parts), chain))


def test_drained_rows_are_dropped_oldest_first_and_the_manifest_says_so(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**16)
    room = SpoolRoom([CHAIN])
    parts = [probe_records(300, seed) for seed in range(30)]
    stored(spool, spool.begin("agent-1", 1), room, [(part, 0) for part in parts])
    assert spool.bytes <= 2**16
    assert room.dropped_rows > 0
    kept = 30 - room.dropped_rows // 300
    got = delivered(spool, tmp_path / "log.db")
    assert_same_answer(got.merged(), truth(pl.concat(parts[-kept:])))
    assert got.manifest().conserved()
    assert of_query(got.manifest()) == (9000, kept * 300, 9000 - kept * 300)


def test_frames_handed_over_and_frames_of_earlier_lives_are_left_alone(tmp_path: Path) -> None:
    room = SpoolRoom([CHAIN])
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**16)
    stored(spool, spool.begin("agent-1", 1), room, [(probe_records(300, seed), 0) for seed in range(4)])
    spool.close()
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**16)
    life = spool.begin("agent-1", 2)
    stored(spool, life, room, [(probe_records(300, 4), 0)])
    handed = spool.hand_over(8, (), lambda: 4) + spool.hand_over(11, (), lambda: 4)[8:]
    before = {one.id: one.payload for one in handed}
    for number in range(2, 30):
        run = QueryRun(CHAIN, 0)
        run.run(probe_records(300, 100 + number))
        spool.store(life, Checkpoint(number, frames_of(run.take(), number), {}, number, False), room.make)
        room.settle()
    assert room.dropped_rows > 0
    after = {one.id: one.payload for one in spool.hand_over(len(handed), (), lambda: 4)}
    assert after == before
    got = delivered(spool, tmp_path / "log.db")
    assert got.manifest().conserved()
    assert of_query(got.manifest()) == (33 * 300, 33 * 300 - room.dropped_rows, room.dropped_rows)


@settings(max_examples=20)
@given(
    cuts=st.lists(st.integers(0, AGGREGATE), min_size=1, max_size=14),
    sends=st.lists(st.integers(0, 6), min_size=14, max_size=14),
    cap=st.integers(2_000, 60_000),
)
def test_with_any_cap_everything_is_delivered_or_counted_as_dropped(
    cuts: list[int], sends: list[int], cap: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("room")
    spool = Spool(folder / "spool.db", MACHINE, cap)
    room = SpoolRoom([CHAIN])
    life = spool.begin("agent-1", 1)
    for number, cut in enumerate(cuts, start=1):
        run = QueryRun(CHAIN, cut)
        run.run(probe_records(60, number))
        frames = [*frames_of(run.take(), number), beat(number)]
        spool.store(life, Checkpoint(number, frames, {}, number, False), room.make)
        room.settle()
        spool.hand_over(sends[number - 1], (), lambda: 4)
    got = delivered(spool, folder / "log.db")
    manifest = got.manifest()
    assert manifest.conserved()
    n_in, n_drained, n_dropped = of_query(manifest)
    assert (n_in, n_dropped) == (60 * len(cuts), room.dropped_rows)
    arrived = sum(count for partial in got.partials for count in partial.record_counts().values())
    windows = manifest.windows().values()
    finished = sum(window.n_local for window in windows) + n_drained
    assert arrived <= finished  # what was drained early is filtered by the collector
    if not room.dropped_rows:
        assert_same_answer(got.merged(), truth(pl.concat([probe_records(60, n + 1) for n in range(len(cuts))])))


def test_drained_rows_of_a_file_stay_even_above_the_cap(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**14)
    room = SpoolRoom([CHAIN], {CHAIN.plan.source})
    parts = [probe_records(300, seed) for seed in range(10)]
    stored(spool, spool.begin("agent-1", 1), room, [(part, 0) for part in parts])
    assert spool.bytes > 2**14
    got = delivered(spool, tmp_path / "log.db")
    assert_same_answer(got.merged(), truth(pl.concat(parts)))
    assert of_query(got.manifest()) == (3000, 3000, 0)


class Failing(sqlite3.Connection):
    """Fails one statement, before or after it has run."""

    statement = ""
    after = False
    measuring = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        found = bool(Failing.statement) and arguments[0].startswith(Failing.statement)
        if (found and not Failing.after) or (Failing.measuring and arguments[0].startswith("SELECT count(*), ")):
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(*arguments)
        if found:
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_that_failed_at_first_counts_what_it_gave_up_once(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**15, Failing)
    room = SpoolRoom([CHAIN])
    life = spool.begin("agent-1", 1)
    dropped = 0
    for number in range(1, 12):
        run = QueryRun(CHAIN, 0)
        run.run(probe_records(300, number))
        checkpoint = Checkpoint(number, [*frames_of(run.take(), number), beat(number)], {}, number, False)
        with monkeypatch.context() as patch:
            patch.setattr(Failing, "after", after)
            patch.setattr(Failing, "statement", "COMMIT")
            patch.setattr(Failing, "measuring", True)  # so that nobody can tell which it was
            with pytest.raises(SpoolWriteError):
                spool.store(life, checkpoint, room.make)
        assert room.dropped_rows == dropped
        spool.store(life, checkpoint, room.make)
        room.settle()
        dropped = room.dropped_rows
        measured = spool._db.execute("SELECT count(*), sum(bytes) FROM frames").fetchone()
        assert (spool.frames, spool.bytes) == measured
    assert room.merged_frames > 0
    got = delivered(spool, tmp_path / "log.db")
    assert got.manifest().conserved()
    assert of_query(got.manifest()) == (11 * 300, 11 * 300 - dropped, dropped)
    assert dropped > 0


def test_after_a_manifest_has_moved_no_earlier_heartbeat_vouches_for_what_it_counts(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 20_000)
    room, life = SpoolRoom([CHAIN]), spool.begin("agent-1", 1)
    spool.store(life, Checkpoint(1, [beat(0)], {}, 0, False), room.make)
    spool.acknowledge([one.id for one in spool.hand_over(1, (), lambda: 4)])
    for number in range(1, 20):
        run = QueryRun(CHAIN, AGGREGATE)
        run.run(probe_records(200, number))
        made = [*frames_of(run.take(), number), beat(number)]
        spool.store(life, Checkpoint(number + 1, made, {}, number, False), room.make)
        room.settle()
    handed = spool.hand_over(1_000, (), lambda: 4)
    counted = 0
    for frame in (decode_frame(one.payload) for one in handed):
        if frame.header.kind == "manifest":
            manifest = Manifest.from_frame(unpack_columns(frame.body, MANIFEST_SCHEMA))
            counted += sum(window.n_in for window in manifest.windows().values())
        elif frame.header.kind == "heartbeat":
            assert counted == 200 * decode_heartbeat(frame.body).sent_ns
    assert counted == 200 * 19
    spool.close()


def test_room_is_made_within_each_incarnation_and_the_frame_that_announces_one_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 25_000)
    room = SpoolRoom([CHAIN])
    life, parts = spool.begin("agent-1", 1), [probe_records(200, seed) for seed in range(24)]
    lives = [life]
    for number, part in enumerate(parts):
        if number and number % 8 == 0:
            life = spool.successor(life, number)
            lives.append(life)
        run = QueryRun(CHAIN, AGGREGATE)
        run.run(part)
        frames = [*frames_of(run.take(), number), beat(number)]
        checkpoint = Checkpoint(number % 8 + 1, [beat(number), *frames] if number % 8 == 0 else frames, {}, 1, False)
        spool.store(life, checkpoint, room.make)
        room.settle()
    assert room.merged_frames > 10
    got = delivered(spool, tmp_path / "log.db")
    assert_same_answer(got.merged(), truth(pl.concat(parts)))
    counted = zip([header for header in got.headers if header.kind == "partial"], got.partials, strict=True)
    rows = Counter[str]()
    for header, partial in counted:
        rows[header.incarnation] += sum(partial.record_counts().values())
    for place, one in enumerate(lives):
        of_its_own = truth(pl.concat(parts[8 * place : 8 * place + 8]))
        assert rows[one.id] == of_its_own["rows"].sum()
        kinds = [header.kind for header in got.headers if header.incarnation == one.id]
        assert kinds[0] == kinds[-1] == "heartbeat"
        assert kinds.count("heartbeat") == 2 or one is lives[-1]
