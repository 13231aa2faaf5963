"""Many sketches that others are added to, again and again, in little memory: what is open between two flushes.

Each row has a dense stretch of counts over the cells it has seen, in the smallest type that holds them: one byte a
cell is what most rows need, which is about what their encoded sketch takes. A row that gets a cell outside its
stretch, or a count too large for its type, moves to a new place; the old ones are given back when they add up. A row
whose cells lie far apart (mixed signs, say) is kept as plain pairs.
Invariant: `column()` is the very column that reducing everything added would give (float sums: within 1e-12*sum|x|).
"""

from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from quantiles._kernels.choice import kernels
from quantiles.array_types import CellArray, IntArray, Pairs, Slots
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.errors import IncompatibleSketchError, StateOverflowError
from quantiles.exact_sums import HI_LIMIT, LOW_BITS, LOW_MASK, SumColumn
from quantiles.sketch_column import SketchColumn, settled_extremes
from quantiles.sketch_parts import held_values, offsets_of

Array = npt.NDArray[Any]
Prepared: TypeAlias = tuple[float, Array, Array]  # values of the column, both parts of the rows' sums
# Cells beyond the outermost ones that a new stretch covers at each end, and a share of its width: extremes creep
# outwards, and moving a row costs as much as adding to it a hundred times.
SLACK: Final = 3
SLACK_SHARE: Final = 32
ALIGNED: Final = 8
ROWS_AT_ONCE: Final = 8192
# A stretch may take so many bytes at all, and as many per cell in it; what would take more is kept as pairs, of 12 B.
FREE_BYTES: Final = 512
BYTES_PER_CELL: Final = 8
FIRST_BYTES: Final = 1 << 16
# Of the memory, as much may lie in places that rows have left.
LEFT_SHARE: Final = 8
# Pairs wait to be merged until they are so many, or as many as there are merged ones.
WAITING_PAIRS: Final = 1 << 16
_MOST_OF_SIZES: Final = np.array([0xFF, 0xFFFF, 0xFFFFFFFF])


class GrowingColumn:
    """Rows numbered from 0, each a sketch; a row that nothing was added to is an empty one."""

    def __init__(self, scale: int, integer: bool) -> None:
        """No rows yet. `integer` says what kind the sums are of."""
        self.scale = scale
        self.integer = integer
        self._memory = np.zeros(FIRST_BYTES, np.uint8)
        self._used = 0
        self._left = 0  # bytes of places that rows have moved away from
        self._held = 0.0
        kind = np.int64 if integer else np.float64
        self._rows: dict[str, Array] = {
            "place": np.zeros(0, np.int64), "first": np.zeros(0, np.int32), "width": np.zeros(0, np.int32),
            "size": np.zeros(0, np.uint8), "low": np.zeros(0), "high": np.zeros(0),
            "hi": np.zeros(0, kind), "lo": np.zeros(0, kind),
        }  # fmt: skip
        self._nan: IntArray | None = None  # most columns have none
        self._apart: set[int] = set()
        self._pairs: list[tuple[IntArray, CellArray, IntArray]] = []
        self._merged_pairs = 0

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows["place"])

    def prepared(self, rows: IntArray, column: SketchColumn) -> Prepared:
        """What `add` needs to know beforehand: it finds out all that can be wrong and changes nothing.

        Args:
            rows: int64[n], no row twice; rows beyond the last one will be made.
        Raises:
            IncompatibleSketchError: another scale, or another kind of sums.
            StateOverflowError: more than 2**62 values together, or an integer sum beyond 2**94.
        """
        if (column.scale, column.sums.integer) != (self.scale, self.integer):
            raise IncompatibleSketchError(
                f"cannot add sketches of scale {column.scale} and integer={column.sums.integer} to those of scale "
                f"{self.scale} and integer={self.integer}; rebuild one side"
            )
        values = held_values(column)
        if self._held + values >= COUNT_LIMIT:
            raise StateOverflowError("the sketches hold more than 2**62 values together; they cannot be merged")
        self._grow(int(rows.max(initial=-1)) + 1)  # rows that nothing is added to are empty ones
        return values, *_added_sums(self._rows["hi"][rows], self._rows["lo"][rows], column.sums)

    def add(self, rows: IntArray, column: SketchColumn, prepared: Prepared | None = None) -> None:
        """Merge sketch i into row rows[i]; all as `prepared`, which is called where its result is not given."""
        values, hi, lo = prepared or self.prepared(rows, column)
        mine = self._rows
        mine["hi"][rows], mine["lo"][rows] = hi, lo
        mine["low"][rows] = np.fmin(mine["low"][rows], column.minima)
        mine["high"][rows] = np.fmax(mine["high"][rows], column.maxima)
        if column.nan_counts.any():
            if self._nan is None:
                self._nan = np.zeros(len(self), np.int64)
            self._nan[rows] += column.nan_counts
        refused = kernels().add_to_slots(self._slots(), rows, column.offsets, column.cells, column.counts)
        if len(refused):
            self._move(rows, column, refused)
        self._held += values

    def column(self) -> SketchColumn:
        """All rows, as a column of their own."""
        mine, n = self._rows, len(self)
        offsets, cells, counts = kernels().pairs_of_slots(self._slots())
        if self._pairs:
            parts = [(np.repeat(np.arange(n), np.diff(offsets)), cells, counts), *self._pairs]
            owners, cells, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
            offsets, cells, counts = kernels().sum_pairs(owners, cells, counts, n)
        low, high = settled_extremes(mine["low"], mine["high"], np.diff(offsets) == 0)
        nan_counts = np.zeros(n, np.int64) if self._nan is None else self._nan.copy()
        sums = SumColumn(self.integer, mine["hi"], mine["lo"]).reduce(np.arange(n), n)  # settles both parts of floats
        return SketchColumn(self.scale, offsets, cells, counts, nan_counts, low, high, sums)

    @property
    def held_bytes(self) -> int:
        """Memory of the arrays."""
        arrays = [self._memory[: self._used], *self._rows.values(), *(part for pair in self._pairs for part in pair)]
        return sum(array.nbytes for array in arrays) + (0 if self._nan is None else self._nan.nbytes)

    def _slots(self, rows: IntArray | None = None) -> Slots:
        columns = [self._rows[name] for name in ("place", "first", "width", "size")]
        return Slots(self._memory, *(columns if rows is None else [column[rows] for column in columns]))

    def _grow(self, n: int) -> None:
        more = n - len(self)
        if more <= 0:
            return
        for name, array in self._rows.items():
            filler = np.nan if name in ("low", "high") else 0
            self._rows[name] = np.concatenate([array, np.full(more, filler, array.dtype)])
        if self._nan is not None:
            self._nan = np.concatenate([self._nan, np.zeros(more, np.int64)])

    def _move(self, rows: IntArray, column: SketchColumn, some: IntArray) -> None:
        """New stretches for rows whose own had no room for some of the sketches, or pairs where that is cheaper."""
        run = kernels()
        rows = rows[some]
        held = Pairs(*run.pairs_of_slots(self._slots(rows)))
        together = run.join_pairs(held, Pairs(column.offsets, column.cells, column.counts), some)
        self._leave(rows)
        offsets, cells, counts = together
        firsts, widths = _stretches(cells[offsets[:-1]].astype(np.int64), cells[offsets[1:] - 1].astype(np.int64))
        most = np.maximum.reduceat(counts, offsets[:-1])
        sizes = 1 << np.searchsorted(_MOST_OF_SIZES, most).astype(np.int64)
        needed = -(-widths * sizes // ALIGNED) * ALIGNED
        far = needed > FREE_BYTES + BYTES_PER_CELL * np.diff(offsets)
        if self._apart:
            far |= np.isin(rows, np.fromiter(self._apart, np.int64, len(self._apart)))
        if far.any():
            self._apart.update(rows[far].tolist())
            owned = np.repeat(far, np.diff(offsets))
            self._wait(np.repeat(rows, np.diff(offsets))[owned], cells[owned], counts[owned])
            near = np.flatnonzero(~far)
            offsets, cells, counts = offsets_of(np.diff(offsets)[near]), cells[~owned], counts[~owned]
            rows, firsts, sizes, needed = rows[near], firsts[near], sizes[near], needed[near]
        mine = self._rows
        mine["place"][rows] = self._place(needed)
        mine["first"][rows], mine["width"][rows], mine["size"][rows] = firsts, needed // sizes, sizes
        run.add_to_slots(self._slots(), rows, offsets, cells, counts)

    def _place(self, needed: IntArray) -> IntArray:
        """Where each of some stretches of zeros begins."""
        total = int(needed.sum())
        if self._used + total > len(self._memory) or self._left > max(FIRST_BYTES, self._used // LEFT_SHARE):
            self._close_ranks(self._used - self._left + total)
        places = self._used + np.cumsum(needed) - needed
        self._used += total
        return cast("IntArray", places)

    def _leave(self, rows: IntArray) -> None:
        mine = self._rows
        self._left += int((mine["width"][rows].astype(np.int64) * mine["size"][rows]).sum())
        mine["size"][rows] = 0

    def _close_ranks(self, needed: int) -> None:
        """Copy every stretch into new memory of at least so many bytes, without what was left."""
        larger = len(self._memory)
        if needed > larger - larger // 8:  # else there would soon be no room again
            larger = -(-max(larger * 3 // 2, needed) // ALIGNED) * ALIGNED
        mine = self._rows
        taken = np.flatnonzero(mine["size"])
        lengths = mine["width"][taken].astype(np.int64) * mine["size"][taken]
        places = np.cumsum(lengths) - lengths
        closed = np.zeros(larger, np.uint8)
        old, new = self._memory.view(np.int64), closed.view(np.int64)  # stretches are aligned
        for begin in range(0, taken.size, ROWS_AT_ONCE):
            some = slice(begin, begin + ROWS_AT_ONCE)
            n = lengths[some] // ALIGNED
            first = int(places[begin]) // ALIGNED
            steps = np.arange(int(n.sum())) + np.repeat(mine["place"][taken[some]] // ALIGNED - np.cumsum(n) + n, n)
            new[first : first + steps.size] = old[steps]
        mine["place"][taken] = places
        self._memory, self._used, self._left = closed, int(lengths.sum()), 0

    def _wait(self, owners: IntArray, cells: CellArray, counts: IntArray) -> None:
        """Keep what rows got as pairs, merged now and then."""
        self._pairs.append((owners, cells, counts))
        if sum(len(cells) for _, cells, _ in self._pairs) > 2 * self._merged_pairs + WAITING_PAIRS:
            owners, cells, counts = (np.concatenate(part) for part in zip(*self._pairs, strict=True))
            offsets, cells, counts = kernels().sum_pairs(owners, cells, counts, len(self))
            self._pairs = [(np.repeat(np.arange(len(self)), np.diff(offsets)), cells, counts)]
            self._merged_pairs = len(cells)


def _stretches(lowest: IntArray, highest: IntArray) -> tuple[IntArray, IntArray]:
    """First cell and width of stretches over the given ones, with slack."""
    slack = SLACK + (highest - lowest) // SLACK_SHARE
    return lowest - slack, highest - lowest + 1 + 2 * slack


def _added_sums(hi: Array, lo: Array, more: SumColumn) -> tuple[Array, Array]:
    if more.integer:
        low = cast("IntArray", lo + more.lo)
        high = hi + more.hi + (low >> LOW_BITS)
        if np.any((high <= -HI_LIMIT) | (high >= HI_LIMIT)):
            raise StateOverflowError("an integer sum would leave +-2**94: use float64")
        return high, low & LOW_MASK
    with np.errstate(over="ignore", invalid="ignore"):
        total = hi + more.hi
        part = total - hi
        lost = np.where(np.isfinite(total), (hi - (total - part)) + (more.hi - part), 0.0)
        return total, lo + (lost + more.lo)
