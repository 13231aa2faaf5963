"""Questions in turns: each candidate answers once a round, by the wall clock, and the order rotates.

Whoever needs longer than a second leaves after three rounds: the others' tails need many rounds, and nobody's median
changes much by more.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from benchmarks.api.serving import Connection

_SLOW_S = 1.0
_SLOW_ROUNDS = 3


@dataclass(slots=True)
class Times:
    """What one candidate took, in milliseconds, and the last p99 that it answered."""

    ms: list[float] = field(default_factory=list)
    answer: float = float("nan")

    @property
    def p50(self) -> float:
        """The median."""
        return median(self.ms)

    @property
    def p99(self) -> float:
        """At the nearest rank; of few rounds it is the slowest."""
        return sorted(self.ms)[max(0, -(-99 * len(self.ms) // 100) - 1)]


def in_turns(
    candidates: Mapping[str, Callable[[], float]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Times]:
    """Once each to warm up, then `rounds` times in turns."""
    found = {name: Times() for name in candidates}
    for ask in candidates.values():
        ask()
    names = list(candidates)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times = found[name]
            if len(times.ms) >= _SLOW_ROUNDS and times.p50 > _SLOW_S * 1e3:
                continue
            begun = clock()
            times.answer = candidates[name]()
            times.ms.append((clock() - begun) * 1e3)
    return found


def asking(connection: Connection, path: str) -> Callable[[], float]:
    """Asks the API, and gives the first value of the first group."""

    def ask() -> float:
        (group,) = json.loads(connection.get(path))["groups"]
        return float(group["values"][0]["value"])

    return ask


def path_of(metric: str, start_s: int, end_s: int, more: str = "") -> str:
    """A question for p99."""
    return f"/api/v1/quantiles?metric={metric}&q=0.99&start={start_s}&end={end_s}{more}"
