"""Patterns over text: a regular expression with named groups, key=value pairs, and whole lines."""

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from agents.sources.logs_columns import TimeColumn, typed
from agents.sources.logs_lines import Records
from agents.sources.logs_pattern import Parsed
from pipeline.schema import TIME_COLUMN

# What a line was before it was written over, and the first sign of what it is then: a progress bar's last state.
_WRITTEN_OVER = r"(?m)^[^\n]*\r([^\r\n])"
# A key as a pair begins with it. What a column's name cannot hold stands as _ there.
_PAIR = r"(?:^|[\s,;{(\[])[A-Za-z_][A-Za-z0-9_.\-/]*="


class RegexPattern:
    """Each named group is the column of that name."""

    def __init__(self, regex: str, columns: Mapping[str, str], time_column: str, time: TimeColumn) -> None:
        """`columns` are the wanted groups with their types; `time_column` a group, or ""."""
        self._regex = regex
        self._columns = columns
        self._time_column = time_column
        self._time = time

    def parse(self, records: Records, now_ns: int) -> Parsed:
        """Records in which the expression is not found are left out."""
        del now_ns
        texts = records.texts
        groups = texts.str.extract_groups(self._regex).struct.unnest()
        nothing = groups.select(pl.all_horizontal(pl.all().is_null())).to_series()
        if nothing.any():
            # Groups may all be optional: then only the expression itself tells.
            nothing &= ~texts.str.contains(self._regex)
            groups = groups.filter(~nothing)
        time = groups[self._time_column] if self._time_column else None
        wanted = {name: groups[name] for name in self._columns}
        rows, bad = typed_rows(wanted, self._columns, time, self._time, groups.height)
        return Parsed(rows, ~nothing.to_numpy(), bad)


class TextPattern:
    """The column `text`: each record as it stands, of a line that was written over as a terminal shows it."""

    def parse(self, records: Records, now_ns: int) -> Parsed:
        """Every record fits."""
        del now_ns
        texts = records.texts
        if b"\r" in records.data:
            texts = texts.str.replace_all(_WRITTEN_OVER, "$1")
        times = pl.Series(TIME_COLUMN, [None] * len(records), dtype=pl.Int64)
        return Parsed(pl.DataFrame([times, texts.alias("text")]), np.ones(len(records), np.bool_))


class KeyValuePattern:
    """Pairs such as `status=200 path="/a b"`: each key is the column of that name."""

    def __init__(self, columns: Mapping[str, str], time_column: str, time: TimeColumn) -> None:
        """`columns` are the wanted keys with their types; `time_column` is a key, or ""."""
        self._columns = columns
        self._time_column = time_column
        self._time = time
        names = [*columns, *([time_column] if time_column else [])]
        self._pairs = {name: _pair_of(name) for name in names}

    def parse(self, records: Records, now_ns: int) -> Parsed:
        """Records without any pair are left out; a key that a record does not have is NULL there."""
        del now_ns
        texts = records.texts
        fitting = texts.str.contains(_PAIR)
        if not fitting.all():
            texts = texts.filter(fitting)
        values = {name: _value(texts, pair) for name, pair in self._pairs.items()}
        time = values[self._time_column] if self._time_column else None
        wanted = {name: values[name] for name in self._columns}
        rows, bad = typed_rows(wanted, self._columns, time, self._time, texts.len())
        return Parsed(rows, fitting.to_numpy(), bad)


def typed_rows(
    values: Mapping[str, pl.Series], kinds: Mapping[str, str], time: pl.Series | None, reader: TimeColumn, height: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Texts as typed columns behind the time, and by column how many values did not fit."""
    bad: dict[str, int] = {}
    times = pl.Series([None] * height, dtype=pl.Int64)
    if time is not None:
        times, bad[TIME_COLUMN] = reader.read(time)
    columns = [times.alias(TIME_COLUMN)]
    for name, texts in values.items():
        column, bad[name] = typed(texts, kinds[name])
        columns.append(column.alias(name))
    return pl.DataFrame(columns), bad


def _pair_of(name: str) -> str:
    """Group 1 is a value in quotes, group 2 one without; `_` in the name stands for any sign a key may have."""
    key = "[_./-]".join(re.escape(part) for part in name.split("_"))
    return rf'(?:^|[\s,;{{(\[]){key}=(?:"((?:[^"\\]|\\.)*)"|([^\s,;"}})\]]*))'


def _value(texts: pl.Series, pair: str) -> pl.Series:
    found = texts.str.extract_groups(pair).struct.unnest()
    quoted, plain = found.to_series(0), found.to_series(1)
    if quoted.null_count() == texts.len():
        return plain
    unescaped = quoted.str.replace_all(r'\\(["\\])', "$1")
    return pl.select(pl.coalesce(unescaped, plain)).to_series()
