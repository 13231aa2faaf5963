"""Many sketches that keep growing: values with series codes are added in place, one kernel call a batch.

A series is a row of counts over one window of cells that all rows share; the window widens to what the values need, as
long as the table stays within TABLE_BYTES. What lies outside it waits and is counted the way of SketchColumn, so the
result is the same, only slower. `column` gives the canonical state. Elsewhere: one sketch is in sketch.py.
"""

import numpy as np
import numpy.typing as npt

from quantiles._kernels.choice import kernels
from quantiles.array_types import (
    BoolArray,
    ByteArray,
    FloatArray,
    IntArray,
    SampleArray,
    UnsignedArray,
    as_groups,
    as_samples,
)
from quantiles.bins import CORE_HIGH, CORE_LOW, CORE_OCTAVES, DEFAULT_SCALE, bins_of
from quantiles.errors import SampleError
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn

TABLE_BYTES = 1 << 28
WIDTH_STEP = 64  # the window grows by whole octaves of scale 6, so that it seldom has to
WAITING = 1 << 16
SLOT_BYTES = 5  # of a narrow and a carried count
COUNT_MAX = (1 << 32) - 1  # carried; before so many values were added the table is emptied into the settled state


class SketchTable:
    """n sketches of one scale and one kind of sum, updated in place."""

    def __init__(self, n_series: int, integer: bool = False, scale: int = DEFAULT_SCALE) -> None:
        """n sketches of nothing.

        Args:
            integer: whether values are integers and sums exact; else values become floats.
        Raises:
            SampleError: n_series below 0.
            ScaleError: a scale outside 0..8.
        """
        if n_series < 0:
            raise SampleError(f"n_series is {n_series}, wanted 0 or more")
        self._bins, self._n, self._integer = bins_of(scale), n_series, integer
        self._settled = SketchColumn.empty(scale, integer, n_series)
        self._first = 0  # core slot of the window's first column
        self._narrow: ByteArray = np.zeros((n_series, 0), np.uint8)
        self._carried: UnsignedArray = np.zeros((n_series, 0), np.uint32)  # few pages of it are ever touched
        self._added = 0
        self._stats = self._no_stats()
        self._waiting: list[tuple[SampleArray, IntArray]] = []
        self._n_waiting = 0

    def __len__(self) -> int:
        return self._n

    def add(self, values: npt.ArrayLike, series: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> None:
        """Adds each value to the sketch of its series.

        Args:
            values: int64[n] or float64[n], any order; NaN is counted apart.
            series: int64[n], codes 0..n_series-1.
            weights: how many times each value counts: integers of at least 1, one per value or one for all.
        Raises:
            SampleError: arguments of another type, shape or range, or floats in a table of integers.
        """
        samples = self._own_kind(as_samples(values))
        codes = as_groups(series, len(samples), self._n)
        if weights is not None:
            self._join([SketchColumn.from_values(samples, codes, self._n, self._bins.scale, weights)])
        elif len(samples):
            samples, codes = _contiguous(samples), np.ascontiguousarray(codes)
            if self._added + len(samples) > COUNT_MAX:
                self.column()
            self._added += len(samples)
            if self._left_out(samples, codes):
                self.column()

    def column(self) -> SketchColumn:
        """All sketches as they are now; what is added later does not change it."""
        recent: list[SketchColumn] = []
        if self._waiting:
            values, codes = (np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
            recent.append(SketchColumn.from_values(values, codes, self._n, self._bins.scale))
            self._waiting, self._n_waiting = [], 0
        if self._added:
            recent.append(self._table())
            self._stats, self._added = self._no_stats(), 0
        if recent:
            self._join(recent)
        return self._settled

    def _left_out(self, samples: SampleArray, codes: IntArray) -> bool:
        """Adds to the table, widening it if need be; whether enough of what has no column waits to be counted."""
        for _ in range(2):
            outside = kernels().add_rows(
                samples, codes, self._bins, self._narrow, self._carried, self._first, self._stats
            )
            if not outside:
                return False
            left_out = ~self._inside(samples)
            samples, codes = samples[left_out], codes[left_out]
            if not self._widen(samples):
                break
        self._waiting.append((samples, codes))
        self._n_waiting += len(samples)
        return self._n_waiting >= max(WAITING, len(self._settled.cells))

    def _own_kind(self, samples: SampleArray) -> SampleArray:
        if self._integer and samples.dtype != np.int64 and len(samples):
            raise SampleError("floats given to a table of integers: make it with integer=False, or round them first")
        return samples if self._integer else samples.astype(np.float64, copy=False)

    def _no_stats(self) -> SampleArray:
        """Minimum, maximum, high and low part of the sum of each row, in one cache line."""
        if self._integer:
            ends = np.iinfo(np.int64)
            return np.tile(np.array([ends.max, ends.min, 0, 0]), (self._n, 1))
        return np.tile(np.array([np.inf, -np.inf, 0.0, 0.0]), (self._n, 1))

    def _widen(self, samples: SampleArray) -> bool:
        """Lets the window cover the values that are in the core, if the table stays small enough; whether it did."""
        low, high = samples.min(), samples.max()
        if not (low > CORE_LOW and high <= CORE_HIGH):
            inner = samples[(samples > CORE_LOW) & (samples <= CORE_HIGH)]
            if not len(inner):
                return False
            low, high = inner.min(), inner.max()
        ends = kernels().cells_of(np.array([low, high], np.float64), self._bins).astype(np.int64) - self._bins.core_cell
        width = self._narrow.shape[1]
        first, last = int(ends[0]), int(ends[1]) + 1
        if width:
            first, last = min(first, self._first), max(last, self._first + width)
        first -= first % WIDTH_STEP
        last = min(last + -last % WIDTH_STEP, CORE_OCTAVES << self._bins.scale)
        if self._n * (last - first) * SLOT_BYTES > TABLE_BYTES:
            return False
        narrow, carried = np.zeros((self._n, last - first), np.uint8), np.zeros((self._n, last - first), np.uint32)
        if width:
            old = slice(self._first - first, self._first - first + width)
            narrow[:, old], carried[:, old] = self._narrow, self._carried
        self._first, self._narrow, self._carried = first, narrow, carried
        return True

    def _inside(self, samples: SampleArray) -> BoolArray:
        """Which values fall into the window."""
        if not self._narrow.shape[1]:
            return np.zeros(len(samples), np.bool_)
        first = self._bins.core_cell + self._first
        low, high = self._bins.bounds(np.array([first, first + self._narrow.shape[1] - 1]))
        inside: BoolArray = (samples > low[0]) & (samples <= high[1])
        return inside

    def _table(self) -> SketchColumn:
        """The rows as sketches; leaves no counts behind."""
        width = self._narrow.shape[1]
        narrow, carried = self._narrow.reshape(-1), self._carried.reshape(-1)
        found = np.flatnonzero(narrow)
        counts = narrow[found].astype(np.int64) + carried[found]
        narrow[found], carried[found] = 0, 0
        offsets = np.searchsorted(found, np.arange(self._n + 1) * width)
        rows = np.repeat(np.arange(self._n), np.diff(offsets))
        cells = (found - rows * width + (self._first + self._bins.core_cell)).astype(np.int32)
        empty = np.diff(offsets) == 0
        extremes: FloatArray = np.where(empty[:, None], np.nan, self._stats[:, :2].astype(np.float64))
        sums = SumColumn(self._integer, self._stats[:, 2].copy(), self._stats[:, 3].copy())
        return SketchColumn(
            self._bins.scale,
            offsets.astype(np.int64, copy=False),
            cells,
            counts,
            np.zeros(self._n, np.int64),
            extremes[:, 0].copy(),
            extremes[:, 1].copy(),
            sums.reduce(np.arange(self._n), self._n),
        )

    def _join(self, columns: list[SketchColumn]) -> None:
        every = np.tile(np.arange(self._n), len(columns) + 1)
        self._settled = SketchColumn.concat([self._settled, *columns]).reduce(every, self._n)


def _contiguous(samples: SampleArray) -> SampleArray:
    return samples if samples.flags.c_contiguous else samples.copy()
