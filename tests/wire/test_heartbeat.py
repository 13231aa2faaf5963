"""Heartbeats round-trip, their bytes are pinned, and anything else is a corrupt frame."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import CorruptFrameError
from wire.heartbeat import FINISHED_NS, Heartbeat, QueryProgress, decode_heartbeat, encode_heartbeat

GOLDEN = Path(__file__).parent / "golden"
BEAT = Heartbeat(
    agent="a",
    host="h",
    machine_id="m",
    started_ns=1,
    sent_ns=2,
    clean=False,
    queries=[
        QueryProgress("q", "0123456789abcdef", 0, FINISHED_NS, replayable=True, finished=True),
        QueryProgress("r", "fedcba9876543210", 5, 9, replayable=False, interrupted_from_ns=3, interrupted_to_ns=5),
    ],
    counters={"spool_frames": 3, "records_in_total": 7},
    previous_incarnation="00112233445566778899aabbccddeeff",
    previous_sequence=41,
)


def test_a_heartbeat_round_trips() -> None:
    assert decode_heartbeat(encode_heartbeat(BEAT)) == BEAT


def test_the_bytes_of_version_1_are_pinned() -> None:
    pinned = bytes.fromhex("".join(line.partition("#")[0] for line in (GOLDEN / "heartbeat_v1.hex").open()))
    assert encode_heartbeat(BEAT) == pinned


def test_what_has_a_default_may_be_absent() -> None:
    whole = msgspec.msgpack.decode(encode_heartbeat(BEAT))
    del whole["previous_incarnation"], whole["previous_sequence"]
    beat = decode_heartbeat(msgspec.msgpack.encode(whole))
    assert beat == msgspec.structs.replace(BEAT, previous_incarnation="", previous_sequence=0)


@pytest.mark.parametrize(
    "change",
    [{"next_incarnation": "x"}, {"previous_sequence": 2**63}, {"previous_incarnation": "a\n"}, {"sent_ns": None}],
)
def test_what_the_format_does_not_know_is_corrupt(change: dict[str, object]) -> None:
    whole = msgspec.msgpack.decode(encode_heartbeat(BEAT)) | change
    with pytest.raises(CorruptFrameError):
        decode_heartbeat(msgspec.msgpack.encode(whole))


@pytest.mark.parametrize("odd", [b"\xa2a\xff", b"\x91" * 5_000], ids=["text that is no UTF-8", "nested"])
def test_what_no_decoder_takes_is_corrupt(odd: bytes) -> None:
    whole = encode_heartbeat(BEAT)
    assert whole[:1] + b"\xa5agent" + b"\xa1a" == whole[:9]
    with pytest.raises(CorruptFrameError, match="not a heartbeat"):
        decode_heartbeat(whole[:7] + odd + whole[9:])


@given(st.binary(max_size=100))
def test_other_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptFrameError):
        decode_heartbeat(data)
