"""The state of sketch(x): one quantile sketch per group, and its flat columns.

`gaps` and `counts` are lists: the first gap is the first cell (signed), each further one the distance to the next
cell; a sketch without values has empty lists. Small gaps pack well on the wire.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl

from pipeline.errors import StateError
from pipeline.grouping import Grouping
from pipeline.ragged import Column, Columns, Ragged, lists, plain
from pipeline.sketch_cells import bytes_of
from pipeline.state import Described, FloatArray, IntArray, State, ValueState
from quantiles.array_types import SampleArray
from quantiles.errors import CorruptSketchError
from quantiles.exact_sums import SumColumn
from quantiles.merged_dense import merge_dense
from quantiles.sketch_column import SketchColumn

# What is said to stand for more says nothing; and so no number of records adds up to more than a sketch can count.
MAX_WEIGHT: Final = 2**32


@dataclass(frozen=True, slots=True)
class SketchState(ValueState):
    """Sketches of the metric's scale. NaN is counted apart in each."""

    column: SketchColumn

    def __len__(self) -> int:
        return len(self.column)

    @classmethod
    def from_values(cls, metric: Described, values: pl.Series | None, groups: Grouping) -> Self:
        if values is None:
            raise StateError("only count(*) has no column; the plan is damaged")
        if values.dtype == pl.Binary:
            return cls.from_cells(metric, values, groups)
        codes = groups.codes
        if values.null_count():
            codes, values = codes[values.is_not_null().to_numpy()], values.drop_nulls()
        return cls(SketchColumn.from_values(_numbers(metric, values), codes, groups.n_groups, metric.scale))

    @classmethod
    def from_cells(cls, metric: Described, cells: pl.Series, groups: Grouping) -> Self:
        """One sketch per group from one sketch per row, as sketch_cells.py writes them; NULLs are skipped.

        Raises:
            StateError: something else is among them.
        """
        codes = groups.codes
        if cells.null_count():
            codes, cells = codes[cells.is_not_null().to_numpy()], cells.drop_nulls()
        try:
            return cls(merge_dense(*bytes_of(cells), codes, groups.n_groups, metric.scale))
        except CorruptSketchError as error:
            raise StateError(f"column {cells.name!r} of sketches: {error}") from error

    @classmethod
    def from_weighted(cls, metric: Described, values: pl.Series, weights: pl.Series, groups: Grouping) -> Self:
        """As `from_values`; value i counts weights[i] times, and not at all unless that is in 1..MAX_WEIGHT."""
        counted = (values.is_not_null() & weights.is_between(1, MAX_WEIGHT)).fill_null(value=False)
        codes, times = groups.codes, weights
        if not counted.all():
            codes, values, times = codes[counted.to_numpy()], values.filter(counted), weights.filter(counted)
        if times.len() and times.max() == 1:  # nothing was sampled: the faster way to the same
            return cls.from_values(metric, values, Grouping(codes, groups.firsts))
        numbers = _numbers(metric, values)
        return cls(SketchColumn.from_values(numbers, codes, groups.n_groups, metric.scale, times.to_numpy()))

    def take(self, indices: IntArray) -> Self:
        return type(self)(self.column.take(indices))

    @staticmethod
    def concat(states: Sequence[State]) -> "SketchState":
        columns = [state.column for state in states if isinstance(state, SketchState)]
        if len(columns) != len(states):
            raise StateError("cannot put sketches and other states together; states of one aggregate only")
        return SketchState(SketchColumn.concat(columns))

    def reduce(self, groups: IntArray, n_groups: int) -> Self:
        return type(self)(self.column.reduce(groups, n_groups))

    @staticmethod
    def columns(metric: Described, prefix: str) -> dict[str, pl.DataType]:
        number = pl.Int64() if metric.integer else pl.Float64()
        return {
            f"{prefix}.gaps": pl.List(pl.Int32()),
            f"{prefix}.counts": pl.List(pl.Int64()),
            f"{prefix}.nan": pl.Int64(),
            f"{prefix}.min": pl.Float64(),
            f"{prefix}.max": pl.Float64(),
            f"{prefix}.hi": number,
            f"{prefix}.lo": number,
        }

    def to_columns(self, prefix: str) -> dict[str, Column]:
        column = self.column
        sizes = np.diff(column.offsets)
        firsts = column.offsets[:-1][sizes > 0]
        gaps = np.diff(column.cells, prepend=np.int32(0))
        gaps[firsts] = column.cells[firsts]
        columns: dict[str, Column] = {
            f"{prefix}.gaps": Ragged(sizes, gaps),
            f"{prefix}.counts": Ragged(sizes, column.counts),
        }
        parts = {
            "nan": pl.Series(column.nan_counts),
            "min": _nullable(column.minima),
            "max": _nullable(column.maxima),
            "hi": pl.Series(column.sums.hi),
            "lo": pl.Series(column.sums.lo),
        }
        return columns | {f"{prefix}.{part}": values.alias(f"{prefix}.{part}") for part, values in parts.items()}

    @classmethod
    def from_columns(cls, metric: Described, prefix: str, columns: Columns) -> Self:
        gaps, counts = lists(columns, f"{prefix}.gaps"), lists(columns, f"{prefix}.counts")
        parts = [plain(columns, f"{prefix}.{part}") for part in ("nan", "hi", "lo")]
        if any(column.null_count() for column in parts):
            raise StateError(f"{prefix}: a part of a sketch is missing; drop the frame and send it again")
        if not np.array_equal(gaps.lengths, counts.lengths):
            raise StateError(f"{prefix}: a sketch has not one count per cell; drop the frame and send it again")
        nan_counts, hi, lo = (column.to_numpy() for column in parts)
        minima, maxima = (_or_nan(plain(columns, f"{prefix}.{part}")) for part in ("min", "max"))
        try:
            column = SketchColumn.from_gaps(
                metric.scale, gaps.wide, counts.wide, gaps.offsets, nan_counts, minima, maxima,
                SumColumn(metric.integer, hi, lo),
            )  # fmt: skip
        except CorruptSketchError as error:
            raise StateError(f"{prefix}: {error}") from error
        return cls(column)

    def to_bodies(self) -> tuple[bytes, IntArray]:
        return self.column.to_bodies()

    @classmethod
    def from_bodies(cls, metric: Described, buffer: bytes | memoryview, lengths: IntArray) -> Self:
        try:
            return cls(SketchColumn.from_bodies(buffer, lengths, metric.scale, metric.integer))
        except CorruptSketchError as error:
            raise StateError(f"sketch: {error}") from error

    def answers(self) -> list[int | float | None]:
        return list(self.column.totals().tolist())


def _numbers(metric: Described, values: pl.Series) -> SampleArray:
    if metric.integer:
        return values.to_numpy().astype(np.int64, copy=False)
    return values.to_numpy().astype(np.float64, copy=False)


def _nullable(values: FloatArray) -> pl.Series:
    """NULL for NaN."""
    series = pl.Series(values)
    return series.fill_nan(None) if np.isnan(values).any() else series


def _or_nan(column: pl.Series) -> FloatArray:
    return (column.fill_null(float("nan")) if column.null_count() else column).to_numpy()
