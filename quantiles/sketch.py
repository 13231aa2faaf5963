"""One sketch with a friendly face: add values, merge, ask for quantiles. Many at once are in sketch_column.py.

It is a column of length one, so both hold the same state and the same guarantees. A sketch starts without a kind of
sum; the first values decide it. Integers meeting floats later make the sum a float sum, which stays within
1e-12 * sum|x|.
"""

from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from quantiles.array_types import FloatArray, as_samples
from quantiles.bins import DEFAULT_SCALE
from quantiles.errors import CorruptSketchError, EmptySketchError, IncompatibleSketchError
from quantiles.levels import as_levels
from quantiles.sketch_column import SketchColumn


class Sketch:
    """A mergeable summary of a multiset of numbers, within error_bound at every quantile."""

    __slots__ = ("_state",)

    def __init__(self, scale: int = DEFAULT_SCALE) -> None:
        self._state = SketchColumn.empty(scale, n=1)

    @staticmethod
    def from_column(column: SketchColumn) -> "Sketch":
        """The one sketch of a column of length one."""
        if len(column) != 1:
            raise IncompatibleSketchError(f"column holds {len(column)} sketches, wanted 1: take one of them first")
        sketch = Sketch(column.scale)
        sketch._state = column
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
        return self._state.to_bodies()[0]

    def column(self) -> SketchColumn:
        """This sketch as a column of length one; it shares memory, which nobody changes in place."""
        return self._state

    def add(self, values: npt.ArrayLike) -> None:
        """Adds samples.

        Args:
            values: int64[n] or float64[n] (narrower types are widened), any order. NaN is counted apart.
        Raises:
            SampleError: another type or shape.
        """
        samples = as_samples(values)
        if len(samples):
            self._absorb(SketchColumn.from_values(samples, np.zeros(len(samples), np.int64), 1, self.scale))

    def merge(self, other: "Sketch") -> None:
        """Adds everything the other sketch holds; the other one stays as it is.

        Raises:
            IncompatibleSketchError: the other sketch has another scale.
        """
        if other.scale != self.scale:
            raise IncompatibleSketchError(
                f"cannot merge a sketch of scale {other.scale} into one of scale {self.scale}; rebuild one side"
            )
        self._absorb(other._state)

    def copy(self) -> "Sketch":
        """A sketch of its own with the same state."""
        return Sketch.from_column(self._state)

    def quantile(self, q: float) -> float:
        """The estimated value at level q in [0, 1]; p99 is 0.99.

        Raises:
            LevelError: q is NaN or outside [0, 1].
            EmptySketchError: nothing was added yet.
        Guarantee: |estimate - x| <= error_bound * |x|, x at the nearest rank max(1, ceil(q * n)).
        """
        return float(self.quantiles([q])[0])

    def quantiles(self, levels: npt.ArrayLike) -> FloatArray:
        """Estimated values at several levels, float64[m]; as `quantile`."""
        wanted = as_levels(levels)
        self._need_values("quantiles")
        return cast("FloatArray", self._state.quantiles(wanted)[0])

    @property
    def scale(self) -> int:
        """The scale, fixed for the life of the sketch."""
        return self._state.scale

    @property
    def error_bound(self) -> float:
        """Largest relative error of a quantile: 0.005415 at scale 6."""
        return self._state.error_bound

    @property
    def count(self) -> int:
        """How many values were added, infinities included and NaN not."""
        return int(self._state.totals()[0])

    @property
    def nan_count(self) -> int:
        """How many NaN were added."""
        return int(self._state.nan_counts[0])

    @property
    def min(self) -> float:
        """The smallest value, exact."""
        self._need_values("a minimum")
        return float(self._state.minima[0])

    @property
    def max(self) -> float:
        """The largest value, exact."""
        self._need_values("a maximum")
        return float(self._state.maxima[0])

    @property
    def sum(self) -> int | float:
        """The sum of the values, NaN apart: an exact int, or a float within 1e-12 * sum|x|; 0 when empty."""
        return self._state.sums.values()[0]

    @property
    def mean(self) -> float:
        """sum / count."""
        self._need_values("a mean")
        return float(self.sum / self.count)

    def __eq__(self, other: object) -> bool:
        return self._state == other._state if isinstance(other, Sketch) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Sketch(scale={self.scale}, count={self.count}, nan_count={self.nan_count})"

    def _absorb(self, other: SketchColumn) -> None:
        mine = self._state
        if not len(mine.cells) and mine.sums.integer != other.sums.integer:
            mine = replace(mine, sums=SketchColumn.empty(mine.scale, other.sums.integer, 1).sums)
        elif mine.sums.integer != other.sums.integer:
            mine, other = (replace(side, sums=side.sums.as_float()) for side in (mine, other))
        self._state = SketchColumn.concat([mine, other]).reduce([0, 0], 1)

    def _need_values(self, what: str) -> None:
        if not len(self._state.cells):
            raise EmptySketchError(f"the sketch holds no values, so it has no {what}; check `count` first")
