"""All policies in all cells of the grid, and what the worst cell says: what nobody knows is varied, never chosen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from analytics.gpu.retry_advice import Limits
from analytics.gpu.retry_quality import Quality
from analytics.gpu.simulation.cluster import PolicyResult, simulate
from analytics.gpu.simulation.jobs import simulated_jobs
from analytics.gpu.simulation.parameters import GRID, ClusterParameters, World
from analytics.gpu.simulation.policies import POLICIES, Advised, PolicyName, policy

#: The sentence that goes with every figure of a simulation.
SIMULATED_NOTE: Final = (
    "simulated: jobs, failures and the cluster are made up from published tables, nothing here was measured"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One world.

    Attributes:
        results: by policy, all on the same jobs with the same luck.
        quality: of the model's probabilities, each given before its outcome was known, and of the priors'.
        failed_share_pct: GPU time of failed attempts in that of all jobs, where everything is retried.
    """

    world: World
    results: dict[PolicyName, PolicyResult]
    quality: Quality
    failed_share_pct: float

    def figures(self) -> dict[str, float]:
        """Squared error and area under the ROC curve, of the model and of the priors; NaN where nothing was retried."""
        model, prior = self.quality.model, self.quality.prior
        return {"brier": model.brier(), "prior_brier": prior.brier(), "auc": model.auc(), "prior_auc": prior.auc()}

    def saved_pct(self, against: PolicyName, of: PolicyName = "model") -> float:
        """GPU time that `of` saves of what jobs that fail take in all under another policy, in percent."""
        return 100 * (1 - self.results[of].gpu_h / self.results[against].gpu_h)

    def sooner_pct(self, against: PolicyName, of: PolicyName = "model") -> float:
        """By how many percent jobs that fail are done sooner on average, from first arrival to passing."""
        return 100 * (1 - self.results[of].mean_jct_h / self.results[against].mean_jct_h)


@dataclass(frozen=True, slots=True)
class Simulation:
    """All cells."""

    seed: int
    failing_jobs: int
    parameters: ClusterParameters
    cells: tuple[Cell, ...]

    def worst(self, against: PolicyName) -> Cell:
        """The cell in which the model saves least GPU time against a policy."""
        return min(self.cells, key=lambda cell: cell.saved_pct(against))

    def latest(self, against: PolicyName) -> Cell:
        """The cell in which jobs gain least, or lose most, time against a policy."""
        return min(self.cells, key=lambda cell: cell.sooner_pct(against))

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it; NaN becomes None."""
        others = [name for name in POLICIES if name != "model"]
        return {
            "simulated": True,
            "note": SIMULATED_NOTE,
            "seed": self.seed,
            "failing_jobs": self.failing_jobs,
            "parameters": f"sha256:{self.parameters.digest()}",
            "worst": {
                name: {
                    "saved_pct": self.worst(name).saved_pct(name),
                    "saved_in": asdict(self.worst(name).world),
                    "sooner_pct": self.latest(name).sooner_pct(name),
                    "sooner_in": asdict(self.latest(name).world),
                }
                for name in others
            },
            "cells": [
                {
                    **asdict(cell.world),
                    "failed_share_pct": cell.failed_share_pct,
                    **{name: None if math.isnan(figure) else figure for name, figure in cell.figures().items()},
                    "saved_pct": {name: cell.saved_pct(name) for name in others},
                    "sooner_pct": {name: cell.sooner_pct(name) for name in others},
                    "policies": {name: asdict(result) for name, result in cell.results.items()},
                }
                for cell in self.cells
            ],
        }


def run_grid(
    failing_jobs: int,
    seed: int,
    worlds: Sequence[World] = GRID,
    parameters: ClusterParameters | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Simulation:
    """Simulate all policies in each world.

    Guarantee: the same figures for the same arguments.
    Cost: some 5 milliseconds of CPU a failing job and 16 worlds.
    """
    own = parameters or ClusterParameters()
    cells = []
    for number, world in enumerate(worlds, 1):
        progress(f"simulating cell {number} of {len(worlds)}")
        cells.append(_cell(own, world, failing_jobs, seed))
    progress("")
    return Simulation(seed, failing_jobs, own, tuple(cells))


def _cell(parameters: ClusterParameters, world: World, failing_jobs: int, seed: int) -> Cell:
    jobs = simulated_jobs(parameters, world, failing_jobs, seed)
    # The advice knows how long jobs that are handed back take as an operator would: roughly. The ceiling of attempts
    # is that of all policies; that of GPU hours would be an advantage of its own, and is off.
    limits = Limits(attempts=parameters.attempts, gpu_hours=math.inf, handback_h=parameters.handback_h[0])
    results: dict[PolicyName, PolicyResult] = {}
    quality = Quality()
    for name in POLICIES:
        tried = policy(name, limits, seed)
        results[name] = simulate(jobs, parameters, tried)
        if isinstance(tried, Advised) and tried.learns:
            quality = tried.model.quality
    always = results["always"]
    return Cell(world, results, quality, 100 * always.failed_gpu_h / always.all_gpu_h)
