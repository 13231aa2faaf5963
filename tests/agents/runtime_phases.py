"""A simulated agent through changes of budget, rates and costs: phases of epochs to look at."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import groupby, pairwise
from typing import Any

from agents.shares import Policy
from tests.agents.simulated_agent import LOGS, LOGS_KINDS, PROBES, PROBES_KINDS, Epoch, SimulatedAgent

PHASE = 36
SEEDS = 4


def probes_agent(budget_s: float = 0.5, **settings: Any) -> SimulatedAgent:
    """An agent with the query of server probes, whose all-local chain takes 0.96 core."""
    return SimulatedAgent({"probes": PROBES}, {"probes": PROBES_KINDS}, budget_s, **settings)


def logs_agent(budget_s: float = 0.5, **settings: Any) -> SimulatedAgent:
    """An agent with the query of log lines, whose all-local chain takes 0.79 core."""
    return SimulatedAgent({"logs": LOGS}, {"logs": LOGS_KINDS}, budget_s, **settings)


def changed(agent: SimulatedAgent, *, rate: float = 1.0, cost: float = 1.0) -> None:
    """Other rates and operator costs from now on, relative to now."""
    for version, costs in agent.truth.items():
        operators = tuple(replace(one, cpu_s=one.cpu_s * cost) for one in costs.operators)
        agent.truth[version] = replace(costs, records=costs.records * rate, operators=operators)


def budget(to_s: float) -> Callable[[SimulatedAgent], None]:
    """A step of the budget."""

    def step(agent: SimulatedAgent) -> None:
        agent.budget_s = to_s

    return step


# The phases of a run, each of PHASE epochs.
STEPS: Mapping[str, Callable[[SimulatedAgent], None]] = {
    "start": lambda _: None,
    "budget 0.9": budget(0.9),
    "budget 0.3": budget(0.3),
    "budget 0.6": budget(0.6),
    "rate x 1.5": lambda agent: changed(agent, rate=1.5),
    "rate x 0.6": lambda agent: changed(agent, rate=0.6),
    "operators x 2": lambda agent: changed(agent, cost=2.0),
    "operators x 0.4": lambda agent: changed(agent, cost=0.4),
}


def good(epoch: Epoch) -> bool:
    """Stable to the runtime and in truth: no overflow to speak of, no more asked for than the budget."""
    return epoch.stable and epoch.overflow <= 0.05 and epoch.asked_s <= 1.06 * epoch.budget_s


def settled_after(epochs: list[Epoch]) -> int:
    """Epochs before the first of two good ones in a row."""
    pairs = pairwise(epochs)
    return next((i for i, pair in enumerate(pairs) if all(good(each) for each in pair)), len(epochs))


def phases(agent: SimulatedAgent) -> dict[str, list[Epoch]]:
    """All steps, one after the other."""
    found = {}
    for name, step in STEPS.items():
        step(agent)
        found[name] = agent.run(PHASE)
    return found


def used(epochs: list[Epoch]) -> list[float]:
    """Parts of the budget."""
    return [epoch.cpu_s / epoch.budget_s for epoch in epochs]


@cache
def runs(sigma: float, policy: Policy = "adaptive") -> list[dict[str, list[Epoch]]]:
    """Runs of both workloads over all phases."""
    agents = [
        make(sigma=sigma, seed=seed, policy=policy) for make in (probes_agent, logs_agent) for seed in range(SEEDS)
    ]
    return [phases(agent) for agent in agents]


def longest_search(epochs: list[Epoch]) -> int:
    """Most epochs in a row in the state adapt."""
    return max(
        (len(list(group)) for state, group in groupby(epoch.state for epoch in epochs) if state == "adapt"), default=0
    )
