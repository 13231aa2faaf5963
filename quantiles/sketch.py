"""One sketch with a friendly face: add values, merge, subtract, ask. Many at once are in sketch_column.py.

The settled state is a column of length one, so both hold the same state and the same guarantees; what was added or
merged lately waits beside it and joins when somebody asks. A sketch starts without a kind of sum; the first values
decide it. Integers meeting floats later make the sum a float sum, which stays within 1e-12 * sum|x|.
"""

from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from quantiles.array_types import FloatArray, IntArray, SampleArray, as_samples
from quantiles.bins import DEFAULT_SCALE, MIN_SCALE, bins_of
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.dense_counts import DenseCounts
from quantiles.errors import (
    CorruptSketchError,
    EmptySketchError,
    IncompatibleSketchError,
    ScaleError,
    StateOverflowError,
)
from quantiles.levels import as_levels
from quantiles.sketch_column import SketchColumn

MERGED_CELLS = 1 << 16  # of merged sketches that may wait: one reduction of many is 20x cheaper than one each
HEAVY_SUM = 1 << 50  # an integer sum whose high part reaches this joins at once, so that an overflow is its own error


class Sketch:
    """A mergeable summary of a multiset of numbers, within error_bound at every quantile."""

    __slots__ = ("_dense", "_held", "_max_bins", "_merged", "_merged_cells", "_settled")

    def __init__(self, scale: int = DEFAULT_SCALE, max_bins: int | None = None) -> None:
        """A sketch of nothing.

        Args:
            scale: 0..8; fixed for life, unless `max_bins` is given.
            max_bins: when more bins than this are filled, the scale goes down by itself until they fit, or is 0 (one
                bin per doubling). The result depends on the values alone, not on their order or batching.
        Raises:
            ScaleError: another scale, or max_bins below 2.
        """
        if max_bins is not None and not max_bins >= 2:
            raise ScaleError(f"max_bins is {max_bins!r}, wanted at least 2; 160 is usual")
        self._settled = SketchColumn.empty(scale, n=1)
        self._max_bins = max_bins
        self._dense: DenseCounts | None = None
        self._merged: list[SketchColumn] = []
        self._merged_cells = 0
        self._held = 0  # values and NaN

    @staticmethod
    def from_column(column: SketchColumn) -> "Sketch":
        """The one sketch of a column of length one."""
        if len(column) != 1:
            raise IncompatibleSketchError(f"column holds {len(column)} sketches, wanted 1: take one of them first")
        sketch = Sketch(column.scale)
        sketch._settled = column
        sketch._held = _held_by(column)
        return sketch

    @staticmethod
    def from_bytes(data: bytes) -> "Sketch":
        """The sketch that `to_bytes` wrote.

        Raises:
            CorruptSketchError: any other bytes.
        """
        if not data:
            raise CorruptSketchError("a sketch body is empty; wanted at least 3 bytes")
        return Sketch.from_column(SketchColumn.from_bodies(data, [len(data)]))

    def to_bytes(self) -> bytes:
        """The state as bytes (FORMAT.md); equal states give equal bytes."""
        return self.column().to_bodies()[0]

    def column(self) -> SketchColumn:
        """This sketch as a column of length one; it shares memory, which nobody changes in place."""
        if self._dense is not None:
            self._merged += self._dense.take()
            self._dense = None  # 132 KiB, which many sketches that are only kept would not use
        if self._merged:
            self._settle()
        return self._settled

    def add(self, values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> None:
        """Adds samples.

        Args:
            values: int64[n] or float64[n] (narrower types are widened), any order. NaN is counted apart.
            weights: how many times each value counts: integers of at least 1, one per value or one for all.
        Raises:
            SampleError: values or weights of another type, shape or range.
            StateOverflowError: more than 2**62 values.
        Cost: about 1.1 ns a value with numba, 4 ns with NumPy, where values lie in 2**-20..2**44; weighted ones 20 ns.
        """
        samples = as_samples(values)
        if weights is not None:
            groups = np.zeros(len(samples), np.int64)
            self._absorb(SketchColumn.from_values(samples, groups, 1, self._settled.scale, weights))
        elif len(samples):
            self._hold(len(samples))
            if self._dense is None:
                self._dense = DenseCounts(self._settled.scale)
            if self._dense.add(cast("SampleArray", np.ascontiguousarray(samples))):
                self.column()

    def merge(self, other: "Sketch") -> None:
        """Adds everything the other sketch holds; the other one stays as it is.

        Raises:
            IncompatibleSketchError: the other sketch has another scale, and this one no max_bins to adapt by.
            StateOverflowError: more than 2**62 values, or an integer sum beyond 2**94.
        """
        theirs = other.column()
        scale = self._settled.scale
        if self._max_bins is None and theirs.scale != scale:
            finer, coarser = max(theirs.scale, scale), min(theirs.scale, scale)
            raise IncompatibleSketchError(
                f"cannot merge a sketch of scale {theirs.scale} into one of scale {scale}; rebuild one side, or "
                f"downscale the one of scale {finer} to {coarser}"
            )
        self._absorb(theirs)

    def subtract(self, other: "Sketch") -> None:
        """Takes away everything the other sketch holds, exactly in counts, NaN counts and integer sums.

        Minimum and maximum stay exact unless the extreme value itself may have gone: then they are within error_bound.

        Raises:
            IncompatibleSketchError: the other sketch has another scale, or float values and this one only integers.
            SubtractionError: the other sketch holds what was never added here; nothing changes.
        """
        mine, theirs = self.column(), other.column()
        if not len(theirs.cells):  # it may hold NaN; its kind of sum says nothing
            theirs = replace(theirs, sums=SketchColumn.empty(mine.scale, mine.sums.integer, 1).sums)
        self._settled = mine.subtract(theirs)
        self._held -= _held_by(theirs)

    def downscale(self, scale: int) -> None:
        """Halves the resolution until it is that of a coarser scale, as if all values had been added there.

        Raises:
            ScaleError: the scale is finer than the present one, or outside 0..8.
        """
        self._settled = self.column().downscale(scale)

    def reweight(self, factor: int) -> None:
        """Makes every value count `factor` times (an integer of at least 1): for data sampled one in `factor`.

        Raises:
            SampleError: another factor.
            StateOverflowError: more than 2**62 values, or an integer sum beyond 2**94.
        """
        self._settled = self.column().reweight(factor)
        self._held = _held_by(self._settled)

    def copy(self) -> "Sketch":
        """A sketch of its own with the same state."""
        twin = Sketch.from_column(self.column())
        twin._max_bins = self._max_bins
        return twin

    def quantile(self, q: float) -> float:
        """The estimated value at level q in [0, 1]; p99 is 0.99.

        Raises:
            LevelError: q is NaN or outside [0, 1].
            EmptySketchError: nothing was added yet.
        Guarantee: |estimate - x| <= error_bound * |x|, x at the nearest rank max(1, ceil(q * n)).
        """
        return float(self.quantiles([q])[0])

    def quantiles(self, levels: npt.ArrayLike, interpolation: str = "nearest") -> FloatArray:
        """Estimated values at several levels, float64[m]; as `quantile`.

        Args:
            interpolation: "nearest", or "prometheus" for what Prometheus's histogram_quantile answers.
        """
        wanted = as_levels(levels)
        self._need_values("quantiles")
        return cast("FloatArray", self.column().quantiles(wanted, interpolation)[0])

    def rank(self, x: float) -> int:
        """How many values are <= x; the exact number for some y within error_bound (relative) of x.

        Raises:
            SampleError: x is NaN or no number.
        """
        return int(self.column().ranks([x])[0, 0])

    def cdf(self, x: float) -> float:
        """The share of values that are <= x, from 0 to 1; as `rank`. Needs values: EmptySketchError."""
        self._need_values("distribution")
        return self.rank(x) / self.count

    def fraction_below(self, x: float) -> float:
        """The share of values that are < x, from 0 to 1; as `rank`. Needs values: EmptySketchError."""
        self._need_values("distribution")
        return int(self.column().ranks([x], strict=True)[0, 0]) / self.count

    def bins(self) -> tuple[FloatArray, FloatArray, IntArray]:
        """Lower end, upper end and count of every filled bin, in ascending order; see Bins.bounds for open ends."""
        state = self.column()
        return *bins_of(state.scale).bounds(state.cells), state.counts.copy()

    @property
    def scale(self) -> int:
        """The scale at present: fixed unless the sketch has a max_bins or is downscaled."""
        return self.column().scale

    @property
    def error_bound(self) -> float:
        """Largest relative error of a quantile, as the scale is at present: 0.005415 at scale 6."""
        return self.column().error_bound

    @property
    def count(self) -> int:
        """How many values were added, infinities included and NaN not."""
        return int(self.column().totals()[0])

    @property
    def nan_count(self) -> int:
        """How many NaN were added."""
        return int(self.column().nan_counts[0])

    @property
    def min(self) -> float:
        """The smallest value, exact."""
        self._need_values("a minimum")
        return float(self.column().minima[0])

    @property
    def max(self) -> float:
        """The largest value, exact."""
        self._need_values("a maximum")
        return float(self.column().maxima[0])

    @property
    def sum(self) -> int | float:
        """The sum of the values, NaN apart: an exact int, or a float within 1e-12 * sum|x|; 0 when empty."""
        return self.column().sums.values()[0]

    @property
    def mean(self) -> float:
        """sum / count."""
        self._need_values("a mean")
        return float(self.sum / self.count)

    def __eq__(self, other: object) -> bool:
        return self.column() == other.column() if isinstance(other, Sketch) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Sketch(scale={self.scale}, count={self.count}, nan_count={self.nan_count})"

    def _hold(self, n: int) -> None:
        if self._held + n >= COUNT_LIMIT:
            raise StateOverflowError(f"{self._held} values and {n} more are above 2**62: start a new sketch")
        self._held += n

    def _absorb(self, column: SketchColumn) -> None:
        """Puts a column of length one among those that wait; all or nothing."""
        size = _held_by(column)
        self._hold(size)
        self._merged.append(column)
        self._merged_cells += len(column.cells)
        if self._merged_cells >= MERGED_CELLS or (column.sums.integer and abs(int(column.sums.hi[0])) >= HEAVY_SUM):
            try:
                self.column()
            except StateOverflowError:
                self._merged.remove(column)
                self._held -= size
                raise

    def _settle(self) -> None:
        """Joins what waits with the settled state."""
        columns = [self._settled, *self._merged]
        if len(columns) == 2 and self._held == _held_by(columns[1]) and self._max_bins is None:
            self._settled, self._merged, self._merged_cells = columns[1], [], 0  # nothing was settled before
            return
        scale = min(column.scale for column in columns)
        columns = [column if column.scale == scale else column.downscale(scale) for column in columns]
        state = SketchColumn.concat(_of_one_kind(columns)).reduce(np.zeros(len(columns), np.int64), 1)
        if self._max_bins is not None:
            while len(state.cells) > self._max_bins and state.scale > MIN_SCALE:
                state = state.downscale(state.scale - 1)
        self._settled, self._merged, self._merged_cells = state, [], 0

    def _need_values(self, what: str) -> None:
        if not self.count:
            raise EmptySketchError(f"the sketch holds no values, so it has no {what}; check `count` first")


def _held_by(column: SketchColumn) -> int:
    return int(column.counts.sum()) + int(column.nan_counts.sum())


def _of_one_kind(columns: list[SketchColumn]) -> list[SketchColumn]:
    """The columns with one kind of sum: float where any value is one. What holds no value has no say."""
    kinds = {column.sums.integer for column in columns if len(column.cells)} or {columns[-1].sums.integer}
    integer = kinds == {True}
    return [
        column
        if column.sums.integer == integer
        else replace(
            column,
            sums=column.sums.as_float() if not integer else SketchColumn.empty(column.scale, integer, 1).sums,
        )
        for column in columns
    ]
