"""Range functions over sketches: every window's merged histogram, and what the sketches know exactly.

Sketches tell of their own window only, so a range holds the merge of its samples and nothing is extrapolated. Where
ranges overlap, counts are moved through a table of instants by cells: added where a sample comes into view, taken
away where it leaves, and added up along the instants. All are whole numbers below 2**53, so nothing is lost.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.errors import EvaluationError
from api.promql.evaluation import Evaluation
from api.promql.histograms import Histograms
from api.promql.range_samples import reduced
from api.promql.samples import Float64Array, Int64Array, Interrupt, SketchSamples
from api.promql.selecting import Selected, Windows, check_size, first_instants
from api.promql.values import NO_SLOTS
from quantiles.errors import StateOverflowError
from quantiles.sketch_column import SketchColumn
from quantiles.sketch_parts import offsets_of

TABLE_SIZE = 1 << 20  # instants times cells worked on at a time: 8 MB, a few times over


@dataclass(frozen=True, slots=True)
class Panes:
    """Sketches in view from instant `begins` up to before `ends`, sorted by series, then time."""

    series: Int64Array
    begins: Int64Array
    ends: Int64Array
    sketches: SketchColumn

    def windows(self, n: int, count: int) -> Windows:
        """Which panes each of n series sees at each instant."""
        stride = count + 1
        wanted = np.arange(n)[:, None] * stride + np.arange(count)
        gone = np.searchsorted(self.series * stride + self.ends, wanted, side="right")
        return Windows(gone, np.searchsorted(self.series * stride + self.begins, wanted, side="right"))


def merged(
    evaluation: Evaluation, part: SketchSamples, series: Int64Array, n: int, found: Selected
) -> tuple[Int64Array, Histograms]:
    """The merge of the samples that each of n series (or groups: `series` says whose each sample is) sees.

    Returns:
        The slots, series * instants + instant, that see any sample, ascending, and their histograms.
    """
    begins = first_instants(part.times_ns, found.grid)
    ends = first_instants(part.times_ns + found.range_ns, found.grid)
    try:
        panes = _panes(part.sketches, series, begins, ends, found.grid.count)
    except StateOverflowError as error:
        raise EvaluationError(f"the sketches are too large to be merged: {error}") from error
    evaluation.interrupt()
    if (panes.ends - panes.begins <= 1).all():
        return panes.series * found.grid.count + panes.begins, arithmetic.of_sketches(panes.sketches)
    return _slid(evaluation, panes, n, found.grid.count)


def extreme(part: SketchSamples, windows: Windows, largest: bool, interrupt: Interrupt) -> Float64Array:
    """The exact minimum or maximum of all values in each window."""
    column = part.sketches
    values, operation = (column.maxima, np.fmax) if largest else (column.minima, np.fmin)
    return reduced(operation, values, windows, interrupt)


def _panes(column: SketchColumn, series: Int64Array, begins: Int64Array, ends: Int64Array, count: int) -> Panes:
    """Samples in view of the same instants merged; those that no instant sees are left out."""
    seen = np.flatnonzero(begins < ends)
    if len(seen) < len(series):
        column, series, begins, ends = column.take(seen), series[seen], begins[seen], ends[seen]
    if not len(series):
        return Panes(NO_SLOTS, NO_SLOTS, NO_SLOTS, column)
    stride = count + 1
    keys = (series * stride + begins) * stride + ends
    if (keys[1:] > keys[:-1]).all():
        return Panes(series, begins, ends, column)
    alone, groups = np.unique(keys, return_inverse=True)
    rest = alone // stride
    return Panes(rest // stride, rest % stride, alone % stride, column.reduce(groups.astype(np.int64), len(alone)))


def _slid(evaluation: Evaluation, panes: Panes, n: int, count: int) -> tuple[Int64Array, Histograms]:
    windows = panes.windows(n, count)
    column = panes.sketches
    slots = np.flatnonzero(windows.seen)
    # A window has no fewer cells than any sketch in it: what is far too much is refused before it is made.
    cells_of = np.diff(column.offsets).astype(np.float64)
    fewest = int(reduced(np.maximum, cells_of, windows, evaluation.interrupt).reshape(-1)[slots].sum())
    check_size(fewest, "histogram buckets or more", evaluation.limits)
    counted = (column.totals() + column.nan_counts).astype(np.float64)
    totals = reduced(np.add, counted, windows, evaluation.interrupt).reshape(-1)[slots]
    sums = reduced(np.add, arithmetic.float_sums(column), windows, evaluation.interrupt).reshape(-1)[slots]
    owners, cells, counts = _slid_cells(evaluation, panes, n, count)
    offsets = np.append(np.searchsorted(owners, slots), len(owners))
    return slots, Histograms(column.scale, offsets, cells, counts, totals, sums)


def _slid_cells(
    evaluation: Evaluation, panes: Panes, n: int, count: int
) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Slot, cell and count of all cells of all windows, in that order."""
    codes, known = _compact(panes.sketches)
    width = max(len(known), 1)
    block = min(count, max(TABLE_SIZE // width, 1))
    batch = min(max(TABLE_SIZE // (width * count), 1), n)
    firsts = np.searchsorted(panes.series, np.arange(0, n + batch, batch))
    found: list[tuple[Int64Array, Int64Array, Float64Array]] = []
    held = 0
    for number, (first, last) in enumerate(pairwise(firsts.tolist())):
        for start in range(0, count, block):
            if first == last:
                break
            evaluation.interrupt()
            stop = min(start + block, count)
            wanted = np.arange(first, last)
            wanted = wanted[(panes.begins[first:last] < stop) & (panes.ends[first:last] > start)]
            table = _table(panes, codes, wanted, (number * batch, batch, start, stop, width))
            rows, instants, places = np.nonzero(table)
            held += len(rows)
            check_size(held, "histogram buckets", evaluation.limits)
            found.append(
                ((number * batch + rows) * count + start + instants, known[places], table[rows, instants, places])
            )
    if not found:
        return NO_SLOTS, NO_SLOTS, np.empty(0)
    owners, cells, counts = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return owners, cells, counts


def _table(panes: Panes, codes: Int64Array, wanted: Int64Array, shape: tuple[int, int, int, int, int]) -> Float64Array:
    """Counts by series of a batch, instant from start up to before stop, and cell."""
    base, batch, start, stop, width = shape
    length = stop - start + 1
    offsets = panes.sketches.offsets
    sizes = offsets[wanted + 1] - offsets[wanted]
    bounds = offsets_of(sizes)
    entries = np.arange(bounds[-1]) + np.repeat(offsets[wanted] - bounds[:-1], sizes)
    rows = (panes.series[wanted] - base) * length
    counts = panes.sketches.counts[entries].astype(np.float64)
    come = np.repeat((rows + np.maximum(panes.begins[wanted] - start, 0)) * width, sizes) + codes[entries]
    gone = np.repeat((rows + np.minimum(panes.ends[wanted] - start, length - 1)) * width, sizes) + codes[entries]
    size = batch * length * width
    table = np.bincount(come, weights=counts, minlength=size) - np.bincount(gone, weights=counts, minlength=size)
    table = table.reshape(batch, length, width)
    return np.asarray(np.cumsum(table, axis=1, out=table)[:, :-1])


def _compact(column: SketchColumn) -> tuple[Int64Array, Int64Array]:
    """The cells as numbers from 0 on, in order, and which cell each number is."""
    if not len(column.cells):
        return NO_SLOTS, NO_SLOTS
    low = int(column.cells.min())
    used = np.zeros(int(column.cells.max()) - low + 1, np.bool_)
    used[column.cells - low] = True
    ranks = np.cumsum(used) - 1
    return ranks[column.cells - low], np.flatnonzero(used) + low
