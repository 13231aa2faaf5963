"""Which rows of drive-days teach something, and what: whether the drive failed within the horizon after that day.

A row of day d is positive for horizon H where its drive failed on a day in (d, d+H]: what is known at the end of d
foretells the H days after it. Rows from the day of the failure on are no examples any more. Rows whose H days are not
over when the data end are *censored*: nobody knows yet, so they are left out, except where the drive failed already.
A drive that leaves the data without a failure counts as not failed: the list of failures is the authority, and drives
leave for many reasons.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import DataError

Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

#: Day of a failure that is not known of: later than any.
NEVER = np.int32(2**31 - 1)


@dataclass(frozen=True, slots=True)
class Labels:
    """What becomes of the drive of each row, in the order of the rows.

    Attributes:
        day: int32[rows], days since 1970-01-01.
        failed_on: int32[rows], the day of the drive's first failure, NEVER where it has none.
        horizon_d: H. last_day: the last day of which failures are known.
    """

    day: Int32Array
    failed_on: Int32Array
    horizon_d: int
    last_day: int

    @property
    def positive(self) -> BoolArray:
        """bool[rows]: the drive fails within H days after the row's day."""
        ahead = self.failed_on.astype(np.int64) - self.day
        return (ahead > 0) & (ahead <= self.horizon_d)

    @property
    def after_failure(self) -> BoolArray:
        """bool[rows]: of the day of the failure, or later."""
        return np.asarray(self.day >= self.failed_on)

    @property
    def censored(self) -> BoolArray:
        """bool[rows]: the H days are not over, and the drive has not failed in what there is of them."""
        return (self.day.astype(np.int64) + self.horizon_d > self.last_day) & ~self.positive & ~self.after_failure

    @property
    def usable(self) -> BoolArray:
        """bool[rows]: neither censored nor after the failure."""
        return ~(self.after_failure | self.censored)


def labels(rows: pl.DataFrame, failures: pl.DataFrame, horizon_d: int, last_day: int | None = None) -> Labels:
    """Labels of drive-days.

    Args:
        rows: columns `drive` and `day`, in any order.
        failures: columns.FAILURES; of several failures of one drive the first counts.
        last_day: days since 1970-01-01; by default the newest day of `rows`.
    Raises:
        DataError: a column is missing, or of another type.
    """
    _check(rows, "rows")
    _check(failures, "failures")
    if horizon_d < 1:
        raise DataError(f"a horizon of {horizon_d} days foretells nothing; want 1 day or more")
    first = failures.group_by("drive").agg(pl.col("day").min().alias("failed_on"))
    joined = rows.select("drive", "day").join(first, on="drive", how="left", maintain_order="left")
    day = _days(joined["day"])
    failed_on = joined["failed_on"].cast(pl.Int32).fill_null(int(NEVER)).to_numpy()
    newest = int(day.max()) if last_day is None and day.size else int(last_day or 0)
    return Labels(day, np.ascontiguousarray(failed_on), horizon_d, newest)


def _days(column: pl.Series) -> Int32Array:
    return np.ascontiguousarray(column.cast(pl.Int32).to_numpy())


def _check(frame: pl.DataFrame, name: str) -> None:
    for column, wanted in (("drive", pl.String), ("day", pl.Date)):
        if column not in frame.columns:
            raise DataError(f"{name}: no column {column!r}; want drive (text) and day (date), not {frame.columns}")
        if frame.schema[column] != wanted:
            raise DataError(f"{name}: column {column!r} is {frame.schema[column]}; want {wanted.__name__}")
        if frame[column].null_count():
            row = frame[column].is_null().arg_max()
            raise DataError(f"{name}: column {column!r} is empty in row {row}; every row needs one")
