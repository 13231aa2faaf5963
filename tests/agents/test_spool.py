"""The spool: sequences only at hand-over, incarnations kept apart, files of others refused, nothing stored twice."""

import logging
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from agents import spool_file
from agents.errors import SpoolBusyError, SpoolError, SpoolNewerError, SpoolWriteError
from agents.hand_over import HandedFrame
from agents.spool import Checkpoint, Incarnation, Spool, StoredPosition
from agents.waiting import SpoolFrame
from tests.agents.world import MACHINE, spool_rows
from wire.errors import TransportError
from wire.frame import Header, decode_frame

CAP = 2**20
VERSION = "0" * 16


def opened(folder: Path, machine: str = MACHINE, cap: int = CAP) -> Spool:
    return Spool(folder / "spool.db", machine, cap)


def frame(name: str, kind: str = "drained") -> SpoolFrame:
    return SpoolFrame(kind, name, VERSION, 0, 10, 20, 5, 1, name.encode())  # type: ignore[arg-type]


def checkpoint(number: int, *names: str, clean: bool = False, time_ns: int = 100) -> Checkpoint:
    return Checkpoint(number, [frame(name) for name in names], {}, time_ns, clean)


def headers(handed: list[HandedFrame]) -> list[Header]:
    return [decode_frame(one.payload).header for one in handed]


def four() -> int:
    return 4


def test_a_sequence_exists_only_from_the_hand_over_on(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    life = spool.begin("agent-1", 1)
    spool.store(life, checkpoint(1, "a", "b", "c"))
    assert spool_rows(spool.path, "SELECT sequence FROM frames") == [(None,)] * 3
    first = spool.hand_over(2, (), four)
    assert [(one.query, one.sequence) for one in headers(first)] == [("a", 1), ("b", 2)]
    assert spool_rows(spool.path, "SELECT sequence FROM frames") == [(1,), (2,), (None,)]
    more = spool.hand_over(5, {one.id for one in first}, four)
    assert [(one.query, one.sequence) for one in headers(more)] == [("c", 3)]
    assert len({one.partition for one in first + more}) == 1
    spool.close()


def test_frames_are_sent_again_unchanged_until_acknowledged(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.store(spool.begin("agent-1", 1), checkpoint(1, "a", "b"))
    first = spool.hand_over(5, (), four)
    assert spool.hand_over(5, (), four) == first
    spool.acknowledge([first[0].id])
    assert spool.hand_over(5, (), four) == first[1:]
    spool.acknowledge([first[1].id, first[0].id])
    assert (spool.frames, spool.bytes) == (0, 0)
    assert spool.hand_over(5, (), four) == []
    spool.close()


def test_an_earlier_incarnation_keeps_its_name_partition_and_numbering(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    first = spool.begin("old name", 1)
    spool.store(first, checkpoint(1, "a", "b"))
    (handed,) = spool.hand_over(1, (), four)
    spool.close()

    spool = opened(tmp_path)
    second = spool.begin("new name", 2)
    assert second.id != first.id
    spool.store(second, checkpoint(1, "c"))
    sent = spool.hand_over(9, (), lambda: 1000)
    assert sent[0] == replace(handed, backlog=True)
    told = [(one.agent, one.incarnation, one.started_ns, one.sequence, one.query) for one in headers(sent)]
    assert told == [
        ("old name", first.id, 1, 1, "a"),
        ("old name", first.id, 1, 2, "b"),
        ("new name", second.id, 2, 1, "c"),
    ]
    assert sent[1].partition == handed.partition
    spool.acknowledge(one.id for one in sent)
    third = spool.begin("new name", 3)
    assert spool_rows(spool.path, "SELECT id FROM incarnations ORDER BY ordinal") == [(second.id,), (third.id,)]
    spool.close()


def test_the_partition_is_chosen_when_the_transport_answers_and_then_stays(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.store(spool.begin("agent-1", 1), checkpoint(1, *"abcdefgh"))

    def out_of_reach() -> int:
        raise TransportError("no route")

    with pytest.raises(TransportError):
        spool.hand_over(5, (), out_of_reach)
    assert spool_rows(spool.path, "SELECT count(*) FROM frames WHERE sequence IS NOT NULL") == [(0,)]
    chosen = {one.partition for _ in range(8) for one in spool.hand_over(8, (), lambda: 1_000_000)}
    assert len(chosen) == 1
    spool.close()


def test_incarnations_choose_their_partitions_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.hand_over.secrets.randbelow", random.Random(1).randrange)
    spool = opened(tmp_path)
    chosen = set()
    for life in range(40):
        spool.store(spool.begin("agent-1", life), checkpoint(1, "a"))
        (handed,) = spool.hand_over(1, (), four)
        chosen.add(handed.partition)
        spool.acknowledge([handed.id])
    assert chosen == {0, 1, 2, 3}
    spool.close()


def lives(spool: Spool, *ends: int | str | None) -> Incarnation:
    """Earlier lives: an int is the time of the last checkpoint before a kill, None a kill before any."""
    for number, end in enumerate(ends):
        life = spool.begin("agent-1", 1000 * (number + 1))
        if end == "clean":
            spool.store(life, checkpoint(1, clean=True, time_ns=1))
        elif isinstance(end, int):
            spool.store(life, checkpoint(1, time_ns=end))
    return spool.begin("agent-1", 9000)


@pytest.mark.parametrize(
    ("ends", "doubt_from_ns"),
    [
        ((), None),
        (("clean",), None),
        ((1500,), 1500),
        ((None,), 1000),
        ((1500, None), 1500),
        ((1500, None, None), 1500),
        ((1500, 2500), 2500),
        ((1500, "clean"), None),
        (("clean", None), 2000),
    ],
)
def test_an_unclean_end_leaves_doubt_from_the_last_checkpoint_on(
    tmp_path: Path, ends: tuple[int | str | None, ...], doubt_from_ns: int | None
) -> None:
    spool = opened(tmp_path)
    assert lives(spool, *ends).interrupted_from_ns == doubt_from_ns
    spool.close()


def test_storing_a_checkpoint_twice_changes_nothing(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    life = spool.begin("agent-1", 1)
    at = StoredPosition(b"here", 3, 4)
    once = Checkpoint(1, [frame("a")], {"replay:x": at}, 100, False)
    spool.store(life, once)
    held = (spool.frames, spool.bytes)
    spool.store(life, once)
    assert (spool.frames, spool.bytes) == held == (1, frame("a").bytes)
    assert spool.positions() == {"replay:x": at}
    spool.close()
    again = opened(tmp_path)
    assert (again.frames, again.bytes) == held
    again.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(SpoolBusyError, match="another agent uses it"):
        opened(tmp_path)
    spool.close()
    opened(tmp_path).close()


def test_a_newer_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(SpoolNewerError, match=f"has format 99, this program knows up to {len(spool_file.UPGRADES)}"):
        opened(tmp_path)
    assert path.read_bytes() == before


def test_an_older_format_is_upgraded_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(tmp_path)
    spool.store(spool.begin("agent-1", 1), checkpoint(1, "a"))
    spool.close()
    steps = (*spool_file.UPGRADES, ("ALTER TABLE frames ADD COLUMN note TEXT", "CREATE TABLE notes (id INTEGER)"))
    monkeypatch.setattr(spool_file, "UPGRADES", steps)
    upgraded = opened(tmp_path)
    assert spool_rows(upgraded.path, "PRAGMA user_version") == [(len(steps),)]
    assert spool_rows(upgraded.path, "SELECT query, note FROM frames") == [("a", None)]
    upgraded.close()


def test_a_spool_of_another_machine_is_set_aside_with_its_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = opened(tmp_path, machine="a" * 32)
    theirs.store(theirs.begin("agent-1", 1), checkpoint(1, "a"))
    theirs.close()
    with caplog.at_level(logging.WARNING):
        ours = opened(tmp_path)
    assert ours.frames == 0
    assert "another machine wrote it" in caplog.text
    ours.close()
    kept = tmp_path / "spool.db.of-aaaaaaaa"
    assert spool_rows(kept, "SELECT query FROM frames") == [("a",)]
    opened(tmp_path, machine="b" * 32).close()
    opened(tmp_path, machine=MACHINE).close()
    opened(tmp_path, machine="b" * 32).close()
    assert sorted(path.name for path in tmp_path.glob("spool.db.of-*")) == [
        f"spool.db.of-{MACHINE[:8]}",
        f"spool.db.of-{MACHINE[:8]}.1",
        "spool.db.of-aaaaaaaa",
        "spool.db.of-bbbbbbbb",
    ]


def test_what_is_no_spool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database at all, but long enough to be read as one" * 50)
    with pytest.raises(SpoolError, match="is no SQLite file"):
        opened(tmp_path)
    (tmp_path / "spool.db").unlink()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    with pytest.raises(SpoolError, match="database of another program"):
        opened(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpoolWriteError, match="folder writable"):
        Spool(tmp_path / "file" / "spool.db", MACHINE, CAP)


def test_a_full_disk_is_an_error_that_changes_nothing_and_passes(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    life = spool.begin("agent-1", 1)
    spool.store(life, checkpoint(1, "a"))
    (pages,) = spool._db.execute("PRAGMA page_count").fetchone()
    spool._db.execute(f"PRAGMA max_page_count = {pages}")
    large = Checkpoint(
        2,
        [SpoolFrame("drained", "q", VERSION, 0, 0, 0, 0, 1, bytes(100_000))],
        {"s": StoredPosition(b"2", None, None)},
        200,
        False,
    )
    with pytest.raises(SpoolWriteError, match="SQLITE_FULL"):
        spool.store(life, large)
    assert (spool.frames, spool.positions()) == (1, {})
    spool._db.execute("PRAGMA max_page_count = 100000")
    spool.store(life, large)
    assert spool.frames == 2
    assert spool.positions()["s"].position == b"2"
    spool.close()


def test_the_file_shrinks_again_after_a_backlog(tmp_path: Path) -> None:
    spool = opened(tmp_path, cap=2**30)
    life = spool.begin("agent-1", 1)
    large = SpoolFrame("drained", "q", VERSION, 0, 0, 0, 0, 1, bytes(100_000))
    spool.store(life, Checkpoint(1, [large] * 90, {}, 1, False))
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert spool.path.stat().st_size > 8 * 2**20
    spool.acknowledge(one.id for one in spool.hand_over(1000, (), four))
    spool.store(life, Checkpoint(2, [large] * 90, {}, 1, False))
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert 8 * 2**20 < spool.path.stat().st_size < 12 * 2**20, "the room is used again"
    spool.acknowledge(one.id for one in spool.hand_over(1000, (), four))
    spool.store(life, Checkpoint(3, [], {}, 1, False))
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert spool.path.stat().st_size < 2 * 2**20
    spool.close()


def test_frames_of_a_spool_of_an_older_format_are_sent_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(spool_file, "UPGRADES", spool_file.UPGRADES[:3])
        opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute(
            "INSERT INTO incarnations (id, agent, started_ns, checkpoints, heartbeat_ns) VALUES (?, 'a', 1, 1, 1)",
            ("0" * 32,),
        )
        db.execute(
            "INSERT INTO frames VALUES (7, 1, NULL, 'drained', 'q', ?, 0, 0, 0, 1, 1, 260, x'0102', 1.0)", (VERSION,)
        )
    db.close()
    spool = opened(tmp_path)
    (handed,) = spool.hand_over(9, (), four)
    assert decode_frame(handed.payload).body == b"\x01\x02"
    spool.acknowledge([handed.id])
    assert spool.frames == 0
    spool.close()


def test_a_body_goes_with_its_frame(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.store(spool.begin("agent-1", 1), checkpoint(1, "a", "b"))
    assert spool_rows(spool.path, "SELECT count(*) FROM bodies") == [(2,)]
    spool.acknowledge([spool.hand_over(1, (), four)[0].id])
    assert spool_rows(spool.path, "SELECT frames.id FROM frames JOIN bodies USING (id)") == [(2,)]
    assert spool_rows(spool.path, "SELECT id FROM bodies") == [(2,)]
    spool.close()


def test_doubt_begins_where_the_last_checkpoint_vouched_for_a_query(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    first = spool.begin("agent-1", 1000)
    spool.store(first, Checkpoint(1, [], {}, 1500, False, {"slow": 1200, "quick": 1490}))
    spool.store(first, Checkpoint(2, [], {}, 1600, False, {"slow": 1300, "quick": 1590}))
    second = spool.begin("agent-1", 2000)
    third = spool.begin("agent-1", 3000)  # the second ended before its first checkpoint
    for life in (second, third):
        assert [life.in_doubt_from(query) for query in ("slow", "quick", "new")] == [1300, 1590, 1600]
    spool.store(third, Checkpoint(1, [], {}, 3500, True, {"slow": 3400}))
    assert spool.begin("agent-1", 4000).in_doubt_from("slow") is None
    assert spool.begin("agent-1", 5000).in_doubt_from("slow") == 4000
    spool.close()


def test_a_spool_of_the_first_format_goes_on_with_the_time_of_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(spool_file, "UPGRADES", spool_file.UPGRADES[:1])
        spool = opened(tmp_path)
        spool._db.execute(
            "INSERT INTO incarnations (id, agent, started_ns, checkpoints, heartbeat_ns) "
            "VALUES ('a', 'a', 1000, 1, 1500)"
        )
        spool.close()
    spool = opened(tmp_path)
    assert spool.begin("agent-1", 2000).in_doubt_from("any") == 1500
    spool.close()


def test_a_start_names_the_one_before_and_how_far_its_numbers_may_go(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    first = spool.begin("agent-1", 1)
    assert (first.previous, first.previous_sequence) == ("", 0)
    spool.store(first, checkpoint(1, "a", "b", "c", "d"))
    handed = spool.hand_over(2, (), four)
    spool.acknowledge([handed[0].id])
    second = spool.begin("agent-1", 2)
    assert (second.previous, second.previous_sequence) == (first.id, 4)  # c and d may still be sent as 3 and 4
    third = spool.begin("agent-1", 3)  # nobody ever heard of the second
    assert (third.previous, third.previous_sequence) == (first.id, 4)
    spool.acknowledge(one.id for one in spool.hand_over(9, (), four))
    fourth = spool.begin("agent-1", 4)
    assert (fourth.previous, fourth.previous_sequence) == (first.id, 4), "forgotten once it was delivered"
    spool.store(fourth, checkpoint(1))
    fifth = spool.begin("agent-1", 5)
    assert (fifth.previous, fifth.previous_sequence) == (fourth.id, 0)
    assert spool_rows(spool.path, "SELECT id FROM incarnations ORDER BY ordinal") == [(fourth.id,), (fifth.id,)]
    spool.close()


def test_a_spool_restored_from_an_older_disk_knows_of_fewer_frames_than_were_sent(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    life = spool.begin("agent-1", 1)
    spool.store(life, checkpoint(1, "a", "b"))
    spool.hand_over(1, (), four)
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    image = spool.path.read_bytes()
    sent = 0
    for number in range(2, 5):
        spool.store(life, checkpoint(number, f"c{number}"))
        handed = spool.hand_over(9, (), four)
        sent = max(sent, *(header.sequence for header in headers(handed)))
        spool.acknowledge(one.id for one in handed)
    spool.close()
    spool.path.write_bytes(image)
    restored = opened(tmp_path)
    again = restored.begin("agent-1", 2)
    assert (again.previous, again.previous_sequence, sent) == (life.id, 2, 5)
    restored.close()
