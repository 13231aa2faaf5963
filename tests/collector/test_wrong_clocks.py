"""Clocks that are wrong, an agent's or the collector's: counts stay true, nothing is deleted or refused for it."""

import time
from pathlib import Path

import polars as pl
import pytest

from store.connect import open_engine, upgrade
from store.coverage import Coverage, coverage
from store.days import days
from store.registry import metric
from tests.collector.conftest import Bench
from tests.collector.test_partition import dead_letters
from tests.fleet import START_NS, WINDOW_NS, FakeAgent, probe_plan, probe_records, truth
from tests.stored import assert_same
from wire.heartbeat import Heartbeat, QueryProgress, encode_heartbeat

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
YEAR_NS = 365 * DAY_NS
RECORDS = probe_records(60, seed=61)


def moved(records: pl.DataFrame, first_ns: int) -> pl.DataFrame:
    """The records with their first window at the one of `first_ns`."""
    return records.with_columns(pl.col("ts") + (first_ns // WINDOW_NS * WINDOW_NS - START_NS))


def live_beat(agent: FakeAgent, first_ns: int, watermark_ns: int) -> bytes:
    """A heartbeat of an agent whose sources cannot be replayed, by its own clock."""
    progress = QueryProgress(agent.plan.query, agent.plan.version, first_ns, watermark_ns, replayable=False)
    beat = Heartbeat(agent.name, "h", "m", first_ns, agent.now_ns, clean=False, queries=[progress], counters={})
    return agent.frame("heartbeat", encode_heartbeat(beat))


def covered(bench: Bench, start_ns: int, end_ns: int, now_ns: int) -> Coverage:
    start_ns = start_ns // WINDOW_NS * WINDOW_NS
    with bench.engine.connect() as connection:
        return coverage(connection, metric(connection, "rtt_us"), start_ns, -(-end_ns // WINDOW_NS) * WINDOW_NS, now_ns)


@pytest.mark.parametrize("cut", [0, 99])
def test_a_timestamp_a_year_ahead_is_refused_and_counted_and_the_rest_of_its_frame_is_kept(
    bench: Bench, cut: int
) -> None:
    now_ns = time.time_ns()
    agent = FakeAgent(bench.plan, now_ns=now_ns + YEAR_NS)
    ahead, right = moved(RECORDS[:20], now_ns + YEAR_NS), moved(RECORDS[20:], now_ns)
    bench.publish(agent.send(pl.concat([ahead, right]), cut))
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, right))
    kept = ahead.filter(pl.col("err") == 0).join(pl.DataFrame({"src": ["a", "b", "c"]}), on="src", how="semi").height
    refused = ahead.height if cut == 0 else kept
    counted = bench.totals()
    assert (counted["too_new"], counted["too_old"], counted["dead_letters"], counted["frames"]) == (refused, 0, 1, 2)
    (reason,) = dead_letters(bench)
    kind = "partial" if cut else "drained"
    year = time.gmtime((now_ns + YEAR_NS) // 10**9).tm_year
    assert f"a {kind} frame of agent-1 holds {refused} records of windows from {year}-" in reason
    assert "more than 86400 s (collector.future_max_s) ahead of" in reason
    with bench.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT payload FROM dead_letters").scalar_one()
        if connection.dialect.name == "postgresql":
            assert all(day.from_ns < now_ns + 3 * DAY_NS for day in days(connection))
    a_year_on = covered(bench, now_ns + YEAR_NS, now_ns + YEAR_NS + 4 * WINDOW_NS, now_ns + 2 * YEAR_NS)
    assert (a_year_on.records_known, a_year_on.records_merged) == (ahead.height, ahead.height - refused)
    assert covered(bench, now_ns, now_ns + 4 * WINDOW_NS, now_ns + HOUR_NS).records_merged == right.height


def test_a_window_as_far_ahead_as_is_allowed_is_taken_and_a_further_one_is_not(bench: Bench) -> None:
    agent = FakeAgent(bench.plan, now_ns=time.time_ns())
    bench.collector()
    near = moved(RECORDS[:30].with_columns(pl.lit(START_NS).alias("ts")), time.time_ns() + HOUR_NS - WINDOW_NS)
    far = near.with_columns(pl.col("ts") + 4 * WINDOW_NS)  # time passes before the collector looks
    bench.publish(agent.send(near, 99) + agent.send(far, 99))
    bench.drain(bench.collector(future_max_s=3600.0))
    assert_same(bench.stored(), truth(bench.plan, near))
    assert bench.totals()["too_new"] > 0


def test_a_watermark_a_year_ahead_vouches_for_no_time_that_has_not_come(bench: Bench) -> None:
    now_ns = time.time_ns()
    agent = FakeAgent(bench.plan, now_ns=now_ns + YEAR_NS)
    bench.publish([live_beat(agent, now_ns, now_ns + YEAR_NS)])
    bench.drain(bench.collector())
    assert covered(bench, now_ns, now_ns + WINDOW_NS, now_ns + WINDOW_NS).ratio == 1.0
    later_ns = now_ns + HOUR_NS
    assert covered(bench, later_ns, later_ns + WINDOW_NS, later_ns + WINDOW_NS).ratio == 0.0


@pytest.mark.parametrize("off_ns", [HOUR_NS, -HOUR_NS])
@pytest.mark.parametrize("cut", [0, 99])
def test_an_agents_clock_an_hour_off_changes_no_count_and_answers_stand_where_its_clock_says(
    bench: Bench, cut: int, off_ns: int
) -> None:
    now_ns = time.time_ns() // WINDOW_NS * WINDOW_NS
    begun_ns = now_ns - 4 * WINDOW_NS
    agent = FakeAgent(bench.plan, now_ns=now_ns + off_ns)
    records = moved(RECORDS, begun_ns + off_ns)
    beat = live_beat(agent, begun_ns + off_ns, now_ns + off_ns)
    bench.publish([*agent.send(records[:30], cut), *agent.send(records[30:], cut), beat])
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, records))
    counted = bench.totals()
    assert (counted["dead_letters"], counted["too_new"], counted["too_old"]) == (0, 0, 0)
    later_ns = now_ns + 2 * HOUR_NS
    its_own = covered(bench, begun_ns + off_ns, begun_ns + off_ns + 4 * WINDOW_NS, later_ns)
    assert (its_own.records_known, its_own.records_merged) == (60, 60)
    ours = covered(bench, begun_ns, now_ns - WINDOW_NS, now_ns)
    assert (ours.records_known, ours.records_merged) == (0, 0)
    if off_ns < 0:  # its records of this hour are yet to come, and it says so
        assert its_own.ratio == 1.0
        assert (ours.ratio, ours.agents_expected) == (0.0, 1)
    else:  # it vouches for nothing that it would have measured before its clock began
        assert (ours.ratio, ours.agents_expected) == (1.0, 0)


@pytest.mark.parametrize("jump_ns", [HOUR_NS, -HOUR_NS, YEAR_NS, -YEAR_NS])
def test_a_collectors_clock_that_jumps_refuses_nothing_and_forgets_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, jump_ns: int
) -> None:
    now_ns, clock = time.time_ns(), time.time_ns
    records = moved(RECORDS, now_ns)
    agent = FakeAgent(bench.plan, now_ns=now_ns)
    idle = FakeAgent(bench.plan, "idle", incarnation="1" * 32, now_ns=now_ns)
    first = agent.send(records[:20], 99) + idle.send(records[20:30], 99)
    skipped = agent.send(records[30:40], 0)
    bench.publish(first)
    collector = bench.collector()
    bench.drain(collector)
    monkeypatch.setattr(time, "time_ns", lambda: clock() + jump_ns)
    bench.publish(agent.send(records[40:50], 99))
    bench.drain(collector)
    bench.publish([*first, *idle.send(records[50:], 99), *skipped])
    bench.drain(collector)
    monkeypatch.undo()
    bench.publish([*first, live_beat(agent, now_ns, now_ns + WINDOW_NS)])
    bench.drain(collector)
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, records))
    counted = bench.totals()
    assert (counted["dead_letters"], counted["too_new"], counted["lost_frames"]) == (0, 0, 0)
    assert counted["duplicates"] == 2 * len(first)
    assert covered(bench, now_ns, now_ns + WINDOW_NS, now_ns + WINDOW_NS).ratio == 1.0


def test_a_collector_that_starts_with_a_clock_a_year_behind_knows_that_the_last_flush_was_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_with_a_wrong_clock(bench, monkeypatch, -YEAR_NS)


@pytest.mark.parametrize("jump_ns", [YEAR_NS, -YEAR_NS])
def test_a_collector_that_starts_with_a_wrong_clock_goes_by_the_database_servers(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, jump_ns: int
) -> None:
    upgrade(postgres_url)
    engine = open_engine(postgres_url)
    start_with_a_wrong_clock(Bench(tmp_path, postgres_url, engine, probe_plan()), monkeypatch, jump_ns)
    engine.dispose()


def start_with_a_wrong_clock(bench: Bench, monkeypatch: pytest.MonkeyPatch, jump_ns: int) -> None:
    """A second collector takes over with a clock that is off."""
    now_ns, clock = time.time_ns(), time.time_ns
    records, agent = moved(RECORDS, now_ns), FakeAgent(bench.plan, now_ns=now_ns)
    idle = FakeAgent(bench.plan, "idle", incarnation="1" * 32, now_ns=now_ns)
    first = agent.send(records[:20], 99) + idle.send(records[20:30], 99)
    bench.publish(first)
    bench.drain(bench.collector())
    monkeypatch.setattr(time, "time_ns", lambda: clock() + jump_ns)
    bench.publish(agent.send(records[30:], 99))
    collector = bench.collector()
    bench.drain(collector)
    bench.publish(first)
    bench.drain(collector)
    monkeypatch.undo()
    bench.publish(first)
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, records))
    counted = bench.totals()
    assert (counted["dead_letters"], counted["too_new"], counted["duplicates"]) == (0, 0, 2 * len(first))
