"""States of count, sum, min, max and avg: one or two numbers per group.

NULLs are skipped. min and max skip NaN too; a NaN makes sum and avg NaN. A group without values is absent, which is
not 0: only count has a value then. -0.0 counts as 0.0, or min and max would depend on the order of records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline import state_bodies
from pipeline.errors import StateError
from pipeline.grouping import Grouping
from pipeline.ragged import Column, Columns, plain
from pipeline.state import BoolArray, Described, FloatArray, IntArray, State, ValueState
from quantiles.errors import QuantilesError
from quantiles.exact_sums import LOW_MASK, SumColumn

Values: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.float64]
_S = TypeVar("_S", bound=State)


@dataclass(frozen=True, slots=True)
class CountState(ValueState):
    """n int64[]: records, or values that are not NULL. NaN is a value."""

    n: IntArray

    def __len__(self) -> int:
        return len(self.n)

    @classmethod
    def from_values(cls, metric: Described, values: pl.Series | None, groups: Grouping) -> Self:  # noqa: ARG003
        codes = groups.codes if values is None else _present(values, groups.codes)[1]
        return cls(_counts(codes, groups.n_groups))

    def take(self, indices: IntArray) -> Self:
        return type(self)(self.n[indices])

    @staticmethod
    def concat(states: Sequence[State]) -> "CountState":
        return CountState(np.concatenate([s.n for s in _of(CountState, states)]))

    def reduce(self, groups: IntArray, n_groups: int) -> Self:
        return type(self)(_added(self.n, groups, n_groups))

    @staticmethod
    def columns(metric: Described, prefix: str) -> dict[str, pl.DataType]:  # noqa: ARG004
        return {f"{prefix}.n": pl.Int64()}

    def to_columns(self, prefix: str) -> dict[str, Column]:
        return {f"{prefix}.n": pl.Series(f"{prefix}.n", self.n, dtype=pl.Int64)}

    @classmethod
    def from_columns(cls, metric: Described, prefix: str, columns: Columns) -> Self:  # noqa: ARG003
        return cls(_whole_counts(f"{prefix}.n", columns))

    def to_bodies(self) -> tuple[bytes, IntArray]:
        return state_bodies.encode("count", True, np.ones(len(self), np.bool_), [self.n])

    @classmethod
    def from_bodies(cls, metric: Described, buffer: bytes | memoryview, lengths: IntArray) -> Self:  # noqa: ARG003
        present, (n,) = state_bodies.decode("count", True, [False], buffer, lengths)
        if not present.all() or np.any(n < 0):
            raise StateError("count: a body has no count or a negative one; the bytes are damaged")
        return cls(cast("IntArray", n))

    def answers(self) -> list[int | float | None]:
        return list(self.n.tolist())


@dataclass(frozen=True, slots=True)
class SumState(ValueState):
    """Exact sums; present bool[] marks the groups that had a value, the others hold 0."""

    sums: SumColumn
    present: BoolArray

    def __len__(self) -> int:
        return len(self.present)

    @classmethod
    def from_values(cls, metric: Described, values: pl.Series | None, groups: Grouping) -> Self:
        found, codes = _numbers(metric, values, groups)
        sums = SumColumn.from_values(found, codes, groups.n_groups)
        return cls(sums, _with_values(codes, groups))

    def take(self, indices: IntArray) -> Self:
        return type(self)(self.sums.take(indices), self.present[indices])

    @staticmethod
    def concat(states: Sequence[State]) -> "SumState":
        parts = _of(SumState, states)
        return SumState(SumColumn.concat([s.sums for s in parts]), np.concatenate([s.present for s in parts]))

    def reduce(self, groups: IntArray, n_groups: int) -> Self:
        present = np.bincount(groups[self.present], minlength=n_groups) > 0
        return type(self)(self.sums.reduce(groups, n_groups), present)

    @staticmethod
    def columns(metric: Described, prefix: str) -> dict[str, pl.DataType]:
        return {f"{prefix}.hi": _dtype(metric), f"{prefix}.lo": _dtype(metric)}

    def to_columns(self, prefix: str) -> dict[str, Column]:
        parts = {"hi": self.sums.hi, "lo": self.sums.lo}
        return {f"{prefix}.{p}": _nullable(f"{prefix}.{p}", words, self.present) for p, words in parts.items()}

    @classmethod
    def from_columns(cls, metric: Described, prefix: str, columns: Columns) -> Self:
        hi, present = _filled(plain(columns, f"{prefix}.hi"))
        lo, also = _filled(plain(columns, f"{prefix}.lo"))
        if np.any(present != also):
            raise StateError(f"{prefix}: half of a sum is missing; drop the frame and send it again")
        return cls(_sums(prefix, metric.integer, hi, lo), present)

    def to_bodies(self) -> tuple[bytes, IntArray]:
        return state_bodies.encode("sum", self.sums.integer, self.present, [self.sums.hi, self.sums.lo])

    @classmethod
    def from_bodies(cls, metric: Described, buffer: bytes | memoryview, lengths: IntArray) -> Self:
        floats = [not metric.integer] * 2
        present, (hi, lo) = state_bodies.decode("sum", metric.integer, floats, buffer, lengths)
        return cls(_sums("sum", metric.integer, hi, lo), present)

    def answers(self) -> list[int | float | None]:
        return [x if here else None for x, here in zip(_listed(self.sums), self.present.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class AvgState(ValueState):
    """Exact sums and n int64[]; the average is sum / n, taken when read. n = 0 is absent."""

    sums: SumColumn
    n: IntArray

    def __len__(self) -> int:
        return len(self.n)

    @classmethod
    def from_values(cls, metric: Described, values: pl.Series | None, groups: Grouping) -> Self:
        found, codes = _numbers(metric, values, groups)
        return cls(SumColumn.from_values(found, codes, groups.n_groups), _counts(codes, groups.n_groups))

    def take(self, indices: IntArray) -> Self:
        return type(self)(self.sums.take(indices), self.n[indices])

    @staticmethod
    def concat(states: Sequence[State]) -> "AvgState":
        parts = _of(AvgState, states)
        return AvgState(SumColumn.concat([s.sums for s in parts]), np.concatenate([s.n for s in parts]))

    def reduce(self, groups: IntArray, n_groups: int) -> Self:
        return type(self)(self.sums.reduce(groups, n_groups), _added(self.n, groups, n_groups))

    @staticmethod
    def columns(metric: Described, prefix: str) -> dict[str, pl.DataType]:
        return {f"{prefix}.n": pl.Int64(), **SumState.columns(metric, prefix)}

    def to_columns(self, prefix: str) -> dict[str, Column]:
        counts = {f"{prefix}.n": pl.Series(f"{prefix}.n", self.n, dtype=pl.Int64)}
        return counts | SumState(self.sums, self.n > 0).to_columns(prefix)

    @classmethod
    def from_columns(cls, metric: Described, prefix: str, columns: Columns) -> Self:
        n, summed = _whole_counts(f"{prefix}.n", columns), SumState.from_columns(metric, prefix, columns)
        if np.any((n > 0) != summed.present):
            raise StateError(f"{prefix}: a count stands without a sum; drop the frame and send it again")
        return cls(summed.sums, n)

    def to_bodies(self) -> tuple[bytes, IntArray]:
        return state_bodies.encode("avg", self.sums.integer, self.n > 0, [self.n, self.sums.hi, self.sums.lo])

    @classmethod
    def from_bodies(cls, metric: Described, buffer: bytes | memoryview, lengths: IntArray) -> Self:
        floats = [False, not metric.integer, not metric.integer]
        present, (n, hi, lo) = state_bodies.decode("avg", metric.integer, floats, buffer, lengths)
        if np.any((n > 0) != present) or np.any(n < 0):
            raise StateError("avg: a body's count does not fit its flags; the bytes are damaged")
        return cls(_sums("avg", metric.integer, hi, lo), cast("IntArray", n))

    def answers(self) -> list[int | float | None]:
        return [x / n if n else None for x, n in zip(_listed(self.sums), self.n.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class _ExtremeState(ValueState):
    """values int64[] or float64[], never NaN; present bool[] marks the groups that had one, the others hold 0."""

    values: Values
    present: BoolArray

    kind: ClassVar[str]
    pick: ClassVar[np.ufunc]

    def __len__(self) -> int:
        return len(self.present)

    @classmethod
    def from_values(cls, metric: Described, values: pl.Series | None, groups: Grouping) -> Self:
        found, codes = _numbers(metric, values, groups)
        if found.dtype == np.float64:
            real = ~np.isnan(found)
            if not real.all():
                found, codes = found[real], codes[real]
            found = np.add(found, 0.0, dtype=np.float64)  # -0.0 becomes 0.0
        return cls._picked(found, codes, _with_values(codes, groups))

    @classmethod
    def _picked(cls, values: Values, codes: IntArray, present: BoolArray) -> Self:
        picked = np.full(len(present), _worst(cls.pick, values.dtype), values.dtype)
        cls.pick.at(picked, codes, values)
        return cls(np.where(present, picked, values.dtype.type(0)), present)

    def take(self, indices: IntArray) -> Self:
        return type(self)(self.values[indices], self.present[indices])

    def reduce(self, groups: IntArray, n_groups: int) -> Self:
        codes = groups[self.present]
        return self._picked(self.values[self.present], codes, _counts(codes, n_groups) > 0)

    @staticmethod
    def columns(metric: Described, prefix: str) -> dict[str, pl.DataType]:
        return {f"{prefix}.value": _dtype(metric)}

    def to_columns(self, prefix: str) -> dict[str, Column]:
        return {f"{prefix}.value": _nullable(f"{prefix}.value", self.values, self.present)}

    @classmethod
    def from_columns(cls, metric: Described, prefix: str, columns: Columns) -> Self:  # noqa: ARG003
        values, present = _filled(plain(columns, f"{prefix}.value"))
        return cls._checked(values, present)

    def to_bodies(self) -> tuple[bytes, IntArray]:
        return state_bodies.encode(self.kind, self.values.dtype == np.int64, self.present, [self.values])

    @classmethod
    def from_bodies(cls, metric: Described, buffer: bytes | memoryview, lengths: IntArray) -> Self:
        present, (values,) = state_bodies.decode(cls.kind, metric.integer, [not metric.integer], buffer, lengths)
        return cls._checked(values, present)

    @classmethod
    def _checked(cls, values: Values, present: BoolArray) -> Self:
        if values.dtype == np.float64 and np.any(np.isnan(values) | (np.signbit(values) & (values == 0))):
            raise StateError(f"{cls.kind}: a state holds NaN or -0.0, which is never written; the bytes are damaged")
        return cls(values, present)

    def answers(self) -> list[int | float | None]:
        return [x if here else None for x, here in zip(self.values.tolist(), self.present.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class MinState(_ExtremeState):
    """The smallest value."""

    kind: ClassVar[str] = "min"
    pick: ClassVar[np.ufunc] = np.minimum

    @staticmethod
    def concat(states: Sequence[State]) -> "MinState":
        return MinState(*_joined(_of(MinState, states)))


@dataclass(frozen=True, slots=True)
class MaxState(_ExtremeState):
    """The largest value."""

    kind: ClassVar[str] = "max"
    pick: ClassVar[np.ufunc] = np.maximum

    @staticmethod
    def concat(states: Sequence[State]) -> "MaxState":
        return MaxState(*_joined(_of(MaxState, states)))


def _of(kind: type[_S], states: Sequence[State]) -> list[_S]:
    found = [state for state in states if isinstance(state, kind)]
    if len(found) != len(states) or not found:
        seen = sorted({type(state).__name__ for state in states}) or "nothing"
        raise StateError(f"cannot put {seen} together as {kind.__name__}; states of one aggregate only, at least one")
    return found


def _joined(states: Sequence[_ExtremeState]) -> tuple[Values, BoolArray]:
    if len({state.values.dtype for state in states}) != 1:
        raise StateError("cannot put integer and float extremes together; they belong to different versions of a query")
    values = cast("Values", np.concatenate([s.values for s in states]))
    return values, np.concatenate([s.present for s in states])


def _worst(pick: np.ufunc, dtype: np.dtype[np.int64] | np.dtype[np.float64]) -> int | float:
    if dtype == np.float64:
        return float("inf") if pick is np.minimum else float("-inf")
    limits = np.iinfo(np.int64)
    return limits.max if pick is np.minimum else limits.min


def _present(values: pl.Series, codes: IntArray) -> tuple[pl.Series, IntArray]:
    if not values.null_count():
        return values, codes
    return values.drop_nulls(), codes[values.is_not_null().to_numpy()]


def _numbers(metric: Described, values: pl.Series | None, groups: Grouping) -> tuple[Values, IntArray]:
    if values is None:
        raise StateError("only count(*) has no column; the plan is damaged")
    found, codes = _present(values, groups.codes)
    wanted = np.int64 if metric.integer else np.float64
    return cast("Values", found.to_numpy().astype(wanted, copy=False)), codes


def _with_values(codes: IntArray, groups: Grouping) -> BoolArray:
    """Which groups have a value, given the codes of those; every group has a row, so mostly all have."""
    if len(codes) == len(groups.codes):
        return np.ones(groups.n_groups, np.bool_)
    return _counts(codes, groups.n_groups) > 0


def _counts(codes: IntArray, n_groups: int) -> IntArray:
    return np.bincount(codes, minlength=n_groups).astype(np.int64, copy=False)


def _added(counts: IntArray, groups: IntArray, n_groups: int) -> IntArray:
    total = np.zeros(n_groups, np.int64)
    np.add.at(total, groups, counts)
    return total


def _dtype(metric: Described) -> pl.DataType:
    return pl.Int64() if metric.integer else pl.Float64()


def _nullable(name: str, values: Values, present: BoolArray) -> pl.Series:
    column = pl.Series(name, values)
    if present.all():
        return column
    return pl.select(pl.when(pl.Series(present)).then(column).alias(name)).to_series()


def _filled(column: pl.Series) -> tuple[Values, BoolArray]:
    return column.fill_null(0).to_numpy(), column.is_not_null().to_numpy()


def _whole_counts(name: str, columns: Columns) -> IntArray:
    column = plain(columns, name)
    if column.null_count() or bool((column < 0).any()):
        raise StateError(f"{name}: a count is missing or negative; drop the frame and send it again")
    return column.to_numpy()


def _sums(name: str, integer: bool, hi: Values, lo: Values) -> SumColumn:
    if integer and np.any((lo < 0) | (lo > LOW_MASK)):
        raise StateError(f"{name}: low part of an integer sum outside 0..2**32-1; the bytes are damaged")
    if not integer and np.any(~np.isfinite(cast("FloatArray", hi)) & (lo != 0) | np.isnan(cast("FloatArray", lo))):
        raise StateError(f"{name}: a float sum that is not finite has a remainder; the bytes are damaged")
    try:
        return SumColumn(integer, hi, lo)
    except QuantilesError as error:
        raise StateError(f"{name}: {error}") from error


def _listed(sums: SumColumn) -> list[int] | list[float]:
    values = sums.values()
    return values if isinstance(values, list) else values.tolist()
