"""Values added lately to one sketch, as plain counts over the core: the 64 octaves 2**-20 < x <= 2**44.

One call adds a batch for the price of one kernel; nothing is sorted, merged or allocated. The few values outside the
core (zero, negative, NaN, infinite, very small or large) wait in a list and are counted together. `take` turns
everything into the canonical state and starts again from nothing.
Invariant: the total of what is held here is below 2**62. Elsewhere: the loops are in _kernels/.
"""

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.array_types import SampleArray
from quantiles.bins import CORE_HIGH, CORE_LOW, CORE_OCTAVES, bins_of
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn

OUTSIDERS = 1 << 16  # values outside the core that may wait: 512 KiB


class DenseCounts:
    """Counts, sum and extremes of values of both kinds; at scale 6 it takes 32 KiB."""

    __slots__ = (
        "_counts",
        "_extremes",
        "_float_sum",
        "_floats",
        "_integer_sum",
        "_integers",
        "_outsiders",
        "_scale",
        "_waiting",
    )

    def __init__(self, scale: int) -> None:
        self._scale = scale
        self._counts = np.zeros((CORE_OCTAVES << scale) + 1, np.int64)  # the last slot is the kernels' own
        self._restart()

    def _restart(self) -> None:
        self._extremes = np.array([np.inf, -np.inf])
        self._integer_sum, self._float_sum = np.zeros(2, np.int64), np.zeros(2)
        self._integers = self._floats = 0
        self._outsiders: list[SampleArray] = []
        self._waiting = 0

    def add(self, samples: SampleArray) -> bool:
        """Adds samples; whether enough outsiders wait that it is time to `take`. The array is not kept."""
        integer = samples.dtype == np.int64
        sums = self._integer_sum if integer else self._float_sum
        outside = kernels().add_core(samples, bins_of(self._scale), self._counts, sums, self._extremes)
        inside = len(samples) - outside
        if integer:
            self._integers += inside
        else:
            self._floats += inside
        if not outside:
            return False
        self._outsiders.append(samples[~((samples > CORE_LOW) & (samples <= CORE_HIGH))] if inside else samples.copy())
        self._waiting += outside
        return self._waiting >= OUTSIDERS

    def take(self) -> list[SketchColumn]:
        """What was added since the last call, as at most three sketches; leaves nothing behind."""
        columns: list[SketchColumn] = []
        for kind in (np.int64, np.float64):
            arrays = [array for array in self._outsiders if array.dtype == kind]
            if arrays:
                values = np.concatenate(arrays)
                columns.append(SketchColumn.from_values(values, np.zeros(len(values), np.int64), 1, self._scale))
        columns += self._core()
        self._restart()
        return columns

    def _core(self) -> list[SketchColumn]:
        """The counts as one sketch, of floats where there was one."""
        if not self._integers + self._floats:
            return []
        counts = self._counts[:-1]
        found = np.flatnonzero(counts)
        integer_sum = SumColumn(True, self._integer_sum[:1], self._integer_sum[1:])
        float_sum = SumColumn(False, self._float_sum[:1], self._float_sum[1:]).reduce([0], 1)
        if not self._floats:
            sums = integer_sum
        elif not self._integers:
            sums = float_sum
        else:
            sums = SumColumn.concat([integer_sum.as_float(), float_sum]).reduce([0, 0], 1)
        column = SketchColumn(
            self._scale,
            np.array([0, len(found)]),
            (found + bins_of(self._scale).core_cell).astype(np.int32),
            counts[found],
            np.zeros(1, np.int64),
            self._extremes[:1],
            self._extremes[1:],
            sums,
        )
        counts[found] = 0
        return [column]
