"""The store as the evaluator sees it: kinds of samples, groups, empty labels, several scales, one transaction."""

import numpy as np
import polars as pl
import pytest

from api.config import PrometheusConfig
from api.database import Database
from api.own_metrics import OwnMetrics
from api.prometheus.store_source import StoreSource
from api.promql.samples import Grouping, Request
from pipeline.plan import Aggregate, AggregateStage, Plan
from store.connect import open_engine, upgrade
from store.label_matchers import Matcher
from store.registry import register_queries
from tests.api.world import BEGIN_NS, END_NS, SECOND_NS, WINDOW_NS, add

NAME = "__name__"


def fleet_plan(query, scale, labels):
    aggregates = [Aggregate(f"{query}_us", "sketch", "v", True), Aggregate(f"{query}_total", "count", None, True)]
    schema = {"ts": "int64", "host": "string", "rack": "string", "v": "int64"}
    return Plan(query, query, schema, scale, {}, [AggregateStage(WINDOW_NS, labels, aggregates)])


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Two queries of two scales over the same records; in three of four records the rack is not known."""
    url = f"sqlite:///{tmp_path_factory.mktemp('source') / 'tailwatch.db'}"
    upgrade(url)
    engine = open_engine(url)
    n = 240
    records = pl.DataFrame(
        {
            "ts": BEGIN_NS + np.arange(n) * (60 * SECOND_NS // n),
            "host": [f"h{i % 3}" for i in range(n)],
            "rack": ["r1" if i % 4 == 0 else "" for i in range(n)],
            "v": np.arange(1, n + 1),
        }
    )
    plans = [fleet_plan("fine", 6, ["host", "rack"]), fleet_plan("coarse", 3, ["host"])]
    with engine.begin() as connection:
        register_queries(connection, plans, BEGIN_NS - SECOND_NS)
    for partition, plan in enumerate(plans):
        add(engine, plan, records, partition, f"agent-{plan.query}")
    # As an older version without the label would have left it: the same series as one whose rack is empty.
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """UPDATE series SET labels = '{"host":"h0"}' WHERE labels = '{"host":"h0","rack":""}'"""
        )
    yield Database(engine, OwnMetrics())
    engine.dispose()


def select(database, *matchers, range_s=60, first_s=60, step_s=1, last_s=None, **wishes):
    first_ns = BEGIN_NS + first_s * SECOND_NS
    last_ns = first_ns if last_s is None else BEGIN_NS + last_s * SECOND_NS
    request = Request(matchers, first_ns, last_ns, step_s * SECOND_NS, range_s * SECOND_NS, **wishes)
    with StoreSource(database, PrometheusConfig(), lambda: None) as source:
        return source.select(request)


def total(part):
    return int(part.sketches.totals().sum())


def test_sketches_of_two_scales_come_in_two_parts_beside_the_numbers(database):
    found = select(database, Matcher("host", "h1"))
    assert {part.sketches.scale: [labels[NAME] for labels in part.labels] for part in found.sketches} == {
        6: ["fine_us", "fine_us"], 3: ["coarse_us"]}  # fmt: skip
    assert [total(part) for part in found.sketches] == [80, 80]
    assert not any(part.grouped for part in found.sketches)
    assert found.floats.delta.all()
    assert found.floats.values.sum() == 160
    for part in (found.floats, *found.sketches):
        assert (np.diff(part.series) >= 0).all()
        assert (np.diff(part.times_ns)[np.diff(part.series) == 0] == WINDOW_NS).all()
        assert (part.times_ns.min(), part.times_ns.max()) == (BEGIN_NS + WINDOW_NS, END_NS)


def test_an_empty_label_is_no_label_and_its_series_is_one_with_that_without(database):
    found = select(database, Matcher(NAME, "fine_us"), Matcher("rack", ""))
    (part,) = found.sketches
    assert sorted(labels["host"] for labels in part.labels) == ["h0", "h1", "h2"]
    assert all(set(labels) == {NAME, "host"} for labels in part.labels)
    assert total(part) == 180
    assert total(select(database, Matcher(NAME, "fine_us"), Matcher("rack", "r.", "=~")).sketches[0]) == 60


@pytest.mark.parametrize(
    ("grouping", "wanted"),
    [
        (Grouping(()), [{}]),
        (Grouping(("rack", "nothing")), [{}, {"rack": "r1"}]),
        (Grouping((NAME, "rack")), [{NAME: "fine_us"}, {NAME: "fine_us", "rack": "r1"}]),
        (Grouping(("host",), without=True), [{}, {"rack": "r1"}]),
        (Grouping(("host", "rack"), without=True), [{}]),
    ],
)
def test_what_is_added_up_anyway_comes_as_groups_and_one_sample_a_range(database, grouping, wanted):
    found = select(database, Matcher(NAME, "fine_us"), addable=True, grouping=grouping)
    (part,) = found.sketches
    assert part.grouped
    assert sorted(part.labels, key=str) == sorted(wanted, key=str)
    assert (len(part.sketches), total(part)) == (len(wanted), 240)
    assert set(part.times_ns.tolist()) == {END_NS}


def test_numbers_keep_their_series_whatever_the_grouping(database):
    found = select(database, Matcher(NAME, "fine_total"), addable=True, grouping=Grouping(()))
    assert len(found.floats.labels) == 6
    assert found.floats.values.sum() == 240


def test_only_windows_in_the_ranges_are_given(database):
    found = select(database, Matcher(NAME, "coarse_us"), range_s=10, first_s=20, last_s=60, step_s=30, addable=True)
    (part,) = found.sketches
    assert set((part.times_ns - BEGIN_NS) // SECOND_NS) == {20, 50}
    assert total(part) == 80


def test_all_selectors_of_a_question_see_one_state_of_the_store(database):
    request = Request((Matcher(NAME, "coarse_total"),), END_NS, END_NS, 1, 60 * SECOND_NS)
    plan = fleet_plan("coarse", 3, ["host"])
    late = pl.DataFrame({"ts": [END_NS - 1], "host": ["h0"], "rack": [""], "v": [1]})
    with StoreSource(database, PrometheusConfig(), lambda: None) as source:
        before = source.select(request).floats.values.sum()
        add(database._engine, plan, late, 5, "agent-late")
        assert source.select(request).floats.values.sum() == before == 240
    with StoreSource(database, PrometheusConfig(), lambda: None) as source:
        assert source.select(request).floats.values.sum() == 241
