"""The frame: one message from an agent, its header and body under one checksum.

Drawn in FORMAT.md. The envelope (magic, version, two lengths, CRC-32C at the end) stays as it is in every
version, so that a frame of a newer version is still recognised as intact and can be kept for later.
Invariant: no field is used before the checksum has been verified.
"""

import struct
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import crc32c
import msgspec

from wire.errors import CorruptFrameError, FrameTooLargeError, NewerFrameError

MAGIC = b"\x89TWF"
WIRE_VERSION = 1
# Below the 1,048,588 bytes that a Kafka broker takes with its default settings, record overhead included.
MAX_FRAME_BYTES = 1_000_000
MAX_HEADER_BYTES = 4_096
_ENVELOPE = struct.Struct("<4sHII")
_CHECKSUM = struct.Struct("<I")
SMALLEST_FRAME_BYTES = _ENVELOPE.size + _CHECKSUM.size

Kind = Literal["partial", "drained", "manifest", "heartbeat", "status"]
# No control characters: names end in logs, labels and text columns, and PostgreSQL refuses NUL.
PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"
Name = Annotated[str, msgspec.Meta(max_length=256, pattern=PRINTABLE)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Incarnation = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who sent a frame, where it stands in the sender's order, and what its body is.

    `sequence` counts from 1 within one incarnation on its one partition. `cut` is the stage after which the body's
    rows were taken (0 = source rows; the number of the aggregate for partials; 0 where it has no meaning).
    Windows are named by their start; times are ns UTC. `query` and `version` are empty for heartbeats and status.
    `sampled` is the share of the query's records that was taken in while the body was gathered: below 1 only while
    the agent's breaker sampled. How many were left out, and of which windows, the manifest says.
    """

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=PRINTABLE)]
    incarnation: Incarnation
    started_ns: Int64
    partition: Natural
    sequence: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    kind: Kind
    query: Name
    version: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{16})?\Z")]
    cut: Natural
    window_first_ns: Int64
    window_last_ns: Int64
    created_ns: Int64
    rows: Natural
    sampled: Share = 1.0


#: What msgspec raises of bytes from outside: text need not be UTF-8, and what is skipped may be nested without end.
NOT_MSGPACK: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Frame:
    """An intact frame; the body's meaning follows from `header.kind`."""

    header: Header
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header, strict=True)


def encode_frame(header: Header, body: bytes) -> bytes:
    """The frame's bytes, at most MAX_FRAME_BYTES.

    Raises:
        FrameTooLargeError: the body is too large; split its rows over several frames.
    """
    # The last element is left away where it is 1, as it nearly always is.
    elements = msgspec.structs.astuple(header)
    head = _encoder.encode(elements if header.sampled < 1 else elements[:-1])
    size = _ENVELOPE.size + len(head) + len(body) + _CHECKSUM.size
    if size > MAX_FRAME_BYTES or len(head) > MAX_HEADER_BYTES:
        raise FrameTooLargeError(
            f"a {header.kind} frame of {size} bytes (header {len(head)}) exceeds {MAX_FRAME_BYTES} bytes "
            f"(header {MAX_HEADER_BYTES}); split its {header.rows} rows"
        )
    front = _ENVELOPE.pack(MAGIC, WIRE_VERSION, len(head), len(body)) + head
    checksum = crc32c.crc32c(body, crc32c.crc32c(front))  # as over both joined, which would be one more copy
    return b"".join([front, body, _CHECKSUM.pack(checksum)])


def decode_frame(data: bytes) -> Frame:
    """The frame in `data`, which must be exactly one frame.

    Raises:
        CorruptFrameError: not a frame, cut short, altered, or with a header that breaks its own rules.
        NewerFrameError: intact, but of a wire version that this program does not know.
    """
    if not SMALLEST_FRAME_BYTES <= len(data) <= MAX_FRAME_BYTES:
        raise CorruptFrameError(f"{len(data)} bytes; a frame has {SMALLEST_FRAME_BYTES} to {MAX_FRAME_BYTES}")
    magic, version, head_bytes, body_bytes = _ENVELOPE.unpack_from(data)
    if magic != MAGIC:
        raise CorruptFrameError(f"starts with {magic.hex()}, a frame starts with {MAGIC.hex()}")
    claimed = SMALLEST_FRAME_BYTES + head_bytes + body_bytes
    if claimed != len(data):
        raise CorruptFrameError(f"claims {claimed} bytes and has {len(data)}")
    (checksum,) = _CHECKSUM.unpack_from(data, len(data) - _CHECKSUM.size)
    computed = crc32c.crc32c(memoryview(data)[: -_CHECKSUM.size])
    if computed != checksum:
        raise CorruptFrameError(f"checksum is {checksum:08x}, the content gives {computed:08x}")
    if version > WIRE_VERSION:
        raise NewerFrameError(version, WIRE_VERSION)
    body_at = _ENVELOPE.size + head_bytes
    try:
        header = _decoder.decode(memoryview(data)[_ENVELOPE.size : body_at])
    except NOT_MSGPACK as error:
        raise CorruptFrameError(f"the header does not hold: {error}") from error
    if version < 1 or header.window_last_ns < header.window_first_ns:
        raise CorruptFrameError(
            f"wire version {version}, windows {header.window_first_ns} to {header.window_last_ns}: not in order"
        )
    return Frame(header, data[body_at : -_CHECKSUM.size])
