"""Frame bodies made of columns: each as a few plain arrays, integers narrowed, then zstd over the whole.

A msgpack prefix says of every column how to read its arrays; FORMAT.md draws it. Columns of lists are their lengths
and their items, the first item of each list apart where that makes the rest narrower (the first gap of a sketch is a
cell's number, the others are small). Text that repeats itself is a dictionary and codes. Floats that are whole
numbers travel as integers.
Compressing the columns together, not each by itself, lets one schema-sized prefix be all that they cost.
The reader says which columns and types it expects; anything else is a CorruptFrameError.
Measured beside Arrow IPC and zstd alone by benchmarks/collector (wire_bytes).
"""

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import zstandard

from pipeline.coded import Coded
from pipeline.ragged import Column, Columns, Ragged, as_series
from wire.errors import CorruptFrameError, FrameTooLargeError
from wire.integers import MAX_ITEMS, Int64Array, Narrowed, narrow, narrow_codes, size_of_span, widen
from wire.texts import Codes, coded, coded_enum

# Agents cut their rows at about 2 MB before packing; what claims much more than that is no agent's frame. All three
# limits stand (MAX_ITEMS is the third), because equal values take no bytes and narrow ones widen eight times.
MAX_UNPACKED_BYTES = 16 * 2**20
MAX_ROWS = 1_000_000
# Names and kinds of columns; more would be objects by the million.
MAX_PREFIX_BYTES = 2**18
_ZSTD_LEVEL = 1  # of narrowed columns, level 3 saves 1-3 % of the bytes for a tenth more CPU
_PREFIX = struct.Struct("<I")
# Longer ones do not stand where NULL does: one long text would be there once for each, in gigabytes of rows.
_SHORT_TEXT = 64  # characters
_FEW_TEXTS = 256  # below, a loop is faster than what Polars takes to get going

Kind: TypeAlias = Literal["int", "float", "whole", "bool", "text", "codes", "bytes", "lists", "gaps"]
_Packed: TypeAlias = tuple[Kind, list[Narrowed], list[bytes]]
_KINDS: dict[type[pl.DataType], tuple[Kind, ...]] = {
    pl.Int64: ("int",),
    pl.Float64: ("float", "whole"),
    pl.Boolean: ("bool",),
    pl.String: ("text", "codes"),
    pl.Binary: ("bytes",),
    pl.List: ("lists", "gaps"),
}


class _Zstd(threading.local):
    """One of each per thread, for they may not be shared; making one costs an eighth of what it then does."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_ZSTD = _Zstd()


class _Column(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One column: `nulls` says that a bit per row comes first, `arrays` which narrowed arrays follow."""

    name: str
    nulls: bool
    kind: Kind
    arrays: list[Narrowed]


class _Prefix(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    rows: int
    columns: list[_Column]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Prefix, strict=True)


def pack_columns(table: pl.DataFrame | Columns) -> bytes:
    """A table's columns, all of one length, as a frame body; equal tables give equal bytes.

    Columns are Int64, Float64, Boolean, String, Binary, Enum, which comes back as String, and lists of Int32 or Int64
    without NULL, of Polars or `Ragged`.

    Raises:
        FrameTooLargeError: more than `unpack_columns` takes: MAX_ROWS rows, MAX_ITEMS items in a column of lists,
            MAX_UNPACKED_BYTES before compression or in one column of text.
        TypeError: a column of another type.
    Cost: a few passes per column plus zstd over the narrowed bytes.
    """
    named = table.to_dict() if isinstance(table, pl.DataFrame) else table
    rows = table.height if isinstance(table, pl.DataFrame) else len(next(iter(table.values()), ()))
    if rows > MAX_ROWS:
        raise FrameTooLargeError(f"{rows} rows in one body; at most {MAX_ROWS}, split them")
    columns: list[_Column] = []
    buffers: list[bytes] = []
    for name, column in named.items():
        nulls, packed = _packed(name, column)
        columns.append(_Column(name, nulls is not None, packed[0], packed[1]))
        buffers += [*([] if nulls is None else [nulls]), *packed[2]]
    prefix = _encoder.encode(_Prefix(rows, columns))
    payload = b"".join([_PREFIX.pack(len(prefix)), prefix, *buffers])
    if len(payload) > MAX_UNPACKED_BYTES or len(prefix) > MAX_PREFIX_BYTES:
        raise FrameTooLargeError(
            f"{rows} rows take {len(payload)} bytes, {len(prefix)} of them for names; "
            f"at most {MAX_UNPACKED_BYTES} and {MAX_PREFIX_BYTES}, split them"
        )
    return _ZSTD.compressor.compress(payload)


def unpacked_bytes(body: bytes) -> int:
    """What a body that `pack_columns` made takes before compression."""
    size: int = zstandard.frame_content_size(body)
    return size


def unpack_columns(body: bytes, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """The columns of a body, in the order and types of `schema`.

    Raises:
        CorruptFrameError: the body is no such frame, or its columns are not those of `schema`.
    """
    with _anything_else_is_corrupt():
        columns = _unpacked_columns(body, schema)
        return pl.DataFrame([as_series(name, column, schema[name]) for name, column in columns.items()])


def unpack_ragged(body: bytes, schema: dict[str, pl.DataType]) -> dict[str, Column | Coded]:
    """As `unpack_columns`, but by name, with lists as `Ragged` int64 and text of few kinds as `Coded`.

    The range of the lists' items is not checked.
    """
    with _anything_else_is_corrupt():
        return _unpacked_columns(body, schema)


def _unpacked_columns(body: bytes, schema: dict[str, pl.DataType]) -> dict[str, Column | Coded]:
    payload = _unpacked(body)
    (prefix_bytes,) = _PREFIX.unpack_from(payload)
    if prefix_bytes > MAX_PREFIX_BYTES:
        raise CorruptFrameError(f"a prefix of {prefix_bytes} bytes; at most {MAX_PREFIX_BYTES}")
    prefix = _decoder.decode(payload[_PREFIX.size : _PREFIX.size + prefix_bytes])
    names = [column.name for column in prefix.columns]
    if not 0 <= prefix.rows <= MAX_ROWS or names != list(schema):
        raise CorruptFrameError(
            f"columns {names} with {prefix.rows} rows; wanted {list(schema)} with at most {MAX_ROWS}"
        )
    reader = _Reader(payload, _PREFIX.size + prefix_bytes, prefix.rows)
    found = {column.name: reader.column(column, schema[column.name]) for column in prefix.columns}
    reader.finish()
    return found


@contextmanager
def _anything_else_is_corrupt() -> Iterator[None]:
    """Whatever msgspec, NumPy, zstd or Polars make of a body that nobody wrote: it is not a set of columns."""
    try:
        yield
    except (
        msgspec.MsgspecError,
        struct.error,
        zstandard.ZstdError,
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,  # no Exception, but what Polars raises where it did not expect its input
        ValueError,
        OverflowError,
        TypeError,
        IndexError,
    ) as error:
        raise CorruptFrameError(f"the body is not a set of columns: {error}") from error


def _unpacked(packed: bytes) -> memoryview:
    size = zstandard.frame_content_size(packed)
    if not 0 <= size <= MAX_UNPACKED_BYTES:
        raise CorruptFrameError(f"columns would unpack to {size} bytes; at most {MAX_UNPACKED_BYTES}, and said so")
    return memoryview(_ZSTD.decompressor.decompress(packed, max_output_size=MAX_UNPACKED_BYTES))


def _packed(name: str, column: Column) -> tuple[bytes | None, _Packed]:
    """The bits of the rows that have a value, None where all have one, and the column."""
    if isinstance(column, Ragged):
        return None, _packed_lists(name, column)
    if isinstance(column.dtype, pl.List) and column.dtype.inner in (pl.Int32, pl.Int64):
        return None, _packed_lists(name, Ragged.from_series(column))
    if isinstance(column.dtype, pl.Enum):
        return _packed_enum(column)
    if type(column.dtype) not in _PACKERS:
        wanted = "Int64, Float64, Boolean, String, Binary or lists of integers"
        raise TypeError(f"column {name!r} is {column.dtype}; want {wanted}")
    anything, pack = _PACKERS[type(column.dtype)]
    if not column.null_count():
        return None, pack(column)
    present = column.drop_nulls()
    # A value that stands there anyway packs best; of bytes the shortest does.
    stands_in = present[0] if present.len() and column.dtype != pl.Binary else anything
    if isinstance(stands_in, str) and len(stands_in) > _SHORT_TEXT:
        stands_in = ""
    filled = column.fill_null(pl.lit(stands_in, dtype=column.dtype))
    return _present(column), pack(filled)


def _packed_enum(column: pl.Series) -> tuple[bytes | None, _Packed]:
    """Text that is codes already."""
    if not column.null_count():
        return None, _packed_codes(*coded_enum(column)) if len(column) else _packed_text(column.cast(pl.String))
    present = column.drop_nulls()
    if not present.len():
        return _packed(column.name, column.cast(pl.String))
    return _present(column), _packed_codes(*coded_enum(column.fill_null(present[0])))


def _present(column: pl.Series) -> bytes:
    return np.packbits(column.is_not_null().to_numpy()).tobytes()


def _packed_integers(series: pl.Series) -> _Packed:
    return _with("int", series.to_numpy())


def _packed_booleans(series: pl.Series) -> _Packed:
    return "bool", [], [np.packbits(series.to_numpy()).tobytes()]


def _with(kind: Kind, *arrays: npt.NDArray[np.int64 | np.int32], in_order: bool = True) -> _Packed:
    narrowed = [narrow(array, in_order=in_order) for array in arrays]
    return kind, [how for how, _ in narrowed], [stored for _, stored in narrowed]


def _packed_floats(series: pl.Series) -> _Packed:
    values = series.to_numpy()
    if values.size and np.abs(values).max() < 2**53:  # false if one is NaN
        whole = values.astype(np.int64)
        # Compared as bits: minus zero is no integer.
        if np.array_equal(whole.astype(np.float64).view(np.int64), values.view(np.int64)):
            kind, arrays, stored = _with("whole", whole)
            if arrays[0].size < 8:
                return kind, arrays, stored
    return "float", [], [values.astype("<f8").tobytes()]


def _packed_text(series: pl.Series) -> _Packed:
    found = coded(series)
    if found is not None:
        return _packed_codes(*found)
    if not series.len():
        return _with("text", np.zeros(0, np.int64))
    kind, arrays, stored = _with("text", _lengths(series), in_order=False)
    return kind, arrays, [*stored, _joined(series)]


def _packed_bytes(series: pl.Series) -> _Packed:
    kind, arrays, stored = _with("bytes", series.bin.size().cast(pl.Int64).to_numpy(), in_order=False)
    return kind, arrays, [*stored, *series.to_list()]


def _packed_codes(codes: Codes, distinct: pl.Series) -> _Packed:
    if distinct.len() <= _FEW_TEXTS:
        texts = [text.encode() for text in distinct.to_list()]
        lengths, joined = np.array([len(text) for text in texts], np.int64), b"".join(texts)
    else:
        lengths, joined = _lengths(distinct), _joined(distinct)
    if int(lengths.max()) * codes.size > MAX_UNPACKED_BYTES:
        text_bytes = int(lengths[codes].sum())
        if text_bytes > MAX_UNPACKED_BYTES:
            raise FrameTooLargeError(
                f"{text_bytes} bytes of text in one column; at most {MAX_UNPACKED_BYTES}, split them"
            )
    how, stored = narrow_codes(codes, distinct.len())
    kind, arrays, stored_lengths = _with("codes", lengths, in_order=False)
    return kind, [how, *arrays], [stored, *stored_lengths, joined]


def _lengths(texts: pl.Series) -> Int64Array:
    return texts.str.len_bytes().to_numpy().astype(np.int64)


def _joined(texts: pl.Series) -> bytes:
    """All texts, one behind the other; as bytes at once, for Python's text would be a copy that is checked twice."""
    joined: bytes = texts.str.join("").cast(pl.Binary).item()
    return joined


def _packed_lists(name: str, column: Ragged) -> _Packed:
    lengths, flat = column.lengths, column.items
    if flat.size > MAX_ITEMS:
        raise FrameTooLargeError(f"{flat.size} items in the lists of {name!r}; at most {MAX_ITEMS}, split them")
    size = size_of_span(int(flat.max()) - int(flat.min())) if flat.size else 0
    if size > 1:
        firsts_at = _firsts(lengths)
        rest = flat.copy()
        rest[firsts_at] = 0
        if size_of_span(int(rest.max()) - int(rest.min())) < size:
            return _with("gaps", lengths, flat[firsts_at], rest, in_order=False)
    return _with("lists", lengths, flat, in_order=False)


# What stands in the place of a NULL where a column has nothing else, and how a column without NULL is packed.
_PACKERS: dict[type[pl.DataType], tuple[object, Callable[[pl.Series], _Packed]]] = {
    pl.Int64: (0, _packed_integers),
    pl.Float64: (0.0, _packed_floats),
    pl.Boolean: (False, _packed_booleans),
    pl.String: ("", _packed_text),
    pl.Binary: (b"", _packed_bytes),
}


def _firsts(lengths: Int64Array) -> Int64Array:
    """Where in the items each list that has one begins."""
    return (np.cumsum(lengths) - lengths)[lengths > 0]


class _Reader:
    """Takes the arrays of one column after the other from a body."""

    def __init__(self, payload: memoryview, at: int, rows: int) -> None:
        self._payload = payload
        self._at = at
        self._rows = rows

    def column(self, column: _Column, dtype: pl.DataType) -> Column | Coded:
        """The next column.

        Raises:
            CorruptFrameError: it is not of this type, or its arrays do not fit together.
        """
        if column.kind not in _KINDS[type(dtype)]:
            raise CorruptFrameError(f"column {column.name!r} is of kind {column.kind!r}, wanted {dtype}")
        valid = self._bits() if column.nulls else None
        arrays = iter(column.arrays)
        if column.kind in ("lists", "gaps"):
            values: Column | Coded = self._lists(arrays, firsts_apart=column.kind == "gaps")
        elif column.kind == "codes":
            values = self._coded(column.name, arrays)
        else:
            values = self._values(column.kind, arrays).alias(column.name)
        if next(arrays, None) is not None:
            raise CorruptFrameError(f"column {column.name!r} has more arrays than its kind {column.kind!r}")
        if valid is None:
            return values
        if isinstance(values, Ragged):
            raise CorruptFrameError(f"column {column.name!r} of lists has NULLs")
        if isinstance(values, Coded):
            values = values.to_series(column.name)
        return values.to_frame().select(pl.when(pl.Series(valid)).then(pl.col(column.name))).to_series()

    def finish(self) -> None:
        """Nothing may be left over."""
        if self._at != len(self._payload):
            raise CorruptFrameError(f"{len(self._payload) - self._at} bytes too many behind the columns")

    def _values(self, kind: Kind, arrays: Iterator[Narrowed]) -> pl.Series:
        if kind == "int":
            return pl.Series(self._integers(arrays, self._rows))
        if kind == "whole":
            return pl.Series(self._integers(arrays, self._rows).astype(np.float64))
        if kind == "float":
            return pl.Series(np.frombuffer(self._taken(8 * self._rows), "<f8").astype(np.float64))
        if kind == "bool":
            return pl.Series(self._bits())
        if kind == "bytes":
            return self._byte_strings(self._integers(arrays, self._rows))
        return self._texts(self._integers(arrays, self._rows))

    def _coded(self, name: str, arrays: Iterator[Narrowed]) -> pl.Series | Coded:
        codes = self._integers(arrays, self._rows)
        entry = _next(arrays)
        lengths = widen(entry, self._taken(entry.stored_bytes), min(entry.items, self._rows))
        texts = self._few_texts(lengths) if lengths.size <= _FEW_TEXTS else self._texts(lengths)
        if codes.size and (codes.min() < 0 or codes.max() >= lengths.size):
            raise CorruptFrameError(f"a code between {codes.min()} and {codes.max()} for {lengths.size} texts")
        if int(lengths[codes].sum()) > MAX_UNPACKED_BYTES:
            raise CorruptFrameError(f"texts would unpack to more than {MAX_UNPACKED_BYTES} bytes")
        return Coded(codes, texts) if isinstance(texts, list) else texts[codes].alias(name)

    def _few_texts(self, lengths: Int64Array) -> list[str]:
        joined = bytes(self._taken(_total(lengths, MAX_UNPACKED_BYTES)))
        starts = [0, *np.cumsum(lengths).tolist()]
        whole = joined.decode()
        if len(whole) == len(joined):  # a byte per character: the bounds are those of the text
            return [whole[a:b] for a, b in pairwise(starts)]
        return [joined[a:b].decode() for a, b in pairwise(starts)]

    def _texts(self, lengths: Int64Array) -> pl.Series:
        if lengths.size <= _FEW_TEXTS:
            return pl.Series(self._few_texts(lengths), dtype=pl.String)
        ends = np.cumsum(lengths)
        joined = bytes(self._taken(_total(lengths, MAX_UNPACKED_BYTES)))
        places = pl.DataFrame({"start": ends - lengths, "length": lengths})
        whole = pl.lit(
            pl.Series([joined], dtype=pl.Binary)
        ).first()  # as a literal the bytes are copied again and again
        return places.select(whole.bin.slice("start", "length").cast(pl.String)).to_series()

    def _byte_strings(self, lengths: Int64Array) -> pl.Series:
        joined = bytes(self._taken(_total(lengths, MAX_UNPACKED_BYTES)))
        ends = [0, *np.cumsum(lengths).tolist()]
        return pl.Series([joined[start:end] for start, end in pairwise(ends)], dtype=pl.Binary)

    def _lists(self, arrays: Iterator[Narrowed], *, firsts_apart: bool) -> Ragged:
        lengths = self._integers(arrays, self._rows)
        total = _total(lengths, MAX_ITEMS)
        starts = _firsts(lengths)
        firsts = self._integers(arrays, starts.size) if firsts_apart else None
        items = self._integers(arrays, total)
        if firsts is not None:
            items[starts] = firsts
        return Ragged(lengths, items)

    def _integers(self, arrays: Iterator[Narrowed], items: int) -> Int64Array:
        how = _next(arrays)
        return widen(how, self._taken(how.stored_bytes), items)

    def _bits(self) -> npt.NDArray[np.bool_]:
        packed = np.frombuffer(self._taken(-(-self._rows // 8)), np.uint8)
        return np.unpackbits(packed, count=self._rows).astype(bool)

    def _taken(self, size: int) -> memoryview:
        """The next `size` bytes."""
        found = self._payload[self._at : self._at + size] if size >= 0 else self._payload[:0]
        if len(found) != size:
            raise CorruptFrameError(f"{len(found)} bytes where {size} belong")
        self._at += size
        return found


def _next(arrays: Iterator[Narrowed]) -> Narrowed:
    how = next(arrays, None)
    if how is None:
        raise CorruptFrameError("a column lacks one of its arrays")
    return how


def _total(lengths: Int64Array, most: int) -> int:
    total = int(lengths.sum())
    if lengths.size and (lengths.min() < 0 or lengths.max() > most or total > most):
        raise CorruptFrameError(
            f"lengths from {lengths.min()} to {lengths.max()} that add up to {total}; at most {most}"
        )
    return total
