"""The search for a target table: coordinate descent from the best flat one, on the same requests throughout.

A table is scored at each load by what its latencies are worth beside the best flat table's there,

    (p99 + p999_weight * p99.9 + mean_weight * mean) / the same of the best flat table at that load

and the sum over loads, weighted by the time that the service spends at each, is made small. Lowering the tail of the
few costs the mean of all where the server is nearly full, so a bound on the mean beside the sequential one counts as
well: what lies beyond it is added a hundredfold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from analytics.errors import TooFewDataError
from analytics.tail.policies import DEFAULT_WIDTHS, Metric, Sequential, Server, TargetTable, Tpc
from analytics.tail.simulation import Requests, simulate
from analytics.tail.speedup import SpeedupProfile

GRID_MS: Final = (15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 130.0, 170.0, 220.0)
#: Requests at one load below which a p99.9 is a matter of luck.
LEAST_REQUESTS: Final = 20_000
#: Share of the requests at the beginning that find the server emptier than it will be.
WARM_UP: Final = 0.05
_SWEEPS: Final = 3
_WORTHWHILE: Final = 1e-4
_BEYOND: Final = 100.0


@dataclass(frozen=True, slots=True)
class Objective:
    """What counts.

    Attributes:
        p999_weight, mean_weight: beside the p99, which counts once.
        mean_over_sequential: from there on a longer mean is not wanted at all.
    """

    p999_weight: float = 0.5
    mean_weight: float = 1.0
    mean_over_sequential: float = 1.08


@dataclass(frozen=True, slots=True)
class FoundTable:
    """The table, what it scores (1 a load is what the best flat table for that load does), and how many were tried."""

    table: TargetTable
    score: float
    evaluations: int


def search_table(
    campaign: Mapping[float, Requests],
    server: Server,
    profile: SpeedupProfile,
    metric: Metric = "threads_and_queue",
    *,
    width: float | None = None,
    buckets: int = 7,
    grid_ms: Sequence[float] = GRID_MS,
    objective: Objective | None = None,
    weights: Mapping[float, float] | None = None,
    correct_every_ms: float = 5.0,
    larger: Mapping[float, Requests] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FoundTable:
    """The best table found, with corrections by one thread or to the largest degree, whichever does better.

    Args:
        campaign: requests by load, the same for every candidate.
        larger: more requests at the same loads, on which what was found is moved on by neighbouring targets: a table
            that was chosen among a thousand fits the luck of those requests as well. None: it stays as it is.
        weights: of loads; None: all alike.
        correct_every_ms: pause between corrections of one request.
        progress: told the number of evaluations so far; may raise to end the search.
    Raises:
        TooFewDataError: fewer requests at a load than LEAST_REQUESTS.
    Cost: some 1,000 to 3,000 evaluations, each all requests of the campaign; of the larger one some 30 to 60.
    """
    few = [load for load, requests in campaign.items() if len(requests) < LEAST_REQUESTS]
    if few or not campaign:
        seen = min((len(requests) for requests in campaign.values()), default=0)
        raise TooFewDataError(f"{seen} requests at a load to search on; want {LEAST_REQUESTS} at each")
    wanted, shares = objective or Objective(), weights or {}
    search = _Search(campaign, server, profile, wanted, shares, correct_every_ms, progress)
    chosen_width = DEFAULT_WIDTHS[metric] if width is None else width
    flat = {
        full: [TargetTable(metric, chosen_width, (target,) * buckets, full) for target in grid_ms]
        for full in (True, False)
    }
    search.refer_to([table for tables in flat.values() for table in tables])
    found = [search.descend(min(tables, key=search.score), grid_ms) for tables in flat.values()]
    best = min(found, key=lambda one: one.score)
    if larger is None:
        return replace(best, evaluations=search.evaluations)
    again = _Search(larger, server, profile, wanted, shares, correct_every_ms, progress, search.evaluations)
    again.refer_to(search.references)
    return again.descend(best.table, grid_ms, steps=1)


class _Search:
    def __init__(
        self,
        campaign: Mapping[float, Requests],
        server: Server,
        profile: SpeedupProfile,
        objective: Objective,
        weights: Mapping[float, float],
        correct_every_ms: float,
        progress: Callable[[int], None] | None,
        evaluations: int = 0,
    ) -> None:
        self._campaign, self._server, self._profile, self._objective = campaign, server, profile, objective
        self._weights = {load: weights.get(load, 1.0) for load in campaign}
        self._correct_every_ms, self._progress = correct_every_ms, progress
        self._worths: dict[TargetTable, dict[float, float]] = {}
        self._reference: dict[float, float] = dict.fromkeys(campaign, np.inf)
        self._sequential = {
            load: float(_steady(simulate(requests, server, profile, Sequential()).latencies_ms).mean())
            for load, requests in campaign.items()
        }
        self.evaluations = evaluations
        self.references: list[TargetTable] = []  # the best flat one of each load

    def refer_to(self, flat: Sequence[TargetTable]) -> None:
        """Measure others by the best of these at each load."""
        worths = {table: self._worth(table) for table in flat}
        best = {load: min(flat, key=lambda table: worths[table][load]) for load in self._campaign}
        self._reference = {load: worths[table][load] for load, table in best.items()}
        self.references = list(dict.fromkeys(best.values()))

    def score(self, table: TargetTable) -> float:
        """The weighted sum over loads."""
        worths = self._worth(table)
        return sum(self._weights[load] * worth / self._reference[load] for load, worth in worths.items())

    def descend(self, table: TargetTable, grid_ms: Sequence[float], steps: int | None = None) -> FoundTable:
        """Change one target after the other as long as that helps; by so many steps of the grid at a time."""
        score = self.score(table)
        for _ in range(_SWEEPS):
            before = score
            for bucket in range(len(table.targets_ms)):
                for target in _near(grid_ms, table.targets_ms[bucket], steps):
                    targets = (*table.targets_ms[:bucket], target, *table.targets_ms[bucket + 1 :])
                    other = replace(table, targets_ms=targets)
                    if targets != table.targets_ms and (found := self.score(other)) < score - _WORTHWHILE:
                        table, score = other, found
            if score == before:
                break
        return FoundTable(table, score, self.evaluations)

    def _worth(self, table: TargetTable) -> dict[float, float]:
        if table not in self._worths:
            self.evaluations += 1
            if self._progress is not None:
                self._progress(self.evaluations)
            self._worths[table] = {load: self._worth_at(load, table) for load in self._campaign}
        return self._worths[table]

    def _worth_at(self, load: float, table: TargetTable) -> float:
        policy = Tpc(table, correct_every_ms=self._correct_every_ms)
        latencies = _steady(simulate(self._campaign[load], self._server, self._profile, policy).latencies_ms)
        p99, p999 = np.quantile(latencies, (0.99, 0.999))
        mean, most = float(latencies.mean()), self._objective.mean_over_sequential * self._sequential[load]
        beyond = _BEYOND * max(0.0, mean - most)
        return float(p99 + self._objective.p999_weight * p999 + self._objective.mean_weight * mean + beyond)


def _near(grid_ms: Sequence[float], target: float, steps: int | None) -> Sequence[float]:
    """What may be tried instead of a target of the grid."""
    if steps is None:
        return grid_ms
    place = grid_ms.index(target)
    return grid_ms[max(0, place - steps) : place + steps + 1]


def _steady(
    latencies: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return latencies[int(WARM_UP * latencies.size) :]
