"""The protobuf message DDSketch as bytes: the small part of protobuf that it needs, without generated code.

    DDSketch      1 mapping: IndexMapping   2 positiveValues: Store   3 negativeValues: Store   4 zeroCount: double
    IndexMapping  1 gamma: double           2 indexOffset: double     3 interpolation: enum, 0 is NONE
    Store         1 binCounts: map<sint32, double>                    2 contiguousBinCounts: repeated double, packed
                  3 contiguousBinIndexOffset: sint32

Decoding takes what any protobuf writer may write of this message, in any order, and refuses the rest with
CorruptSketchError: unknown or repeated fields, wrong wire types, lengths beyond the end. It copies no more than the
bytes it was given. What the numbers mean is in ddsketch.py.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from quantiles.array_types import FloatArray, IntArray
from quantiles.errors import CorruptSketchError

VARINT, FIXED64, BYTES = 0, 1, 2  # wire types; the others are not used by this message
WIRE_NAMES = {VARINT: "a varint", FIXED64: "a double", BYTES: "bytes"}
LONGEST_VARINT = 10
UINT64, UINT32 = 1 << 64, 1 << 32
DOUBLE_BYTES = 8
SPARSE_BYTES = 15  # about what a bin costs in the map, against 8 for every bin of the range in the packed form


@dataclass(frozen=True, slots=True, eq=False)
class StoreMessage:
    """Bins of one sign: indexes int64[m] in any order, also twice (counts add up); counts float64[m], any bits."""

    indexes: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, slots=True, eq=False)
class DDSketchMessage:
    """The message; absent numbers are 0, as protobuf has it. Nothing in it is checked but its form."""

    gamma: float
    index_offset: float = 0.0
    interpolation: int = 0
    positive: StoreMessage = field(default_factory=StoreMessage)
    negative: StoreMessage = field(default_factory=StoreMessage)
    zero_count: float = 0.0


def encode(message: DDSketchMessage) -> bytes:
    """The message as bytes. Indexes ascend within int32, each once, so that equal messages give equal bytes."""
    mapping = _double(1, message.gamma) + _double(2, message.index_offset)
    if message.interpolation:
        mapping += _tag(3, VARINT) + _varint(message.interpolation)
    stores = [_block(2, _store(message.positive)), _block(3, _store(message.negative))]
    return b"".join([_block(1, mapping), *stores, _double(4, message.zero_count)])


def decode(data: bytes | memoryview) -> DDSketchMessage:
    """The message in these bytes.

    Raises:
        CorruptSketchError: they are no DDSketch message.
    """
    sketch = _once(memoryview(data), {1: BYTES, 2: BYTES, 3: BYTES, 4: FIXED64}, "DDSketch")
    mapping = _once(sketch[1].block, {1: FIXED64, 2: FIXED64, 3: VARINT}, "IndexMapping")
    return DDSketchMessage(
        mapping[1].double,
        mapping[2].double,
        mapping[3].integer,
        _decoded_store(sketch[2].block),
        _decoded_store(sketch[3].block),
        sketch[4].double,
    )


@dataclass(frozen=True, slots=True)
class _Field:
    """One field as it was written; of the three values the one of its wire type is set."""

    number: int
    wire_type: int
    integer: int = 0
    double: float = 0.0
    block: memoryview = field(default_factory=lambda: memoryview(b""))


def _once(data: memoryview, wire_types: dict[int, int], name: str) -> dict[int, _Field]:
    """The fields of a message in which none is repeated, absent ones as protobuf's default."""
    found = {number: _Field(number, wire_type) for number, wire_type in wire_types.items()}
    seen: set[int] = set()
    for entry in _fields(data, {number: (wire_type,) for number, wire_type in wire_types.items()}, name):
        if entry.number in seen:
            raise CorruptSketchError(f"field {entry.number} of {name} is there twice, wanted once: it is damaged")
        seen.add(entry.number)
        found[entry.number] = entry
    return found


def _decoded_store(data: memoryview) -> StoreMessage:
    keys: list[int] = []
    weights: list[float] = []
    packed = bytearray()
    first, offsets = 0, 0
    for entry in _fields(data, {1: (BYTES,), 2: (BYTES, FIXED64), 3: (VARINT,)}, "Store"):
        if entry.number == 1:
            pair = _once(entry.block, {1: VARINT, 2: FIXED64}, "BinCountsEntry")
            keys.append(_unzigzag(pair[1].integer))
            weights.append(pair[2].double)
        elif entry.number == 3:
            first, offsets = _unzigzag(entry.integer), offsets + 1
        elif entry.wire_type == FIXED64:  # a list of doubles may come packed, unpacked or in several pieces
            packed += struct.pack("<d", entry.double)
        elif len(entry.block) % DOUBLE_BYTES:
            raise CorruptSketchError(f"a Store has {len(entry.block)} bytes of counts, wanted 8 a count: it is damaged")
        else:
            packed += entry.block
    if offsets > 1 or len(set(keys)) < len(keys):
        raise CorruptSketchError("a Store has two offsets or a bin twice in its map: it is damaged")
    dense = np.frombuffer(bytes(packed), "<f8").astype(np.float64)
    return StoreMessage(
        np.concatenate([first + np.arange(len(dense)), np.array(keys, np.int64)]),
        np.concatenate([dense, np.array(weights, np.float64)]),
    )


def _fields(data: memoryview, wire_types: dict[int, tuple[int, ...]], name: str) -> Iterator[_Field]:
    """The fields of a message one after the other, each of a wire type that its number allows."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position, name)
        number, wire_type = tag >> 3, tag & 7
        if number not in wire_types:
            raise CorruptSketchError(f"{name} has field {number}, wanted only {sorted(wire_types)}: not this message")
        if wire_type not in wire_types[number]:
            wanted = " or ".join(WIRE_NAMES[kind] for kind in wire_types[number])
            raise CorruptSketchError(f"field {number} of {name} has wire type {wire_type}, wanted {wanted}")
        if wire_type == VARINT:
            integer, position = _read_varint(data, position, name)
            yield _Field(number, VARINT, integer=integer)
            continue
        size = DOUBLE_BYTES
        if wire_type == BYTES:
            size, position = _read_varint(data, position, name)
        if size > len(data) - position:
            raise CorruptSketchError(f"field {number} of {name} claims {size} bytes, {len(data) - position} are left")
        block = data[position : position + size]
        position += size
        if wire_type == FIXED64:
            yield _Field(number, FIXED64, double=struct.unpack("<d", block)[0])
        else:
            yield _Field(number, BYTES, block=block)


def _read_varint(data: memoryview, position: int, name: str) -> tuple[int, int]:
    """The varint at a position, and the position behind it."""
    value = 0
    for shift, byte in enumerate(data[position : position + LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            if value >= UINT64:
                break
            return value, position + shift + 1
    raise CorruptSketchError(f"{name} has a varint at byte {position} that is cut short or above 64 bits")


def _unzigzag(value: int) -> int:
    if value >= UINT32:
        raise CorruptSketchError(f"a bin index is {value} in zigzag form, wanted 32 bits: it is damaged")
    return (value >> 1) ^ -(value & 1)


def _store(store: StoreMessage) -> bytes:
    """Packed or as a map, whichever is shorter."""
    if not len(store.indexes):
        return b""
    first, last = int(store.indexes[0]), int(store.indexes[-1])
    if DOUBLE_BYTES * (last - first + 1) <= SPARSE_BYTES * len(store.indexes):
        counts = np.zeros(last - first + 1, "<f8")
        counts[store.indexes - first] = store.counts
        return _block(2, counts.tobytes()) + (_tag(3, VARINT) + _varint(_zigzag(first)) if first else b"")
    pairs = zip(store.indexes.tolist(), store.counts.tolist(), strict=True)
    return b"".join(_block(1, _tag(1, VARINT) + _varint(_zigzag(index)) + _double(2, count)) for index, count in pairs)


def _block(number: int, content: bytes) -> bytes:
    return _tag(number, BYTES) + _varint(len(content)) + content


def _double(number: int, value: float) -> bytes:
    return _tag(number, FIXED64) + struct.pack("<d", value) if value else b""


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
