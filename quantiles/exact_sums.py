"""Sums that do not depend on how the records were split: n running sums as two parallel columns.

Integers: value = hi * 2**32 + lo with 0 <= lo < 2**32. The pair is unique for a value, so merges are
bit-identical for any split and order; |value| stays below 2**94 or StateOverflowError is raised.
Floats: value = hi + lo, hi being the rounded sum and lo what rounding lost (TwoSum: Knuth, TAOCP 2, 4.2.2).
Any order of additions and merges stays within 1e-12 * sum|x| of the true sum. When hi is not finite, lo is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from quantiles.array_types import BoolArray, FloatArray, IntArray, SampleArray, as_groups, as_samples
from quantiles.errors import IncompatibleSketchError, StateOverflowError

LOW_BITS = 32
LOW_MASK = (1 << LOW_BITS) - 1
HI_LIMIT = 1 << 62  # |hi| stays below it, so that one more pair of sums cannot wrap int64

# A plain running float sum of m values is off by at most m * 2**-53 * sum|x|: 4,096 values cost 4.5e-13.
PLAIN_RUN = 4096


@dataclass(frozen=True, slots=True, eq=False)
class SumColumn:
    """n sums; both arrays are int64[n] when `integer`, else float64[n]. The arrays are never changed in place."""

    integer: bool
    hi: SampleArray
    lo: SampleArray

    @staticmethod
    def zeros(n: int, integer: bool) -> "SumColumn":
        """n sums of nothing."""
        if integer:
            return SumColumn(True, np.zeros(n, np.int64), np.zeros(n, np.int64))
        return SumColumn(False, np.zeros(n), np.zeros(n))

    @staticmethod
    def from_values(
        values: npt.ArrayLike, groups: npt.ArrayLike, n_groups: int, weights: IntArray | None = None
    ) -> "SumColumn":
        """One sum per group.

        Args:
            values: int64[n] or float64[n]; the type decides the kind of the sums. A NaN makes its group's sum NaN.
            groups: int64[n], codes 0..n_groups-1 in any order; a group without values sums to 0.
            weights: int64[n], each at least 1: how many times each value counts.
        """
        samples = as_samples(values)
        codes = as_groups(groups, len(samples), n_groups)
        if weights is not None:
            return _weighted_sums(samples, weights, codes, n_groups)
        if samples.dtype == np.int64:
            return _integer_sums(cast("IntArray", samples), codes, n_groups)
        return _float_sums(cast("FloatArray", samples), codes, n_groups)

    @staticmethod
    def concat(columns: Sequence["SumColumn"]) -> "SumColumn":
        """The columns one behind the other.

        Raises:
            IncompatibleSketchError: no column at all, or integer sums beside float sums.
        """
        kinds = {column.integer for column in columns}
        if len(kinds) != 1:
            seen = "no columns" if not kinds else "integer sums beside float sums"
            raise IncompatibleSketchError(f"cannot concatenate {seen}; wanted one or more columns of one kind")
        hi = np.concatenate([column.hi for column in columns])
        return SumColumn(kinds.pop(), hi, np.concatenate([column.lo for column in columns]))

    def __len__(self) -> int:
        return len(self.hi)

    def take(self, indices: npt.ArrayLike) -> "SumColumn":
        """The sums at the given positions, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return SumColumn(self.integer, self.hi[rows], self.lo[rows])

    def reduce(self, groups: npt.ArrayLike, n_groups: int) -> "SumColumn":
        """Merges the sums of each group; a group without sums is 0.

        Raises:
            StateOverflowError: an integer sum leaves +-2**94.
        """
        codes = as_groups(groups, len(self), n_groups)
        if self.integer:
            return _merged_integers(cast("IntArray", self.hi), cast("IntArray", self.lo), codes, n_groups)
        return _merged_floats(cast("FloatArray", self.hi), cast("FloatArray", self.lo), codes, n_groups)

    def negated(self) -> "SumColumn":
        """The sums times -1, exactly."""
        if not self.integer:
            return SumColumn(False, 0.0 - cast("FloatArray", self.hi), 0.0 - cast("FloatArray", self.lo))
        hi, lo = cast("IntArray", self.hi), cast("IntArray", self.lo)
        return SumColumn(True, -hi - (lo > 0), -lo & LOW_MASK)

    def times(self, factor: int) -> "SumColumn":
        """The sums times a positive integer: exactly, or for floats within 2**-52 of it.

        Raises:
            StateOverflowError: an integer sum leaves +-2**94.
        """
        if self.integer:
            total: npt.NDArray[np.object_] = self.hi.astype(object) * (LOW_MASK + 1) + self.lo
            return _from_ints(cast("npt.NDArray[np.object_]", total * factor))
        with np.errstate(over="ignore", invalid="ignore"):
            hi, lo = cast("FloatArray", self.hi), cast("FloatArray", self.lo)
            return _settled(hi * float(factor), lo * float(factor))

    def as_float(self) -> "SumColumn":
        """The same sums as float sums: within 2**-53 of themselves, and exact below 2**53."""
        if not self.integer:
            return self
        with np.errstate(over="ignore"):
            hi, lo = _fast_two_sum(self.hi.astype(np.float64) * 2.0**LOW_BITS, self.lo.astype(np.float64))
        return SumColumn(False, hi, lo)

    def values(self) -> list[int] | FloatArray:
        """The sums: Python ints, which hold them all, or a fresh float64[n]."""
        if self.integer:
            pairs = zip(self.hi.tolist(), self.lo.tolist(), strict=True)
            return [(int(hi) << LOW_BITS) + int(lo) for hi, lo in pairs]
        return cast("FloatArray", self.hi.copy())


def _weighted_sums(values: SampleArray, weights: IntArray, groups: IntArray, n_groups: int) -> SumColumn:
    if values.dtype != np.int64:
        with np.errstate(over="ignore"):
            return _float_sums(cast("FloatArray", values * weights), groups, n_groups)
    if not len(values):
        return SumColumn.zeros(n_groups, True)
    largest = max(-int(values.min()), int(values.max())) * int(weights.max())
    if largest < HI_LIMIT:
        return _integer_sums(cast("IntArray", values * weights), groups, n_groups)
    total = np.zeros(n_groups, object)
    np.add.at(total, groups, values.astype(object) * weights)
    return _from_ints(total)


def _integer_sums(values: IntArray, groups: IntArray, n_groups: int) -> SumColumn:
    total = np.zeros(n_groups, np.int64)
    if not len(values):
        return SumColumn(True, total, total.copy())
    largest = max(-int(values.min()), int(values.max()))
    if largest * len(values) < HI_LIMIT:  # cannot wrap: one pass
        if n_groups == 1:
            total += values.sum()
        else:
            np.add.at(total, groups, values)
        return SumColumn(True, total >> LOW_BITS, total & LOW_MASK)
    return _merged_integers(values >> LOW_BITS, values & LOW_MASK, groups, n_groups)


def _merged_integers(hi: IntArray, lo: IntArray, groups: IntArray, n_groups: int) -> SumColumn:
    if len(hi) and max(-int(hi.min()), int(hi.max())) * len(hi) >= HI_LIMIT:
        return _merged_huge_integers(hi, lo, groups, n_groups)
    high, low = np.zeros(n_groups, np.int64), np.zeros(n_groups, np.int64)
    np.add.at(high, groups, hi)
    np.add.at(low, groups, lo)
    return SumColumn(True, high + (low >> LOW_BITS), low & LOW_MASK)


def _merged_huge_integers(hi: IntArray, lo: IntArray, groups: IntArray, n_groups: int) -> SumColumn:
    """The same in Python ints, for the rare input where int64 might wrap on the way."""
    total = np.zeros(n_groups, object)
    np.add.at(total, groups, hi.astype(object) * (LOW_MASK + 1) + lo)
    return _from_ints(total)


def _from_ints(total: npt.NDArray[np.object_]) -> SumColumn:
    """Sums that are Python ints."""
    high = total >> LOW_BITS
    for value in high:
        if abs(value) >= HI_LIMIT:
            raise StateOverflowError(f"an integer sum is {value << LOW_BITS:.3e}, wanted within +-2**94: use float64")
    return SumColumn(True, high.astype(np.int64), (total & LOW_MASK).astype(np.int64))


def _float_sums(values: FloatArray, groups: IntArray, n_groups: int) -> SumColumn:
    with np.errstate(over="ignore", invalid="ignore"):
        if n_groups == 1:  # NumPy adds one long column as a tree, which is off by less than 100 roundings
            return _settled(np.add.reduce(values, keepdims=True), np.zeros(1))
        hi = _plain_sums(values, groups, n_groups)  # starts at +0.0, so no -0.0 can come out
        lo = np.zeros(n_groups)
        if len(values) > PLAIN_RUN:
            sizes = np.bincount(groups, minlength=n_groups)
            heavy = np.flatnonzero(sizes > PLAIN_RUN)
            if len(heavy):
                hi[heavy], lo[heavy] = _compensated_sums(values, groups, heavy, n_groups)
        return _settled(hi, lo)


def _plain_sums(values: FloatArray, groups: IntArray, n_groups: int) -> FloatArray:
    return cast("FloatArray", np.bincount(groups, weights=values, minlength=n_groups))


def _compensated_sums(
    values: FloatArray, groups: IntArray, heavy: IntArray, n_groups: int
) -> tuple[FloatArray, FloatArray]:
    """Sums of the few groups with more than PLAIN_RUN values: runs of that length, added with TwoSum."""
    code = np.full(n_groups, -1, np.int64)
    code[heavy] = np.arange(len(heavy))
    if len(heavy) < n_groups:
        groups = code[groups]
        mine = groups >= 0
        values, groups = values[mine], groups[mine]
    hi, lo = np.zeros(len(heavy)), np.zeros(len(heavy))
    for start in range(0, len(values), PLAIN_RUN):
        run = slice(start, start + PLAIN_RUN)
        hi, lost = _two_sum(hi, _plain_sums(values[run], groups[run], len(heavy)))
        lo += lost
    return hi, lo


def _merged_floats(hi: FloatArray, lo: FloatArray, groups: IntArray, n_groups: int) -> SumColumn:
    """Adds the sums of each group two by two, as a tree: log2(largest group) rounds over all groups at once."""
    if np.any(groups[1:] < groups[:-1]):
        order = np.argsort(groups, kind="stable")
        hi, lo, groups = hi[order], lo[order], groups[order]
    with np.errstate(over="ignore", invalid="ignore"):
        while True:
            left, paired = _pairs(groups)
            if not paired.any():
                break
            right = left[paired] + 1
            total, lost = _two_sum(hi[left[paired]], hi[right])
            lost += lo[left[paired]] + lo[right]
            hi, lo, groups = hi[left], lo[left], groups[left]
            hi[paired], lo[paired] = _fast_two_sum(total, lost)
        out_hi, out_lo = np.zeros(n_groups), np.zeros(n_groups)
        out_hi[groups], out_lo[groups] = hi, lo
        return _settled(out_hi, out_lo)


def _pairs(groups: IntArray) -> tuple[IntArray, BoolArray]:
    """Positions of even rank in their group, and which of them have a right neighbour in it. Needs sorted groups."""
    n = len(groups)
    first = np.ones(n, np.bool_)
    first[1:] = groups[1:] != groups[:-1]
    position = np.arange(n)
    rank = position - np.maximum.accumulate(np.where(first, position, 0))
    left = np.flatnonzero(rank % 2 == 0)
    paired = np.zeros(len(left), np.bool_)
    has_next = left + 1 < n
    paired[has_next] = groups[left[has_next] + 1] == groups[left[has_next]]
    return left, paired


def _two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """a + b rounded, and what the rounding lost, exactly; 0 where the sum is not finite, else inf would turn to NaN."""
    total = a + b
    with np.errstate(invalid="ignore"):
        part = total - a
        lost = (a - (total - part)) + (b - part)
    return total, np.where(np.isfinite(total), lost, 0.0)


def _fast_two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Like _two_sum where |a| >= |b|, or a is 0; what is lost is 0 where the sum is not finite."""
    total = a + b
    with np.errstate(invalid="ignore"):
        lost = b - (total - a)
    return total, np.where(np.isfinite(total), lost, 0.0)


def _settled(hi: FloatArray, lo: FloatArray) -> SumColumn:
    """The pair with hi = the rounded sum and no -0.0, so that equal sums look equal."""
    total, lost = _two_sum(hi, lo)
    finite = np.isfinite(hi)
    return SumColumn(False, np.where(finite, total, hi) + 0.0, np.where(finite & np.isfinite(total), lost, 0.0) + 0.0)
