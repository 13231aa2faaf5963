"""Many sketches of one scale side by side as flat arrays: what pipeline, collector and store work with.

No operation loops over sketches in Python. The state is canonical: equal multisets of values give equal arrays, for
any split, order and batching (float sums: within 1e-12 * sum|x|), because cells are sorted, counts are integers,
minimum and maximum are exact and -0.0 is written 0.0. Elsewhere: one sketch with a friendly face is in sketch.py,
the bytes are in codec.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from quantiles import codec
from quantiles._kernels.choice import kernels
from quantiles.array_types import BoolArray, FloatArray, IntArray, SampleArray, as_groups, as_samples, as_weights
from quantiles.bins import DEFAULT_SCALE, bins_of
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.errors import (
    CorruptSketchError,
    IncompatibleSketchError,
    LevelError,
    SampleError,
    StateOverflowError,
)
from quantiles.estimates import nearest_rank_quantiles, prometheus_quantiles, ranks_of
from quantiles.exact_sums import SumColumn
from quantiles.levels import as_levels
from quantiles.sketch_parts import SketchParts, checked, checked_rows, held_values, joined, offsets_of, sketch_totals
from quantiles.state_changes import downscaled, reweighted, subtracted

if TYPE_CHECKING:
    from quantiles.sketch import Sketch

RULES = {"nearest": nearest_rank_quantiles, "prometheus": prometheus_quantiles}


@dataclass(frozen=True, slots=True, eq=False)
class SketchColumn(SketchParts):  # noqa: PLW1641  # compared by value, never a key
    """n sketches; fields as SketchParts lists them. The arrays are never changed in place, so they may be shared."""

    @staticmethod
    def empty(scale: int = DEFAULT_SCALE, integer: bool = False, n: int = 0) -> "SketchColumn":
        """n sketches that hold nothing."""
        bins_of(scale)
        nothing = np.full(n, np.nan)
        return SketchColumn(
            scale, np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), np.zeros(n, np.int64),
            nothing, nothing, SumColumn.zeros(n, integer),
        )  # fmt: skip

    @staticmethod
    def from_values(
        values: npt.ArrayLike,
        groups: npt.ArrayLike,
        n_groups: int,
        scale: int = DEFAULT_SCALE,
        weights: npt.ArrayLike | None = None,
    ) -> "SketchColumn":
        """One sketch per group.

        Args:
            values: int64[n] or float64[n]; the type decides the kind of the sums. int64 beyond 2**53 are binned as the
                nearest float64.
            groups: int64[n], codes 0..n_groups-1 in any order; a group without values becomes an empty sketch.
            weights: how many times each value counts: integers of at least 1, one per value or one for all.
        Raises:
            SampleError: values, groups or weights of another type, shape or range.
            StateOverflowError: weights that add up to more than 2**62.
        Cost: O(n) where n_groups times the span of cells is a small multiple of n, else one sort of n integers.
        """
        samples, bins, run = as_samples(values), bins_of(scale), kernels()
        codes = as_groups(groups, len(samples), n_groups)
        times = None if weights is None else _checked_weights(weights, len(samples))
        nan_counts = np.zeros(n_groups, np.int64)
        if samples.dtype == np.float64 and len(samples) and np.isnan(samples.min()):
            nan = np.isnan(samples)
            np.add.at(nan_counts, codes[nan], 1 if times is None else times[nan])
            samples, codes = cast("FloatArray", samples[~nan]), codes[~nan]
            times = None if times is None else times[~nan]
        samples, codes = _contiguous(samples), np.ascontiguousarray(codes)
        cells = run.cells_of(samples, bins)
        pairs = (
            run.count_pairs(codes, cells, n_groups) if times is None else run.sum_pairs(codes, cells, times, n_groups)
        )
        low, high = run.group_extremes(samples, codes, n_groups)
        minima, maxima = settled_extremes(low, high, np.diff(pairs[0]) == 0)
        sums = SumColumn.from_values(samples, codes, n_groups, times)
        return SketchColumn(scale, *pairs, nan_counts, minima, maxima, sums)

    @staticmethod
    def from_parts(parts: SketchParts) -> "SketchColumn":
        """Arrays from outside, checked against every invariant; cells may be any integers, counts and offsets int64.

        Raises:
            CorruptSketchError: they are not n valid sketches.
        """
        checked(parts)  # after which the cells fit int32
        return column_of(replace(parts, cells=parts.cells.astype(np.int32, copy=False)))

    @staticmethod
    def from_gaps(
        scale: int,
        gaps: IntArray,
        counts: IntArray,
        offsets: IntArray,
        nan_counts: IntArray,
        minima: FloatArray,
        maxima: FloatArray,
        sums: SumColumn,
    ) -> "SketchColumn":
        """As `from_parts`, but each cell is told by its distance from the one before, the first one by that from 0.

        Raises:
            CorruptSketchError: they are not n valid sketches.
            ScaleError: a scale outside 0..8.
        """
        m = len(gaps)
        if len(counts) != m or len(offsets) != len(nan_counts) + 1 or int(offsets[0]) != 0 or int(offsets[-1]) != m:
            raise CorruptSketchError(f"gaps, counts and offsets do not fit {len(nan_counts)} sketches with {m} cells")
        cells, wrong = kernels().cells_of_gaps(gaps, counts, offsets, bins_of(scale).infinity_cell)
        if wrong >= 0:
            raise CorruptSketchError(
                f"sketch {wrong} has cells out of order, a cell outside scale {scale} or a count below 1; "
                "drop it and rebuild it from its source"
            )
        parts = SketchParts(scale, offsets, cells, counts, nan_counts, minima, maxima, sums)
        return column_of(checked_rows(parts))

    @staticmethod
    def from_bodies(
        buffer: bytes | memoryview,
        lengths: npt.ArrayLike,
        scale: int | None = None,
        integer: bool | None = None,
    ) -> "SketchColumn":
        """Decodes bodies that lie one behind the other; `lengths` are their sizes in bytes, int64[n].

        Args:
            scale, integer: what all bodies must be, where the caller knows; zero bodies become an empty column of it.
        Raises:
            CorruptSketchError: bytes that no encoder of this format writes, or bodies of several scales or kinds.
        Memory: proportional to the bytes given, whatever they claim.
        """
        parts = codec.decode(buffer, np.asarray(lengths, dtype=np.int64))
        if parts is None:
            return SketchColumn.empty(DEFAULT_SCALE if scale is None else scale, bool(integer))
        for name, wanted, seen in (("scale", scale, parts.scale), ("integer", integer, parts.sums.integer)):
            if wanted is not None and wanted != seen:
                raise CorruptSketchError(f"bodies have {name} {seen}, wanted {wanted}: they belong to another metric")
        return column_of(checked_rows(parts))  # the decoder vouches for cells and counts

    @staticmethod
    def concat(columns: Sequence["SketchColumn"]) -> "SketchColumn":
        """The columns one behind the other.

        Raises:
            IncompatibleSketchError: no column at all, several scales, or integer sums beside float sums.
        """
        scales = sorted({column.scale for column in columns})
        if len(scales) != 1:
            seen = f"sketches of scales {scales}" if scales else "no columns"
            raise IncompatibleSketchError(f"cannot concatenate {seen}; wanted one or more columns of one scale")
        return column_of(joined(columns))

    def __len__(self) -> int:
        return len(self.nan_counts)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same sketches in the same order, bit for bit."""
        if not isinstance(other, SketchColumn):
            return NotImplemented
        if (self.scale, self.sums.integer, len(self)) != (other.scale, other.sums.integer, len(other)):
            return False
        mine, theirs = self._arrays(), other._arrays()
        return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(mine, theirs, strict=True))

    def _arrays(self) -> list[npt.NDArray[Any]]:
        rows = [self.nan_counts, self.minima, self.maxima, self.sums.hi, self.sums.lo]
        return [self.offsets, self.cells, self.counts, *rows]

    def take(self, indices: npt.ArrayLike) -> "SketchColumn":
        """The sketches at the given positions, in that order; a position may come more than once."""
        rows = np.asarray(indices, dtype=np.int64)
        starts = self.offsets[:-1][rows]
        sizes = self.offsets[1:][rows] - starts
        offsets = offsets_of(sizes)
        entries = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        return SketchColumn(
            self.scale,
            offsets,
            self.cells[entries],
            self.counts[entries],
            self.nan_counts[rows],
            self.minima[rows],
            self.maxima[rows],
            self.sums.take(rows),
        )

    def reduce(self, groups: npt.ArrayLike, n_groups: int) -> "SketchColumn":
        """Merges the sketches of each group into one; a group without sketches becomes an empty one.

        Args:
            groups: int64[n], the group of each sketch, codes 0..n_groups-1 in any order.
        Guarantee: the result equals one sketch over all values of the group, however they were split (see the header).
        Raises:
            StateOverflowError: more than 2**62 values, or an integer sum beyond 2**94.
        """
        codes = as_groups(groups, len(self), n_groups)
        if held_values(self) >= COUNT_LIMIT:
            raise StateOverflowError("the sketches hold more than 2**62 values together; they cannot be merged")
        run = kernels()
        owners = np.repeat(codes, np.diff(self.offsets))
        offsets, cells, counts = run.sum_pairs(owners, self.cells, self.counts, n_groups)
        nan_counts = np.zeros(n_groups, np.int64)
        np.add.at(nan_counts, codes, self.nan_counts)
        low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
        filled = np.diff(self.offsets) > 0
        np.minimum.at(low, codes[filled], self.minima[filled])
        np.maximum.at(high, codes[filled], self.maxima[filled])
        minima, maxima = settled_extremes(low, high, np.diff(offsets) == 0)
        return SketchColumn(
            self.scale, offsets, cells, counts, nan_counts, minima, maxima, self.sums.reduce(codes, n_groups)
        )

    def totals(self) -> IntArray:
        """How many values each sketch holds, infinities included and NaN not: int64[n]."""
        return sketch_totals(self.offsets, self.counts)

    @property
    def error_bound(self) -> float:
        """Largest relative error of a quantile: |estimate - x| <= error_bound * |x|, x at the nearest rank."""
        return bins_of(self.scale).error_bound

    def quantiles(self, levels: npt.ArrayLike, interpolation: str = "nearest") -> FloatArray:
        """Estimated quantiles of every sketch.

        Args:
            levels: m numbers in [0, 1]; p99 is 0.99.
            interpolation: "nearest", or "prometheus" for what Prometheus's histogram_quantile answers.
        Returns:
            float64[n, m]; NaN where a sketch is empty. The first and the last rank are exact.
        Raises:
            LevelError: a level is NaN or outside [0, 1]; an unknown interpolation.
        Guarantee ("nearest"): within error_bound of the value at the nearest rank; never decreasing in the level.
        Cost: O(cells + n * m * log(cells)).
        """
        wanted = as_levels(levels)
        if interpolation not in RULES:
            raise LevelError(f"interpolation is {interpolation!r}, wanted one of {', '.join(RULES)}")
        return RULES[interpolation](self, wanted)

    def ranks(self, values: npt.ArrayLike, strict: bool = False) -> IntArray:
        """How many values of every sketch are <= each given one, or < it when `strict`: int64[n, m].

        Raises:
            SampleError: values that are no flat array of numbers, or NaN among them.
        Guarantee: the exact count for some y within error_bound (relative) of x; exact at and beyond the extremes.
        """
        wanted = as_samples(values).astype(np.float64)
        if np.isnan(wanted).any():
            raise SampleError("asked for the rank of NaN, which has none; wanted numbers")
        return ranks_of(self, wanted, strict)

    def downscale(self, scale: int) -> "SketchColumn":
        """The same sketches at a coarser scale, bit for bit as if the values had been added there.

        Raises:
            ScaleError: the scale is finer than the present one, or outside 0..8.
        """
        return column_of(downscaled(self, scale))

    def subtract(self, other: "SketchColumn") -> "SketchColumn":
        """Sketch i without what sketch i of `other` holds; exact in counts, NaN counts and integer sums.

        Minimum and maximum stay exact unless the extreme value itself may have gone: then they are within error_bound.

        Raises:
            IncompatibleSketchError: another scale or number of sketches, or float sums from integer sums.
            SubtractionError: `other` holds what was never added.
        """
        return column_of(subtracted(self, other))

    def reweight(self, factor: int) -> "SketchColumn":
        """Every value counted `factor` times (an integer of at least 1): for data sampled one in `factor`.

        Raises:
            SampleError: another factor.
            StateOverflowError: more than 2**62 values, or an integer sum beyond 2**94.
        """
        return column_of(reweighted(self, factor))

    def sketch(self, index: int) -> "Sketch":
        """One sketch of the column as an object of its own."""
        from quantiles.sketch import Sketch  # noqa: PLC0415  # Sketch is built on this class

        return Sketch.from_column(self.take([index]))

    def to_bodies(self) -> tuple[bytes, IntArray]:
        """All sketches as bytes, one body behind the other, and the size of each body, int64[n].

        Guarantee: equal sketches give equal bytes, and the other way round.
        """
        return codec.encode(self)


def _contiguous(samples: SampleArray) -> SampleArray:
    return cast("SampleArray", np.ascontiguousarray(samples))


def _checked_weights(weights: npt.ArrayLike, n: int) -> IntArray:
    times = as_weights(weights, n)
    if float(times.sum(dtype=np.float64)) >= COUNT_LIMIT:
        raise StateOverflowError("the weights add up to more than 2**62 values; no sketch can count them")
    return times


def column_of(parts: SketchParts) -> SketchColumn:
    """The parts as a column; the caller knows that they are valid sketches."""
    return SketchColumn(**{field.name: getattr(parts, field.name) for field in fields(SketchParts)})


def settled_extremes(low: FloatArray, high: FloatArray, absent: BoolArray) -> tuple[FloatArray, FloatArray]:
    """NaN where there is no value, and never -0.0: which zero a minimum picks would depend on the order."""
    minima = np.where(absent, np.nan, low + 0.0)
    return minima, np.where(absent, np.nan, high + 0.0)
