"""Many sketches that keep growing: values with series codes are added in place, one kernel call a batch.

The counts of one octave of all series lie together, and memory is only taken where values fall: with numba, whose
counts are bytes, one line of the cache per series and octave. What is not of the core (negative, zero, very small or
large) waits and is counted the way of SketchColumn, as is everything where there are more series than TABLE_BYTES has
room for: the result is the same, only slower. `column` gives the canonical state. One sketch alone is in sketch.py.
"""

import numpy as np
import numpy.typing as npt

from quantiles._kernels.choice import CARRY, kernels
from quantiles.array_types import FloatArray, IntArray, SampleArray, UnsignedArray, as_groups, as_samples
from quantiles.bins import CORE_HIGH, CORE_LOW, CORE_OCTAVES, DEFAULT_SCALE, bins_of
from quantiles.errors import SampleError
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn

TABLE_BYTES = 1 << 30  # of address space; 262,144 series at scale 6 with numba, 65,536 with NumPy
WAITING = 1 << 16
CARRIED = 1 << 18  # places of full counts that may wait
COUNT_MAX = (1 << 32) - 1  # of a slot; before so many values were added the table is emptied into the settled state


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
        self._kernels = kernels()  # for life, because they choose the type of the counts
        octave, kind = n_series << scale, np.dtype(self._kernels.ROW_COUNTS)
        self._in_place = CORE_OCTAVES * octave * kind.itemsize <= TABLE_BYTES
        octaves = CORE_OCTAVES if self._in_place else 0
        self._counts: UnsignedArray = np.zeros((octaves, n_series, 1 << scale), kind)
        self._carried: list[IntArray] = []  # places of counts that were full
        self._n_carried = 0
        self._added = self._held = 0  # values given and those of them that are in the table
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
            if self._is_full_after(samples, codes):
                self.column()

    def column(self) -> SketchColumn:
        """All sketches as they are now; what is added later does not change it."""
        recent: list[SketchColumn] = []
        if self._waiting:
            values, codes = (np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
            recent.append(SketchColumn.from_values(values, codes, self._n, self._bins.scale))
            self._waiting, self._n_waiting = [], 0
        if self._held:
            recent.append(self._table())
            self._stats = self._no_stats()
        self._added = self._held = 0
        if recent:
            self._join(recent)
        return self._settled

    def _is_full_after(self, samples: SampleArray, codes: IntArray) -> bool:
        """Adds to the table; whether enough waits that it is time to settle."""
        if not self._in_place:
            self._wait(samples.copy(), codes.copy())  # the caller may fill its arrays anew
            return self._is_full()
        carried = np.empty(len(samples), np.int64)
        outside, n_carried = self._kernels.add_rows(samples, codes, self._bins, self._counts, self._stats, carried)
        self._held += len(samples) - outside
        if n_carried:
            self._carried.append(carried[:n_carried].copy())
            self._n_carried += n_carried
        if outside:
            left_out = ~((samples > CORE_LOW) & (samples <= CORE_HIGH))
            self._wait(samples[left_out], codes[left_out])
        return self._is_full()

    def _wait(self, samples: SampleArray, codes: IntArray) -> None:
        self._waiting.append((samples, codes))
        self._n_waiting += len(samples)

    def _is_full(self) -> bool:
        return self._n_carried >= CARRIED or self._n_waiting >= max(WAITING, len(self._settled.cells))

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

    def _table(self) -> SketchColumn:
        """The rows as sketches; leaves no counts behind."""
        ends = np.array([self._stats[:, 0].min(), self._stats[:, 1].max()], np.float64)
        first, last = (self._kernels.cells_of(ends, self._bins) - self._bins.core_cell) >> self._bins.scale
        used = self._counts[first : last + 1]
        width = len(used) << self._bins.scale
        flat = used.transpose(1, 0, 2).copy().reshape(-1)  # row by row
        used[:] = 0
        found = np.flatnonzero(flat)
        counts = flat[found].astype(np.int64)
        if self._carried:
            places, times = np.unique(np.concatenate(self._carried), return_counts=True)
            octave, row, sub_bin = np.unravel_index(places, self._counts.shape)
            counts[np.searchsorted(found, row * width + ((octave - first) << self._bins.scale) + sub_bin)] += (
                CARRY * times
            )
            self._carried, self._n_carried = [], 0
        offsets = np.searchsorted(found, np.arange(self._n + 1) * width)
        rows = np.repeat(np.arange(self._n), np.diff(offsets))
        cells = (found - rows * width + ((first << self._bins.scale) + self._bins.core_cell)).astype(np.int32)
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
