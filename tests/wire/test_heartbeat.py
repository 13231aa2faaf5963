"""Heartbeats round-trip, and anything else is a corrupt frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import CorruptFrameError
from wire.heartbeat import FINISHED_NS, Heartbeat, QueryProgress, decode_heartbeat, encode_heartbeat

BEAT = Heartbeat(
    agent="a",
    host="h",
    machine_id="m",
    started_ns=1,
    sent_ns=2,
    clean=False,
    queries=[QueryProgress("q", "0123456789abcdef", 0, FINISHED_NS, replayable=True, finished=True)],
    counters={"records_in_total": 7},
)


def test_a_heartbeat_round_trips() -> None:
    assert decode_heartbeat(encode_heartbeat(BEAT)) == BEAT


@given(st.binary(max_size=100))
def test_other_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptFrameError):
        decode_heartbeat(data)
