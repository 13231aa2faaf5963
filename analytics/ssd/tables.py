"""Tables of drives from files: which of the known forms one has, and its drive-days and failures.

Three forms are known: drive-days as this package writes them (`drive`, `day`), daily drive statistics as Backblaze
publishes them (`serial_number`, `date`, `smart_5_raw`), and readings of the stream `smart` (`ts`). What is none of them
is refused with what was seen and what is wanted.
"""

import csv
import gzip
import zlib
from pathlib import Path
from typing import Final

import polars as pl

from analytics.errors import DataError
from analytics.ssd.cells import names, refuse_row, texts, utc_days, whole_numbers
from analytics.ssd.columns import FAILURES
from analytics.ssd.days import canonical_days, drive_days

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
_FORMS: Final = (
    "wanted are drive-days (columns drive, day ...), daily drive statistics (serial_number, date, smart_5_raw ...), "
    "or readings of the stream smart (ts, serial or host and device ...)"
)


def read_table(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drive-days (columns.DAYS) and failures (columns.FAILURES: the first day with `failure` = 1 of each drive).

    Raises:
        DataError: none of the known forms, or a column or cell that cannot be used.
    """
    present = set(frame.columns)
    if {"drive", "day"} <= present:
        return canonical_days(frame), _failures(frame, "drive", "day")
    if {"serial_number", "date"} <= present:
        return canonical_days(_from_daily_statistics(frame)), _failures(frame, "serial_number", "date")
    if "ts" in present and ("serial" in present or {"host", "device"} <= present):
        return drive_days(frame), pl.DataFrame(schema=FAILURES)
    raise DataError(f"the table has the columns {', '.join(frame.columns[:20]) or '(none)'}; {_FORMS}")


def read_file(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same of a file: .csv, .csv.gz or .parquet.

    Raises:
        DataError: as above, and for files that cannot be read as what their name says.
    """
    return read_table(_frame_of(path))


def _frame_of(path: Path) -> pl.DataFrame:
    name = path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            # As text first: a column whose type changes in row 10,000 has to be an error that names the row.
            return pl.read_csv(path, infer_schema=False, raise_if_empty=False)
        if name.endswith(".parquet"):
            return pl.read_parquet(path)
    except (OSError, EOFError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read: {_bad_row(path) or str(error).splitlines()[0]}") from error
    raise DataError(f"{path}: its name ends in {path.suffix or 'nothing'}; .csv, .csv.gz or .parquet is wanted")


def _bad_row(path: Path) -> str:
    """Which row of a CSV has too many cells or signs that are no text; "" where that is not what is wrong."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            rows = csv.reader(lines)
            width = len(next(rows, []))
            for number, row in enumerate(rows, 1):
                if len(row) > width:
                    return f"row {number} (counted from 1, a header aside) has {len(row)} cells, the header has {width}"
    except UnicodeDecodeError as error:
        return f"after row {number} there are bytes that are not UTF-8 ({error.reason}); save the table as UTF-8"
    except (OSError, EOFError, zlib.error, csv.Error):
        return ""
    return ""


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
