"""Merged reads: the states of a metric over a stretch of time, grouped by labels and steps.

"Where does p99 come from": a route calls `merged`, which reads pages, merges their bodies by group without decoding
them one by one, and returns states that answer quantiles. Every window answers from the query version valid at its
start, every instant from one level (store/levels.py). Where only coarser windows are left than were asked for, groups
are as wide as those, and say so by their start and end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipeline.plan import LINE_FUNCTIONS
from pipeline.states import LinesState, State
from store.errors import SelectionError, TooManyGroupsError, UnknownLabelError
from store.label_matchers import Matcher
from store.levels import Segment
from store.page_reads import Cost, PageRange, estimate
from store.pages import PageContents, merged_states, read_pages
from store.registry import BEGINNING_NS, END_NS, MetricRow
from store.series_labels import Groups
from store.snapshot import Check, Snapshot
from store.tables import SERIES_PER_PAGE

Int64Array = npt.NDArray[np.int64]
# With more groups of series than this, all pages are read and what is not meant is left out.
_MOST_SERIES_GROUPS = 64
# Merged text is merged again as soon as it is so much more than it was after the last time.
_TEXT_BYTES = 32 * 2**20


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
    """One answer: the merged state of the matching series in [start_ns, end_ns).

    It is state number `place` of `states`, which holds those of all groups of the answer.
    """

    labels: dict[str, str]
    start_ns: int
    end_ns: int
    states: State = field(repr=False)
    place: int

    @property
    def state(self) -> State:
        """The state alone, of length 1."""
        return self.states.take(np.array([self.place]))


@dataclass(frozen=True, slots=True)
class Answer:
    """All groups that have data, by labels, then time; the stretch is aligned outwards to whole windows as kept.

    `states` holds the groups' states in their order; None when there are none. `newest_version` is the sum of the
    versions of all pages that were read: it grows with every change of one of them, as long as none is deleted.
    """

    metric: MetricRow
    start_ns: int
    end_ns: int
    groups: list[Group]
    states: State | None
    newest_version: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a read may do, and how it is ended.

    Args:
        admit: is told what the read will cost before it begins; raises to refuse.
        check: is called between pieces of work; raises to end the read.
        max_groups: of the answer.
    """

    admit: Callable[[Cost], None] | None = None
    check: Check | None = None
    max_groups: int | None = None


def merged(
    connection: sa.Connection, selection: Selection, snapshot: Snapshot | None = None, bounds: Bounds | None = None
) -> Answer:
    """Read and merge.

    Args:
        snapshot: of this connection's transaction; None makes one that remembers nothing.
    Raises:
        UnknownMetricError, UnknownLabelError: with `.nearest`.
        SelectionError: start not before end, or a step that is no multiple of the window.
        TooManyGroupsError: more groups than the bounds allow; found before they are merged.
        What `admit` and `check` raise.
    Cost: one pass over the pages of the stretch; decoding and merging are batched. Memory: some thousand pages, and
        the result.
    """
    seen, bounds = snapshot or Snapshot(connection), bounds or Bounds()
    row = seen.view.metric(selection.metric)
    start_ns, end_ns, step_ns = aligned(selection, row)
    series = _meant_series(seen, selection, row)
    reads = _planned(seen, selection, row, start_ns, end_ns, series)
    if bounds.admit is not None:
        windows = sum((read.segment.to_ns - read.segment.from_ns) // read.segment.level.width_ns for read in reads)
        bounds.admit(estimate(connection, [read.pages for read in reads], windows * seen.pages_per_window()))
    if selection.step_ns is None:
        start_ns = min([start_ns, *(read.segment.from_ns for read in reads)])
        end_ns = max([end_ns, *(read.segment.to_ns for read in reads)])
    width_ns = None if selection.step_ns is None else step_ns
    pieces, newest = _pieces(connection, reads, series, row, width_ns, bounds)
    keys, states = _together(pieces)
    labels = [{}] if series is None else series.labels
    groups = [
        Group(labels[label], max(low, start_ns), min(high, end_ns), states, place)
        for place, (label, low, high) in enumerate(keys.tolist())
        if states is not None
    ]
    return Answer(row, start_ns, end_ns, groups, states, newest)


def aligned(selection: Selection, row: MetricRow) -> tuple[int, int, int]:
    """(start, end, step) in whole windows of the metric; without a step, the whole stretch is one.

    Raises:
        SelectionError: start not before end, or a step that is no multiple of the window.
    """
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


@dataclass(frozen=True, slots=True)
class _Read:
    """The pages of one segment. A step that does not fit the segment's windows is cut off at `from_ns` and `to_ns`."""

    segment: Segment
    pages: PageRange
    cut_from_ns: int
    cut_to_ns: int


# Merged groups of some pages: int64[n, 3] of (label group, start, end) in ascending order, and their n states.
_Piece = tuple[Int64Array, State]


def _meant_series(seen: Snapshot, selection: Selection, row: MetricRow) -> Groups | None:
    """Which series match, and the group of labels each belongs to; None stands for "all, in one group"."""
    known = set(row.labels)
    for name in (*selection.by, *(matcher.label for matcher in selection.where)):
        if name not in known:
            raise UnknownLabelError(f"label of {row.name}", name, known)
    if not selection.by and not selection.where:
        return None
    return seen.labels(row.query_id).groups(selection.by, selection.where)


def _planned(
    seen: Snapshot, selection: Selection, row: MetricRow, start_ns: int, end_ns: int, series: Groups | None
) -> list[_Read]:
    """One read per version and segment, in order of time for each version."""
    few = None
    if series is not None and selection.where:
        groups = np.unique(series.meant() // SERIES_PER_PAGE)
        few = tuple(groups.tolist()) if groups.size <= _MOST_SERIES_GROUPS else None
    found: list[tuple[int, Segment]] = []
    reached: dict[tuple[int, int], int] = {}
    for valid in seen.view.ranges(row.query_id):
        low, high = max(start_ns, valid.from_ns), min(end_ns, valid.to_ns)
        if low >= high or row.name not in valid.version.metric_ids:
            continue
        version_id = valid.version.version_id
        for segment in seen.segments(version_id, low, high, selection.step_ns):
            # A version that came back within one coarse window has that window in both segments.
            level = version_id, segment.level.number
            from_ns = max(segment.from_ns, reached.get(level, BEGINNING_NS))
            if from_ns < segment.to_ns:
                found.append((version_id, replace(segment, from_ns=from_ns)))
                reached[level] = segment.to_ns
    uneven = _uneven([segment for _, segment in found], selection.step_ns)
    reads: list[_Read] = []
    for version_id, segment in found:
        number, text = segment.level.number, row.function in LINE_FUNCTIONS
        pages = PageRange(version_id, row.metric_id, number, segment.from_ns, segment.to_ns, few, text)
        reads.append(_Read(segment, pages, *_cuts(segment, uneven)))
    return reads


def _uneven(segments: Sequence[Segment], step_ns: int | None) -> list[tuple[int, int, int]]:
    """(level, from, to) of stretches whose windows do not fit into whole steps; versions that touch share one."""
    stretches: list[tuple[int, int, int]] = []
    for segment in sorted(segments, key=lambda segment: (segment.level.number, segment.from_ns)):
        if step_ns is None or step_ns % segment.level.width_ns == 0:
            continue
        number, from_ns, to_ns = segment.level.number, segment.from_ns, segment.to_ns
        if stretches and stretches[-1][0] == number and from_ns <= stretches[-1][2]:
            _, from_ns, before_ns = stretches.pop()
            to_ns = max(to_ns, before_ns)
        stretches.append((number, from_ns, to_ns))
    return stretches


def _cuts(segment: Segment, uneven: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    for number, low, high in uneven:
        if number == segment.level.number and low <= segment.from_ns and segment.to_ns <= high:
            return low, high
    before = max((high for _, _, high in uneven if high <= segment.from_ns), default=BEGINNING_NS)
    after = min((low for _, low, _ in uneven if low >= segment.to_ns), default=END_NS)
    return before, after


def _pieces(
    connection: sa.Connection,
    reads: Sequence[_Read],
    series: Groups | None,
    row: MetricRow,
    step_ns: int | None,
    bounds: Bounds,
) -> tuple[list[_Piece], int]:
    """Merged groups, some thousand pages at a time; and the sum of the pages' versions."""
    pieces: list[_Piece] = []
    newest = groups = waiting = 0
    for read in reads:
        for pages in read.pages.pages(connection):
            if bounds.check is not None:
                bounds.check()
            windows = np.array([window for window, _, _, _ in pages], np.int64)
            newest += sum(version for _, _, version, _ in pages)
            contents = read_pages([(group, data) for _, group, _, data in pages])
            codes, keys = _keys(read, windows, contents, series, step_ns)
            # The next piece may begin with the last piece's last step, once per label group.
            groups += len(keys)
            if bounds.max_groups is not None and len(keys) and groups > bounds.max_groups:
                groups = _count_groups([keys for keys, _ in pieces] + [keys])
                if groups > bounds.max_groups:
                    raise TooManyGroupsError(groups, bounds.max_groups)
            if len(keys):
                state = merged_states(row.function, row, contents, codes, len(keys))
                pieces.append((keys, state))
                waiting += state.nbytes if isinstance(state, LinesState) else 0
                if waiting > _TEXT_BYTES:
                    keys, merged_text = _together(pieces)
                    assert isinstance(merged_text, LinesState)
                    pieces, waiting = [(keys, merged_text)], -merged_text.nbytes
    return pieces, newest


def _keys(
    read: _Read, windows: Int64Array, contents: PageContents, series: Groups | None, step_ns: int | None
) -> tuple[Int64Array, Int64Array]:
    """(the group of each entry, -1 for those not meant; int64[n, 3] label group, start and end of each group)."""
    if series is None and step_ns is None:
        here = bool(contents.series.size)
        keys = [[0, read.cut_from_ns, END_NS]] if here else np.empty((0, 3))
        return np.zeros(contents.series.size, np.int64), np.array(keys, np.int64)
    labels = np.zeros(contents.series.size, np.int64) if series is None else series.of(contents.series)
    if step_ns is None:
        codes, found = numbered(labels)
        starts, ends = np.full(found.size, BEGINNING_NS), np.full(found.size, END_NS)
    else:
        # A step that is no multiple of the windows that are left becomes one.
        width_ns = -(-step_ns // read.segment.level.width_ns) * read.segment.level.width_ns
        steps, page_codes = np.unique(windows // width_ns * width_ns, return_inverse=True)
        places = page_codes.reshape(-1)[contents.page]
        codes, pairs = numbered(np.where(labels < 0, -1, labels * steps.size + places))
        found, at = np.divmod(pairs, steps.size)
        starts = steps[at]
        ends = np.minimum(starts + width_ns, read.cut_to_ns)
    return codes, np.stack([found, np.maximum(starts, read.cut_from_ns), ends], axis=1)


def numbered(codes: Int64Array) -> tuple[Int64Array, Int64Array]:
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


def _count_groups(keys: Sequence[Int64Array]) -> int:
    return len(np.unique(np.concatenate(keys), axis=0))


def _together(pieces: Sequence[_Piece]) -> tuple[Int64Array, State | None]:
    """All groups in order, each once."""
    if not pieces:
        return np.empty((0, 3), np.int64), None
    if len(pieces) == 1:
        return pieces[0]
    keys, codes = np.unique(np.concatenate([keys for keys, _ in pieces]), axis=0, return_inverse=True)
    states = [state for _, state in pieces]
    return keys, type(states[0]).concat(states).reduce(codes.reshape(-1), len(keys))
