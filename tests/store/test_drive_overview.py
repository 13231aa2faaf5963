"""The drives at a glance, on both databases."""

import sqlalchemy as sa

from store.connect import open_engine, upgrade
from store.drive_overview import ROUNDS_SCOPE, DrivesOverview, drive_models_named, drives_overview
from store.drive_progress import Progress, write_progress
from store.drives import GOOD, REPLACE, UNKNOWN, DriveSeen, DriveVerdict, note_drives, write_verdicts


def opened(url: str) -> sa.Engine:
    upgrade(url)
    return open_engine(url)


def test_no_drives_are_zeros_and_nothing_known(database_url: str) -> None:
    engine = opened(database_url)
    with engine.connect() as connection:
        assert drives_overview(connection) == DrivesOverview({}, 0, None, None, None)
        assert drive_models_named(connection) == []
    engine.dispose()


def test_drives_are_counted_by_model_and_state_with_when_they_were_judged(database_url: str) -> None:
    engine = opened(database_url)
    with engine.begin() as connection:
        seen = [
            DriveSeen("a", 7, model="M"),
            DriveSeen("b", 9, model="M", synthetic=True),
            DriveSeen("c", 8, model="L"),
            DriveSeen("d", 3),
        ]
        numbers = note_drives(connection, seen)
        write_verdicts(connection, [DriveVerdict(numbers["a"], GOOD, 1, "well", 7)], 50)
        write_verdicts(connection, [DriveVerdict(numbers["c"], REPLACE, 1, "ill", 8)], 60)
        write_progress(connection, ROUNDS_SCOPE, {0: Progress(40)}, 60)
        write_progress(connection, "another scope", {0: Progress(99)}, 60)
    with engine.connect() as connection:
        found = drives_overview(connection)
        assert drive_models_named(connection) == ["L", "M"]
    engine.dispose()
    assert found.counts == {("M", GOOD): 1, ("M", UNKNOWN): 1, ("L", REPLACE): 1, (None, UNKNOWN): 1}
    assert (found.synthetic, found.round_ns, found.scored_ns, found.last_day) == (1, 40, 60, 9)
