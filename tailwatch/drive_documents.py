"""Files that tell of one drive: answers of `smartctl --json` from one or several days, or a table of many drives.

Both become drive-days. Whatever cannot be used is refused with the file, what was seen in it and what is wanted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from agents.sources.smart_fields import DriveReading, drive_reading
from agents.sources.streams import SMART
from analytics.errors import DataError
from analytics.ssd.days import drive_days
from analytics.ssd.neighbours import located_failures
from analytics.ssd.tables import read_file

TABLES: Final = (".csv", ".csv.gz", ".parquet")
_WANTED: Final = "an answer of `smartctl --json -x DEVICE`, or a table (.csv, .csv.gz, .parquet)"
_LARGEST_BYTES: Final = 64 * 2**20
_FIRST_S: Final = 0
_LAST_S: Final = 4_102_444_800  # the year 2100
_WHY: Final = {
    "not_smartctl": "it is JSON, but no answer of smartctl (no object `smartctl` in it)",
    "asleep": "the drive was asleep, nothing was read; wake it and ask again",
    "no_permission": "smartctl was not allowed to ask the drive; run it as root",
    "behind_controller": "the drive is behind a RAID controller; ask for it by number (`-d megaraid,N`)",
    "unknown_type": "smartctl does not know how to talk to this drive; name its type (`-d TYPE`)",
    "cannot_open": "smartctl could not open the drive",
}


@dataclass(frozen=True, slots=True)
class OneDrive:
    """All that files say of one drive.

    Attributes:
        days: columns.DAYS of this drive alone.
        fleet: columns.DAYS of all drives of the table it stands in; the same as `days` for documents.
        failures: of the fleet, with node and rack; None where nothing is known of others.
        failed: the day on which the table says that this drive failed; None where it says nothing.
        document, reading: the newest answer of smartctl; None for a table.
    """

    drive: str
    days: pl.DataFrame
    fleet: pl.DataFrame
    failures: pl.DataFrame | None = None
    failed: date | None = None
    document: Mapping[str, Any] | None = None
    reading: DriveReading | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    path: Path
    at_s: int
    reading: DriveReading
    document: Mapping[str, Any] = field(repr=False)


def one_drive(paths: Sequence[Path], drive: str | None) -> OneDrive:
    """What the files say of one drive.

    Args:
        drive: its serial number; needed for a table of several drives.
    Raises:
        DataError: a file cannot be used, or they tell of several drives.
    """
    tables = [path for path in paths if path.name.lower().endswith(TABLES)]
    if tables and len(paths) > 1:
        raise DataError(f"{tables[0]} is a table; give it alone, or answers of smartctl only")
    if tables:
        return _from_table(tables[0], drive)
    return _from_answers([_answer(path) for path in paths], drive)


def newest_day(days: pl.DataFrame) -> date:
    """Of drive-days that are not empty."""
    newest = days["day"].max()
    assert isinstance(newest, date)
    return newest


def _from_table(path: Path, drive: str | None) -> OneDrive:
    days, failures = read_file(path)
    names = days["drive"].unique().sort().to_list()
    if not names:
        raise DataError(f"{path} holds no drives: it has columns and no rows")
    if drive is None and len(names) == 1:
        drive = names[0]
    if drive is None or drive not in names:
        some = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        asked = "say which with --drive" if drive is None else f"none is called {drive}"
        raise DataError(f"{path} holds {len(names)} drives ({some}); {asked}")
    failed = dict(failures.iter_rows()).get(drive)
    return OneDrive(drive, days.filter(pl.col("drive") == drive), days, located_failures(failures, days), failed)


def _from_answers(answers: Sequence[_Answer], drive: str | None) -> OneDrive:
    serials = {one.reading.record.get("serial"): one for one in answers}
    if len(serials) > 1:
        (first, one), (second, other) = list(serials.items())[:2]
        raise DataError(
            f"{one.path} tells of drive {first or '(no serial number)'}, {other.path} of {second or '(none)'}; "
            "give the answers of one drive, its history, or a table with --drive"
        )
    (serial,) = serials
    if drive is not None and drive != serial:
        raise DataError(f"{answers[0].path} tells of drive {serial}, not of {drive}")
    days = drive_days(_readings(answers))
    newest = max(answers, key=lambda one: one.at_s)
    return OneDrive(days["drive"][-1], days, days, document=newest.document, reading=newest.reading)


def _readings(answers: Sequence[_Answer]) -> pl.DataFrame:
    """As the stream `smart` has them; a drive without a serial number is named by its device."""
    rows = [
        {name: value for name, value in one.reading.record.items() if name in SMART}
        | {"ts": one.at_s * 10**9, "state": one.reading.state}
        | ({} if one.reading.record.get("serial") else {"host": "this host"})
        | ({} if one.reading.record.get("device") else {"device": one.path.name})
        for one in answers
    ]
    types = {"int64": pl.Int64(), "float64": pl.Float64(), "string": pl.String()}
    return pl.DataFrame(rows, schema={name: types[kind] for name, kind in SMART.items() if name in types})


def _answer(path: Path) -> _Answer:
    document = _document(path)
    reading = drive_reading(document)
    if reading.state not in ("ok", "no_smart") or not reading.record:
        says = f"; smartctl says: {reading.says}" if reading.says else ""
        why = _WHY.get(reading.state, "it names no drive")
        raise DataError(f"{path}: {why}{says}; wanted is {_WANTED}")
    at = document.get("local_time")
    at_s = at.get("time_t") if isinstance(at, dict) else None
    if not isinstance(at_s, int) or isinstance(at_s, bool) or not _FIRST_S < at_s < _LAST_S:
        raise DataError(
            f"{path}: local_time.time_t is {at_s!r}; wanted are seconds since 1970, as smartctl 7.0 and later write "
            "them: without the day there is no history"
        )
    return _Answer(path, at_s, reading, document)


def _document(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    with path.open("rb") as file:
        data = file.read(_LARGEST_BYTES + 1)  # what is no plain file does not say how long it is
    if len(data) > _LARGEST_BYTES:
        raise DataError(f"{path} has more than {_LARGEST_BYTES:,} bytes; wanted is {_WANTED}")
    text = data.decode("utf-8", errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _is_text_output(text):
            wanted = "wanted is its JSON: `smartctl --json -x DEVICE`"
            raise DataError(f"{path} is smartctl's text output; {wanted}") from error
        seen = repr(text.strip()[:40]) if text.strip() else "nothing"
        raise DataError(f"{path} is no JSON (it begins with {seen}); wanted is {_WANTED}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} holds a JSON {type(document).__name__}, not an object; wanted is {_WANTED}")
    return document


def _is_text_output(text: str) -> bool:
    head = text[:4000]
    return "smartctl " in head or "=== START OF" in head or "SMART overall-health" in head
