"""The hot loops in NumPy: no compiler needed, and the default everywhere.

Values are taken in chunks that stay in the second-level cache; passes over such a chunk cost little beside the table
look-up. Grouping is a dense count where the (group, cell) rectangle is small, else one sort of packed integers.
"""

from functools import cache
from typing import cast

import numpy as np

from quantiles._kernels import numpy_growing
from quantiles.array_types import (
    BoolArray,
    ByteArray,
    CellArray,
    FloatArray,
    IntArray,
    Pairs,
    SampleArray,
    TokenArray,
    UnsignedArray,
)
from quantiles.bins import CORE_FIRST_OCTAVE, CORE_HIGH, CORE_LOW, CORE_OCTAVES, EXPONENT_BIAS, Bins, bins_of
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
    WIDEST_GAP,
)
from quantiles.exact_sums import LOW_BITS, LOW_MASK, SumColumn

cells_of_gaps, add_to_slots = numpy_growing.cells_of_gaps, numpy_growing.add_to_slots
pairs_of_slots = numpy_growing.pairs_of_slots

CHUNK = 32_768
SMALLEST_NORMAL = float(np.finfo(np.float64).smallest_normal)
LARGEST = float(np.finfo(np.float64).max)
SUBNORMAL_LIFT = 54  # a subnormal times 2**54 is normal, and the product is exact

# A dense count touches every slot of the (group, cell) rectangle, at random; a sort touches only the pairs there are.
# Below 2**15 slots (256 KiB) the dense count wins anyway, above only with several pairs per slot.
DENSE_SLOTS = 1 << 15
PAIRS_PER_DENSE_SLOT = 2

ROW_COUNTS = np.uint32

MAX_VARINT_BYTES = 10  # ceil(64 / 7)


def cells_of(values: SampleArray, bins: Bins) -> CellArray:
    """See Kernels.cells_of. Special values (zero, negative, subnormal, infinite) send only their chunk the slow way."""
    cells = np.empty(len(values), np.int32)
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK].astype(np.float64, copy=False)
        plain = chunk.min() >= SMALLEST_NORMAL and chunk.max() <= LARGEST
        cells[start : start + CHUNK] = _normal_cells(chunk, bins) if plain else _any_cells(chunk, bins)
    return cells


def add_core(values: SampleArray, bins: Bins, counts: IntArray, sums: SampleArray, extremes: FloatArray) -> int:
    """See Kernels.add_core. A chunk with values outside the core is copied without them."""
    outside, (steps, shift) = 0, core_steps(bins.scale)
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        low, high = chunk.min(), chunk.max()
        if not (low > CORE_LOW and high <= CORE_HIGH):  # also where they are NaN
            size = len(chunk)
            chunk = chunk[(chunk > CORE_LOW) & (chunk <= CORE_HIGH)]
            outside += size - len(chunk)
            if not len(chunk):
                continue
            low, high = chunk.min(), chunk.max()
        extremes[0], extremes[1] = min(extremes[0], low), max(extremes[1], high)
        _add_sum(chunk, sums)
        bits = chunk.astype(np.float64, copy=False).view(np.uint64)
        slots = steps.take((bits >> shift).view(np.int64), mode="wrap")  # none is outside: no check is the fastest
        slots += bits
        slots >>= shift
        found = np.bincount(slots.view(np.int64))
        counts[0, : len(found)] += found
    return outside


def _add_sum(values: SampleArray, sums: SampleArray) -> None:
    """Adds values of the core; 32,768 of them cannot wrap an int64, and NumPy adds floats as a tree."""
    if sums.dtype == np.int64:
        total = int(values.sum()) + int(sums[1])
        sums[0] += total >> LOW_BITS
        sums[1] = total & LOW_MASK
        return
    high, more = float(sums[0]), float(values.sum())
    total_float = high + more
    part = total_float - high
    sums[0] = total_float
    sums[1] += (high - (total_float - part)) + (more - part)


def add_rows(
    values: SampleArray,
    rows: IntArray,
    bins: Bins,
    counts: UnsignedArray,
    stats: SampleArray,
    carried: IntArray,  # noqa: ARG001  # nothing is: NumPy has no quick way to see that a count is full
) -> tuple[int, int]:
    """See Kernels.add_rows."""
    n, flat, sub_bin = len(stats), counts.reshape(-1), (1 << bins.scale) - 1
    outside, step = 0, max(CHUNK, n)  # each step touches every row
    for start in range(0, len(values), step):
        chunk, owners = values[start : start + step], rows[start : start + step]
        if not (chunk.min() > CORE_LOW and chunk.max() <= CORE_HIGH):
            core = (chunk > CORE_LOW) & (chunk <= CORE_HIGH)
            outside += len(chunk)
            chunk, owners = chunk[core], owners[core]
            outside -= len(chunk)
        slots = _normal_cells(chunk.astype(np.float64, copy=False), bins) - bins.core_cell
        places = (((slots >> bins.scale) * n + owners) << bins.scale) + (slots & sub_bin)
        np.add.at(flat, places, flat.dtype.type(1))
        np.minimum.at(stats[:, 0], owners, chunk)
        np.maximum.at(stats[:, 1], owners, chunk)
        _add_row_sums(SumColumn.from_values(chunk, owners, n), stats)
    return outside, 0


def _add_row_sums(added: SumColumn, stats: SampleArray) -> None:
    """Both parts of the sums of all rows, as stats holds them."""
    if added.integer:
        low = cast("IntArray", stats[:, 3] + added.lo)
        stats[:, 2] += added.hi + (low >> LOW_BITS)
        stats[:, 3] = low & LOW_MASK
        return
    before = stats[:, 2].copy()
    total = before + added.hi
    part = total - before
    stats[:, 2] = total
    stats[:, 3] += (before - (total - part)) + (added.hi - part) + added.lo


@cache
def core_steps(scale: int) -> tuple[TokenArray, np.uint64]:
    """steps and shift such that (b + steps[b >> shift]) >> shift is the core slot of the value with the bits b.

    As _moves, but with the bits themselves, not the bits less one: a bound belongs to the bin below it, so the addition
    carries only where the rest of b is beyond the bound. Two operations a value less for a table of 1.1 MB at scale 6,
    of which only the part of the core, 64 KiB, is ever in memory. All unsigned, which processors shift faster.
    """
    bins = bins_of(scale)
    shift = bins.slice_shift
    first = (EXPONENT_BIAS + CORE_FIRST_OCTAVE) << (scale + 1)
    j = np.arange((CORE_OCTAVES << (scale + 1)) + 1, dtype=np.int64)
    piece = j & ((2 << scale) - 1)
    start_slot = ((j >> (scale + 1)) << scale) + bins.sub_bins[piece]
    to_bound = bins.thresholds[piece] - (piece << shift)
    carry = np.where(to_bound < 1 << shift, (1 << shift) - 1 - to_bound, 0)
    carry[piece == 0] = -1  # a power of two itself is the upper bound of the bin below
    steps = np.zeros(first + len(j), np.uint64)
    steps[first:] = (((start_slot - j - first) << shift) + carry).view(np.uint64)
    return steps, np.uint64(shift)


def _normal_cells(values: FloatArray, bins: Bins) -> IntArray:
    """Cells of finite, normal, positive values: one look-up, one addition, one shift."""
    bits = values.view(np.int64) - 1  # minus one makes the upper bound of a bin inclusive
    moved: IntArray = _moves(bins.scale)[bits >> bins.slice_shift]
    moved += bits
    moved >>= bins.slice_shift
    return moved


def _any_cells(values: FloatArray, bins: Bins) -> IntArray:
    magnitude = np.abs(values)
    cells = np.zeros(len(values), np.int64)
    normal = (magnitude >= SMALLEST_NORMAL) & (magnitude <= LARGEST)
    cells[normal] = _normal_cells(magnitude[normal], bins)
    subnormal = (magnitude > 0) & (magnitude < SMALLEST_NORMAL)
    if subnormal.any():
        lifted = magnitude[subnormal] * 2.0**SUBNORMAL_LIFT
        cells[subnormal] = _normal_cells(lifted, bins) - (SUBNORMAL_LIFT << bins.scale)
    cells[magnitude > LARGEST] = bins.infinity_cell
    return np.where(values < 0, -cells, cells)


@cache
def _moves(scale: int) -> IntArray:
    """moves[j] for each j = exponent and slice of bits u, such that (u + moves[j]) >> slice_shift is the value's cell.

    The upper part of a move turns j into the cell at the slice's start; the lower part makes the addition carry into
    it exactly when the rest of u reaches the slice's bin bound. 2 MiB at scale 6, of which a chunk touches little.
    """
    bins = bins_of(scale)
    shift = bins.slice_shift
    j = np.arange(2047 << (scale + 1), dtype=np.int64)
    octave, piece = (j >> (scale + 1)) - EXPONENT_BIAS, j & ((2 << scale) - 1)
    start_cell = (octave << scale) + bins.sub_bins[piece] + bins.first_cell
    to_bound = bins.thresholds[piece] - (piece << shift)
    carry = np.maximum((1 << shift) - to_bound, 0)  # 0 where the next bound lies beyond this slice
    return cast("IntArray", ((start_cell - j) << shift) + carry)


def count_pairs(groups: IntArray, cells: CellArray, n_groups: int) -> tuple[IntArray, CellArray, IntArray]:
    """See Kernels.count_pairs."""
    if not len(cells):
        return np.zeros(n_groups + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)
    keys, low, cell_bits = _packed(groups, cells, n_groups)
    slots = n_groups << cell_bits
    if slots <= DENSE_SLOTS or slots <= len(keys) // PAIRS_PER_DENSE_SLOT:
        dense = np.bincount(keys, minlength=slots)
        found = np.flatnonzero(dense)
        return _unpacked(found, dense[found], low, cell_bits, n_groups)
    ordered: IntArray | UnsignedArray = keys
    if slots <= 1 << 32:
        ordered = keys.astype(np.uint32)  # sorts twice as fast as int64
    ordered.sort()
    starts = _run_starts(ordered)
    counts = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=counts[:-1])
    counts[-1] = len(ordered) - starts[-1]
    return _unpacked(ordered[starts].astype(np.int64), counts, low, cell_bits, n_groups)


def sum_pairs(
    groups: IntArray, cells: CellArray, counts: IntArray, n_groups: int
) -> tuple[IntArray, CellArray, IntArray]:
    """See Kernels.sum_pairs."""
    if not len(cells):
        return np.zeros(n_groups + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)
    keys, low, cell_bits = _packed(groups, cells, n_groups)
    slots = n_groups << cell_bits
    if slots <= DENSE_SLOTS or slots <= len(keys) // PAIRS_PER_DENSE_SLOT:
        dense = np.zeros(slots, np.int64)
        np.add.at(dense, keys, counts)
        found = np.flatnonzero(dense)
        return _unpacked(found, dense[found], low, cell_bits, n_groups)
    count_bits = int(counts.max()).bit_length()
    if slots.bit_length() + count_bits < 64:
        pairs = np.sort((keys << count_bits) | counts)  # the count rides along below its key
        keys, counts = pairs >> count_bits, pairs & ((1 << count_bits) - 1)
    else:
        order = np.argsort(keys)
        keys, counts = keys[order], counts[order]
    starts = _run_starts(keys)
    running = np.cumsum(counts)
    totals = np.diff(running[np.append(starts[1:], len(keys)) - 1], prepend=0)
    return _unpacked(keys[starts], totals, low, cell_bits, n_groups)


def join_pairs(left: Pairs, right: Pairs, some: IntArray) -> Pairs:
    """See Kernels.join_pairs."""
    sizes = np.diff(right.offsets)[some]
    ends = np.cumsum(sizes)
    taken = np.arange(int(sizes.sum())) + np.repeat(right.offsets[some] - ends + sizes, sizes)
    every = np.arange(some.size)
    return Pairs(*sum_pairs(
        np.concatenate([np.repeat(every, np.diff(left.offsets)), np.repeat(every, sizes)]),
        np.concatenate([left.cells, right.cells[taken]]),
        np.concatenate([left.counts, right.counts[taken]]),
        some.size,
    ))  # fmt: skip


def _packed(groups: IntArray, cells: CellArray, n_groups: int) -> tuple[IntArray, int, int]:
    """One integer per (group, cell) pair, the smallest cell, and the bits that the cell takes in the integer."""
    low = int(cells.min())
    cell_bits = (int(cells.max()) - low).bit_length()
    keys = np.subtract(cells, low, dtype=np.int64)
    if n_groups > 1:
        keys += groups << cell_bits
    return keys, low, cell_bits


def _unpacked(
    keys: IntArray, counts: IntArray, low: int, cell_bits: int, n_groups: int
) -> tuple[IntArray, CellArray, IntArray]:
    offsets = np.zeros(n_groups + 1, np.int64)
    np.cumsum(np.bincount(keys >> cell_bits, minlength=n_groups), out=offsets[1:])
    cells = (keys & ((1 << cell_bits) - 1)) + low
    return offsets, cells.astype(np.int32), counts.astype(np.int64, copy=False)


def _run_starts(ordered: IntArray | UnsignedArray) -> IntArray:
    """Where each run of equal keys begins."""
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return np.flatnonzero(first)


def group_extremes(values: SampleArray, groups: IntArray, n_groups: int) -> tuple[FloatArray, FloatArray]:
    """See Kernels.group_extremes."""
    if n_groups == 1 and len(values):
        return np.array([values.min()], np.float64), np.array([values.max()], np.float64)
    exact = values.dtype == np.int64
    ends = np.iinfo(np.int64) if exact else None
    low = np.full(n_groups, ends.max if ends else np.inf, values.dtype)
    high = np.full(n_groups, ends.min if ends else -np.inf, values.dtype)
    np.minimum.at(low, groups, values)
    np.maximum.at(high, groups, values)
    if not exact:
        return cast("FloatArray", low), cast("FloatArray", high)
    absent = np.bincount(groups, minlength=n_groups) == 0
    return np.where(absent, np.inf, low), np.where(absent, -np.inf, high)


def pack_varints(tokens: TokenArray) -> tuple[ByteArray, IntArray]:
    """See Kernels.pack_varints. One pass per byte position, each over the tokens that are that long."""
    sizes = np.ones(len(tokens), np.int64)
    longer = np.flatnonzero(tokens >= 0x80)
    rest = tokens[longer] >> np.uint64(7)
    while len(longer):
        sizes[longer] += 1
        keep = rest >= 0x80
        longer, rest = longer[keep], rest[keep] >> np.uint64(7)
    ends = np.cumsum(sizes)
    data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    position, rest = ends - sizes, tokens
    while len(rest):
        more = rest >= 0x80
        data[position] = (rest & np.uint64(0x7F)) | (more.astype(np.uint64) << np.uint64(7))
        position, rest = position[more] + 1, rest[more] >> np.uint64(7)
    return data, ends


def unpack_varints(data: ByteArray) -> tuple[TokenArray, IntArray, int]:
    """See Kernels.unpack_varints. Memory: proportional to the bytes given, whatever they claim."""
    ends = np.flatnonzero(data < 0x80) + 1
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1]
    sizes = ends - starts
    tokens = (data[starts] & 0x7F).astype(np.uint64)
    long = np.flatnonzero(sizes > 1)
    wrong = _wrong_varint(data, starts[long], sizes[long])
    finished = int(ends[-1]) if len(ends) else 0
    if wrong < 0 and finished < len(data):
        wrong = finished  # the last byte says that another follows
    if wrong >= 0:
        return tokens, ends, wrong
    for byte in range(1, MAX_VARINT_BYTES):
        long = long[sizes[long] > byte]
        if not len(long):
            break
        part = (data[starts[long] + byte] & 0x7F).astype(np.uint64)
        tokens[long] |= part << np.uint64(7 * byte)
    return tokens, ends, -1


def _wrong_varint(data: ByteArray, starts: IntArray, sizes: IntArray) -> int:
    """Position of the first varint of two or more bytes that is too long, too large or padded with zeros; else -1."""
    last = data[starts + sizes - 1]
    wrong: BoolArray = (sizes > MAX_VARINT_BYTES) | (last == 0) | ((sizes == MAX_VARINT_BYTES) & (last > 1))
    return int(starts[np.argmax(wrong)]) if wrong.any() else -1


def tokens_of_cells(cells: CellArray, counts: IntArray, offsets: IntArray) -> tuple[TokenArray, TokenArray, IntArray]:
    """See Kernels.tokens_of_cells."""
    gaps = np.zeros(len(cells), np.int64)
    np.subtract(cells[1:], cells[:-1], out=gaps[1:], dtype=np.int64)
    gaps[1:] -= 1
    gaps[offsets[:-1][np.diff(offsets) > 0]] = 0  # a body's first cell is that of its minimum
    row = np.minimum(gaps, SHORT_GAPS + 1)
    row *= DENSE_COUNTS + 1
    row += np.minimum(counts, DENSE_COUNTS + 1)
    row -= 1
    tokens = ONE_TOKEN[row]
    odd = np.flatnonzero(tokens == NO_TOKEN)
    counts = counts[odd]
    tokens[odd] = np.where(counts <= DENSE_COUNTS, counts - 1, ONE_BYTE + ((counts - DENSE_COUNTS - 1) << 1))
    apart = odd[gaps[odd] > 0]
    return tokens, (ONE_BYTE + ((gaps[apart] - 1) << 1) + 1).astype(np.uint64), apart


def cells_of_tokens(
    tokens: TokenArray, starts: IntArray, stops: IntArray, lowest: IntArray, highest: int
) -> tuple[IntArray, CellArray, IntArray, int, int]:
    """See Kernels.cells_of_tokens."""
    sizes = stops - starts
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    taken = np.repeat(starts - offsets[:-1], sizes)
    taken += np.arange(offsets[-1])
    tokens = tokens[taken]
    long = np.flatnonzero(tokens >= ONE_BYTE)
    short = tokens.astype(np.uint8)
    short[long] = 0
    steps, counts = TOKEN_GAP[short], TOKEN_COUNT[short]
    steps += 1  # from the cell before to this one

    rest = tokens[long] - np.uint64(ONE_BYTE)
    is_gap, number = (rest & np.uint64(1)) > 0, (rest >> np.uint64(1)).astype(np.int64)
    gap_at, gaps = long[is_gap], number[is_gap] + 1
    counts[long] = number + DENSE_COUNTS + 1
    steps[gap_at] = np.minimum(gaps, WIDEST_GAP)
    is_cell = np.ones(len(tokens) + 1, np.bool_)
    is_cell[gap_at] = False
    gap_owner = np.searchsorted(offsets, gap_at, side="right") - 1
    after = np.minimum(gap_at + 1, len(tokens) - 1)

    travelled = np.cumsum(steps)
    origin = lowest - travelled[offsets[:-1]]
    large = long[~is_gap & (counts[long] >= COUNT_LIMIT)]
    rules = (
        (GAP_FIRST, (steps[offsets[:-1]] > 1) | ~is_cell[offsets[:-1]], None),
        (GAP_LAST, gap_at + 1 == offsets[gap_owner + 1], gap_owner),
        (GAP_AFTER_GAP, (steps[after] > 1) | ~is_cell[after], gap_owner),
        (GAP_IN_TWO, (gaps <= SHORT_GAPS) & (counts[after] <= GAP_COUNTS), gap_owner),
        (GAP_TOO_WIDE, gaps > 2 * highest, gap_owner),
        (COUNT_TOO_LARGE, np.ones(len(large), np.bool_), np.searchsorted(offsets, large, side="right") - 1),
        (CELL_TOO_LARGE, travelled[offsets[1:] - 1] + origin > highest, None),
    )
    for rule, broken, owner in rules:
        if broken.any():
            first = int(np.argmax(broken))
            return sizes, np.empty(0, np.int32), counts, rule, first if owner is None else int(owner[first])
    travelled += np.repeat(origin, sizes)
    if not len(gap_at):
        return sizes, travelled.astype(np.int32), counts, OBEYED, 0
    kept = is_cell[:-1]
    sizes = sizes - np.bincount(gap_owner, minlength=len(sizes))
    return sizes, travelled[kept].astype(np.int32), counts[kept], OBEYED, 0


def merge_bodies(
    data: ByteArray,  # noqa: ARG001  # the signature of its twin
    ends: IntArray,  # noqa: ARG001
    groups: IntArray,  # noqa: ARG001
    n_groups: int,  # noqa: ARG001
    bins: Bins,  # noqa: ARG001
    integer: bool,  # noqa: ARG001
) -> None:
    """See Kernels.merge_bodies. NumPy cannot read varints in one pass: the decoder's blocks are its fastest way."""
    return
