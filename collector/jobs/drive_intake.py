"""From stored windows to drive-days: every UTC day whose windows have changed is made anew, chunk of drives by chunk.

What has changed is told by the counters that every flush counts up (store/changes.py): a day is done when the count
that was read before its windows is noted behind its last chunk. So a day is made again when the job was killed, when
late records came, or when more came meanwhile; and making it again gives the same rows.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

import polars as pl
import sqlalchemy as sa

from analytics.errors import DataError
from analytics.ssd.columns import DAYS
from analytics.ssd.days import drive_days, drive_names, names_if_any
from analytics.ssd.timeline import LOOKBACK_D
from collector import own_metrics
from collector.jobs.drive_readings import DriveQuery, changed_days, drive_query, labels_of, readings
from collector.jobs.pace import Pace
from store.catalog import Catalog
from store.drive_days import by_chunk, put_days, read_days
from store.drive_progress import Progress, read_progress, write_progress
from store.drive_tables import DRIVES_PER_CHUNK
from store.drives import DriveSeen, chunk_of, drive_ids, note_drives
from store.errors import CorruptPageError
from store.snapshot import Snapshot

log = logging.getLogger(__name__)

EPOCH: Final = date(1970, 1, 1)
#: Days whose windows were taken in: day -> the count of changes that they hold.
DAYS_SCOPE: Final = "drives taken in"
#: Chunks of which a day was written: chunk -> how often.
CHUNKS_SCOPE: Final = "drives changed"

# How long they may be: PostgreSQL refuses what is longer (store/drive_tables.py).
_LONGEST_TEXT: Final = 256
_IDENTITY: Final = {
    **dict.fromkeys(("node", "rack", "model", "vendor", "family", "firmware"), _LONGEST_TEXT),
    "kind": 64,
}
_NUMBERED: Final[dict[str, pl.DataType]] = {"drive": pl.String(), "number": pl.Int64()}


def day_of(number: int) -> date:
    """Days since 1970 as a date."""
    return EPOCH + timedelta(days=number)


class DriveIntake:
    """Takes in what has changed; remembers the labels of series between rounds."""

    def __init__(self, engine: sa.Engine, keep_days: int) -> None:
        self._engine = engine
        self._keep_days = keep_days
        self._catalog = Catalog()
        self._told: dict[str, str] = {}

    def take_in(self, today: int, now_ns: int, pace: Pace) -> int:
        """Make the changed days up to `today` (days since 1970) anew, oldest first; returns how many.

        Days to come are left for when they are there.
        """
        with self._engine.connect() as connection:
            query = drive_query(Snapshot(connection, self._catalog))
            taken = read_progress(connection, DAYS_SCOPE)
            # Read before the windows: what is flushed in between makes the day a changed one again.
            changed = {} if query is None else changed_days(connection, query, today - self._keep_days, today)
        due = {day: count for day, count in sorted(changed.items()) if day not in taken or count > taken[day].value}
        for day, count in due.items():
            assert query is not None
            if not self._take_day(query, day, now_ns, pace):
                continue
            with self._engine.begin() as connection:
                pace.hold(connection)
                write_progress(connection, DAYS_SCOPE, {day: Progress(count)}, now_ns)
        return len(due)

    def _take_day(self, query: DriveQuery, day: int, now_ns: int, pace: Pace) -> bool:
        """Make a day anew; False when some of it is damaged, and so is still to be done."""
        whole = True
        for labels in self._batches(query):
            try:
                with self._engine.connect() as connection:
                    found = readings(Snapshot(connection, self._catalog), query, labels, day)
                    days = self._days(connection, found, day)
                if days.height:
                    self._write(days, day, now_ns, pace)
            except CorruptPageError as error:
                whole = False
                pace.spare(f"taking in {labels['drive'].n_unique()} drives of {day_of(day)}", error)
            pace.rest()
        return whole

    def _batches(self, query: DriveQuery) -> Iterator[pl.DataFrame]:
        """Labels of all series, those of one drive together: first the drives of each chunk, then those never seen."""
        with self._engine.connect() as connection:
            series = Snapshot(connection, self._catalog).labels(query.query_id).by_id()
            labels = self._named(labels_of(series))
            numbers = drive_ids(connection, labels["drive"].unique().to_list())
        names = pl.DataFrame({"drive": list(numbers), "number": list(numbers.values())}, _NUMBERED)
        labels = labels.join(names, on="drive", how="left").sort("number", "drive", nulls_last=True)
        known, new = labels.filter(pl.col("number").is_not_null()), labels.filter(pl.col("number").is_null())
        yield from _cut(known, known["number"] // DRIVES_PER_CHUNK)
        yield from _cut(new, new["drive"].rle_id() // DRIVES_PER_CHUNK)

    def _named(self, labels: pl.DataFrame) -> pl.DataFrame:
        """The labels with the drive that they name; some may name none."""
        named = labels.with_columns(drive=names_if_any(labels))
        unnamed, long = named["drive"].is_null(), (named["drive"].str.len_chars() > _LONGEST_TEXT).fill_null(False)
        if unnamed.any():
            first = labels.drop("series").row(unnamed.arg_max() or 0, named=True)
            shown = ", ".join(f"{name}={text[:80]!r}" for name, text in first.items() if text)
            self._tell("nameless", f"{unnamed.sum()} series name no serial number, nor host and device, as {shown}")
        if long.any():
            first = named.filter(long)["drive"][0]
            self._tell("overlong", f"a name of more than {_LONGEST_TEXT} signs: {first[:80]!r}...")
        return named.filter(~unnamed & ~long)

    def _days(self, connection: sa.Connection, found: pl.DataFrame, day: int) -> pl.DataFrame:
        if not found.height:
            return pl.DataFrame(schema=DAYS)
        numbers = drive_ids(connection, drive_names(found).unique().to_list())
        before = _days_before(connection, numbers, day)
        try:
            return drive_days(found, before)
        except DataError as error:
            self._tell("data", f"readings of {day_of(day)} cannot be used: {error}")
            return pl.DataFrame(schema=DAYS)

    def _write(self, days: pl.DataFrame, day: int, now_ns: int, pace: Pace) -> None:
        with self._engine.begin() as connection:
            pace.hold(connection)
            numbers = note_drives(connection, [_seen(row, day) for row in days.iter_rows(named=True)])
        # Numbers are given out first, so that each transaction writes the blob of one chunk.
        for chunk, part in by_chunk(days, numbers):
            with self._engine.begin() as connection:
                pace.hold(connection)
                if put_days(connection, part, numbers):
                    note_chunk(connection, chunk, now_ns)

    def _tell(self, what: str, text: str) -> None:
        """Count it, and log it where something else of the same kind was said last."""
        own_metrics.drives_failures.labels("data").inc()
        if self._told.get(what) != text:
            self._told[what] = text
            log.warning("readings of drives left out reason=%s: %s", what, text)


def note_chunk(connection: sa.Connection, chunk: int, now_ns: int) -> None:
    """Note that what is known of the chunk's drives has changed, in the transaction that changed it."""
    before = read_progress(connection, CHUNKS_SCOPE).get(chunk, Progress(0))
    write_progress(connection, CHUNKS_SCOPE, {chunk: Progress(before.value + 1)}, now_ns)


def _cut(labels: pl.DataFrame, batch: pl.Series) -> Iterator[pl.DataFrame]:
    """The rows of each batch; `batch` never falls."""
    sizes = batch.rle().struct.field("len").to_list()
    at = 0
    for size in sizes:
        yield labels[at : at + size]
        at += size


def _days_before(connection: sa.Connection, numbers: Mapping[str, int], day: int) -> pl.DataFrame | None:
    by_chunks: dict[int, list[int]] = {}
    for number in numbers.values():
        by_chunks.setdefault(chunk_of(number), []).append(number)
    first, last = day_of(day - LOOKBACK_D), day_of(day - 1)
    parts = [read_days(connection, chunk, first, last, DAYS, only) for chunk, only in sorted(by_chunks.items())]
    return pl.concat(parts) if parts else None


def _seen(row: Mapping[str, object], day: int) -> DriveSeen:
    node, rack, model, vendor, family, firmware, kind = (
        None if row[name] is None else str(row[name])[:length] for name, length in _IDENTITY.items()
    )
    return DriveSeen(str(row["drive"]), day, node, rack, model, vendor, family, firmware, kind)
