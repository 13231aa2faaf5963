"""Quantiles and fractions of histograms whose counts may be fractional, by the rules of Prometheus 3.

Inside a bucket values are taken to lie evenly on a logarithmic scale; in the bucket of zero all are zero. Counts are
added up within each histogram, from the bottom below the median and from the top above it, so that a rank that falls
on the edge of a bucket falls on the same side as in Prometheus.
"""

from collections.abc import Iterator

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.histograms import Histograms
from api.promql.over_time_floats import at_levels
from api.promql.samples import Float64Array, Int64Array, Interrupt
from quantiles.bins import bins_of
from quantiles.estimates import interpolated_in_cells

TABLE_SIZE = 1 << 20  # histograms times cells added up at a time


def quantiles(histograms: Histograms, levels: Float64Array, interrupt: Interrupt) -> Float64Array:
    """One quantile of each histogram, float64[n]; NaN where it is empty, or the rank falls among its NaN."""
    result = np.full(len(histograms), np.nan)
    upward = np.isnan(histograms.sums) | (levels < 0.5)
    for rows in _batches(histograms):
        interrupt()
        result[rows] = _quantiles(histograms, rows, levels[rows], upward[rows])
    result = np.where(histograms.totals == 0, np.nan, result)
    return at_levels(result, levels)


def fractions(histograms: Histograms, lower: Float64Array, upper: Float64Array, interrupt: Interrupt) -> Float64Array:
    """The share of each histogram's values between two bounds, float64[n]."""
    with np.errstate(all="ignore"):
        inside = _ranks(histograms, upper, interrupt) - _ranks(histograms, lower, interrupt)
        shares = np.where(lower >= upper, 0.0, inside / histograms.totals)
    unknown = np.isnan(lower) | np.isnan(upper) | (histograms.totals == 0)
    return np.where(unknown, np.nan, shares)


def _batches(histograms: Histograms) -> Iterator[Int64Array]:
    """Histograms of like size together, few enough that a table of their cells stays small."""
    sizes = arithmetic.sizes(histograms)
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    last = len(order)
    while last > 0:
        widest = int(sizes[order[last - 1]])
        first = max(last - max(TABLE_SIZE // widest, 1), 0)
        yield order[first:last]
        last = first


def _quantiles(histograms: Histograms, rows: Int64Array, levels: Float64Array, upward: np.ndarray) -> Float64Array:
    sizes, starts = arithmetic.sizes(histograms)[rows], histograms.offsets[:-1][rows]
    columns = np.arange(int(sizes.max()))
    inside = columns < sizes[:, None]
    step = np.where(upward[:, None], columns, sizes[:, None] - 1 - columns)  # seen from the end it is counted from
    entries = starts[:, None] + np.where(inside, step, 0)
    counts = np.where(inside, histograms.counts[entries], 0.0)
    totals = histograms.totals[rows]
    ranks = np.where(upward, levels, 1.0 - levels) * totals
    running = np.cumsum(counts, axis=1)
    reaching = (running >= ranks[:, None]) & (counts != 0)
    found = reaching.any(axis=1)
    place = np.where(found, np.argmax(reaching, axis=1), sizes - 1)
    each = np.arange(len(rows))
    count = counts[each, place]
    reached = np.minimum(running[each, place], totals)
    with np.errstate(all="ignore"):
        rank = np.where(upward, ranks - (reached - count), reached - ranks)
        cells = histograms.cells[entries[each, place]]
        values = interpolated_in_cells(histograms.schema, cells, rank / count)
        highest = bins_of(histograms.schema).bounds(cells)[1]
    none = np.where(np.isnan(histograms.sums[rows]), np.nan, highest)
    return np.where(found | (reached >= ranks), values, none)


def _ranks(histograms: Histograms, values: Float64Array, interrupt: Interrupt) -> Float64Array:
    """How many values of each histogram lie below one value each; in its bucket a share of the bucket's count."""
    if not len(histograms.cells):
        return np.zeros(len(histograms))
    first = int(histograms.cells.min())
    low, high = bins_of(histograms.schema).bounds(np.arange(first, int(histograms.cells.max()) + 1))
    with np.errstate(all="ignore"):
        edge_low, edge_high, edges = np.log2(np.abs(low)), np.log2(np.abs(high)), np.log2(np.abs(values))
    owners = arithmetic.owners(histograms)
    found = np.zeros(len(histograms))
    for start in range(0, len(histograms.cells), TABLE_SIZE):
        interrupt()
        some = slice(start, start + TABLE_SIZE)
        place, owner = histograms.cells[some] - first, owners[some]
        value, edge = values[owner], edges[owner]
        with np.errstate(all="ignore"):
            upward = (edge - edge_low[place]) / (edge_high[place] - edge_low[place])
            downward = 1.0 - (edge - edge_high[place]) / (edge_low[place] - edge_high[place])
            share = np.where(value > 0, upward, downward)
            below, reached = high[place] <= value, low[place] < value
            share = np.where(below, np.where(reached, 1.0, 0.0), np.where(reached, share, 0.0))
            weights = histograms.counts[some] * share
        found += np.bincount(owner, weights=weights, minlength=len(histograms))
    return found
