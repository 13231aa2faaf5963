"""The uplink: removes only what is durable, backs off, repeats the same bytes, never has too much under way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.spool import Checkpoint, Spool
from agents.uplink import MAX_UNDER_WAY, Uplink
from agents.waiting import SpoolFrame
from tests.agents.transports import Clock, SlowTransport
from tests.agents.world import MACHINE, publisher_to, records_in
from wire.embedded import EmbeddedPublisher
from wire.errors import TransportError
from wire.frame import decode_frame


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db", MACHINE, 2**24)
    yield opened
    opened.close()


def fill(spool: Spool, n: int) -> None:
    frames = [SpoolFrame("drained", f"q{i}", "0" * 16, 0, 0, 0, 1, 1, b"rows") for i in range(n)]
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames, {}, 1, False))


def test_a_backlog_arrives_in_order_and_leaves_the_spool(spool: Spool, tmp_path: Path) -> None:
    fill(spool, 200)
    log = tmp_path / "log.db"
    with publisher_to(log) as publisher:
        uplink = Uplink(spool, publisher, Clock())
        uplink.drain(10.0)
    assert spool.frames == 0
    got = [decode_frame(record.payload).header for record in records_in(log)]
    assert [header.sequence for header in got] == list(range(1, 201))
    assert [header.query for header in got] == [f"q{i}" for i in range(200)]
    assert uplink.frames_published == 200


class Leaping(Clock):
    """Of a machine that pauses all the time."""

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def test_a_machine_that_pauses_hands_over_once_before_it_ends(spool: Spool) -> None:
    fill(spool, 3)
    transport = SlowTransport(prompt=True)
    Uplink(spool, transport, Leaping()).drain(0.6)
    assert transport.sequences() == [1, 2, 3]
    assert spool.frames == 0


def test_only_what_is_durable_leaves_the_spool(spool: Spool) -> None:
    fill(spool, 3)
    transport = SlowTransport()
    uplink = Uplink(spool, transport)
    uplink.step()
    uplink.step()
    assert transport.sequences() == [1, 2, 3]
    assert spool.frames == 3
    transport.durable = [transport.taken[1][1]]
    uplink.step()
    assert spool.frames == 2
    transport.durable = [transport.taken[0][1], transport.taken[2][1]]
    uplink.step()
    assert spool.frames == 0


def test_no_more_is_under_way_than_a_collector_keeps_gaps_for(spool: Spool) -> None:
    fill(spool, 200)
    transport = SlowTransport()
    uplink = Uplink(spool, transport)
    for _ in range(5):
        uplink.step()
    assert transport.sequences() == list(range(1, MAX_UNDER_WAY + 1))
    transport.durable = [token for _, token, _ in transport.taken[10:20]]
    uplink.step()
    assert transport.sequences() == list(range(1, MAX_UNDER_WAY + 11))


def test_after_a_failure_the_same_bytes_are_sent_again_later_and_later(spool: Spool) -> None:
    fill(spool, 2)
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock)
    uplink.step()
    first = list(transport.taken)
    transport.error = TransportError("connection lost")
    waits = []
    for _ in range(12):
        uplink.step()
        waits.append(uplink._retry_at_s - clock.now_s)
        clock.now_s = uplink._retry_at_s
    assert not uplink.up
    assert spool.frames == 2
    assert waits[0] <= 0.2
    assert 15.0 <= waits[-1] <= 30.0
    transport.error = None
    transport.taken.clear()
    uplink.step()
    assert transport.taken == first
    transport.durable = [token for _, token, _ in first]
    uplink.step()
    assert spool.frames == 0
    assert uplink.up


def test_each_reason_of_an_outage_is_logged_once(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    fill(spool, 1)
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock)
    for _outage in range(2):
        for reason in ("not connected yet", "connection refused", "connection refused", "not connected yet"):
            transport.error = TransportError(reason)
            clock.now_s += 60
            uplink.step()
        transport.error = None
        clock.now_s += 60
        uplink.step()
        transport.durable = [transport.taken[-1][1]]
        uplink.step()
        assert uplink.up
        fill(spool, 1)
    assert [caplog.text.count(text) for text in ("uplink down", "not connected yet", "connection refused")] == [4, 2, 2]


def test_a_full_transport_keeps_the_rest_in_the_spool(spool: Spool) -> None:
    fill(spool, 5)
    transport, clock = SlowTransport(), Clock()
    transport.room = 2
    uplink = Uplink(spool, transport, clock)
    uplink.step()
    transport.durable = [token for _, token, _ in transport.taken]
    uplink.step()
    assert (spool.frames, uplink.up, uplink.failures) == (3, False, 0)
    transport.room = 9
    clock.now_s += 1
    uplink.step()
    assert transport.sequences() == [1, 2, 3, 4, 5]
    transport.durable = [token for _, token, _ in transport.taken[2:]]
    uplink.step()
    assert (spool.frames, uplink.up) == (0, True)


def test_frames_that_are_never_acknowledged_are_sent_again(spool: Spool) -> None:
    fill(spool, 1)
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock)
    uplink.step()
    clock.now_s += 61
    uplink.step()
    clock.now_s += 1
    uplink.step()
    assert transport.sequences() == [1, 1]
    assert transport.taken[0] == transport.taken[1]


def test_the_embedded_log_at_its_limit_is_a_full_transport(spool: Spool, tmp_path: Path) -> None:
    fill(spool, 50)
    publisher = EmbeddedPublisher(tmp_path / "log.db", max_bytes=2_000)
    uplink = Uplink(spool, publisher)
    uplink.drain(5.0)
    publisher.close()
    assert not uplink.up
    assert 0 < spool.frames < 50
    assert spool.frames + len(records_in(tmp_path / "log.db")) == 50


def test_a_frame_that_the_wire_refuses_stays_and_the_others_go_on(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [SpoolFrame("drained", name, "0" * 16, 0, 0, 0, 1, 1, b"rows") for name in ("a", "b" * 5_000, "c")]
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames, {}, 1, False))
    transport = SlowTransport()
    uplink = Uplink(spool, transport)
    for _ in range(3):
        uplink.step()
        transport.durable = [token for _, token, _ in transport.taken]
    assert transport.sequences() == [1, 3]
    assert (spool.frames, spool.stuck.unsendable, uplink.up) == (1, 1, True)
    assert str(spool.stuck) == "1 frames are larger than the wire takes"
    assert caplog.text.count("a frame cannot be sent, it stays") == 1
