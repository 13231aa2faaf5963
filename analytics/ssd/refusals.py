"""Of which drives nothing is concluded, and why: what is odd about their days, in words.

A drive that is refused has no probability, and is UNKNOWN unless a hard rule speaks against it. Virtual disks and
drives that nobody has seen for days are not judged at all.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl

LEAST_HISTORY_D: Final = 7
#: A drive whose newest day is older than this is not judged.
STALE_AFTER_D: Final = 3
#: For so many days after a drive moved or its hours fell nothing is concluded from how it was before.
SETTLES_D: Final = 7


def refusals(
    newest: pl.DataFrame, days: pl.DataFrame, day: date, first_days: Mapping[str, date] | None
) -> pl.DataFrame:
    """Of each drive: drive, day, _no_smart, _judged (at all), why_unknown (the gravest reason, "" for none).

    Args:
        newest: the newest row of each drive in `days`, in the same order.
        first_days: drive -> its first day ever, where `days` does not go back as far.
    """
    recent = pl.col("day") > pl.col("_newest") - pl.duration(days=SETTLES_D)
    flagged = days.filter(pl.col("moved").fill_null(value=False) | pl.col("hours_back").fill_null(value=False))
    frame = newest.select("drive", _newest=pl.col("day"), _no_smart=pl.col("no_smart").fill_null(value=False))
    starts = days.filter(pl.col("drive").ne_missing(pl.col("drive").shift(1))).select("drive", _first=pl.col("day"))
    frame = frame.with_columns(starts["_first"])
    if first_days:
        known = pl.DataFrame({"drive": list(first_days), "_known": list(first_days.values())})
        frame = frame.join(known, on="drive", how="left", maintain_order="left").with_columns(
            _first=pl.min_horizontal("_first", "_known")
        )
    unsettled = (
        flagged.select("drive", "day", "moved", "hours_back")
        .join(frame.select("drive", "_newest"), on="drive", how="inner")
        .filter(recent)
        .group_by("drive")
        .agg(
            _moved=pl.col("day").filter(pl.col("moved").fill_null(value=False)).max(),
            _back=pl.col("day").filter(pl.col("hours_back").fill_null(value=False)).max(),
        )
    )
    frame = frame.join(unsettled, on="drive", how="left", maintain_order="left")
    silent_d = (pl.lit(day) - pl.col("_newest")).dt.total_days()
    history_d = (pl.col("_newest") - pl.col("_first")).dt.total_days() + 1
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
        .when(history_d < LEAST_HISTORY_D)
        .then(
            pl.format(
                f"{{}} day{{}} of history, {LEAST_HISTORY_D} are wanted",
                history_d,
                pl.when(history_d == 1).then(pl.lit("")).otherwise(pl.lit("s")),
            )
        )
        .otherwise(pl.lit(""))
    )
    judged = ~pl.col("_no_smart") & (silent_d <= STALE_AFTER_D)
    return frame.select("drive", "_no_smart", day=pl.lit(day), why_unknown=why, _judged=judged)
