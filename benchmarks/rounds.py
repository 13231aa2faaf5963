"""Interleaved rounds: candidates take turns, so that what disturbs the machine disturbs all of them alike.

Time is CPU time of this process, all threads. Each round runs every candidate once, the order rotates from round to
round, the garbage collector is off inside a measured call. A ratio is taken inside each round, where both sides saw the
same machine, and only then the median of the ratios.
"""

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import process_time
from typing import Any

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave: the median and the two ends."""

    median: float
    lowest: float
    highest: float

    @staticmethod
    def of(numbers: Sequence[float]) -> "Spread":
        """The spread of at least one number."""
        return Spread(median(numbers), min(numbers), max(numbers))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One competitor: `run` is timed and gets what `prepare` made, which is not.

    per_run: how much work one run does, such as values added; rates and ratios are in this unit.
    """

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None
    per_run: float = 1.0


@dataclass(slots=True)
class Rounds:
    """Seconds per unit of work of each candidate, one number per round; a candidate that raised is in `failed`."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def time_s(self, name: str) -> Spread:
        """CPU seconds per unit of work."""
        return Spread.of(self.seconds[name])

    def rate(self, name: str) -> Spread:
        """Units of work per CPU second."""
        return Spread.of([1 / s for s in self.seconds[name]])

    def speedup(self, name: str, over: str) -> Spread:
        """How many times faster `name` is than `over`: the ratios of the rounds."""
        pairs = zip(self.seconds[name], self.seconds[over], strict=True)
        return Spread.of([theirs / mine for mine, theirs in pairs])


def interleaved(
    candidates: Mapping[str, Candidate], rounds: int, least_s: float = 0.0, clock: Clock = process_time
) -> Rounds:
    """Runs every candidate once to warm up and then once per round.

    Args:
        least_s: a candidate whose run is shorter is repeated inside its turn until about this long, on one prepared
            state; 0 never repeats.
    """
    result = Rounds({name: [] for name in candidates})
    repeats = {name: _warmed_up(name, one, least_s, clock, result) for name, one in candidates.items()}
    names = list(candidates)
    for turn in range(rounds):
        gc.collect()
        start = turn % len(names) if names else 0
        for name in names[start:] + names[:start]:
            if name not in result.failed:
                spent = _measured(name, candidates[name], repeats[name], clock, result)
                result.seconds[name].append(spent / candidates[name].per_run)
    for name in result.failed:
        result.seconds.pop(name)
    return result


def _warmed_up(name: str, candidate: Candidate, least_s: float, clock: Clock, result: Rounds) -> int:
    """Compiles, fills caches, and finds how often a short run is repeated."""
    spent = _measured(name, candidate, 1, clock, result)
    if least_s <= 0 or name in result.failed:
        return 1
    if spent < least_s:  # the first run may have compiled; ask a second one
        spent = _measured(name, candidate, 1, clock, result)
    return max(1, math.ceil(least_s / max(spent, 1e-7)))


def _measured(name: str, candidate: Candidate, repeat: int, clock: Clock, result: Rounds) -> float:
    """CPU seconds of one run; a candidate that raises is out, and the others go on."""
    was_on = gc.isenabled()
    try:
        state = candidate.prepare()
        gc.disable()
        before = clock()
        for _ in range(repeat):
            candidate.run(state)
        return max(clock() - before, 1e-9) / repeat
    except Exception as error:  # noqa: BLE001  # a peer's fault is a result to show, not a reason to stop
        result.failed[name] = f"{type(error).__name__}: {error}"
        return math.nan
    finally:
        if was_on:
            gc.enable()
