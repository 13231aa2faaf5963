"""Versions posted while a collector runs: known within a second, with the tables that were uploaded for them."""

import sqlalchemy as sa

from collector.plans import Plans
from collector.runner import Collector
from store.query_changes import post_query
from store.static_tables import put_table
from tests.collector.conftest import Bench
from tests.fleet import HOSTS, TABLES, FakeAgent, probe_records, truth
from tests.stored import assert_same

RECORDS = probe_records(80, 4)


def without_tables(bench: Bench) -> Collector:
    """A collector whose configuration has neither the query nor its table."""
    made = bench.collector(register=False)
    made._plans = Plans(bench.engine, {})
    return made


def quarantined(bench: Bench) -> int:
    with bench.engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM quarantine")).scalar_one())


def test_a_version_posted_while_its_frames_are_under_way_is_looked_up_and_not_quarantined(bench: Bench) -> None:
    collector = bench.collector(register=False)
    collector.step(0.0)
    collector._next_refresh = float("inf")
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 99))
    with bench.engine.begin() as connection:
        post_query(connection, bench.plan, "SELECT", 1, 0)
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert bench.totals()["quarantined"] == 0


def test_rows_drained_before_a_join_are_finished_with_the_uploaded_table(bench: Bench) -> None:
    collector = without_tables(bench)
    collector.step(0.0)
    with bench.engine.begin() as connection:
        put_table(connection, HOSTS, 1)
        post_query(connection, bench.plan, "SELECT", 1, 0)
    collector._next_refresh = 0.0
    collector.step(0.0)
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 0))
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert bench.totals()["quarantined"] == 0


def test_frames_that_came_before_their_table_wait_for_it(bench: Bench) -> None:
    collector = without_tables(bench)
    with bench.engine.begin() as connection:
        post_query(connection, bench.plan, "SELECT", 1, 0)
    collector._next_refresh = 0.0
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 0))
    bench.drain(collector)
    assert quarantined(bench) == 2
    assert bench.stored() is None
    with bench.engine.begin() as connection:
        put_table(connection, HOSTS, 1)
    collector._next_refresh = 0.0
    bench.drain(collector)
    assert quarantined(bench) == 0
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_looking_again_costs_no_reading_of_plans_while_nothing_was_added(bench: Bench) -> None:
    plans = Plans(bench.engine, TABLES)
    plans.register([bench.plan], 1, 0)
    before = plans.versions
    assert plans.refresh() is False
    assert plans.versions is before
    Plans(bench.engine, TABLES).register([bench.plan], 2, 0)
    assert plans.refresh() is False
