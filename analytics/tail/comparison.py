"""Policies beside each other: mean and tail by load, with intervals over independent runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from analytics.errors import DataError
from analytics.tail.policies import Policy, Server
from analytics.tail.simulation import Requests, Run, simulate
from analytics.tail.speedup import SpeedupProfile
from analytics.tail.table_search import WARM_UP

QUANTILES: Final = (0.5, 0.95, 0.99, 0.999, 0.9999)
#: With fewer requests beyond a quantile than this it is not told.
LEAST_BEYOND: Final = 10


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over runs and its 95 % interval (Student's t); without a second run there is none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PolicyAtLoad:
    """What a policy did at a load.

    Attributes:
        mean_ms: of the latency. quantiles_ms: by quantile, only those that enough requests lie beyond.
        corrected: share of requests that got more threads while they ran.
        utilization: of the hardware threads.
        collapsed: the queue grew without end in some run, so latencies say only how long the run was.
    """

    policy: str
    load: float
    mean_ms: Figure
    quantiles_ms: Mapping[float, Figure]
    corrected: Figure
    utilization: Figure
    collapsed: bool


def compare(
    campaigns: Sequence[Mapping[float, Requests]],
    policies: Sequence[Policy],
    server: Server,
    profile: SpeedupProfile,
    *,
    fan_out: int = 1,
    progress: Callable[[str, float], None] | None = None,
) -> list[PolicyAtLoad]:
    """Every policy at every load, in the order given.

    Args:
        campaigns: independent draws of requests, each by load; the same loads in all.
        fan_out: quantiles of the slowest of so many servers that are alike and independent of each other.
    Raises:
        DataError: no campaign, loads that differ, or a fan-out below 1.
    """
    if not campaigns or any(list(one) != list(campaigns[0]) for one in campaigns):
        raise DataError("campaigns are none, or of different loads; want one or more with the same loads")
    if fan_out < 1:
        raise DataError(f"a fan-out of {fan_out}; want 1 or more servers")
    found = []
    for policy in policies:
        for load in campaigns[0]:
            if progress is not None:
                progress(policy.name, load)
            runs = [simulate(campaign[load], server, profile, policy) for campaign in campaigns]
            found.append(_at_load(policy.name, load, runs, fan_out))
    return found


def quantiles_of(
    latencies_ms: np.ndarray[tuple[int, ...], np.dtype[np.float64]], fan_out: int = 1
) -> dict[float, float]:
    """The quantiles that enough values lie beyond; with a fan-out, those of the largest of so many draws."""
    at = {q: q ** (1.0 / fan_out) for q in QUANTILES}
    known = {q: p for q, p in at.items() if (1.0 - p) * latencies_ms.size >= LEAST_BEYOND}
    return dict(zip(known, np.quantile(latencies_ms, list(known.values())).tolist(), strict=True)) if known else {}


def least_requests(quantile: float, fan_out: int) -> int:
    """Requests in a run from which on the quantile of the slowest of so many servers is told."""
    steady = LEAST_BEYOND / (1.0 - math.pow(quantile, 1.0 / fan_out))
    return math.ceil(steady / (1.0 - WARM_UP)) + 1


def _at_load(name: str, load: float, runs: Sequence[Run], fan_out: int) -> PolicyAtLoad:
    steady = [run.latencies_ms[int(WARM_UP * run.latencies_ms.size) :] for run in runs]
    quantiles = [quantiles_of(latencies, fan_out) for latencies in steady]
    return PolicyAtLoad(
        name,
        load,
        _figure([float(latencies.mean()) for latencies in steady]),
        {q: _figure([one[q] for one in quantiles]) for q in QUANTILES if all(q in one for one in quantiles)},
        _figure([run.corrected / len(run.requests) for run in runs]),
        _figure([run.utilization for run in runs]),
        any(run.collapsed for run in runs),
    )


def _figure(values: Sequence[float]) -> Figure:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Figure(mean, None, None)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Figure(mean, mean - half, mean + half)
