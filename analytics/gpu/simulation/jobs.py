"""Simulated jobs: those that fail, with everything that chance decides about them drawn beforehand, and all others.

What is drawn belongs to the job and to the number of its run, never to a policy: policies are compared on the same jobs
with the same luck, and differ in nothing but what they decide. Where jobs fail on nodes, and what an error's text says
of its kind beyond the reason, no publication tells: simulated jobs have neither, so that no policy can profit from it.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.gpu.simulation.parameters import ClusterParameters, World
from analytics.gpu.simulation.run_times import run_times

FloatArray = npt.NDArray[np.float64]
#: Runs of a job whose luck is drawn; the next one passes.
MOST_RUNS: Final = 24
_NORMAL: Final = NormalDist()
#: Of a failing job, drawn evenly together: run time, class of GPUs, GPUs, whether it stays, luck of runs 1 and 2.
_EVEN: Final = 6


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """One job.

    Attributes:
        name: begins with `simulated-`.
        reason: with which it fails; None for a job that never does.
        fails_after_s: run time until the failure; 0 for a job that never fails.
        needs_s: run time when it passes.
        stays: whether the cause stays until somebody mends it.
        chance: whether run k fails by chance, once nothing stays; run 0 fails in any case.
        handback_s: how long it takes until the job comes again, by how often it was handed back.
    """

    name: str
    user: str
    reason: str | None
    gpus: int
    arrival_s: float
    fails_after_s: float
    needs_s: float
    stays: bool
    chance: tuple[bool, ...]
    handback_s: tuple[float, ...]

    def run_fails(self, run: int, mended: bool) -> bool:
        """Whether its run number `run` (from 0) fails."""
        if self.reason is None or run >= MOST_RUNS:
            return False
        return run == 0 or (self.stays and not mended) or self.chance[run]

    def needed_gpu_s(self) -> float:
        """GPU time that it takes even if nothing is retried in vain."""
        return self.gpus * (self.needs_s + self.fails_after_s)


def simulated_jobs(parameters: ClusterParameters, world: World, failing: int, seed: int) -> list[SimulatedJob]:
    """Jobs in order of arrival: `failing` ones that fail at least once, and as many others as the study had beside.

    Guarantee: the same jobs for the same arguments. Between worlds only `stays`, `chance` and arrivals differ.
    """
    others = round(failing * (parameters.jobs_in_all / sum(kind.jobs for kind in parameters.kinds) - 1))
    made = _failing_jobs(parameters, world, failing, np.random.default_rng([seed, 0]))
    made += _quiet_jobs(parameters, others, np.random.default_rng([seed, 1]))
    # Arrivals are drawn in [0, 1) and stretched so that the cluster is loaded as the world says.
    span_s = math.fsum(job.needed_gpu_s() for job in made) / (parameters.gpus * world.load)
    arrivals = np.random.default_rng([seed, 2]).random(len(made)).tolist()
    placed = (replace(job, arrival_s=share * span_s) for job, share in zip(made, arrivals, strict=True))
    return sorted(placed, key=lambda job: job.arrival_s)


def _failing_jobs(
    parameters: ClusterParameters, world: World, count: int, rng: np.random.Generator
) -> list[SimulatedJob]:
    kinds = rng.permutation(_evenly([kind.jobs for kind in parameters.kinds], count))
    even = np.empty((count, _EVEN))
    fails_after = np.empty(count)
    for place, times in enumerate(run_times(parameters)):
        here = np.flatnonzero(kinds == place)
        even[here] = _points(rng, here.size, _EVEN)
        fails_after[here] = times.at(even[here, 0])
    needs = fails_after + _run_s(parameters, _points(rng, count, 1)[:, 0])
    gpus = _gpus(parameters, kinds, even[:, 1], even[:, 2])
    chance_draws = rng.random((count, MOST_RUNS))
    chance_draws[:, 1:3] = even[:, 4:6]
    user_draws = rng.random(count)
    median, spread = parameters.handback_h
    handback = 3600 * median * np.exp(spread * rng.standard_normal((count, MOST_RUNS)))
    jobs = []
    for number in range(count):
        kind = parameters.kinds[kinds[number]]
        stays, chance = world.chances(kind)
        jobs.append(
            SimulatedJob(
                name=f"simulated-{number}",
                user=f"simulated-{kind.reason or 'unknown'}-{int(user_draws[number] * kind.users)}",
                reason=kind.reason,
                gpus=int(gpus[number]),
                arrival_s=0.0,
                fails_after_s=float(fails_after[number]),
                needs_s=float(needs[number]),
                stays=bool(even[number, 3] < stays),
                chance=tuple((chance_draws[number] < chance).tolist()),
                handback_s=tuple(handback[number].tolist()),
            )
        )
    return jobs


def _quiet_jobs(parameters: ClusterParameters, count: int, rng: np.random.Generator) -> list[SimulatedJob]:
    """Jobs that never fail, of the sizes that failing ones have."""
    even = _points(rng, count, 3)
    needs = _run_s(parameters, even[:, 0])
    kinds = rng.permutation(_evenly([kind.trials for kind in parameters.kinds], count))
    gpus = _gpus(parameters, kinds, even[:, 1], even[:, 2])
    return [
        SimulatedJob(f"simulated-quiet-{number}", "", None, size, 0.0, 0.0, needs_s, False, (), ())
        for number, (size, needs_s) in enumerate(zip(gpus.tolist(), needs.tolist(), strict=True))
    ]


def _evenly(counts: list[int], jobs: int) -> npt.NDArray[np.int64]:
    """Kinds in their shares as exactly as whole jobs allow: what rare kinds do to the figures is not left to luck."""
    bounds = np.cumsum(counts) / sum(counts)
    places: npt.NDArray[np.int64] = np.searchsorted(bounds, (np.arange(jobs) + 0.5) / jobs)
    return np.minimum(places, len(counts) - 1)


def _points(rng: np.random.Generator, count: int, dimensions: int) -> FloatArray:
    """Points in [0, 1), spread evenly in all dimensions together, shifted by chance: float64[count, dimensions].

    Few long and wide jobs hold most of the GPU time; drawn independently, they would leave figures to luck.
    Source: additive recurrence with the powers of the root of x**(d+1) = x + 1 (Roberts, 2018).
    """
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1, dimensions + 1)
    found: FloatArray = (rng.random(dimensions) + np.outer(np.arange(count), steps)) % 1.0
    return found


def _run_s(parameters: ClusterParameters, levels: FloatArray) -> FloatArray:
    """Run times of jobs at levels in [0, 1): lognormal, within the length of the trace."""
    sigma = math.sqrt(2 * math.log(parameters.run_mean_s / parameters.run_median_s))
    normal = np.array([_NORMAL.inv_cdf(level) for level in levels.clip(1e-9, 1 - 1e-9).tolist()])
    found = parameters.run_median_s * np.exp(sigma * normal)
    shortened: FloatArray = np.minimum(found, parameters.longest_days * 86_400)
    return shortened


def _gpus(
    parameters: ClusterParameters, kinds: npt.NDArray[np.int64], classes: FloatArray, within: FloatArray
) -> npt.NDArray[np.int64]:
    """GPUs by the kinds' demand, at levels in [0, 1) of the class and within it."""
    found = np.empty(kinds.size, np.int64)
    for place, kind in enumerate(parameters.kinds):
        here = np.flatnonzero(kinds == place)
        edges = np.cumsum(kind.demand) / sum(kind.demand)
        chosen = np.searchsorted(edges, classes[here], side="right").clip(0, len(parameters.sizes) - 1)
        for one, sizes in enumerate(parameters.sizes):
            mine = here[chosen == one]
            found[mine] = np.array(sizes)[(within[mine] * len(sizes)).astype(np.int64)]
    return found
