"""What drives said of themselves day by day: one blob for the drives of a chunk on a day.

Columns are the caller's: what is written tells its own schema (store/drive_blobs.py), what is read comes in the schema
that is asked for. Writing a drive's day again replaces it, so a day may be put as often as it grows. A blob is read,
merged and written back: the caller holds the job's lease (store/leases.py) since the transaction began.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import polars as pl
import sqlalchemy as sa

from store.column_blobs import Int64Array
from store.drive_blobs import Blob, decode, encode, frame_of, schema_of
from store.drive_tables import DRIVES_PER_CHUNK, drive_days, drives
from store.errors import CorruptPageError
from store.postgresql import binary
from store.upsert import insert

_T = drive_days
_EPOCH = dt.date(1970, 1, 1)
_BLOBS_AT_ONCE = 256


def by_chunk(days: pl.DataFrame, numbers: Mapping[str, int]) -> Iterator[tuple[int, pl.DataFrame]]:
    """(chunk, its rows) of a frame of drive-days, ascending: what one transaction may write.

    Raises:
        KeyError: a drive has no number; see store.drives.note_drives.
    """
    if not days.height:
        return
    chunks = pl.Series([numbers[name] // DRIVES_PER_CHUNK for name in days["drive"]], dtype=pl.Int64)
    for key, part in sorted(days.with_columns(chunk_=chunks).partition_by("chunk_", as_dict=True).items()):
        yield key[0], part.drop("chunk_")


def put_days(connection: sa.Connection, days: pl.DataFrame, numbers: Mapping[str, int]) -> int:
    """Keep these drive-days, in place of what is there of the same drives and days; returns how many blobs changed.

    Args:
        days: `drive`, `day` (Date), and columns of integers, Boolean, Float32 or String.
        numbers: drive -> number, of every drive in it.
    Raises:
        CorruptPageError: what is there cannot be read; nothing is written over it.
    """
    changed = 0
    for chunk, part in by_chunk(days, numbers):
        slots = np.array([numbers[name] % DRIVES_PER_CHUNK for name in part["drive"]], np.int64)
        numbered = part.with_columns(pl.Series("slot_", slots)).drop("drive")
        by_day = {int(_number(key[0])): rows for key, rows in numbered.partition_by("day", as_dict=True).items()}
        held = dict(_blobs(connection, chunk, sorted(by_day)))
        rows = [
            {"chunk": chunk, "day": day, "data": data}
            for day, new in sorted(by_day.items())
            if (data := _merged(held.get(day), new.drop("day"))) != held.get(day)
        ]
        if rows:
            statement = insert(connection, _T)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["chunk", "day"], set_={"data": statement.excluded.data}
                ),
                rows,
            )
        changed += len(rows)
    return changed


def read_days(
    connection: sa.Connection,
    chunk: int,
    first_day: dt.date,
    last_day: dt.date,
    schema: Mapping[str, pl.DataType],
    only: Collection[int] | None = None,
) -> pl.DataFrame:
    """The drive-days of a chunk from one day to another, both included, sorted by drive and day.

    Args:
        schema: the columns wanted, `drive` and `day` among them; what was never written is NULL.
        only: numbers of the drives wanted (default: all of the chunk).
    Raises:
        CorruptPageError: a blob does not hold, or has a column of another kind.
    """
    names = _names(connection, chunk)
    found: list[tuple[int, Blob]] = []
    query = sa.select(_T.c.day, _T.c.data).where(
        _T.c.chunk == chunk, _T.c.day.between(_number(first_day), _number(last_day))
    )
    for day, data in binary(connection).execute(query.order_by(_T.c.day)):
        found.append((day, decode(data)))
    rest = {name: dtype for name, dtype in schema.items() if name not in ("drive", "day")}
    frame = frame_of([blob for _, blob in found], rest)
    slots = np.concatenate([blob.slots for _, blob in found] or [np.zeros(0, np.int64)])
    days = np.repeat(np.array([day for day, _ in found], np.int64), [blob.slots.size for _, blob in found])
    numbers = slots + chunk * DRIVES_PER_CHUNK
    order = np.lexsort((days, _ranks(names, chunk)[slots]))
    if only is not None:
        order = order[np.isin(numbers[order], np.fromiter(only, np.int64, len(only)))]
    try:
        drive = pl.Series("drive", [names[number] for number in numbers[order].tolist()], pl.String)
    except KeyError as error:
        raise CorruptPageError(f"a blob of chunk {chunk} has a row of drive {error}, which there is not") from error
    day = pl.Series("day", days[order]).cast(pl.Int32).cast(pl.Date)
    columns = frame[order].get_columns() if rest else []
    return pl.DataFrame([drive, day, *columns]).select(list(schema))


def stored_days(connection: sa.Connection, chunk: int) -> list[dt.date]:
    """The days of which a chunk has anything, ascending."""
    query = sa.select(_T.c.day).where(_T.c.chunk == chunk).order_by(_T.c.day)
    return [_EPOCH + dt.timedelta(days=day) for day in connection.execute(query).scalars()]


def delete_days(connection: sa.Connection, before: dt.date, limit: int = _BLOBS_AT_ONCE) -> int:
    """Delete blobs of days before this one, the oldest first and at most `limit`; returns how many.

    Call it until it returns 0, each time in a transaction of its own: so none lasts long.
    """
    query = sa.select(_T.c.day, _T.c.chunk).where(_T.c.day < _number(before)).order_by(_T.c.day).limit(limit)
    found = connection.execute(query).all()
    for day in sorted({row.day for row in found}):
        chunks = [row.chunk for row in found if row.day == day]
        connection.execute(sa.delete(_T).where(_T.c.day == day, _T.c.chunk.in_(chunks)))
    return len(found)


def _number(day: dt.date) -> int:
    return (day - _EPOCH).days


def _blobs(connection: sa.Connection, chunk: int, days: list[int]) -> Iterator[tuple[int, bytes]]:
    for at in range(0, len(days), _BLOBS_AT_ONCE):
        some = days[at : at + _BLOBS_AT_ONCE]
        query = sa.select(_T.c.day, _T.c.data).where(_T.c.chunk == chunk, _T.c.day.in_(some))
        yield from ((row.day, bytes(row.data)) for row in binary(connection).execute(query))


def _merged(held: bytes | None, new: pl.DataFrame) -> bytes:
    """The blob with these rows in place of those of the same slots; of two new rows of one slot the last counts."""
    new = new.unique("slot_", keep="last")
    if held is not None:
        blob = decode(held)
        kept = np.flatnonzero(~np.isin(blob.slots, new["slot_"].to_numpy()))
        old = frame_of([blob], schema_of(blob)).with_columns(pl.Series("slot_", blob.slots))[kept]
        new = new.with_columns(pl.col(_whole(new)).cast(pl.Int64))
        for name in set(old.columns) & set(new.columns):
            if old[name].dtype != new[name].dtype:
                raise TypeError(
                    f"column {name!r} is {new[name].dtype}, and what is kept of this day is {old[name].dtype}"
                )
        new = pl.concat([old, new], how="diagonal")
    new = new.sort("slot_")
    slots: Int64Array = new["slot_"].to_numpy()
    return encode(slots, new.drop("slot_"))


def _whole(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype.is_integer() or dtype == pl.Date]


def _names(connection: sa.Connection, chunk: int) -> dict[int, str]:
    query = sa.select(drives.c.id, drives.c.drive)
    query = query.where(drives.c.id.between(chunk * DRIVES_PER_CHUNK, (chunk + 1) * DRIVES_PER_CHUNK - 1))
    return {row.id: row.drive for row in connection.execute(query)}


def _ranks(names: Mapping[int, str], chunk: int) -> Int64Array:
    """Slot -> place of its drive in the order of names."""
    ranks = np.zeros(DRIVES_PER_CHUNK, np.int64)
    for rank, number in enumerate(sorted(names, key=lambda number: names[number])):
        ranks[number - chunk * DRIVES_PER_CHUNK] = rank
    return ranks
