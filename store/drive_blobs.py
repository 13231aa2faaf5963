"""A table of up to 1,024 drives in one blob: columns made narrow, cut into planes of bytes, then zstd over the whole.

    format (1 byte) | zstd, with checksum:  length of the head (4) | head (msgpack) | arrays of the columns, in order

The head names each column, its kind and how to read its arrays, so a blob tells its own schema and columns may come
and go between releases. Which drives have a row is a bitmap of slots; a drive's name is not in the blob. Integers are
counted from the smallest one, in units of what divides all of them, one plane for each byte that is needed: high
planes are all zero or nearly so, low planes are noise, and zstd tells them apart by itself. NULLs are a bitmap, and
take no place in the arrays. Strings are the blob's own dictionary and codes.
A healthy fleet takes 23 bytes a drive and day (Arrow IPC with zstd: 41), and a core reads a million of them a second.
Equal tables give equal bytes.
"""

import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import zstandard

from store.drive_tables import DRIVES_PER_CHUNK
from store.errors import CorruptPageError

BLOB_FORMAT = 1
MAX_UNPACKED_BYTES = 16 * 2**20
_ZSTD_LEVEL = 3
_HEAD = struct.Struct("<I")
_SLOT_BYTES = DRIVES_PER_CHUNK // 8

Int64Array: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Items: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal["int", "bool", "float", "text"]
_DTYPES: Mapping[Kind, np.dtype[Any]] = {
    "int": np.dtype(np.int64),
    "bool": np.dtype(np.bool_),
    "float": np.dtype(np.float32),
    "text": np.dtype(np.int64),
}
_KINDS: Mapping[type[pl.DataType], Kind] = {
    pl.Int64: "int",
    pl.Int32: "int",
    pl.Int16: "int",
    pl.Date: "int",
    pl.Boolean: "bool",
    pl.Float32: "float",
    pl.String: "text",
}


class _Column(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How to read one column: `planes` bytes a value, which stands for low + unit * it; `words` of a text."""

    name: str
    kind: Kind
    nulls: Literal["none", "some", "all"]  # "some" has a bitmap of what is known, "all" no arrays
    planes: int
    low: int = 0
    unit: int = 1
    words: tuple[str, ...] = ()


class _Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    rows: int
    columns: tuple[_Column, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """One column: an item for each row, whatever stands where `valid` is False; codes into `words` for texts."""

    kind: Kind
    items: Items
    valid: BoolArray | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """A decoded blob: ascending slots, and the columns by name."""

    slots: Int64Array
    columns: dict[str, Values]


class _Zstd(threading.local):
    """One of each per thread, for they may not be shared."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _Zstd()
_heads = msgspec.msgpack.Decoder(_Head)


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
    columns: list[_Column] = []
    arrays: list[bytes] = [np.packbits(present).tobytes()]
    for series in frame.iter_columns():
        column, parts = _packed(series)
        columns.append(column)
        arrays += parts
    head = msgspec.msgpack.encode(_Head(frame.height, tuple(columns)))
    body = b"".join([_HEAD.pack(len(head)), head, *arrays])
    return bytes([BLOB_FORMAT]) + _zstd.compressor.compress(body)


def decode(data: bytes) -> Blob:
    """What `encode` was given.

    Raises:
        CorruptPageError: the bytes are no such blob, damaged, or of a newer release.
    """
    head, body = _opened(data)
    reader = _Reader(body)
    present = _bits(reader.take(_SLOT_BYTES), DRIVES_PER_CHUNK)
    slots = np.flatnonzero(present)
    if slots.size != head.rows:
        raise CorruptPageError(f"a blob of drives claims {head.rows} rows and has {slots.size} drives")
    columns = {column.name: _read(reader, column, head.rows) for column in head.columns}
    if reader.left or len(columns) != len(head.columns):
        raise CorruptPageError(
            f"a blob of drives has {reader.left} bytes after its last column, or two columns of one name"
        )
    return Blob(slots, columns)


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


def _packed(series: pl.Series) -> tuple[_Column, list[bytes]]:
    kind = _kind_of(series.name, series.dtype)
    known = series.drop_nulls()
    if not len(known):
        return _Column(series.name, kind, "all", 0), []
    some = len(known) < len(series)
    nulls: Literal["none", "some"] = "some" if some else "none"
    parts = [np.packbits(series.is_not_null().to_numpy()).tobytes()] if some else []
    if kind == "float":
        return _Column(series.name, kind, nulls, 4), [*parts, _planes(known.to_numpy(), 4)]
    if kind == "bool":
        return _Column(series.name, kind, nulls, 0), [*parts, np.packbits(known.to_numpy()).tobytes()]
    words: tuple[str, ...] = ()
    if kind == "text":
        words = tuple(known.unique().sort().to_list())
        known = known.cast(pl.Enum(words)).to_physical()
    low, unit, planes, array = _narrow(known.cast(pl.Int64).to_numpy())
    return _Column(series.name, kind, nulls, planes, low, unit, words), [*parts, array]


def _kind_of(name: str, dtype: pl.DataType) -> Kind:
    kind = _KINDS.get(type(dtype))
    if kind is None:
        raise TypeError(f"column {name!r} is {dtype}; a blob takes {', '.join(one.__name__ for one in _KINDS)}")
    return kind


def _narrow(values: Int64Array) -> tuple[int, int, int, bytes]:
    """(low, unit, planes, array) of whole numbers."""
    low = int(values.min())
    above = values.view(np.uint64) - np.uint64(low % 2**64)  # wraps around where the span is wider than an int64
    unit = int(np.gcd.reduce(above)) or 1
    above = above // np.uint64(unit)
    planes = (int(above.max()).bit_length() + 7) // 8
    return low, unit, planes, _planes(above, planes)


def _planes(values: npt.NDArray[np.generic], planes: int) -> bytes:
    """The lowest bytes of all values, then the next ones, and so on."""
    width = values.dtype.itemsize
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, width)[:, :planes].T.tobytes()


def _opened(data: bytes) -> tuple[_Head, memoryview]:
    if not data or data[0] != BLOB_FORMAT:
        raise CorruptPageError(
            f"a blob of drives starts with {data[:1].hex()!r}, wanted format {BLOB_FORMAT}; "
            "it is damaged, or a newer release wrote it"
        )
    try:
        size = zstandard.frame_content_size(data[1:])
        if not _HEAD.size <= size <= MAX_UNPACKED_BYTES:
            raise CorruptPageError(f"a blob of drives claims {size} bytes, at most {MAX_UNPACKED_BYTES} are taken")
        body = memoryview(_zstd.decompressor.decompress(data[1:], allow_extra_data=False))
        (length,) = _HEAD.unpack_from(body)
        return _heads.decode(body[_HEAD.size : _HEAD.size + length]), body[_HEAD.size + length :]
    except (zstandard.ZstdError, struct.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptPageError(f"a blob of drives does not hold: {error}") from error


class _Reader:
    """The arrays, one after another."""

    def __init__(self, body: memoryview) -> None:
        self._body, self._at = body, 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, size: int) -> memoryview:
        if size > self.left:
            raise CorruptPageError(f"a blob of drives ends early: {size} bytes wanted, {self.left} left")
        self._at += size
        return self._body[self._at - size : self._at]


def _bits(data: memoryview, n: int) -> BoolArray:
    return np.unpackbits(np.frombuffer(data, np.uint8), count=n).view(np.bool_)


def _read(reader: _Reader, column: _Column, rows: int) -> Values:
    if not 0 <= column.planes <= 8 or not 1 <= column.unit < 2**64 or not -(2**63) <= column.low < 2**63:
        raise CorruptPageError(f"column {column.name!r} of a blob of drives has {column}, which cannot be")
    if column.nulls == "all":
        return Values(column.kind, np.zeros(rows, _DTYPES[column.kind]), np.zeros(rows, np.bool_), ())
    if column.nulls == "none":
        return Values(column.kind, _items(reader, column, rows), None, column.words)
    valid = _bits(reader.take((rows + 7) // 8), rows)
    items = np.zeros(rows, _DTYPES[column.kind])
    items[valid] = _items(reader, column, int(np.count_nonzero(valid)))
    return Values(column.kind, items, valid, column.words)


def _items(reader: _Reader, column: _Column, known: int) -> Items:
    """The values of a column that are not NULL."""
    if column.kind == "bool":
        return _bits(reader.take((known + 7) // 8), known)
    width = _DTYPES[column.kind].itemsize
    if column.planes > width or (column.kind == "float" and column.planes != width):
        raise CorruptPageError(f"column {column.name!r} of a blob of drives has {column.planes} bytes a value")
    array = np.zeros((known, width), np.uint8)
    data = reader.take(known * column.planes)
    array[:, : column.planes] = np.frombuffer(data, np.uint8).reshape(column.planes, known).T
    if column.kind == "float":
        return array.view(np.float32).reshape(known)
    above = array.view(np.uint64).reshape(known)
    items = (above * np.uint64(column.unit) + np.uint64(column.low % 2**64)).view(np.int64)
    if column.kind == "text" and known and not (items.min() >= 0 and items.max() < len(column.words)):
        raise CorruptPageError(f"column {column.name!r} of a blob of drives has a code beyond its words")
    return items


def _series(name: str, dtype: pl.DataType, parts: Sequence[Values | None], counts: Sequence[int]) -> pl.Series:
    """One column over all blobs."""
    kind = _kind_of(name, dtype)
    items: list[Items] = []
    valid: list[BoolArray] = []
    words: dict[str, int] = {}
    for values, rows in zip(parts, counts, strict=True):
        if values is not None and values.kind != kind:
            raise CorruptPageError(f"column {name!r} of a blob of drives holds {values.kind}, wanted {kind}")
        if values is None:
            items.append(np.zeros(rows, _DTYPES[kind]))
            valid.append(np.zeros(rows, np.bool_))
            continue
        items.append(_common(values, words) if kind == "text" else values.items)
        valid.append(np.ones(rows, np.bool_) if values.valid is None else values.valid)
    known = np.concatenate(valid) if valid else np.zeros(0, np.bool_)
    joined = np.concatenate(items) if items else np.zeros(0, _DTYPES[kind])
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
