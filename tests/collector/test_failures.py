"""When the database or the transport fails: the collector keeps its place, answers stay readable, nothing is lost."""

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import sqlalchemy as sa

from collector.own_metrics import REGISTRY
from collector.runner import run_collector
from pipeline.chain import Chain
from store.connect import open_engine
from store.errors import SchemaError
from tests.collector.conftest import Bench
from tests.collector.test_partition import dead_letters
from tests.collector.timeless import timeless
from tests.fleet import TABLES, FakeAgent, probe_plan, probe_records, truth
from tests.promptness import promptly
from tests.stored import assert_same
from wire.columns import pack_columns
from wire.embedded import EmbeddedSubscriber
from wire.errors import TransportError

RECORDS = probe_records(3_000, seed=11)


def fill(bench: Bench, *, full: bool) -> None:
    """Make the database behave as on a full disk, or stop doing so.

    SQLite has a page limit of its own; PostgreSQL's server raises the very error that it raises for a full disk.
    """
    if bench.engine.dialect.name == "postgresql":
        with bench.engine.begin() as connection:
            if full:
                connection.exec_driver_sql(
                    """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
                    END $$"""
                )
                connection.exec_driver_sql(
                    "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON manifests EXECUTE FUNCTION full_disk()"
                )
            else:
                connection.exec_driver_sql("DROP FUNCTION full_disk CASCADE")
        return

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("VACUUM" if full else "SELECT 1")  # no free pages left from the migrations
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if full else 2**30
        connection.execute(f"PRAGMA max_page_count = {pages}")

    bench.engine.dispose()
    sa.event.listen(bench.engine, "connect", limit)


def test_a_full_disk_keeps_everything_until_there_is_room_and_reads_go_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    agent = FakeAgent(bench.plan)
    bench.publish(agent.send(RECORDS[:1_000], 99))
    collector = bench.collector()
    bench.drain(collector)
    fill(bench, full=True)
    bench.publish(agent.send(RECORDS[1_000:2_000], 0) + agent.send(RECORDS[2_000:], 99))
    collector._next_flush = 0.0
    bench.drain(collector)
    assert "flush failed" in caplog.text
    assert re.search("database or disk is full|No space left on device", caplog.text)
    assert_same(bench.stored(), truth(bench.plan, RECORDS[:1_000]))
    fill(bench, full=False)
    collector._next_flush = 0.0
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_lines_count_against_the_memory_limit_as_they_are_in_memory_and_not_as_they_travel(bench: Bench) -> None:
    long = "x" * 4_000
    bench.plan = probe_plan(
        f"SELECT src, last_lines(REPLACE(src, 'a', '{long}')) AS src_lines FROM probes "
        "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src"
    )
    frame = FakeAgent(bench.plan).send(RECORDS, 99)[0]
    collector = bench.collector()
    bench.publish([frame])
    bench.drain(collector)
    collector._next_flush = time.monotonic() + 1e6
    bench.publish([FakeAgent(bench.plan, name="agent-2").send(RECORDS, 99)[0]])
    bench.drain(collector)
    assert collector._pending_bytes() > 3 * len(frame)


def test_reading_pauses_at_the_memory_limit_while_the_database_is_away_and_goes_on_afterwards(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = FakeAgent(bench.plan)
    frames = [frame for at in range(0, 3_000, 100) for frame in agent.send(RECORDS[at : at + 100], 0)]
    bench.publish(frames)
    collector = bench.collector(max_pending_bytes=1_000_000, poll_records=2)
    bench.drain(collector)
    limit = 10_000
    monkeypatch.setattr(collector, "_full", lambda: collector._pending_bytes() >= limit)

    def away(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("BEGIN", None, Exception("the server is away"))

    monkeypatch.setattr("collector.partition.write_flush", away)
    for _ in range(60):
        collector._next_flush = 0.0
        collector.step(0.0)
    assert limit <= collector._pending_bytes() < limit + 2 * max(map(len, frames))
    monkeypatch.undo()
    collector._next_flush = 0.0
    for _ in range(60):
        collector.step(0.0)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def flush_age_s(partition: int = 0) -> float | None:
    return REGISTRY.get_sample_value("tailwatch_collector_flush_age_seconds", {"partition": str(partition)})


def test_the_age_of_the_last_flush_grows_while_the_database_is_away_and_only_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now_s=time.monotonic())
    held = SimpleNamespace(monotonic=lambda: clock.now_s, time_ns=time.time_ns)
    monkeypatch.setattr("collector.runner.time", held)
    agent = FakeAgent(bench.plan)
    collector = bench.collector()
    bench.publish(agent.send(RECORDS[:1_000], 99))
    bench.drain(collector)
    fill(bench, full=True)
    bench.publish(agent.send(RECORDS[1_000:], 99))
    for _ in range(3):
        clock.now_s += 2.0
        collector._next_flush = 0.0
        bench.drain(collector)
    clock.now_s += 1.0
    assert flush_age_s() == pytest.approx(7.0)
    assert flush_age_s(1) == pytest.approx(1.0), "nothing waits there"
    fill(bench, full=False)
    collector._next_flush = 0.0
    bench.drain(collector)
    assert flush_age_s() == 0.0
    collector._subscriber.reassign(frozenset({1}))  # type: ignore[attr-defined]
    bench.drain(collector)
    assert flush_age_s() is None
    assert flush_age_s(1) is not None


def test_a_transport_that_fails_for_a_moment_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 99))
    collector = bench.collector()
    poll, failures = collector._subscriber.poll, [TransportError("gone"), TransportError("gone")]

    def failing(timeout_s: float, max_records: int) -> object:
        if failures:
            raise failures.pop()
        return poll(timeout_s, max_records)

    monkeypatch.setattr(collector._subscriber, "poll", failing)
    monkeypatch.setattr("collector.runner._RETRY_S", 0.0)
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_revoked_partitions_are_flushed_and_forgotten(bench: Bench) -> None:
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 99))
    collector = bench.collector()
    collector._next_flush = float("inf")
    for _ in range(3):
        collector.step(0.0)
    assert bench.stored() is None
    collector._subscriber.reassign(frozenset())
    collector.step(0.0)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert collector._held == {}


def test_it_stops_with_everything_flushed(bench: Bench) -> None:
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 99))
    stop = threading.Event()
    config = timeless(flush_interval_s=3600.0)
    subscriber, taken = EmbeddedSubscriber(bench.log, partitions=2), threading.Event()
    poll, given = subscriber.poll, []

    def watched(timeout_s, max_records):
        if given:
            taken.set()  # who asks again has taken what came before
        given.extend(found := poll(timeout_s, max_records))
        return found

    subscriber.poll = watched  # type: ignore[method-assign]
    arguments = (config, bench.url, [bench.plan], TABLES, subscriber, stop)
    thread = threading.Thread(target=run_collector, args=arguments)
    thread.start()
    assert taken.wait(60)
    stop.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


@contextmanager
def locked(bench: Bench) -> Iterator[None]:
    """Another process is in the middle of a transaction."""
    other = open_engine(bench.url)
    with other.connect() as connection:
        connection.exec_driver_sql("UPDATE offsets SET epoch = epoch")
        yield
        connection.rollback()
    other.dispose()


def test_it_stops_soon_also_while_another_process_holds_the_database(bench: Bench) -> None:
    agents = [FakeAgent(bench.plan, f"agent-{n}", partition=n, incarnation=f"{n:032x}") for n in (0, 1)]
    for agent in agents:
        bench.publish(agent.send(RECORDS, 99), agent.partition)
    collector = bench.collector()
    collector._next_flush = float("inf")
    for _ in range(3):
        collector.step(0.0)
    with locked(bench), promptly(4):
        collector.finish()
        # Either database waits 5 s for a lock, for each of two partitions; with that this would take 10 s.
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, RECORDS.vstack(RECORDS)))


def test_a_database_without_the_schema_is_refused_before_anything_is_read(tmp_path: Path, bench: Bench) -> None:
    subscriber = EmbeddedSubscriber(bench.log, partitions=2)
    with pytest.raises(SchemaError, match="run `tailwatch db upgrade`"):
        run_collector(
            timeless(), f"sqlite:///{tmp_path / 'none.db'}", [bench.plan], TABLES, subscriber, threading.Event()
        )


@pytest.mark.parametrize(
    ("column", "amount", "reason"),
    [
        ("rtt_us.nan", 2**61, "more than 2**62 values"),
        ("probes_total.n", 2**63 - 1, "at most"),
        ("rtt_avg_us.n", 2**62, "at most"),
    ],
)
def test_amounts_that_cannot_be_added_up_are_dead_letters_and_nothing_else_is_refused(
    bench: Bench, caplog: pytest.LogCaptureFixture, column: str, amount: int, reason: str
) -> None:
    """From the first frame of a version on: nothing is there that they could be added to."""
    agent = FakeAgent(bench.plan)
    chain = Chain(bench.plan, TABLES)
    wrong = chain.finish(chain.prepare(RECORDS[:60]), after=0).to_frame()
    wrong = wrong.with_columns(pl.lit(amount, dtype=pl.Int64).alias(column))
    body = pack_columns(wrong)
    collector = bench.collector()
    for _ in range(2):
        bench.publish([agent.frame("partial", body, cut=99, rows=wrong.height) for _ in range(4)])
        bench.drain(collector)
    bench.publish(agent.send(RECORDS, 99))
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    letters = dead_letters(bench)
    assert len(letters) == 8
    assert all(reason in letter for letter in letters)
    assert "flush refused" not in caplog.text
