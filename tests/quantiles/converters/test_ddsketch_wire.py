"""The bytes of a DDSketch message: we read and write what protobuf does; hostile ones raise CorruptSketchError only."""

import math
import struct
import tracemalloc

import numpy as np
import pytest
from ddsketch.pb import ddsketch_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from quantiles.converters.ddsketch_wire import DDSketchMessage, StoreMessage, decode, encode
from quantiles.errors import CorruptSketchError
from tests.quantiles.reference import varint

indexes = st.integers(-(2**31), 2**31 - 1) | st.integers(-20, 20)
counts = st.floats(0, 1e9) | st.integers(0, 5).map(float)
doubles = st.floats(allow_nan=False)


def bins(store: StoreMessage) -> dict[int, float]:
    """Counts by index, the same index added up."""
    total: dict[int, float] = {}
    for index, count in zip(store.indexes.tolist(), store.counts.tolist(), strict=True):
        total[index] = total.get(index, 0.0) + count
    return total


def protobuf_bins(store: ddsketch_pb2.Store) -> dict[int, float]:
    first = store.contiguousBinIndexOffset
    total = {first + i: count for i, count in enumerate(store.contiguousBinCounts)}
    for index, count in store.binCounts.items():
        total[index] = total.get(index, 0.0) + count
    return total


def same(a: dict[int, float], b: dict[int, float]) -> bool:
    return a.keys() == b.keys() and all(a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a)


@given(
    sparse=st.dictionaries(indexes, counts, max_size=6),
    dense=st.lists(counts, max_size=6),
    first=indexes,
    gamma=doubles,
    offset=doubles,
    interpolation=st.integers(0, 3),
    zero_count=doubles,
)
def test_what_protobuf_writes_is_read(
    sparse: dict, dense: list, first: int, gamma: float, offset: float, interpolation: int, zero_count: float
) -> None:
    made = ddsketch_pb2.DDSketch(zeroCount=zero_count)
    made.mapping.gamma, made.mapping.indexOffset, made.mapping.interpolation = gamma, offset, interpolation
    store = made.negativeValues
    store.contiguousBinCounts.extend(dense)
    store.contiguousBinIndexOffset = first
    for index, count in sparse.items():
        store.binCounts[index] = count
    read = decode(made.SerializeToString())
    assert (read.gamma, read.index_offset, read.interpolation, read.zero_count) == (
        gamma, offset, interpolation, zero_count,
    )  # fmt: skip
    assert same(bins(read.negative), protobuf_bins(store))
    assert not len(read.positive.indexes)


@given(pairs=st.dictionaries(indexes, st.floats(0.5, 1e9), max_size=8), gamma=doubles, zero_count=doubles)
def test_what_we_write_protobuf_reads(pairs: dict, gamma: float, zero_count: float) -> None:
    ordered = sorted(pairs)
    store = StoreMessage(np.array(ordered, np.int64), np.array([pairs[i] for i in ordered], np.float64))
    data = encode(DDSketchMessage(gamma, 0.25, 0, store, store, zero_count))
    made = ddsketch_pb2.DDSketch.FromString(data)
    assert (made.mapping.gamma, made.mapping.indexOffset, made.zeroCount) == (gamma, 0.25, zero_count)
    for read in (made.positiveValues, made.negativeValues):
        assert {i: c for i, c in protobuf_bins(read).items() if c} == pairs


def check_hostile(data: bytes) -> None:
    """Raises CorruptSketchError and nothing else, or is a message to protobuf too, and the same one."""
    try:
        read = decode(data)
    except CorruptSketchError:
        return
    try:
        made = ddsketch_pb2.DDSketch.FromString(data)
    except DecodeError:
        pytest.fail(f"protobuf refuses {data.hex()}, which we read")
    assert struct.pack("<dd", read.gamma, read.zero_count) == struct.pack("<dd", made.mapping.gamma, made.zeroCount)
    assert same(bins(read.positive), protobuf_bins(made.positiveValues))
    assert same(bins(read.negative), protobuf_bins(made.negativeValues))


GOOD = encode(
    DDSketchMessage(
        1.01, 2.0, 3, StoreMessage(np.arange(-2, 3), np.arange(1.0, 6.0)),
        StoreMessage(np.array([-70000, 4]), np.array([1.0, 2.0])), 7.0,
    )
)  # fmt: skip


@given(junk=st.binary(max_size=60))
def test_junk_is_refused_or_is_a_message(junk: bytes) -> None:
    check_hostile(junk)


@given(position=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_is_another_message(position: int, bit: int) -> None:
    broken = bytearray(GOOD)
    broken[position] ^= 1 << bit
    check_hostile(bytes(broken))


def test_every_truncation_is_refused_or_is_a_message() -> None:
    for size in range(len(GOOD)):
        check_hostile(GOOD[:size])


@given(
    fields=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 2**64 - 1) | st.integers(0, 9), st.binary())
    )
)
def test_any_row_of_fields_is_refused_or_is_a_message(fields: list) -> None:
    data = b""
    for number, wire_type, integer, content in fields:
        data += varint(number << 3 | wire_type)
        data += {0: varint(integer), 1: struct.pack("<Q", integer), 2: varint(len(content)) + content}.get(
            wire_type, b""
        )
    check_hostile(data)
    for number in (1, 2, 3):
        check_hostile(varint(number << 3 | 2) + varint(len(data)) + data)


def block(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a", "varint at byte 1 that is cut short"),
        (b"\x0a\x05\x01", "field 1 of DDSketch claims 5 bytes, 1 are left"),
        (block(2, b"\x12" + varint(2**60)), "claims 1152921504606846976 bytes, 0 are left"),
        (b"\x21\0\0", "field 4 of DDSketch claims 8 bytes, 2 are left"),
        (b"\xff" * 11, "above 64 bits"),
        (b"\x0a" + b"\xff" * 9 + b"\x02", "above 64 bits"),
        (b"\x28\x00", "DDSketch has field 5"),
        (b"\x00\x00", "DDSketch has field 0"),
        (b"\x08\x00", "field 1 of DDSketch has wire type 0, wanted bytes"),
        (b"\x0b\x0c", "field 1 of DDSketch has wire type 3"),
        (block(1, b"") * 2, "field 1 of DDSketch is there twice"),
        (block(1, b"\x18\x00\x18\x00"), "field 3 of IndexMapping is there twice"),
        (block(2, block(2, b"1234567")), "7 bytes of counts"),
        (block(2, block(2, b"1234") + block(2, b"1234")), "4 bytes of counts"),
        (block(2, b"\x18\x02\x18\x02"), "two offsets"),
        (block(2, b"\x18" + varint(2**32)), "wanted 32 bits"),
        (block(2, block(1, b"\x08\x02") * 2), "a bin twice"),
        (block(2, block(1, b"\x08\x02\x08\x02")), "field 1 of BinCountsEntry is there twice"),
        (block(2, b"\x10\x00"), "has wire type 0, wanted bytes or a double"),
    ],
)
def test_each_rule_is_enforced(data: bytes, message: str) -> None:
    with pytest.raises(CorruptSketchError, match=message):
        decode(data)


def test_doubles_may_come_in_pieces() -> None:
    one, two = struct.pack("<d", 1.0), struct.pack("<d", 2.0)
    data = block(2, block(2, one + two) + b"\x18\x0a" + b"\x11" + one + block(2, b"") + block(2, two))
    assert bins(decode(data).positive) == {5: 1.0, 6: 2.0, 7: 1.0, 8: 2.0}
    check_hostile(data)


def test_claims_allocate_nothing() -> None:
    data = block(2, b"\x12" + varint(2**40)), block(2, b"\x18" + varint(2**32 - 1) + block(2, b"\0" * 8))
    tracemalloc.start()
    for body in data * 3:
        check_hostile(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_a_memoryview_is_read_as_well() -> None:
    assert decode(memoryview(GOOD)).gamma == 1.01
