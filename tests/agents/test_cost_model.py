"""The closed form against exact references; what a query takes; groups that are not linear in e."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import cost_model
from agents.cost_model import Groups, OperatorCosts, QueryCosts
from tests.agents.simulated_agent import LOGS, PROBES

# Small whole numbers meet each other: ties, zeros, equal ratios. Net costs and gains of both signs.
steps = st.lists(st.tuples(st.integers(-6, 12), st.integers(-4, 9)), min_size=1, max_size=6)
worlds = st.lists(steps, min_size=1, max_size=4)


def exact_best(chains: list[list[tuple[int, int]]], allowance: Fraction) -> Fraction | None:
    """Most gain of the linear programme, by its dual in fractions; None where nothing fits.

    Each e vector is a mixture of prefixes, so the best gain is the least over prices y >= 0 of
    y * allowance + sum over chains of max over prefixes of (gain - y * cost). As a function of y this is piecewise
    linear, with corners where two prefixes of one chain are worth the same.
    """
    prefixes = [prefix_points(chain) for chain in chains]
    if sum(min(cost for cost, _ in points) for points in prefixes) > allowance:
        return None
    prices = {Fraction(0)}
    for points in prefixes:
        for (cost, gain), (other_cost, other_gain) in product(points, points):
            if cost > other_cost and gain > other_gain:
                prices.add(Fraction(gain - other_gain, cost - other_cost))
    return min(
        price * allowance + sum(max(gain - price * cost for cost, gain in points) for points in prefixes)
        for price in prices
    )


def prefix_points(chain: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(cost, gain) of each prefix."""
    points = [(0, 0)]
    for gain, cost in chain:
        points.append((points[-1][0] + cost, points[-1][1] + gain))
    return points


def totals(chains: list[list[tuple[int, int]]], kept: list[tuple[float, ...]]) -> tuple[float, float]:
    """Gain and net cost of e vectors."""
    pairs = [(e, step) for chain, es in zip(chains, kept, strict=True) for e, step in zip(es, chain, strict=True)]
    return sum(e * step[0] for e, step in pairs), sum(e * step[1] for e, step in pairs)


@given(worlds, st.integers(-30, 80))
@settings(max_examples=1500, deadline=None)
def test_the_closed_form_is_the_linear_programmes_optimum(chains: list[list[tuple[int, int]]], tenths: int) -> None:
    allowance = Fraction(tenths, 2)
    kept = cost_model.fill(chains, float(allowance))
    for es in kept:
        assert all(1 >= before >= after >= 0 for before, after in zip((1.0, *es), es, strict=False))
    gain, cost = totals(chains, kept)
    best = exact_best(chains, allowance)
    if best is None:
        least = sum(min(point[0] for point in prefix_points(chain)) for chain in chains)
        assert cost == pytest.approx(least)
    else:
        assert cost <= float(allowance) + 1e-9
        assert gain == pytest.approx(float(best), abs=1e-9)


@given(worlds, st.integers(-30, 80))
@settings(max_examples=300, deadline=None)
def test_at_most_one_block_is_taken_in_part(chains: list[list[tuple[int, int]]], allowance: int) -> None:
    kept = cost_model.fill(chains, allowance)
    assert len({(i, e) for i, es in enumerate(kept) for e in es if 0 < e < 1}) <= 1


def test_an_operator_that_saves_cpu_and_bytes_runs_without_any_allowance() -> None:
    assert cost_model.fill([[(10.0, -2.0), (5.0, 3.0)]], -2.0) == [(1.0, 0.0)]


def test_an_operator_that_saves_cpu_but_expands_runs_only_for_want_of_cpu() -> None:
    chain = [(-4.0, -2.0)]
    assert cost_model.fill([chain], 0.0) == [(0.0,)]
    assert cost_model.fill([chain], -1.0) == [(0.5,)]
    assert cost_model.fill([chain], -5.0) == [(1.0,)]


def test_an_expanding_operator_pools_with_the_one_behind_it() -> None:
    assert cost_model.fill([[(-4.0, 1.0), (20.0, 1.0)]], 1.0) == [(0.5, 0.5)]


def test_the_allowance_goes_where_a_second_saves_most_bytes() -> None:
    first, second = cost_model.fill([[(10.0, 1.0), (1.0, 1.0)], [(5.0, 1.0)]], 2.5)
    assert (first, second) == ((1.0, 0.5), (1.0,))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_shares_and_what_they_keep_are_two_ways_to_say_one_thing(shares: list[float]) -> None:
    kept = cost_model.kept_of(shares)
    again = cost_model.kept_of(cost_model.shares_of(kept))
    assert again == pytest.approx(kept, abs=1e-12)


def test_draining_all_takes_the_raw_bytes_and_their_shipping() -> None:
    predicted = cost_model.predicted(PROBES, (0.0,) * 5)
    assert predicted.wire_bytes == 38_000 * 30
    assert predicted.cpu_s == pytest.approx(cost_model.drained_s(PROBES))


def test_all_local_takes_every_operator_and_one_partial_result_per_checkpoint() -> None:
    predicted = cost_model.predicted(LOGS, (1.0,) * 4)
    met = 4_000 * (1 - (1 - 1 / 4_000) ** 18_000) / 2
    assert predicted.wire_bytes == pytest.approx(met * 20)
    chain_s = 20_000 * (1e-6 + 0.9 * 4e-6 + 0.45 * (60e-6 + 15e-6))
    assert predicted.cpu_s == pytest.approx(chain_s + met * 1e-6)


def test_rows_drained_behind_a_filter_are_those_it_left() -> None:
    predicted = cost_model.predicted(LOGS, (1.0, 0.5, 0.0, 0.0))
    assert predicted.wire_bytes == pytest.approx(20_000 * (0.5 * 0.9 * 45 + 0.5 * 0.9 * 0.5 * 44))


@given(st.floats(0, 1), st.sampled_from([PROBES, LOGS]))
def test_the_steps_say_what_the_prediction_says(e: float, costs: QueryCosts) -> None:
    """Gains and net costs are the prediction's differences, with groups as they are at that e."""
    steps = cost_model.steps_of(costs, e)
    kept = (1.0,) * (len(costs.operators) - 1) + (e,)
    none = cost_model.predicted(costs, (0.0,) * len(kept))
    some = cost_model.predicted(costs, cost_model.shares_of(kept))
    assert some.wire_bytes == pytest.approx(
        none.wire_bytes - sum(gain * part for (gain, _), part in zip(steps, kept, strict=True))
    )
    assert some.cpu_s == pytest.approx(
        none.cpu_s + sum(cost * part for (_, cost), part in zip(steps, kept, strict=True))
    )


def random_query(draw: st.DrawFn) -> QueryCosts:
    count = draw(st.integers(1, 3))
    cost = st.floats(0, 2e-5)
    return QueryCosts(
        records=draw(st.integers(100, 50_000)),
        operators=tuple(OperatorCosts(draw(cost), draw(st.floats(0.05, 1.2))) for _ in range(count)),
        drained_bytes=tuple(draw(st.floats(1, 60)) for _ in range(count)),
        drained_s=tuple(draw(st.floats(0, 4e-6)) for _ in range(count)),
        groups=Groups(draw(st.floats(1, 50_000)), draw(st.floats(5, 100)), draw(st.floats(0, 4e-6)), 2.0),
    )


random_queries = st.composite(random_query)()


def grid_best(costs: QueryCosts, allowance_s: float, parts: int) -> float | None:
    """Fewest bytes within the allowance on a grid of e vectors."""
    levels = [i / parts for i in range(parts + 1)]
    vectors = [
        kept
        for kept in product(levels, repeat=len(costs.operators))
        if all(before >= after for before, after in pairwise(kept))
    ]
    taken = [cost_model.predicted(costs, cost_model.shares_of(kept)) for kept in vectors]
    return min((each.wire_bytes for each in taken if each.cpu_s <= allowance_s), default=None)


@given(random_queries, st.floats(0.01, 1.2))
@settings(max_examples=150, deadline=None)
def test_least_bytes_is_as_good_as_any_vector_of_a_grid_groups_included(costs: QueryCosts, part: float) -> None:
    allowance_s = part * cost_model.predicted(costs, (1.0,) * len(costs.operators)).cpu_s
    kept = cost_model.least_bytes({"q": costs}, allowance_s)["q"]
    found = cost_model.predicted(costs, cost_model.shares_of(kept))
    best = grid_best(costs, allowance_s, 10)
    if best is None:
        cheapest = cost_model.predicted(costs, cost_model.cheapest(costs))
        assert found.cpu_s <= cheapest.cpu_s * 1.001 + 1e-12 or found.cpu_s <= allowance_s * 1.006
    else:
        assert found.cpu_s <= allowance_s * 1.006 + 1e-12
        assert found.wire_bytes <= best * 1.02 + 1e-9


def test_a_part_of_an_aggregate_that_would_ship_more_is_not_run() -> None:
    """With as many groups as records, few of which fit, a partial result is larger than the rows it is made of."""
    costs = replace(LOGS, groups=Groups(20_000, 20.0, 1e-6, 2.0))
    for part in (0.3, 0.7, 0.9):
        shares = cost_model.shares_of((1.0, 1.0, 1.0, part))
        assert cost_model.predicted(costs, shares).wire_bytes > 9_000 * 9
    kept = cost_model.least_bytes({"q": costs}, 0.8)["q"]
    assert kept[-1] == 0.0


@given(random_queries)
@settings(max_examples=200, deadline=None)
def test_the_cheapest_vector_is_cheaper_than_any_of_a_grid(costs: QueryCosts) -> None:
    least = cost_model.predicted(costs, cost_model.cheapest(costs)).cpu_s
    for kept in product((0.0, 0.25, 0.5, 0.75, 1.0), repeat=len(costs.operators)):
        if all(before >= after for before, after in pairwise(kept)):
            assert least <= cost_model.predicted(costs, cost_model.shares_of(kept)).cpu_s * (1 + 1e-9) + 1e-15


def test_a_query_without_records_gets_sensible_shares() -> None:
    idle = replace(PROBES, records=0.0)
    kept = cost_model.least_bytes({"idle": idle, "probes": PROBES}, 2.0)
    assert kept["idle"][0] == 1.0
    assert cost_model.predicted(idle, (1.0,) * 5) == cost_model.Predicted(0.0, 0.0)


def test_an_unlimited_allowance_gives_fewest_bytes() -> None:
    assert cost_model.least_bytes({"q": PROBES}, float("inf"))["q"] == (1.0,) * 5
