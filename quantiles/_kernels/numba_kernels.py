"""The hot loops compiled by numba: one pass each, no sort unless a group is sparse. Names as in numpy_kernels.py.

Compiled code is cached beside this file, or in numba's user-wide cache where that folder is read-only; the first call
in a fresh installation compiles for a few seconds. No fastmath: NaN and infinity keep their meaning.
"""

from typing import cast

import numpy as np
from numba import njit

from quantiles._kernels import numba_adding, numba_bodies, numba_growing, numba_rows
from quantiles._kernels.numpy_kernels import MAX_VARINT_BYTES
from quantiles.array_types import ByteArray, CellArray, FloatArray, IntArray, SampleArray, TokenArray
from quantiles.bins import (
    EXPONENT_BIAS,
    HIDDEN_BIT,
    MAX_FINITE_BITS,
    Bins,
)
from quantiles.cell_tokens import (
    CELL_TOO_LARGE,
    COUNT_LIMIT,
    COUNT_TOO_LARGE,
    DENSE_COUNTS,
    GAP_AFTER_GAP,
    GAP_COUNTS,
    GAP_FIRST,
    GAP_IN_TWO,
    GAP_LAST,
    GAP_TOO_WIDE,
    NO_TOKEN,
    OBEYED,
    ONE_BYTE,
    ONE_TOKEN,
    SHORT_GAPS,
    TOKEN_COUNT,
    TOKEN_GAP,
)

merge_bodies = numba_bodies.merge_bodies
cells_of_gaps, add_to_slots = numba_growing.cells_of_gaps, numba_growing.add_to_slots
pairs_of_slots, join_pairs = numba_growing.pairs_of_slots, numba_growing.join_pairs
add_core, add_rows, ROW_COUNTS = numba_adding.add_core, numba_rows.add_rows, numba_rows.ROW_COUNTS


SIGN_FREE = (1 << 63) - 1
MANTISSA = HIDDEN_BIT - 1

# A group whose cells span more than this many slots per pair is sorted; scanning its span would cost more.
SCAN_PER_PAIR = 32
# So few pairs are sorted where they stand: a scan would read ten slots for each (drained rows over many series).
SORT_UP_TO = 12


def cells_of(values: SampleArray, bins: Bins) -> CellArray:
    """See Kernels.cells_of."""
    cells = np.empty(len(values), np.int32)
    floats = values.astype(np.float64, copy=False)
    _fill_cells(
        floats.view(np.int64), cells, bins.sub_bins, bins.thresholds, bins.scale, bins.first_cell, bins.infinity_cell
    )
    return cells


@njit(cache=True)
def _fill_cells(bits, cells, sub_bins, thresholds, scale, first_cell, infinity_cell):  # type: ignore[no-untyped-def]
    """cells[i] = the cell of the float64 with bits[i]. No NaN."""
    slices = sub_bins.size - 1
    shift = 51 - scale
    for i in range(bits.size):
        magnitude = bits[i] & SIGN_FREE
        u = magnitude - 1  # minus one makes the upper bound of a bin inclusive
        if HIDDEN_BIT <= magnitude <= MAX_FINITE_BITS:
            octave = (u >> 52) - EXPONENT_BIAS
        elif magnitude == 0:
            cells[i] = 0
            continue
        elif magnitude > MAX_FINITE_BITS:
            cells[i] = infinity_cell if bits[i] > 0 else -infinity_cell
            continue
        else:  # subnormal: shift the leading bit up to where a normal value hides it
            octave = 1 - EXPONENT_BIAS
            while magnitude < HIDDEN_BIT:
                magnitude <<= 1
                octave -= 1
            u = magnitude - 1
            if u < HIDDEN_BIT:
                octave -= 1  # a power of two belongs to the octave below
        mantissa = u & MANTISSA
        piece = (u >> shift) & slices
        cell = (octave << scale) + sub_bins[piece] + (mantissa >= thresholds[piece]) + first_cell
        cells[i] = cell if bits[i] > 0 else -cell


def count_pairs(groups: IntArray, cells: CellArray, n_groups: int) -> tuple[IntArray, CellArray, IntArray]:
    """See Kernels.count_pairs."""
    return sum_pairs(groups, cells, np.ones(len(cells), np.int64), n_groups)


def sum_pairs(
    groups: IntArray, cells: CellArray, counts: IntArray, n_groups: int
) -> tuple[IntArray, CellArray, IntArray]:
    """See Kernels.sum_pairs."""
    if not len(cells):
        return np.zeros(n_groups + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)
    low = int(cells.min())
    span = int(cells.max()) - low + 1
    if n_groups == 1 and span <= SCAN_PER_PAIR * len(cells):
        slots = np.zeros(span, np.int64)
        _sum_slots(cells, counts, low, slots)
        found = np.flatnonzero(slots)
        return np.array([0, len(found)]), (found + low).astype(np.int32), slots[found]
    result = _sum_pairs(groups, cells, counts, n_groups, low, np.zeros(span, np.int64))
    return cast("tuple[IntArray, CellArray, IntArray]", result)


@njit(cache=True)
def _sum_slots(cells, counts, low, slots):  # type: ignore[no-untyped-def]
    """Everything of one group needs no sorting: 10x faster than _sum_pairs when 1,000 sketches are merged."""
    for i in range(cells.size):
        slots[np.uint64(cells[i] - low)] += counts[i]


@njit(cache=True)
def _sum_pairs(groups, cells, counts, n_groups, low, slots):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """A counting sort by group, then each group through the shared slots, which are all zero again afterwards."""
    starts = np.zeros(n_groups + 1, np.int64)
    for i in range(groups.size):
        starts[groups[i] + 1] += 1
    for g in range(n_groups):
        starts[g + 1] += starts[g]
    free = starts[:-1].copy()
    their_cells = np.empty(cells.size, np.int32)
    their_counts = np.empty(cells.size, np.int64)
    for i in range(groups.size):
        at = free[groups[i]]
        their_cells[at] = cells[i]
        their_counts[at] = counts[i]
        free[groups[i]] = at + 1

    offsets = np.zeros(n_groups + 1, np.int64)
    kept = np.int64(0)  # never ahead of the pairs read, so the results can overwrite them
    for g in range(n_groups):
        begin, end = starts[g], starts[g + 1]
        if end - begin <= SORT_UP_TO:
            kept = _sorted_pairs(their_cells, their_counts, begin, end, kept)
        else:
            first, last = their_cells[begin], their_cells[begin]
            for i in range(begin, end):
                first, last = min(first, their_cells[i]), max(last, their_cells[i])
                slots[their_cells[i] - low] += their_counts[i]
            if last - first <= SCAN_PER_PAIR * (end - begin):
                for slot in range(first - low, last - low + 1):
                    if slots[slot]:
                        their_cells[kept] = slot + low
                        their_counts[kept] = slots[slot]
                        slots[slot] = 0
                        kept += 1
            else:
                ordered = np.sort(their_cells[begin:end])
                for i in range(ordered.size):
                    slot = ordered[i] - low
                    if slots[slot]:
                        their_cells[kept] = ordered[i]
                        their_counts[kept] = slots[slot]
                        slots[slot] = 0
                        kept += 1
        offsets[g + 1] = kept
    return offsets, their_cells[:kept].copy(), their_counts[:kept].copy()


@njit(cache=True)
def _sorted_pairs(cells, counts, begin, end, kept):  # type: ignore[no-untyped-def]
    """Pairs begin:end sorted by insertion, equal cells added up, moved to `kept`; returns their end."""
    for i in range(begin + 1, end):
        cell, count, at = cells[i], counts[i], i
        while at > begin and cells[at - 1] > cell:
            cells[at], counts[at] = cells[at - 1], counts[at - 1]
            at -= 1
        cells[at], counts[at] = cell, count
    start = kept
    for i in range(begin, end):
        if kept > start and cells[kept - 1] == cells[i]:
            counts[kept - 1] += counts[i]
        else:
            cells[kept], counts[kept] = cells[i], counts[i]
            kept += 1
    return kept


def group_extremes(values: SampleArray, groups: IntArray, n_groups: int) -> tuple[FloatArray, FloatArray]:
    """See Kernels.group_extremes."""
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    _widen_extremes(values, groups, low, high)
    return low, high


@njit(cache=True)
def _widen_extremes(values, groups, low, high):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        value, g = np.float64(values[i]), groups[i]
        low[g] = min(low[g], value)
        high[g] = max(high[g], value)


def pack_varints(tokens: TokenArray) -> tuple[ByteArray, IntArray]:
    """See Kernels.pack_varints."""
    return cast("tuple[ByteArray, IntArray]", _pack_varints(tokens))


@njit(cache=True)
def _pack_varints(tokens):  # type: ignore[no-untyped-def]
    ends = np.empty(tokens.size, np.int64)
    size = np.int64(0)
    for i in range(tokens.size):
        rest = tokens[i]
        while rest >= np.uint64(0x80):
            rest >>= np.uint64(7)
            size += 1
        size += 1
        ends[i] = size
    data = np.empty(size, np.uint8)
    at = np.int64(0)
    for i in range(tokens.size):
        rest = tokens[i]
        while rest >= np.uint64(0x80):
            data[at] = (rest & np.uint64(0x7F)) | np.uint64(0x80)
            rest >>= np.uint64(7)
            at += 1
        data[at] = rest
        at += 1
    return data, ends


def unpack_varints(data: ByteArray) -> tuple[TokenArray, IntArray, int]:
    """See Kernels.unpack_varints."""
    tokens, ends, wrong = _unpack_varints(data)
    return tokens, ends, int(wrong)


@njit(cache=True)
def _unpack_varints(data):  # type: ignore[no-untyped-def]
    n = np.int64(0)
    for i in range(data.size):
        n += data[i] < 0x80
    tokens = np.zeros(n, np.uint64)
    ends = np.zeros(n, np.int64)
    found, start = np.int64(0), np.int64(0)
    for i in range(data.size):
        byte, size = data[i], i - start + 1
        if size > MAX_VARINT_BYTES or (size == MAX_VARINT_BYTES and byte > 1):
            return tokens, ends, start
        if byte < 0x80:
            if size > 1 and byte == 0:
                return tokens, ends, start
            tokens[found] |= np.uint64(byte) << np.uint64(7 * (size - 1))
            ends[found] = i + 1
            found += 1
            start += size
        elif found < n:
            tokens[found] |= np.uint64(byte & 0x7F) << np.uint64(7 * (size - 1))
        else:
            break
    if start < data.size:
        return tokens, ends, start
    return tokens, ends, np.int64(-1)


def tokens_of_cells(cells: CellArray, counts: IntArray, offsets: IntArray) -> tuple[TokenArray, TokenArray, IntArray]:
    """See Kernels.tokens_of_cells."""
    return cast("tuple[TokenArray, TokenArray, IntArray]", _tokens_of_cells(cells, counts, offsets))


@njit(cache=True)
def _tokens_of_cells(cells, counts, offsets):  # type: ignore[no-untyped-def]
    tokens = np.empty(cells.size, np.uint64)
    gap_tokens = np.empty(cells.size, np.uint64)
    apart = np.empty(cells.size, np.int64)
    n_gaps = np.int64(0)
    for body in range(offsets.size - 1):
        for i in range(offsets[body], offsets[body + 1]):
            count = counts[i]
            gap = np.int64(0) if i == offsets[body] else np.int64(cells[i]) - np.int64(cells[i - 1]) - 1
            if (
                gap <= SHORT_GAPS
                and count <= DENSE_COUNTS
                and ONE_TOKEN[gap * (DENSE_COUNTS + 1) + count - 1] != NO_TOKEN
            ):
                tokens[i] = ONE_TOKEN[gap * (DENSE_COUNTS + 1) + count - 1]
                continue
            tokens[i] = count - 1 if count <= DENSE_COUNTS else ONE_BYTE + ((count - DENSE_COUNTS - 1) << 1)
            if gap > 0:
                gap_tokens[n_gaps] = ONE_BYTE + ((gap - 1) << 1) + 1
                apart[n_gaps] = i
                n_gaps += 1
    return tokens, gap_tokens[:n_gaps].copy(), apart[:n_gaps].copy()


def cells_of_tokens(
    tokens: TokenArray, starts: IntArray, stops: IntArray, lowest: IntArray, highest: int
) -> tuple[IntArray, CellArray, IntArray, int, int]:
    """See Kernels.cells_of_tokens."""
    sizes, room = np.empty(len(starts), np.int64), int((stops - starts).sum())
    cells, counts = np.empty(room, np.int32), np.empty(room, np.int64)
    kept, rule, body = _cells_of_tokens(tokens, starts, stops, lowest, highest, sizes, cells, counts)
    return sizes, cells[:kept], counts[:kept], int(rule), int(body)


@njit(cache=True)
def _cells_of_tokens(  # type: ignore[no-untyped-def]  # noqa: PLR0911, PLR0912  # one pass that stops at the first fault
    tokens, starts, stops, lowest, highest, sizes, cells, counts
):
    """Fills sizes, cells and counts; returns how many cells there are, the rule broken and the body that breaks it."""
    kept = np.int64(0)
    for body in range(starts.size):
        before = kept
        cell = lowest[body] - 1
        gap = np.int64(0)  # of the gap token just read
        for i in range(starts[body], stops[body]):
            token = tokens[i]
            if token < ONE_BYTE:
                step, count = TOKEN_GAP[token] + 1, TOKEN_COUNT[token]
            else:
                number = np.int64((token - np.uint64(ONE_BYTE)) >> np.uint64(1))
                if token & np.uint64(1):
                    if kept == before:
                        return kept, GAP_FIRST, body
                    if i + 1 == stops[body]:
                        return kept, GAP_LAST, body
                    if gap > 0:
                        return kept, GAP_AFTER_GAP, body
                    if number >= 2 * highest:
                        return kept, GAP_TOO_WIDE, body
                    gap = number + 1
                    cell += gap
                    continue
                step, count = np.int64(1), number + DENSE_COUNTS + 1
            if step > 1 and kept == before:
                return kept, GAP_FIRST, body
            if step > 1 and gap > 0:
                return kept, GAP_AFTER_GAP, body
            if 0 < gap <= SHORT_GAPS and count <= GAP_COUNTS:
                return kept, GAP_IN_TWO, body
            if count >= COUNT_LIMIT:
                return kept, COUNT_TOO_LARGE, body
            cell += step
            if cell > highest:
                return kept, CELL_TOO_LARGE, body
            cells[kept] = cell
            counts[kept] = count
            kept += 1
            gap = np.int64(0)
        sizes[body] = kept - before
    return kept, OBEYED, np.int64(0)
