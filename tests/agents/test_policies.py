"""What each policy gives for the same queries and allowances."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import cost_model, policies
from agents.cost_model import QueryCosts
from agents.shares import POLICIES, Policy, Shares
from tests.agents.simulated_agent import LOGS, LOGS_KINDS, PROBES, PROBES_KINDS

MODELS = {"probes": PROBES, "logs": LOGS}
KINDS = {"probes": PROBES_KINDS, "logs": LOGS_KINDS}
ALL_LOCAL_S = policies.taken(MODELS, {"probes": (1.0,) * 5, "logs": (1.0,) * 4}).cpu_s


def shares(policy: Policy, part: float, models: dict[str, QueryCosts] | None = None) -> dict[str, Shares]:
    """What a policy gives for that part of what everything takes when it is all local."""
    return policies.shares_for(policy, MODELS if models is None else models, KINDS, part * ALL_LOCAL_S)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_version_gets_a_share_per_operator(policy: Policy) -> None:
    found = shares(policy, 0.5)
    assert {version: len(one) for version, one in found.items()} == {"probes": 5, "logs": 4}
    assert all(0 <= share <= 1 for one in found.values() for share in one)


def test_all_sp_drains_all_and_all_src_nothing() -> None:
    assert shares("all-sp", 5.0) == {"probes": (0.0,) * 5, "logs": (0.0,) * 4}
    assert shares("all-src", 0.0) == {"probes": (1.0,) * 5, "logs": (1.0,) * 4}


def test_filter_src_runs_the_leading_filters_whatever_the_allowance() -> None:
    assert shares("filter-src", 0.0) == {"probes": (1.0, 0.0, 0.0, 0.0, 0.0), "logs": (1.0, 1.0, 0.0, 0.0)}


def test_filter_src_drains_a_query_without_leading_filters() -> None:
    kinds = {"joined": ("join", "filter", "aggregate")}
    assert policies.shares_for("filter-src", {}, kinds, 1.0) == {"joined": (0.0, 0.0, 0.0)}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_query_without_a_profile_is_drained_where_the_profile_decides(policy: Policy) -> None:
    found = shares(policy, 5.0, {"probes": PROBES})
    drained = policy not in ("all-src", "filter-src")
    assert (sum(found["logs"]) == 0) == drained


@given(st.floats(0.05, 1.1))
@settings(max_examples=60, deadline=None)
def test_adaptive_ships_no_more_than_any_other_policy_that_fits(part: float) -> None:
    adaptive = policies.taken(MODELS, shares("adaptive", part))
    assert adaptive.cpu_s <= part * ALL_LOCAL_S * policies.ROUNDING_COST + 1e-12
    for policy in POLICIES:
        other = policies.taken(MODELS, shares(policy, part))
        if other.cpu_s <= part * ALL_LOCAL_S:
            assert adaptive.wire_bytes <= other.wire_bytes * 1.001


@given(st.floats(0.05, 1.1))
@settings(max_examples=60, deadline=None)
def test_best_op_is_the_best_of_all_prefixes(part: float) -> None:
    found = shares("best-op", part)
    assert all(share in (0.0, 1.0) for one in found.values() for share in one)
    every = [
        policies.taken(MODELS, {"probes": probes, "logs": logs}) for probes, logs in product(_prefixes(5), _prefixes(4))
    ]
    fitting = [each.wire_bytes for each in every if each.cpu_s <= part * ALL_LOCAL_S]
    if fitting:
        assert policies.taken(MODELS, found).wire_bytes == pytest.approx(min(fitting))


def test_best_op_of_many_queries_fits_and_uses_what_there_is() -> None:
    """Too many combinations to try them all."""
    models = {f"{i}": replace(LOGS, records=1_000 * (i + 1)) for i in range(12)}
    kinds = dict.fromkeys(models, LOGS_KINDS)
    allowance_s = 0.5 * policies.taken(models, dict.fromkeys(models, (1.0,) * 4)).cpu_s
    found = policies.taken(models, policies.shares_for("best-op", models, kinds, allowance_s))
    bound = policies.taken(models, policies.shares_for("adaptive", models, kinds, allowance_s))
    assert found.cpu_s <= allowance_s
    assert found.cpu_s >= 0.8 * allowance_s
    assert found.wire_bytes <= 1.3 * bound.wire_bytes


@given(st.floats(0.05, 1.1))
@settings(max_examples=60, deadline=None)
def test_lb_dp_takes_the_same_part_of_all_queries_and_as_much_as_fits(part: float) -> None:
    found = shares("lb-dp", part)
    x = found["probes"][0]
    for one in found.values():
        assert one[0] == x
        assert one[1:] == ((1.0,) * (len(one) - 1) if x else (0.0,) * (len(one) - 1))
    cpu_s = policies.taken(MODELS, found).cpu_s
    if 0 < x < 1:
        assert cpu_s == pytest.approx(part * ALL_LOCAL_S, rel=1e-3)
    if x == 1:
        assert cpu_s <= part * ALL_LOCAL_S * policies.ROUNDING_COST


def test_a_share_near_one_is_one_where_the_allowance_all_but_suffices() -> None:
    assert shares("adaptive", 0.99) == {"probes": (1.0,) * 5, "logs": (1.0,) * 4}
    assert shares("adaptive", 0.9) != {"probes": (1.0,) * 5, "logs": (1.0,) * 4}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_fallback_is_the_cheapest_way_but_for_policies_that_stay_what_they_are(policy: Policy) -> None:
    # A filter that is cheaper than shipping what it drops runs even without allowance.
    cheap = replace(PROBES, operators=(replace(PROBES.operators[0], cpu_s=1e-8), *PROBES.operators[1:]))
    found = policies.fallback_for(policy, {"probes": cheap}, KINDS)
    if policy == "all-src":
        assert found == {"probes": (1.0,) * 5, "logs": (1.0,) * 4}
    elif policy in ("all-sp", "lb-dp"):
        assert found == {"probes": (0.0,) * 5, "logs": (0.0,) * 4}
    else:
        assert found == {"probes": (1.0, 0.0, 0.0, 0.0, 0.0), "logs": (0.0,) * 4}
        assert found["probes"] == cost_model.cheapest(cheap)


@pytest.mark.parametrize("policy", ["adaptive", "best-op", "lb-dp"])
def test_where_nothing_fits_the_cheapest_way_is_taken(policy: Policy) -> None:
    dear = {version: replace(costs, drained_s=(1e-3,) * len(costs.drained_s)) for version, costs in MODELS.items()}
    found = policies.shares_for(policy, dear, KINDS, 0.001)
    assert found == {"probes": (1.0,) * 5, "logs": (1.0,) * 4}


def _prefixes(count: int) -> list[Shares]:
    return [(1.0,) * length + (0.0,) * (count - length) for length in range(count + 1)]
