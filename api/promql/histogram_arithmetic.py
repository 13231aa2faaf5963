"""What arithmetic does to histograms: taking, scaling, adding and coarsening many at once, without a loop over them."""

from typing import cast

import numpy as np

from api.promql.histograms import Histograms
from api.promql.samples import Float64Array, Int64Array
from quantiles.bins import bins_of
from quantiles.sketch_column import SketchColumn
from quantiles.sketch_parts import offsets_of

# Counting into a table of histograms times cells beats sorting while the table is no more than this many times the
# cells to add.
TABLE_RATIO = 8
SMALL_TABLE = 1 << 20


def nothing(schema: int = 8) -> Histograms:
    """No histogram."""
    none = np.empty(0)
    return Histograms(schema, np.zeros(1, np.int64), np.empty(0, np.int64), none, none, none)


def of_sketches(column: SketchColumn) -> Histograms:
    """The sketches as histograms. NaN among the values count and make the sum NaN, as in Prometheus."""
    totals = (column.totals() + column.nan_counts).astype(np.float64)
    return Histograms(
        column.scale,
        column.offsets,
        column.cells.astype(np.int64),
        column.counts.astype(np.float64),
        totals,
        float_sums(column),
    )


def float_sums(column: SketchColumn) -> Float64Array:
    """The sums of the sketches, float64[n]; NaN where a sketch has counted NaN."""
    sums = cast("Float64Array", column.sums.as_float().hi)
    return np.where(column.nan_counts > 0, np.nan, sums)


def sizes(histograms: Histograms) -> Int64Array:
    """How many cells each histogram has."""
    return np.diff(histograms.offsets)


def owners(histograms: Histograms) -> Int64Array:
    """Which histogram each cell belongs to."""
    return np.repeat(np.arange(len(histograms)), sizes(histograms))


def taken(histograms: Histograms, rows: Int64Array) -> Histograms:
    """The histograms at these positions, in that order; a position may come more than once."""
    if len(rows) == len(histograms) and np.array_equal(rows, np.arange(len(rows))):
        return histograms
    starts = histograms.offsets[:-1][rows]
    lengths = histograms.offsets[1:][rows] - starts
    offsets = offsets_of(lengths)
    entries = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return Histograms(
        histograms.schema,
        offsets,
        histograms.cells[entries],
        histograms.counts[entries],
        histograms.totals[rows],
        histograms.sums[rows],
    )


def scaled(histograms: Histograms, factors: Float64Array, divide: bool = False) -> Histograms:
    """Counts and sums times (or divided by) one factor per histogram."""
    each = np.repeat(factors, sizes(histograms))
    with np.errstate(all="ignore"):
        if divide:
            changed = (histograms.counts / each, histograms.totals / factors, histograms.sums / factors)
        else:
            changed = (histograms.counts * each, histograms.totals * factors, histograms.sums * factors)
    return Histograms(histograms.schema, histograms.offsets, histograms.cells, *changed)


def joined(parts: list[Histograms]) -> Histograms:
    """All parts one behind the other, at the coarsest schema among them."""
    parts = [part for part in parts if len(part)] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    schema = min(part.schema for part in parts)
    same = [coarsened(part, schema) for part in parts]
    return Histograms(
        schema,
        offsets_of(np.concatenate([sizes(part) for part in same])),
        np.concatenate([part.cells for part in same]),
        np.concatenate([part.counts for part in same]),
        np.concatenate([part.totals for part in same]),
        np.concatenate([part.sums for part in same]),
    )


def coarsened(histograms: Histograms, schema: int) -> Histograms:
    """The same histograms at a coarser schema."""
    if schema == histograms.schema:
        return histograms
    if not len(histograms):
        return nothing(schema)
    fine, coarse = bins_of(histograms.schema), bins_of(schema)
    bins = (np.abs(histograms.cells) - fine.first_cell) >> (histograms.schema - schema)
    cells = np.where(histograms.cells == 0, 0, np.sign(histograms.cells) * (bins + coarse.first_cell))
    moved = Histograms(schema, histograms.offsets, cells, histograms.counts, histograms.totals, histograms.sums)
    return added(moved, np.arange(len(moved)), len(moved))


def added(histograms: Histograms, groups: Int64Array, n_groups: int) -> Histograms:
    """One histogram per group, the sum of the group's; groups are codes 0..n_groups-1 in any order."""
    offsets, cells, counts = added_cells(groups[owners(histograms)], histograms.cells, histograms.counts, n_groups)
    with np.errstate(all="ignore"):
        totals = _sums(groups, histograms.totals, n_groups)
        sums = _sums(groups, histograms.sums, n_groups)
    return Histograms(histograms.schema, offsets, cells, counts, totals, sums)


def added_cells(
    groups: Int64Array, cells: Int64Array, counts: Float64Array, n_groups: int
) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Counts added up by group and cell: offsets, cells and counts of the groups. Cells that add up to 0 go."""
    if not len(cells):
        return np.zeros(n_groups + 1, np.int64), cells, counts
    low = int(cells.min())
    width = int(cells.max()) - low + 1
    keys = groups * width + (cells - low)
    if n_groups * width <= max(TABLE_RATIO * len(cells), SMALL_TABLE):
        table = _sums(keys, counts, n_groups * width)
        found = np.flatnonzero(table)
        sums = table[found]
    else:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        sums = np.add.reduceat(counts[order], starts)
        kept = sums != 0
        found, sums = ordered[starts][kept], sums[kept]
    offsets = np.searchsorted(found, np.arange(n_groups + 1) * width)
    return offsets.astype(np.int64), found % width + low, sums


def _sums(groups: Int64Array, values: Float64Array, n_groups: int) -> Float64Array:
    return np.bincount(groups, weights=values, minlength=n_groups).astype(np.float64)
