"""The registry: a metric has one owner, a version one meaning, and every window one version."""

import pytest
import sqlalchemy as sa

from pipeline.plan import Plan
from store.connect import open_engine
from store.errors import MetricChangedError, MetricTakenError, UnknownMetricError
from store.registry import BEGINNING_NS, END_NS, load_versions, metric, metrics, register_queries, valid_ranges
from tests.fleet import WINDOW_NS, probe_plan

COUNT = "count(*) AS probes_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src"
FIRST = f"SELECT src, sketch(rtt_us) AS rtt_us, {COUNT}"
SECOND = f"SELECT src, max(rtt_us) AS rtt_max_us, {COUNT}"


def register(engine: sa.Engine, plan: Plan, now_ns: int = 0, lead_ns: int = 0) -> None:
    with engine.begin() as connection:
        register_queries(connection, [plan], now_ns, lead_ns)


def test_a_metric_is_described_as_its_query_computes_it(engine: sa.Engine) -> None:
    register(engine, probe_plan(FIRST))
    with engine.connect() as connection:
        rows = {row.name: row for row in metrics(connection)}
    assert set(rows) == {"rtt_us", "probes_total"}
    row = rows["rtt_us"]
    assert (row.query, row.function, row.integer, row.unit, row.labels, row.scale, row.window_ns) == (
        "probes", "sketch", True, "us", ("src",), 6, WINDOW_NS,
    )  # fmt: skip


def test_registering_again_changes_nothing(engine: sa.Engine) -> None:
    for now_ns in (0, 5):
        register(engine, probe_plan(FIRST), now_ns)
    with engine.connect() as connection:
        assert len(load_versions(connection)) == 1
        (valid,) = valid_ranges(connection, metric(connection, "rtt_us").query_id)
    assert (valid.from_ns, valid.to_ns) == (BEGINNING_NS, END_NS)


def test_a_version_that_another_process_registers_meanwhile_is_read_whole_or_not_at_all(engine: sa.Engine) -> None:
    """As when two collectors start on an empty database: each sees the other commit between two of its reads."""

    waiting = [probe_plan(FIRST)]
    other = open_engine(engine.url.render_as_string(hide_password=False))

    def after_a_read(*_: object) -> None:
        if waiting:
            register(other, waiting.pop())

    sa.event.listen(engine, "after_cursor_execute", after_a_read)
    with engine.connect() as connection:
        found = load_versions(connection)
    assert [set(version.metric_ids) for version in found.values()] in ([], [{"rtt_us", "probes_total"}])
    with engine.connect() as connection:
        assert len(load_versions(connection)) == 1
    other.dispose()


def test_a_changed_query_becomes_valid_at_a_window_start_after_the_lead_and_may_come_back(engine: sa.Engine) -> None:
    register(engine, probe_plan(FIRST))
    register(engine, probe_plan(SECOND), now_ns=95 * 10**9, lead_ns=7 * 10**9)
    register(engine, probe_plan(FIRST), now_ns=200 * 10**9)
    with engine.connect() as connection:
        ranges = valid_ranges(connection, metric(connection, "rtt_us").query_id)
    first, second = probe_plan(FIRST).version, probe_plan(SECOND).version
    assert [(r.version.plan.version, r.from_ns, r.to_ns) for r in ranges] == [
        (first, BEGINNING_NS, 110 * 10**9),
        (second, 110 * 10**9, 200 * 10**9),
        (first, 200 * 10**9, END_NS),
    ]


def test_a_metric_name_belongs_to_one_query_for_good(engine: sa.Engine) -> None:
    register(engine, probe_plan(FIRST))
    with pytest.raises(MetricTakenError, match=r"probes_total \(of query probes\).*rename them"):
        register(engine, probe_plan(SECOND, "others"))
    with engine.connect() as connection:
        assert {row.query for row in metrics(connection)} == {"probes"}


def test_a_version_that_means_something_else_by_a_metric_is_refused(engine: sa.Engine) -> None:
    register(engine, probe_plan(FIRST))
    changed = FIRST.replace("sketch(rtt_us)", "sketch(load)")
    with pytest.raises(MetricChangedError, match="was sketch of integers at scale 6 and would become sketch of floats"):
        register(engine, probe_plan(changed))


def test_an_unknown_metric_names_the_nearest(engine: sa.Engine) -> None:
    register(engine, probe_plan(FIRST))
    with (
        engine.connect() as connection,
        pytest.raises(UnknownMetricError, match="did you mean 'probes_total'") as error,
    ):
        metric(connection, "probe_total")
    assert error.value.nearest == "probes_total"


def test_a_plan_of_a_newer_release_does_not_hide_the_others(engine: sa.Engine) -> None:
    register(engine, probe_plan(FIRST))
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO versions (query_id, version, plan, created_ns) VALUES (1, 'f', :plan, 0)"),
            {"plan": b"\x81\xa3new\x01"},
        )
        connection.execute(sa.text("INSERT INTO validity (query_id, valid_from_ns, version_id) VALUES (1, 1000, 2)"))
    with engine.connect() as connection:
        assert set(load_versions(connection)) == {probe_plan(FIRST).version}
        assert {row.name for row in metrics(connection)} == {"rtt_us", "probes_total"}
        (valid,) = valid_ranges(connection, 1)
    assert (valid.from_ns, valid.to_ns) == (BEGINNING_NS, 1000)
