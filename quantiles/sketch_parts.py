"""The flat arrays of n sketches, and the check that arrays from outside pass before anything trusts them.

Every statement of `checked` is an invariant of SketchColumn; bytes that break one can only raise CorruptSketchError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.array_types import BoolArray, CellArray, FloatArray, IntArray
from quantiles.bins import bins_of
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.errors import CorruptSketchError
from quantiles.exact_sums import HI_LIMIT, LOW_MASK, SumColumn


@dataclass(frozen=True, slots=True, eq=False)
class SketchParts:
    """n sketches of one scale as flat arrays; sketch i owns cells[offsets[i]:offsets[i+1]] and the counts there.

    scale: 0..8.
    offsets: int64[n+1], ascending from 0 to m.
    cells: int32[m], ascending within each sketch, no cell twice; see bins.py for what a cell is.
    counts: int64[m], each at least 1.
    nan_counts: int64[n]; NaN is in no cell and in no other field.
    minima, maxima: float64[n] over all values that are not NaN, infinities included; NaN where there is none.
    sums: n sums of the same values.
    """

    scale: int
    offsets: IntArray
    cells: CellArray
    counts: IntArray
    nan_counts: IntArray
    minima: FloatArray
    maxima: FloatArray
    sums: SumColumn


def joined(columns: Sequence[SketchParts]) -> SketchParts:
    """One column behind the other; the caller saw to it that there is one, of one scale and one kind of sum."""
    sizes = np.concatenate([column.offsets[1:] for column in columns])
    sizes -= np.concatenate([column.offsets[:-1] for column in columns])
    return SketchParts(
        columns[0].scale,
        offsets_of(sizes),
        np.concatenate([column.cells for column in columns]),
        np.concatenate([column.counts for column in columns]),
        np.concatenate([column.nan_counts for column in columns]),
        np.concatenate([column.minima for column in columns]),
        np.concatenate([column.maxima for column in columns]),
        SumColumn.concat([column.sums for column in columns]),
    )


def sliced(parts: SketchParts, first: int, last: int) -> SketchParts:
    """Sketches first..last-1, without a copy of their cells."""
    rows, begin, end = slice(first, last), parts.offsets[first], parts.offsets[last]
    return SketchParts(
        parts.scale,
        parts.offsets[first : last + 1] - begin,
        parts.cells[begin:end],
        parts.counts[begin:end],
        parts.nan_counts[rows],
        parts.minima[rows],
        parts.maxima[rows],
        SumColumn(parts.sums.integer, parts.sums.hi[rows], parts.sums.lo[rows]),
    )


def offsets_of(sizes: IntArray) -> IntArray:
    """Where each of the parts of the given sizes begins, and where the last one ends."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def sketch_totals(offsets: IntArray, counts: IntArray) -> IntArray:
    """How many values each sketch holds, NaN apart."""
    running = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=running[1:])
    return running[offsets[1:]] - running[offsets[:-1]]


def held_values(parts: SketchParts) -> float:
    """How many values all sketches hold together, NaN included; no sum of theirs can wrap it. Counts are positive."""
    return sum(
        float(counts.sum())
        if not len(counts) or int(counts.max()) * len(counts) < COUNT_LIMIT  # five times as fast as adding floats
        else float(counts.sum(dtype=np.float64))
        for counts in (parts.counts, parts.nan_counts)
    )


def checked(parts: SketchParts) -> SketchParts:
    """The parts, when they are n valid sketches.

    Raises:
        CorruptSketchError: naming the first rule broken and the first sketch that breaks it.
    Cost: a few passes over cells and one bin look-up per minimum and maximum.
    """
    n, m = len(parts.nan_counts), len(parts.cells)
    columns = (parts.minima, parts.maxima, parts.sums.hi, parts.sums.lo)
    if any(len(column) != n for column in columns) or len(parts.offsets) != n + 1 or len(parts.counts) != m:
        raise CorruptSketchError(f"columns of a sketch column differ in length: wanted {n} sketches and {m} cells")
    steps = np.diff(parts.offsets)
    if int(parts.offsets[0]) != 0 or int(parts.offsets[-1]) != m or np.any(steps < 0):
        raise CorruptSketchError(f"offsets of a sketch column do not ascend from 0 to the {m} cells")
    highest = bins_of(parts.scale).infinity_cell
    cells = parts.cells.astype(np.int64)
    _refuse_cell((cells < -highest) | (cells > highest), parts, f"has a cell outside scale {parts.scale}")
    _refuse_cell(parts.counts < 1, parts, "has a count below 1")
    unordered = np.zeros(m, np.bool_)
    np.less_equal(cells[1:], cells[:-1], out=unordered[1:])
    unordered[parts.offsets[:-1][steps > 0]] = False
    _refuse_cell(unordered, parts, "has cells out of order")
    return checked_rows(parts)


def checked_rows(parts: SketchParts) -> SketchParts:
    """The part of `checked` that costs O(n): for parts whose cells and counts are known to be in order."""
    filled = np.diff(parts.offsets) > 0
    _refuse(parts.nan_counts < 0, "has a negative NaN count")
    if held_values(parts) >= COUNT_LIMIT:
        owner = np.repeat(np.arange(len(filled)), np.diff(parts.offsets))
        sizes = np.bincount(owner, weights=parts.counts, minlength=len(filled)) + parts.nan_counts
        _refuse(sizes >= COUNT_LIMIT, "counts more than 2**62 values")
    _check_extremes(parts, filled)
    _check_sums(parts.sums, filled)
    return parts


def _check_extremes(parts: SketchParts, filled: BoolArray) -> None:
    low, high, bins = parts.minima, parts.maxima, bins_of(parts.scale)
    starts, stops, rows = parts.offsets[:-1], parts.offsets[1:], None
    if not (filled.all() and (low > 0).all() and (low <= high).all()):  # what most parts are: nothing else can be wrong
        _refuse(np.isnan(low) == filled, "has a minimum without values, or none with them")
        _refuse(np.isnan(high) == filled, "has a maximum without values, or none with them")
        _refuse(filled & (low > high), "has its minimum above its maximum")
        zeros = np.signbit(low) & (low == 0) | np.signbit(high) & (high == 0)
        _refuse(zeros, "has -0.0 as an extreme, wanted 0.0")
        rows = np.flatnonzero(filled)
        low, high, starts, stops = low[rows], high[rows], starts[rows], stops[rows]
    _refuse(kernels().cells_of(low, bins) != parts.cells[starts], "has a minimum outside its first cell", rows)
    _refuse(kernels().cells_of(high, bins) != parts.cells[stops - 1], "has a maximum outside its last cell", rows)


def _check_sums(sums: SumColumn, filled: BoolArray) -> None:
    if sums.integer:
        _refuse((sums.lo < 0) | (sums.lo > LOW_MASK), "has a low part of its sum outside 0..2**32-1")
        _refuse((sums.hi <= -HI_LIMIT) | (sums.hi >= HI_LIMIT), "has a sum beyond 2**94")
    else:
        hi, lo = cast("FloatArray", sums.hi), cast("FloatArray", sums.lo)
        with np.errstate(invalid="ignore"):
            settled = np.where(np.isfinite(hi), (hi + lo == hi) & np.isfinite(lo), lo == 0)
        _refuse(~settled, "has a sum whose two parts overlap")
        zeros = np.signbit(hi) & (hi == 0) | np.signbit(lo) & (lo == 0)
        _refuse(zeros, "has -0.0 in its sum, wanted 0.0")
    _refuse(~filled & ((sums.hi != 0) | (sums.lo != 0)), "has a sum without values")


def _refuse_cell(wrong: BoolArray, parts: SketchParts, what: str) -> None:
    if wrong.any():
        _refuse(wrong, what, np.repeat(np.arange(len(parts.nan_counts)), np.diff(parts.offsets)))


def _refuse(wrong: BoolArray, what: str, owner: IntArray | None = None) -> None:
    if wrong.any():
        first = int(np.argmax(wrong))
        sketch = first if owner is None else int(owner[first])
        raise CorruptSketchError(f"sketch {sketch} {what}; drop it and rebuild it from its source")
