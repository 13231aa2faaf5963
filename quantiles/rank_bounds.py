"""Between which two counts the exact number of values at or below x lies, whatever the sketch has forgotten.

All values of cells below that of x are at or below x, none of those above it is; only the values in x's own cell are in
doubt, and minimum and maximum settle some of those. The count that SketchColumn.ranks answers lies between the two.
"""

import numpy as np
import numpy.typing as npt

from quantiles._kernels.choice import kernels
from quantiles.array_types import IntArray
from quantiles.bins import bins_of
from quantiles.sketch_column import SketchColumn


def rank_bounds(column: SketchColumn, values: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """(lowest, highest) possible number of values <= each given one, per sketch: int64[n, m] each.

    Args:
        values: m numbers, NaN not among them.
    Guarantee: lowest <= exact count <= highest; equal at and beyond the extremes and at upper ends of cells.
    Cost: as SketchColumn.ranks, twice.
    """
    x = np.ascontiguousarray(values, np.float64)
    bins = bins_of(column.scale)
    low_end, high_end = bins.bounds(kernels().cells_of(x, bins))
    # A stand-in lies inside its cell, so the rank of a cell's end counts whole cells only.
    lowest, highest = column.ranks(low_end), column.ranks(high_end)
    settled = (x == high_end) & (x > 0)  # the upper end of a cell belongs to it
    lowest[:, settled] = highest[:, settled]
    totals = np.broadcast_to(column.totals()[:, None], lowest.shape)
    with np.errstate(invalid="ignore"):
        none, every = x[None, :] < column.minima[:, None], x[None, :] >= column.maxima[:, None]
    inner = np.maximum(totals - 1, 1)  # the minimum is at or below x, the maximum above
    for counts in (lowest, highest):
        np.clip(counts, 1, inner, out=counts)
        np.copyto(counts, totals, where=every)
        np.copyto(counts, 0, where=none | (totals == 0))
    return lowest, highest
