"""Starts of agents: one id used by two at once is found and named, restarts and moves are not taken for it."""

import logging
import time
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from collector import own_metrics
from collector.runner import Collector
from store.coverage import Coverage
from store.fleet import AgentReport
from store.interruptions import ID_SHARED
from store.starts import CLASH_NS, note_starts, shared_ids
from tests.collector.conftest import Bench
from tests.collector.test_wrong_clocks import HOUR_NS, covered, moved
from tests.fleet import SECOND_NS, WINDOW_NS, FakeAgent, probe_records, truth
from tests.stored import assert_same
from wire.heartbeat import Heartbeat, QueryProgress, encode_heartbeat

RECORDS = probe_records(120, seed=71)
TICK_NS = WINDOW_NS


@dataclass
class Start:
    """One start of an agent with a heartbeat per tick, by a clock that may be off."""

    bench: Bench
    incarnation: str
    host: str
    partition: int = 0
    machine: str = ""
    ahead_ns: int = 0
    previous: str = ""
    replayable: bool = False
    started_ns: int = field(init=False)
    first_ns: int = field(init=False)
    agent: FakeAgent = field(init=False)

    def __post_init__(self) -> None:
        self.started_ns = self.first_ns = time.time_ns() + self.ahead_ns
        number = f"{int(self.incarnation, 16):032x}"
        self.agent = FakeAgent(self.bench.plan, "twin", self.partition, number, self.started_ns)

    def beat(self, watermark_ns: int | None = None) -> bytes:
        """A heartbeat made now."""
        now_ns = self.agent.now_ns = time.time_ns() + self.ahead_ns
        plan = self.bench.plan
        mark_ns = now_ns if watermark_ns is None else watermark_ns
        progress = QueryProgress(plan.query, plan.version, self.first_ns, mark_ns, self.replayable)
        beat = Heartbeat(
            "twin", self.host, self.machine or f"id-of-{self.host}", self.started_ns, now_ns, clean=False,
            queries=[progress], counters={}, previous_incarnation=self.previous,
        )  # fmt: skip
        return self.agent.frame("heartbeat", encode_heartbeat(beat))

    def send(self, *frames: bytes) -> None:
        self.bench.publish(list(frames), self.partition)


@dataclass
class Timeline:
    """A collector's clock that moves by hand."""

    bench: Bench
    monkeypatch: pytest.MonkeyPatch
    collector: Collector = field(init=False)

    def __post_init__(self) -> None:
        begun_ns = self.now_ns = time.time_ns() // WINDOW_NS * WINDOW_NS
        self.begun_ns = begun_ns
        self.monkeypatch.setattr(time, "time_ns", lambda: self.now_ns)
        self.collector = self.bench.collector(spool_age_s=7 * 24 * HOUR_NS / 10**9)

    def ticks(self, number: int, *alive: Start) -> None:
        for _ in range(number):
            self.now_ns += TICK_NS
            for start in alive:
                start.send(start.beat())
            self.bench.drain(self.collector)

    def shared(self) -> dict[str, list[str]]:
        with self.bench.engine.connect() as connection:
            return dict(shared_ids(connection, self.now_ns - 3 * TICK_NS))

    def coverage(self, first_tick: int, last_tick: int) -> Coverage:
        first_ns, last_ns = (self.begun_ns + tick * TICK_NS for tick in (first_tick, last_tick))
        return covered(self.bench, first_ns, last_ns, self.now_ns)


@pytest.fixture
def timeline(bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Timeline:
    """Nothing has happened yet."""
    caplog.set_level(logging.WARNING)
    return Timeline(bench, monkeypatch)


def counted() -> float:
    return own_metrics.REGISTRY.get_sample_value("tailwatch_collector_shared_ids_total") or 0.0


@pytest.mark.parametrize("ahead_ns", [0, 20 * SECOND_NS, -20 * SECOND_NS])
def test_an_agent_id_used_by_two_hosts_is_found_named_and_in_doubt_for_as_long_as_it_lasts(
    timeline: Timeline, caplog: pytest.LogCaptureFixture, ahead_ns: int
) -> None:
    bench, before = timeline.bench, counted()
    one = Start(bench, "a", "host-a")
    timeline.ticks(4, one)
    two = Start(bench, "b", "host-b", partition=1, ahead_ns=ahead_ns)
    records = moved(RECORDS, timeline.now_ns)
    one.send(*one.agent.send(records[:60], 99))
    two.send(*two.agent.send(records[60:], 0))
    timeline.ticks(6, one, two)
    assert timeline.shared() == {}, "within a minute nobody can know"
    timeline.ticks(10, one, two)
    assert timeline.shared() == {"twin": ["host-a", "host-b"]}
    told = [line for line in caplog.messages if "agent id used twice" in line]
    assert len(told) == 1
    assert "host=host-a machine=id-of-host-a and host=host-b machine=id-of-host-b" in told[0]
    assert (bench.totals()["shared_ids"], counted() - before) == (1, 1)
    assert_same(bench.stored(), truth(bench.plan, records))
    both = timeline.coverage(8, 18)
    assert (both.ratio, both.interrupted) == (0.0, True)
    assert timeline.coverage(0, 2).ratio == 1.0
    timeline.ticks(10, two)
    assert timeline.shared() == {}
    after = timeline.coverage(23, 27)
    assert (after.ratio, after.interrupted) == (1.0, False)
    assert bench.totals()["shared_ids"] == 1


def test_an_agent_id_used_by_two_on_one_machine_is_found_as_well(timeline: Timeline) -> None:
    one, two = (Start(timeline.bench, name, "one-host", machine="m") for name in ("a", "b"))
    timeline.ticks(10, one, two)
    assert timeline.shared() == {"twin": ["one-host"]}
    assert timeline.bench.totals()["shared_ids"] == 1


def test_replays_that_share_an_id_are_in_doubt_as_a_whole(timeline: Timeline) -> None:
    bench = timeline.bench
    one, two = (Start(bench, name, f"host-{name}", n, replayable=True) for n, name in enumerate("ab"))
    for start in (one, two):
        start.first_ns = start.started_ns - HOUR_NS
    timeline.ticks(10, one, two)
    whole = timeline.coverage(-300, -200)
    assert (whole.ratio, whole.interrupted) == (0.0, True)


def test_each_further_start_that_shares_the_id_is_told_once(
    timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    bench = timeline.bench
    one, two = Start(bench, "a", "host-a"), Start(bench, "b", "host-b", partition=1)
    timeline.ticks(10, one, two)
    again = Start(bench, "c", "host-b", partition=1)
    timeline.ticks(20, one, again)
    assert len([line for line in caplog.messages if "agent id used twice" in line]) == 2
    assert bench.totals()["shared_ids"] == 2


def test_restarts_and_moves_are_not_taken_for_an_id_used_twice(timeline: Timeline) -> None:
    bench = timeline.bench
    one = Start(bench, "a", "container-1", machine="m")
    timeline.ticks(10, one)
    two = Start(bench, "b", "container-2", machine="m", partition=1)
    kept = [one.beat() for _ in range(3)]
    timeline.ticks(10, two)
    # The first one's last heartbeats, kept in the spool or in a partition that lags behind, come in slowly.
    for beat in kept:
        one.send(beat)
        timeline.ticks(4, two)
    elsewhere = Start(bench, "c", "other-host")
    timeline.ticks(10, elsewhere)
    assert bench.totals()["shared_ids"] == 0
    assert timeline.shared() == {}


def test_a_move_between_hosts_whose_clocks_differ_is_not_taken_for_an_id_used_twice(timeline: Timeline) -> None:
    one = Start(timeline.bench, "a", "fast-host", ahead_ns=HOUR_NS)
    timeline.ticks(10, one)
    two = Start(timeline.bench, "b", "other-host", partition=1)
    timeline.ticks(400, two)
    assert timeline.now_ns > one.agent.now_ns + 2 * CLASH_NS
    assert timeline.bench.totals()["shared_ids"] == 0


def test_what_follows_in_the_same_spool_is_not_taken_for_an_id_used_twice(timeline: Timeline) -> None:
    """The earlier one's backlog is sent slowly beside the later one's frames; its clock was ahead and was set right."""
    bench = timeline.bench
    earlier = Start(bench, "a", "host-a", ahead_ns=10 * CLASH_NS)
    timeline.ticks(20, earlier)
    kept = [earlier.beat() for _ in range(20)]
    later = Start(bench, "b", "host-a", partition=1, previous=earlier.agent.incarnation)
    for beat in kept:
        earlier.send(beat)
        timeline.ticks(5, later)
    assert later.agent.now_ns > earlier.started_ns + 2 * CLASH_NS
    assert (bench.totals()["shared_ids"], timeline.shared()) == (0, {})
    with bench.engine.connect() as connection:
        reasons = connection.exec_driver_sql("SELECT DISTINCT reason FROM interruptions").scalars().all()
    assert ID_SHARED not in reasons


def test_what_follows_further_on_in_the_same_spool_is_not_taken_for_an_id_used_twice(timeline: Timeline) -> None:
    """As above, with another outage in between: the one that goes on names another one than the one that drains."""
    bench = timeline.bench
    earlier = Start(bench, "a", "host-a", ahead_ns=10 * CLASH_NS)
    timeline.ticks(20, earlier)
    kept = [earlier.beat() for _ in range(20)]
    between = Start(bench, "b", "host-a", partition=1, previous=earlier.agent.incarnation)
    timeline.ticks(1, between)
    later = Start(bench, "c", "host-a", previous=between.agent.incarnation)
    for beat in kept:
        earlier.send(beat)
        timeline.ticks(5, later)
    assert (bench.totals()["shared_ids"], timeline.shared()) == (0, {})


def test_a_start_after_one_whose_clock_was_an_hour_ahead_moves_the_watermark(timeline: Timeline) -> None:
    """The clock was set right, then the agent was started again: by its own word the new start is the older one."""
    bench = timeline.bench
    ahead = Start(bench, "a", "host-a", ahead_ns=HOUR_NS)
    timeline.ticks(10, ahead)
    right = Start(bench, "b", "host-a", partition=1)
    timeline.ticks(10, right)
    assert timeline.coverage(11, 20).ratio == 1.0
    timeline.ticks(10)
    assert timeline.coverage(21, 30).ratio < 1.0, "it is the one that vouches"


def test_a_start_that_names_the_one_before_it_comes_after_it_whatever_the_clocks_say(timeline: Timeline) -> None:
    bench = timeline.bench
    one = Start(bench, "a", "host-a")
    timeline.ticks(2, one)
    behind = Start(bench, "b", "host-a", partition=1, ahead_ns=-TICK_NS * 5, previous=one.agent.incarnation)
    behind.first_ns = timeline.now_ns
    timeline.ticks(20, behind)
    assert timeline.coverage(3, 15).ratio == 1.0


@pytest.mark.parametrize("order", [1, -1])
def test_two_starts_that_are_first_heard_of_together_are_in_the_order_in_which_they_came(
    timeline: Timeline, order: int
) -> None:
    """The collector was away; the clock was an hour ahead and set right between them."""
    bench = timeline.bench
    ahead = Start(bench, "a", "host-a", ahead_ns=HOUR_NS)
    first = ahead.beat()
    timeline.now_ns += TICK_NS
    right = Start(bench, "b", "host-a", previous=ahead.agent.incarnation)
    timeline.now_ns += TICK_NS
    right.send(*[first, right.beat()][::order])
    timeline.ticks(10, right)
    assert timeline.coverage(3, 11).ratio == 1.0
    timeline.ticks(10)
    assert timeline.coverage(13, 21).ratio < 1.0, "it is the one that vouches"


def test_a_late_heartbeat_of_an_earlier_start_takes_nothing_over_whatever_its_clock_said(timeline: Timeline) -> None:
    bench = timeline.bench
    ahead = Start(bench, "a", "host-a", ahead_ns=HOUR_NS)
    late = ahead.beat()
    right = Start(bench, "b", "host-a", partition=1, previous=ahead.agent.incarnation)
    timeline.ticks(10, right)
    ahead.send(late)
    timeline.ticks(10, right)
    assert timeline.coverage(0, 20).ratio == 1.0
    timeline.ticks(10)
    assert timeline.coverage(21, 30).ratio < 1.0


def test_an_agent_whose_clock_was_a_year_ahead_when_it_began_is_expected_from_then(timeline: Timeline) -> None:
    start = Start(timeline.bench, "a", "host-a", ahead_ns=365 * 24 * HOUR_NS)
    timeline.ticks(1, start)
    timeline.now_ns += HOUR_NS
    timeline.ticks(10)
    silent = timeline.coverage(361, 370)
    assert (silent.agents_expected, silent.ratio) == (1, 0.0)


def test_starts_that_are_not_heard_of_any_more_are_forgotten(timeline: Timeline) -> None:
    bench = timeline.bench
    timeline.ticks(1, Start(bench, "a", "host-a"))
    timeline.now_ns += 8 * 24 * HOUR_NS
    timeline.monkeypatch.setattr("collector.clock.monotonic_ns", lambda: time.monotonic_ns() + 8 * 24 * HOUR_NS)
    timeline.ticks(1, Start(bench, "b", "host-a"))
    with bench.engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT incarnation FROM starts").scalars().all()
    assert [int(name, 16) for name in names] == [0xB]


def test_times_of_any_size_end_no_flush(timeline: Timeline) -> None:
    for name, started_ns in (("a", -(2**63)), ("b", 2**63 - 1)):
        start = Start(timeline.bench, name, "host-a")
        start.started_ns = started_ns
        timeline.ticks(1, start)
    assert timeline.bench.totals()["frames"] == 2
    assert timeline.bench.totals()["dead_letters"] == 0


def test_a_fleet_that_begins_at_once_is_written_down_in_few_statements(bench: Bench) -> None:
    """As after an outage of the broker: every agent goes on as a new incarnation."""
    statements: list[str] = []
    reports = [
        AgentReport(f"agent-{n}", "h", "m", f"{n:032x}", 10**18, 10**18, counters={}, progress=[]) for n in range(100)
    ]
    sa.event.listen(bench.engine, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
    with bench.engine.begin() as connection:
        orders = note_starts(connection, reports, 10**18, 0)
    assert set(orders.values()) == {10**18}
    assert len(statements) < 10
