"""Columns of a table of requests as the analysis of tails takes them: units by their names, text to numbers.

A time whose name has no unit is refused, so that nobody takes milliseconds for seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.tail.samples import INSTANCE_COLUMN
from tailwatch.errors import RequestFileError

#: Microseconds per unit that may end a column's name.
UNITS: Final = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
_DURATIONS: Final = ("wait", "service", "predicted", "cpu", "raised")
_COUNTS: Final = (
    "degree", "degree_final", "in_system", "active_threads", "long_threads", "table_version", "explored", "weight",
)  # fmt: skip
_NAMES: Final = ("service", "instance", "host")
_UNITLESS: Final = {*_DURATIONS, "arrival", "service_time", "predicted_time", "cpu_time", "latency"} - {"service"}
_BOOLEANS: Final = {"true": "1", "True": "1", "false": "0", "False": "0"}
# What empty cells look like where a program wrote them.
_EMPTY: Final = ("", "NaN", "nan", "null", "None", "NA")


@dataclass(frozen=True, slots=True)
class Names:
    """Which column says what: arrival and durations by what they mean, and those that mean nothing here."""

    arrival: str | None
    durations: dict[str, str]
    ignored: tuple[str, ...]


def names_of(frame: pl.DataFrame, features: Sequence[str]) -> Names:
    """What the columns of a table are."""
    units = [*UNITS]
    durations = {name: column for name in _DURATIONS for unit in units if (column := f"{name}_{unit}") in frame.columns}
    arrivals = [name for name in ("ts", *(f"arrival_{unit}" for unit in units)) if name in frame.columns]
    known = {*durations.values(), *arrivals, *_COUNTS, *_NAMES, *features}
    return Names(
        arrivals[-1] if arrivals else None, durations, tuple(name for name in frame.columns if name not in known)
    )


def columns_of(frame: pl.DataFrame, features: Sequence[str], path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Arrays for `take_samples`, and those of features as `feature NAME`; float64 but for arrival_ns, an int64.

    Args:
        frame: rows as a file has them; the column `instance`, where it is there, holds numbers.
    Raises:
        RequestFileError: a column is missing, has no unit or two, or holds text where a number is wanted.
    """
    _refuse_names(frame, features, path)
    names = names_of(frame, features)
    if names.arrival is None or "service" not in names.durations:
        lacks = (
            "a time of arrival, such as arrival_ns" if names.arrival is None else "service times, such as service_ms"
        )
        raise RequestFileError(f"{path} has the columns {', '.join(frame.columns)}; it lacks {lacks}")
    found: dict[str, npt.NDArray[np.generic]] = {"arrival_ns": _arrivals(frame, names.arrival, path)}
    for name, column in names.durations.items():
        found[f"{name}_us"] = _numbers(frame, column, path) * UNITS[column.rpartition("_")[2]]
    found |= {name: _numbers(frame, name, path) for name in _COUNTS if name in frame.columns}
    if "weight" in found:
        found["weight"] = np.nan_to_num(found["weight"].astype(np.float64), nan=1.0)
    if INSTANCE_COLUMN in frame.columns:
        found[INSTANCE_COLUMN] = frame[INSTANCE_COLUMN].to_numpy()
    return found | {f"feature {name}": _numbers(frame, name, path) for name in features}


def _refuse_names(frame: pl.DataFrame, features: Sequence[str], path: Path) -> None:
    unitless = [name for name in frame.columns if name in _UNITLESS and name not in features]
    if unitless:
        raise RequestFileError(
            f"{path}: column {unitless[0]} has no unit in its name; want {unitless[0]}_us or {unitless[0]}_ms"
        )
    for name in ("arrival", *_DURATIONS):
        given = [column for unit in UNITS if (column := f"{name}_{unit}") in frame.columns]
        if len(given) > 1:
            raise RequestFileError(
                f"{path}: columns {' and '.join(given)} say the same in two units; leave one of them"
            )
    if missing := [name for name in features if name not in frame.columns]:
        raise RequestFileError(f"{path} has the columns {', '.join(frame.columns)}; it lacks the feature {missing[0]}")


def _arrivals(frame: pl.DataFrame, column: str, path: Path) -> npt.NDArray[np.int64]:
    """Since 1970 UTC; 0 where there is none, which take_samples leaves out."""
    values = frame[column]
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.timestamp("ns").fill_null(0).to_numpy()
    if column in ("ts", "arrival_ns"):  # a float has not the digits of nanoseconds since 1970
        whole = values if values.dtype.is_integer() else _cast(values, pl.Int64(), column, path)
        return whole.cast(pl.Int64).fill_null(0).to_numpy()
    told = _numbers(frame, column, path) * UNITS[column.rpartition("_")[2]]
    usual = np.isfinite(told) & (told > 0) & (told < 9e15)  # beyond lies no time that nanoseconds can tell
    return np.rint(np.where(usual, told, 0.0)).astype(np.int64) * 1_000


def _numbers(frame: pl.DataFrame, column: str, path: Path) -> npt.NDArray[np.float64]:
    """float64; NaN where a cell is empty."""
    values = frame[column]
    if values.dtype == pl.Boolean:
        values = values.cast(pl.Int64)
    return _cast(values, pl.Float64(), column, path).fill_null(np.nan).to_numpy()


def _cast(values: pl.Series, kind: pl.DataType, column: str, path: Path) -> pl.Series:
    if values.dtype == pl.String:
        values = values.str.strip_chars().replace(_BOOLEANS)
        values = values.set(values.is_in(_EMPTY), None)
    made = values.cast(kind, strict=False)
    if made.null_count() > values.null_count():
        wrong = values.filter(made.is_null() & values.is_not_null())
        raise RequestFileError(
            f"{path}: column {column} holds {str(wrong[0])[:60]!r} ({wrong.len():,} such cells in a piece); want "
            f"{'whole numbers' if kind.is_integer() else 'numbers'}"
        )
    return made
