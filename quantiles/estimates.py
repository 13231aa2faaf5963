"""Questions to sketches: quantiles by either of two named rules, and ranks of given values.

nearest     the stand-in of the cell that holds rank max(1, ceil(q * n)): the rule of REST, within error_bound.
prometheus  what histogram_quantile of Prometheus 3 answers: exponential interpolation inside the cell, NaN counted in
            n, no clamp to minimum and maximum. In the same cell the two differ by at most gamma - 1.

Both are vectors over all sketches; nothing loops over sketches in Python.
"""

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.array_types import FloatArray, IntArray
from quantiles.bins import bins_of
from quantiles.levels import nearest_ranks
from quantiles.sketch_parts import SketchParts

CELL_BITS = 21  # a cell of any scale, made unsigned, fits: one integer holds row and cell
CELL_OFFSET = 1 << (CELL_BITS - 1)


def nearest_rank_quantiles(parts: SketchParts, levels: FloatArray) -> FloatArray:
    """See SketchColumn.quantiles. Cost: O(cells + n * m * log(cells))."""
    if len(parts.nan_counts) == 1:
        return _of_one(parts, levels)
    running, before, totals = _running(parts)
    ranks = nearest_ranks(levels, totals)
    filled = totals > 0
    result = np.full(ranks.shape, np.nan)
    entries = np.searchsorted(running, before[filled, None] + ranks[filled], side="left") - 1
    low, high = parts.minima[filled, None], parts.maxima[filled, None]
    estimates = np.clip(bins_of(parts.scale).representatives(parts.cells[entries]), low, high)
    estimates = np.where(ranks[filled] == totals[filled, None], high, estimates)
    result[filled] = np.where(ranks[filled] == 1, low, estimates)
    result[:, levels == 0] = parts.minima[:, None]
    result[:, levels == 1] = parts.maxima[:, None]
    return result


def prometheus_quantiles(parts: SketchParts, levels: FloatArray) -> FloatArray:
    """Quantiles as Prometheus gives them for the same native histogram, float64[n, m].

    NaN where a sketch is empty, or where the rank falls among the NaN, which Prometheus counts above all values.
    Source: histogram_quantile for exponential buckets: from the bottom below q = 0.5 or where the sum is NaN, else
    from the top; position inside the bucket on a logarithmic scale.
    """
    running, before, totals = _running(parts)
    n_all = (totals + parts.nan_counts)[:, None]
    upward = (levels[None, :] < 0.5) | (parts.nan_counts > 0)[:, None] | np.isnan(parts.sums.hi)[:, None]
    ranks = np.where(upward, levels[None, :], 1.0 - levels[None, :]) * n_all
    steps = np.maximum(np.ceil(ranks).astype(np.int64), 1)  # counts are whole: the first cell reaching it reaches rank
    known = steps <= totals[:, None]
    if not len(parts.cells):
        return np.full(known.shape, np.nan)
    last = (parts.offsets[1:] - 1)[:, None]
    from_below = np.searchsorted(running, before[:, None] + steps, side="left") - 1
    from_above = np.searchsorted(running, before[:, None] + totals[:, None] - steps, side="right") - 1
    entries = np.where(known, np.minimum(np.where(upward, from_below, from_above), last), 0)
    counts = parts.counts[entries]
    passed = running[entries] - before[:, None]
    inside = np.where(upward, ranks - passed, totals[:, None] - passed - ranks)
    result = _interpolated(parts.scale, parts.cells[entries].astype(np.int64), inside / counts)
    return np.where(known, result, np.nan)


def _interpolated(scale: int, cells: IntArray, fraction: FloatArray) -> FloatArray:
    """The point `fraction` of the way up each cell, on a logarithmic scale."""
    bins = bins_of(scale)
    low, high = bins.bounds(cells)
    climbed = np.where(cells < 0, 1.0 - fraction, fraction)  # away from zero
    with np.errstate(over="ignore", under="ignore"):
        exponent = (np.abs(cells) - bins.first_cell + climbed) / (1 << scale)
        magnitude = np.where(cells == 0, 0.0, np.exp2(exponent))
    return np.clip(np.copysign(magnitude, cells), low, high) + 0.0


def ranks_of(parts: SketchParts, values: FloatArray, strict: bool) -> IntArray:
    """How many values of each sketch are <= each of the given ones (< when strict), int64[n, m].

    Guarantee: the exact count for some y with |y - x| <= error_bound * |y|; exact at and beyond minimum and maximum.
    A cell counts as a whole, once x reaches its stand-in, so ranks agree with nearest-rank quantiles.
    """
    running, before, totals = _running(parts)
    bins, n = bins_of(parts.scale), len(totals)
    x = values[None, :]
    owners = np.repeat(np.arange(n), np.diff(parts.offsets))
    keys = (owners << CELL_BITS) + parts.cells + CELL_OFFSET
    cells = kernels().cells_of(np.ascontiguousarray(values), bins).astype(np.int64)
    wanted = (np.arange(n)[:, None] << CELL_BITS) + cells[None, :] + CELL_OFFSET
    position = np.searchsorted(keys, wanted, side="left")
    below = running[position] - before[:, None]
    entries = np.minimum(position, max(len(keys) - 1, 0))
    if len(keys):
        low, high = parts.minima[:, None], parts.maxima[:, None]
        stand_in = np.clip(bins.representatives(cells)[None, :], low, high)
        reached = (keys[entries] == wanted) & (stand_in < x if strict else stand_in <= x)
        below = below + np.where(reached, parts.counts[entries], 0)
        inner = np.clip(below, 1, np.maximum(totals - 1, 1)[:, None])  # minimum is at or below x, maximum is above
        none, every = (x <= low, x > high) if strict else (x < low, x >= high)
        below = np.where(none, 0, np.where(every, totals[:, None], inner))
        below = np.where(totals[:, None] == 0, 0, below)
    return below


def _of_one(parts: SketchParts, levels: FloatArray) -> FloatArray:
    """The same of a single sketch, as many questions have it: half the array operations."""
    running = np.cumsum(parts.counts)
    if not running.size:
        return np.full((1, levels.size), np.nan)
    total, low, high = int(running[-1]), parts.minima[0], parts.maxima[0]
    ranks = nearest_ranks(levels, running[-1:])[0].tolist()
    estimates = bins_of(parts.scale).representatives(parts.cells[running.searchsorted(ranks)])
    values = [
        low if rank == 1 else high if rank == total else min(max(estimate, low), high)
        for rank, estimate in zip(ranks, estimates.tolist(), strict=True)
    ]
    return np.array([values], np.float64)


def _running(parts: SketchParts) -> tuple[IntArray, IntArray, IntArray]:
    """Counts added up over all cells, what lies before each sketch, and each sketch's total."""
    running = np.zeros(len(parts.counts) + 1, np.int64)
    np.cumsum(parts.counts, out=running[1:])
    before = running[parts.offsets[:-1]]
    return running, before, running[parts.offsets[1:]] - before
