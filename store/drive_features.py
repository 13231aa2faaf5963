"""The newest features of each chunk's drives, as the job computed them; derived, so losing them costs time only.

Only what was computed by the formulas of `version` is given back: after a release that computes otherwise, everything
is computed anew. The caller that writes holds the job's lease (store/leases.py).
"""

import datetime as dt
from collections.abc import Mapping

import numpy as np
import polars as pl
import sqlalchemy as sa

from store.drive_blobs import decode, encode, frame_of, schema_of
from store.drive_tables import DRIVES_PER_CHUNK, drive_features, drives
from store.postgresql import binary
from store.upsert import insert

_T = drive_features
_EPOCH = dt.date(1970, 1, 1)


def put_features(
    connection: sa.Connection,
    chunk: int,
    day: dt.date,
    version: str,
    features: pl.DataFrame,
    numbers: Mapping[str, int],
) -> None:
    """Keep the features of a chunk in place of those of an earlier day or another version.

    Args:
        day: the newest day that they are of; features of a later day of the same version stay.
        features: one row a drive: `drive`, and columns of Float32, integers, dates, Boolean or String.
        numbers: drive -> number, of every drive in it.
    """
    slots = np.array([numbers[name] for name in features["drive"]], np.int64) - chunk * DRIVES_PER_CHUNK
    order = np.argsort(slots)
    row = {
        "chunk": chunk,
        "day": (day - _EPOCH).days,
        "features_version": version,
        "data": encode(slots[order], features.drop("drive")[order]),
    }
    statement = insert(connection, _T)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["chunk"],
            set_={name: new[name] for name in ("day", "features_version", "data")},
            where=sa.or_(new.day >= _T.c.day, new.features_version != _T.c.features_version),
        ),
        [row],
    )


def read_features(
    connection: sa.Connection, chunk: int, version: str, dates: tuple[str, ...] = ("day",)
) -> tuple[dt.date, pl.DataFrame] | None:
    """(newest day, one row a drive by number) of a chunk's features, or None where there are none of this version.

    Args:
        dates: which columns are dates.
    Raises:
        CorruptPageError: the blob does not hold.
    """
    query = sa.select(_T.c.day, _T.c.data).where(_T.c.chunk == chunk, _T.c.features_version == version)
    row = binary(connection).execute(query).one_or_none()
    if row is None:
        return None
    blob = decode(row.data)
    frame = frame_of([blob], schema_of(blob))
    frame = frame.with_columns(pl.col(name).cast(pl.Int32).cast(pl.Date) for name in dates if name in frame.columns)
    low = chunk * DRIVES_PER_CHUNK
    known = sa.select(drives.c.id, drives.c.drive).where(drives.c.id.between(low, low + DRIVES_PER_CHUNK - 1))
    names = {one.id: one.drive for one in connection.execute(known)}
    # A drive that was forgotten since (store/drive_retention.py) has no name.
    drive = pl.Series("drive", [names.get(low + slot) for slot in blob.slots.tolist()], pl.String)
    return _EPOCH + dt.timedelta(days=row.day), frame.insert_column(0, drive).drop_nulls("drive")
