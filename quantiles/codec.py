"""Sketches as bytes and back, many at a time: the format that FORMAT.md draws.

A body is a row of varints: version, flags, scale, the parts the flags name, then one token per cell until the body
ends. Nothing in it claims a length, so nothing is allocated by a claim. Each state has exactly one encoding and the
decoder refuses every other, so equal states <=> equal bytes. No step loops over bodies in Python.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.array_types import BoolArray, ByteArray, FloatArray, IntArray, SampleArray, TokenArray
from quantiles.bins import MAX_SCALE, bins_of
from quantiles.cell_tokens import COUNT_LIMIT, RULES
from quantiles.errors import CorruptSketchError
from quantiles.exact_sums import LOW_MASK, SumColumn
from quantiles.sketch_parts import SketchParts, joined, sliced

VERSION = 1
BLOCK = 1 << 16  # cells or bytes worked on at once: their arrays stay in the second-level cache, 1.5x faster
INTEGER, HAS_NAN, HAS_VALUES = 1, 2, 4  # the bits of the flags
HEAD_TOKENS = 3  # version, flags, scale
VALUE_TOKENS = 4  # minimum, maximum and the two parts of the sum

ANOTHER_SCALE, ANOTHER_KIND = "is of another scale than the first body", "has another kind of sum than the first body"
CANONICAL_NAN = 0x7FF8_0000_0000_0000


def encode(parts: SketchParts) -> tuple[bytes, IntArray]:
    """All sketches, one body behind the other, and the size of each body in bytes, int64[n]."""
    done = [_encode_block(sliced(parts, first, last)) for first, last in _blocks(np.diff(parts.offsets))]
    if not done:
        return b"", np.zeros(0, np.int64)
    return b"".join(data for data, _ in done), np.concatenate([lengths for _, lengths in done])


def decode(buffer: bytes | memoryview, lengths: IntArray) -> SketchParts | None:
    """The sketches in bodies of the given sizes, or None for no bodies (which have no scale).

    The caller passes the parts through sketch_parts.checked_rows, which holds the rules that are not about bytes.

    Raises:
        CorruptSketchError: naming the first body found wrong and what is wrong with it.
    """
    done = [block for _, block in decode_blocks(buffer, lengths)]
    return joined(done) if done else None


def decode_blocks(buffer: bytes | memoryview, lengths: IntArray) -> Iterator[tuple[slice, SketchParts]]:
    """As `decode`, a block of bodies at a time: which bodies they are, and their sketches."""
    data, ends = laid_out(buffer, lengths)
    head: SketchParts | None = None
    for first, last in _blocks(lengths):
        try:
            block = _decode_block(data[ends[first] - lengths[first] : ends[last - 1]], lengths[first:last])
            head = head or block
            _must_match(block, head)
        except _BodyFault as fault:
            raise CorruptSketchError(
                f"body {first + fault.body} {fault.what}; drop it and rebuild it from its source"
            ) from None
        yield slice(first, last), block


def laid_out(buffer: bytes | memoryview, lengths: IntArray) -> tuple[ByteArray, IntArray]:
    """The bytes as an array and where each body ends in it.

    Raises:
        CorruptSketchError: the lengths do not add up to the bytes.
    """
    data = np.frombuffer(buffer, np.uint8)
    # The sum alone could wrap around to the right number.
    fits = lengths.ndim == 1 and (not lengths.size or (int(lengths.min()) >= 0 and int(lengths.max()) <= len(data)))
    ends = np.cumsum(lengths)
    if not fits or (int(ends[-1]) if ends.size else 0) != len(data):
        raise CorruptSketchError(f"body lengths do not add up to the {len(data)} bytes given; wanted one per body")
    return data, ends


class _BodyFault(Exception):  # noqa: N818  # never leaves this module: decode turns it into a CorruptSketchError
    """What is wrong with a body of the block being decoded."""

    def __init__(self, body: int, what: str) -> None:
        super().__init__(what)
        self.body, self.what = body, what


def _blocks(sizes: IntArray) -> list[tuple[int, int]]:
    """Ranges of bodies, each of about BLOCK cells or bytes; at least one body in each."""
    if not len(sizes):
        return []
    weight = np.cumsum(sizes + 1)
    last = np.searchsorted(weight, np.arange(BLOCK, weight[-1] + BLOCK, BLOCK), side="left") + 1
    edges = np.unique(np.minimum(np.concatenate([[0], last]), len(sizes))).tolist()
    return list(itertools.pairwise(edges))


def _encode_block(parts: SketchParts) -> tuple[bytes, IntArray]:
    n = len(parts.nan_counts)
    sizes = np.diff(parts.offsets)
    filled, with_nan = sizes > 0, parts.nan_counts > 0
    cell_tokens, gap_tokens, apart = kernels().tokens_of_cells(parts.cells, parts.counts, parts.offsets)
    gaps_before = np.searchsorted(apart, parts.offsets)  # gap tokens before each body's first cell
    body_gaps = np.diff(gaps_before)

    heads = HEAD_TOKENS + with_nan + VALUE_TOKENS * filled
    stops = np.cumsum(heads + sizes + body_gaps)
    starts = stops - (heads + sizes + body_gaps)
    tokens = np.empty(int(stops[-1]) if n else 0, np.uint64)
    tokens[starts] = VERSION
    tokens[starts + 1] = INTEGER * parts.sums.integer + HAS_NAN * with_nan + HAS_VALUES * filled
    tokens[starts + 2] = parts.scale
    tokens[starts[with_nan] + HEAD_TOKENS] = parts.nan_counts[with_nan]
    at = (starts + HEAD_TOKENS + with_nan)[filled]
    tokens[at] = _float_tokens(parts.minima[filled])
    tokens[at + 1] = _float_tokens(parts.maxima[filled])
    tokens[at + 2], tokens[at + 3] = _sum_tokens(parts.sums, filled)

    position = np.repeat(starts + heads - parts.offsets[:-1] - gaps_before[:-1], sizes)
    position += np.arange(len(cell_tokens))
    if len(apart):
        after_gap = np.zeros(len(cell_tokens), np.int64)
        after_gap[apart] = 1
        position += np.cumsum(after_gap)
    tokens[position] = cell_tokens
    tokens[position[apart] - 1] = gap_tokens

    data, ends = kernels().pack_varints(tokens)
    body_ends = ends[stops - 1] if n else np.zeros(0, np.int64)
    return data.tobytes(), np.diff(body_ends, prepend=0)


def _decode_block(data: ByteArray, lengths: IntArray) -> SketchParts:
    """The sketches in some bodies; raises _BodyFault."""
    _refuse(lengths < HEAD_TOKENS, "is shorter than its 3-byte head")
    body_ends = np.cumsum(lengths)
    tokens, ends, wrong = kernels().unpack_varints(data)
    if wrong >= 0:
        body = int(np.searchsorted(body_ends, wrong, side="right"))
        raise _BodyFault(body, "has a varint that is cut short, too long or padded")
    stops = np.searchsorted(ends, body_ends, side="right")
    starts = np.concatenate([[0], stops[:-1]])
    _refuse((stops == starts) | (ends[np.maximum(stops, 1) - 1] != body_ends), "ends inside a varint")
    flags, scale = _head(tokens, starts, stops)
    with_nan, filled = (flags & HAS_NAN) > 0, (flags & HAS_VALUES) > 0

    at = starts + HEAD_TOKENS + with_nan
    first_cell_token = at + VALUE_TOKENS * filled
    _refuse(np.where(filled, first_cell_token >= stops, first_cell_token != stops), "has too few or too many varints")
    nan_counts = np.zeros(len(lengths), np.int64)
    nan_tokens = tokens[at[with_nan] - 1]
    _refuse((nan_tokens == 0) | (nan_tokens >= COUNT_LIMIT), "has a NaN count outside 1..2**62", with_nan)
    nan_counts[with_nan] = nan_tokens
    minima, maxima = np.full(len(lengths), np.nan), np.full(len(lengths), np.nan)
    minima[filled], maxima[filled] = _floats(tokens[at[filled]]), _floats(tokens[at[filled] + 1])
    _refuse(np.isnan(minima[filled]), "has NaN as its minimum", filled)
    sums = _sums(tokens, at, filled, bool(flags[0] & INTEGER))
    bins = bins_of(scale)
    lowest = kernels().cells_of(minima[filled], bins).astype(np.int64)
    sizes = np.zeros(len(lengths), np.int64)
    sizes[filled], cells, counts, rule, body = kernels().cells_of_tokens(
        tokens, first_cell_token[filled], stops[filled], lowest, bins.infinity_cell
    )
    if rule:
        raise _BodyFault(int(np.flatnonzero(filled)[body]), RULES[rule])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return SketchParts(scale, offsets, cells, counts, nan_counts, minima, maxima, sums)


def _must_match(block: SketchParts, first: SketchParts) -> None:
    if block.scale != first.scale:
        raise _BodyFault(0, ANOTHER_SCALE)
    if block.sums.integer != first.sums.integer:
        raise _BodyFault(0, ANOTHER_KIND)


def _head(tokens: TokenArray, starts: IntArray, stops: IntArray) -> tuple[IntArray, int]:
    """Flags of each body and the scale of them all."""
    _refuse(stops - starts < HEAD_TOKENS, "has too few varints")
    versions, flags, scales = tokens[starts], tokens[starts + 1], tokens[starts + 2]
    _refuse(versions != VERSION, f"is of a format version other than {VERSION}, the only one this release reads")
    _refuse(flags > INTEGER + HAS_NAN + HAS_VALUES, "has unknown flags")
    _refuse(scales > MAX_SCALE, f"has a scale above {MAX_SCALE}")
    _refuse(scales != scales[0], ANOTHER_SCALE)
    _refuse((flags & INTEGER) != (flags[0] & INTEGER), ANOTHER_KIND)
    return flags.astype(np.int64), int(scales[0])


def _float_tokens(values: FloatArray) -> TokenArray:
    """Float bits with the bytes reversed: whole numbers end in zero bytes, so their tokens are short."""
    bits = np.where(np.isnan(values), np.nan, values).view(np.uint64)
    return bits.byteswap()


def _floats(tokens: TokenArray) -> FloatArray:
    return tokens.byteswap().view(np.float64)


def _sum_tokens(sums: SumColumn, filled: BoolArray) -> tuple[TokenArray, TokenArray]:
    if not sums.integer:
        return _float_tokens(_as_floats(sums.hi[filled])), _float_tokens(_as_floats(sums.lo[filled]))
    hi = sums.hi[filled].astype(np.int64, copy=False)
    zigzag = (hi << 1) ^ (hi >> 63)
    return zigzag.view(np.uint64), sums.lo[filled].astype(np.uint64)


def _sums(tokens: TokenArray, at: IntArray, filled: BoolArray, integer: bool) -> SumColumn:
    column = SumColumn.zeros(len(filled), integer)
    high, low = tokens[at[filled] + 2], tokens[at[filled] + 3]
    if integer:
        _refuse(low > LOW_MASK, "has a low part of its sum outside 0..2**32-1", filled)
        column.hi[filled] = (high >> np.uint64(1)).view(np.int64) ^ -(high & np.uint64(1)).astype(np.int64)
        column.lo[filled] = low.astype(np.int64)
    else:
        column.hi[filled], column.lo[filled] = _floats(high), _floats(low)
        strange = np.isnan(column.hi[filled]) & (high.byteswap() != CANONICAL_NAN)
        _refuse(strange, "has a NaN sum that is not the canonical NaN", filled)
    return column


def _as_floats(values: SampleArray) -> FloatArray:
    return values.astype(np.float64, copy=False)


def _refuse(wrong: BoolArray, what: str, among: BoolArray | None = None) -> None:
    """Raises for the first wrong body; `among` says which bodies the flags in `wrong` belong to."""
    if wrong.any():
        first = int(np.argmax(wrong))
        body = first if among is None else int(np.flatnonzero(among)[first])
        raise _BodyFault(body, what)
