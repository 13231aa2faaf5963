"""Many bodies decoded and merged in one call, to one sketch or to many: the hot path of collector and API.

With numba one pass adds every cell where it belongs, and no cell is materialised. Without it, or where a body is not
plainly right, blocks of bodies are decoded and merged now and then, so that memory holds the result and a bounded rest.
"""

import numpy as np
import numpy.typing as npt

from quantiles import codec
from quantiles._kernels.choice import kernels
from quantiles.array_types import ByteArray, IntArray, as_groups
from quantiles.bins import DEFAULT_SCALE, MAX_SCALE, bins_of
from quantiles.errors import CorruptSketchError
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn, column_of, settled_extremes
from quantiles.sketch_parts import checked_rows

WAITING_CELLS = 1 << 20  # decoded cells that may wait to be merged: 12 MiB


def merge_bodies(
    buffer: bytes | memoryview,
    lengths: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    n_groups: int = 1,
    scale: int | None = None,
    integer: bool | None = None,
) -> SketchColumn:
    """The bodies, which lie one behind the other, merged into one sketch per group.

    Args:
        lengths: sizes of the bodies in bytes, int64[n].
        groups: int64[n], the group of each body, codes 0..n_groups-1 in any order; None merges all into one sketch.
        scale, integer: what all bodies must be, where the caller knows; zero bodies become empty sketches of it.
    Guarantee: the very column that SketchColumn.from_bodies(...).reduce(groups, n_groups) gives (float sums within
        1e-12 * sum|x|), and the very errors.
    Raises:
        CorruptSketchError: bytes that no encoder of this format writes, or bodies of several scales or kinds.
        StateOverflowError: more than 2**62 values, or an integer sum beyond 2**94.
        SampleError: groups of another type, length or range.
    Memory: proportional to the bytes given and to the result, whatever the bodies claim.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    data, ends = codec.laid_out(buffer, sizes)
    codes = as_groups(np.zeros(len(sizes), np.int64) if groups is None else groups, len(sizes), n_groups)
    if not len(sizes):
        return SketchColumn.empty(DEFAULT_SCALE if scale is None else scale, bool(integer), n_groups)
    at_once = _merged_at_once(data, ends, np.ascontiguousarray(codes), n_groups)
    if at_once is not None and scale in (None, at_once.scale) and integer in (None, at_once.sums.integer):
        return at_once
    try:
        if at_once is None:
            merged = _merged_by_blocks(buffer, sizes, codes, n_groups)
            if scale in (None, merged.scale) and integer in (None, merged.sums.integer):
                return merged
    except CorruptSketchError:
        pass  # a block does not know the place of its bodies among all: the decoder tells which one is wrong
    return SketchColumn.from_bodies(buffer, sizes, scale, integer).reduce(codes, n_groups)


def _merged_at_once(data: ByteArray, ends: IntArray, codes: IntArray, n_groups: int) -> SketchColumn | None:
    """None where the kernels have no way to, or a doubt."""
    if ends[0] < codec.HEAD_TOKENS or data[2] > MAX_SCALE:
        return None
    integer, scale = bool(data[1] & codec.INTEGER), int(data[2])  # of the first body; the kernel holds all others to it
    found = kernels().merge_bodies(data, ends, codes, n_groups, bins_of(scale), integer)
    if found is None:
        return None
    offsets, cells, counts, nan_counts, low, high, hi, lo = found
    minima, maxima = settled_extremes(low, high, np.diff(offsets) == 0)
    sums = SumColumn(integer, hi, lo).reduce(np.arange(n_groups), n_groups)  # which settles the parts of float sums
    return SketchColumn(scale, offsets, cells, counts, nan_counts, minima, maxima, sums)


def _merged_by_blocks(buffer: bytes | memoryview, lengths: IntArray, codes: IntArray, n_groups: int) -> SketchColumn:
    waiting: list[SketchColumn] = []
    owners: list[IntArray] = []
    cells, every = 0, np.arange(n_groups)
    for bodies, block in codec.decode_blocks(buffer, lengths):
        waiting.append(column_of(checked_rows(block)))
        owners.append(codes[bodies])
        cells += len(block.cells)
        if cells >= WAITING_CELLS + 2 * len(waiting[0].cells):  # so that merging costs little beside decoding
            waiting = [SketchColumn.concat(waiting).reduce(np.concatenate(owners), n_groups)]
            owners, cells = [every], len(waiting[0].cells)
    return SketchColumn.concat(waiting).reduce(np.concatenate(owners), n_groups)
