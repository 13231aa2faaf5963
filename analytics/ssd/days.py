"""Readings of drives as drive-days: one row a drive and UTC day, in the columns of columns.DAYS, odd input as flags.

What a fleet sends is never tidy: serial numbers move between hosts or are seen from two at once, counters start anew,
clocks go back, days come twice or not at all. None of that is an error here; the row says it by a flag, and whoever
judges the drive says Unknown with that reason. Only a table of wrong types or without the columns that name a drive
is refused (DataError). The order of rows never matters.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import DataError
from analytics.ssd.cells import days_of_ns, flags, names, refuse_row, texts, times_ns, utc_days, whole_numbers
from analytics.ssd.columns import COUNTERS, DAYS, FACTS, FLAGS, GAUGES, IDENTITY, SYMPTOMS, SYNTHETIC_FAMILY
from analytics.ssd.timeline import LOOKBACK_D, BoolArray, Column, Int64Array, Timeline, run_codes
from analytics.ssd.vendors import vendor_of

#: Counts that cannot fall by themselves; what falls was reset, or belongs to another drive.
RISING: Final = tuple(c for c in (*SYMPTOMS, *COUNTERS) if c not in ("pending_count", "power_on_h"))
#: Where a value below zero is no value. Temperatures may be below zero.
_NEVER_NEGATIVE: Final = tuple(c for c in (*SYMPTOMS, *COUNTERS, *GAUGES) if c != "temperature_c")
#: Of several readings of a day the largest counts here, the newest elsewhere.
_LARGEST: Final = (*RISING, "power_on_h")
_NUMBERS: Final = (*SYMPTOMS, *COUNTERS, *GAUGES, *FACTS)
_TEXTS: Final = IDENTITY[2:]
#: What firmware and RAID controllers put where a serial number belongs: no name of one drive.
_NO_SERIAL: Final = (
    r"(?i)^(0+|x+|f{6,}|n/?a|none|null|unknown|unspecified|not (available|specified)|default string|0?123456789\w*)$"
)


def drive_days(readings: pl.DataFrame, before: pl.DataFrame | None = None) -> pl.DataFrame:
    """Readings as drive-days, in order of drive and day.

    Args:
        readings: `ts` (int64 ns or a time), and any of the columns of the stream `smart`; those that are not there
            count as NULL, others are left out. `host` becomes `node`; `state` = no_smart becomes the flag; a column
            `rack` or `vendor` is taken where there is one.
        before: drive-days already known, for the flags that compare with an earlier day; none of them is in the result.
    Returns:
        The columns of DAYS. Of a day's readings the largest counts for counters, the newest known for all else.
    Raises:
        DataError: no `ts`, wrong types, or a row that names no drive.
    """
    columns = {"ts": times_ns(_wanted(readings, "ts", "ts, the time of a reading"))}
    columns["drive"] = drive_names(readings)
    columns["day"] = days_of_ns(columns["ts"])
    node = "host" if "host" in readings.columns else "node"
    columns["node"] = _text_or_null(readings, node).alias("node")
    columns |= {name: _text_or_null(readings, name) for name in _TEXTS if name != "node"}
    columns |= {name: _numbers_or_null(readings, name) for name in _NUMBERS}
    state = _text_or_null(readings, "state")
    columns["no_smart"] = (state == "no_smart").fill_null(False)
    columns["negative"] = _flag(readings, "negative")
    columns["readings"] = _numbers_or_null(readings, "readings").fill_null(1)
    frame = pl.DataFrame([series.alias(name) for name, series in columns.items()])
    days = _merged_readings(_without_negatives(_with_vendor(frame)))
    if before is None or before.is_empty():
        return flagged(days)
    older = before.select(DAYS.keys()).join(days, on=["drive", "day"], how="anti")
    together = flagged(merged_days(pl.concat([older, days])))
    return together.join(days, on=["drive", "day"], how="semi", maintain_order="left")


def canonical_days(frame: pl.DataFrame) -> pl.DataFrame:
    """Drive-days of somebody else's making: typed, complete, in order, each drive and day once, flags set.

    Args:
        frame: `drive`, `day` and any other columns of DAYS; what is missing becomes NULL. Of rows for one drive and day
            the largest value counts, whatever their order.
    Raises:
        DataError: a column or a cell that cannot be used.
    """
    columns = {"drive": names(_wanted(frame, "drive", "drive, the name of a drive"))}
    columns["day"] = utc_days(_wanted(frame, "day", "day, a date"))
    columns |= {name: _text_or_null(frame, name) for name in _TEXTS}
    columns |= {name: _numbers_or_null(frame, name) for name in _NUMBERS}
    columns["readings"] = _numbers_or_null(frame, "readings").fill_null(1)
    columns |= {name: _flag(frame, name) for name in FLAGS}
    typed = pl.DataFrame([series.alias(name) for name, series in columns.items()]).select(DAYS.keys())
    return flagged(merged_days(_without_negatives(_with_vendor(typed))))


def merged_days(days: pl.DataFrame) -> pl.DataFrame:
    """The same in order of drive and day, duplicates merged: the largest known value of each column, flags of any."""
    ordered = days if is_in_order(days) else days.sort("drive", "day")
    if is_in_order(ordered):
        return ordered
    largest = [pl.col(name).max() for name in (*_TEXTS, *_NUMBERS)]
    any_of = [pl.col(name).any() for name in FLAGS if name != "moved"]
    moved = pl.col("moved").any() | (pl.col("node").drop_nulls().n_unique() > 1)
    grouped = ordered.group_by("drive", "day", maintain_order=True)
    return grouped.agg(*largest, pl.col("readings").sum(), *any_of, moved.alias("moved")).select(DAYS.keys())


def is_in_order(days: pl.DataFrame) -> bool:
    """Whether rows are in order of drive and day and no drive has a day twice."""
    drive, day = pl.col("drive"), pl.col("day")
    rises = (drive > drive.shift(1)) | ((drive == drive.shift(1)) & (day > day.shift(1)))
    return bool(days.select(rises.slice(1).all()).item())


def any_synthetic(days: pl.DataFrame) -> bool:
    """Whether any of the drives was made up by a generator."""
    return bool((days["family"] == SYNTHETIC_FAMILY).any())


def flagged(days: pl.DataFrame) -> pl.DataFrame:
    """The same with the flags that compare a day with what was known before it, at most LOOKBACK_D days back.

    Flags that stand are kept, since a day may be odd by itself. Needs rows in order (`merged_days`).
    """
    keys = Timeline.of(days).keys
    fell = np.zeros(keys.size, np.bool_)
    for name in RISING:
        fell |= _fell(days[name], keys, LOOKBACK_D)
    hours = _fell(days["power_on_h"], keys, LOOKBACK_D)
    moved = _changed(days["node"], keys, LOOKBACK_D)
    return days.with_columns(
        days["counter_reset"] | pl.Series(fell), days["hours_back"] | pl.Series(hours), days["moved"] | pl.Series(moved)
    )


def _merged_readings(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a drive and day, in order; flags of what was odd within the day."""
    frame = frame.sort("drive", "ts")
    if frame.height and frame.select(pl.struct("drive", "ts").is_duplicated().any()).item():
        # Two hosts that read a drive in the same instant, or a reading that came twice: no order to go by.
        two_nodes = (pl.col("node").drop_nulls().n_unique() > 1).alias("_nodes")
        rest = pl.exclude("drive", "ts", "readings").max()
        frame = frame.group_by("drive", "ts", maintain_order=True).agg(rest, pl.col("readings").sum(), two_nodes)
    else:
        frame = frame.with_columns(_nodes=pl.lit(False))
    keys = Timeline.of(frame).keys
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    ends = np.append(starts[1:], keys.size) - 1 if keys.size else starts
    fell = np.zeros(keys.size, np.bool_)
    for name in RISING:
        fell |= _fell(frame[name], keys, 0)
    odd = {
        "counter_reset": fell,
        "hours_back": _fell(frame["power_on_h"], keys, 0),
        "moved": _changed(frame["node"], keys, 0) | frame["_nodes"].to_numpy(),
        "no_smart": frame["no_smart"].to_numpy(),
        "negative": frame["negative"].to_numpy(),
    }
    columns = [frame[name].gather(ends).alias(name) for name in ("drive", "day")]
    columns += [_newest(frame[name], starts, ends) for name in (*_TEXTS, *_NUMBERS) if name not in _LARGEST]
    columns += [_largest(frame[name], starts) for name in _LARGEST]
    columns += [pl.Series(name, _of_groups(np.logical_or, flag, starts)) for name, flag in odd.items()]
    columns += [pl.Series("readings", _of_groups(np.add, frame["readings"].to_numpy(), starts))]
    return pl.DataFrame(columns).select(DAYS.keys())


def _newest(series: pl.Series, starts: Int64Array, ends: Int64Array) -> pl.Series:
    """The newest known value of each group of rows; NULL where none is known."""
    if not series.null_count():
        return series.gather(ends)
    known = series.is_not_null().to_numpy()
    newest = np.maximum.accumulate(np.where(known, np.arange(known.size), -1))[ends]
    return series.gather(np.maximum(newest, 0)).set(pl.Series(newest < starts), None)


def _largest(series: pl.Series, starts: Int64Array) -> pl.Series:
    """The largest known value of each group of rows; NULL where none is known."""
    if not series.null_count():
        return pl.Series(series.name, _of_groups(np.maximum, series.to_numpy(), starts))
    known = _of_groups(np.logical_or, series.is_not_null().to_numpy(), starts)
    values = _of_groups(np.maximum, series.fill_null(0).to_numpy(), starts)  # counts are never below 0
    return pl.Series(series.name, values).set(pl.Series(~known), None)


def _of_groups(operation: np.ufunc, values: npt.NDArray[Any], starts: Int64Array) -> npt.NDArray[Any]:
    return operation.reduceat(values, starts) if starts.size else values


def _fell(series: pl.Series, keys: Int64Array, within: int) -> BoolArray:
    column = Column.of(series)
    if column is None:
        return np.zeros(keys.size, np.bool_)
    before, comparable = _row_before(column, keys, within)
    return comparable & (column.values < column.values[before])


def _changed(series: pl.Series, keys: Int64Array, within: int) -> BoolArray:
    numbers = pl.Series(run_codes(series)[0])
    column = Column.of(numbers.set(numbers < 0, None))
    if column is None:
        return np.zeros(keys.size, np.bool_)
    before, comparable = _row_before(column, keys, within)
    changed: BoolArray = comparable & (column.values != column.values[before])
    return changed


def _row_before(column: Column, keys: Int64Array, within: int) -> tuple[Int64Array, BoolArray]:
    """For each row the newest known one before it; whether both are known and `within` days apart at most."""
    before = np.maximum(np.arange(keys.size) - 1, 0)
    if column.newest is not None:
        before = column.newest[before]
    comparable = keys - keys[before] <= within
    comparable[:1] = False
    if column.known is not None:
        comparable &= column.known & column.known[before]
    return before, comparable


def drive_names(readings: pl.DataFrame) -> pl.Series:
    """What drives are called: the serial number, or host and device where none could name one drive."""
    named = names_if_any(readings)
    unnamed = named.is_null().arg_max()
    if unnamed is not None and named[unnamed] is None:
        refuse_row(named, unnamed, "a serial number, or host and device")
    return named


def names_if_any(readings: pl.DataFrame) -> pl.Series:
    """The same, with NULL where neither names a drive."""
    serial = _text_or_null(readings, "serial")
    serial = serial.set(serial.str.contains(_NO_SERIAL).fill_null(False), None)
    host, device = (_text_or_null(readings, name) for name in ("host", "device"))
    return serial.zip_with(serial.is_not_null(), host + ":" + device).alias("serial")


def _with_vendor(frame: pl.DataFrame) -> pl.DataFrame:
    """Vendors that were not told, from families and models; each pair of them is looked at once."""
    named = frame.select("family", "model").unique().with_columns(_vendor=vendor_of(pl.col("family"), pl.col("model")))
    joined = frame.join(named, on=["family", "model"], how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.coalesce("vendor", "_vendor").alias("vendor")).drop("_vendor")


def _without_negatives(frame: pl.DataFrame) -> pl.DataFrame:
    below = [pl.col(name) < 0 for name in _NEVER_NEGATIVE]
    return frame.with_columns(
        pl.col("negative") | pl.any_horizontal(below).fill_null(False),
        *[pl.when(pl.col(name) >= 0).then(pl.col(name)).alias(name) for name in _NEVER_NEGATIVE],
    )


def _wanted(frame: pl.DataFrame, name: str, what: str) -> pl.Series:
    if name not in frame.columns:
        raise DataError(f"the table has no column {what}; its columns are {', '.join(frame.columns[:20]) or 'none'}")
    return frame[name]


def _text_or_null(frame: pl.DataFrame, name: str) -> pl.Series:
    return (
        texts(frame[name])
        if name in frame.columns
        else pl.repeat(None, frame.height, dtype=pl.String, eager=True).alias(name)
    )


def _numbers_or_null(frame: pl.DataFrame, name: str) -> pl.Series:
    return (
        whole_numbers(frame[name])
        if name in frame.columns
        else pl.repeat(None, frame.height, dtype=pl.Int64, eager=True).alias(name)
    )


def _flag(frame: pl.DataFrame, name: str) -> pl.Series:
    return flags(frame[name]) if name in frame.columns else pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
