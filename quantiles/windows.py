"""AOMG: quantiles over a sliding window, kept in two levels (Lim et al., ICDE 2020, with mergeable sub-windows).

Level 1 is a ring of sub-windows ("panes") of one period each, every one summarised once as a sketch. Level 2 is the sum
of the closed panes, kept by adding the pane that closes and subtracting the one that expires: O(bins), whatever the
number of values. Density decides who answers: where at most k values lie at or above the rank, the k largest values
that every pane keeps give the exact answer, elsewhere the bins give it within error_bound (`SlidingWindow.exact`).
Minimum, maximum and sum cannot be subtracted; they are combined from the panes.
Invariant: the closed sum equals the sketch of all values in closed live panes, bit for bit (float sums: 1e-12).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantiles.array_types import BoolArray, FloatArray, IntArray, SampleArray, as_samples
from quantiles.bins import DEFAULT_SCALE, bins_of
from quantiles.errors import EmptySketchError, IncompatibleSketchError, WindowError
from quantiles.exact_sums import SumColumn
from quantiles.levels import as_levels, nearest_ranks
from quantiles.running_counts import RunningCounts
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from quantiles.tail_values import NO_VALUES, largest, merged

BY = ("time", "count")
DEFAULT_TAIL = 32  # exact p99.9 below 32,000 values and p99 below 3,200; 256 bytes a pane


@dataclass(slots=True)
class _Pane:
    """One sub-window: its sketch, its largest values, and whether those hold for all of its values."""

    sketch: Sketch
    tail: FloatArray
    tail_complete: bool = True


class SlidingWindow:
    """Quantiles of the newest window / period panes, the open one included."""

    def __init__(
        self, window: int, period: int, scale: int = DEFAULT_SCALE, tail: int = DEFAULT_TAIL, by: str = "time"
    ) -> None:
        """A window over nothing yet.

        Args:
            window, period: nanoseconds by "time", numbers of values by "count"; the window is a multiple of the period.
            scale: of all sketches; fixed.
            tail: k, how many of its largest values each pane keeps exactly; 0 keeps none.
        Raises:
            WindowError: another window, period, tail or `by`.
        """
        if period < 1 or window < period or window % period:
            raise WindowError(f"window is {window} and period {period}, wanted a multiple of a positive period")
        if by not in BY:
            raise WindowError(f"by is {by!r}, wanted one of {', '.join(BY)}")
        if tail < 0:
            raise WindowError(f"tail is {tail}, wanted how many values each pane keeps, 0 or more")
        self._period, self._n_panes, self._scale, self._tail, self._by = period, window // period, scale, tail, by
        self._panes: dict[int, _Pane] = {}  # live ones, the open one included
        self._newest: int | None = None  # the open pane
        self._closed = RunningCounts()
        self._answer: Sketch | None = None  # closed and open together, until something changes
        self._seen = 0  # values, by "count"
        self.refused = 0  # values that came too late for any live pane

    def add(self, values: npt.ArrayLike, times: npt.ArrayLike | None = None) -> int:
        """Adds values to the panes of their times; a live pane takes late ones too.

        Args:
            values: int64[n] or float64[n], any order.
            times: by "time": int64[n] ns, or one for all; by "count": None, values come in order.
        Returns:
            How many values were refused because their pane has expired; they are counted in `refused` too.
        Raises:
            SampleError: values of another type or shape.
            WindowError: times that are missing, not asked for, or no integers.
        """
        samples = as_samples(values)
        if self._by == "count":
            if times is not None:
                raise WindowError("times given to a window by count, wanted values only, in their order")
            return self._add_counted(samples)
        panes = self._panes_of(times, len(samples))
        if not len(samples):
            return 0
        late = 0
        if self._newest is not None:
            live = panes > self._newest - self._n_panes
            late = len(panes) - int(np.count_nonzero(live))
            if late:
                self.refused += late
                samples, panes = samples[live], panes[live]
        if len(panes):
            newest = int(panes.max()) if self._newest is None else max(int(panes.max()), self._newest)
            self._open(newest)
            for pane, rows in _rows_by_pane(panes):
                if pane > newest - self._n_panes:  # older ones come and go within this very call
                    self._add_to(pane, samples[rows])
        return late

    def merge(self, sketch: Sketch, time: int) -> bool:
        """Merges a finished fragment, such as another agent's sketch, into the pane of its time; whether it was live.

        Its largest values are not known exactly: until that pane expires, the bins answer for the tail too.

        Raises:
            WindowError: the window goes by count, where a fragment has no place.
            IncompatibleSketchError: the sketch has another scale.
        """
        pane = self._pane_at(time)
        if sketch.scale != self._scale:
            raise IncompatibleSketchError(f"cannot merge scale {sketch.scale} into a window of scale {self._scale}")
        if self._newest is not None and pane <= self._newest - self._n_panes:
            self.refused += sketch.count + sketch.nan_count
            return False
        self._open(pane if self._newest is None else max(pane, self._newest))
        self._merge_into(pane, sketch)
        if sketch.count:
            self._panes[pane].tail_complete = False
        return True

    def advance(self, time: int) -> None:
        """Lets time pass without values: opens the pane of that time, so that older ones expire.

        Raises:
            WindowError: the window goes by count, which only values move.
        """
        pane = self._pane_at(time)
        if self._newest is None or pane > self._newest:
            self._open(pane)

    def quantile(self, q: float) -> float:
        """The value at level q in [0, 1] of the live panes; p99 is 0.99. As `quantiles`."""
        return float(self.quantiles([q])[0])

    def quantiles(self, levels: npt.ArrayLike) -> FloatArray:
        """Values at several levels, float64[m]: exact where `exact` says so, else within error_bound.

        Raises:
            LevelError: a level is NaN or outside [0, 1].
            EmptySketchError: no live pane holds a value.
        Guarantee: never decreasing in the level, also where exact answers and bins meet.
        Cost: O(bins + panes), less when nothing was added since the last call.
        """
        wanted = as_levels(levels)
        state = self.sketch()
        if not state.count:
            raise EmptySketchError("the window holds no values, so it has no quantiles; check `count` first")
        estimates = state.quantiles(wanted)
        tail = self._exact_tail()
        if not len(tail):
            return estimates
        needs = state.count - nearest_ranks(wanted, np.array([state.count]))[0]  # values above the rank
        known = needs < len(tail)
        # What the bins answer for lies at or below the smallest value known exactly.
        return np.where(known, tail[np.where(known, needs, 0)], np.minimum(estimates, tail[-1]))

    def exact(self, levels: npt.ArrayLike) -> BoolArray:
        """Whether the answer at each level is exact: n - r + 1 <= k for its rank r, or r = 1; bool[m]."""
        count = self.count
        ranks = nearest_ranks(as_levels(levels), np.array([count]))[0]
        known: BoolArray = (ranks == 1) | (ranks == count) | (count - ranks < len(self._exact_tail()))
        return known

    def sketch(self) -> Sketch:
        """The live panes as one sketch, to merge or to ask; it goes its own way."""
        if self._answer is None:
            self._answer = Sketch.from_column(self._together())
        return self._answer.copy()

    def panes(self) -> list[tuple[int, Sketch]]:
        """Start (ns, or number of values) and sketch of each live pane that was opened, oldest first."""
        return [(index * self._period, self._panes[index].sketch.copy()) for index in sorted(self._panes)]

    @property
    def span(self) -> tuple[int, int]:
        """Start and end of what the window covers, end not included; the open pane counts as whole.

        Raises:
            EmptySketchError: nothing was added yet.
        """
        if self._newest is None:
            raise EmptySketchError("the window has not begun, so it has no span; add values first")
        return (self._newest + 1 - self._n_panes) * self._period, (self._newest + 1) * self._period

    @property
    def count(self) -> int:
        """How many values the live panes hold, infinities included and NaN not."""
        return self.sketch().count

    @property
    def error_bound(self) -> float:
        """Largest relative error where an answer is not exact."""
        return bins_of(self._scale).error_bound

    def _add_counted(self, samples: SampleArray) -> int:
        """Cuts the values at pane ends; those that this very call pushes out are never looked at."""
        end = self._seen + len(samples)
        if len(samples):
            newest = (end - 1) // self._period
            begin = max(self._seen, (newest + 1 - self._n_panes) * self._period)
            while begin < end:
                pane = begin // self._period
                stop = min(end, (pane + 1) * self._period)
                self._open(pane)
                self._add_to(pane, samples[begin - self._seen : stop - self._seen])
                begin = stop
        self._seen = end
        return 0

    def _panes_of(self, times: npt.ArrayLike | None, n: int) -> IntArray:
        array = np.asarray(times)
        if array.dtype.kind not in "iu" and (array.size or times is None):
            raise WindowError(f"times are {array.dtype}, wanted int64 nanoseconds, one per value or one for all")
        if array.shape not in ((), (n,)):
            raise WindowError(f"times have shape {list(array.shape)}, wanted [{n}]: one per value, or a single one")
        return np.broadcast_to(array.astype(np.int64, copy=False) // self._period, (n,))

    def _pane_at(self, time: int) -> int:
        if self._by == "count":
            raise WindowError("a time given to a window by count, which only its values move; use a window by time")
        return int(time) // self._period

    def _add_to(self, index: int, samples: SampleArray) -> None:
        """Adds to a live pane, and for a closed one to the closed sum."""
        if index == self._newest:
            pane = self._panes[index]
            pane.sketch.add(samples)
            self._answer = None
        else:
            piece = Sketch(self._scale)
            piece.add(samples)
            self._merge_into(index, piece)
            pane = self._panes[index]
        floor = pane.tail[-1] if len(pane.tail) == self._tail and self._tail else -np.inf
        found = largest(samples, self._tail, floor)
        if len(found):
            pane.tail = merged([pane.tail, found], self._tail)

    def _merge_into(self, index: int, piece: Sketch) -> None:
        pane = self._panes.setdefault(index, _Pane(Sketch(self._scale), NO_VALUES))
        pane.sketch.merge(piece)
        if index != self._newest:
            column = piece.column()
            self._closed.add(column.cells, column.counts)
        self._answer = None

    def _open(self, newest: int) -> None:
        """Makes a pane the open one, after closing the one before and dropping those that expire."""
        if newest == self._newest:
            return
        if self._newest is not None:
            column = self._panes[self._newest].sketch.column()
            self._panes[self._newest].sketch = Sketch.from_column(column)  # without its dense table
            self._closed.add(column.cells, column.counts)
        expired = [index for index in self._panes if index <= newest - self._n_panes]
        if len(expired) == len(self._panes):
            self._panes, self._closed = {}, RunningCounts()
        for index in expired:
            if index in self._panes:
                column = self._panes.pop(index).sketch.column()
                self._closed.subtract(column.cells, column.counts)
        self._newest = newest
        self._panes.setdefault(newest, _Pane(Sketch(self._scale), NO_VALUES))
        self._answer = None

    def _together(self) -> SketchColumn:
        """All live panes as one sketch: counts from the closed sum and the open pane, the rest from every pane."""
        if self._newest is None:
            return SketchColumn.empty(self._scale, n=1)
        opened = self._panes[self._newest].sketch.column()
        self._closed.add(opened.cells, opened.counts)
        cells, counts = self._closed.filled()
        self._closed.subtract(opened.cells, opened.counts)
        columns = [pane.sketch.column() for pane in self._panes.values()]
        nan_count = sum(int(column.nan_counts[0]) for column in columns)
        columns = [column for column in columns if len(column.cells)] or columns[:1]
        return SketchColumn(
            self._scale,
            np.array([0, len(cells)]),
            cells,
            counts,
            np.array([nan_count]),
            np.min([column.minima for column in columns], axis=0),
            np.max([column.maxima for column in columns], axis=0),
            _sum_of([column.sums for column in columns]),
        )

    def _exact_tail(self) -> FloatArray:
        """The largest values of all live panes, descending; none where one pane does not know its own."""
        if not all(pane.tail_complete for pane in self._panes.values()):
            return NO_VALUES
        return merged([pane.tail for pane in self._panes.values()], self._tail)


def _rows_by_pane(panes: IntArray) -> Iterator[tuple[int, IntArray | slice]]:
    """Each pane, ascending, and its rows in their order."""
    if panes[0] == panes[-1] and np.all(panes == panes[0]):
        yield int(panes[0]), slice(None)
        return
    order = np.argsort(panes, kind="stable")
    ordered = panes[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        yield int(ordered[start]), order[start:stop]


def _sum_of(sums: list[SumColumn]) -> SumColumn:
    """The sum of several: of floats where one is. Exactly rounded, so nothing is left of what has expired."""
    if all(part.integer for part in sums):
        return SumColumn.concat(sums).reduce(np.zeros(len(sums), np.int64), 1)
    sums = [part.as_float() for part in sums]
    parts = [float(part.hi[0]) for part in sums] + [float(part.lo[0]) for part in sums]
    try:
        total = math.fsum(parts)
        lost = math.fsum([*parts, -total])
    except (OverflowError, ValueError):  # beyond the largest float, or infinities of both signs
        return SumColumn.concat(sums).reduce(np.zeros(len(sums), np.int64), 1)
    return SumColumn(False, np.array([total]), np.array([lost])).reduce([0], 1)
