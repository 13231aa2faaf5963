"""Cells of a trace as numbers, names and times, or an error that names file, row and column."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import polars as pl

from analytics.errors import DataError

#: How programs write that there is nothing.
_NOTHING = ("", "none", "null", "nan", "na", "n/a", "nat", "unknown")

#: Sums of products of such numbers are still finite.
_LARGEST = 1e15
_MOST_COUNTED = 10**9
#: Times that nanoseconds since 1970 can count; others would wrap around without a word.
COUNTED_FROM_TO = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC))
_THIS_CENTURY_NS = (946_684_800 * 10**9, 4_102_444_800 * 10**9)


@dataclass(frozen=True, slots=True)
class Cells:
    """Text columns of some rows of a file.

    Attributes:
        first: the number of the first row, counted from 1, a header aside.
    """

    file: str
    first: int
    frame: pl.DataFrame

    def texts(self, name: str) -> pl.Series:
        """The column without blanks around; NULL where nothing is told."""
        column = self.frame[name].str.strip_chars()
        return column.set(column.str.to_lowercase().is_in(_NOTHING).fill_null(True), None)

    def names(self, name: str) -> pl.Series:
        """The same, where no cell may be empty."""
        column = self.texts(name)
        self._refuse_where(column.is_null(), name, "a name")
        return column

    def numbers(self, name: str, most: float = _LARGEST) -> pl.Series:
        """Float64, from 0 up to `most`; NULL where nothing is told."""
        plain = self.frame[name].cast(pl.Float64, strict=False)
        if plain.null_count() == self.frame[name].null_count() and (plain.is_between(0, most)).all():
            return plain  # as nearly always; what follows takes five times as long
        told = self.texts(name)
        numbers = told.cast(pl.Float64, strict=False)
        usable = numbers.is_between(0, most)
        self._refuse_where(told.is_not_null() & ~usable.fill_null(False), name, f"a number from 0 up to {most:g}")
        return numbers

    def whole_numbers(self, name: str, least: int = 0) -> pl.Series:
        """Int64 from `least` up to a thousand million; NULL where nothing is told. 8.0 is whole."""
        numbers = self.numbers(name)
        wrong = (numbers != numbers.floor()) | ~numbers.is_between(least, _MOST_COUNTED)
        self._refuse_where(wrong, name, f"a whole number from {least} up to {_MOST_COUNTED:,}")
        return numbers.cast(pl.Int64)

    def times_with_offset(self, name: str) -> pl.Series:
        """Int64 ns UTC of texts such as 2023-03-01 00:18:22+08:00; NULL where nothing is told."""
        distinct = self.frame[name].unique()
        if distinct.len() < self.frame.height // 4:  # samples of many machines at one time: each text is read once
            once = _times(distinct.str.strip_chars())
            times = self.frame[name].replace_strict(distinct, once, return_dtype=once.dtype)
        else:
            times = _times(self.frame[name].str.strip_chars())
        if times.null_count() == self.frame[name].null_count():
            return times.dt.epoch("ns").alias(name)
        told = self.texts(name)
        wanted = "a time with its offset, such as 2023-03-01 00:18:22+08:00,"
        self._refuse_where(told.is_not_null() & times.is_null(), name, wanted)
        return times.dt.epoch("ns").alias(name)

    def epoch_or_offset(self, name: str) -> pl.Series:
        """Int64 ns UTC of seconds since 1970, or of texts with an offset; NULL where nothing is told."""
        told = self.texts(name)
        seconds = told.cast(pl.Int64, strict=False)
        if seconds.null_count() == told.null_count() and seconds.is_between(0, 2**33).all():
            return seconds * 1_000_000_000
        return self.times_with_offset(name)

    def times(self, name: str) -> pl.Series:
        """Int64 ns UTC of texts with an offset, or of nanoseconds since 1970 that are of this century; NULL likewise.

        Seconds and milliseconds are refused: as nanoseconds they would all be of one day in 1970.
        """
        told = self.texts(name)
        counted = told.cast(pl.Int64, strict=False)
        counted = counted.set(~counted.is_between(*_THIS_CENTURY_NS).fill_null(False), None)
        if counted.null_count() == told.null_count():
            return counted
        texts = self.with_column(told.set(counted.is_not_null(), None)).times_with_offset(name)
        return counted.zip_with(counted.is_not_null(), texts)

    def times_ns(self, name: str) -> pl.Series:
        """Int64 ns UTC of whole numbers; NULL where nothing is told."""
        told = self.texts(name)
        times = told.cast(pl.Int64, strict=False)
        wrong = ~times.is_between(0, 2**62).fill_null(False)
        self._refuse_where(told.is_not_null() & wrong, name, "a time in nanoseconds since 1970 UTC")
        return times

    def shifted_seconds(self, name: str) -> pl.Series:
        """Int64 ns of seconds since some day; 0 and empty cells are how such tables leave a time out: NULL."""
        seconds = self.numbers(name)
        self._refuse_where(seconds >= 9e9, name, "seconds")
        return (seconds.set(seconds == 0, None) * 1e9).cast(pl.Int64)

    def one_of(self, name: str, meanings: dict[str, str]) -> pl.Series:
        """What each cell means; cells are compared without case.

        Raises:
            DataError: a cell that `meanings` does not have; also an empty one.
        """
        words = self.texts(name).str.to_lowercase()
        known = {word.lower(): meaning for word, meaning in meanings.items()}
        self._refuse_where(~words.is_in(list(known)).fill_null(False), name, f"one of {', '.join(meanings)}")
        return words.replace_strict(known, return_dtype=pl.String).alias(name)

    def with_column(self, column: pl.Series) -> "Cells":
        """The same rows with a column rewritten."""
        return Cells(self.file, self.first, self.frame.with_columns(column))

    def refuse(self, row: int, name: str, wanted: str) -> NoReturn:
        """Raise the error that names a cell; `row` is an index from 0."""
        seen = self.frame[name][row]
        shown = "nothing" if seen is None or not seen.strip() else repr(seen)[:80]
        raise DataError(
            f"{self.file}, row {self.first + row} (counted from 1, a header aside), column {name}: {shown}; "
            f"{wanted} is wanted"
        )

    def _refuse_where(self, wrong: pl.Series, name: str, wanted: str) -> None:
        wrong = wrong.fill_null(False)
        if wrong.any():
            self.refuse(int(wrong.arg_max() or 0), name, wanted)


def _times(texts: pl.Series) -> pl.Series:
    plain = texts.str.replace("T", " ", literal=True).str.replace("Z$", "+00:00")
    times = plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", strict=False, time_unit="us")
    within = times.is_between(*COUNTED_FROM_TO)
    return times.set(~within.fill_null(False), None).dt.cast_time_unit("ns")
