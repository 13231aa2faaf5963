"""From bins that a converter read to a sketch, with the price of the way stated.

Three cases, by the scale that is wanted: the source's or a coarser one is exact; a finer one, or bins of another base
altogether, moves all values of a source bin to the bin of its representative r. With |r - x| <= alpha * |x| at the
source and error_bound at the target, an answer is within alpha + error_bound * (1 + alpha) of x, so what the move
adds is alpha * (1 + error_bound).
"""

import math
import sys
from dataclasses import replace

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.array_types import FloatArray, IntArray
from quantiles.bins import MAX_SCALE, Bins, bins_of
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.converters.outcomes import ReadSketch
from quantiles.converters.signed_bins import BinCounts, SignedBins
from quantiles.errors import CorruptSketchError
from quantiles.exact_sums import SumColumn
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from quantiles.sketch_parts import SketchParts


def sketch_of_bins(
    source: SignedBins, scale: int | None, zero_threshold: float = 0.0, rank_error: float = 0.0
) -> ReadSketch:
    """The sketch of a histogram whose bins are ours.

    Args:
        scale: of the sketch; None for the source's own, or 8 where that is finer.
        zero_threshold: up to which magnitude the source counts values as zero; not negative.
    Raises:
        ScaleError: the scale is not an integer in 0..8.
        CorruptSketchError: bins, counts, minimum or maximum that no values have.
    """
    if source.count_bound >= COUNT_LIMIT:
        raise CorruptSketchError(f"the histogram counts {source.count_bound:.3e} values, wanted less than 2**62")
    own_scale = min(source.scale, MAX_SCALE)
    wanted = own_scale if scale is None else bins_of(scale).scale
    exact = _aligned(source.at_scale(min(own_scale, wanted)), zero_threshold, rank_error)
    return exact if wanted <= own_scale else _finer(exact, wanted)


def sketch_of_values(
    values: FloatArray, counts: IntArray, alpha: float, scale: int, zero_threshold: float, rank_error: float
) -> ReadSketch:
    """The sketch of a histogram of other bins, each given by a finite value within alpha of all values in it.

    Args:
        values: float64[n] ascending; several may be equal.
        counts: int64[n], each at least 1 and below 2**62 in total.
    """
    bins = bins_of(scale)
    binned = BinCounts.of(kernels().cells_of(values, bins).astype(np.int64), counts)
    ends = (float(values[0]), float(values[-1])) if len(values) else (math.nan, math.nan)
    sketch = _sketch(bins, binned, 0, ends, _bin_sum(values, counts))
    return ReadSketch(
        sketch, alpha * (1 + bins.error_bound), rank_error, zero_threshold, frozenset({"min", "max", "sum"})
    )


def _aligned(source: SignedBins, zero_threshold: float, rank_error: float) -> ReadSketch:
    bins = bins_of(source.scale)
    cells = source.cells()
    estimated: set[str] = set()
    low = high = math.nan
    if len(cells.bins):
        low = _extreme(source.minimum, int(cells.bins[0]), bins, zero_threshold, "min")
        high = _extreme(source.maximum, int(cells.bins[-1]), bins, zero_threshold, "max")
        single = int(cells.counts.sum()) == 1
        if source.maximum is None:  # an estimate gives way to what is known
            high = low if single and source.minimum is not None else max(low, high)
        if source.minimum is None:
            low = high if single else min(low, high)
        if single and low != high:
            raise CorruptSketchError(f"one value with minimum {low!r} and maximum {high!r}; wanted them equal")
        estimated |= {"min"} if low != source.minimum else set()
        estimated |= {"max"} if high != source.maximum else set()
    total = source.total
    if total is None and len(cells.bins):
        estimated.add("sum")
        total = _bin_sum(bins.representatives(cells.bins), cells.counts)
    sketch = _sketch(bins, cells, source.nan_count, (low, high), total or 0.0)
    return ReadSketch(sketch, 0.0, rank_error, zero_threshold, frozenset(estimated))


def _finer(read: ReadSketch, scale: int) -> ReadSketch:
    """Moved to a finer scale, which adds error; one value stays at the minimum and one at the maximum."""
    column, coarse, bins = read.sketch.column(), bins_of(read.sketch.scale), bins_of(scale)
    low, high = float(column.minima[0]), float(column.maxima[0])
    values, counts = np.clip(coarse.representatives(column.cells), low, high), column.counts.copy()
    if int(counts.sum()) > 1:
        counts[0] -= 1
        counts[-1] -= 1
        values, counts = np.concatenate([[low], values, [high]]), np.concatenate([[1], counts, [1]])
    cells = BinCounts.of(kernels().cells_of(values, bins).astype(np.int64), counts)
    sketch = _sketch(bins, cells, read.sketch.nan_count, (low, high), float(read.sketch.sum))
    return replace(read, sketch=sketch, added_error=coarse.error_bound * (1 + bins.error_bound))


def _extreme(given: float | None, cell: int, bins: Bins, zero_threshold: float, name: str) -> float:
    """A minimum or maximum that lies in its cell: the given one, or the nearest to it that does.

    A source may bin a value by a rounded logarithm, one bin beside its own; it may keep subnormals in the bin of the
    smallest normal number, and values within its zero threshold at zero. Anything further off is damage.
    """
    lowest, highest = _floats_in(cell, bins)
    if given is None:
        return float(np.clip(bins.representatives(np.array([cell])), lowest, highest)[0])
    if lowest <= given <= highest:
        return given + 0.0  # never -0.0
    if math.isfinite(given):
        own = int(kernels().cells_of(np.array([given]), bins)[0])
        smallest_normal = int(kernels().cells_of(np.array([sys.float_info.min]), bins)[0])
        subnormal = abs(given) < sys.float_info.min and abs(cell) == smallest_normal and (given > 0) == (cell > 0)
        if abs(own - cell) <= 1 or subnormal or (cell == 0 and abs(given) <= zero_threshold):
            return min(max(given, lowest), highest)
    raise CorruptSketchError(
        f"{name} is {given!r}, wanted a number from {lowest!r} to {highest!r}, its bucket: the histogram is damaged"
    )


def _floats_in(cell: int, bins: Bins) -> tuple[float, float]:
    """The smallest and the largest float64 of a cell.

    Raises:
        CorruptSketchError: there is none, which happens among the subnormals.
    """
    if cell == 0:
        return 0.0, 0.0
    below, highest = (float(end[0]) for end in bins.bounds(np.array([abs(cell)])))
    lowest = math.nextafter(below, math.inf)
    if lowest > highest:
        raise CorruptSketchError(f"a bin between {below!r} and the next float64 counts values; wanted bins with one")
    return (lowest, highest) if cell > 0 else (-highest, -lowest)


def _bin_sum(values: FloatArray, counts: IntArray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float((values * counts).sum())


def _sketch(bins: Bins, cells: BinCounts, nan_count: int, ends: tuple[float, float], total: float) -> Sketch:
    sums = SumColumn.zeros(1, integer=False)
    sums.hi[0] = total + 0.0 if len(cells.bins) else 0.0
    parts = SketchParts(
        bins.scale,
        np.array([0, len(cells.bins)], np.int64),
        cells.bins.astype(np.int32),
        cells.counts,
        np.array([nan_count], np.int64),
        np.array([ends[0]]),
        np.array([ends[1]]),
        sums,
    )
    return Sketch.from_column(SketchColumn.from_parts(parts))
