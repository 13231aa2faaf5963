"""Drives and what is said of them: numbers, identities, verdicts and the history of states."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from store.drive_overview import drives_overview
from store.drive_tables import DRIVES_PER_CHUNK
from store.drives import (
    GOOD,
    REPLACE,
    UNKNOWN,
    WATCH,
    DriveSeen,
    DriveVerdict,
    StateChange,
    chunk_of,
    chunk_rows,
    chunks,
    drive_ids,
    note_drives,
    one_drive,
    states_of,
    write_verdicts,
)
from store.errors import UnknownDriveError
from store.leases import take_lease
from tests.store.drives_world import DAY_NUMBER, NOW_NS, noted, verdict

HOUR_NS = 3600 * 10**9


def test_a_drive_keeps_its_number_and_the_identity_of_its_newest_day(engine: sa.Engine) -> None:
    first = DriveSeen("S1", 100, "web-1", "r1", "A1", "Intel", None, "fw1", "ata")
    later = DriveSeen("S1", 102, "web-2", None, "A1", "Intel", None, "fw2", "ata")
    earlier = DriveSeen("S1", 90, "web-0", "r0", "A0", synthetic=True)
    with engine.begin() as connection:
        numbers = note_drives(connection, [later, first, DriveSeen("S2", 100)])
        assert note_drives(connection, [first, later]) == {"S1": numbers["S1"]}
        row = one_drive(connection, "S1")
        assert (row.node, row.firmware, row.first_day, row.last_day) == ("web-2", "fw2", 100, 102)
        note_drives(connection, [earlier])
        row = one_drive(connection, numbers["S1"])
        assert drive_ids(connection, ["S2", "S1", "S9"]) == numbers
        note_drives(connection, [DriveSeen("S1", 103)])
        assert one_drive(connection, "S1").node == "web-2", "what is unknown today stays as it was"
    assert (row.first_day, row.last_day) == (90, 102)
    assert (row.node, row.rack, row.model, row.firmware) == ("web-2", None, "A1", "fw2")
    assert row.synthetic, "once made up, always made up"
    assert (row.state, row.p30, row.scored_ns, row.verdict) == (UNKNOWN, None, None, None)


def test_numbers_have_no_holes_however_often_known_drives_are_noted(engine: sa.Engine) -> None:
    names = [f"S{i}" for i in range(1500)]
    for upto in (700, 700, 1500):
        numbers = noted(engine, names[:upto])
    assert sorted(numbers.values()) == list(range(1, 1501))
    with engine.connect() as connection:
        assert chunks(connection) == [0, 1]
        parts = [chunk_rows(connection, chunk) for chunk in (0, 1, 2)]
    assert [len(part) for part in parts] == [DRIVES_PER_CHUNK - 1, 1500 - DRIVES_PER_CHUNK + 1, 0]
    assert {row.drive: row.id for part in parts for row in part} == numbers
    assert {row.chunk for row in parts[1]} == {1} == {chunk_of(row.id) for row in parts[1]}


def test_only_drives_of_which_something_else_is_said_are_written(engine: sa.Engine) -> None:
    names = [f"D{i}" for i in range(6)]
    noted(engine, names, node="n1", rack="r1", model="A1")
    written: list[int] = []

    def watch(_: object, __: object, statement: str, given: object, ___: object, many: bool) -> None:
        if statement.startswith("UPDATE drives"):
            written.append(len(given) if many else 1)  # type: ignore[arg-type]

    sa.event.listen(engine, "before_cursor_execute", watch)
    noted(engine, names, node="n1", rack="r1", model="A1")
    noted(engine, names)
    noted(engine, names, DAY_NUMBER, model="A1")
    assert written == []
    with engine.begin() as connection:
        same = [DriveSeen(name, DAY_NUMBER, "n1", "r1", "A1") for name in names[4:]]
        others = [
            DriveSeen(names[0], DAY_NUMBER + 1),
            DriveSeen(names[1], DAY_NUMBER - 1, "n9"),
            DriveSeen(names[2], DAY_NUMBER, "n2"),
            DriveSeen(names[3], DAY_NUMBER, firmware="f1"),
        ]
        note_drives(connection, [*same, *others])
    assert sum(written) == 4
    with engine.connect() as connection:
        rows = {row.drive: row for row in chunk_rows(connection, 0)}
    assert [(rows[name].first_day - DAY_NUMBER, rows[name].last_day - DAY_NUMBER) for name in names] == [
        (0, 1), (-1, 0), *[(0, 0)] * 4
    ]  # fmt: skip
    assert [(rows[name].node, rows[name].rack, rows[name].firmware) for name in names[:4]] == [
        ("n1", "r1", None), ("n1", "r1", None), ("n2", None, None), ("n1", "r1", "f1"),
    ]  # fmt: skip
    with engine.begin() as connection:
        note_drives(connection, [DriveSeen(names[5], DAY_NUMBER, synthetic=True)])
    assert sum(written) == 5


def test_two_who_note_the_same_drives_at_once_get_the_same_numbers(engine: sa.Engine) -> None:
    names = [f"S{i}" for i in range(300)]

    def note(who: str) -> dict[str, int]:
        with engine.begin() as connection:
            assert take_lease(connection, who, who, NOW_NS, HOUR_NS)  # two jobs: on PostgreSQL neither waits here
            return note_drives(connection, [DriveSeen(name, DAY_NUMBER) for name in names[:: 1 if who == "a" else -1]])

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(note, ["a", "b"])
    assert one == other
    assert len(set(one.values())) == 300


def test_a_verdict_is_kept_whole_and_only_changes_of_the_state_are_history(engine: sa.Engine) -> None:
    numbers = noted(engine, ["S1", "S2"], model="A1")
    said = DriveVerdict(
        numbers["S1"], WATCH, NOW_NS - 5, "reallocated sectors 4 -> 61 in 7 days", DAY_NUMBER, 0.25, 0.5, 81.5,
        DAY_NUMBER + 90, DAY_NUMBER + 60, DAY_NUMBER + 120, "sha256:ab", True, '{"rules": []}', '{"calm": 1}',
    )  # fmt: skip
    with engine.begin() as connection:
        assert write_verdicts(connection, [said, verdict(numbers["S2"], GOOD)], NOW_NS) == 2
        assert write_verdicts(connection, [said], NOW_NS + HOUR_NS) == 0
        assert write_verdicts(connection, [replace(said, state=REPLACE, why="worse")], NOW_NS + 2 * HOUR_NS) == 1
        assert write_verdicts(connection, [said, replace(said, drive_id=999)], NOW_NS + 3 * HOUR_NS) == 1
        row = one_drive(connection, "S1")
        history = states_of(connection, numbers["S1"])
        counts = drives_overview(connection).counts
    kept = {name: getattr(said, name) for name in DriveVerdict.__slots__ if name not in ("drive_id", "why")}
    assert {name: getattr(row, name) for name in kept} == kept
    assert (row.scored_ns, row.urgency) == (NOW_NS + 3 * HOUR_NS, 1.25)
    assert history == [
        StateChange(NOW_NS + 3 * HOUR_NS, NOW_NS - 5, REPLACE, WATCH, said.why),
        StateChange(NOW_NS + 2 * HOUR_NS, NOW_NS - 5, WATCH, REPLACE, "worse"),
        StateChange(NOW_NS, NOW_NS - 5, UNKNOWN, WATCH, said.why),
    ]
    assert counts == {("A1", GOOD): 1, ("A1", WATCH): 1}


def test_a_drive_is_found_by_serial_before_number_and_a_wrong_one_names_the_nearest(engine: sa.Engine) -> None:
    numbers = noted(engine, ["2", "S4F2NY0M1", "x"])
    assert numbers["2"] == 1
    with engine.connect() as connection:
        assert one_drive(connection, "2").id == 1, "what looks like a number is the serial number of another one"
        assert one_drive(connection, 2).drive == "S4F2NY0M1"
        assert one_drive(connection, "3").drive == "x"
        assert one_drive(connection, "S4F2NY0M1").id == numbers["S4F2NY0M1"]
        with pytest.raises(UnknownDriveError, match="did you mean 'S4F2NY0M1'"):
            one_drive(connection, "S4F2NY0M7")
        for nobody in ("99999999999999999999", "-1", "%", "²", ""):
            with pytest.raises(UnknownDriveError):
                one_drive(connection, nobody)
