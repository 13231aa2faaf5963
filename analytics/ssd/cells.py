"""Columns of tables from outside as the types that drive-days have, or an error that names the column and the row.

Rows are counted from 1, a header aside. What stands for "no value" in files (an empty cell, NaN) is NULL; what is no
value of the column's kind at all (a word where a number belongs, half an error) is refused, never guessed.
"""

from typing import Final, NoReturn

import polars as pl

from analytics.errors import DataError

_LARGEST: Final = 2**63
_NS_PER_DAY: Final = 86_400_000_000_000


def whole_numbers(column: pl.Series) -> pl.Series:
    """The column as Int64; NULL where a cell is empty or NaN.

    Raises:
        DataError: a cell holds no whole number, or one beyond 64 bits, or the column's type is no number at all.
    """
    kind = column.dtype
    if kind == pl.Int64:
        return column
    if kind == pl.Null:
        return column.cast(pl.Int64)
    if kind == pl.Boolean or kind.is_integer():
        cast = column.cast(pl.Int64, strict=False)
        return _all_kept(column, cast, "a whole number that fits into 64 bits")
    if kind.is_float():
        numbers = column.cast(pl.Float64).fill_nan(None)
        whole = (numbers == numbers.floor()) & (numbers.abs() < _LARGEST)
        _refuse_where(~whole, column, "a whole number")
        return numbers.cast(pl.Int64)
    if kind == pl.String:
        return _numbers_from_text(column)
    if kind.is_decimal():
        return whole_numbers(column.cast(pl.Float64).alias(column.name))
    raise DataError(f"column {column.name} has type {kind}; whole numbers are wanted")


def flags(column: pl.Series) -> pl.Series:
    """The column as Boolean: 0 and 1, or true and false in words; an empty cell is false: flags say what is odd.

    Raises:
        DataError: a cell holds something else.
    """
    if column.dtype == pl.Boolean:
        return column.fill_null(False)
    if column.dtype == pl.String:
        numbers = texts(column).str.to_lowercase().replace({"true": "1", "false": "0"}).cast(pl.Int64, strict=False)
        _refuse_where(numbers.is_null() & texts(column).is_not_null(), column, "true or false")
    else:
        numbers = whole_numbers(column)
    _refuse_where(~numbers.is_in([0, 1]), column, "true or false")
    return (numbers == 1).fill_null(False)


def names(column: pl.Series) -> pl.Series:
    """The column as text of which no cell is empty: names of drives.

    Raises:
        DataError: a cell is empty.
    """
    named = texts(column)
    _refuse_where(named.is_null(), named, "the name of a drive")
    return named


def texts(column: pl.Series) -> pl.Series:
    """The column as text without blanks around it; NULL where nothing is left.

    Raises:
        DataError: the column's type has no plain text form.
    """
    kind = column.dtype
    if kind != pl.String:
        if not (kind.is_integer() or kind in (pl.Null, pl.Categorical, pl.Enum)):
            raise DataError(f"column {column.name} has type {kind}; text is wanted")
        column = column.cast(pl.String)
    stripped = column.str.strip_chars()
    return stripped.set(stripped == "", None)


def utc_days(column: pl.Series) -> pl.Series:
    """The column as Date: dates, times (of which the UTC day counts), or text such as 2026-11-23.

    Raises:
        DataError: a cell is empty or no date.
    """
    kind = column.dtype
    if kind in (pl.Date, pl.Null):
        dates = column.cast(pl.Date)
    elif isinstance(kind, pl.Datetime):
        utc = column if kind.time_zone is None else column.dt.convert_time_zone("UTC")
        dates = utc.dt.date()
    elif kind == pl.String:
        # A time after the date is let stand: exports of databases have one.
        dates = column.str.strip_chars().str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    else:
        raise DataError(f"column {column.name} has type {kind}; dates such as 2026-11-23 are wanted")
    _refuse_where(dates.is_null(), column, "a date such as 2026-11-23")
    return dates.alias(column.name)


def times_ns(column: pl.Series) -> pl.Series:
    """The column as Int64 nanoseconds since 1970 UTC.

    Raises:
        DataError: a cell is empty or no time.
    """
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        utc = column if kind.time_zone is None else column.dt.convert_time_zone("UTC")
        times = utc.dt.epoch("ns")
    else:
        times = whole_numbers(column)
    _refuse_where(times.is_null(), column, "a time in nanoseconds since 1970 UTC")
    return times


def days_of_ns(times: pl.Series) -> pl.Series:
    """The UTC day of each time, as Date; times before 1970 count down."""
    return (times // _NS_PER_DAY).cast(pl.Int32).cast(pl.Date)


def refuse_row(column: pl.Series, row: int, wanted: str) -> NoReturn:
    """Raise the error that names a cell; `row` is an index from 0."""
    seen = column[row]
    shown = "nothing" if seen is None else repr(seen)[:80]
    raise DataError(
        f"column {column.name}, row {row + 1} (counted from 1, a header aside): {shown}; {wanted} is wanted"
    )


def _numbers_from_text(column: pl.Series) -> pl.Series:
    text = texts(column)
    missing = text.is_null() | (text.str.to_lowercase() == "nan").fill_null(False)  # what pandas writes
    numbers = text.cast(pl.Int64, strict=False)
    if int((numbers.is_null() & ~missing).sum()) == 0:
        return numbers
    as_float = text.cast(pl.Float64, strict=False)  # 8.0 and 1e9, as spreadsheets write
    whole = ((as_float == as_float.floor()) & (as_float.abs() < _LARGEST)).fill_null(False)
    _refuse_where(numbers.is_null() & ~missing & ~whole, column, "a whole number")
    return numbers.zip_with(numbers.is_not_null() | ~whole, as_float.set(~whole, None).cast(pl.Int64))


def _all_kept(column: pl.Series, cast: pl.Series, wanted: str) -> pl.Series:
    _refuse_where(cast.is_null() & column.is_not_null(), column, wanted)
    return cast


def _refuse_where(wrong: pl.Series, column: pl.Series, wanted: str) -> None:
    first = wrong.fill_null(False).arg_max() if wrong.len() else None
    if first is not None and wrong[first]:
        refuse_row(column, first, wanted)
