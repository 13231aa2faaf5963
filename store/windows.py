"""Merged reads: the states of a metric over a stretch of time, grouped by labels and steps.

"Where does p99 come from": a route calls `merged`, which reads pages, decodes all bodies in one call, merges them by
group and returns states that answer quantiles. Every window answers from the query version valid at its start.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipeline.states import State
from store import tables
from store.errors import SelectionError, UnknownLabelError
from store.pages import PageContents, decode_states, read_pages
from store.registry import MetricRow, ValidRange, metric, valid_ranges
from store.tables import LEVEL_OWN_WINDOW

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matcher:
    """Series whose label has exactly this value; an absent label has the value ""."""

    label: str
    value: str


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
    """All groups that have data, by labels, then time; the stretch is aligned outwards to whole windows.

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
    groups: dict[tuple[int, int], State] = {}
    newest = 0
    for valid in valid_ranges(connection, row.query_id):
        if row.name not in valid.version.metric_ids:
            continue
        read = _read(connection, row, valid, max(start_ns, valid.from_ns), min(end_ns, valid.to_ns))
        newest += read.page_versions
        for key, state in _merge(read, series, row, start_ns, step_ns).items():
            held = groups.get(key)
            groups[key] = state if held is None else _one(type(state).concat([held, state]))
    answer = [
        Group(
            series.labels[label],
            start_ns + step * step_ns,
            min(start_ns + (step + 1) * step_ns, end_ns),
            groups[label, step],
        )
        for label, step in sorted(groups)
    ]
    return Answer(row, start_ns, end_ns, answer, newest)


@dataclass(frozen=True, slots=True)
class _Read:
    windows: Int64Array
    contents: PageContents
    page_versions: int


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
    group_of: dict[int, int] = {}
    codes: dict[tuple[str, ...], int] = {}
    for series_id, text in connection.execute(
        sa.select(tables.series.c.id, tables.series.c.labels).where(tables.series.c.query_id == row.query_id)
    ):
        labels: Mapping[str, str] = json.loads(text)
        if all(labels.get(matcher.label, "") == matcher.value for matcher in selection.where):
            values = tuple(labels.get(name, "") for name in selection.by)
            group_of[series_id] = codes.setdefault(values, len(codes))
    # Groups are numbered in the order of their labels, so that answers come sorted.
    in_order = sorted(codes)
    renumber = {codes[values]: place for place, values in enumerate(in_order)}
    return _Series(
        {series_id: renumber[group] for series_id, group in group_of.items()},
        [dict(zip(selection.by, values, strict=True)) for values in in_order],
    )


def _read(connection: sa.Connection, row: MetricRow, valid: ValidRange, from_ns: int, to_ns: int) -> _Read:
    table = tables.pages
    rows = connection.execute(
        sa.select(table.c.window_ns, table.c.series_group, table.c.page_version, table.c.data)
        .where(
            table.c.version_id == valid.version.version_id,
            table.c.metric_id == row.metric_id,
            table.c.level == LEVEL_OWN_WINDOW,
            table.c.window_ns >= from_ns,
            table.c.window_ns < to_ns,
        )
        .order_by(table.c.window_ns)
    ).all()
    contents = read_pages([(page.series_group, page.data) for page in rows])
    windows = np.array([page.window_ns for page in rows], np.int64)[contents.page]
    return _Read(windows, contents, sum(page.page_version for page in rows))


def _merge(read: _Read, series: _Series, row: MetricRow, start_ns: int, step_ns: int) -> dict[tuple[int, int], State]:
    """(label group, step) -> merged state."""
    contents = read.contents
    if not contents.series.size:
        return {}
    state = decode_states(row.function, row, contents)
    steps = (read.windows - start_ns) // step_ns
    labels = np.zeros(contents.series.size, np.int64)
    if series.group_of is not None:
        ids, places = np.unique(contents.series, return_inverse=True)
        labels = np.array([series.group_of.get(int(series_id), -1) for series_id in ids], np.int64)[places]
        keep = np.flatnonzero(labels >= 0)
        state, steps, labels = state.take(keep), steps[keep], labels[keep]
    keys, codes = np.unique(np.stack([labels, steps]), axis=1, return_inverse=True)
    together = state.reduce(codes.reshape(-1), keys.shape[1])
    return {(int(label), int(step)): together.take(np.array([place])) for place, (label, step) in enumerate(keys.T)}


def _one(state: State) -> State:
    return state.reduce(np.zeros(len(state), np.int64), 1)
