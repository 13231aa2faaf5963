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

    def to_columns(self, prefix: str) -> dict[str, pl.Series]:
        column = self.column
        firsts = column.offsets[:-1][np.diff(column.offsets) > 0]
        gaps = np.diff(column.cells, prepend=np.int32(0))
        gaps[firsts] = column.cells[firsts]
        columns = {
            f"{prefix}.gaps": _lists(f"{prefix}.gaps", gaps, column.offsets),
            f"{prefix}.counts": _lists(f"{prefix}.counts", column.counts, column.offsets),
        }
        parts = {"nan": column.nan_counts, "min": column.minima, "max": column.maxima}
        parts |= {"hi": column.sums.hi, "lo": column.sums.lo}
        for part, values in parts.items():
            columns[f"{prefix}.{part}"] = pl.Series(f"{prefix}.{part}", values)
        for part in ("min", "max"):
            columns[f"{prefix}.{part}"] = columns[f"{prefix}.{part}"].fill_nan(None)
        return columns

    @classmethod
    def from_columns(cls, metric: Described, prefix: str, frame: pl.DataFrame) -> Self:
        gaps, counts = frame[f"{prefix}.gaps"], frame[f"{prefix}.counts"]
        parts = [frame[f"{prefix}.{part}"] for part in ("nan", "hi", "lo")]
        if any(column.null_count() for column in (gaps, counts, *parts)):
            raise StateError(f"{prefix}: a part of a sketch is missing; drop the frame and send it again")
        lists = pl.DataFrame([gaps.alias("gaps"), counts.alias("counts")])  # two calls of Polars cost less than four
        lengths = lists.select(pl.all().list.len())
        sizes = lengths["gaps"].to_numpy().astype(np.int64)
        if np.any(sizes != lengths["counts"].to_numpy()):
            raise StateError(f"{prefix}: a sketch has not one count per cell; drop the frame and send it again")
        flat_gaps, flat_counts = lists.select(pl.all().explode(empty_as_null=False)).get_columns()
        if flat_gaps.null_count() or flat_counts.null_count():
            raise StateError(f"{prefix}: a cell of a sketch is NULL; drop the frame and send it again")
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        nan_counts, hi, lo = (column.to_numpy() for column in parts)
        minima, maxima = (_or_nan(frame[f"{prefix}.{part}"]) for part in ("min", "max"))
        try:
            column = SketchColumn.from_gaps(
                metric.scale, flat_gaps.to_numpy(), flat_counts.to_numpy(), offsets, nan_counts, minima, maxima,
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


def _lists(name: str, flat: np.ndarray[tuple[int], np.dtype[np.int32 | np.int64]], offsets: IntArray) -> pl.Series:
    """flat[offsets[i]:offsets[i+1]] as a list per i; slicing one long list costs a fortieth of a list per sketch."""
    if len(offsets) == 1:
        return pl.Series(name, [], dtype=pl.List(pl.Int32 if flat.dtype == np.int32 else pl.Int64))
    slices = pl.DataFrame({"start": offsets[:-1], "size": np.diff(offsets)})
    whole = pl.lit(pl.Series(name, flat).implode()).first()
    return slices.select(whole.list.slice("start", "size").alias(name)).to_series()


def _or_nan(column: pl.Series) -> FloatArray:
    return (column.fill_null(float("nan")) if column.null_count() else column).to_numpy()
