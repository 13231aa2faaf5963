"""Makes the table of docs/concepts/shares.md, "How soon it settles": `python -m tests.agents.settling_table [runs]`.

Phases as in runtime_phases.py, PHASE epochs each, over more runs than a test has time for.
"""

import sys
from itertools import pairwise
from statistics import mean

from agents.cost_model import least_bytes, predicted, shares_of
from tests.agents.runtime_phases import PHASE, STEPS, logs_agent, probes_agent, settled_after, used
from tests.agents.simulated_agent import Epoch, SimulatedAgent

GROUPS = {
    "start": ("start",),
    "budget": ("budget 0.9", "budget 0.3", "budget 0.6"),
    "rate": ("rate x 1.5", "rate x 0.6"),
    "operators cost 2x": ("operators x 2",),
    "cheaper": ("operators x 0.4",),
}
MAKERS = {"probes": probes_agent, "logs": logs_agent}


def main(runs: int) -> None:
    """Prints the rows, then what the settled epochs took and shipped."""
    print("| query, sigma | all | " + " | ".join(GROUPS) + " |")
    print("|---|---|" + "---|" * len(GROUPS))
    for noise in ({}, {"epoch_noise": 0.03, "rate_noise": 0.04}, {"epoch_noise": 0.07, "rate_noise": 0.04}):
        worst, moves, ratios = 0.0, [], []
        for name, make in MAKERS.items():
            for sigma in (0.0, 0.1, 0.3, 0.5) if not noise else (0.1,):
                epochs: dict[str, list[int]] = {step: [] for step in STEPS}
                for seed in range(runs):
                    agent = make(sigma=sigma, seed=seed, **noise)
                    for step, change in STEPS.items():
                        change(agent)
                        phase = agent.run(PHASE)
                        epochs[step].append(settled_after(phase))
                        settled = phase[settled_after(phase) :]
                        parts = used(settled)
                        worst = max([worst, *(mean(parts[i : i + 10]) for i in range(len(parts) - 9))])
                        ratios.append(mean(epoch.wire_bytes for epoch in phase[-10:]) / least_of(agent))
                        moves += moves_of(settled[5:])
                cells = [of(epochs, STEPS)] + [of(epochs, group) for group in GROUPS.values()]
                print(f"| {name}, {sigma:g} | " + " | ".join(cells) + " |", flush=True)
        told = (
            f"{noise}: most CPU of ten settled epochs {worst:.3f}; bytes of least, median {quantile(ratios, 0.5):.2f}, "
        )
        told += f"p95 {quantile(ratios, 0.95):.2f}; moves of settled shares, p95 {quantile(moves, 0.95):.3f}, "
        print(told + f"above 0.02: {100 * mean(move > 0.02 for move in moves):.1f} %", flush=True)


def of(epochs: dict[str, list[int]], steps: object) -> str:
    """Median and 95th percentile of the steps."""
    found = [count for step in steps for count in epochs[step]]  # type: ignore[attr-defined]
    return f"{quantile(found, 0.5):g} / {quantile(found, 0.95):g}"


def quantile(values: list[float] | list[int], q: float) -> float:
    """Nearest rank."""
    return sorted(values)[max(0, -(-int(q * len(values) * 1000) // 1000) - 1)]


def least_of(agent: SimulatedAgent) -> float:
    """Wire bytes per epoch that the true costs allow."""
    best = least_bytes(agent.truth, 0.985 * agent.budget_s - agent.fixed_s)
    return sum(predicted(agent.truth[version], shares_of(kept)).wire_bytes for version, kept in best.items())


def moves_of(epochs: list[Epoch]) -> list[float]:
    """By how much any share changed from each epoch to the next."""
    return [
        max(abs(a - b) for v in one.shares for a, b in zip(one.shares[v], after.shares[v], strict=True))
        for one, after in pairwise(epochs)
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
