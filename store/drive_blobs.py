"""A table of up to 1,024 drives in one blob: which of them have a row, and the columns.

    format (1 byte) | zstd, with checksum:  length of the head (4) | head (msgpack) | slots | columns, in order

Which drives have a row is a bitmap of slots; a drive's name is not in the blob. The rest is store/column_blobs.py.
A healthy fleet takes 23 bytes a drive and day (Arrow IPC with zstd: 41), and a core reads a million of them a second.
Equal tables give equal bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from store.column_blobs import DTYPES, BoolArray, Int64Array, Items, Kind, Reader, Values, kind_of, pack
from store.drive_tables import DRIVES_PER_CHUNK
from store.errors import CorruptPageError

BLOB_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Blob:
    """A decoded blob: ascending slots, and the columns by name."""

    slots: Int64Array
    columns: dict[str, Values]


def encode(slots: Int64Array, frame: pl.DataFrame) -> bytes:
    """The blob of a frame whose rows are the drives in these slots of a chunk.

    Args:
        slots: int64[rows], ascending, each once, in [0, DRIVES_PER_CHUNK).
        frame: columns of integers, dates (kept as days since 1970), Boolean, Float32 and String.
    Raises:
        TypeError: a column of another type.
    """
    present = np.zeros(DRIVES_PER_CHUNK, np.bool_)
    present[slots] = True
    return pack(BLOB_FORMAT, frame, [np.packbits(present).tobytes()])


def decode(data: bytes) -> Blob:
    """What `encode` was given.

    Raises:
        CorruptPageError: the bytes are no such blob, damaged, or of a newer release.
    """
    reader = Reader(data, BLOB_FORMAT, "a blob of drives")
    slots = np.flatnonzero(reader.bits(DRIVES_PER_CHUNK))
    if slots.size != reader.head.rows:
        raise CorruptPageError(f"a blob of drives claims {reader.head.rows} rows and has {slots.size} drives")
    return Blob(slots, reader.columns())


def frame_of(blobs: Sequence[Blob], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows of all blobs, one blob after another, in the columns and types of `schema`.

    A column that a blob has not is NULL there; one that the schema has not is left out.

    Raises:
        CorruptPageError: a column is of another kind in a blob than the schema says.
    """
    counts = [blob.slots.size for blob in blobs]
    return pl.DataFrame(
        [_series(name, dtype, [blob.columns.get(name) for blob in blobs], counts) for name, dtype in schema.items()]
    )


def schema_of(blob: Blob) -> dict[str, pl.DataType]:
    """The columns of a blob with the types that its values have."""
    types: dict[Kind, pl.DataType] = {
        "int": pl.Int64(),
        "bool": pl.Boolean(),
        "float": pl.Float32(),
        "text": pl.String(),
    }
    return {name: types[values.kind] for name, values in blob.columns.items()}


def _series(name: str, dtype: pl.DataType, parts: Sequence[Values | None], counts: Sequence[int]) -> pl.Series:
    """One column over all blobs."""
    kind = kind_of(name, dtype)
    items: list[Items] = []
    valid: list[BoolArray] = []
    words: dict[str, int] = {}
    for values, rows in zip(parts, counts, strict=True):
        if values is not None and values.kind != kind:
            raise CorruptPageError(f"column {name!r} of a blob of drives holds {values.kind}, wanted {kind}")
        if values is None:
            items.append(np.zeros(rows, DTYPES[kind]))
            valid.append(np.zeros(rows, np.bool_))
            continue
        items.append(_common(values, words) if kind == "text" else values.items)
        valid.append(np.ones(rows, np.bool_) if values.valid is None else values.valid)
    known = np.concatenate(valid) if valid else np.zeros(0, np.bool_)
    joined = np.concatenate(items) if items else np.zeros(0, DTYPES[kind])
    series = pl.Series(name, joined)
    if kind == "text":
        series = pl.Series(name, [*words, None], pl.String).gather(joined)
    if not known.all():
        series = series.set(pl.Series(~known), None)
    try:
        return series.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise CorruptPageError(f"column {name!r} of a blob of drives holds values that are no {dtype}") from error


def _common(values: Values, words: dict[str, int]) -> Items:
    """A text's codes in the dictionary of all blobs, which grows by its words."""
    codes = np.array([words.setdefault(word, len(words)) for word in values.words] or [0], np.int64)
    return codes[values.items]
