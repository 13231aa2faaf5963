"""Bodies read and merged in one pass by numba: no cell is materialised, every one is added where it belongs.

Everything that the format (FORMAT.md) and sketch_parts.checked demand is checked here too, but without words: what is
not plainly right is left to the decoder, which names the fault or proves this reader too careful.
"""

import numpy as np
from numba import njit

from quantiles._kernels.numpy_kernels import MAX_VARINT_BYTES, cells_of
from quantiles.array_types import ByteArray, CellArray, FloatArray, IntArray, SampleArray
from quantiles.bins import Bins
from quantiles.cell_tokens import (
    COUNT_LIMIT,
    DENSE_COUNTS,
    GAP_COUNTS,
    ONE_BYTE,
    SHORT_GAPS,
    TOKEN_COUNT,
    TOKEN_GAP,
)
from quantiles.exact_sums import HI_LIMIT, LOW_BITS, LOW_MASK

# The dense rows may take this many slots: a few for nothing, then so many per byte given. A body of 10,000 values fills
# about two slots a byte; one that claims the whole range of floats in 30 bytes is left to the decoder.
FREE_SLOTS = 1 << 16
SLOTS_PER_BYTE = 8

PLAIN_FLAGS, NAN_FLAG, VALUES_FLAG = 1, 2, 4  # as in codec.py
CANONICAL_NAN = 0x7FF8_0000_0000_0000


def merge_bodies(
    data: ByteArray, ends: IntArray, groups: IntArray, n_groups: int, bins: Bins, integer: bool
) -> tuple[IntArray, CellArray, IntArray, IntArray, FloatArray, FloatArray, SampleArray, SampleArray] | None:
    """See Kernels.merge_bodies."""
    n = len(ends)
    firsts, extremes = np.empty(n, np.int64), np.zeros((n, 2))
    nan_counts = np.zeros(n_groups, np.int64)
    whole, sums = np.zeros((n_groups, 2), np.int64), np.zeros((n_groups, 2))
    if not _read_heads(data, ends, groups, bins.scale, integer, firsts, extremes, nan_counts, whole, sums):
        return None
    edges = cells_of(extremes.reshape(-1), bins).reshape(-1, 2)
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    first_cell, last_cell = np.full(n_groups, bins.infinity_cell + 1), np.full(n_groups, -bins.infinity_cell - 1)
    _widen(ends, firsts, groups, extremes, edges, low, high, first_cell, last_cell)
    spans = np.maximum(last_cell - first_cell + 1, 0)
    starts = np.concatenate([[0], np.cumsum(spans)])
    if starts[-1] > FREE_SLOTS + SLOTS_PER_BYTE * len(data):
        return None
    slots = np.zeros(int(starts[-1]), np.int64)
    if not _add_cells(data, ends, firsts, edges, groups, starts[:-1] - first_cell, slots):
        return None
    found = np.flatnonzero(slots)
    offsets = np.searchsorted(found, starts)
    cells = (found + np.repeat(first_cell - starts[:-1], np.diff(offsets))).astype(np.int32)
    hi, lo = whole.T if integer else sums.T
    return offsets.astype(np.int64, copy=False), cells, slots[found], nan_counts, low, high, hi.copy(), lo.copy()


@njit(cache=True)
def _read_heads(  # type: ignore[no-untyped-def]  # noqa: PLR0911, PLR0912, PLR0917  # one pass with many ways out
    data, ends, groups, scale, integer, firsts, extremes, nan_counts, whole, sums
):
    """Head of every body: fills where cells begin (or the body's end) and the extremes, adds up NaN counts and sums."""
    at = np.int64(0)
    held = 0.0
    for body in range(ends.size):
        end, group = ends[body], groups[body]
        if (
            end - at < 3
            or data[at] != 1
            or data[at + 1] > PLAIN_FLAGS + NAN_FLAG + VALUES_FLAG
            or data[at + 2] != scale
        ):
            return False
        flags = data[at + 1]
        if (flags & PLAIN_FLAGS) != integer:
            return False
        at += 3
        if flags & NAN_FLAG:
            token, at = _varint(data, at, end)
            if at < 0 or token == 0 or token >= np.uint64(COUNT_LIMIT):
                return False
            held += np.float64(token)
            nan_counts[group] += np.int64(token)
        if not flags & VALUES_FLAG:
            if at != end:
                return False
            firsts[body] = end
            continue
        token, at = _varint(data, at, end)
        if at < 0:
            return False
        low = _float(token)
        token, at = _varint(data, at, end)
        if at < 0:
            return False
        high = _float(token)
        if not low <= high or _minus_zero(low) or _minus_zero(high):  # not <= also where either is NaN
            return False
        extremes[body, 0], extremes[body, 1] = low, high
        hi, at = _varint(data, at, end)
        if at < 0:
            return False
        lo, at = _varint(data, at, end)
        if at < 0 or at >= end:
            return False
        if not (_add_integer(hi, lo, whole[group]) if integer else _add_float(hi, lo, sums[group])):
            return False
        firsts[body] = at
        at = end
    return held < COUNT_LIMIT


@njit(cache=True)
def _widen(ends, firsts, groups, extremes, edges, low, high, first_cell, last_cell):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Extremes and outer cells of every group, from those of its bodies that hold values."""
    for body in range(ends.size):
        if firsts[body] < ends[body]:
            group = np.uint64(groups[body])
            low[group] = min(low[group], extremes[body, 0])
            high[group] = max(high[group], extremes[body, 1])
            first_cell[group] = min(first_cell[group], edges[body, 0])
            last_cell[group] = max(last_cell[group], edges[body, 1])


@njit(cache=True)
def _add_cells(data, ends, firsts, edges, groups, bases, slots):  # type: ignore[no-untyped-def]  # noqa: PLR0911, PLR0912
    """slots[bases[group] + cell] += count for every cell of every body; whether all bodies obey the format.

    Indices are unsigned: else numba adds two operations to each look-up, for indices below 0.
    """
    held = 0.0
    for body in range(ends.size):
        at, end = firsts[body], ends[body]
        if at == end:
            continue
        cell = edges[body, 0] - 1
        last = edges[body, 1]
        base = bases[groups[body]]
        gap = np.int64(0)  # of the gap token just read
        begun = False
        while at < end:
            byte = data[np.uint64(at)]
            if byte < 0x80:
                step, count = TOKEN_GAP[byte] + 1, TOKEN_COUNT[byte]
                at += 1
            else:
                if at + 1 < end and 0 < data[np.uint64(at + 1)] < 0x80:  # two bytes, as most are: 1.5x faster overall
                    number = (np.int64(byte & 0x7F) | np.int64(data[np.uint64(at + 1)]) << 7) - ONE_BYTE
                    at += 2
                    is_gap, number = number & 1, number >> 1
                else:
                    token, at = _varint(data, at, end)
                    if at < 0:
                        return False
                    is_gap = np.int64(token & np.uint64(1))
                    number = np.int64((token - np.uint64(ONE_BYTE)) >> np.uint64(1))
                if is_gap:
                    if not begun or gap > 0 or number > last - cell:
                        return False
                    gap = number + 1
                    cell += gap
                    continue
                step, count = np.int64(1), number + DENSE_COUNTS + 1
                if count >= COUNT_LIMIT:
                    return False
            if (step > 1 and (gap > 0 or not begun)) or (0 < gap <= SHORT_GAPS and count <= GAP_COUNTS):
                return False
            cell += step
            if cell > last:
                return False
            begun = True
            gap = np.int64(0)
            held += count
            slots[np.uint64(base + cell)] += count
        if cell != last or gap > 0:
            return False
    return held < COUNT_LIMIT


@njit(cache=True)
def _varint(data, at, end):  # type: ignore[no-untyped-def]
    """The varint at a position and the position behind it: -1 where it is not canonical or leaves the body."""
    token = np.uint64(0)
    for size in range(MAX_VARINT_BYTES):
        if at + size >= end:
            break
        byte = data[np.uint64(at + size)]
        token |= np.uint64(byte & 0x7F) << np.uint64(7 * size)
        if byte < 0x80:
            if (size > 0 and byte == 0) or (size == MAX_VARINT_BYTES - 1 and byte > 1):
                break
            return token, at + size + 1
    return token, np.int64(-1)


@njit(cache=True)
def _float(token):  # type: ignore[no-untyped-def]
    """The float64 whose bits are those of the token with its bytes reversed."""
    bits = np.uint64(0)
    for byte in range(8):
        bits |= ((token >> np.uint64(8 * byte)) & np.uint64(0xFF)) << np.uint64(56 - 8 * byte)
    return np.uint64(bits).view(np.float64)


@njit(cache=True)
def _minus_zero(value):  # type: ignore[no-untyped-def]
    return value == 0.0 and np.float64(value).view(np.int64) != 0


@njit(cache=True)
def _add_integer(hi, lo, total):  # type: ignore[no-untyped-def]
    """Adds a zigzag coded high part and a low part; whether they are in range and the total stays there too."""
    high = np.int64(hi >> np.uint64(1)) ^ -np.int64(hi & np.uint64(1))
    if lo > np.uint64(LOW_MASK) or high <= -HI_LIMIT or high >= HI_LIMIT:
        return False
    low = total[1] + np.int64(lo)
    total[0] += high + (low >> LOW_BITS)
    total[1] = low & LOW_MASK
    return -HI_LIMIT < total[0] < HI_LIMIT


@njit(cache=True)
def _add_float(hi, lo, total):  # type: ignore[no-untyped-def]
    """Adds the two parts with TwoSum; whether they are a settled pair, in which -0.0 and other NaN have no place."""
    high, low = _float(hi), _float(lo)
    if np.isfinite(high):
        if not np.isfinite(low) or high + low != high:
            return False
    elif low != 0.0 or (np.isnan(high) and np.float64(high).view(np.int64) != CANONICAL_NAN):
        return False
    if _minus_zero(high) or _minus_zero(low):
        return False
    added = total[0] + high
    if np.isfinite(added):
        part = added - total[0]
        total[1] += (total[0] - (added - part)) + (high - part) + low
    total[0] = added
    return True
