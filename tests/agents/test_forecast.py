"""From the costs of a dry run to what each policy would take."""

from dataclasses import replace

import pytest

from agents.config import AgentConfig, BudgetConfig
from agents.cost_model import Groups, OperatorCosts, QueryCosts, predicted
from agents.dry_run import QuerySeen, Seen
from agents.forecast import Forecast, fixed_cores, forecasts, handling_cores
from agents.idle_floor import SAMPLER_CORES, IdleCosts
from agents.shares import POLICIES
from tests.agents.world import PLAN
from tests.fleet import probe_plan

OTHER = probe_plan(name="other")
CONFIG = AgentConfig(budget=BudgetConfig(cores=0.5))
ONES, ZEROS = (1.0,) * len(PLAN.stages), (0.0,) * len(PLAN.stages)
# A filter, a join, a projection and an aggregate; 100,000 records an epoch, 0.8 s of CPU for all of them here.
COSTS = QueryCosts(
    records=100_000,
    operators=(OperatorCosts(1e-6, 0.9), OperatorCosts(1e-6, 1.0), OperatorCosts(1e-6, 1.0), OperatorCosts(5e-6, 0.1)),
    drained_bytes=(20.0, 20.0, 24.0, 24.0),
    drained_s=(1e-7, 1e-7, 1e-7, 1e-7),
    groups=Groups(distinct=100.0, group_bytes=50.0, group_s=1e-6, checkpoint_epochs=2.0),
)
IDLE = IdleCosts(turn_s=0.001, turns_per_s=10.0, checkpoint_cpu_s=0.01, checkpoint_every_s=2.0)
QUERY = QuerySeen(PLAN, 500_000, 100_000.0, paced=True, costs=COSTS)
SEEN = Seen(
    run_s=5.0,
    sources=[],
    queries=[QUERY],
    idle=IDLE,
    sources_cores=0.03,
    budget_cores=0.5,
    budget_from="cores",
    reading_s={"probes": 2e-6},
)


def of(policy: str, seen: Seen = SEEN) -> Forecast:
    return next(one for one in forecasts(seen, CONFIG) if one.policy == policy)


def test_every_policy_is_reckoned_and_the_loop_and_the_reading_are_in_all_of_them() -> None:
    found = forecasts(SEEN, CONFIG)
    assert tuple(one.policy for one in found) == POLICIES
    # Ten empty turns are in both figures: 0.01 + 0.005, and 0.03 - 0.01 for what the records themselves took.
    assert fixed_cores(SEEN) == pytest.approx(0.035)
    drained, local = of("all-sp"), of("all-src")
    assert (drained.queries[PLAN.version].shares, local.queries[PLAN.version].shares) == (ZEROS, ONES)
    for one, shares in ((drained, ZEROS), (local, ONES)):
        taken = predicted(COSTS, shares)
        assert one.cores == pytest.approx(0.035 + taken.cpu_s)
        assert one.wire_bytes_per_s == pytest.approx(taken.wire_bytes)
    assert drained.fits
    assert not local.fits


def test_what_an_agent_takes_beyond_the_costs_of_its_records_is_in_every_policy() -> None:
    assert handling_cores(SEEN) == 0.0, "not known"
    # The idle loop 0.015, reading 0.02 beyond that, the records 0.8 or so.
    local_s = predicted(COSTS, ONES).cpu_s
    seen = replace(SEEN, as_agent_cores=0.035 + local_s + 0.013)
    assert handling_cores(seen) == pytest.approx(0.013)
    assert fixed_cores(seen) == pytest.approx(0.048)
    for policy in ("all-sp", "all-src"):
        assert of(policy, seen).cores == pytest.approx(of(policy).cores + 0.013)
    assert of("adaptive", seen).cores <= 0.5, "it makes room for that"
    sampled = replace(seen, idle=replace(IDLE, samplers=1))
    assert handling_cores(sampled) == pytest.approx(0.013), "the sampler is not in what the process took"
    assert fixed_cores(sampled) == pytest.approx(0.048 + SAMPLER_CORES)
    waiting = replace(seen, queries=[replace(QUERY, paced=False)], as_agent_cores=0.05)
    assert handling_cores(waiting) == pytest.approx(0.015), "files that can wait were not read then"
    assert handling_cores(replace(seen, as_agent_cores=0.01)) == 0.0


def test_the_adaptive_policy_fills_the_budget_and_ships_less_than_what_else_fits() -> None:
    adaptive = of("adaptive")
    assert adaptive.fits
    assert 0.47 < adaptive.cores <= 0.5
    others = [one for one in forecasts(SEEN, CONFIG) if one.fits]
    assert len(others) > 2
    assert all(adaptive.wire_bytes_per_s <= one.wire_bytes_per_s for one in others)


def test_bytes_and_cores_are_per_second_whatever_an_epoch_lasts() -> None:
    longer = AgentConfig(budget=BudgetConfig(cores=0.5), epoch_s=2.0)
    # Twice the records in an epoch of twice the length; a partial result over half as many epochs.
    costs = replace(COSTS, records=200_000, groups=replace(COSTS.groups, checkpoint_epochs=1.0))
    seen = replace(SEEN, queries=[replace(QUERY, costs=costs)])
    for one, other in zip(forecasts(SEEN, CONFIG), forecasts(seen, longer), strict=True):
        assert one.cores == pytest.approx(other.cores)
        assert one.wire_bytes_per_s == pytest.approx(other.wire_bytes_per_s)


def test_a_file_without_a_pace_is_read_as_fast_as_what_is_left_allows() -> None:
    waiting = replace(SEEN, queries=[replace(QUERY, paced=False)])
    for policy in ("adaptive", "all-src"):
        one = of(policy, waiting)
        query = one.queries[PLAN.version]
        assert query.shares == ONES
        assert one.fits
        assert one.cores == pytest.approx(0.5)
        each_s = predicted(COSTS, ONES).cpu_s / COSTS.records + 2e-6
        assert query.records_per_s == pytest.approx((0.5 - 0.035) / each_s)
    beside = replace(SEEN, queries=[replace(QUERY, plan=OTHER), replace(QUERY, paced=False)])
    crowded = of("all-src", beside)
    assert not crowded.fits
    assert crowded.queries[PLAN.version].records_per_s == 0


def test_a_query_without_records_is_drained_until_it_is_known() -> None:
    unknown = replace(SEEN, queries=[QuerySeen(PLAN, 0, 0.0, paced=True)])
    for policy in ("adaptive", "best-op", "lb-dp", "all-sp"):
        one = of(policy, unknown)
        assert one.queries[PLAN.version].shares == ZEROS
        assert (one.wire_bytes_per_s, one.cores) == (0.0, pytest.approx(0.035))
