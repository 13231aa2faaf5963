"""Which kernels run: NumPy unless `use_kernels("numba")` or TAILWATCH_KERNELS=numba asks for the compiled ones.

numba is imported here and only when asked for, because an agent must stay light.
"""

import importlib
import os
from typing import Protocol, cast

import numpy as np

from quantiles.array_types import (
    ByteArray,
    CellArray,
    FloatArray,
    IntArray,
    Pairs,
    SampleArray,
    Slots,
    TokenArray,
    UnsignedArray,
)
from quantiles.bins import Bins
from quantiles.errors import KernelError

VARIABLE = "TAILWATCH_KERNELS"
NAMES = ("numpy", "numba")
CORE_TABLES = 4  # so that equal neighbours are counted apart, see numba_adding.py; NumPy uses the first alone
CORE_GAP = 136  # unused columns of each: a processor takes addresses 4 KiB apart for the same one and waits
CARRY = 255  # what a full count of add_rows stands for


class Kernels(Protocol):
    """What each kernel module holds. All arrays are contiguous, and arguments were checked by the caller."""

    ROW_COUNTS: type[np.unsignedinteger]

    def cells_of(self, values: SampleArray, bins: Bins) -> CellArray:
        """The cell of each value, int32[n]. No NaN may be among them."""

    def add_core(
        self, values: SampleArray, bins: Bins, counts: IntArray, sums: SampleArray, extremes: FloatArray
    ) -> int:
        """Adds the values of the core, 2**-20 < x <= 2**44, to the state; returns how many others it left out.

        counts: [CORE_TABLES, cells of the core + CORE_GAP]; the count of a cell is the sum of its column.
        sums: high and low part as in exact_sums.py, of the type of the values.
        extremes: smallest and largest value.
        """

    def add_rows(
        self,
        values: SampleArray,
        rows: IntArray,
        bins: Bins,
        counts: UnsignedArray,
        stats: SampleArray,
        carried: IntArray,
    ) -> tuple[int, int]:
        """Adds the values of the core, each to the counts of its row.

        counts: [CORE_OCTAVES, rows, cells of an octave] of ROW_COUNTS. A count that stands at CARRY goes on with 1,
        which is never 0, and its place in the flat array is written to carried, which has room for one per value.
        stats: minimum, maximum, high and low part of the sum of each row, [n, 4], of the type of the values.
        Returns how many values it left out because they are not of the core, and how many places it carried.
        """

    def count_pairs(self, groups: IntArray, cells: CellArray, n_groups: int) -> tuple[IntArray, CellArray, IntArray]:
        """Counts equal (group, cell) pairs: offsets int64[n_groups+1], cells ascending in each group, counts."""

    def sum_pairs(
        self, groups: IntArray, cells: CellArray, counts: IntArray, n_groups: int
    ) -> tuple[IntArray, CellArray, IntArray]:
        """The same, adding up the counts that come with the pairs. No count may be 0 or negative."""

    def group_extremes(self, values: SampleArray, groups: IntArray, n_groups: int) -> tuple[FloatArray, FloatArray]:
        """Smallest and largest value of each group, float64[n_groups]; +Inf and -Inf where a group is empty."""

    def pack_varints(self, tokens: TokenArray) -> tuple[ByteArray, IntArray]:
        """LEB128 of each token in turn: the bytes, and where each token ends in them (int64[n])."""

    def unpack_varints(self, data: ByteArray) -> tuple[TokenArray, IntArray, int]:
        """Tokens, where each ends, and the position of the first byte that is not canonical LEB128, or -1."""

    def tokens_of_cells(
        self, cells: CellArray, counts: IntArray, offsets: IntArray
    ) -> tuple[TokenArray, TokenArray, IntArray]:
        """The token of each cell, the gap tokens, and the positions of the cells that one of those precedes."""

    def cells_of_tokens(
        self, tokens: TokenArray, starts: IntArray, stops: IntArray, lowest: IntArray, highest: int
    ) -> tuple[IntArray, CellArray, IntArray, int, int]:
        """Cells per body, all cells and counts, and what is wrong: a rule of cell_tokens.py and the body breaking it.

        Body i has the tokens starts[i]:stops[i], at least one, and lowest[i] as its first cell; highest is the largest
        cell of the scale. Nothing but the last two results means anything when a rule is broken.
        """

    def merge_bodies(
        self, data: ByteArray, ends: IntArray, groups: IntArray, n_groups: int, bins: Bins, integer: bool
    ) -> tuple[IntArray, CellArray, IntArray, IntArray, FloatArray, FloatArray, SampleArray, SampleArray] | None:
        """All bodies, body i ending at ends[i], merged into the sketch of groups[i].

        Returns offsets, cells, counts, NaN counts, minima and maxima (+Inf and -Inf where empty) and both parts of the
        sums; None where any body is not plainly right, or its cells lie too far apart: then the decoder has the word.
        """

    def cells_of_gaps(self, gaps: IntArray, counts: IntArray, offsets: IntArray, highest: int) -> tuple[CellArray, int]:
        """The cells of sketches whose cells are told as distances, each first one as its distance from 0.

        Returns cells, and the first sketch that breaks a rule, or -1: cells ascend and lie within +-highest, counts are
        at least 1. Cells mean nothing when a rule is broken. Gaps and counts may be of any integer type.
        """

    def add_to_slots(
        self, slots: Slots, rows: IntArray, offsets: IntArray, cells: CellArray, counts: IntArray
    ) -> IntArray:
        """Adds the counts of sketch i to the slots of row rows[i]; no row may come twice.

        Returns which sketches were refused, ascending, because a cell or a sum has no room; nothing of them was added.
        """

    def join_pairs(self, left: Pairs, right: Pairs, some: IntArray) -> Pairs:
        """Sketch i of the left side and sketch some[i] of the right one together, for every i; fresh arrays."""

    def pairs_of_slots(self, slots: Slots) -> tuple[IntArray, CellArray, IntArray]:
        """What the slots of all rows hold: offsets int64[n+1], cells ascending in each row, and counts."""


_chosen: dict[str, Kernels] = {}


def use_kernels(name: str) -> None:
    """Chooses the kernels of this process: "numpy" or "numba".

    Raises:
        KernelError: an unknown name, or numba is not installed.
    """
    _chosen["now"] = load_kernels(name)


def kernels() -> Kernels:
    """The chosen kernels; on first use the environment variable TAILWATCH_KERNELS decides."""
    if "now" not in _chosen:
        use_kernels(os.environ.get(VARIABLE, "numpy"))
    return _chosen["now"]


def load_kernels(name: str) -> Kernels:
    """The kernel module of that name, without choosing it.

    Raises:
        KernelError: an unknown name, or numba is not installed.
    """
    if name not in NAMES:
        raise KernelError(f"kernels are {name!r}, wanted one of {', '.join(NAMES)}: set {VARIABLE} to one of them")
    try:
        return cast("Kernels", importlib.import_module(f"quantiles._kernels.{name}_kernels"))
    except ImportError as error:
        raise KernelError(
            f"{name} kernels need a package that is missing ({error}): install it, or unset it"
        ) from error
