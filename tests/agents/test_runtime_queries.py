"""The runtime with several queries: how they share the budget, come, go and fall silent."""

from dataclasses import replace
from itertools import pairwise
from statistics import mean

import pytest

from agents.cost_model import least_bytes, predicted, shares_of
from agents.shares import EpochSeen
from tests.agents.runtime_phases import probes_agent, settled_after, used
from tests.agents.simulated_agent import LOGS, LOGS_KINDS, PROBES, PROBES_KINDS, SimulatedAgent
from tests.agents.test_runtime import _counts


def test_queries_share_the_budget_by_bytes_saved_per_second() -> None:
    agent = SimulatedAgent({"probes": PROBES, "logs": LOGS}, {"probes": PROBES_KINDS, "logs": LOGS_KINDS}, 0.8)
    agent.run(40)
    late = agent.run(20)
    best = least_bytes(agent.truth, 0.985 * 0.8 - agent.fixed_s)
    least = sum(predicted(agent.truth[v], shares_of(kept)).wire_bytes for v, kept in best.items())
    assert mean(epoch.wire_bytes for epoch in late) <= 1.05 * least
    assert 0.95 <= mean(used(late)) <= 1.02


def test_a_new_query_is_drained_until_it_is_profiled_and_the_others_go_on() -> None:
    agent = probes_agent(0.9)
    agent.run(30)
    before = agent.epochs[-1].shares["probes"]
    agent.adopt("logs", LOGS, LOGS_KINDS)
    arriving = agent.run(3)
    assert all(sum(epoch.shares["logs"]) == 0 for epoch in arriving)
    assert all(epoch.shares["probes"] == pytest.approx(before, abs=0.1) for epoch in arriving)
    settled = agent.run(30)[-10:]
    assert set(agent.runtime.models) == {"probes", "logs"}
    assert all(epoch.shares["logs"][1] == 1.0 for epoch in settled)
    assert 0.95 <= mean(used(settled)) <= 1.02


def test_a_query_that_is_gone_gives_its_part_back() -> None:
    agent = SimulatedAgent({"probes": PROBES, "logs": LOGS}, {"probes": PROBES_KINDS, "logs": LOGS_KINDS}, 0.8)
    agent.run(30)
    agent.leave("probes")
    late = agent.run(20)[-10:]
    assert all(share == 1.0 for epoch in late for share in epoch.shares["logs"])
    assert set(agent.runtime.decision.shares) == {"logs"}
    assert set(agent.runtime.models) == {"logs"}


def test_a_query_without_records_holds_nobody_up() -> None:
    agent = SimulatedAgent(
        {"probes": PROBES, "silent": replace(LOGS, records=0)}, {"probes": PROBES_KINDS, "silent": LOGS_KINDS}, 0.5
    )
    agent.run(10)
    assert set(agent.runtime.models) == {"probes"}
    late = agent.run(100)
    assert not any(epoch.profiled for epoch in late)
    assert 0.95 <= mean(used(late[-50:])) <= 1.02
    assert agent.runtime.predicted_bytes("silent") is None


def test_a_query_whose_records_come_later_is_profiled_then() -> None:
    agent = SimulatedAgent(
        {"probes": PROBES, "late": replace(LOGS, records=0)}, {"probes": PROBES_KINDS, "late": LOGS_KINDS}, 0.9
    )
    agent.run(20)
    agent.truth["late"] = LOGS
    agent.run(10)
    assert set(agent.runtime.models) == {"probes", "late"}


def test_a_query_whose_records_are_never_there_when_measured_is_tried_ever_more_rarely() -> None:
    agent = SimulatedAgent(
        {"probes": PROBES, "shy": replace(LOGS, records=50)}, {"probes": PROBES_KINDS, "shy": LOGS_KINDS}, 0.5
    )
    for _ in range(300):
        agent.truth["shy"] = replace(LOGS, records=0 if agent.runtime.decision.profile else 50)
        agent.run(1)
    tries = [i for i, epoch in enumerate(agent.epochs) if epoch.profiled]
    assert 3 <= len(tries) <= 8
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert mean(used(agent.epochs[100:])) >= 0.95


def test_records_that_stop_and_come_back_do_no_harm() -> None:
    agent = probes_agent(0.5)
    agent.run(30)
    agent.truth["probes"] = replace(PROBES, records=0)
    agent.run(30)
    agent.truth["probes"] = PROBES
    late = agent.run(30)
    assert settled_after(late) <= 8
    assert mean(used(late[-10:])) >= 0.95


def test_a_query_that_comes_while_the_breaker_holds_is_profiled_so_that_its_cheapest_way_is_known() -> None:
    """Draining may be by far the dearer way; without costs the breaker could do nothing else."""
    agent = probes_agent(0.5)
    agent.run(30)
    agent.runtime.adopt({"probes": PROBES_KINDS, "logs": LOGS_KINDS})
    counts = {"probes": _counts(PROBES, (0.0,) * 5), "logs": _counts(LOGS, (0.0,) * 4)}
    dear = replace(LOGS, drained_s=tuple(100 * each for each in LOGS.drained_s))
    agent.runtime.end_of_epoch(EpochSeen(2.0, 0.5, counts, overruled=True))
    assert agent.runtime.decision.profile
    assert agent.runtime.decision.fallback["logs"] == (0.0,) * 4
    agent.runtime.end_of_epoch(EpochSeen(2.0, 0.5, counts, costs={"logs": dear}, overruled=True))
    assert not agent.runtime.decision.profile
    assert agent.runtime.decision.fallback["logs"] == (1.0,) * 4
