"""Blobs of drives: what goes in comes out, small, in equal bytes, and damage is said and never read."""

import datetime as dt
import struct
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.ssd.columns import DAYS
from store.drive_blobs import BLOB_FORMAT, decode, encode, frame_of, schema_of
from store.drive_tables import DRIVES_PER_CHUNK
from store.errors import CorruptPageError
from tests.store.drives_world import healthy_fleet

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[pl.DataType, st.SearchStrategy[Any]] = {
    pl.Int64(): st.one_of(st.integers(0, 3), INT64),
    pl.Boolean(): st.booleans(),
    pl.Float32(): st.floats(width=32, allow_nan=False),
    pl.String(): st.text(max_size=5),
    pl.Date(): st.dates(),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], pl.DataFrame]:
    slots = sorted(draw(st.sets(st.integers(0, DRIVES_PER_CHUNK - 1), max_size=6)))
    columns = []
    for place, (dtype, values) in enumerate(VALUES.items()):
        items = draw(st.lists(st.none() | values, min_size=len(slots), max_size=len(slots)))
        columns.append(pl.Series(f"c{place}", items, dtype))
    return slots, pl.DataFrame(columns)


@given(tables())
def test_a_table_comes_back_as_it_was(table: tuple[list[int], pl.DataFrame]) -> None:
    slots, frame = table
    data = encode(np.array(slots, np.int64), frame)
    blob = decode(data)
    assert blob.slots.tolist() == slots
    back = frame_of([blob], frame.schema)
    assert back.equals(frame)
    assert back.schema == frame.schema
    assert encode(blob.slots, back) == data


@settings(max_examples=20)
@given(tables(), tables())
def test_tables_of_several_blobs_lie_one_after_another(
    one: tuple[list[int], pl.DataFrame], other: tuple[list[int], pl.DataFrame]
) -> None:
    blobs = [decode(encode(np.array(slots, np.int64), frame)) for slots, frame in (one, other)]
    assert frame_of(blobs, one[1].schema).equals(pl.concat([one[1], other[1]]))


def test_a_column_that_a_blob_has_not_is_null_and_one_that_nobody_asks_for_is_left_out() -> None:
    old = decode(encode(np.array([1]), pl.DataFrame({"crc_total": [7], "gone": ["x"]})))
    new = decode(encode(np.array([1]), pl.DataFrame({"crc_total": [8], "later": [True]})))
    frame = frame_of([old, new], {"crc_total": pl.Int64(), "later": pl.Boolean()})
    assert frame.rows() == [(7, None), (8, True)]
    assert schema_of(old) == {"crc_total": pl.Int64(), "gone": pl.String()}
    assert frame_of([], {"crc_total": pl.Int64(), "node": pl.String()}).shape == (0, 2)


def test_every_column_of_a_drive_day_has_a_place_and_a_healthy_fleet_takes_little() -> None:
    frame = healthy_fleet(DRIVES_PER_CHUNK, dt.date(2026, 11, 20))
    assert dict(frame.schema) == DAYS
    frame = frame.drop("drive", "day")
    data = encode(np.arange(DRIVES_PER_CHUNK), frame)
    assert frame_of([decode(data)], frame.schema).equals(frame)
    # 30 days of a million drives: 0.9 GB at most.
    assert len(data) <= 30 * DRIVES_PER_CHUNK, "bytes a drive and day"


def test_a_column_of_a_type_that_no_blob_takes_is_named() -> None:
    with pytest.raises(TypeError, match="column 'p' is Float64; a blob takes Int64"):
        encode(np.array([0]), pl.DataFrame({"p": [0.5]}))
    with pytest.raises(TypeError, match="column 'p' is Float64"):
        frame_of([], {"p": pl.Float64()})


def test_a_column_of_another_kind_than_asked_for_is_not_read() -> None:
    blob = decode(encode(np.array([0]), pl.DataFrame({"passed": [True]})))
    with pytest.raises(CorruptPageError, match="'passed' of a blob of drives holds bool, wanted int"):
        frame_of([blob], {"passed": pl.Int64()})
    blob = decode(encode(np.array([0]), pl.DataFrame({"day": [2**40]})))
    with pytest.raises(CorruptPageError, match="values that are no Date"):
        frame_of([blob], {"day": pl.Date()})


FRAME = pl.DataFrame({"a": [1, None, 3000], "b": ["x", "y", None], "c": [True, False, None], "d": [1.5, 2.5, 3.5]})
FRAME = FRAME.with_columns(pl.col("d").cast(pl.Float32))
DATA = encode(np.array([0, 5, 1023]), FRAME)
BODY = zstandard.ZstdDecompressor().decompress(DATA[1:])


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_always_found(place: int, change: int) -> None:
    with pytest.raises(CorruptPageError):
        decode(DATA[:place] + bytes([DATA[place] ^ change]) + DATA[place + 1 :])


@given(st.integers(0, len(DATA) - 1))
def test_a_blob_cut_short_is_always_found(length: int) -> None:
    with pytest.raises(CorruptPageError):
        decode(DATA[:length])
    with pytest.raises(CorruptPageError):
        decode(DATA + DATA[:length] + b"x")


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_a_blob_that_was_written_wrong_is_refused_or_still_a_table(place: int, change: int) -> None:
    body = BODY[:place] + bytes([BODY[place] ^ change]) + BODY[place + 1 :]
    _refused_or_a_table(body)


@given(st.binary(max_size=60), st.integers(0, len(BODY)))
def test_no_bytes_crash_the_reader(extra: bytes, place: int) -> None:
    _refused_or_a_table(BODY[:place] + extra)


def _refused_or_a_table(body: bytes) -> None:
    try:
        blob = decode(bytes([BLOB_FORMAT]) + zstandard.ZstdCompressor(write_checksum=True).compress(body))
    except CorruptPageError:
        return
    assert frame_of([blob], schema_of(blob)).height == blob.slots.size


def test_whole_numbers_cost_what_they_count_and_not_what_they_count_in() -> None:
    counts = np.random.default_rng(1).integers(0, 2**16, DRIVES_PER_CHUNK)
    small, large = (encode(np.arange(DRIVES_PER_CHUNK), pl.DataFrame({"a": counts * unit})) for unit in (1, 512_000))
    assert len(large) < len(small) + 10


def test_a_code_beyond_the_words_is_refused() -> None:
    (length,) = struct.unpack("<I", BODY[:4])
    one_word = struct.pack("<I", length - 2) + BODY[4:].replace(b"\x92\xa1x\xa1y", b"\x91\xa1x")
    assert len(one_word) == len(BODY) - 2
    with pytest.raises(CorruptPageError, match="'b' of a blob of drives has a code beyond its words"):
        decode(bytes([BLOB_FORMAT]) + zstandard.ZstdCompressor().compress(one_word))


def test_a_blob_of_a_newer_release_or_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(CorruptPageError, match="starts with '02', wanted format 1"):
        decode(b"\x02" + DATA[1:])
    with pytest.raises(CorruptPageError, match="at most 16777216 are taken"):
        decode(bytes([BLOB_FORMAT]) + zstandard.ZstdCompressor().compress(bytes(2**24 + 1)))
