"""What heartbeats prove about an agent's clock: ahead by at least so much, never more than it is."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.agent_clocks import AHEAD_NS, WINDOW, AgentClocks
from store.fleet import AgentRow, agents
from tests.collector.conftest import Bench
from tests.fleet import SECOND_NS, FakeAgent, probe_records

HOUR_NS = 3600 * SECOND_NS
INCARNATION = "0" * 32


def heard(clocks: AgentClocks, ahead_ns: int, ways_ns: list[int], agent: str = "a") -> int:
    """Heartbeats by a clock that is ahead, each on its way for so long; gives the bound."""
    for number, way_ns in enumerate(ways_ns):
        made_ns = number * SECOND_NS
        clocks.heard(agent, INCARNATION, made_ns + ahead_ns, made_ns + way_ns)
    bound = clocks.ahead_ns(agent, INCARNATION)
    assert bound is not None
    return bound


@given(
    st.integers(-HOUR_NS, HOUR_NS),
    st.lists(st.integers(0, 10 * HOUR_NS), min_size=1, max_size=5 * WINDOW),
)
def test_the_bound_is_off_by_the_quickest_way_of_the_last_heartbeats(ahead_ns: int, ways_ns: list[int]) -> None:
    bound = heard(AgentClocks(), ahead_ns, ways_ns)
    assert ahead_ns - min(ways_ns[-WINDOW:]) <= bound <= ahead_ns - min(ways_ns[-2 * WINDOW :])


def test_a_backlog_does_not_look_like_a_clock_ahead_and_is_forgotten_once_heartbeats_are_fresh() -> None:
    clocks = AgentClocks()
    assert heard(clocks, 0, [HOUR_NS] * 100) == -HOUR_NS
    assert heard(clocks, 0, [SECOND_NS // 10]) == -SECOND_NS // 10


def test_a_clock_that_was_set_right_is_right_after_a_while() -> None:
    clocks = AgentClocks()
    assert heard(clocks, HOUR_NS, [0]) == HOUR_NS
    assert heard(clocks, 0, [0] * 2 * WINDOW) == 0


def test_agents_and_incarnations_have_clocks_of_their_own() -> None:
    clocks = AgentClocks()
    clocks.heard("a", "1" * 32, HOUR_NS, 0)
    clocks.heard("a", "2" * 32, 0, 0)
    clocks.heard("b", "1" * 32, 7, 0)
    known = [clocks.ahead_ns(agent, digit * 32) for agent, digit in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"))]
    assert known == [HOUR_NS, 0, 7, None]
    clocks.forget("a", "1" * 32)
    assert clocks.ahead_ns("a", "1" * 32) is None


def test_a_time_beyond_all_reason_still_fits_the_database() -> None:
    clocks = AgentClocks()
    clocks.heard("a", INCARNATION, 2**63 - 1, -(2**63))
    clocks.heard("b", INCARNATION, -(2**63), 2**63 - 1)
    assert (clocks.ahead_ns("a", INCARNATION), clocks.ahead_ns("b", INCARNATION)) == (2**62, -(2**62))


def test_a_clock_ahead_is_said_once_and_again_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    clocks = AgentClocks()
    with caplog.at_level(logging.WARNING, "collector.agent_clocks"):
        heard(clocks, AHEAD_NS, [0] * 3)
        assert caplog.messages == []
        heard(clocks, 7 * SECOND_NS, [0] * 5, agent="rack7")
        assert len(caplog.messages) == 1
        assert "agent=rack7 ahead_s=7.0" in caplog.messages[0]
        heard(clocks, 0, [0] * 2 * WINDOW, agent="rack7")
        heard(clocks, HOUR_NS, [0], agent="rack7")
    assert len(caplog.messages) == 2


def stored(bench: Bench) -> AgentRow:
    with bench.engine.connect() as connection:
        (row,) = agents(connection)
    return row


@pytest.mark.parametrize("ahead_s", [-3600, 30])
def test_the_bound_of_an_agent_is_stored_with_its_heartbeat(bench: Bench, ahead_s: int) -> None:
    collector = bench.collector()
    began_ns = time.time_ns()
    agent = FakeAgent(bench.plan, now_ns=began_ns + ahead_s * SECOND_NS)
    bench.publish([agent.heartbeat()])
    bench.drain(collector)
    took_ns = time.time_ns() - began_ns
    offset_ns = stored(bench).clock_offset_ns
    assert offset_ns is not None
    assert ahead_s * SECOND_NS - took_ns <= offset_ns <= ahead_s * SECOND_NS


def test_the_stored_bound_follows_the_newest_heartbeat(bench: Bench) -> None:
    collector = bench.collector()
    agent = FakeAgent(bench.plan, now_ns=time.time_ns() - HOUR_NS)
    bench.publish([agent.heartbeat()])
    bench.drain(collector)
    assert (stored(bench).clock_offset_ns or 0) <= -HOUR_NS
    started_ns, agent.now_ns = agent.now_ns, time.time_ns()
    assert agent.now_ns > started_ns
    bench.publish([agent.heartbeat()])
    bench.drain(collector)
    assert (stored(bench).clock_offset_ns or -HOUR_NS) > -60 * SECOND_NS


def test_frames_of_other_kinds_push_no_heartbeat_out(bench: Bench) -> None:
    collector = bench.collector()
    agent = FakeAgent(bench.plan, now_ns=time.time_ns())
    bench.publish([agent.heartbeat()])
    bench.drain(collector)
    before = stored(bench).clock_offset_ns
    agent.now_ns -= HOUR_NS
    bench.publish([frame for _ in range(WINDOW) for frame in agent.send(probe_records(5, 1), 99)])
    bench.publish([agent.heartbeat()])
    bench.drain(collector)
    assert collector._held[0]._clocks.ahead_ns(agent.name, agent.incarnation) == before


def test_a_heartbeat_that_is_read_again_later_does_not_move_the_clock(bench: Bench) -> None:
    collector = bench.collector()
    agent = FakeAgent(bench.plan, now_ns=time.time_ns())
    beat = agent.heartbeat()
    bench.publish([beat])
    bench.drain(collector)
    before = stored(bench).clock_offset_ns
    bench.publish([beat] * 2 * WINDOW)
    bench.drain(collector)
    agent.now_ns -= HOUR_NS
    bench.publish([agent.heartbeat()])
    bench.drain(collector)
    (clock,) = collector._held[0]._clocks._agents.values()
    assert clock.ahead_ns == before
