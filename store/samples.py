"""Samples for expressions over time: a metric's states per series and window, each at the time its window ended.

Where `windows.merged` answers one group per step, expressions look back from many instants at once, and their ranges
may overlap. So a read is planned first (which pages, about how many states), and then done block by block.

Rules: level 0 is read wherever it is kept, unless states are to be added up anyway; then whole coarser windows are
taken wherever no range begins or ends inside one. Where only coarser windows are left, their ends are the sample times.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipeline.plan import LINE_FUNCTIONS
from pipeline.states import State
from store import tables
from store.claims import JOBS_TOPICS
from store.levels import Floors, Segment
from store.pages import decode_states, merged_states, read_pages
from store.postgresql import binary
from store.registry import END_NS, MetricRow
from store.snapshot import Snapshot
from store.tables import LEVEL_OWN_WINDOW, SERIES_PER_PAGE
from store.windows import numbered

Int64Array = npt.NDArray[np.int64]

# Pages in a block: memory stays bounded, and an interrupted read ends soon.
_PAGES_AT_ONCE = 1_024
_TEXT_PAGES_AT_ONCE = 64
# With more ranges than this, coarser windows are taken only where they fit a common divisor of all range ends.
_MOST_PIECES = 32
# A question for fewer page groups names them; one for more reads all and drops what does not match.
_MOST_GROUPS_NAMED = 100
# Of so many pages it is looked at how full they are: which ones come first is the database's choice, so few would make
# the estimate its choice too. Only reads of many pages look at all.
_SAMPLE_PAGES = 1024


@dataclass(frozen=True, slots=True)
class Instants:
    """At each of first_ns, first_ns + step_ns .. last_ns the windows that end in (t - range_ns, t]."""

    first_ns: int
    last_ns: int
    step_ns: int
    range_ns: int

    @property
    def newest_ns(self) -> int:
        """The last instant that is one of the steps."""
        return self.first_ns + (self.last_ns - self.first_ns) // self.step_ns * self.step_ns

    def bounds(self) -> Int64Array:
        """Where some range begins (exclusive) or ends (inclusive), ascending."""
        instants = np.arange(self.first_ns, self.newest_ns + 1, self.step_ns, dtype=np.int64)
        return np.unique(np.concatenate([instants - self.range_ns, instants]))


@dataclass(frozen=True, slots=True)
class SeriesCodes:
    """Which series are read, and the group 0..n-1 that each counts into. `ids` ascends; both are int64[m]."""

    ids: Int64Array
    codes: Int64Array

    def of(self, series: Int64Array) -> Int64Array:
        """The group of each of these series, -1 for those that are not read."""
        places = np.minimum(np.searchsorted(self.ids, series), max(self.ids.size - 1, 0))
        if not self.ids.size:
            return np.full(series.size, -1, np.int64)
        return np.where(self.ids[places] == series, self.codes[places], -1)


@dataclass(frozen=True, slots=True)
class WindowStates:
    """m states; `codes` ascends, `times_ns` ascends within a code, no pair comes twice."""

    codes: Int64Array
    times_ns: Int64Array
    state: State


@dataclass(frozen=True, slots=True)
class Piece:
    """Windows of one level of one version; those count that end at until_ns or before."""

    version_id: int
    segment: Segment
    until_ns: int
    valid: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PlannedRead:
    """What `read` will read. `added` says that states of one group between two bounds of ranges become one."""

    row: MetricRow
    series: SeriesCodes
    asked: Instants
    added: bool
    pieces: list[Piece]


def plan(seen: Snapshot, row: MetricRow, series: SeriesCodes, asked: Instants, added: bool) -> PlannedRead:
    """Which windows of which levels answer; reads no page.

    Args:
        added: the states in a range are only ever added up: give their sums, at times that lie in the same ranges.
    """
    by_version: dict[int, list[tuple[int, int]]] = {}
    widths: dict[int, int] = {}
    for valid in seen.view.ranges(row.query_id):
        if row.name in valid.version.metric_ids:
            by_version.setdefault(valid.version.version_id, []).append((valid.from_ns, valid.to_ns))
            widths[valid.version.version_id] = valid.version.plan.window_ns
    pieces: list[Piece] = []
    for version_id, ranges in by_version.items():
        for after_ns, until_ns, fitting_ns in _stretches(asked, widths[version_id], added):
            low, high = _clipped(after_ns, until_ns, widths[version_id], ranges, seen.view.floors(version_id))
            if low < high:
                segments = seen.segments(version_id, low, high, fitting_ns)
                pieces += [Piece(version_id, segment, until_ns, tuple(ranges)) for segment in segments]
    return PlannedRead(row, series, asked, added, pieces)


def estimated(connection: sa.Connection, planned: PlannedRead, enough: int) -> int:
    """About how many states the read will decode, rather too many; pages are counted only above `enough`."""
    n_series, asked = planned.series.ids.size, planned.asked
    instants = (asked.newest_ns - asked.first_ns) // asked.step_ns + 1
    # A window of a series has a page in each partition that had records of it; a job's series in the job's alone.
    counted = sa.select(sa.func.count()).select_from(tables.offsets).where(tables.offsets.c.topic.not_in(JOBS_TOPICS))
    partitions = max(1, connection.execute(counted).scalar_one())
    most: list[int] = []
    for piece in planned.pieces:
        width_ns = piece.segment.level.width_ns
        windows = -(-(piece.segment.to_ns - piece.segment.from_ns) // width_ns)
        most.append(partitions * n_series * min(windows, instants * (asked.range_ns // width_ns + 1)))
    if sum(most) <= enough:
        return sum(most)
    table, total = tables.pages, 0
    for piece, upper in zip(planned.pieces, most, strict=True):
        conditions = _conditions(planned, piece)
        n_pages = connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()
        # A page's second byte says how many series are in it: all of a group, or those of one partition's agents.
        heads = sa.select(sa.func.substr(table.c.data, 1, 2)).where(*conditions).limit(_SAMPLE_PAGES)
        fullest = max([int.from_bytes(bytes(head)[1:2]) for (head,) in connection.execute(heads)], default=0)
        total += min(upper, int(n_pages) * min(fullest, n_series))
    return total


def read(connection: sa.Connection, planned: PlannedRead, pause: Callable[[], None]) -> WindowStates | None:
    """The states, or None where there are none.

    Args:
        pause: called between blocks; may raise to end the read.
    Raises:
        CorruptPageError: a page or body is damaged.
    Cost: one pass over the pages; decoding, and merging where `added`, is one call per block.
    """
    bounds = planned.asked.bounds() if planned.added else None
    codes: list[Int64Array] = []
    times: list[Int64Array] = []
    states: list[State] = []
    for rows, width_ns in _blocks(connection, planned):
        pause()
        contents = read_pages([(row.series_group, row.data) for row in rows])
        ends = np.array([row.window_ns for row in rows], np.int64) + width_ns
        groups = planned.series.of(contents.series)
        if bounds is None:
            kept = np.flatnonzero(groups >= 0)
            if kept.size:
                codes.append(groups[kept])
                times.append(ends[contents.page[kept]])
                if planned.row.function in LINE_FUNCTIONS:
                    states.append(decode_states(planned.row.function, planned.row, contents.only(kept)))
                    continue
                decoded = decode_states(planned.row.function, planned.row, contents)
                states.append(decoded if kept.size == groups.size else decoded.take(kept))
            continue
        place = np.searchsorted(bounds, ends, side="left")  # a window ends in (bounds[i - 1], bounds[i]]
        numbers, pairs = numbered(np.where(groups < 0, -1, groups * bounds.size + place[contents.page]))
        if pairs.size:
            codes.append(pairs // bounds.size)
            times.append(bounds[pairs % bounds.size])
            states.append(merged_states(planned.row.function, planned.row, contents, numbers, pairs.size))
    return _in_order(np.concatenate(codes), np.concatenate(times), states) if states else None


def window_conditions(table: sa.Table, planned: PlannedRead, piece: Piece) -> list[sa.ColumnElement[bool]]:
    """Which rows of a table with version_id, level and window_ns belong to the piece."""
    width_ns, asked, window = piece.segment.level.width_ns, planned.asked, table.c.window_ns
    conditions = [
        table.c.version_id == piece.version_id,
        table.c.level == piece.segment.level.number,
        window >= piece.segment.from_ns,
        window < min(piece.segment.to_ns, piece.until_ns - width_ns + 1),
    ]
    if piece.segment.level.number == LEVEL_OWN_WINDOW:  # coarser windows are made of valid ones only
        conditions.append(sa.or_(*(sa.and_(window >= low, window < high) for low, high in piece.valid)))
    if asked.range_ns < asked.step_ns and asked.first_ns < asked.newest_ns:
        # Between two instants there is a gap that no range covers.
        conditions.append((asked.newest_ns - width_ns - window) % sa.literal(asked.step_ns) < asked.range_ns)
    return conditions


def _stretches(asked: Instants, window_ns: int, added: bool) -> Iterator[tuple[int, int, int | None]]:
    """(after, until, what coarser windows must divide) of each stretch of window ends; None: they only must fit in."""
    after_ns, until_ns = asked.first_ns - asked.range_ns, asked.newest_ns
    if not added:
        yield after_ns, until_ns, window_ns
        return
    steps = (until_ns - asked.first_ns) // asked.step_ns
    if 2 * steps <= _MOST_PIECES:
        bounds = asked.bounds().tolist()
        for low, high in pairwise(bounds):
            if (until_ns - high) % asked.step_ns < asked.range_ns:  # else between two ranges
                yield low, high, None
        return
    if asked.step_ns % window_ns or asked.range_ns % window_ns:
        yield after_ns, until_ns, window_ns
        return
    first_ns = asked.first_ns // window_ns * window_ns
    yield after_ns, until_ns, gcd(first_ns, asked.step_ns, asked.range_ns)


def _clipped(
    after_ns: int, until_ns: int, window_ns: int, ranges: Sequence[tuple[int, int]], floors: Floors
) -> tuple[int, int]:
    """The stretch of window starts of those that end in (after, until] and in which the version was ever valid.

    A coarser window may reach beyond the version's time, so the stretch does too; it holds nothing else.
    """
    low, high = after_ns // window_ns * window_ns, until_ns // window_ns * window_ns
    widest = floors.levels[-1].width_ns
    last_ns = max(to_ns for _, to_ns in ranges)
    if last_ns < END_NS - widest:
        high = min(high, -(-last_ns // widest) * widest)
    return max(low, min(from_ns for from_ns, _ in ranges)), high


def _conditions(planned: PlannedRead, piece: Piece) -> list[sa.ColumnElement[bool]]:
    """Which pages belong to the piece. All are comparisons of keys: no page is fetched to be left out."""
    table = tables.pages
    conditions = [table.c.metric_id == planned.row.metric_id, *window_conditions(table, planned, piece)]
    groups = np.unique(planned.series.ids // SERIES_PER_PAGE)
    if groups.size <= _MOST_GROUPS_NAMED:
        conditions.append(table.c.series_group.in_(groups.tolist()))
    return conditions


def _blocks(connection: sa.Connection, planned: PlannedRead) -> Iterator[tuple[list[Any], int]]:
    """Pages, in order of time within a piece, and the width of their windows."""
    table = tables.pages
    if not planned.series.ids.size:
        return
    n_groups = np.unique(planned.series.ids // SERIES_PER_PAGE).size
    at_once = _TEXT_PAGES_AT_ONCE if planned.row.function in LINE_FUNCTIONS else _PAGES_AT_ONCE
    for piece in planned.pieces:
        width_ns, stop = piece.segment.level.width_ns, piece.segment.to_ns
        block_ns = max(1, at_once // n_groups) * width_ns
        conditions = _conditions(planned, piece)
        at: int | None = _next_window(connection, conditions, piece.segment.from_ns)
        while at is not None:
            query = (
                sa.select(table.c.window_ns, table.c.series_group, table.c.data)
                .where(*conditions, table.c.window_ns >= at, table.c.window_ns < min(at + block_ns, stop))
                .order_by(table.c.window_ns)
            )
            rows = list(binary(connection).execute(query).all())
            if rows:
                yield rows, width_ns
            at += block_ns
            at = None if at >= stop else _next_window(connection, conditions, at)


def _next_window(connection: sa.Connection, conditions: list[sa.ColumnElement[bool]], from_ns: int) -> int | None:
    """The first window from there on of which there is a page, so that long empty stretches cost one look."""
    window = tables.pages.c.window_ns
    found = connection.execute(
        sa.select(window).where(*conditions, window >= from_ns).order_by(window).limit(1)
    ).scalar()
    return None if found is None else int(found)


def _in_order(codes: Int64Array, times: Int64Array, states: list[State]) -> WindowStates:
    """Sorted by code and time; states of one pair (of two versions, or of two blocks) are merged."""
    together = states[0] if len(states) == 1 else type(states[0]).concat(states)
    order = np.lexsort((times, codes))
    if not np.array_equal(order, np.arange(order.size)):
        codes, times, together = codes[order], times[order], together.take(order)
    first = np.ones(codes.size, np.bool_)
    first[1:] = (np.diff(codes) != 0) | (np.diff(times) != 0)
    if first.all():
        return WindowStates(codes, times, together)
    n = int(first.sum())
    return WindowStates(codes[first], times[first], together.reduce(np.cumsum(first) - 1, n))
