"""The table of policies by load for one workload: what `tailwatch tail simulate` shows.

The target table is searched on requests of its own, with its own seed; what is shown was measured on others, the same
for every policy. All of it is simulated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from analytics.errors import DataError, TooFewDataError
from analytics.tail.comparison import PolicyAtLoad, compare, least_requests
from analytics.tail.policies import Metric, Server, Tpc
from analytics.tail.simulation import Requests
from analytics.tail.speedup import Float64Array
from analytics.tail.table_search import FoundTable, search_table
from analytics.tail.time_scale import WEB_SCALE, TimeScale
from analytics.tail.workloads import ModelledPredictor, arrivals, bing_like, resampled

#: Everything but TPC and its variants, as they are for web search.
BASELINES: Final = WEB_SCALE.baselines
SEARCH_SEED: Final = 11
REFINE_SEED: Final = 12
# Requests at each load that a thousand tables are tried on; and those that the found one is moved on by.
_SEARCH_REQUESTS: Final = 100_000
_REFINE_REQUESTS: Final = 400_000
_PREDICTOR: Final = ModelledPredictor()


@dataclass(frozen=True, slots=True)
class Workload:
    """What is simulated.

    Attributes:
        name: as answers show it.
        measured_ms: service times to resample; None: the synthetic web search.
        predictor: of their times; its errors are modelled.
        cv2: squared variation of the gaps between arrivals, 1: Poisson.
        scale: classes of its work, and what policies and targets go with it.
    """

    name: str
    measured_ms: Float64Array | None = None
    predictor: ModelledPredictor = _PREDICTOR
    cv2: float = 1.0
    scale: TimeScale = WEB_SCALE

    def campaign(self, loads: Sequence[float], n: int, threads: int, seed: int) -> dict[float, Requests]:
        """Requests for each load: the same work, other times of arrival."""
        rng = np.random.default_rng([seed, 0])
        works = bing_like(n, rng) if self.measured_ms is None else resampled(self.measured_ms, n, rng)
        predictions = self.predictor.predict(works, rng)
        mean_ms = float(works.mean())
        return {
            load: Requests(
                arrivals(n, mean_ms / (load * threads), np.random.default_rng([seed, 1]), self.cv2), works, predictions
            )
            for load in loads
        }


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """Rows by policy, then by load; and the target table that TPC used."""

    workload: str
    rows: tuple[PolicyAtLoad, ...]
    found: FoundTable
    metric: Metric
    requests: int
    seeds: int
    fan_out: int
    scale: TimeScale = WEB_SCALE

    def row(self, policy: str, load: float) -> PolicyAtLoad:
        """What a policy did at a load."""
        return next(row for row in self.rows if row.policy == policy and row.load == load)


def policy_table(
    workload: Workload,
    loads: Sequence[float],
    server: Server,
    *,
    requests: int = 200_000,
    seeds: int = 4,
    first_seed: int = 22,
    fan_out: int = 1,
    metric: Metric = "threads_and_queue",
    progress: Callable[[str], None] | None = None,
) -> PolicyTable:
    """Search a target table and run all policies.

    Raises:
        DataError: no loads, loads that are none, or settings that do not fit together.
        TooFewDataError: too few requests to search on, or for a median at such a fan-out.
    """
    if not loads or not all(0 < load < 1.5 for load in loads) or len(set(loads)) != len(loads):
        raise DataError(f"loads {tuple(loads)}; want different shares of the hardware threads, above 0 and below 1.5")
    if fan_out > 1 and requests < (least := least_requests(0.5, fan_out)):
        raise TooFewDataError(
            f"{requests} requests in a run; the slowest of {fan_out} servers needs {least} to show its median: "
            "simulate more, or ask for fewer servers"
        )
    say = progress or (lambda _: None)
    stable = [load for load in loads if load < 1] or list(loads)
    campaign = workload.campaign(stable, min(requests, _SEARCH_REQUESTS), server.threads, SEARCH_SEED)
    many = min(requests, _REFINE_REQUESTS)
    larger = workload.campaign(stable, many, server.threads, REFINE_SEED) if many > _SEARCH_REQUESTS else None
    scale = workload.scale
    found = search_table(
        campaign, server, scale.profile, metric, grid_ms=scale.grid_ms, correct_every_ms=scale.correct_every_ms,
        larger=larger, progress=lambda n: say(f"searching targets: {n} tables tried"),
    )  # fmt: skip
    best = Tpc(found.table, correct_every_ms=scale.correct_every_ms)
    policies = (*scale.baselines, best, replace(best, correction=False), replace(best, prediction=False))
    usable = [policy for policy in policies if getattr(policy, "degree", 1) <= server.max_degree]
    campaigns = [workload.campaign(loads, requests, server.threads, first_seed + run) for run in range(seeds)]
    rows = compare(
        campaigns, usable, server, scale.profile, fan_out=fan_out,
        progress=lambda policy, load: say(f"simulating {policy} at load {load:g}"),
    )  # fmt: skip
    return PolicyTable(workload.name, tuple(rows), found, metric, requests, seeds, fan_out, scale)
