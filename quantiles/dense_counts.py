"""Values added lately to one sketch, as plain counts over the core: the 64 octaves 2**-20 < |x| <= 2**44, and zero.

One call adds a batch for the price of one kernel; nothing is sorted, merged or allocated. Negative values are mirrored
into a table of their own. The few values outside the core (NaN, infinite, very small or large) wait in a list and are
counted together. `take` turns everything into the canonical state and starts again from nothing.
Invariant: the total of what is held here is below 2**62. Elsewhere: the loops are in _kernels/.
"""

from dataclasses import replace

import numpy as np

from quantiles._kernels.choice import CORE_GAP, CORE_TABLES, kernels
from quantiles.array_types import SampleArray
from quantiles.bins import CORE_HIGH, CORE_LOW, CORE_OCTAVES, Bins, bins_of
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn

OUTSIDERS = 1 << 16  # values outside the core that may wait: 512 KiB


class DenseCounts:
    """What was added to one sketch; at scale 6 it takes 128 KiB, and as much again once there are negative values."""

    __slots__ = ("_bins", "_negative", "_outsiders", "_positive", "_waiting", "_zeros")

    def __init__(self, scale: int) -> None:
        self._bins = bins_of(scale)
        self._positive = _Side(self._bins)
        self._negative: _Side | None = None  # of the mirrored values
        self._zeros = {True: 0, False: 0}  # integers and floats
        self._outsiders: list[SampleArray] = []
        self._waiting = 0

    def add(self, samples: SampleArray) -> bool:
        """Adds samples; whether enough outsiders wait that it is time to `take`. The array is not kept."""
        if not self._positive.add(samples):
            return False
        rest = samples[~((samples > CORE_LOW) & (samples <= CORE_HIGH))]
        zero = rest == 0
        below = (rest < -CORE_LOW) & (rest >= -CORE_HIGH)
        self._zeros[samples.dtype == np.int64] += int(np.count_nonzero(zero))
        mirrored = -rest[below]
        if len(mirrored):
            self._negative = self._negative or _Side(self._bins)
            self._negative.add(mirrored)
        others = rest[~(zero | below)]
        if len(others):
            self._outsiders.append(others)
            self._waiting += len(others)
        return self._waiting >= OUTSIDERS

    def take(self) -> list[SketchColumn]:
        """What was added since the last call, as a few sketches; leaves nothing behind."""
        columns = self._positive.take()
        if self._negative is not None:
            columns += [_mirrored(column) for column in self._negative.take()]
        for integer in (True, False):
            arrays = [array for array in self._outsiders if (array.dtype == np.int64) == integer]
            if arrays:
                values = np.concatenate(arrays)
                columns.append(SketchColumn.from_values(values, np.zeros(len(values), np.int64), 1, self._bins.scale))
            if self._zeros[integer]:
                columns.append(_zeros(self._zeros[integer], integer, self._bins.scale))
                self._zeros[integer] = 0
        self._outsiders, self._waiting = [], 0
        return columns


class _Side:
    """Counts, sums and extremes of positive values of the core."""

    __slots__ = ("_bins", "_counts", "_extremes", "_held", "_sums")

    def __init__(self, bins: Bins) -> None:
        self._bins = bins
        self._counts = np.zeros((CORE_TABLES, (CORE_OCTAVES << bins.scale) + CORE_GAP), np.int64)
        self._restart()

    def _restart(self) -> None:
        self._extremes = np.array([np.inf, -np.inf])
        self._sums: dict[bool, SampleArray] = {
            True: np.zeros(2, np.int64),
            False: np.zeros(2),
        }  # of integers, of floats
        self._held = {True: 0, False: 0}

    def add(self, samples: SampleArray) -> int:
        """Adds the values of the core; how many others there are."""
        integer = samples.dtype == np.int64
        outside = kernels().add_core(samples, self._bins, self._counts, self._sums[integer], self._extremes)
        self._held[integer] += len(samples) - outside
        return outside

    def take(self) -> list[SketchColumn]:
        """One sketch, of floats where there was one, or none; leaves nothing behind."""
        if not any(self._held.values()):
            return []
        counts = self._counts.sum(axis=0)
        found = np.flatnonzero(counts)
        parts = [
            SumColumn(integer, self._sums[integer][:1], self._sums[integer][1:])
            for integer in (True, False)
            if self._held[integer]
        ]
        sums = parts[0] if len(parts) == 1 else SumColumn.concat([parts[0].as_float(), parts[1]])
        column = SketchColumn(
            self._bins.scale,
            np.array([0, len(found)]),
            (found + self._bins.core_cell).astype(np.int32),
            counts[found],
            np.zeros(1, np.int64),
            self._extremes[:1],
            self._extremes[1:],
            sums.reduce(np.zeros(len(sums), np.int64), 1),  # which settles the parts of a float sum
        )
        self._counts[:, found] = 0
        self._restart()
        return [column]


def _mirrored(column: SketchColumn) -> SketchColumn:
    return replace(
        column,
        cells=-column.cells[::-1],
        counts=column.counts[::-1],
        minima=-column.maxima,
        maxima=-column.minima,
        sums=column.sums.negated(),
    )


def _zeros(count: int, integer: bool, scale: int) -> SketchColumn:
    nothing = SketchColumn.empty(scale, integer, 1)
    zero = np.zeros(1)
    return replace(
        nothing,
        offsets=np.array([0, 1]),
        cells=np.zeros(1, np.int32),
        counts=np.array([count]),
        minima=zero,
        maxima=zero,
    )
