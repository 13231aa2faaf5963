"""Merged reads: the states of a metric over a stretch of time, grouped by labels and steps.

"Where does p99 come from": a route calls `merged`, which reads pages, decodes all bodies in one call, merges them by
group and returns states that answer quantiles. Every window answers from the query version valid at its start, every
instant from one level (store/levels.py). Where only coarser windows are left than were asked for, groups are as wide as
those, and say so by their start and end.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipeline.states import State
from store import tables
from store.errors import SelectionError, UnknownLabelError
from store.label_matchers import Matcher, matches_all
from store.levels import Segment, load_floors, plan_read
from store.pages import PageContents, merged_states, read_pages
from store.postgresql import binary
from store.registry import BEGINNING_NS, END_NS, MetricRow, metric, valid_ranges

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Selection:
    """What to merge: windows that overlap [start_ns, end_ns), one group per `by` labels and step.

    Without `step_ns` the whole stretch is one step. A step is a multiple of the metric's window.
    """

    metric: str
    start_ns: int
    end_ns: int
    by: tuple[str, ...] = ()
    where: tuple[Matcher, ...] = ()
    step_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One answer: the merged state (of length 1) of the matching series in [start_ns, end_ns)."""

    labels: dict[str, str]
    start_ns: int
    end_ns: int
    state: State


@dataclass(frozen=True, slots=True)
class Answer:
    """All groups that have data, by labels, then time; the stretch is aligned outwards to whole windows as kept.

    `newest_version` is the sum of the versions of all pages that were read: it grows with every change of one of them,
    as long as none is deleted.
    """

    metric: MetricRow
    start_ns: int
    end_ns: int
    groups: list[Group]
    newest_version: int


@dataclass(frozen=True, slots=True)
class _Series:
    """Which series match, and the group of labels each belongs to; None stands for "all, in one group"."""

    group_of: dict[int, int] | None
    labels: list[dict[str, str]]


def merged(connection: sa.Connection, selection: Selection) -> Answer:
    """Read, decode and merge.

    Raises:
        UnknownMetricError, UnknownLabelError: with `.nearest`.
        SelectionError: start not before end, or a step that is no multiple of the window.
    Cost: one pass over the pages of the stretch; decoding and merging are batched.
    """
    row = metric(connection, selection.metric)
    start_ns, end_ns, step_ns = _aligned(selection, row)
    series = _matching_series(connection, selection, row)
    groups: dict[tuple[int, int, int], State] = {}
    newest = 0
    for read in _reads(connection, selection, row, start_ns, end_ns):
        newest += read.page_versions
        if selection.step_ns is None:
            start_ns, end_ns = min(start_ns, read.segment.from_ns), max(end_ns, read.segment.to_ns)
        for key, state in _merge(read, series, row, None if selection.step_ns is None else step_ns).items():
            held = groups.get(key)
            groups[key] = state if held is None else _one(type(state).concat([held, state]))
    answer = [
        Group(series.labels[label], max(low, start_ns), min(high, end_ns), groups[label, low, high])
        for label, low, high in sorted(groups)
    ]
    return Answer(row, start_ns, end_ns, answer, newest)


@dataclass(frozen=True, slots=True)
class _Read:
    """The pages of one segment. A step that does not fit the segment's windows is cut off at `from_ns` and `to_ns`."""

    segment: Segment
    page_windows: Int64Array
    contents: PageContents
    page_versions: int
    cut_from_ns: int
    cut_to_ns: int


def _reads(
    connection: sa.Connection, selection: Selection, row: MetricRow, start_ns: int, end_ns: int
) -> Iterator[_Read]:
    """One read per version and segment, in order of time for each version."""
    ranges = [valid for valid in valid_ranges(connection, row.query_id) if row.name in valid.version.metric_ids]
    floors = load_floors(connection, {valid.version.version_id: valid.version.plan.window_ns for valid in ranges})
    for valid in ranges:
        low, high = max(start_ns, valid.from_ns), min(end_ns, valid.to_ns)
        if low >= high:
            continue
        version_id, known = valid.version.version_id, floors[valid.version.version_id]
        segments = plan_read(connection, version_id, known, low, high, selection.step_ns)
        for segment in segments:
            yield _read(connection, row, version_id, segment, _uneven(segments, selection.step_ns))


def _uneven(segments: Sequence[Segment], step_ns: int | None) -> list[tuple[int, int]]:
    """Stretches whose windows do not fit into whole steps."""
    return [
        (segment.from_ns, segment.to_ns)
        for segment in segments
        if step_ns is not None and step_ns % segment.level.width_ns
    ]


def _aligned(selection: Selection, row: MetricRow) -> tuple[int, int, int]:
    window = row.window_ns
    if selection.start_ns >= selection.end_ns:
        raise SelectionError(
            f"start {selection.start_ns} is not before end {selection.end_ns}; swap them or widen the range"
        )
    start_ns = selection.start_ns // window * window
    end_ns = -(-selection.end_ns // window) * window
    step_ns = end_ns - start_ns if selection.step_ns is None else selection.step_ns
    if step_ns <= 0 or step_ns % window:
        raise SelectionError(
            f"step {step_ns / 1e9:g} s is no multiple of the window of {row.name}, which is {window / 1e9:g} s; "
            f"ask for step={max(1, round(step_ns / window)) * window / 1e9:g}s"
        )
    # Steps begin at multiples of the step, so that asking again a little later gives the same steps.
    if selection.step_ns is not None:
        start_ns = start_ns // step_ns * step_ns
    return start_ns, end_ns, step_ns


def _matching_series(connection: sa.Connection, selection: Selection, row: MetricRow) -> _Series:
    known = set(row.labels)
    for name in (*selection.by, *(matcher.label for matcher in selection.where)):
        if name not in known:
            raise UnknownLabelError(f"label of {row.name}", name, known)
    if not selection.by and not selection.where:
        return _Series(None, [{}])
    meant = matches_all(selection.where)
    group_of: dict[int, int] = {}
    codes: dict[tuple[str, ...], int] = {}
    for series_id, text in connection.execute(
        sa.select(tables.series.c.id, tables.series.c.labels).where(tables.series.c.query_id == row.query_id)
    ):
        labels: Mapping[str, str] = json.loads(text)
        if meant(labels):
            values = tuple(labels.get(name, "") for name in selection.by)
            group_of[series_id] = codes.setdefault(values, len(codes))
    # Groups are numbered in the order of their labels, so that answers come sorted.
    in_order = sorted(codes)
    renumber = {codes[values]: place for place, values in enumerate(in_order)}
    return _Series(
        {series_id: renumber[group] for series_id, group in group_of.items()},
        [dict(zip(selection.by, values, strict=True)) for values in in_order],
    )


def _read(
    connection: sa.Connection, row: MetricRow, version_id: int, segment: Segment, uneven: Sequence[tuple[int, int]]
) -> _Read:
    table = tables.pages
    rows = (
        binary(connection)
        .execute(
            sa.select(table.c.window_ns, table.c.series_group, table.c.page_version, table.c.data)
            .where(
                table.c.version_id == version_id,
                table.c.metric_id == row.metric_id,
                table.c.level == segment.level.number,
                table.c.window_ns >= segment.from_ns,
                table.c.window_ns < segment.to_ns,
            )
            .order_by(table.c.window_ns)
        )
        .all()
    )
    contents = read_pages([(page.series_group, page.data) for page in rows])
    windows = np.array([page.window_ns for page in rows], np.int64)
    mine = (segment.from_ns, segment.to_ns) in uneven
    before = max((high for _, high in uneven if high <= segment.from_ns), default=BEGINNING_NS)
    after = min((low for low, _ in uneven if low >= segment.to_ns), default=END_NS)
    cut = (segment.from_ns, segment.to_ns) if mine else (before, after)
    return _Read(segment, windows, contents, sum(page.page_version for page in rows), *cut)


def _merge(read: _Read, series: _Series, row: MetricRow, step_ns: int | None) -> dict[tuple[int, int, int], State]:
    """(label group, start, end) -> merged state; without a step, everything is one group per label group."""
    contents = read.contents
    if not contents.series.size:
        return {}
    width_ns = 0
    if step_ns is None:
        page_starts = np.full(read.page_windows.size, BEGINNING_NS, np.int64)
    else:
        # A step that is no multiple of the windows that are left becomes one.
        width_ns = -(-step_ns // read.segment.level.width_ns) * read.segment.level.width_ns
        page_starts = read.page_windows // width_ns * width_ns
    starts, page_codes = np.unique(page_starts, return_inverse=True)
    labels = _labels_of(contents.series, series)
    groups, pairs = _numbered(np.where(labels < 0, -1, labels * starts.size + page_codes.reshape(-1)[contents.page]))
    if not pairs.size:
        return {}
    together = merged_states(row.function, row, contents, groups, pairs.size)
    merged_by: dict[tuple[int, int, int], State] = {}
    for place, (label, code) in enumerate(zip(*(part.tolist() for part in np.divmod(pairs, starts.size)), strict=True)):
        start = int(starts[code])
        end = END_NS if step_ns is None else min(start + width_ns, read.cut_to_ns)
        merged_by[label, max(start, read.cut_from_ns), end] = together.take(np.array([place]))
    return merged_by


def _labels_of(ids: Int64Array, series: _Series) -> Int64Array:
    """The label group of each entry, -1 where its series does not match."""
    if series.group_of is None:
        return np.zeros(ids.size, np.int64)
    distinct, places = np.unique(ids, return_inverse=True)
    return np.array([series.group_of.get(series_id, -1) for series_id in distinct.tolist()], np.int64)[
        places.reshape(-1)
    ]


def _numbered(codes: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(a number from 0 for each code, -1 for negative ones; the distinct codes by their number, ascending)."""
    wanted = codes >= 0
    most = int(codes.max(initial=-1)) + 1
    if most <= 4 * codes.size:  # dense: counting beats sorting
        distinct = np.flatnonzero(np.bincount(codes[wanted], minlength=most))
        number = np.full(most + 1, -1, np.int64)
        number[distinct] = np.arange(distinct.size)
        return number[codes], distinct
    distinct, places = np.unique(codes[wanted], return_inverse=True)
    numbers = np.full(codes.size, -1, np.int64)
    numbers[wanted] = places.reshape(-1)
    return numbers, distinct


def _one(state: State) -> State:
    return state.reduce(np.zeros(len(state), np.int64), 1)
