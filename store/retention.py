"""Retention: how long each level is kept, and raising its floor, below which nothing of it is left.

A floor rises in steps, each in one transaction that no flush overlaps: nothing finer goes before everything made of it
stands in the level above. Below the coarsest level's floor there is nothing, and what still comes is counted.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from store import tables
from store.changes import forget_page_changes
from store.levels import Floors, Level, load_floors
from store.registry import RegisteredVersion

_HOUR_NS = 3600 * 10**9
# A step deletes at most this much of a level, so that flushes never wait long.
_STEPS_NS = {0: _HOUR_NS, 1: 24 * _HOUR_NS, 2: 30 * 24 * _HOUR_NS}


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long a level is kept, by level number; at least as long as the finer one."""

    kept_ns: tuple[int, int, int]


def raise_floor(
    connection: sa.Connection, version: RegisteredVersion, number: int, retention: Retention, now_ns: int
) -> bool:
    """One step of one level's floor towards where retention wants it; False when nothing is left to do.

    The caller holds the jobs' lease in this transaction, and commits.
    """
    floors = load_floors(connection, {version.version_id: version.plan.window_ns}, lock="update")[version.version_id]
    level, floor_ns = floors.level(number), floors.floor_ns(number)
    limit_ns = _limit(floors, level, retention, now_ns)
    if floor_ns >= limit_ns:
        return False
    first_ns, reached_ns = _first_window(connection, version, number, floor_ns), limit_ns
    if first_ns is not None:
        aligned = floors.above(number) or level
        windows = max(1, _STEPS_NS[number] // aligned.width_ns)
        reached_ns = min(limit_ns, aligned.start_of(first_ns) + windows * aligned.width_ns)
    waits_ns = _first_waiting(connection, version, floors, number)
    if waits_ns is not None:
        reached_ns = min(reached_ns, waits_ns)
    if reached_ns <= floor_ns:
        return False
    table = tables.level_floors
    connection.execute(
        sa.update(table)
        .where(table.c.version_id == version.version_id, table.c.level == number)
        .values(floor_ns=reached_ns)
    )
    _delete_below(connection, version, floors, number, reached_ns)
    return True


def _limit(floors: Floors, level: Level, retention: Retention, now_ns: int) -> int:
    """Where retention wants the floor: whole windows of the next level, and never above a finer floor.

    A floor inside a window of the next level would part it: what lies above the floor would be there twice, and a
    late record would have it computed anew without what lies below.
    """
    above = floors.above(level.number)
    # Where the next level does not exist, its windows being no wider, this one stands in for it.
    stands_for = range(level.number, above.number if above is not None else len(retention.kept_ns))
    kept_ns = max(retention.kept_ns[number] for number in stands_for)
    finer = [floor for other, floor in zip(floors.levels, floors.floors_ns, strict=True) if other.number < level.number]
    return (above or level).start_of(min([now_ns - kept_ns, *finer]))


def _first_window(connection: sa.Connection, version: RegisteredVersion, number: int, floor_ns: int) -> int | None:
    """The oldest window at or above the floor of which the level holds anything."""
    pages, manifests = tables.pages, tables.manifests
    found = [
        connection.execute(
            sa.select(sa.func.min(pages.c.window_ns)).where(
                pages.c.version_id == version.version_id,
                pages.c.metric_id == metric_id,
                pages.c.level == number,
                pages.c.window_ns >= floor_ns,
            )
        ).scalar()
        for metric_id in version.metric_ids.values()
    ]
    found.append(
        connection.execute(
            sa.select(sa.func.min(manifests.c.window_ns)).where(
                manifests.c.version_id == version.version_id,
                manifests.c.level == number,
                manifests.c.window_ns >= floor_ns,
            )
        ).scalar()
    )
    return min((int(window) for window in found if window is not None), default=None)


def _first_waiting(connection: sa.Connection, version: RegisteredVersion, floors: Floors, number: int) -> int | None:
    """The oldest window of the level above that still waits for its roll-up."""
    above, table = floors.above(number), tables.rollup_dirty
    if above is None:
        return None
    found = connection.execute(
        sa.select(sa.func.min(table.c.window_ns)).where(
            table.c.version_id == version.version_id, table.c.level == above.number
        )
    ).scalar()
    return None if found is None else int(found)


def _delete_below(
    connection: sa.Connection, version: RegisteredVersion, floors: Floors, number: int, floor_ns: int
) -> None:
    # On PostgreSQL days are dropped as a whole (store/days.py); only what lies in the rest goes page by page.
    pages = tables.pages
    if connection.dialect.name == "postgresql":
        pages = sa.table(f"pages_{number}_rest", *(sa.column(column.name) for column in pages.c))  # type: ignore[assignment]
    connection.execute(
        sa.delete(pages).where(
            pages.c.version_id == version.version_id,
            pages.c.metric_id.in_(version.metric_ids.values()),
            pages.c.level == number,
            pages.c.window_ns < floor_ns,
        )
    )
    manifests = tables.manifests
    connection.execute(
        sa.delete(manifests).where(
            manifests.c.version_id == version.version_id,
            manifests.c.level == number,
            manifests.c.window_ns < floor_ns,
        )
    )
    if floors.above(number) is None:
        doubts = tables.interruptions
        connection.execute(
            sa.delete(doubts).where(doubts.c.version_id == version.version_id, doubts.c.to_ns <= floor_ns)
        )
        forget_page_changes(connection, version.version_id, floor_ns)
