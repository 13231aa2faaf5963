"""Texts of a log as columns of the types that their stream declares, and its time column as times.

A value that does not fit its column, such as NaN, is NULL and counted: the record itself has happened. A dash and an
empty text are how logs write that there is no value, so they are NULL and not counted.
"""

from typing import Final

import numpy as np
import polars as pl

from agents.sources.logs_lines import Bools, Ints, records_of_texts
from agents.sources.logs_times import SECOND_NS, Zone, counted_times, iso8601_times
from pipeline.schema import COLUMN_TYPES, MAX_TIME_NS

_UNITS_NS: Final = {"s": SECOND_NS, "ms": 10**6, "us": 10**3, "ns": 1}
_BOOLEANS: Final = {"true": True, "false": False, "True": True, "False": False, "1": True, "0": False}


def typed(texts: pl.Series, kind: str) -> tuple[pl.Series, int]:
    """The column, and how many of its texts did not fit."""
    if kind == "string":
        return texts, 0
    if kind == "bool":
        column = texts.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
    else:
        column = texts.cast(COLUMN_TYPES[kind], strict=False)
        if kind == "float64" and not column.is_finite().all():  # one of them would make every sum of its window one
            column = pl.select(pl.when(column.is_finite()).then(column)).to_series()
    nulls = column.null_count() - texts.null_count()
    if nulls:
        nulls -= int(texts.is_in(["", "-"]).sum())
    return column, nulls


class TimeColumn:
    """Reads one column of times in one format: iso8601, s, ms, us, ns, or as strftime writes it."""

    def __init__(self, time_format: str, zone: Zone) -> None:
        self._format = time_format or "iso8601"
        self._zone = zone

    def read(self, texts: pl.Series) -> tuple[pl.Series, int]:
        """ns UTC, and how many texts are no such times; NULL there and where the text is NULL or empty."""
        there = texts.is_not_null() & (texts != "")
        given = texts.filter(there)
        if not given.len():
            return pl.Series([None] * texts.len(), dtype=pl.Int64), 0
        times, good = self._times(given)
        found = pl.Series(times)
        if not good.all():
            found = pl.select(pl.when(pl.Series(good)).then(found)).to_series()
        if given.len() < texts.len():
            all_of_them = pl.Series([None] * texts.len(), dtype=pl.Int64)
            found = all_of_them.scatter(there.arg_true(), found)
        return found, int((~good).sum())

    def _times(self, texts: pl.Series) -> tuple[Ints, Bools]:
        unit_ns = _UNITS_NS.get(self._format)
        if unit_ns is not None:
            return counted_times(records_of_texts(texts), unit_ns)
        if self._format == "iso8601":
            records = records_of_texts(texts)
            long_enough = records.ends - records.starts >= len("2026-11-22T10:00:00")
            times, good, after = iso8601_times(records, records.starts, self._zone)
            return times, good & long_enough & (after == records.ends)
        return self._formatted(texts)

    def _formatted(self, texts: pl.Series) -> tuple[Ints, Bools]:
        found = strptime(texts, self._format)
        good = found.is_not_null().to_numpy()
        zoned = isinstance(found.dtype, pl.Datetime) and found.dtype.time_zone is not None
        # In us, since Polars lets ns wrap around.
        micros = found.dt.epoch("us").fill_null(0).to_numpy()
        good = good & (np.abs(micros) < MAX_TIME_NS // 1000)
        micros = np.where(good, micros, 0)
        if not zoned:
            local_s = micros // 10**6
            micros = micros + (self._zone.utc_s(local_s) - local_s) * 10**6
        return micros * 1000, good


def strptime(texts: pl.Series, time_format: str) -> pl.Series:
    """Date-times, NULL where a text does not have the format."""
    return texts.str.to_datetime(time_format, strict=False, time_unit="us")
