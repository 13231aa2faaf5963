"""Which row of a drive lies how many days back: the arithmetic under all features that look into the past.

Rows are drive-days in order of drive and day. One integer names a row: drive number * stride + day. The stride is
longer than the whole span of days and every look back, so "at most w days before" is a comparison of two integers that
can never mistake another drive's row for this drive's. Windows go by date and never by row count: gaps and weekly
snapshots need no special case. Nothing further back than LOOKBACK_D is ever looked at.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: The longest window of a feature.
WINDOW_D: Final = 30
#: The value "w days ago" is the newest at or before that day, if it is not older than this many days more.
TOLERANCE_D: Final = 14
#: What lies further back than this never matters to any feature.
LOOKBACK_D: Final = WINDOW_D + TOLERANCE_D

_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows of some drives.

    Attributes:
        keys: int64[rows], strictly ascending.
        numbers: int64[rows], the drive of each row, from 0.
        days: int64[rows], days since 1970.
    """

    keys: Int64Array
    numbers: Int64Array
    days: Int64Array

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Timeline":
        """Of drive-days that are in order and have each drive and day once."""
        drive = frame["drive"]
        days = frame["day"].cast(pl.Int64).to_numpy()
        if not days.size:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), days)
        numbers = drive.rle_id().cast(pl.Int64).to_numpy()
        first = int(days.min())
        stride = int(days.max()) - first + 2 * LOOKBACK_D + 1
        return cls(numbers * stride + (days - first), numbers, days)

    def within(self, first_day: date | None, last_day: date | None) -> Int64Array:
        """Rows from the one day to the other, both included, as indices in order."""
        first = -(10**9) if first_day is None else first_day.toordinal() - _EPOCH
        last = 10**9 if last_day is None else last_day.toordinal() - _EPOCH
        if first_day is None and last_day is None:
            return np.arange(self.keys.size)
        return np.flatnonzero((self.days >= first) & (self.days <= last))

    def at_or_before(self, rows: Int64Array, days: int) -> Int64Array:
        """For each row the newest one that is `days` or more days older; maybe of another drive: compare keys."""
        # Queries in order stay in the cache: 28 ns a row, where an as-of join of frames takes 150 and more.
        return np.maximum(np.searchsorted(self.keys, self.keys[rows] - days, side="right") - 1, 0)

    def at_or_after(self, rows: Int64Array, days: int) -> Int64Array:
        """For each row the oldest one of its drive that is at most `days` days older; the row itself at the least."""
        return np.searchsorted(self.keys, self.keys[rows] - days, side="left")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of all rows as integers.

    Attributes:
        values: int64[rows]; 0 where unknown.
        known: bool[rows], or None where all are known.
        newest: int64[rows], the newest row up to this one whose value is known (maybe of another drive); None as above.
        following: int64[rows], the oldest row from this one on whose value is known; likewise.
    """

    values: Int64Array
    known: BoolArray | None
    newest: Int64Array | None
    following: Int64Array | None

    @classmethod
    def of(cls, series: pl.Series) -> "Column | None":
        """None where nothing at all is known."""
        missing = series.null_count()
        if missing == series.len():
            return None
        if not missing:
            return cls(series.to_numpy(), None, None, None)
        known = series.is_not_null().to_numpy()
        places = np.arange(known.size)
        newest = np.maximum.accumulate(np.where(known, places, 0))
        following = np.minimum.accumulate(np.where(known, places, known.size - 1)[::-1])[::-1]
        return cls(series.fill_null(0).to_numpy(), known, newest, following)


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows that features are wanted of, few enough for their arrays to stay in the processor's cache.

    Attributes:
        rows: int64[n], ascending indices into the timeline.
        back: for each of a few spans in days, the row at or before.
        since: int64[n], the oldest row at most WINDOW_D days older.
        month: int64[n], the oldest row of the last WINDOW_D days, this day included: one day less.
        oldest: int64[n], the oldest row within the lookback.
    """

    timeline: Timeline
    rows: Int64Array
    back: dict[int, Int64Array]
    since: Int64Array
    month: Int64Array
    oldest: Int64Array

    @classmethod
    def of(cls, timeline: Timeline, rows: Int64Array, spans: tuple[int, ...]) -> "Block":
        """With the rows of these spans looked up once for all columns."""
        back = {span: timeline.at_or_before(rows, span) for span in spans}
        since, month, oldest = (timeline.at_or_after(rows, span) for span in (WINDOW_D, WINDOW_D - 1, LOOKBACK_D))
        return cls(timeline, rows, back, since, month, oldest)

    def now(self, column: Column) -> tuple[Int64Array, BoolArray | None]:
        """The values of these rows, and which are known (None: all)."""
        return column.values[self.rows], None if column.known is None else column.known[self.rows]

    def before(self, column: Column, span: int) -> tuple[Int64Array, BoolArray]:
        """For each row where the value of `span` days ago stands, and whether it and the row's own are known."""
        found = self.back[span]
        if column.newest is not None:
            found = column.newest[found]
        keys = self.timeline.keys
        wanted = keys[self.rows] - span
        there = (keys[found] <= wanted) & (keys[found] >= wanted - TOLERANCE_D)
        if column.known is not None:
            there &= column.known[found] & column.known[self.rows]
        return found, there

    def first_known(self, column: Column, least_d: int = 1) -> tuple[Int64Array, BoolArray]:
        """For each row the oldest known one at most WINDOW_D days older; whether it is `least_d` older or more."""
        found = self.since if column.following is None else column.following[self.since]
        there = self.timeline.keys[self.rows] - self.timeline.keys[found] >= least_d
        if column.known is not None:
            there &= column.known[self.rows]
        return found, there


def run_codes(texts: pl.Series) -> tuple[Int64Array, list[str]]:
    """A number for each text, and the texts in the order of their numbers, ascending; -1 for NULL.

    Cost: that of finding runs of the same text; drives keep their node and model over all their days.
    """
    runs = texts.rle().struct.unnest()
    names = runs["value"].unique().drop_nulls().sort()
    numbers = runs["value"].replace_strict(names, range(names.len()), default=-1, return_dtype=pl.Int64)
    return np.repeat(numbers.to_numpy(), runs["len"].to_numpy()), names.to_list()


def window_max(values: Int64Array, first: Int64Array, last: Int64Array) -> Int64Array:
    """Maximum of values[first .. last], both included, for each pair; at most WINDOW_D places apart.

    Cost: log2(WINDOW_D) passes; each window is the union of two whose length is a power of two.
    """
    length = last - first + 1
    result = np.empty(length.size, np.int64)
    power, width = values, 1
    while True:
        mine = np.flatnonzero((length >= width) & (length < 2 * width))
        if mine.size:
            result[mine] = np.maximum(power[last[mine]], power[first[mine] + width - 1])
        if width * 2 > WINDOW_D:
            return result
        # power[i] is the maximum of the `width` places that end at i; the first ones are never asked for.
        doubled = power.copy()
        np.maximum(power[width:], power[:-width], out=doubled[width:])
        power, width = doubled, width * 2
