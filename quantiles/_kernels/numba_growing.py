"""Sketches added to rows that are there already, by numba: one pass, every count added where it belongs."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from quantiles.array_types import CellArray, IntArray, Pairs, Slots


def cells_of_gaps(gaps: IntArray, counts: IntArray, offsets: IntArray, highest: int) -> tuple[CellArray, int]:
    """See Kernels.cells_of_gaps."""
    cells = np.empty(len(gaps), np.int32)
    return cells, int(_cells_of_gaps(gaps, counts, offsets, highest, cells))


@njit(cache=True)
def _cells_of_gaps(gaps, counts, offsets, highest, cells):  # type: ignore[no-untyped-def]
    """Breaches are gathered without a branch, which takes a third of the time; no step is so wide that cells wrap."""
    for sketch in range(offsets.size - 1):
        begin, end = offsets[sketch], offsets[sketch + 1]
        if begin == end:
            continue
        cell, fewest, widest, narrowest = np.int64(gaps[begin]), np.int64(counts[begin]), np.int64(1), np.int64(1)
        wrong = (cell < -highest) | (cell > highest)
        cells[begin] = cell
        for i in range(begin + 1, end):
            at = np.uint64(i)
            gap = np.int64(gaps[at])
            narrowest, widest = min(narrowest, gap), max(widest, gap)
            fewest = min(fewest, np.int64(counts[at]))
            cell += gap
            cells[at] = cell
        if wrong or fewest < 1 or narrowest < 1 or widest > 2 * highest or cell > highest:
            return sketch
    return np.int64(-1)


def add_to_slots(slots: Slots, rows: IntArray, offsets: IntArray, cells: CellArray, counts: IntArray) -> IntArray:
    """See Kernels.add_to_slots."""
    refused = np.empty(len(rows), np.int64)
    n = _add_to_slots(_words(slots), slots[1:], rows, offsets, cells, counts, refused)
    return refused[:n]


def _words(slots: Slots) -> tuple[npt.NDArray[Any], ...]:
    """The memory as slots of each size."""
    return slots.memory, slots.memory.view(np.uint16), slots.memory.view(np.uint32), slots.memory.view(np.int64)


@njit(cache=True)
def _add_to_slots(  # type: ignore[no-untyped-def]
    words, stretches, rows, offsets, cells, counts, refused
):
    """One loop per size of a count: their types differ, and so do the machine's instructions."""
    ones, twos, fours, eights = words
    places, firsts, widths, sizes = stretches
    n = np.int64(0)
    for i in range(rows.size):
        begin, end = offsets[i], offsets[i + 1]
        if begin == end:
            continue
        row = rows[i]
        size, first = sizes[row], firsts[row]
        if size == 0 or cells[begin] < first or cells[end - 1] - first >= widths[row]:
            fits = False
        elif size == 1:
            fits = _added(ones, places[row] - first, begin, end, cells, counts, 0xFF)
        elif size == 2:
            fits = _added(twos, places[row] // 2 - first, begin, end, cells, counts, 0xFFFF)
        elif size == 4:
            fits = _added(fours, places[row] // 4 - first, begin, end, cells, counts, 0xFFFFFFFF)
        else:
            fits = _added(eights, places[row] // 8 - first, begin, end, cells, counts, (1 << 63) - 1)
        if not fits:
            refused[n] = i
            n += 1
    return n


@njit(cache=True)
def _added(slots, base, begin, end, cells, counts, most):  # type: ignore[no-untyped-def]
    """slots[base + cell] += count; when one has turned out not to fit, everything is taken back.

    Slots wrap, so subtracting gives what they held; a branch per count takes half as long again.
    """
    full = False
    for i in range(begin, end):
        at = np.uint64(i)
        slot = np.uint64(base + cells[at])
        total = np.int64(slots[slot]) + counts[at]
        full |= (total > most) | (total < 0)
        slots[slot] = total
    if full:
        for i in range(begin, end):
            slots[np.uint64(base + cells[i])] -= counts[i]
    return not full


def pairs_of_slots(slots: Slots) -> tuple[IntArray, CellArray, IntArray]:
    """See Kernels.pairs_of_slots."""
    offsets = np.zeros(len(slots.places) + 1, np.int64)
    _count_slots(_words(slots), slots[1:], offsets)
    cells, counts = np.empty(int(offsets[-1]), np.int32), np.empty(int(offsets[-1]), np.int64)
    _take_slots(_words(slots), slots[1:], offsets, cells, counts)
    return offsets, cells, counts


@njit(cache=True)
def _count_slots(words, stretches, offsets):  # type: ignore[no-untyped-def]
    ones, twos, fours, eights = words
    places, _, widths, sizes = stretches
    for row in range(places.size):
        size, found = sizes[row], np.int64(0)
        if size == 1:
            found = _filled(ones, places[row], widths[row])
        elif size == 2:
            found = _filled(twos, places[row] // 2, widths[row])
        elif size == 4:
            found = _filled(fours, places[row] // 4, widths[row])
        elif size == 8:
            found = _filled(eights, places[row] // 8, widths[row])
        offsets[row + 1] = offsets[row] + found


@njit(cache=True)
def _filled(slots, begin, width):  # type: ignore[no-untyped-def]
    found = np.int64(0)
    for i in range(begin, begin + width):
        found += slots[np.uint64(i)] != 0
    return found


@njit(cache=True)
def _take_slots(words, stretches, offsets, cells, counts):  # type: ignore[no-untyped-def]
    ones, twos, fours, eights = words
    places, firsts, widths, sizes = stretches
    for row in range(places.size):
        size, at = sizes[row], offsets[row]
        if size == 1:
            _taken(ones, places[row], firsts[row], widths[row], at, cells, counts)
        elif size == 2:
            _taken(twos, places[row] // 2, firsts[row], widths[row], at, cells, counts)
        elif size == 4:
            _taken(fours, places[row] // 4, firsts[row], widths[row], at, cells, counts)
        elif size == 8:
            _taken(eights, places[row] // 8, firsts[row], widths[row], at, cells, counts)


@njit(cache=True)
def _taken(slots, begin, first, width, at, cells, counts):  # type: ignore[no-untyped-def]
    for i in range(width):
        count = slots[np.uint64(begin + i)]
        if count:
            cells[at] = first + i
            counts[at] = count
            at += 1


def join_pairs(left: Pairs, right: Pairs, some: IntArray) -> Pairs:
    """See Kernels.join_pairs."""
    most = len(left.cells) + int((right.offsets[some + 1] - right.offsets[some]).sum())
    found = Pairs(np.zeros(len(some) + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.int64))
    n = _join_pairs(left, right, some, found)
    return Pairs(found.offsets, found.cells[:n], found.counts[:n])


@njit(cache=True)
def _join_pairs(left, right, some, found):  # type: ignore[no-untyped-def]
    at = np.int64(0)
    for i in range(some.size):
        a, a_end = left.offsets[i], left.offsets[i + 1]
        b, b_end = right.offsets[some[i]], right.offsets[some[i] + 1]
        while a < a_end or b < b_end:
            from_left = b == b_end or (a < a_end and left.cells[a] <= right.cells[b])
            from_right = a == a_end or (b < b_end and right.cells[b] <= left.cells[a])
            count = np.int64(0)
            if from_left:
                found.cells[at] = left.cells[a]
                count += left.counts[a]
                a += 1
            if from_right:
                found.cells[at] = right.cells[b]
                count += right.counts[b]
                b += 1
            found.counts[at] = count
            at += 1
        found.offsets[i + 1] = at
    return at
