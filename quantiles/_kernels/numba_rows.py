"""Values added to the rows of a table by numba, one row a series: the table is larger than the caches.

Memory is the limit, so counts are bytes: that is 1.4x faster than counts of four bytes at 10,000 series (benchmarks/
quantiles, grouped add). Slots of a block are found first, each with a hint to fetch its place; the counts follow. A
full byte is carried to a wider table and is above 0 again at once.
The loops repeat a few lines: a function that takes arrays would count references for each value, which is 7x slower.
"""

import numpy as np
from numba import njit

from quantiles._kernels.numba_adding import BITS_HIGH, BITS_LOW, LINE, core_slot, core_steps
from quantiles._kernels.numpy_kernels import NARROW_MAX
from quantiles._kernels.prefetching import prefetch
from quantiles.array_types import ByteArray, IntArray, SampleArray, UnsignedArray
from quantiles.bins import Bins
from quantiles.exact_sums import LOW_BITS, LOW_MASK

BLOCK = 64  # values whose places are on their way from memory at once
AHEAD = 128  # how many values ahead of the loop they are asked for
NO_PLACE = np.uint64(1 << 63)
STATS = np.uint64(4)  # numbers in a row of stats


def add_rows(
    values: SampleArray,
    rows: IntArray,
    bins: Bins,
    narrow: ByteArray,
    carried: UnsignedArray,
    first: int,
    stats: SampleArray,
) -> int:
    """See Kernels.add_rows."""
    steps, shift = core_steps(bins.scale)
    add = _add_integer_rows if values.dtype == np.int64 else _add_float_rows
    return int(add(values, rows, narrow, carried, np.uint64(first), steps, shift, stats))


@njit(cache=True)
def _add_float_rows(values, rows, narrow, carried, first, steps, shift, stats):  # type: ignore[no-untyped-def]
    left_out = np.int64(0)
    places = np.empty(BLOCK, np.uint64)
    slots, wholes, flat = narrow.reshape(-1), carried.reshape(-1), stats.reshape(-1)
    for start in range(0, values.size, BLOCK):
        end = min(start + BLOCK, values.size)
        _find_places(values, rows, start, end, narrow, first, steps, shift, stats, places)
        for i in range(start, end):
            place = places[np.uint64(i - start)]
            if place >= NO_PLACE:
                left_out += 1
                continue
            if slots[place] == NARROW_MAX:
                wholes[place] += np.uint32(NARROW_MAX)
                slots[place] = 0
            slots[place] += np.uint8(1)
            value, low = values[np.uint64(i)], np.uint64(rows[np.uint64(i)]) * STATS
            high, total, lost = low + np.uint64(1), low + np.uint64(2), low + np.uint64(3)
            if value < flat[low]:  # noqa: PLR1730  # min() would store each time
                flat[low] = value
            if value > flat[high]:  # noqa: PLR1730
                flat[high] = value
            before = flat[total]
            after = before + value
            part = after - before
            flat[total] = after
            flat[lost] += (before - (after - part)) + (value - part)
    return left_out


@njit(cache=True)
def _add_integer_rows(values, rows, narrow, carried, first, steps, shift, stats):  # type: ignore[no-untyped-def]
    left_out = np.int64(0)
    places = np.empty(BLOCK, np.uint64)
    slots, wholes, flat = narrow.reshape(-1), carried.reshape(-1), stats.reshape(-1)
    for start in range(0, values.size, BLOCK):
        end = min(start + BLOCK, values.size)
        _find_places(values, rows, start, end, narrow, first, steps, shift, stats, places)
        for i in range(start, end):
            place = places[np.uint64(i - start)]
            if place >= NO_PLACE:
                left_out += 1
                continue
            if slots[place] == NARROW_MAX:
                wholes[place] += np.uint32(NARROW_MAX)
                slots[place] = 0
            slots[place] += np.uint8(1)
            value, low = values[np.uint64(i)], np.uint64(rows[np.uint64(i)]) * STATS
            high, upper, lower = low + np.uint64(1), low + np.uint64(2), low + np.uint64(3)
            if value < flat[low]:  # noqa: PLR1730  # min() would store each time
                flat[low] = value
            if value > flat[high]:  # noqa: PLR1730
                flat[high] = value
            total = flat[lower] + value
            flat[upper] += total >> LOW_BITS
            flat[lower] = total & LOW_MASK
    return left_out


@njit(cache=True)
def _find_places(values, rows, start, end, narrow, first, steps, shift, stats, places):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Where in the flat table each value of the block goes, or NO_PLACE."""
    width = np.uint64(narrow.shape[1])
    for i in range(start, end):
        if i & (LINE - 1) == 0:
            prefetch(values, i + AHEAD)
            prefetch(rows, i + AHEAD)
        bits, row = np.float64(values[np.uint64(i)]).view(np.uint64), np.uint64(rows[np.uint64(i)])
        inside = (bits > BITS_LOW) & (bits <= BITS_HIGH)  # else the entry of 0.0 is looked up, to no effect
        slot = core_slot(bits if inside else np.uint64(0), steps, shift) - first
        place = row * width + slot if inside & (slot < width) else NO_PLACE
        places[np.uint64(i - start)] = place
        prefetch(narrow, np.int64(place))
        prefetch(stats, np.int64(row * STATS))
