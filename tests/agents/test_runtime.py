"""The runtime against simulated agents: how soon it settles, what it uses, what it does when nothing helps."""

from dataclasses import replace
from itertools import groupby, pairwise
from statistics import mean, median

import numpy as np
import pytest

from agents.config import RuntimeConfig
from agents.cost_model import QueryCosts, least_bytes, predicted, shares_of
from agents.runtime import Runtime
from agents.shares import EpochSeen, Policy, ProxyCounts
from tests.agents.runtime_phases import (
    PHASE,
    STEPS,
    changed,
    logs_agent,
    longest_search,
    probes_agent,
    runs,
    settled_after,
    used,
)
from tests.agents.simulated_agent import LOGS, LOGS_KINDS, PROBES, PROBES_KINDS, SimulatedAgent


def test_the_shares_settle_soon_after_every_change() -> None:
    """Costs measured with errors of 10 %; detection and profile are counted."""
    found = runs(0.1)
    epochs = sorted(settled_after(phase) for run in found for phase in run.values())
    assert median(epochs) <= 5
    assert epochs[int(0.95 * len(epochs))] <= 8
    # At the start nothing is known: two epochs of watching, one of profile.
    assert 3 <= median(settled_after(run["start"]) for run in found) <= 5
    # A step of the budget needs no detection.
    assert median(settled_after(run["budget 0.9"]) for run in found) <= 2


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.5])
def test_the_shares_settle_whatever_the_errors_of_a_profile(sigma: float) -> None:
    epochs = sorted(settled_after(phase) for run in runs(sigma) for phase in run.values())
    assert median(epochs) <= 5
    assert epochs[int(0.95 * len(epochs))] <= 10
    assert epochs[-1] < PHASE - 10


@pytest.mark.parametrize("policy", ["adaptive", "best-op", "lb-dp"])
def test_settled_epochs_keep_within_the_budget_on_average(policy: Policy) -> None:
    for run in runs(0.1, policy):
        for name, phase in run.items():
            parts = used(phase[settled_after(phase) :])
            worst = max(mean(parts[i : i + 10]) for i in range(len(parts) - 9))
            assert worst <= 1.05, name


def test_settled_epochs_use_the_budget_where_that_saves_bytes() -> None:
    for sigma in (0.0, 0.1, 0.3):
        for run in runs(sigma):
            for name, phase in run.items():
                settled = phase[settled_after(phase) + 8 :]
                local = all(share == 1 for shares in settled[-1].shares.values() for share in shares)
                # Parts of an aggregate that would ship more than they save leave a gap below the budget.
                whole = settled[-1].shares.get("logs", (0.5,))[-1] == 0.0
                assert local or whole or mean(used(settled)) >= 0.95, name


def test_what_is_left_of_the_budget_or_over_it_is_trimmed_away() -> None:
    """Within the bounds of stable, theta still moves to just below the budget."""
    for run in runs(0.1):
        late = run["start"][-8:]
        assert mean(used(late)) == pytest.approx(0.985, abs=0.01)


def test_settled_bytes_are_near_the_least_that_true_costs_allow() -> None:
    ratios = []
    for make in (probes_agent, logs_agent):
        agent = make(sigma=0.1, seed=5)
        for step in STEPS.values():
            step(agent)
            phase = agent.run(PHASE)
            best = least_bytes(agent.truth, 0.985 * agent.budget_s - agent.fixed_s)
            least = sum(predicted(agent.truth[v], shares_of(kept)).wire_bytes for v, kept in best.items())
            ratios.append(mean(epoch.wire_bytes for epoch in phase[-10:]) / least)
    assert median(ratios) <= 1.02
    assert max(ratios) <= 1.15


def test_nothing_moves_much_once_it_has_settled() -> None:
    for make in (probes_agent, logs_agent):
        agent = make(sigma=0.1, seed=3)
        agent.run(40)
        late = agent.run(300)
        assert not any(epoch.profiled for epoch in late)
        assert all(epoch.state == "probe" for epoch in late)
        for version in agent.truth:
            for i in range(len(late[0].shares[version])):
                shares = [epoch.shares[version][i] for epoch in late]
                assert max(shares) - min(shares) <= 0.1


@pytest.mark.parametrize("policy", ["adaptive", "best-op", "lb-dp"])
def test_noise_of_rates_and_cpu_does_not_keep_it_busy(policy: Policy) -> None:
    agent = probes_agent(sigma=0.2, epoch_noise=0.03, rate_noise=0.04, policy=policy, seed=2)
    agent.run(40)
    late = agent.run(400)
    assert sum(epoch.profiled for epoch in late) <= 12
    assert sum(epoch.stable for epoch in late) >= 0.85 * len(late)
    assert mean(used(late)) <= 1.02


def test_a_step_of_the_budget_that_misses_is_searched_at_once_and_measured_anew_if_that_fails() -> None:
    """What is fixed was taken for far too much at the start, so that the step lands beside the budget."""
    for seed in range(4):
        agent = probes_agent(0.5, sigma=0.3, fixed_s=0.2, seed=seed)
        agent.run(4)
        agent.fixed_s = 0.02
        agent.run(36)
        agent.budget_s = 0.3
        states = [epoch.state for epoch in agent.run(20)]
        # The epoch of the step itself shows the miss, then the search: no three epochs of watching.
        assert states[1] == "adapt" or agent.epochs[-20].stable
        assert states.count("profile") <= 1
        assert agent.epochs[-1].stable


def test_a_budget_that_moves_in_every_epoch_is_followed_without_searching() -> None:
    """As a share of what the host leaves idle does."""
    agent = probes_agent(0.5, sigma=0.1, seed=3)
    random = np.random.default_rng(1)
    for _ in range(200):
        agent.budget_s = 0.5 * random.lognormal(0, 0.15)
        agent.run(1)
    late = agent.epochs[30:]
    assert sum(epoch.cpu_s for epoch in late) / sum(epoch.budget_s for epoch in late) == pytest.approx(0.98, abs=0.03)
    assert sum(epoch.profiled for epoch in late) <= 2
    assert mean(epoch.overflow for epoch in late) <= 0.02


def test_shares_do_not_jump_to_and_fro_between_answers_that_are_as_good() -> None:
    """All local takes just about the budget, so that noise of the rate alone would turn the aggregate on and off."""
    for part in (0.97, 0.99, 1.0, 1.01):
        budget_s = part * (predicted(LOGS, (1.0,) * 4).cpu_s + 0.02)
        agent = logs_agent(budget_s, policy="best-op", rate_noise=0.02, sigma=0.05)
        agent.run(30)
        shares = [epoch.shares["logs"] for epoch in agent.run(200)]
        assert sum(before != after for before, after in pairwise(shares)) <= 6


def test_an_answer_that_was_too_much_is_not_tried_again_until_something_changes() -> None:
    """By the model of the shorter prefix the whole chain would fit; in truth it takes 1.07 budgets."""
    for seed in range(15):
        agent = probes_agent(0.5, policy="best-op", sigma=0.3, seed=seed)
        agent.run(40)
        agent.budget_s = 0.9
        assert settled_after(agent.run(40)) <= 16


def test_states_follow_each_other_as_they_should() -> None:
    agent = probes_agent(sigma=0.0)
    agent.run(12)
    assert [epoch.state for epoch in agent.epochs[:6]] == ["startup", "probe", "profile", "adapt", "probe", "probe"]
    assert [epoch.profiled for epoch in agent.epochs[:5]] == [False, False, True, False, False]


def test_all_is_drained_before_the_first_profile() -> None:
    agent = probes_agent()
    agent.run(3)
    assert all(sum(epoch.shares["probes"]) == 0 for epoch in agent.epochs)


def test_a_budget_for_everything_leads_to_all_local_and_stays_there() -> None:
    """At exactly what all local takes, a hundredth of raw records would be many bytes."""
    for part in (1.0, 1.01, 1.5):
        agent = probes_agent(part * (predicted(PROBES, (1.0,) * 5).cpu_s + 0.02), sigma=0.1, seed=4)
        agent.run(30)
        late = agent.run(60)
        assert mean(all(share == 1 for share in epoch.shares["probes"]) for epoch in late) >= 0.95
        assert mean(epoch.wire_bytes for epoch in late) <= 1.3 * predicted(PROBES, (1.0,) * 5).wire_bytes


def test_a_budget_below_draining_all_leads_to_the_cheapest_way_and_rests_there() -> None:
    """Nothing helps: the runtime must not search for ever. What then happens is the breaker's affair."""
    agent = probes_agent(0.03, sigma=0.1)
    agent.run(60)
    late = agent.run(200)
    assert sum(epoch.profiled for epoch in late) <= 4
    assert all(sum(epoch.shares["probes"]) <= 1.1 for epoch in late)


def test_a_model_that_sees_nothing_cheaper_though_the_budget_is_exceeded_is_measured_again() -> None:
    """The first profile found operators far too dear, so that all is drained, which takes 1.4 budgets."""
    dear = tuple(20 * each for each in PROBES.drained_s)
    truth = replace(PROBES, drained_s=dear)
    agent = SimulatedAgent({"probes": truth}, {"probes": PROBES_KINDS}, 0.45, sigma=0.0)
    agent.truth["probes"] = replace(
        truth, operators=tuple(replace(one, cpu_s=40 * one.cpu_s) for one in truth.operators)
    )
    agent.fixed_s = 0.0
    agent.run(3)
    agent.truth["probes"] = replace(
        truth, operators=tuple(replace(one, cpu_s=0.1 * one.cpu_s) for one in truth.operators)
    )
    agent.run(20)
    assert sum(epoch.profiled for epoch in agent.epochs) == 2
    assert agent.epochs[-1].shares["probes"] == (1.0,) * 5


def test_costs_that_change_in_every_epoch_end_in_rarer_profiles() -> None:
    agent = probes_agent(sigma=0.5)
    for epoch in range(400):
        agent.truth["probes"] = PROBES
        changed(agent, cost=2.0 if epoch % 2 else 0.5)
        agent.run(1)
    assert sum(epoch.profiled for epoch in agent.epochs[200:]) <= 10
    assert mean(used(agent.epochs[200:])) <= 1.05
    assert longest_search(agent.epochs) <= RuntimeConfig().adapt_steps


def test_a_drift_of_costs_leads_to_a_new_profile() -> None:
    agent = probes_agent(0.5, sigma=0.0)
    agent.run(40)
    for _ in range(60):
        changed(agent, cost=1.01)
        agent.run(1)
    assert sum(epoch.profiled for epoch in agent.epochs[40:]) >= 1


def test_noise_of_the_cpu_makes_no_agent_search_and_profile_again_and_again() -> None:
    for seed in range(3):
        agent = probes_agent(0.5, sigma=0.3, epoch_noise=0.06, rate_noise=0.06, seed=seed)
        agent.run(30)
        late = agent.run(150)
        assert sum(before.state != after.state for before, after in pairwise(late)) <= 6
        assert sum(epoch.profiled for epoch in late) <= 2


@pytest.mark.parametrize("policy", ["all-sp", "all-src", "filter-src"])
def test_static_policies_do_not_move_and_are_not_profiled_within_the_budget(policy: Policy) -> None:
    agent = probes_agent(2.0, policy=policy)
    agent.run(40)
    assert len({epoch.shares["probes"] for epoch in agent.epochs}) == 1
    assert not any(epoch.profiled for epoch in agent.epochs)


def test_a_static_policy_over_its_budget_is_profiled_once_so_that_the_breaker_knows_the_cheapest_way() -> None:
    agent = probes_agent(0.3, policy="all-src")
    agent.run(60)
    assert sum(epoch.profiled for epoch in agent.epochs) == 1
    assert set(agent.runtime.models) == {"probes"}
    assert all(epoch.shares["probes"] == (1.0,) * 5 for epoch in agent.epochs)


def test_files_that_can_wait_are_all_local_and_take_nothing_from_the_others() -> None:
    agent = SimulatedAgent(
        {"probes": PROBES, "files": replace(LOGS, groups=replace(LOGS.groups, distinct=300))},
        {"probes": PROBES_KINDS, "files": LOGS_KINDS},
        0.6,
        unpaced=frozenset({"files"}),
    )
    agent.run(40)
    late = agent.run(30)
    assert all(epoch.shares["files"] == (1.0,) * 4 for epoch in late)
    best = least_bytes({"probes": PROBES}, 0.6 - agent.fixed_s)["probes"]
    least = predicted(PROBES, shares_of(best)).wire_bytes
    assert predicted(PROBES, late[-1].shares["probes"]).wire_bytes <= 1.1 * least


def test_an_overruled_epoch_teaches_nothing_about_the_shares() -> None:
    agent = probes_agent(0.5)
    agent.run(30)
    theta_s, state = agent.runtime.theta_s, agent.runtime.state
    drained = ProxyCounts([38_000, 0, 0, 0, 0], [0] * 5, [0] * 5)
    for _ in range(20):
        agent.runtime.end_of_epoch(EpochSeen(0.05, 0.5, {"probes": drained}, overruled=True))
    assert agent.runtime.theta_s == pytest.approx(theta_s)
    assert agent.runtime.state == state


def test_costs_are_doubted_ever_more_rarely_while_the_breaker_holds() -> None:
    """It runs what is cheapest by these costs: were they wrong, it would leave records out for ever."""
    agent = probes_agent(0.5)
    agent.run(30)
    counts = {"probes": _counts(PROBES, (0.0,) * 5)}
    dear = replace(PROBES, drained_s=tuple(100 * each for each in PROBES.drained_s))
    profiled = []
    for epoch in range(600):
        profiled += [epoch] * agent.runtime.decision.profile
        costs = {"probes": dear} if agent.runtime.decision.profile else None
        agent.runtime.end_of_epoch(EpochSeen(2.0, 0.5, counts, costs=costs, overruled=True))
    assert len(profiled) == 3
    assert profiled[2] - profiled[1] > 1.5 * (profiled[1] - profiled[0])
    assert agent.runtime.decision.fallback["probes"] == (1.0,) * 5


def test_a_reload_of_other_settings_while_costs_are_measured_does_not_lose_them() -> None:
    agent = probes_agent(0.5)
    while agent.runtime.state != "profile":
        agent.run(1)
    agent.runtime.configure("adaptive", RuntimeConfig(idle_share=0.12))
    agent.run(1)
    assert set(agent.runtime.models) == {"probes"}


@pytest.mark.parametrize("policy", ["adaptive", "best-op"])
def test_shares_that_take_too_much_are_refused_beside_files_that_can_wait_too(policy: Policy) -> None:
    for seed in range(3):
        agent = SimulatedAgent(
            {"probes": PROBES, "files": LOGS},
            {"probes": PROBES_KINDS, "files": LOGS_KINDS},
            0.9,
            policy=policy,
            sigma=0.3,
            seed=seed,
            unpaced=frozenset({"files"}),
        )
        agent.run(40)
        moves = [a.shares["probes"] != b.shares["probes"] for a, b in pairwise(agent.run(100))]
        assert sum(moves) <= 8


def test_an_epoch_that_was_held_up_is_no_change_of_the_load() -> None:
    agent = probes_agent(0.5, sigma=0.0, batch_noise=0.0, epoch_noise=0.0)
    agent.run(40)
    shares = agent.runtime.decision.shares["probes"]
    counts = ProxyCounts(
        [3 * 38_000, 98_040, 98_040, 98_040, 98_040], [114_000, 98_040, 98_040, 98_040, 33_000], [0] * 5
    )
    cpu_s = 3 * 0.985 * 0.5
    agent.runtime.end_of_epoch(EpochSeen(cpu_s, 1.5, {"probes": counts}, length_epochs=3.0))
    assert agent.runtime.decision.shares["probes"] == pytest.approx(shares, abs=0.03)
    assert agent.runtime.models["probes"].records == pytest.approx(38_000)


def test_another_policy_takes_over_with_what_is_known() -> None:
    agent = probes_agent(0.5, sigma=0.0)
    agent.run(30)
    agent.runtime.configure("all-sp", RuntimeConfig())
    assert all(sum(epoch.shares["probes"]) == 0 for epoch in agent.run(3))
    agent.runtime.configure("lb-dp", RuntimeConfig())
    late = agent.run(6)
    assert not any(epoch.profiled for epoch in late)
    assert all(epoch.shares["probes"][1:] == (1.0,) * 4 for epoch in late)
    assert 0.95 <= used(late)[-1] <= 1.05


def test_what_is_fixed_is_what_the_profile_does_not_explain() -> None:
    agent = probes_agent(0.5, sigma=0.0, fixed_s=0.1)
    agent.run(30)
    assert agent.runtime.theta_s == pytest.approx(0.985 * 0.5, rel=0.02)


def test_a_prediction_is_for_the_present_shares() -> None:
    agent = probes_agent(0.5, sigma=0.0)
    agent.run(30)
    found = agent.runtime.predicted_bytes("probes")
    assert found == pytest.approx(agent.epochs[-1].wire_bytes, rel=0.02)


def test_the_steps_of_a_search_are_limited() -> None:
    """Epochs that are congested and idle by turns, whatever is decided."""
    models = {"probes": PROBES}
    runtime = Runtime("adaptive", RuntimeConfig(adapt_steps=2), {"probes": PROBES_KINDS})
    states = []
    for epoch in range(400):
        shares = runtime.decision.shares["probes"]
        counts = _counts(PROBES, shares)
        costs = models if runtime.decision.profile else None
        states.append(runtime.state)
        cpu_s = (1.6 if epoch % 2 else 0.4) if sum(shares) else 0.05
        runtime.end_of_epoch(EpochSeen(cpu_s, 0.8, {"probes": counts}, costs))
    assert max(len(list(group)) for state, group in groupby(states) if state == "adapt") <= 2
    assert states[-100:].count("profile") <= 3


def _counts(costs: QueryCosts, shares: tuple[float, ...]) -> ProxyCounts:
    counts, reaching = ProxyCounts.zeros(len(shares)), int(costs.records)
    for i, share in enumerate(shares):
        counts.reached[i], counts.local[i] = reaching, round(share * reaching)
        reaching = round(counts.local[i] * costs.operators[i].selectivity)
    return counts
