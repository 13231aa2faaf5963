"""From a frame of features to the numbers that a booster reads: float32, one row a drive-day, unknown as NaN.

Texts become codes of a vocabulary that is kept in the model's file. What the training never saw is unknown, never the
code of something else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import DataError
from analytics.ssd.verdicts import Float32Array

#: Texts that features are told of a drive; never its serial number or host.
CATEGORIES = ("kind", "vendor", "model")
#: Most values of one text; the rarest beyond are unknown.
MOST_VALUES = 500

Vocabulary = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which columns a matrix has: the features, then the codes of the categories."""

    features: tuple[str, ...]
    vocabulary: Vocabulary

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the matrix' columns."""
        return (*self.features, *CATEGORIES)


def vocabulary_of(frame: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """The values of each category, the most frequent first, ties by name."""
    found = {}
    for name in CATEGORIES:
        if name not in frame.columns:
            raise DataError(f"features without the column {name!r}; want {', '.join(CATEGORIES)} beside the features")
        counts = frame[name].drop_nulls().value_counts().sort(["count", name], descending=[True, False])
        found[name] = tuple(counts[name].head(MOST_VALUES).to_list())
    return found


def encode(frame: pl.DataFrame, encoding: Encoding, columns: npt.NDArray[np.int32] | None = None) -> Float32Array:
    """float32[rows, columns], contiguous by row, a fresh array.

    Args:
        columns: which of the encoding's columns, ascending; by default all.
    Raises:
        DataError: a column is missing or holds no numbers.
    """
    names = encoding.columns if columns is None else tuple(encoding.columns[i] for i in columns)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(f"features without {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}")
    chosen = [_code(name, encoding.vocabulary[name]) if name in CATEGORIES else _number(frame, name) for name in names]
    return np.ascontiguousarray(frame.select(chosen).to_numpy(order="c"), dtype=np.float32)


def _number(frame: pl.DataFrame, name: str) -> pl.Expr:
    if not frame.schema[name].is_numeric():
        raise DataError(f"feature {name!r} is {frame.schema[name]}; want numbers")
    return pl.col(name).cast(pl.Float32)


def _code(name: str, values: Sequence[str]) -> pl.Expr:
    if not values:
        return pl.lit(None, pl.Float32).alias(name)
    return pl.col(name).cast(pl.Enum(list(values)), strict=False).to_physical().cast(pl.Float32).alias(name)
