"""The state of sketch(x): one quantile sketch per group, and its flat columns.

`gaps` and `counts` are lists: the first gap is the first cell (signed), each further one the distance to the next
cell; a sketch without values has empty lists. Small gaps pack well on the wire.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from pipeline.errors import StateError
from pipeline.grouping import Grouping
from pipeline.ragged import Column, Columns, Ragged, lists, plain
from pipeline.state import Described, FloatArray, IntArray, State
from quantiles.errors import CorruptSketchError
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn


@dataclass(frozen=True, slots=True)
class SketchState(State):
    """Sketches of the metric's scale. NaN is counted apart in each."""

    column: SketchColumn

    def __len__(self) -> int:
        return len(self.column)

    @classmethod
    def from_values(cls, metric: Described, values: pl.Series | None, groups: Grouping) -> Self:
        if values is None:
            raise StateError("only count(*) has no column; the plan is damaged")
        codes = groups.codes
        if values.null_count():
            codes, values = codes[values.is_not_null().to_numpy()], values.drop_nulls()
        numbers = values.to_numpy().astype(np.int64 if metric.integer else np.float64, copy=False)
        return cls(SketchColumn.from_values(numbers, codes, groups.n_groups, metric.scale))

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


def _nullable(values: FloatArray) -> pl.Series:
    """NULL for NaN."""
    series = pl.Series(values)
    return series.fill_nan(None) if np.isnan(values).any() else series


def _or_nan(column: pl.Series) -> FloatArray:
    return (column.fill_null(float("nan")) if column.null_count() else column).to_numpy()
