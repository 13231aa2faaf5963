"""Counts per cell that go up and down: one dense array over the cells seen so far, widened when a new one comes.

Adding or subtracting a sketch costs its cells, whatever the number of its values. Invariant: what is subtracted was
added before; the caller sees to that.
"""

import numpy as np

from quantiles.array_types import CellArray, IntArray

WIDTH_STEP = 256  # cells more on either side than asked for, so that widening is rare


class RunningCounts:
    """A multiset of cells."""

    __slots__ = ("_counts", "_low")

    def __init__(self) -> None:
        self._low = 0  # cell of the first slot
        self._counts = np.zeros(0, np.int64)

    def add(self, cells: CellArray, counts: IntArray) -> None:
        """Adds a sketch's counts; its cells are ascending, no cell twice."""
        if not len(cells):
            return
        first, last = int(cells[0]), int(cells[-1])
        if not len(self._counts):
            self._low = first
        before, after = self._low - first, last + 1 - self._low - len(self._counts)
        if before > 0 or after > 0:
            more = (before + WIDTH_STEP if before > 0 else 0, after + WIDTH_STEP if after > 0 else 0)
            self._counts = np.pad(self._counts, more)
            self._low -= more[0]
        self._counts[cells - self._low] += counts

    def subtract(self, cells: CellArray, counts: IntArray) -> None:
        """Takes a sketch's counts away again."""
        if len(cells):
            self._counts[cells - self._low] -= counts

    def filled(self) -> tuple[CellArray, IntArray]:
        """The cells that hold something, ascending, and their counts; fresh arrays."""
        found = np.flatnonzero(self._counts)
        return (found + self._low).astype(np.int32), self._counts[found]
