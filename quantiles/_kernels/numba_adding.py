"""Values added in place by numba, each read once: to the core counts of one sketch, or to the rows of a table."""

from functools import cache

import numpy as np
from numba import njit

from quantiles._kernels.numpy_kernels import core_moves
from quantiles._kernels.prefetching import prefetch
from quantiles.array_types import FloatArray, IntArray, SampleArray, TokenArray, UnsignedArray
from quantiles.bins import CORE_FIRST_OCTAVE, CORE_HIGH, CORE_LOW, CORE_OCTAVES, EXPONENT_BIAS, Bins, bins_of
from quantiles.exact_sums import LOW_BITS, LOW_MASK, PLAIN_RUN

LINE, AHEAD = 8, 128  # values in a cache line, and how many values ahead of the loop they are asked for
BLOCK = 256  # values whose places are on their way from memory at once
CORE_HIGH_INT = int(CORE_HIGH)
LARGEST_INT = (1 << 63) - 1


def add_core(values: SampleArray, bins: Bins, counts: IntArray, sums: SampleArray, extremes: FloatArray) -> int:
    """See Kernels.add_core. Reads each value once for cell, sum, minimum and maximum."""
    moves, shift, first = _core_table(bins.scale)
    add = _add_core_integers if values.dtype == np.int64 else _add_core_floats
    return int(add(values, counts, moves, shift, first, sums, extremes))


@cache
def _core_table(scale: int) -> tuple[TokenArray, np.uint64, np.uint64]:
    """The part of core_moves inside the core and one entry more, the shift, and its first index."""
    shift = bins_of(scale).slice_shift
    first = (EXPONENT_BIAS + CORE_FIRST_OCTAVE) << (scale + 1)
    moves = core_moves(scale)[first : first + (CORE_OCTAVES << (scale + 1)) + 1].copy()
    return moves.view(np.uint64), np.uint64(shift), np.uint64(first)


@njit(cache=True)
def _add_core_floats(values, counts, moves, shift, first, sums, extremes):  # type: ignore[no-untyped-def]
    """Two values a round, so that their sums and extremes do not wait for each other: 1.2x faster than one."""
    outside = np.uint64(counts.size - 1)
    beyond = np.uint64(moves.size - 1)
    for start in range(0, values.size, PLAIN_RUN):
        end = min(values.size, start + PLAIN_RUN)
        sum_a, low_a, high_a = 0.0, np.inf, -np.inf
        sum_b, low_b, high_b = 0.0, np.inf, -np.inf
        before = counts[outside]
        even = start + ((end - start) & ~(LINE - 1))
        for line in range(start, even, LINE):
            prefetch(values, line + AHEAD)
            for i in range(line, line + LINE, 2):
                a, b = values[i], values[i + 1]
                sum_a, sum_b = sum_a + a, sum_b + b
                low_a, low_b = a if a < low_a else low_a, b if b < low_b else low_b
                high_a, high_b = a if a > high_a else high_a, b if b > high_b else high_b
                counts[_core_slot(a, moves, shift, first, beyond, outside)] += 1
                counts[_core_slot(b, moves, shift, first, beyond, outside)] += 1
        for i in range(even, end):
            a = values[i]
            sum_a, low_a, high_a = sum_a + a, a if a < low_a else low_a, a if a > high_a else high_a
            counts[_core_slot(a, moves, shift, first, beyond, outside)] += 1
        total = sum_a + sum_b
        low, high = min(low_a, low_b), max(high_a, high_b)
        if counts[outside] != before:  # rare: the run's sum and extremes again, without what is outside
            total, low, high = 0.0, np.inf, -np.inf
            for i in range(start, end):
                a = values[i]
                if CORE_LOW < a <= CORE_HIGH:
                    total, low, high = total + a, min(low, a), max(high, a)
        added = sums[0] + total
        part = added - sums[0]
        sums[1] += (sums[0] - (added - part)) + (total - part)
        sums[0] = added
        extremes[0], extremes[1] = min(extremes[0], low), max(extremes[1], high)
    left_out = counts[outside]
    counts[outside] = 0
    return left_out


@njit(cache=True)
def _add_core_integers(values, counts, moves, shift, first, sums, extremes):  # type: ignore[no-untyped-def]
    """As _add_core_floats; a run of integers of the core cannot wrap its int64 sum."""
    outside = np.uint64(counts.size - 1)
    beyond = np.uint64(moves.size - 1)
    for start in range(0, values.size, PLAIN_RUN):
        end = min(values.size, start + PLAIN_RUN)
        before = counts[outside]
        total, low, high = np.int64(0), values[start], values[start]
        for line in range(start, end, LINE):
            prefetch(values, line + AHEAD)
            for i in range(line, min(line + LINE, end)):
                value = values[i]
                total += value
                low, high = min(low, value), max(high, value)
                counts[_core_slot(np.float64(value), moves, shift, first, beyond, outside)] += 1
        if counts[outside] != before:
            total, low, high = np.int64(0), np.int64(LARGEST_INT), np.int64(0)
            for i in range(start, end):
                value = values[i]
                if 0 < value <= CORE_HIGH_INT:
                    total += value
                    low, high = min(low, value), max(high, value)
        if high > 0:
            total += sums[1]
            sums[0] += total >> LOW_BITS
            sums[1] = total & LOW_MASK
            extremes[0], extremes[1] = min(extremes[0], np.float64(low)), max(extremes[1], np.float64(high))
    left_out = counts[outside]
    counts[outside] = 0
    return left_out


def add_rows(
    values: SampleArray, rows: IntArray, bins: Bins, counts: UnsignedArray, first: int, stats: SampleArray
) -> int:
    """See Kernels.add_rows."""
    moves, shift, first_entry = _core_table(bins.scale)
    add = _add_integer_rows if values.dtype == np.int64 else _add_float_rows
    return int(add(values, rows, counts, first, moves, shift, first_entry, stats))


@njit(cache=True)
def _add_float_rows(values, rows, counts, first, moves, shift, first_entry, stats):  # type: ignore[no-untyped-def]
    """Slots of a block first, each with a hint to fetch its place: the table is larger than the caches."""
    left_out = np.int64(0)
    places = np.empty(BLOCK, np.int64)
    flat = counts.reshape(-1)
    for start in range(0, values.size, BLOCK):
        end = min(start + BLOCK, values.size)
        _find_places(values, rows, counts, first, moves, shift, first_entry, stats, start, end, places)
        for i in range(start, end):
            place = places[i - start]
            if place < 0:
                left_out += 1
                continue
            value, row = values[i], rows[i]
            flat[place] += 1
            stats[row, 0] = value if value < stats[row, 0] else stats[row, 0]
            stats[row, 1] = value if value > stats[row, 1] else stats[row, 1]
            before = stats[row, 2]
            total = before + value
            part = total - before
            stats[row, 2] = total
            stats[row, 3] += (before - (total - part)) + (value - part)
    return left_out


@njit(cache=True)
def _add_integer_rows(values, rows, counts, first, moves, shift, first_entry, stats):  # type: ignore[no-untyped-def]
    left_out = np.int64(0)
    places = np.empty(BLOCK, np.int64)
    flat = counts.reshape(-1)
    for start in range(0, values.size, BLOCK):
        end = min(start + BLOCK, values.size)
        _find_places(values, rows, counts, first, moves, shift, first_entry, stats, start, end, places)
        for i in range(start, end):
            place = places[i - start]
            if place < 0:
                left_out += 1
                continue
            value, row = values[i], rows[i]
            flat[place] += 1
            stats[row, 0] = min(stats[row, 0], value)
            stats[row, 1] = max(stats[row, 1], value)
            low = stats[row, 3] + value
            stats[row, 2] += low >> LOW_BITS
            stats[row, 3] = low & LOW_MASK
    return left_out


@njit(cache=True)
def _find_places(  # type: ignore[no-untyped-def]  # noqa: PLR0917
    values, rows, counts, first, moves, shift, first_entry, stats, start, end, places
):
    """Where in the flat table each value of the block goes, or -1."""
    beyond, nowhere = np.uint64(moves.size - 1), np.uint64(1 << 62)
    width, begin = np.uint64(counts.shape[1]), np.uint64(first)
    for i in range(start, end):
        if i & (LINE - 1) == 0:
            prefetch(values, i + AHEAD)
            prefetch(rows, i + AHEAD)
        slot = _core_slot(np.float64(values[i]), moves, shift, first_entry, beyond, nowhere) - begin
        place = rows[i] * np.int64(width) + np.int64(slot) if slot < width else np.int64(-1)
        places[i - start] = place
        prefetch(counts, place)
        prefetch(stats, rows[i] * 4)


@njit(cache=True, inline="always")
def _core_slot(value, moves, shift, first, beyond, outside):  # type: ignore[no-untyped-def]
    """Slot of a value of the core, else `outside`. Unsigned throughout, so one compare covers both ends."""
    u = np.uint64(np.float64(value).view(np.int64) - 1)  # minus one makes the upper bound of a bin inclusive
    entry = min((u >> shift) - first, beyond)
    slot = (u + moves[entry]) >> shift
    return slot if entry < beyond else outside
