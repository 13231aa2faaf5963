"""Versions that come back: whatever was valid when and whatever level is left, every record counts once."""

from copy import copy

import numpy as np
import pytest
import sqlalchemy as sa

from store.query_changes import post_query, retire_query
from store.registry import metric
from store.samples import Instants, SeriesCodes, plan, read
from store.snapshot import Snapshot
from tests.fleet import probe_plan
from tests.store.levels_world import ORIGIN_S, SECOND_NS, LevelsWorld, plan_of

HOUR_S = 3600
SPAN_S = 3 * HOUR_S
#: The width of the finest windows left, and for how long each level is kept.
KEPT = {10: (1e9, 1e9, 1e9), 60: (1.0, 1e9, 1e9), HOUR_S: (1.0, 2.0, 1e9)}


def filled(engine: sa.Engine, seed: int) -> LevelsWorld:
    """Two versions in turns, or none, for stretches of seconds to hours; each gets records at all times.

    The world's `taken` are those of the version valid at their time.
    """
    source = np.random.default_rng(seed)
    first = LevelsWorld(engine, plan_of(10))
    second = copy(first)
    second.plan, second.held = plan_of(10, "WHERE err = 0"), {}
    changes = [(0, 0)]
    at = 0
    with engine.begin() as connection:
        while (at := at + 10 * int(source.choice([1, 2, 7, 90, 360, 500]))) < SPAN_S:
            which = int(source.integers(0, 3))
            changes.append((at, which))
            now_ns = (ORIGIN_S + at) * SECOND_NS
            if which == 2:
                retire_query(connection, first.plan.query, now_ns, 0)
            else:
                post_query(connection, (first, second)[which].plan, "", now_ns, 0)
    taken = []
    for number, world in enumerate((first, second)):
        times = np.sort(source.integers(0, SPAN_S, 150)).tolist()
        records = [(time, f"s{i % 2}", int(source.integers(1, 10_000))) for i, time in enumerate(times)]
        world.flush(records, partition=number)
        valid = [[which for since, which in changes if since <= at][-1] for at, _, _ in records]
        taken += [record for record, which in zip(records, valid, strict=True) if which == number]
    first.taken = taken
    return first


def test_a_label_can_be_asked_for_whichever_version_has_it(engine: sa.Engine) -> None:
    world = LevelsWorld(engine, plan_of(10))
    sql = "SELECT count(*) AS probes_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)"
    with engine.begin() as connection:
        post_query(connection, probe_plan(sql), "", ORIGIN_S * SECOND_NS, 0)
        post_query(connection, world.plan, "", (ORIGIN_S + 20) * SECOND_NS, 0)
        assert metric(connection, "probes_total").labels == ("src",)
    world.flush([(30, "s0", 5)])
    assert [group.labels for group in world.ask("probes_total", 0, 60).groups] == [{"src": "s0"}]


@pytest.mark.parametrize("seed", range(2))
def test_both_readers_count_each_record_of_a_valid_window_once(engine: sa.Engine, seed: int) -> None:
    world = filled(engine, seed)
    for width_s, kept in KEPT.items():
        for _ in range(4):
            assert world.round(30 * HOUR_S, kept_s=kept)
        world.assert_true(0, SPAN_S)
        for step_s in (10, 300, HOUR_S, 5400):
            assert_counted_once(world, step_s)
        for step_s, range_s in ((HOUR_S, HOUR_S), (HOUR_S, 2 * HOUR_S), (60, 300), (10, 70)):
            if step_s % width_s == 0:
                assert_ranges_true(world, step_s, range_s)


def total(world: LevelsWorld, src: str, from_s: int, to_s: int) -> int:
    """The sum of the series' records from one time up to before another."""
    return sum(rtt for at, name, rtt in world.taken if name == src and from_s <= at < to_s)


def assert_counted_once(world: LevelsWorld, step_s: int) -> None:
    """Whatever the steps became, groups of a series lie apart, and each holds the records of its stretch."""
    reached: dict[str, int] = {}
    sums: dict[str, int] = {}
    for group in world.ask("rtt_sum_us", 0, SPAN_S, step_s).groups:
        src, low, high = group.labels["src"], *(at // SECOND_NS - ORIGIN_S for at in (group.start_ns, group.end_ns))
        assert reached.get(src, 0) <= low < high
        reached[src] = high
        assert group.state.answers() == [total(world, src, low, high)]
        sums[src] = sums.get(src, 0) + total(world, src, low, high)
    assert sums == {src: total(world, src, 0, SPAN_S) for src in ("s0", "s1")}


def assert_ranges_true(world: LevelsWorld, step_s: int, range_s: int) -> None:
    """What expressions over ranges are given adds up to each range's records, read one by one or added up."""
    first_ns, last_ns = (ORIGIN_S + range_s) * SECOND_NS, (ORIGIN_S + SPAN_S) * SECOND_NS
    asked = Instants(first_ns, last_ns, step_s * SECOND_NS, range_s * SECOND_NS)
    with world.engine.connect() as connection:
        ids = [series_id for (series_id,) in connection.exec_driver_sql("SELECT id FROM series ORDER BY labels")]
        order = np.argsort(ids)
        codes = SeriesCodes(np.array(ids)[order], order.astype(np.int64))
        row = metric(connection, "rtt_sum_us")
        for added in (False, True):
            found = read(connection, plan(Snapshot(connection), row, codes, asked, added), lambda: None)
            assert found is not None
            times, values = found.times_ns // SECOND_NS - ORIGIN_S, np.array(found.state.answers())
            for at in range(range_s, SPAN_S + 1, step_s):
                for code in range(2):
                    inside = (found.codes == code) & (times > at - range_s) & (times <= at)
                    assert values[inside].sum() == total(world, f"s{code}", at - range_s, at)
