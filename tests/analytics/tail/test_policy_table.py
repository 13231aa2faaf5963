"""The search for a target table, and the table of policies."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import DataError, TooFewDataError
from analytics.tail.comparison import compare, quantiles_of
from analytics.tail.policies import Fixed, Sequential, Server, TargetTable, Tpc
from analytics.tail.policy_plots import look_of, plot_policies
from analytics.tail.policy_table import PolicyTable, Workload, policy_table
from analytics.tail.simulation import simulate
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.table_search import FoundTable, Objective, search_table

SERVER = Server()
WEB = Workload("web search (synthetic)")
NO_SEARCH = FoundTable(TargetTable("in_system", 3.0, (50.0,)), 1.0, 0)


def worth(table: TargetTable, load: float, objective: Objective) -> float:
    requests = WEB.campaign([load], 40_000, SERVER.threads, 99)[load]
    latencies = simulate(requests, SERVER, WEB_SEARCH, Tpc(table)).latencies_ms[2_000:]
    p99, p999 = np.quantile(latencies, [0.99, 0.999])
    return float(p99 + objective.p999_weight * p999 + objective.mean_weight * latencies.mean())


def test_a_searched_table_beats_flat_ones_on_requests_it_never_saw() -> None:
    objective = Objective()
    campaign = WEB.campaign([0.3, 0.6], 20_000, SERVER.threads, 11)
    tried: list[int] = []
    found = search_table(
        campaign, SERVER, WEB_SEARCH, grid_ms=(15, 30, 60, 120), objective=objective, progress=tried.append
    )
    assert found.evaluations == tried[-1] == len(tried) > 20
    assert len(set(found.table.targets_ms)) > 1
    assert found.table.targets_ms[0] < max(found.table.targets_ms), "with the load, targets rise"
    flat = [replace(found.table, targets_ms=(target,)) for target in (15.0, 30.0, 60.0, 120.0)]
    worths = {table: [worth(table, load, objective) for load in (0.3, 0.6)] for table in (*flat, found.table)}
    best = np.min([worths[table] for table in flat], axis=0)
    ratios = {table: float((np.array(worths[table]) / best).sum()) for table in worths}
    assert ratios[found.table] < min(ratios[table] for table in flat)


def test_a_found_table_is_moved_on_by_steps_of_the_grid_on_more_requests() -> None:
    grid = (15, 30, 60, 120, 220)
    campaign, larger = (WEB.campaign([0.6], n, SERVER.threads, seed) for n, seed in ((20_000, 11), (60_000, 12)))
    bare = search_table(campaign, SERVER, WEB_SEARCH, grid_ms=grid, buckets=3)
    moved = search_table(campaign, SERVER, WEB_SEARCH, grid_ms=grid, buckets=3, larger=larger)
    assert moved.evaluations > bare.evaluations

    def on_larger(found: FoundTable) -> float:
        latencies = simulate(larger[0.6], SERVER, WEB_SEARCH, Tpc(found.table)).latencies_ms[3_000:]
        p99, p999 = np.quantile(latencies, [0.99, 0.999])
        return float(p99 + 0.5 * p999 + latencies.mean())

    assert on_larger(moved) <= on_larger(bare)


def test_a_mean_beyond_the_bound_costs_more_than_any_tail_gains() -> None:
    campaign = WEB.campaign([0.85], 40_000, SERVER.threads, 11)
    means = []
    for most in (1.02, 10.0):
        objective = Objective(mean_weight=0.0, mean_over_sequential=most)
        found = search_table(campaign, SERVER, WEB_SEARCH, grid_ms=(30, 60, 120, 220), objective=objective, buckets=3)
        means.append(simulate(campaign[0.85], SERVER, WEB_SEARCH, Tpc(found.table)).latencies_ms.mean())
    assert means[0] < means[1]


def test_too_few_requests_are_refused_and_a_search_can_be_ended() -> None:
    with pytest.raises(TooFewDataError, match="500 requests at a load to search on; want 20000"):
        search_table(WEB.campaign([0.3], 500, SERVER.threads, 1), SERVER, WEB_SEARCH)

    def enough(evaluations: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        search_table(WEB.campaign([0.3], 20_000, SERVER.threads, 1), SERVER, WEB_SEARCH, progress=enough)


def test_rows_have_intervals_over_seeds_and_say_where_the_queue_grows() -> None:
    campaigns = [WEB.campaign([0.3, 0.7], 20_000, SERVER.threads, seed) for seed in (1, 2, 3)]
    rows = compare(campaigns, [Sequential(), Fixed(3)], SERVER, WEB_SEARCH)
    assert [(row.policy, row.load, row.collapsed) for row in rows] == [
        ("sequential", 0.3, False), ("sequential", 0.7, False), ("fixed d=3", 0.3, False), ("fixed d=3", 0.7, True),
    ]  # fmt: skip
    mean = rows[0].mean_ms
    means = [simulate(one[0.3], SERVER, WEB_SEARCH, Sequential()).latencies_ms[1_000:].mean() for one in campaigns]
    assert mean.value == pytest.approx(np.mean(means))
    assert mean.low is not None
    assert mean.high is not None
    # Student's t with two degrees of freedom.
    assert mean.high - mean.value == pytest.approx(4.302653 * np.std(means, ddof=1) / 3**0.5)
    assert set(rows[0].quantiles_ms) == {0.5, 0.95, 0.99, 0.999}, "19 requests lie beyond p99.9, none counts for p99.99"
    (alone,) = compare(campaigns[:1], [Sequential()], SERVER, WEB_SEARCH)[:1]
    assert (alone.mean_ms.low, alone.mean_ms.high) == (None, None)


def test_a_fan_out_shows_the_slowest_of_so_many() -> None:
    rng = np.random.default_rng(4)
    latencies = rng.exponential(10.0, 400_000)
    slowest = latencies.reshape(-1, 40).max(axis=1)
    assert quantiles_of(latencies, 40)[0.95] == pytest.approx(np.quantile(slowest, 0.95), rel=0.02)
    assert 0.9999 not in quantiles_of(latencies, 40)
    with pytest.raises(DataError, match="a fan-out of 0"):
        compare([WEB.campaign([0.3], 100, 12, 1)], [Sequential()], SERVER, WEB_SEARCH, fan_out=0)


def test_measured_times_are_resampled_and_policies_drawn() -> None:
    measured = Workload("measured", np.array([1.0, 2.0, 100.0]))
    found = policy_table(measured, [0.2], Server(4, 4, 2), requests=20_000, seeds=1)
    assert {row.policy for row in found.rows} >= {"sequential", "tpc", "tpc without correction"}
    assert "fixed d=3" not in {row.policy for row in found.rows}, "no request may have so many threads"
    assert plot_policies(found).startswith(b"\x89PNG")
    svg = plot_policies(found, "svg")
    assert b"simulated: measured" in svg
    assert svg == plot_policies(found, "svg")
    assert b"too few requests" not in svg


def test_policies_are_told_apart_in_a_plot_and_an_empty_panel_says_why() -> None:
    found = compare([WEB.campaign([0.3], 1_000, 12, 1)], [Sequential()], SERVER, WEB_SEARCH)
    rows = [replace(found[0], policy=f"policy {place}") for place in range(12)]
    table = PolicyTable("few", tuple(rows), NO_SEARCH, "in_system", 1_000, 1, 1)
    svg = plot_policies(table, "svg").decode()
    # The p99.9 of 1,000 requests is not known, nor is their p99.
    assert svg.count(">too few requests, or the queue grows<") == 2
    looks = {(line["color"], line["linestyle"]) for line in (look_of(place) for place in range(12))}
    assert len(looks) == 12


def test_a_fan_out_of_which_not_even_the_median_is_known_is_refused_before_anything_runs() -> None:
    with pytest.raises(TooFewDataError, match="20000 requests in a run; the slowest of 2000 servers needs 30379"):
        policy_table(WEB, [0.3], SERVER, requests=20_000, seeds=1, fan_out=2_000, progress=pytest.fail)
    enough = np.arange(30_379.0)[int(0.05 * 30_379) :]
    assert set(quantiles_of(enough, 2_000)) == {0.5}
    assert set(quantiles_of(enough[3:], 2_000)) == set()


@pytest.mark.parametrize("loads", [(), (0.0,), (0.3, 0.3), (2.0,)])
def test_loads_that_are_none_are_refused(loads: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="want different shares of the hardware threads"):
        policy_table(WEB, loads, SERVER)
