"""Dense bodies decoded and merged in one call: the hot path of queries over columns of sketches.

Bodies are taken a block at a time, in the order of their groups, so that all arrays stay in the second-level cache.
In a block each group has a stretch of slots over the cells that its bodies say they reach, and every count is added to
its slot by one call of `bincount`: in floats, which are exact because a body counts fewer than 2**40 values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from quantiles._kernels.choice import kernels
from quantiles.array_types import BoolArray, ByteArray, CellArray, FloatArray, IntArray, as_groups
from quantiles.bins import LOWEST_OCTAVE, MAX_SCALE, OVERFLOW_OCTAVE, bins_of
from quantiles.codec import laid_out
from quantiles.dense_bodies import ALIGNED, FORM, HEAD, VALUES_LIMIT, WIDTHS, ranges
from quantiles.errors import CorruptSketchError
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn, settled_extremes
from quantiles.sketch_parts import offsets_of

Heads = npt.NDArray[np.void]

BLOCK_BINS: Final = 1 << 16
BLOCK_BODIES: Final = 1 << 12  # 2**12 * 2**40 values are counted exactly in a float64
# A block's slots may be so many, or as many for each of its bins; else its cells are sorted.
FREE_SLOTS: Final = 1 << 17
SLOTS_PER_BIN: Final = 16


def merge_dense(
    buffer: bytes | memoryview, lengths: npt.ArrayLike, groups: npt.ArrayLike, n_groups: int, scale: int
) -> SketchColumn:
    """Dense bodies, which lie one behind the other, merged into one sketch of this scale per group; float sums.

    Args:
        lengths: sizes of the bodies in bytes, int64[n].
        groups: int64[n], codes 0..n_groups-1 in any order.
    Guarantee: exact for bodies of this scale and finer ones. The values in a bin of a coarser one are counted in the
        bin of its representative, so that an answer is within alpha + error_bound * (1 + alpha) of the value, alpha
        being the coarser scale's bound; count, sum, minimum and maximum are kept. Each body is treated by itself, so
        the result is the same for any split and order (float sums within 1e-12 * sum|x|).
    Raises:
        CorruptSketchError: naming a body that `encode_dense` does not write.
    Cost: about 3 ns a bin.
    """
    sizes = np.asarray(lengths, np.int64)
    data, ends = laid_out(buffer, sizes)
    codes = as_groups(groups, len(sizes), n_groups)
    order = np.argsort(codes, kind="stable") if np.any(codes[1:] < codes[:-1]) else np.arange(len(codes))
    try:
        heads = _heads(data, ends - sizes, sizes)
        pieces = [
            _merged_block(data, heads[rows], (ends - sizes)[rows] + HEAD.itemsize, codes[rows], scale, rows)
            for rows in _blocks(heads, order)
        ]
    except _BodyFault as fault:
        raise CorruptSketchError(f"body {fault.body} {fault.what}; drop it and rebuild it from its source") from None
    offsets, cells, counts = _joined(pieces, n_groups)
    filled = np.flatnonzero(~np.isnan(heads["minimum"]))
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    np.minimum.at(low, codes[filled], heads["minimum"][filled])
    np.maximum.at(high, codes[filled], heads["maximum"][filled])
    minima, maxima = settled_extremes(low, high, np.diff(offsets) == 0)
    sums = SumColumn(False, heads["sum"].astype(np.float64), np.zeros(len(sizes))).reduce(codes, n_groups)
    return SketchColumn(scale, offsets, cells, counts, np.zeros(n_groups, np.int64), minima, maxima, sums)


class _BodyFault(Exception):  # noqa: N818  # never leaves this module: it becomes a CorruptSketchError
    """What is wrong with a body."""

    def __init__(self, body: int, what: str) -> None:
        super().__init__(what)
        self.body, self.what = body, what


class _Piece(NamedTuple):
    """Some groups, ascending, with their cells and counts."""

    groups: IntArray
    sizes: IntArray
    cells: CellArray
    counts: IntArray


class _Side(NamedTuple):
    """One sign of a block: the first bin of each body at its own scale, how many bins, where its counts begin."""

    sign: int
    firsts: IntArray
    sizes: IntArray
    begins: IntArray


def _heads(data: ByteArray, starts: IntArray, sizes: IntArray) -> Heads:
    """The heads of bodies that are as long as their heads say."""
    _refuse((sizes < HEAD.itemsize) | (sizes % ALIGNED != 0), "is not as long as a dense body can be")
    if not len(sizes):
        return np.zeros(0, HEAD)
    words = np.arange(HEAD.itemsize // ALIGNED)
    heads = data.view(np.int64)[(starts // ALIGNED)[:, None] + words].view(HEAD).reshape(-1)
    _refuse(heads["form"] != FORM, "is no dense body")
    _refuse(heads["scale"] > MAX_SCALE, f"has a scale above {MAX_SCALE}")
    _refuse((heads["spare"] != 0) | (heads["spares"] != 0), "has something where nothing belongs")
    _refuse(~np.isin(heads["width"], WIDTHS), "has counts of no width that there is")
    counted = (heads["negative"].astype(np.int64) + heads["positive"]) * heads["width"]
    _refuse(sizes != HEAD.itemsize + -(-counted // ALIGNED) * ALIGNED, "is not as long as its head says")
    scales = heads["scale"].astype(np.int64)
    lowest, highest = ((1 - LOWEST_OCTAVE) << scales) - 1, (OVERFLOW_OCTAVE << scales) - 1
    for sign in ("negative", "positive"):
        first, count = heads[f"{sign}_first"].astype(np.int64), heads[sign].astype(np.int64)
        wrong = (count > 0) & ((first < lowest) | (first + count - 1 > highest))
        _refuse(wrong, "has a bin in which no number lies")
    _refuse((heads["zeros"] < 0) | (heads["zeros"] >= VALUES_LIMIT), "has an impossible count of zeros")
    empty = (counted == 0) & (heads["zeros"] == 0)
    _refuse(~np.isfinite(heads["sum"]) | (empty & (heads["sum"] != 0)), "has a sum that cannot be")
    first_cells, last_cells = _end_cells(heads)
    for name, cells in (("minimum", first_cells), ("maximum", last_cells)):
        values = heads[name].astype(np.float64)
        _refuse(np.isinf(values) | (np.isnan(values) != empty), f"has a {name} without values, or none with them")
        _refuse(np.signbit(values) & (values == 0), f"has -0.0 as its {name}")
        _refuse(_cells_at(values, scales) != cells, f"has a {name} outside its bin")
    _refuse(heads["minimum"] > heads["maximum"], "has its minimum above its maximum")
    return cast("Heads", heads)


def _end_cells(heads: Heads) -> tuple[IntArray, IntArray]:
    """The lowest and the highest cell of each body at its own scale; 0 of one without values."""
    to_cell = (LOWEST_OCTAVE << heads["scale"].astype(np.int64)) + 1
    (below, above) = (
        (heads[f"{s}_first"].astype(np.int64), heads[s].astype(np.int64)) for s in ("negative", "positive")
    )
    zeros = heads["zeros"] > 0
    lowest = np.where(zeros | (above[1] == 0), 0, above[0] + to_cell)
    highest = np.where(zeros | (below[1] == 0), 0, -(below[0] + to_cell))
    return (
        np.where(below[1] > 0, -(below[0] + below[1] - 1 + to_cell), lowest),
        np.where(above[1] > 0, above[0] + above[1] - 1 + to_cell, highest),
    )


def _cells_at(values: FloatArray, scales: IntArray) -> IntArray:
    """The cell of each value at its scale; 0 of NaN."""
    cells = np.zeros(len(values), np.int64)
    known = ~np.isnan(values)
    for scale in np.unique(scales):
        rows = np.flatnonzero(known & (scales == scale))
        cells[rows] = kernels().cells_of(values[rows], bins_of(int(scale)))
    return cells


def _blocks(heads: Heads, order: IntArray) -> list[IntArray]:
    """The bodies in this order, a block at a time."""
    bins = np.cumsum((heads["negative"].astype(np.int64) + heads["positive"])[order])
    cuts = np.flatnonzero(np.diff(bins // BLOCK_BINS) > 0) + 1
    parts = np.split(order, cuts)
    return [part[at : at + BLOCK_BODIES] for part in parts for at in range(0, len(part), BLOCK_BODIES)]


@dataclass(slots=True)
class _Block:
    """Some bodies in the order of their groups, and what is to be added to which slot."""

    data: ByteArray
    bodies: IntArray
    heads: Heads
    scales: IntArray
    scale: int
    sides: list[_Side]
    totals: FloatArray
    slots: list[IntArray] = field(default_factory=list)
    amounts: list[FloatArray] = field(default_factory=list)

    def add(self, slots: IntArray, amounts: FloatArray) -> None:
        """So much to each of these slots."""
        self.slots.append(slots)
        self.amounts.append(amounts)


def _merged_block(
    data: ByteArray, heads: Heads, begins: IntArray, codes: IntArray, scale: int, bodies: IntArray
) -> _Piece:
    """The bodies of a block, whose codes ascend, merged by group."""
    scales = heads["scale"].astype(np.int64)
    lowest, highest = _end_cells(heads)
    low, high = _placed(lowest, scales, scale), _placed(highest, scales, scale)
    finer = np.flatnonzero((scales < scale) & ~np.isnan(heads["minimum"]))
    least, most = low.copy(), high.copy()  # where minimum and maximum are: in those cells, unless these are too fine
    least[finer] = kernels().cells_of(heads["minimum"][finer].astype(np.float64), bins_of(scale))
    most[finer] = kernels().cells_of(heads["maximum"][finer].astype(np.float64), bins_of(scale))

    changes = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))
    lows = np.minimum.reduceat(np.minimum(low, least), changes)
    widths = np.maximum.reduceat(np.maximum(high, most), changes) - lows + 1
    bases = np.cumsum(widths) - widths
    to_slot = np.repeat(bases - lows, np.diff(np.append(changes, len(codes))))
    block = _Block(data, bodies, heads, scales, scale, _sides(heads, begins), heads["zeros"].astype(np.float64))
    zeros = np.flatnonzero(heads["zeros"])
    block.add(to_slot[zeros], heads["zeros"][zeros].astype(np.float64))
    ends = [_add_side(block, side, to_slot) for side in block.sides]
    _refuse(block.totals >= VALUES_LIMIT, "counts 2**40 values or more", bodies)
    if len(finer):
        outer = _outer_counts(heads, block.sides, ends)
        _move_ends(block, to_slot, finer, (low, high), (least, most), outer)
    return _summed(block, codes[changes], lows, widths)


def _sides(heads: Heads, begins: IntArray) -> list[_Side]:
    sizes = [heads[sign].astype(np.int64) for sign in ("negative", "positive")]
    return [
        _Side(-1, heads["negative_first"].astype(np.int64), sizes[0], begins),
        _Side(1, heads["positive_first"].astype(np.int64), sizes[1], begins + sizes[0] * heads["width"]),
    ]


def _add_side(block: _Block, side: _Side, to_slot: IntArray) -> tuple[FloatArray, FloatArray]:
    """Add all counts of one sign; returns the first and the last one of each body."""
    firsts, lasts = np.zeros(len(block.bodies)), np.zeros(len(block.bodies))
    for width in WIDTHS:
        of_width = (side.sizes > 0) & (block.heads["width"] == width)
        for its_scale in np.unique(block.scales[of_width]).tolist():
            rows = np.flatnonzero(of_width & (block.scales == its_scale))
            sizes = side.sizes[rows]
            found = block.data.view(f"<u{width}")[ranges(side.begins[rows] // width, sizes)].astype(np.float64)
            stops = np.cumsum(sizes)
            firsts[rows], lasts[rows] = found[stops - sizes], found[stops - 1]
            block.totals[rows] += np.add.reduceat(found, stops - sizes)
            block.add(_slots(side, rows, to_slot[rows], its_scale, block.scale), found)
    hollow = (side.sizes > 0) & ((firsts == 0) | (lasts == 0))
    _refuse(hollow, "begins or ends with an empty bin", block.bodies)
    return firsts, lasts


def _slots(side: _Side, rows: IntArray, to_slot: IntArray, its_scale: int, scale: int) -> IntArray:
    """Where the counts of these bodies, all of one scale, belong."""
    first_cell, shift, sizes = bins_of(scale).first_cell, its_scale - scale, side.sizes[rows]
    if shift > 0:
        bins = ranges(side.firsts[rows], sizes) >> shift
        found = np.repeat(to_slot + side.sign * first_cell, sizes)
        return found + bins if side.sign > 0 else found - bins
    cells = (side.firsts[rows] << -shift) + _middle(its_scale, scale) + first_cell
    return ranges(to_slot + side.sign * cells, sizes, side.sign << -shift)


def _placed(cells: IntArray, scales: IntArray, scale: int) -> IntArray:
    """Cells at scales of their own as cells of this scale: those that hold them, or their representatives."""
    placed = np.zeros_like(cells)
    for its_scale in np.unique(scales).tolist():
        rows = np.flatnonzero((scales == its_scale) & (cells != 0))
        bins = np.abs(cells[rows]) - bins_of(its_scale).first_cell
        shift = its_scale - scale
        bins = bins >> shift if shift >= 0 else (bins << -shift) + _middle(its_scale, scale)
        placed[rows] = np.sign(cells[rows]) * (bins + bins_of(scale).first_cell)
    return placed


@cache
def _middle(coarse: int, scale: int) -> int:
    """How many bins of the finer scale lie in a coarse bin below its representative: as many in every bin."""
    first_cell = bins_of(coarse).first_cell
    value = bins_of(coarse).representatives(np.array([first_cell]))
    return int(kernels().cells_of(value, bins_of(scale))[0]) - bins_of(scale).first_cell


def _outer_counts(
    heads: Heads, sides: list[_Side], ends: list[tuple[FloatArray, FloatArray]]
) -> tuple[FloatArray, FloatArray]:
    """How many values the lowest and the highest cell of each body hold."""
    (negative, positive), ((nearest, farthest), (first, last)) = sides, ends
    zeros = heads["zeros"].astype(np.float64)
    lowest = np.where(negative.sizes > 0, farthest, np.where(zeros > 0, zeros, first))
    highest = np.where(positive.sizes > 0, last, np.where(zeros > 0, zeros, nearest))
    return lowest, highest


def _move_ends(
    block: _Block,
    to_slot: IntArray,
    rows: IntArray,
    placed: tuple[IntArray, IntArray],
    extremes: tuple[IntArray, IntArray],
    outer: tuple[FloatArray, FloatArray],
) -> None:
    """Of bodies of coarser scales: no value beyond minimum or maximum, and one at each of these.

    Only what is in the outermost cells can be beyond.
    """
    to_slot, least, most = to_slot[rows], extremes[0][rows], extremes[1][rows]
    same = placed[0][rows] == placed[1][rows]  # one coarse bin holds all values
    several = np.where(same, (outer[0][rows] > 1).astype(np.float64), 1.0)
    for place, extreme, outermost, part in (
        (placed[0][rows], least, outer[0][rows], np.ones(len(rows))),
        (placed[1][rows], most, outer[1][rows], several),
    ):
        inside = np.clip(place, least, most)
        moved = outermost if extreme is least else np.where(same, 0.0, outermost)
        block.add(to_slot + place, -moved)
        block.add(to_slot + inside, moved - part)
        block.add(to_slot + extreme, part)


def _summed(block: _Block, groups: IntArray, lows: IntArray, widths: IntArray) -> _Piece:
    slots, amounts = np.concatenate(block.slots), np.concatenate(block.amounts)
    bases, n_slots = np.cumsum(widths) - widths, int(widths.sum())
    if n_slots <= max(FREE_SLOTS, SLOTS_PER_BIN * len(slots)):
        sums = np.bincount(slots, amounts, n_slots)
        places = np.flatnonzero(sums != 0)  # of booleans: twice as fast
        sums = sums[places]
    else:
        places, which = np.unique(slots, return_inverse=True)
        sums = np.bincount(which, amounts)
        places, sums = places[sums > 0], sums[sums > 0]
    sizes = np.diff(np.searchsorted(places, np.append(bases, n_slots)))
    cells = places - np.repeat(bases - lows, sizes)
    return _Piece(groups, sizes, cells.astype(np.int32), sums.astype(np.int64))


def _joined(pieces: Sequence[_Piece], n_groups: int) -> tuple[IntArray, CellArray, IntArray]:
    """Offsets, cells and counts of all groups; one that two blocks share is merged."""
    if not pieces:
        return np.zeros(n_groups + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64)
    groups, sizes, cells, counts = (np.concatenate(part) for part in zip(*pieces, strict=True))
    if np.any(groups[1:] == groups[:-1]):
        return kernels().sum_pairs(np.repeat(groups, sizes), cells, counts, n_groups)
    every = np.zeros(n_groups, np.int64)
    every[groups] = sizes
    return offsets_of(every), cells, counts


def _refuse(wrong: BoolArray, what: str, bodies: IntArray | None = None) -> None:
    """Raises for the first wrong one; `bodies` says which they are."""
    if wrong.any():
        first = int(np.argmax(wrong))
        raise _BodyFault(first if bodies is None else int(bodies[first]), what)
