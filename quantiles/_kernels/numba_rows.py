"""Values added to the rows of a table by numba, one row a series: the table is larger than the caches.

Memory is the limit, so counts are bytes: that is 1.4x faster than counts of four bytes at 10,000 series (benchmarks/
quantiles, grouped add). Slots of a block are found first, each with a hint to fetch its place; the counts follow. A
full byte is carried to a list and is above 0 again at once.
The loops repeat a few lines: a function that takes arrays would count references for each value, which is 7x slower.
"""

import numpy as np
from numba import njit

from quantiles._kernels.choice import CARRY
from quantiles._kernels.numba_adding import BITS_HIGH, BITS_LOW, LINE, core_slot
from quantiles._kernels.numpy_kernels import core_steps
from quantiles._kernels.prefetching import prefetch
from quantiles.array_types import IntArray, SampleArray, UnsignedArray
from quantiles.bins import Bins
from quantiles.exact_sums import LOW_BITS, LOW_MASK

BLOCK = 128  # values whose places are on their way from memory at once
ROW_COUNTS = np.uint8
AHEAD = 128  # how many values ahead of the loop they are asked for
CORE_BEGIN, CORE_SPAN = BITS_LOW + np.uint64(1), BITS_HIGH - BITS_LOW  # one compare for both ends
NO_PLACE = np.uint64(1 << 63)
STATS = np.uint64(4)  # numbers in a row of stats


def add_rows(
    values: SampleArray,
    rows: IntArray,
    bins: Bins,
    counts: UnsignedArray,
    stats: SampleArray,
    carried: IntArray,
) -> tuple[int, int]:
    """See Kernels.add_rows."""
    steps, shift = core_steps(bins.scale)
    add = _add_integer_rows if values.dtype == np.int64 else _add_float_rows
    left_out, n_carried = add(values, rows, counts, np.uint64(bins.scale), steps, shift, stats, carried)
    return int(left_out), int(n_carried)


@njit(cache=True)
def _add_float_rows(values, rows, counts, scale, steps, shift, stats, carried):  # type: ignore[no-untyped-def]
    left_out, n_carried = np.int64(0), np.int64(0)
    places = np.empty(BLOCK, np.uint64)
    slots, flat = counts.reshape(-1), stats.reshape(-1)
    for start in range(0, values.size, BLOCK):
        end = min(start + BLOCK, values.size)
        _find_places(values, rows, start, end, counts, scale, steps, shift, stats, places)
        for i in range(start, end):
            place = places[np.uint64(i - start)]
            if place >= NO_PLACE:
                left_out += 1
                continue
            if slots[place] == CARRY:
                carried[n_carried] = np.int64(place)
                n_carried += 1
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
    return left_out, n_carried


@njit(cache=True)
def _add_integer_rows(values, rows, counts, scale, steps, shift, stats, carried):  # type: ignore[no-untyped-def]
    left_out, n_carried = np.int64(0), np.int64(0)
    places = np.empty(BLOCK, np.uint64)
    slots, flat = counts.reshape(-1), stats.reshape(-1)
    for start in range(0, values.size, BLOCK):
        end = min(start + BLOCK, values.size)
        _find_places(values, rows, start, end, counts, scale, steps, shift, stats, places)
        for i in range(start, end):
            place = places[np.uint64(i - start)]
            if place >= NO_PLACE:
                left_out += 1
                continue
            if slots[place] == CARRY:
                carried[n_carried] = np.int64(place)
                n_carried += 1
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
    return left_out, n_carried


@njit(cache=True)
def _find_places(values, rows, start, end, counts, scale, steps, shift, stats, places):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Where in the flat table each value of the block goes, or NO_PLACE."""
    n, sub_bin = np.uint64(counts.shape[1]), (np.uint64(1) << scale) - np.uint64(1)
    for i in range(start, end):
        if i & (LINE - 1) == 0:
            prefetch(values, i + AHEAD)
            prefetch(rows, i + AHEAD)
        bits, row = np.float64(values[np.uint64(i)]).view(np.uint64), np.uint64(rows[np.uint64(i)])
        inside = bits - CORE_BEGIN < CORE_SPAN  # else the entry of 0.0 is looked up, to no effect
        slot = core_slot(bits if inside else np.uint64(0), steps, shift)
        place = ((((slot >> scale) * n + row) << scale) | (slot & sub_bin)) if inside else NO_PLACE
        places[np.uint64(i - start)] = place
        prefetch(counts, np.int64(place))
        prefetch(stats, np.int64(row * STATS))
