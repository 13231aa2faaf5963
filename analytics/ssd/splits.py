"""Which days and which drives train, validate and test, so that nothing of the test is known before it.

By time, the split *by days*. Of the days whose H days are over when the data end ("usable"), the last third is the
test. What comes before ends H days earlier: the label of a row of day d is known at the end of day d+H, so the first
day of the test knows all labels of the parts before it. The last fifth of those days validates; training ends H days
before that.

Short data have no room for two gaps: where training would be left with fewer days than three horizons, the test is
the last fifth of the usable days, and validation takes drives instead of days. That is the split *by drives*: a drive
of the validation is scored by a model that never saw it (nor its node), on the later half of the training's days.
Thresholds and calibration come from the validation either way, and never from the test.

By drive and node. Drives are dealt into folds by a hash of the node they were first seen on, or of the drive where
that is unknown; a row on a node of another fold is in no part at all. So no drive and no node stands on both sides.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import TooFewDataError
from analytics.ssd.labels import BoolArray, Int32Array

#: Share of the usable days that the test takes: of data that are split by days, and of short ones.
TEST_SHARE = 1 / 3
SHORT_TEST_SHARE = 0.2
#: Share of the days before the test, a gap taken off, that validate.
VALIDATION_SHARE = 0.2
#: Horizons of training days that a split by days has to leave.
TRAINING_HORIZONS = 3
#: Row of no fold: seen on a node of another fold than its drive.
NO_FOLD = -1

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` to `last`, both included, as days since 1970-01-01."""

    first: int
    last: int

    @property
    def days(self) -> int:
        """How many."""
        return self.last - self.first + 1

    def holds(self, day: Int32Array) -> BoolArray:
        """bool[rows]: the day lies in here."""
        return (day >= self.first) & (day <= self.last)

    def __str__(self) -> str:
        return f"{_EPOCH + timedelta(days=self.first)} to {_EPOCH + timedelta(days=self.last)} ({self.days} days)"


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """The days of each part. `validates` says by what: days after the training, or drives that it leaves out."""

    train: Span
    validate: Span
    test: Span
    horizon_d: int
    validates: Literal["days", "drives"]


def time_split(first_day: int, last_day: int, horizon_d: int) -> TimeSplit:
    """Cut the days from `first_day` to `last_day`, as this module's header says.

    Raises:
        TooFewDataError: fewer than H days of training are left.
    """
    test, before = _test_and_before(first_day, last_day, horizon_d, TEST_SHARE)
    validate_days = max(1, round(VALIDATION_SHARE * (before.days - horizon_d)))
    if before.days - horizon_d - validate_days >= TRAINING_HORIZONS * horizon_d:
        validate = Span(before.last - validate_days + 1, before.last)
        return TimeSplit(Span(first_day, validate.first - horizon_d), validate, test, horizon_d, "days")
    test, before = _test_and_before(first_day, last_day, horizon_d, SHORT_TEST_SHARE)
    if before.days < _least_training(horizon_d):
        raise TooFewDataError(
            f"{last_day - first_day + 1} days of data for a horizon of {horizon_d}: too few to keep a training of "
            f"{_least_training(horizon_d)} days, {horizon_d} days of gap and a test whose {horizon_d} days are over; "
            f"want {_least_days(horizon_d)} days or more, or a shorter horizon"
        )
    later_half = Span(before.last - (before.days + 1) // 2 + 1, before.last)
    return TimeSplit(before, later_half, test, horizon_d, "drives")


def training_split(first_day: int, last_day: int, horizon_d: int) -> TimeSplit:
    """All usable days for training and validation, the same way; the test is what comes after: nothing yet.

    Raises:
        TooFewDataError: fewer than H days of training are left.
    """
    usable = Span(first_day, last_day - horizon_d)
    test = Span(last_day, last_day)
    validate_days = max(1, round(VALIDATION_SHARE * (usable.days - horizon_d)))
    if usable.days - horizon_d - validate_days >= TRAINING_HORIZONS * horizon_d:
        validate = Span(usable.last - validate_days + 1, usable.last)
        return TimeSplit(Span(first_day, validate.first - horizon_d), validate, test, horizon_d, "days")
    if usable.days < _least_training(horizon_d):
        raise TooFewDataError(
            f"{last_day - first_day + 1} days of data for a horizon of {horizon_d}: too few to train on; want "
            f"{horizon_d + _least_training(horizon_d)} days or more, or a shorter horizon"
        )
    later_half = Span(usable.last - (usable.days + 1) // 2 + 1, usable.last)
    return TimeSplit(usable, later_half, test, horizon_d, "drives")


def _test_and_before(first_day: int, last_day: int, horizon_d: int, share: float) -> tuple[Span, Span]:
    usable = last_day - horizon_d - first_day + 1
    test = Span(last_day - horizon_d - max(1, round(share * usable)) + 1, last_day - horizon_d)
    return test, Span(first_day, test.first - horizon_d)


def _least_training(horizon_d: int) -> int:
    return max(2, horizon_d)


def _least_days(horizon_d: int) -> int:
    """The shortest data that can be cut for a horizon."""
    days = 2 * horizon_d
    while _test_and_before(1, days, horizon_d, SHORT_TEST_SHARE)[1].days < _least_training(horizon_d):
        days += 1
    return days


def folds(rows: pl.DataFrame, count: int, seed: int) -> npt.NDArray[np.int8]:
    """int8[rows]: the fold of each row, 0 to count - 1, or NO_FOLD.

    Args:
        rows: columns drive, day and node (text, NULL where unknown).
        seed: another one deals the drives anew.
    Guarantee: the same on every machine and in every order of rows. Cost: a hash for each drive and node.
    """
    home = rows.sort("day").group_by("drive").agg(pl.col("node").drop_nulls().first().alias("home"))
    key = pl.coalesce(pl.col("home"), pl.col("drive"))
    of_drive = _dealt(home.select("drive", key.alias("key")), count, seed).select("drive", "fold")
    nodes = rows.select(pl.col("node").alias("key")).drop_nulls().unique()
    of_node = _dealt(nodes, count, seed).select(pl.col("key").alias("node"), pl.col("fold").alias("node_fold"))
    both = rows.select("drive", "node").join(of_drive, on="drive", how="left", maintain_order="left")
    both = both.join(of_node, on="node", how="left", maintain_order="left")
    elsewhere = pl.col("node_fold").is_not_null() & (pl.col("node_fold") != pl.col("fold"))
    return both.select(pl.when(elsewhere).then(NO_FOLD).otherwise("fold").cast(pl.Int8))["literal"].to_numpy()


def _dealt(keys: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    # CRC-32 is the same for ever and everywhere, unlike the hashes of Python and Polars.
    values = [_mixed(zlib.crc32(f"{seed}:{key}".encode())) % count for key in keys["key"].to_list()]
    return keys.with_columns(pl.Series("fold", values, dtype=pl.Int8))


def _mixed(number: int) -> int:
    """CRC-32 is linear: names that differ in a digit would stay alike in the low bits."""
    number = (number ^ (number >> 16)) * 0x45D9F3B & 0xFFFFFFFF
    number = (number ^ (number >> 16)) * 0x45D9F3B & 0xFFFFFFFF
    return number ^ (number >> 16)


def pairs(count: int) -> Iterator[tuple[int, int]]:
    """Every two folds: a model that saw neither can validate for both."""
    return ((a, b) for a in range(count) for b in range(a + 1, count))
