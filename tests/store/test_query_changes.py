"""Posting and retiring queries in the store: what is valid when, and what coverage makes of it. Also migration 0006."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from alembic import command

from pipeline.errors import TableError
from pipeline.plan import encode_plan
from pipeline.tables import StaticTable
from store.connect import _alembic_config, check_schema, open_engine, upgrade
from store.errors import MetricChangedError, MetricTakenError, UnknownQueryError
from store.interruptions import AWAY, UNCLEAN_END, Interruption
from store.query_changes import post_query, retire_query
from store.query_list import query_named
from store.registry import BEGINNING_NS, END_NS, load_versions, metrics_of, register_queries, valid_ranges
from store.static_tables import StoredTables, list_tables, put_table
from tests.fleet import HOSTS, WINDOW_NS, probe_plan
from tests.store.test_coverage import END, SQL, Stored

FIRST = probe_plan(SQL)
SECOND = probe_plan(SQL.replace("AS rtt_us", "AS rtt_us, count(*) AS probes_total"))
DAY_NS = 24 * 3600 * 10**9


@pytest.fixture
def stored(engine: sa.Engine) -> Stored:
    """One query of a file."""
    return Stored(engine)


def spans(engine: sa.Engine) -> list[tuple[str | None, int, int]]:
    with engine.connect() as connection:
        found = query_named(connection, "probes").spans
    return [(span.version and span.version.version, span.from_ns, span.to_ns) for span in found]


def retire(engine: sa.Engine, now_ns: int, lead_ns: int = 0) -> int:
    with engine.begin() as connection:
        return retire_query(connection, "probes", now_ns, lead_ns)


def post(engine: sa.Engine, plan: object, now_ns: int, lead_ns: int = 0) -> tuple[str, int]:
    with engine.begin() as connection:
        posted = post_query(connection, plan, "SELECT", now_ns, lead_ns)  # type: ignore[arg-type]
    return posted.outcome, posted.valid_from_ns


def test_every_change_begins_at_a_window_start_after_the_lead(stored: Stored, engine: sa.Engine) -> None:
    assert post(engine, SECOND, WINDOW_NS + 1, 5) == ("changed", 2 * WINDOW_NS)
    assert retire(engine, 3 * WINDOW_NS - 5, 5) == 3 * WINDOW_NS
    assert post(engine, FIRST, 4 * WINDOW_NS, 1) == ("revived", 5 * WINDOW_NS)
    assert spans(engine) == [
        (FIRST.version, BEGINNING_NS, 2 * WINDOW_NS),
        (SECOND.version, 2 * WINDOW_NS, 3 * WINDOW_NS),
        (None, 3 * WINDOW_NS, 5 * WINDOW_NS),
        (FIRST.version, 5 * WINDOW_NS, END_NS),
    ]
    with engine.connect() as connection:
        ranges = valid_ranges(connection, stored.version.query_id)
    assert [(r.version.plan.version, r.from_ns) for r in ranges] == [
        (FIRST.version, BEGINNING_NS), (SECOND.version, 2 * WINDOW_NS), (FIRST.version, 5 * WINDOW_NS),
    ]  # fmt: skip


def test_a_change_that_was_never_valid_is_replaced_also_by_an_end(stored: Stored, engine: sa.Engine) -> None:
    post(engine, SECOND, 0, WINDOW_NS)
    assert retire(engine, 0, WINDOW_NS) == WINDOW_NS
    assert spans(engine) == [(FIRST.version, BEGINNING_NS, WINDOW_NS), (None, WINDOW_NS, END_NS)]
    assert post(engine, FIRST, 0, WINDOW_NS) == ("revived", WINDOW_NS)
    assert spans(engine) == [(FIRST.version, BEGINNING_NS, END_NS)]


def test_a_clock_that_goes_back_does_not_put_a_change_before_the_one_it_follows(
    stored: Stored, engine: sa.Engine
) -> None:
    post(engine, SECOND, 10 * WINDOW_NS)
    assert post(engine, FIRST, 0) == ("changed", 10 * WINDOW_NS)
    assert spans(engine) == [(FIRST.version, BEGINNING_NS, END_NS)]


def test_retiring_what_nobody_knows_names_the_nearest(stored: Stored, engine: sa.Engine) -> None:
    with pytest.raises(UnknownQueryError, match="did you mean 'probes'"), engine.begin() as connection:
        retire_query(connection, "probe", 0, 0)


def test_while_a_query_is_retired_nobody_is_expected(stored: Stored, engine: sa.Engine) -> None:
    stored.agent("a", watermark_ns=2 * WINDOW_NS)
    assert stored.coverage().ratio == 0.5
    retire(engine, 2 * WINDOW_NS)
    whole = stored.coverage()
    assert (whole.ratio, whole.agents_reported, whole.agents_expected) == (1.0, 1, 1)
    assert stored.coverage(start=2 * WINDOW_NS).agents_expected == 0
    post(engine, FIRST, 3 * WINDOW_NS)
    assert stored.coverage().ratio == 2 / 3


def test_what_is_in_doubt_counts_only_while_its_version_is_valid(stored: Stored, engine: sa.Engine) -> None:
    stored.agent("a")
    post(engine, SECOND, 2 * WINDOW_NS)
    of_first = stored.version.version_id
    stored.write(interruptions=[Interruption("a", of_first, WINDOW_NS, 3 * WINDOW_NS, UNCLEAN_END)])
    assert stored.coverage().ratio == 3 / 4
    stored.write(interruptions=[Interruption("a", of_first, 3 * WINDOW_NS, END, AWAY)])
    assert stored.coverage().ratio == 3 / 4
    stored.write(interruptions=[Interruption("a", of_first, 2 * WINDOW_NS, 2 * DAY_NS, AWAY)])
    assert stored.coverage(start=DAY_NS, end=DAY_NS + END, now=2 * DAY_NS).agents_expected == 1
    with engine.connect() as connection:
        second = load_versions(connection)[SECOND.version].version_id
    stored.write(interruptions=[Interruption("a", second, 0, 3 * WINDOW_NS, UNCLEAN_END)])
    assert stored.coverage().ratio == 2 / 4


def test_a_table_is_given_out_only_with_the_content_of_its_hash(engine: sa.Engine) -> None:
    other = StaticTable("hosts", pl.DataFrame({"ip": ["a"], "tor": ["t9"]}))
    with engine.begin() as connection:
        assert put_table(connection, HOSTS, 5) is True
        assert put_table(connection, other, 5) is True
        assert put_table(connection, HOSTS, 5) is False
        assert [(row.content_hash, row.current) for row in list_tables(connection)] == [
            (HOSTS.content_hash, True), (other.content_hash, False),
        ]  # fmt: skip
        assert StoredTables(connection, {})["hosts"].frame.equals(HOSTS.frame)
        assert StoredTables(connection, {"hosts": other.content_hash})["hosts"].frame.equals(other.frame)
        connection.execute(
            sa.text("UPDATE static_tables SET content_hash = 'f' WHERE content_hash = :one"),
            {"one": other.content_hash},
        )
        with pytest.raises(TableError, match="wanted f"):
            StoredTables(connection, {"hosts": "f"})["hosts"]
        with pytest.raises(TableError, match="no content 'e'"):
            StoredTables(connection, {"hosts": "e"})


def test_an_upgrade_keeps_what_is_valid(tmp_path: Path, database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.execute(sa.text("INSERT INTO queries (id, name) VALUES (7, 'probes')"))
        connection.execute(sa.text("INSERT INTO metrics (name, query_id) VALUES ('rtt_us', 7)"))
        connection.execute(
            sa.text("INSERT INTO versions (id, query_id, version, plan, created_ns) VALUES (3, 7, :version, :plan, 1)"),
            {"version": FIRST.version, "plan": encode_plan(FIRST)},
        )
        connection.execute(sa.text("INSERT INTO validity VALUES (7, :begin, 3)"), {"begin": BEGINNING_NS})
    upgrade(database_url)
    check_schema(engine)
    assert spans(engine) == [(FIRST.version, BEGINNING_NS, END_NS)]
    with engine.begin() as connection:
        register_queries(connection, [FIRST], 5)
        assert query_named(connection, "probes").spans[0].posted is False
    if engine.dialect.name == "sqlite":  # PostgreSQL would have ids of its own to go on with
        assert post(engine, SECOND, WINDOW_NS) == ("changed", WINDOW_NS)
    assert retire(engine, 2 * WINDOW_NS) == 2 * WINDOW_NS
    with engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.execute(sa.text("INSERT INTO validity (query_id, valid_from_ns, version_id) VALUES (7, 1, 99)"))
    engine.dispose()


def test_a_file_that_is_read_while_a_change_is_posted_does_not_take_it_back(
    stored: Stored, engine: sa.Engine, upgraded_url: str
) -> None:
    other = probe_plan(SQL.replace("AS rtt_us", "AS rtt_us, max(rtt_us) AS rtt_max_us"))
    collectors = open_engine(upgraded_url)
    with collectors.begin() as connection:
        register_queries(connection, [other], 0)

    def read_file() -> None:
        with collectors.begin() as connection:
            register_queries(connection, [FIRST], WINDOW_NS)  # a version that is known takes no lock by itself

    with ThreadPoolExecutor() as threads, engine.begin() as connection:
        post_query(connection, SECOND, "SELECT", WINDOW_NS, 0)
        reading = threads.submit(read_file)
        with pytest.raises(TimeoutError):
            reading.result(0.2)  # it waits for the post
        connection.commit()
        reading.result(10)
    collectors.dispose()
    assert spans(engine)[1:] == [(other.version, 0, WINDOW_NS), (SECOND.version, WINDOW_NS, END_NS)]


def test_posts_and_ends_that_race_leave_one_history_and_each_metric_one_owner(upgraded_url: str) -> None:
    engine = open_engine(upgraded_url, immediate=True)
    plans = [
        FIRST,
        SECOND,
        *(probe_plan(SQL.replace("sketch(rtt_us) AS rtt_us", f"{f}(rtt_us) AS x_us")) for f in ("min", "max")),
    ]
    others = [probe_plan(SQL.replace("sketch(rtt_us) AS rtt_us", "sum(rtt_us) AS x_us"), f"q{i}") for i in range(2)]
    start, outcomes = threading.Barrier(6), []

    def change(number: int) -> None:
        start.wait()
        for step in range(8):
            with suppress(MetricTakenError, MetricChangedError, UnknownQueryError), engine.begin() as connection:
                if number == 5 and step:
                    retire_query(connection, plans[0].query, step * WINDOW_NS, 0)
                else:
                    posted = post_query(
                        connection, [*plans, *others][(number + step) % 6], "SELECT", step * WINDOW_NS, 0
                    )
                    outcomes.append(posted.outcome)

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(change, number) for number in range(6)]:
            done.result(60)
    with engine.connect() as connection:
        owners = {m.name: m.query for m in metrics_of(load_versions(connection).values())}
        made: dict[str, set[object]] = {}
        for version in load_versions(connection).values():
            for metric in version.plan.metrics:
                made.setdefault(metric.name, set()).add((version.plan.query, metric))
        assert all(len(found) == 1 for found in made.values()), made
        assert set(owners) <= {"rtt_us", "probes_total", "x_us"}
        known = query_named(connection, plans[0].query)
    assert known.spans[0].from_ns == BEGINNING_NS
    assert [a.to_ns for a in known.spans[:-1]] == [b.from_ns for b in known.spans[1:]]
    assert outcomes.count("created") <= 2
    engine.dispose()
