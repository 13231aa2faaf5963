"""Frames that come after retention has passed them, and dead letters beyond their cap."""

import threading
import time

import polars as pl
import pytest
import sqlalchemy as sa

from collector.jobs.config import JobsConfig, RetentionConfig
from collector.jobs.rounds import Rounds
from collector.runner import run_collector
from store.windows import Selection, merged
from tests.collector.conftest import Bench
from tests.collector.timeless import timeless
from tests.fleet import START_NS, TABLES, WINDOW_NS, FakeAgent, probe_plan, probe_records, truth
from wire.embedded import EmbeddedSubscriber

DAY_S = 86_400.0
SQL = """SELECT src, sketch(rtt_us) AS rtt_us, count(*) AS probes_total FROM probes
GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src"""


def round_at(bench: Bench, now_ns: int, **kept_s: float) -> None:
    config = timeless(jobs=JobsConfig(settle_s=0.0), retention=RetentionConfig(**kept_s))
    rounds = Rounds(config, bench.engine, "tester")
    assert rounds.round(now_ns)
    rounds.leave()


def totals(bench: Bench) -> dict[str, tuple[bytes, int]]:
    """src -> its merged sketch's bytes and its count, over all time."""
    found: dict[str, list[object]] = {}
    for name in ("rtt_us", "probes_total"):
        with bench.engine.connect() as connection:
            answer = merged(connection, Selection(name, START_NS, START_NS + 3600 * 10**9, by=("src",)))
        for group in answer.groups:
            value = group.state.to_bodies()[0] if name == "rtt_us" else group.state.answers()[0]
            found.setdefault(group.labels["src"], []).append(value)
    return {src: tuple(values) for src, values in found.items()}  # type: ignore[misc]


def expected(bench: Bench, records: pl.DataFrame) -> dict[str, tuple[bytes, int]]:
    whole = truth(bench.plan, records.with_columns(pl.lit(START_NS).alias("ts")))
    return {
        src: (whole.states["rtt_us"].take([n]).to_bodies()[0], whole.states["probes_total"].answers()[n])  # type: ignore[arg-type]
        for n, src in enumerate(whole.keys["src"].to_list())
    }


def test_retention_passed_while_the_collector_was_down_costs_resolution_and_no_record(bench: Bench) -> None:
    bench.plan = probe_plan(SQL)
    records, agent = probe_records(400, seed=51), FakeAgent(bench.plan)
    bench.publish(agent.send(records[:200], 99))
    bench.drain(bench.collector())
    # Nobody reads the transport meanwhile; another collector's jobs go on.
    bench.publish(agent.send(records[200:300], 0) + agent.send(records[300:], 99) + [agent.heartbeat()])
    now_ns = START_NS + round(20 * DAY_S * 1e9)
    round_at(bench, now_ns, own_windows_s=DAY_S, minutes_s=2 * DAY_S, hours_s=90 * DAY_S)
    bench.drain(bench.collector())
    assert totals(bench) == expected(bench, records)
    round_at(bench, now_ns, own_windows_s=DAY_S, minutes_s=2 * DAY_S, hours_s=90 * DAY_S)
    assert totals(bench) == expected(bench, records)
    assert bench.totals()["too_old"] == 0


def test_what_is_older_than_every_level_is_counted_and_the_rest_of_its_flush_stored(bench: Bench) -> None:
    bench.plan = probe_plan(SQL)
    old, young = (
        probe_records(100, seed=52),
        probe_records(100, seed=53).with_columns(pl.col("ts") + 3 * 86_400 * 10**9),
    )
    agent = FakeAgent(bench.plan)
    bench.collector()
    round_at(bench, START_NS + round(2 * DAY_S * 1e9), own_windows_s=DAY_S, minutes_s=DAY_S, hours_s=DAY_S)
    bench.publish(agent.send(pl.concat([old, young]), 99) + agent.send(old, 0))
    bench.drain(bench.collector())
    assert totals(bench) == {}
    with bench.engine.connect() as connection:
        stored = merged(
            connection, Selection("probes_total", int(young["ts"].min()), int(young["ts"].max()) + WINDOW_NS)
        )  # type: ignore[arg-type]
    assert [group.state.answers() for group in stored.groups] == [[100]]
    counted = bench.totals()
    assert (counted["too_old"], counted["dead_letters"], counted["frames"]) == (200, 0, 4)


def test_dead_letters_beyond_their_cap_go_oldest_first_and_are_counted(bench: Bench) -> None:
    payloads = [bytes([65 + n]) * 300_000 for n in range(6)]
    bench.publish(payloads)
    collector = bench.collector(dead_letters_max_bytes=1_000_000, poll_records=1)
    for _ in range(10):
        collector._next_flush = 0.0
        collector.step(0.0)
    with bench.engine.connect() as connection:
        kept = [row[0][:1] for row in connection.execute(sa.text("SELECT payload FROM dead_letters ORDER BY id"))]
    assert [bytes(first) for first in kept] == [b"D", b"E", b"F"]
    assert (bench.totals()["dead_letters"], bench.totals()["dead_letters_dropped"]) == (6, 3)


def test_a_running_collector_does_the_jobs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.publish(FakeAgent(bench.plan).send(probe_records(50, seed=54), 99))
    stop = threading.Event()
    config = timeless(flush_interval_s=0.05, jobs=JobsConfig(interval_s=0.1, settle_s=0.0))
    subscriber = EmbeddedSubscriber(bench.log, partitions=2)
    arguments = (config, bench.url, [bench.plan], TABLES, subscriber, stop)
    thread = threading.Thread(target=run_collector, args=arguments)
    thread.start()
    deadline, rolled_up = time.monotonic() + 60, 0
    while time.monotonic() < deadline and not rolled_up:
        time.sleep(0.1)
        with bench.engine.connect() as connection:
            rolled_up = connection.exec_driver_sql("SELECT count(*) FROM pages WHERE level > 0").scalar_one()
    stop.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert rolled_up > 0
    with bench.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT expires_ns FROM leases").scalar_one() == 0


def test_a_finer_level_may_not_outlive_a_coarser_one() -> None:
    with pytest.raises(ValueError, match="own_windows_s 10, minutes_s 5 and hours_s 20 must not fall"):
        RetentionConfig(own_windows_s=10, minutes_s=5, hours_s=20)
