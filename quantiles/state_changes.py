"""States made from states: a coarser scale, values taken away again, every value counted several times.

All are exact in counts, NaN counts and integer sums. What subtraction cannot know is which extreme remains: where the
extreme itself may have left, the stand-in of the outermost cell takes its place, within error_bound.
"""

from dataclasses import replace
from typing import cast

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.array_types import BoolArray, CellArray, FloatArray, IntArray
from quantiles.bins import bins_of
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.errors import IncompatibleSketchError, SampleError, ScaleError, StateOverflowError, SubtractionError
from quantiles.estimates import CELL_BITS, CELL_OFFSET
from quantiles.exact_sums import SumColumn
from quantiles.sketch_parts import SketchParts


def downscaled(parts: SketchParts, scale: int) -> SketchParts:
    """The sketches at a coarser scale: bit for bit what the same values give there.

    Raises:
        ScaleError: the scale is finer than the present one, or outside 0..8.
    """
    old, new = bins_of(parts.scale), bins_of(scale)
    if scale > parts.scale:
        raise ScaleError(f"cannot go from scale {parts.scale} to the finer {scale}: detail that is gone stays gone")
    magnitude = np.abs(parts.cells.astype(np.int64))
    joined = ((magnitude - old.first_cell) >> (parts.scale - scale)) + new.first_cell
    cells = np.where(magnitude == 0, 0, np.sign(parts.cells) * joined).astype(np.int32)
    n = len(parts.nan_counts)
    owners = np.repeat(np.arange(n), np.diff(parts.offsets))
    offsets, cells, counts = kernels().sum_pairs(owners, cells, parts.counts, n)
    return replace(parts, scale=scale, offsets=offsets, cells=cells, counts=counts)


def subtracted(parts: SketchParts, other: SketchParts) -> SketchParts:
    """Row i without what row i of `other` holds: bit for bit in cells, counts and integer sums.

    A float sum keeps the error of everything it ever held. Extremes: see the header.

    Raises:
        IncompatibleSketchError: other scales, kinds of sum or numbers of sketches.
        SubtractionError: `other` holds what was never added.
    """
    if (parts.scale, len(parts.nan_counts)) != (other.scale, len(other.nan_counts)):
        raise IncompatibleSketchError(
            f"cannot subtract {len(other.nan_counts)} sketches of scale {other.scale} from {len(parts.nan_counts)} of "
            f"scale {parts.scale}; wanted as many of the same scale"
        )
    if parts.sums.integer and not other.sums.integer:
        raise IncompatibleSketchError("cannot subtract float sums from integer sums; floats were never added here")
    n = len(parts.nan_counts)
    offsets, cells, counts = _fewer_cells(parts, other)
    nan_counts = parts.nan_counts - other.nan_counts
    _refuse(nan_counts < 0, "NaN")
    _refuse((other.minima < parts.minima) | (other.maxima > parts.maxima), "extremes")
    minima, maxima = _remaining_extremes(parts, other, offsets, cells)
    theirs = other.sums if parts.sums.integer else other.sums.as_float()
    rows = np.arange(n)
    sums = SumColumn.concat([parts.sums, theirs.negated()]).reduce(np.concatenate([rows, rows]), n)
    empty = np.diff(offsets) == 0
    if sums.integer:
        _refuse(empty & ((sums.hi != 0) | (sums.lo != 0)), "a sum")
    else:
        sums = SumColumn(False, np.where(empty, 0.0, sums.hi), np.where(empty, 0.0, sums.lo))
    return SketchParts(parts.scale, offsets, cells, counts, nan_counts, minima, maxima, sums)


def reweighted(parts: SketchParts, factor: object) -> SketchParts:
    """Every value counted `factor` times, as a sample of one in `factor` stands for its whole.

    Raises:
        SampleError: the factor is no integer of at least 1.
        StateOverflowError: more than 2**62 values, or an integer sum beyond 2**94.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | np.integer) or factor < 1:
        raise SampleError(f"factor is {factor!r}, wanted an integer of at least 1: counts stay whole")
    held = float(parts.counts.sum(dtype=np.float64)) + float(parts.nan_counts.sum(dtype=np.float64))
    if held * float(factor) >= COUNT_LIMIT:
        raise StateOverflowError(f"{held:.3g} values times {factor} are more than 2**62; use a smaller factor")
    times = int(factor)
    return replace(
        parts, counts=parts.counts * times, nan_counts=parts.nan_counts * times, sums=parts.sums.times(times)
    )


def _fewer_cells(parts: SketchParts, other: SketchParts) -> tuple[IntArray, CellArray, IntArray]:
    """Offsets, cells and counts after the subtraction. O(cells), plus a binary search per cell that goes."""
    mine, theirs = _keys(parts), _keys(other)
    position = np.searchsorted(mine, theirs)
    known = position < len(mine)
    known[known] = mine[position[known]] == theirs[known]
    if not known.all():
        raise SubtractionError(_NEVER.format("values in a cell that holds none"))
    counts = parts.counts.copy()
    counts[position] -= other.counts
    if np.any(counts[position] < 0):
        raise SubtractionError(_NEVER.format("more values in a cell than it holds"))
    kept = counts > 0
    running = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(kept, out=running[1:])
    return running[parts.offsets], parts.cells[kept], counts[kept]


def _keys(parts: SketchParts) -> IntArray:
    owners = np.repeat(np.arange(len(parts.nan_counts)), np.diff(parts.offsets))
    return cast("IntArray", (owners << CELL_BITS) + parts.cells + CELL_OFFSET)


def _remaining_extremes(
    parts: SketchParts, other: SketchParts, offsets: IntArray, cells: CellArray
) -> tuple[FloatArray, FloatArray]:
    """Exact where the extreme that went was not the extreme that was, else the outermost cell's stand-in."""
    minima, maxima = parts.minima.copy(), parts.maxima.copy()
    filled = np.diff(offsets) > 0
    minima[~filled], maxima[~filled] = np.nan, np.nan
    low = filled & (other.minima == parts.minima)
    high = filled & (other.maxima == parts.maxima)
    minima[low] = np.maximum(_stand_ins(parts.scale, cells[offsets[:-1][low]]), parts.minima[low])
    maxima[high] = np.minimum(_stand_ins(parts.scale, cells[offsets[1:][high] - 1]), parts.maxima[high])
    return minima, np.maximum(minima, maxima)


def _stand_ins(scale: int, cells: CellArray) -> FloatArray:
    """Representatives, moved inside their cells where rounding among the subnormals put them on the open end."""
    bins = bins_of(scale)
    low, high = bins.bounds(cells)
    with np.errstate(over="ignore", under="ignore"):
        inner_low = np.where(cells > 0, np.nextafter(low, np.inf), low)
        inner_high = np.where(cells < 0, np.nextafter(high, -np.inf), high)
    return np.clip(bins.representatives(cells), inner_low, inner_high) + 0.0


_NEVER = "cannot subtract {}: they were never added; subtract only sketches that were merged in"


def _refuse(wrong: BoolArray, what: str) -> None:
    if wrong.any():
        raise SubtractionError(f"sketch {int(np.argmax(wrong))}: " + _NEVER.format(what))
