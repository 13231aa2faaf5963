"""Columns of one length in one blob: made narrow, cut into planes of bytes, then zstd over the whole.

    format (1 byte) | zstd, with checksum:  length of the head (4) | head (msgpack) | arrays

The head names each column, its kind and how to read its arrays, so a blob tells its own schema and columns may come
and go between releases. Integers are counted from the smallest one, in units of what divides all of them, one plane
for each byte that is needed: high planes are all zero or nearly so, low planes are noise, and zstd tells them apart by
itself. NULLs are a bitmap, and take no place in the arrays. Strings are the blob's own dictionary and codes.
What lies before the columns' arrays is the caller's (store/drive_blobs.py, store/tail_blobs.py). Equal columns give
equal bytes.
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

from store.errors import CorruptPageError

MAX_UNPACKED_BYTES = 16 * 2**20
_ZSTD_LEVEL = 3
_HEAD = struct.Struct("<I")

Int64Array: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Items: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal["int", "bool", "float", "text"]
DTYPES: Mapping[Kind, np.dtype[Any]] = {
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


class Column(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How to read one column: `planes` bytes a value, which stands for low + unit * it; `words` of a text."""

    name: str
    kind: Kind
    nulls: Literal["none", "some", "all"]  # "some" has a bitmap of what is known, "all" no arrays
    planes: int
    low: int = 0
    unit: int = 1
    words: tuple[str, ...] = ()


class Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the columns are, and how many rows they have."""

    rows: int
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """One column: an item for each row, whatever stands where `valid` is False; codes into `words` for texts."""

    kind: Kind
    items: Items
    valid: BoolArray | None
    words: tuple[str, ...]


class _Zstd(threading.local):
    """One of each per thread, for they may not be shared."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _Zstd()
_heads = msgspec.msgpack.Decoder(Head)


def pack(form: int, frame: pl.DataFrame, before: Sequence[bytes] = ()) -> bytes:
    """The blob of a frame: columns of integers, dates (kept as days since 1970), Boolean, Float32 and String.

    Args:
        form: the first byte, by which the reader knows what this is.
        before: arrays of the caller's, which lie before those of the columns.
    Raises:
        TypeError: a column of another type.
    """
    columns: list[Column] = []
    arrays: list[bytes] = [*before]
    for series in frame.iter_columns():
        column, parts = _packed(series)
        columns.append(column)
        arrays += parts
    head = msgspec.msgpack.encode(Head(frame.height, tuple(columns)))
    body = b"".join([_HEAD.pack(len(head)), head, *arrays])
    return bytes([form]) + _zstd.compressor.compress(body)


class Reader:
    """A blob that was opened: its head, and its arrays, one after another."""

    def __init__(self, data: bytes, form: int, what: str) -> None:
        """`what` names the blob in messages, as "a blob of drives".

        Raises:
            CorruptPageError: the bytes are no such blob, damaged, or of a newer release.
        """
        self._what, self._at = what, 0
        if not data or data[0] != form:
            raise CorruptPageError(
                f"{what} starts with {data[:1].hex()!r}, wanted format {form}; "
                "it is damaged, or a newer release wrote it"
            )
        try:
            size = zstandard.frame_content_size(data[1:])
            if not _HEAD.size <= size <= MAX_UNPACKED_BYTES:
                raise CorruptPageError(f"{what} claims {size} bytes, at most {MAX_UNPACKED_BYTES} are taken")
            body = memoryview(_zstd.decompressor.decompress(data[1:], allow_extra_data=False))
            (length,) = _HEAD.unpack_from(body)
            self.head = _heads.decode(body[_HEAD.size : _HEAD.size + length])
        except (zstandard.ZstdError, struct.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CorruptPageError(f"{what} does not hold: {error}") from error
        if not 0 <= self.head.rows <= MAX_UNPACKED_BYTES:
            # Columns that say nothing take no bytes: their rows would be made of nothing, however many.
            raise CorruptPageError(f"{what} claims {self.head.rows} rows, at most {MAX_UNPACKED_BYTES} are taken")
        self._body = body[_HEAD.size + length :]

    def take(self, size: int) -> memoryview:
        """That many bytes.

        Raises:
            CorruptPageError: there are fewer.
        """
        left = len(self._body) - self._at
        if size > left:
            raise CorruptPageError(f"{self._what} ends early: {size} bytes wanted, {left} left")
        self._at += size
        return self._body[self._at - size : self._at]

    def bits(self, n: int) -> BoolArray:
        """So many bits."""
        return np.unpackbits(np.frombuffer(self.take((n + 7) // 8), np.uint8), count=n).view(np.bool_)

    def columns(self) -> dict[str, Values]:
        """All columns; nothing may be left after them.

        Raises:
            CorruptPageError: they are not as the head says.
        """
        found = {column.name: self._column(column, self.head.rows) for column in self.head.columns}
        left = len(self._body) - self._at
        if left or len(found) != len(self.head.columns):
            raise CorruptPageError(f"{self._what} has {left} bytes after its last column, or two columns of one name")
        return found

    def _column(self, column: Column, rows: int) -> Values:
        if not 0 <= column.planes <= 8 or not 1 <= column.unit < 2**64 or not -(2**63) <= column.low < 2**63:
            raise CorruptPageError(f"column {column.name!r} of {self._what} has {column}, which cannot be")
        if column.nulls == "all":
            return Values(column.kind, np.zeros(rows, DTYPES[column.kind]), np.zeros(rows, np.bool_), ())
        if column.nulls == "none":
            return Values(column.kind, self._items(column, rows), None, column.words)
        valid = self.bits(rows)
        items = np.zeros(rows, DTYPES[column.kind])
        items[valid] = self._items(column, int(np.count_nonzero(valid)))
        return Values(column.kind, items, valid, column.words)

    def _items(self, column: Column, known: int) -> Items:
        """The values of a column that are not NULL."""
        if column.kind == "bool":
            return self.bits(known)
        width = DTYPES[column.kind].itemsize
        if column.planes > width or (column.kind == "float" and column.planes != width):
            raise CorruptPageError(f"column {column.name!r} of {self._what} has {column.planes} bytes a value")
        data = self.take(known * column.planes)
        array = np.zeros((known, width), np.uint8)
        array[:, : column.planes] = np.frombuffer(data, np.uint8).reshape(column.planes, known).T
        if column.kind == "float":
            return array.view(np.float32).reshape(known)
        above = array.view(np.uint64).reshape(known)
        items = (above * np.uint64(column.unit) + np.uint64(column.low % 2**64)).view(np.int64)
        if column.kind == "text" and known and not (items.min() >= 0 and items.max() < len(column.words)):
            raise CorruptPageError(f"column {column.name!r} of {self._what} has a code beyond its words")
        return items


def kind_of(name: str, dtype: pl.DataType) -> Kind:
    """How a column of this type is kept.

    Raises:
        TypeError: no blob takes it.
    """
    kind = _KINDS.get(type(dtype))
    if kind is None:
        raise TypeError(f"column {name!r} is {dtype}; a blob takes {', '.join(one.__name__ for one in _KINDS)}")
    return kind


def _packed(series: pl.Series) -> tuple[Column, list[bytes]]:
    kind = kind_of(series.name, series.dtype)
    known = series.drop_nulls()
    if not len(known):
        return Column(series.name, kind, "all", 0), []
    some = len(known) < len(series)
    nulls: Literal["none", "some"] = "some" if some else "none"
    parts = [np.packbits(series.is_not_null().to_numpy()).tobytes()] if some else []
    if kind == "float":
        return Column(series.name, kind, nulls, 4), [*parts, _planes(known.to_numpy(), 4)]
    if kind == "bool":
        return Column(series.name, kind, nulls, 0), [*parts, np.packbits(known.to_numpy()).tobytes()]
    words: tuple[str, ...] = ()
    if kind == "text":
        words = tuple(known.unique().sort().to_list())
        known = known.cast(pl.Enum(words)).to_physical()
    low, unit, planes, array = _narrow(known.cast(pl.Int64).to_numpy())
    return Column(series.name, kind, nulls, planes, low, unit, words), [*parts, array]


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
