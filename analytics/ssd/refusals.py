"""Of which drives nothing is concluded, and why: what is odd about their days, in words.

A drive that is refused has no probability, and is UNKNOWN unless a hard rule speaks against it. Virtual disks and
drives that nobody has seen for days are not judged at all.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

import polars as pl

LEAST_HISTORY_D: Final = 7
#: A drive whose newest day is older than this is not judged.
STALE_AFTER_D: Final = 3
#: For so many days after a drive moved, its hours fell or a count was below zero nothing is concluded from its days.
SETTLES_D: Final = 7
#: After a silence of more days than this history begins anew: no window of features reaches across it. Drives that are
#: read once a week stay well below, a few lost readings included.
SILENT_D: Final = 30


def refusals(
    newest: pl.DataFrame, days: pl.DataFrame, day: date, first_days: Mapping[str, date] | None, lookback_d: int
) -> pl.DataFrame:
    """Of each drive: drive, day, _no_smart, _judged (at all), why_unknown (the gravest reason, "" for none).

    Args:
        newest: the newest row of each drive in `days`, in the same order.
        first_days: drive -> its first day ever, where `days` does not go back as far.
        lookback_d: so many days up to `day` are in `days` at least, where there were readings.
    """
    frame = newest.select("drive", _newest=pl.col("day"), _no_smart=pl.col("no_smart").fill_null(value=False))
    frame = frame.with_columns(_histories(days)["_first"]).join(
        _returns(days), on="drive", how="left", maintain_order="left"
    )
    if first_days:
        known = pl.DataFrame({"drive": list(first_days), "_known": list(first_days.values())})
        frame = frame.join(known, on="drive", how="left", maintain_order="left")
        before = day - timedelta(days=lookback_d)
        unheard = (pl.col("_known") < before) & (pl.col("_first") > before + timedelta(days=SILENT_D))
        frame = frame.with_columns(
            _first=pl.min_horizontal("_first", "_known"),
            _again=pl.coalesce("_again", pl.when(unheard).then("_first")),
        )
    frame = frame.join(_unsettled(days, frame), on="drive", how="left", maintain_order="left")
    silent_d = (pl.lit(day) - pl.col("_newest")).dt.total_days()
    history_d = (pl.col("_newest") - pl.coalesce("_again", "_first")).dt.total_days() + 1
    plural = pl.when(history_d == 1).then(pl.lit("")).otherwise(pl.lit("s"))
    why = (
        pl.when(pl.col("_no_smart"))
        .then(pl.lit("a virtual disk or RAID volume: it has no health data of its own; read the drives behind it"))
        .when(silent_d > STALE_AFTER_D)
        .then(pl.format("not seen for {} days, last on {}", silent_d, pl.col("_newest")))
        .when(pl.col("_back").is_not_null())
        .then(
            pl.format(
                "its hours powered on fell on {}: a clock that went back, or another drive's readings", pl.col("_back")
            )
        )
        .when(pl.col("_moved").is_not_null())
        .then(pl.format("seen on another host on {}; it counts again after {} days", pl.col("_moved"), SETTLES_D))
        .when(pl.col("_below").is_not_null())
        .then(
            pl.format(
                "a count was below zero on {}: what it says cannot be trusted; it counts again after {} days",
                pl.col("_below"),
                SETTLES_D,
            )
        )
        .when((history_d < LEAST_HISTORY_D) & pl.col("_again").is_not_null())
        .then(
            pl.format(
                f"heard of again on {{}} after more than {SILENT_D} days of silence: {{}} day{{}} of history since, "
                f"{LEAST_HISTORY_D} are wanted",
                pl.col("_again"),
                history_d,
                plural,
            )
        )
        .when(history_d < LEAST_HISTORY_D)
        .then(pl.format(f"{{}} day{{}} of history, {LEAST_HISTORY_D} are wanted", history_d, plural))
        .otherwise(pl.lit(""))
    )
    judged = ~pl.col("_no_smart") & (silent_d <= STALE_AFTER_D)
    return frame.select("drive", "_no_smart", day=pl.lit(day), why_unknown=why, _judged=judged)


def _histories(days: pl.DataFrame) -> pl.DataFrame:
    """drive, _first: the first day of each drive, in their order."""
    return days.filter(pl.col("drive").ne_missing(pl.col("drive").shift(1))).select("drive", _first=pl.col("day"))


def _returns(days: pl.DataFrame) -> pl.DataFrame:
    """drive, _again: the day on which it was last heard of again after a long silence; drives without one are left out.

    Needs rows in order of drive and day.
    """
    silence = pl.col("day") - pl.col("day").shift(1)
    long = (silence > pl.duration(days=SILENT_D)) & (pl.col("drive") == pl.col("drive").shift(1))
    return days.filter(long).group_by("drive").agg(_again=pl.col("day").max())


def _unsettled(days: pl.DataFrame, newest: pl.DataFrame) -> pl.DataFrame:
    """drive, and the newest day on which it _moved, its hours went _back, a count was _below zero; of late only."""
    odd = {"_moved": "moved", "_back": "hours_back", "_below": "negative"}
    flagged = days.filter(pl.any_horizontal(*(pl.col(flag).fill_null(value=False) for flag in odd.values())))
    return (
        flagged.select("drive", "day", *odd.values())
        .join(newest.select("drive", "_newest"), on="drive", how="inner")
        .filter(pl.col("day") > pl.col("_newest") - pl.duration(days=SETTLES_D))
        .group_by("drive")
        .agg(pl.col("day").filter(pl.col(flag).fill_null(value=False)).max().alias(name) for name, flag in odd.items())
    )
