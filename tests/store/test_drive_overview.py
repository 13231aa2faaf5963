"""The drives at a glance, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from store.connect import open_engine, upgrade
from store.drive_overview import ROUNDS_SCOPE, DrivesOverview, drive_models_named, drives_overview
from store.drive_progress import Progress, write_progress
from store.drive_tables import drives
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


@pytest.mark.parametrize("ask", [drives_overview, drive_models_named])
def test_nothing_is_counted_from_the_long_rows_of_the_table(database_url: str, ask: Callable[[Any], object]) -> None:
    engine = opened(database_url)
    asked: list[tuple[str, Any]] = []

    def remember(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM drives" in statement:
            asked.append((statement, parameters))

    with engine.begin() as connection:
        connection.execute(sa.insert(drives), [{"drive": f"S{n}", "first_day": 1, "last_day": 1} for n in range(500)])
        sa.event.listen(connection, "before_cursor_execute", remember)
        ask(connection)
        sa.event.remove(connection, "before_cursor_execute", remember)
        assert asked
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        for statement, parameters in asked:
            explain = "EXPLAIN " if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
            steps = " / ".join(str(row) for row in connection.exec_driver_sql(explain + statement, parameters))
            assert "Index Only Scan" in steps or "COVERING INDEX" in steps, steps
    engine.dispose()
