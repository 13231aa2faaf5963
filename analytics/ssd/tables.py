"""Tables of drives from files: which of the known forms one has, and its drive-days and failures.

Three forms are known: drive-days as this package writes them (`drive`, `day`), daily drive statistics as Backblaze
publishes them (`serial_number`, `date`, `smart_5_raw`), and readings of the stream `smart` (`ts`). What is none of them
is refused with what was seen and what is wanted.
"""

import csv
import gzip
import logging
import zlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from analytics.errors import DataError
from analytics.ssd.cells import days_of_ns, flags, names, refuse_row, texts, times_ns, utc_days, whole_numbers
from analytics.ssd.columns import FAILURES, SYNTHETIC_FAMILY
from analytics.ssd.days import canonical_days, drive_days
from analytics.ssd.short_rows import short_row

log = logging.getLogger(__name__)

#: Vendor attributes that mean the same on all hard disks; 241 and 242 count sectors of 512 bytes.
_ATTRIBUTES: Final = {
    1: "read_error_raw",
    5: "realloc_total",
    9: "power_on_h",
    12: "power_cycles_total",
    184: "e2e_total",
    187: "uncorrectable_total",
    192: "unsafe_shutdowns_total",
    194: "temperature_c",
    197: "pending_count",
    199: "crc_total",
    241: "host_written_bytes",
    242: "host_read_bytes",
}
_SECTORS: Final = (241, 242)
_SECTOR_BYTES: Final = 512
#: All ones in 16, 32, 48 or 64 bits is how firmware says "no value".
_NO_VALUE: Final = (2**16 - 1, 2**32 - 1, 2**48 - 1)
#: A day outside is a clock that was never set, a slip of the pen, or seconds where nanoseconds belong; one such row
#: would be the newest day of the table, and all other drives would not have been seen for ages.
_FIRST_DAY: Final = date(2000, 1, 1)
_LAST_DAY: Final = date(2099, 12, 31)
_FORMS: Final = (
    "wanted are drive-days (columns drive, day ...), daily drive statistics (serial_number, date, smart_5_raw ...), "
    "or readings of the stream smart (ts, serial or host and device ...)"
)


def read_table(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drive-days (columns.DAYS) and failures (columns.FAILURES: the first day with `failure` = 1 of each drive).

    Raises:
        DataError: none of the known forms, or a column or cell that cannot be used.
    """
    _refuse_twins(frame.columns)
    present = set(frame.columns)
    if {"drive", "day"} <= present:
        days = _marked_synthetic(canonical_days(frame), frame)
        return _dated(days, frame["day"]), _failures(frame, "drive", "day")
    if {"serial_number", "date"} <= present:
        days = canonical_days(_from_daily_statistics(frame))
        return _dated(days, frame["date"]), _failures(frame, "serial_number", "date")
    if "ts" in present and ("serial" in present or {"host", "device"} <= present):
        return _dated(drive_days(frame), frame["ts"]), pl.DataFrame(schema=FAILURES)
    raise DataError(f"the table has {_seen(frame.columns)}; {_FORMS}")


def read_file(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same of a file: .csv, .csv.gz or .parquet. Rows for a drive and day that is there are merged, and told.

    Raises:
        DataError: as above, and for files that cannot be read as what their name says, or with rows that are cut off.
    """
    frame = _frame_of(path)
    try:
        days, failures = read_table(frame)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    merged = 0 if "ts" in frame.columns and "day" not in frame.columns else frame.height - days.height
    if merged:
        log.warning("%s: %d rows tell of a drive and day again; of each day the largest values count", path, merged)
    return days, failures


def _frame_of(path: Path) -> pl.DataFrame:
    name = path.name.lower()
    if path.is_dir():
        raise DataError(f"{path} is a folder; a table in a file is wanted: .csv, .csv.gz or .parquet")
    try:
        if name.endswith((".csv", ".csv.gz")):
            # As text first: a column whose type changes in row 10,000 has to be an error that names the row.
            frame = pl.read_csv(path, infer_schema=False, raise_if_empty=False)
            short = short_row(path) if frame.height and frame.to_series(-1).null_count() else ""
            if short:
                raise DataError(f"{path} cannot be read: {short}")
            return frame
        if name.endswith(".parquet"):
            return pl.read_parquet(path)
    except (OSError, EOFError, zlib.error, csv.Error, pl.exceptions.PolarsError) as error:
        found = "" if name.endswith(".parquet") else _bad_row(path)
        raise DataError(f"{path} cannot be read: {found or str(error).splitlines()[0]}") from error
    raise DataError(f"{path}: its name ends in {path.suffix or 'nothing'}; .csv, .csv.gz or .parquet is wanted")


def _bad_row(path: Path) -> str:
    """Which row of a CSV has too many cells or bytes that are no text; "" where that is not what is wrong."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    counted = "(counted from 1, a header aside)"
    try:
        with opened(path, "rt", encoding="utf-8", errors="surrogateescape", newline="") as lines:
            rows = csv.reader(lines)
            header = next(rows, [])
            if not _is_utf8("".join(header)):
                return "its first line holds bytes that are not UTF-8; save the table as CSV in UTF-8"
            for number, row in enumerate(rows, 1):
                if len(row) > len(header):
                    return f"row {number} {counted} has {len(row)} cells, the header has {len(header)}"
                bad = next((name for name, cell in zip(header, row, strict=False) if not _is_utf8(cell)), None)
                if bad is not None:
                    where = f"column {_shown([bad])}, row {number} {counted}"
                    return f"{where} holds bytes that are not UTF-8; save the table as UTF-8"
    except (OSError, EOFError, zlib.error, csv.Error):
        return ""
    return ""


def _is_utf8(text: str) -> bool:
    """Of text that was decoded with surrogateescape."""
    return text.isascii() or not any("\udc80" <= sign <= "\udcff" for sign in text)


def _shown(columns: Sequence[str]) -> str:
    """The first names, safe to print: what stands in a file must not steer a terminal."""
    return ", ".join(name[:60] if name.isprintable() else ascii(name[:40]) for name in columns[:20])


def _seen(columns: Sequence[str]) -> str:
    """What stands where the names of columns are wanted, and what that most likely is."""
    if any("\x00" in name or "\ufffd" in name for name in columns):
        return "a first line that is no text in UTF-8: save it as CSV in UTF-8"
    first = columns[0] if columns else ""
    between = next((sign for sign in ";\t|" if sign in first), None) if len(columns) == 1 else None
    hint = "" if between is None else f" (its cells are separated by {between!r}: save it with commas)"
    return f"the columns {_shown(columns) or '(none)'}{hint}"


def _refuse_twins(columns: Sequence[str]) -> None:
    """A CSV may name a column twice; the reader numbers them, and only one would be looked at."""
    for name in columns:
        twin, sign, _ = name.rpartition("_duplicated_")
        if sign and twin in columns:
            raise DataError(f"column {_shown([twin])} stands there twice; leave one of them out")


def _dated(days: pl.DataFrame, given: pl.Series) -> pl.DataFrame:
    """The same, if every day can be one on which a drive was read."""
    newest, oldest = days["day"].max(), days["day"].min()
    if not (days.is_empty() or (oldest >= _FIRST_DAY and newest <= _LAST_DAY)):  # type: ignore[operator]
        is_time = given.name == "ts"
        each = days_of_ns(times_ns(given)) if is_time else utc_days(given)
        wrong = (each < _FIRST_DAY) | (each > _LAST_DAY)
        wanted = "a time in nanoseconds since 1970 UTC" if is_time else "a date"
        seen = given.cast(pl.String) if given.dtype.is_temporal() else given
        refuse_row(seen, wrong.arg_max() or 0, f"{wanted} between {_FIRST_DAY} and {_LAST_DAY}")
    return days


def _marked_synthetic(days: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """The same, with made-up drives known as such by their family (columns.py) whatever family they have."""
    if "synthetic" not in frame.columns:
        return days
    made_up = texts(frame["drive"]).filter(flags(frame["synthetic"])).unique()
    family = pl.when(pl.col("drive").is_in(made_up.implode())).then(pl.lit(SYNTHETIC_FAMILY)).otherwise("family")
    return days.with_columns(family=family)


def _from_daily_statistics(frame: pl.DataFrame) -> pl.DataFrame:
    # Checked under the names they have here: an error that spoke of `drive` would send people looking.
    columns = {"drive": names(frame["serial_number"]), "day": utc_days(frame["date"])}
    if "model" in frame.columns:
        columns["model"] = frame["model"]
    for number, name in _ATTRIBUTES.items():
        raw = f"smart_{number}_raw"
        if raw in frame.columns:
            values = whole_numbers(frame[raw])
            values = values.set(values.is_in(_NO_VALUE).fill_null(False), None)
            columns[name] = _bytes_of_sectors(values) if number in _SECTORS else values
    kind = pl.repeat("ata", frame.height, dtype=pl.String, eager=True)
    return pl.DataFrame([*(series.alias(name) for name, series in columns.items()), kind.alias("kind")])


def _bytes_of_sectors(sectors: pl.Series) -> pl.Series:
    """NULL where the bytes would not fit into 64 bits: no drive is that large."""
    fits = (sectors < 2**63 // _SECTOR_BYTES).fill_null(False)
    return sectors.set(~fits, None) * _SECTOR_BYTES


def _failures(frame: pl.DataFrame, drive: str, day: str) -> pl.DataFrame:
    if "failure" not in frame.columns:
        return pl.DataFrame(schema=FAILURES)
    failure = whole_numbers(frame["failure"])
    odd = (~failure.is_in([0, 1])).fill_null(False)
    if odd.any():
        refuse_row(failure, odd.arg_max() or 0, "0 or 1")
    failed = (failure == 1).fill_null(False)
    rows = pl.DataFrame(
        {"drive": texts(frame[drive]).filter(failed), "day": utc_days(frame[day]).filter(failed)}, schema=FAILURES
    )
    return rows.group_by("drive").agg(pl.col("day").min()).sort("drive")
