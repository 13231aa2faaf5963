"""Levels: the widths in which windows are kept, how far down each level still reaches, and which one a read uses.

Level 0 is the query's own window. Level 1 is the smallest multiple of it that lasts a minute or longer, level 2 the
smallest multiple of level 1 that lasts an hour or longer; a level that would be no wider than the one below it does
not exist. So a coarser window is always made of whole finer ones: 7 s windows have levels of 63 s and 3,654 s.

A level's floor is where it begins to be kept: what lies below is in the next level only, and below the coarsest floor
in none. Floors only rise, and only under a lock that every flush shares, so nothing is ever written below one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from store import tables
from store.rows import rows
from store.upsert import insert_missing

SECOND_NS = 10**9
TARGETS_NS = (60 * SECOND_NS, 3600 * SECOND_NS)
BEGINNING_NS = -(2**63)
TOO_OLD = -1
# With more stretches waiting for their roll-up than this, a read does not look for coarse windows among them.
MOST_WAITING = 256
_WAITING = """SELECT DISTINCT level, window_ns FROM rollup_dirty
WHERE version_id = ? AND window_ns >= ? AND window_ns < ? LIMIT ?"""
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Level:
    """One width of windows; `number` is what the tables call it."""

    number: int
    width_ns: int

    def start_of(self, window_ns: int) -> int:
        """Start of the level's window that holds this one."""
        return window_ns // self.width_ns * self.width_ns


@dataclass(frozen=True, slots=True)
class Floors:
    """A query version's levels, finest first, and the floor of each."""

    levels: tuple[Level, ...]
    floors_ns: tuple[int, ...]

    def above(self, number: int) -> Level | None:
        """The next coarser level."""
        return next((level for level in self.levels if level.number > number), None)

    def level(self, number: int) -> Level:
        """The level of this number."""
        return next(level for level in self.levels if level.number == number)

    def floor_ns(self, number: int) -> int:
        """Where the level begins."""
        return next(floor for level, floor in zip(self.levels, self.floors_ns, strict=True) if level.number == number)

    def place(self, windows: Int64Array) -> tuple[Int64Array, Int64Array]:
        """(level, that level's window) in which each own window is kept; level TOO_OLD where in none."""
        numbers, starts = np.full(windows.size, TOO_OLD, np.int64), windows.copy()
        for level, floor_ns in reversed(list(zip(self.levels, self.floors_ns, strict=True))):
            held = np.maximum(windows, BEGINNING_NS + level.width_ns) // level.width_ns * level.width_ns
            kept = held >= floor_ns
            numbers[kept], starts[kept] = level.number, held[kept]
        own = windows >= self.floors_ns[0]
        starts[own] = windows[own]
        return numbers, starts


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch that a read takes from one level. `finest` says that nothing finer is kept there."""

    level: Level
    from_ns: int
    to_ns: int
    finest: bool


def levels_of(window_ns: int) -> tuple[Level, ...]:
    """The levels of a query with this window, finest first."""
    levels = [Level(0, window_ns)]
    for number, target_ns in enumerate(TARGETS_NS, start=1):
        width_ns = levels[-1].width_ns
        if width_ns < target_ns:
            levels.append(Level(number, -(-target_ns // width_ns) * width_ns))
    return tuple(levels)


def load_floors(
    connection: sa.Connection, windows_ns: Mapping[int, int], *, lock: str | None = None
) -> dict[int, Floors]:
    """Floors of query versions, given the window of each.

    Args:
        lock: "share" holds floors still until the transaction ends, "update" lets this transaction move them.
            SQLite has one writer at a time and needs neither.
    """
    table = tables.level_floors
    query = (
        sa.select(table).where(table.c.version_id.in_(sorted(windows_ns))).order_by(table.c.version_id, table.c.level)
    )
    if lock is not None:
        rows = [
            {"version_id": version_id, "level": level.number, "floor_ns": BEGINNING_NS}
            for version_id, window_ns in sorted(windows_ns.items())
            for level in levels_of(window_ns)
        ]
        known = {(row.version_id, row.level) for row in connection.execute(query)}
        insert_missing(connection, table, [row for row in rows if (row["version_id"], row["level"]) not in known])
        query = query.with_for_update(read=lock == "share")
    found = {(row.version_id, row.level): row.floor_ns for row in connection.execute(query)}
    return {
        version_id: Floors(
            levels_of(window_ns),
            tuple(found.get((version_id, level.number), BEGINNING_NS) for level in levels_of(window_ns)),
        )
        for version_id, window_ns in windows_ns.items()
    }


def plan_read(
    connection: sa.Connection, version_id: int, floors: Floors, start_ns: int, end_ns: int, step_ns: int | None
) -> list[Segment]:
    """As `segments_of`, for a caller that remembers nothing."""
    return segments_of(
        floors, start_ns, end_ns, step_ns, lambda low, high: waiting_windows(connection, version_id, low, high)
    )


def segments_of(
    floors: Floors,
    start_ns: int,
    end_ns: int,
    step_ns: int | None,
    waiting: Callable[[int, int], Sequence[tuple[int, int]] | None],
) -> list[Segment]:
    """One level per instant of [start_ns, end_ns), in order of time; where only a coarse one is left, widened to it.

    A coarser level than needed is read where whole windows of it fall into whole steps and nothing in them waits for
    its roll-up: the answer is the same, from fewer pages. Without `step_ns` the stretch is one step.

    Args:
        waiting: the version's (level, window) that wait for a roll-up, at least those in the stretch that it is given;
            None when they are too many to look for coarse windows among them.
    """
    able = [level for level in floors.levels if step_ns is None or step_ns % level.width_ns == 0]
    wide = [level for level in able if level.number and end_ns - start_ns >= level.width_ns]
    dirty = _dirty(floors, waiting(floors.levels[-1].start_of(start_ns), end_ns)) if wide else None
    segments: list[Segment] = []
    upper_ns = end_ns
    for place, (level, floor_ns) in enumerate(zip(floors.levels, floors.floors_ns, strict=True)):
        low, high = max(start_ns, floor_ns), upper_ns
        if low < high:
            coarser = [other for other in wide if other.number > level.number] if dirty is not None else []
            segments += _covered(level, coarser, dirty or {}, low, high)
        upper_ns = min(upper_ns, floor_ns)
        if place and segments and upper_ns <= start_ns:
            break
    return sorted(segments, key=lambda segment: segment.from_ns)


def waiting_windows(
    connection: sa.Connection, version_id: int, start_ns: int, end_ns: int
) -> list[tuple[int, int]] | None:
    """(level, window) of coarser windows in the stretch that wait for their roll-up; None when they are too many."""
    found = rows(connection, _WAITING, (version_id, start_ns, end_ns, MOST_WAITING + 1))
    return [(level, window_ns) for level, window_ns in found] if len(found) <= MOST_WAITING else None


def _dirty(floors: Floors, waiting: Sequence[tuple[int, int]] | None) -> dict[int, set[int]] | None:
    """Level -> its windows of which some part waits."""
    if waiting is None:
        return None
    return {
        level.number: {level.start_of(window_ns) for number, window_ns in waiting if number <= level.number}
        for level in floors.levels
    }


def _covered(
    finest: Level, coarser: list[Level], dirty: Mapping[int, set[int]], low: int, high: int
) -> Iterable[Segment]:
    """[low, high) cut into clean whole windows of the coarsest level and what is left over, level by level."""
    if not coarser:
        return [Segment(finest, finest.start_of(low), -(-high // finest.width_ns) * finest.width_ns, True)]
    *rest, level = coarser
    first, last = -(-low // level.width_ns) * level.width_ns, level.start_of(high)
    if first >= last:
        return _covered(finest, rest, dirty, low, high)
    segments: list[Segment] = []
    at = low
    clean_from = first
    for stop in [*sorted(w for w in dirty.get(level.number, set()) if first <= w < last), last]:
        if clean_from < stop:
            if at < clean_from:
                segments += _covered(finest, rest, dirty, at, clean_from)
            segments.append(Segment(level, clean_from, stop, False))
            at = stop
        clean_from = stop + level.width_ns
    if at < high:
        segments += _covered(finest, rest, dirty, at, high)
    return segments
