"""Frames: they round-trip, their bytes are pinned, and no altered bit gets past the checksum."""

from pathlib import Path

import crc32c
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import CorruptFrameError, FrameTooLargeError, NewerFrameError
from wire.frame import MAX_FRAME_BYTES, Header, decode_frame, encode_frame

GOLDEN = Path(__file__).parent / "golden"
HEADER = Header(
    agent="rack7-host12",
    incarnation="00112233445566778899aabbccddeeff",
    started_ns=1_795_000_000_000_000_000,
    partition=3,
    sequence=42,
    kind="partial",
    query="probe_rtt",
    version="0123456789abcdef",
    cut=4,
    window_first_ns=1_795_000_010_000_000_000,
    window_last_ns=1_795_000_020_000_000_000,
    created_ns=1_795_000_021_500_000_000,
    rows=2,
)
BODY = bytes(range(40))


def test_a_frame_round_trips() -> None:
    frame = decode_frame(encode_frame(HEADER, BODY))
    assert (frame.header, frame.body) == (HEADER, BODY)


def test_the_bytes_of_version_1_are_pinned() -> None:
    pinned = bytes.fromhex("".join(line.partition("#")[0] for line in (GOLDEN / "frame_v1.hex").open()))
    assert encode_frame(HEADER, BODY) == pinned


def test_every_flipped_bit_is_found() -> None:
    data = encode_frame(HEADER, BODY)
    for place in range(len(data) * 8):
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(CorruptFrameError):
            decode_frame(bytes(altered))


@given(st.data())
def test_cut_or_lengthened_frames_are_corrupt(data: st.DataObject) -> None:
    whole = encode_frame(HEADER, BODY)
    keep = data.draw(st.integers(0, len(whole) - 1))
    for altered in (whole[:keep], whole + whole[: keep + 1]):
        with pytest.raises(CorruptFrameError):
            decode_frame(altered)


@given(st.binary(max_size=300))
def test_foreign_bytes_only_raise_corrupt_frame_error(data: bytes) -> None:
    with pytest.raises(CorruptFrameError):
        decode_frame(data)


def test_an_intact_frame_of_a_newer_version_is_told_apart_from_a_corrupt_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.frame.WIRE_VERSION", 2)
    newer = encode_frame(HEADER, BODY)
    monkeypatch.undo()
    with pytest.raises(NewerFrameError, match="version 2, this program reads up to 1") as caught:
        decode_frame(newer)
    assert (caught.value.seen, caught.value.known) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"partition": -1},
        {"incarnation": "xyz"},
        {"agent": ""},
        {"agent": "a" * 257},
        {"agent": "a\x00b"},
        {"query": "line\nbreak"},
        {"version": "not-a-hash"},
        {"sequence": 2**63},
        {"created_ns": 2**63},
        {"partition": 2**31},
        {"kind": "gossip"},
        {"window_first_ns": 5, "window_last_ns": 4},
        {"sampled": -0.5},
    ],
)
def test_a_header_that_breaks_its_rules_is_corrupt(change: dict[str, object]) -> None:
    sealed = encode_frame(msgspec.structs.replace(HEADER, **change), BODY)
    with pytest.raises(CorruptFrameError):
        decode_frame(sealed)


def test_a_frame_over_the_limit_is_refused_on_both_sides() -> None:
    with pytest.raises(FrameTooLargeError, match="split its 2 rows"):
        encode_frame(HEADER, bytes(MAX_FRAME_BYTES))
    with pytest.raises(CorruptFrameError, match="a frame has"):
        decode_frame(bytes(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("name", [b"\xa7_\xffagent-", b"\x91" * 4_000], ids=["text that is no UTF-8", "nested"])
def test_a_header_that_no_decoder_takes_is_corrupt(name: bytes) -> None:
    whole = encode_frame(HEADER, BODY)
    head = b"\x9d" + name + whole[14 + 1 + 1 + len(HEADER.agent) : 14 + int.from_bytes(whole[6:10], "little")]
    sealed = whole[:6] + len(head).to_bytes(4, "little") + whole[10:14] + head + BODY
    with pytest.raises(CorruptFrameError, match="the header does not hold"):
        decode_frame(sealed + crc32c.crc32c(sealed).to_bytes(4, "little"))


def test_the_share_taken_in_is_there_only_where_it_is_not_1() -> None:
    sampled = msgspec.structs.replace(HEADER, sampled=0.25)
    whole, part = encode_frame(HEADER, BODY), encode_frame(sampled, BODY)
    assert decode_frame(part).header == sampled
    assert len(part) == len(whole) + 9
    assert decode_frame(whole).header.sampled == 1.0


def test_the_bytes_of_a_frame_that_was_sampled_are_pinned() -> None:
    pinned = bytes.fromhex("".join(line.partition("#")[0] for line in (GOLDEN / "frame_sampled_v1.hex").open()))
    assert encode_frame(msgspec.structs.replace(HEADER, sampled=0.25), BODY) == pinned
