"""A backlog beside live data: who goes first, how fast, how much of it at a time; and when an outage was one."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.catch_up import AT_ONCE_BYTES, OUTAGE_S, Allowance
from agents.errors import SpoolWriteError
from agents.hand_over import Lane
from agents.spool import Checkpoint, Incarnation, Spool
from agents.uplink import MAX_UNDER_WAY, Uplink
from agents.waiting import SpoolFrame
from tests.agents.transports import Clock, SlowTransport
from tests.agents.world import MACHINE, publisher_to, records_in
from wire.embedded import EmbeddedPublisher
from wire.errors import TransportError
from wire.frame import decode_frame

RATE = 200_000
BODY = 50_000
PAYLOAD = BODY + 200  # with its header and envelope, at most


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db", MACHINE, 2**28)
    yield opened
    opened.close()


def frames(prefix: str, count: int, body: int = BODY) -> list[SpoolFrame]:
    return [SpoolFrame("drained", f"{prefix}{i}", "0" * 16, 0, 0, 0, 1, 1, bytes(body)) for i in range(count)]


def with_backlog(spool: Spool, count: int = 60) -> Incarnation:
    """`count` large frames of a start that has ended; returns the running one."""
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames("old", count), {}, 1, False))
    return spool.begin("agent-1", 2)


def names(transport: SlowTransport) -> list[str]:
    return [header.query for header in transport.headers()]


@given(
    rate=st.integers(1, 10**8),
    moves=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1)), max_size=40),
)
def test_an_allowance_never_gives_more_than_its_rate_and_what_was_saved_up(
    rate: int, moves: list[tuple[float, float]]
) -> None:
    clock = Clock()
    allowance = Allowance(rate, clock)
    began_s, spent = clock.now_s, 0
    for wait_s, share in moves:
        clock.now_s += wait_s
        amount = int(allowance.left() * share)
        allowance.spend(amount)
        spent += amount
        assert spent <= max(AT_ONCE_BYTES, rate) + (clock.now_s - began_s) * rate * (1 + 1e-9)
    clock.now_s += 1e9
    assert allowance.left() == max(AT_ONCE_BYTES, rate)


def test_without_a_cap_everything_may_go() -> None:
    allowance = Allowance(0, Clock())
    allowance.spend(10**12)
    assert allowance.left() == float("inf")


def test_the_backlog_drains_oldest_first_at_the_capped_rate_beside_live_frames(spool: Spool) -> None:
    life = with_backlog(spool)
    transport, clock = SlowTransport(prompt=True), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    began_s, number = clock.now_s, 0
    while spool.backlog_frames:
        number += 1
        spool.store(life, Checkpoint(number, frames(f"live{number}.", 2, 10), {}, 1, False))
        for _ in range(20):
            clock.now_s += 0.1
            uplink.step()
            sent = sum(header.query.startswith("old") for header in transport.headers()) * BODY
            assert sent <= AT_ONCE_BYTES + (clock.now_s - began_s) * RATE
        assert names(transport).count(f"live{number}.1") == 1, "live frames wait for the backlog"
    took_s = clock.now_s - began_s
    at_best_s = (60 * BODY - AT_ONCE_BYTES) / RATE
    assert at_best_s <= took_s <= (60 * PAYLOAD - AT_ONCE_BYTES) / RATE + 2.1
    assert [name for name in names(transport) if name.startswith("old")] == [f"old{i}" for i in range(60)]
    assert len(set(transport.taken)) == len(transport.taken) == 60 + 2 * number
    assert (spool.frames, spool.backlog_bytes) == (0, 0)


def test_live_frames_go_before_the_backlog_but_for_the_frame_that_announces_it(spool: Spool) -> None:
    life = with_backlog(spool)
    spool.store(life, Checkpoint(1, frames("live", 3), {}, 1, False))
    transport = SlowTransport()
    Uplink(spool, transport, Clock(), catch_up_bytes_per_s=RATE).step()
    assert names(transport)[:6] == ["old0", "live0", "live1", "live2", "old1", "old2"]
    by_incarnation: dict[str, list[int]] = {}
    for header in transport.headers():
        by_incarnation.setdefault(header.incarnation, []).append(header.sequence)
    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in by_incarnation.values())


def test_what_is_no_more_than_a_moments_worth_goes_at_once_and_oldest_first(spool: Spool) -> None:
    life = with_backlog(spool, 20)
    spool.store(life, Checkpoint(1, frames("live", 2), {}, 1, False))
    transport = SlowTransport()
    Uplink(spool, transport, Clock(), catch_up_bytes_per_s=1).step()
    assert names(transport) == [f"old{i}" for i in range(20)] + ["live0", "live1"]


def test_without_a_cap_live_frames_still_go_first_and_the_rest_as_fast_as_it_may(spool: Spool) -> None:
    life = with_backlog(spool)
    spool.store(life, Checkpoint(1, frames("live", 2), {}, 1, False))
    transport, clock = SlowTransport(prompt=True), Clock()
    uplink = Uplink(spool, transport, clock)
    uplink.step()
    uplink.step()
    assert names(transport)[:4] == ["old0", "live0", "live1", "old1"]
    assert spool.frames == 0


def test_neither_lane_takes_all_places(spool: Spool) -> None:
    life = with_backlog(spool, 100)
    transport = SlowTransport()
    uplink = Uplink(spool, transport, Clock())
    uplink.step()
    assert len(names(transport)) == 48
    spool.store(life, Checkpoint(1, frames("live", 100, 10), {}, 1, False))
    uplink.step()
    uplink.step()
    assert [name.startswith("live") for name in names(transport)] == [False] * 48 + [True] * 16
    assert len(names(transport)) == MAX_UNDER_WAY
    transport.acknowledge_all()
    uplink.step()
    later = names(transport)[MAX_UNDER_WAY:]
    assert later == [f"live{i}" for i in range(16, 64)] + [f"old{i}" for i in range(48, 64)]


def test_on_a_slow_line_no_more_of_the_backlog_is_under_way_than_a_seconds_worth(spool: Spool) -> None:
    with_backlog(spool)
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    for _ in range(50):
        clock.now_s += 1.0
        uplink.step()
    sent = sum(len(payload) for _, _, payload in transport.taken)
    assert AT_ONCE_BYTES - PAYLOAD < sent <= AT_ONCE_BYTES
    transport.durable = [transport.taken[0][1]]
    uplink.step()
    assert len(transport.taken) * PAYLOAD > sent
    assert sum(len(payload) for _, _, payload in transport.taken[1:]) <= AT_ONCE_BYTES


def test_a_full_transport_gives_its_room_to_live_frames_first(spool: Spool) -> None:
    life = with_backlog(spool)
    transport, clock = SlowTransport(prompt=True), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    transport.room = 1
    uplink.step()
    assert names(transport) == ["old0"]
    assert not uplink.up
    for number in range(1, 6):
        spool.store(life, Checkpoint(number, frames(f"live{number}.", 1), {}, 1, False))
        clock.now_s += 1
        transport.room = 1
        uplink.step()
        assert names(transport)[-1] == f"live{number}.0"
    transport.room = 10**6
    while spool.frames:
        clock.now_s += 1
        uplink.step()
    assert [name for name in names(transport) if name.startswith("old")] == [f"old{i}" for i in range(60)]


def test_the_embedded_log_at_its_limit_drains_a_backlog_in_order_once_it_is_read(spool: Spool, tmp_path: Path) -> None:
    life = with_backlog(spool)
    spool.store(life, Checkpoint(1, frames("live", 1, 10), {}, 1, False))
    clock = Clock()
    small, large = (EmbeddedPublisher(tmp_path / "log.db", max_bytes=size) for size in (4 * PAYLOAD, 2**28))
    uplink = Uplink(spool, small, clock, catch_up_bytes_per_s=RATE)
    for _ in range(5):
        clock.now_s += 1
        uplink.step()
    assert (uplink.up, spool.frames + len(records_in(tmp_path / "log.db"))) == (False, 61)
    uplink._publisher = large
    for _ in range(30):
        clock.now_s += 1
        uplink.step()
    assert spool.frames == 0
    found = [decode_frame(record.payload).header for record in records_in(tmp_path / "log.db")]
    assert sorted(header.query for header in found) == sorted([f"old{i}" for i in range(60)] + ["live0"])
    old = [header for header in found if header.query != "live0"]
    assert [header.sequence for header in old] == list(range(1, 61))
    small.close()
    large.close()


def test_after_an_outage_little_is_sent_until_the_first_answer(spool: Spool) -> None:
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames("live", 60), {}, 1, False))
    transport, clock = SlowTransport(), Clock()
    transport.error = TransportError("away")
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    uplink.step()
    transport.error = None
    for _ in range(20):
        clock.now_s += 1
        uplink.step()
    assert AT_ONCE_BYTES - PAYLOAD < len(transport.taken) * PAYLOAD <= AT_ONCE_BYTES + PAYLOAD
    transport.acknowledge_all()
    uplink.step()
    assert uplink.up
    uplink.step()
    assert len(transport.taken) == 60


@pytest.mark.parametrize("reported", [True, False])
def test_an_outage_is_over_when_something_comes_through_again(spool: Spool, reported: bool) -> None:
    """A transport need not report it: a client library may keep trying in silence."""
    life = spool.begin("agent-1", 1)
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    clock.now_s += 100
    uplink.step()  # with nothing to send, nothing is late
    spool.store(life, Checkpoint(1, frames("a", 30), {}, 1, False))
    uplink.step()
    if reported:
        transport.error = TransportError("away")
        uplink.step()
    clock.now_s += OUTAGE_S
    transport.error = None
    uplink.step()
    assert not uplink.left_behind()
    transport.durable = [transport.taken[0][1]]
    uplink.step()
    assert uplink.left_behind()
    transport.acknowledge_all()
    uplink.step()
    assert not uplink.left_behind(), "little is left"
    spool.store(life, Checkpoint(2, frames("b", 30), {}, 1, False))
    assert not uplink.left_behind(), "that outage is history"


def test_what_waits_behind_a_transport_that_was_silent_does_not_all_follow_at_once(spool: Spool) -> None:
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames("a", 120), {}, 1, False))
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    uplink.step()
    assert len(transport.taken) == MAX_UNDER_WAY
    clock.now_s += OUTAGE_S
    transport.acknowledge_all()
    uplink.step()
    assert uplink.left_behind()
    assert 0 < (len(transport.taken) - MAX_UNDER_WAY) * BODY <= AT_ONCE_BYTES


def test_a_short_interruption_is_no_outage(spool: Spool) -> None:
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames("a", 30), {}, 1, False))
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    uplink.step()
    for _, token, _ in list(transport.taken)[:4]:
        clock.now_s += OUTAGE_S - 0.1
        transport.durable = [token]
        uplink.step()
        assert not uplink.left_behind()


def test_what_is_held_back_here_is_not_taken_for_an_outage(spool: Spool) -> None:
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames("stranded", 1), {}, 1, False))
    spool.hand_over(1, (), lambda: 10**6)
    life = spool.begin("agent-1", 2)
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    for number in range(1, 4):
        clock.now_s += 6 * OUTAGE_S  # as far apart as checkpoints may be
        uplink.step()
        spool.store(life, Checkpoint(number, frames(f"live{number}.", 30), {}, 1, False))
        uplink.step()
        assert names(transport)[-1] == f"live{number}.29"
        transport.durable = [transport.taken[-30][1]]
        uplink.step()
        assert not uplink.left_behind()
        transport.acknowledge_all()
        uplink.step()
    assert (spool.frames, spool.stuck.stranded) == (1, 1)


def test_a_successor_begins_with_its_first_checkpoint_and_what_waits_becomes_the_backlog(spool: Spool) -> None:
    first = spool.begin("agent-1", 1000)
    spool.store(first, Checkpoint(1, frames("a", 3), {}, 1500, False, {"q": 1400}))
    spool.hand_over(1, (), lambda: 4)
    second = spool.successor(first, 900)  # the clock was set back
    assert (second.agent, second.started_ns, second.interrupted_from_ns) == ("agent-1", 1001, None)
    assert (second.previous, second.previous_sequence) == (first.id, 3)
    assert spool.backlog_frames == 0
    for _ in range(2):  # storing it twice changes nothing
        spool.store(second, Checkpoint(1, frames("b", 1), {}, 1600, False, {"q": 1550}))
        assert (spool.frames, spool.backlog_frames) == (4, 3)
    assert spool.backlog_bytes == sum(frame.bytes for frame in frames("a", 3))
    handed = spool.hand_over(9, (), lambda: 4, Lane.BACKLOG)
    assert [decode_frame(one.payload).header.query for one in handed] == ["a0", "a1", "a2"]
    spool.acknowledge([one.id for one in handed])
    assert (spool.frames, spool.backlog_frames, spool.backlog_bytes) == (1, 0, 0)
    assert spool.begin("agent-1", 2000).in_doubt_from("q") == 1550


def test_a_successor_that_never_stored_anything_was_never_there(spool: Spool) -> None:
    first = spool.begin("agent-1", 1000)
    spool.store(first, Checkpoint(1, frames("a", 3), {}, 1500, False))
    spool.successor(first, 1600)
    spool.store(first, Checkpoint(2, [], {}, 1700, True))
    following = spool.begin("agent-1", 2000)
    assert (following.interrupted_from_ns, following.previous) == (None, first.id)


class LateError(sqlite3.Connection):
    """Commits once, and says that it could not."""

    armed = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        cursor = super().execute(*arguments)
        if LateError.armed and arguments == ("COMMIT",):
            LateError.armed = False
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


def test_a_successor_whose_first_commit_seemed_to_fail_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool.db", MACHINE, 2**28, LateError)
    first = spool.begin("agent-1", 1000)
    spool.store(first, Checkpoint(1, frames("a", 3), {}, 1500, False))
    second = spool.successor(first, 1600)
    begins = Checkpoint(1, frames("b", 2), {}, 1700, False)
    monkeypatch.setattr(LateError, "armed", True)
    with pytest.raises(SpoolWriteError):
        spool.store(second, begins)
    spool.store(second, begins)
    assert (spool.frames, spool.backlog_frames) == (5, 3)
    spool.store(second, Checkpoint(2, frames("c", 1), {}, 1800, False))
    handed = spool.hand_over(9, (), lambda: 4)
    assert [decode_frame(one.payload).header.query for one in handed] == ["a0", "a1", "a2", "b0", "b1", "c0"]
    spool.close()


def test_the_age_of_the_oldest_frame_is_that_of_its_checkpoint(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    assert spool.oldest_age_s(10**18) == 0
    life = spool.begin("agent-1", 1)
    made = [SpoolFrame("drained", "q", "0" * 16, 0, 0, 0, second * 10**9, 1, b"") for second in (5, 8)]
    spool.store(life, Checkpoint(1, made, {}, 1, False))
    assert spool.oldest_age_s(11 * 10**9 + 1) == 6
    assert spool.oldest_age_s(4 * 10**9) == 0, "the clock was set back"
    (first, _) = spool.hand_over(9, (), lambda: 4)
    spool.acknowledge([first.id])
    assert spool.oldest_age_s(11 * 10**9) == 3
    spool._db.close()
    assert spool.oldest_age_s(12 * 10**9) == 4


def test_earlier_incarnations_are_announced_before_later_ones_even_if_the_first_attempt_failed(spool: Spool) -> None:
    with_backlog(spool)
    spool.store(spool.begin("agent-1", 3), Checkpoint(1, frames("mid", 30), {}, 1, False))
    spool.store(spool.begin("agent-1", 4), Checkpoint(1, frames("live", 1), {}, 1, False))
    transport, clock = SlowTransport(), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    uplink.step()
    announced = names(transport)[:3]
    assert announced == ["old0", "mid0", "live0"]
    transport.error = TransportError("lost")
    uplink.step()
    transport.error = None
    transport.taken.clear()
    clock.now_s += 60
    uplink.step()
    assert names(transport)[:3] == announced


def test_a_backlog_without_a_partition_holds_up_nobody(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, frames("old", 60), {}, 1, False))
    spool.hand_over(1, (), lambda: 10**6)
    spool.store(spool.begin("agent-1", 2), Checkpoint(1, frames("live", 3), {}, 1, False))
    with publisher_to(tmp_path / "log.db") as publisher, caplog.at_level(logging.ERROR):
        Uplink(spool, publisher, catch_up_bytes_per_s=RATE).drain(2.0)
    assert (spool.frames, spool.stuck.stranded) == (60, 60)
    assert caplog.text.count("which the transport lacks") == 1


def test_a_frame_too_large_for_the_wire_does_not_hold_up_the_backlog(spool: Spool) -> None:
    made = [*frames("a", 1), *frames("huge", 1, AT_ONCE_BYTES), *frames("b", 30)]
    spool.store(spool.begin("agent-1", 1), Checkpoint(1, made, {}, 1, False))
    spool.begin("agent-1", 2)
    transport, clock = SlowTransport(prompt=True), Clock()
    uplink = Uplink(spool, transport, clock, catch_up_bytes_per_s=RATE)
    for _ in range(30):
        clock.now_s += 1
        uplink.step()
    assert len(transport.taken) == 31
    assert (spool.frames, spool.stuck.unsendable) == (1, 1)
