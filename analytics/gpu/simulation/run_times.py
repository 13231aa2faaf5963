"""Run times to failure that have both the quantiles and the shares of the table of failures.

Between the known quantiles the logarithm of the run time rises evenly, below the median from the shortest. Above the
quantile .95 it rises to an end that nobody tells; it is chosen so that each kind has its share of all run time to
failure. All run time is taken as small as the quantiles allow: by the kind that needs no tail beyond its quantile .95.
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.gpu.simulation.parameters import ClusterParameters, FailureKind

FloatArray = npt.NDArray[np.float64]
_LEVELS: Final = (0.0, 0.5, 0.9, 0.95, 1.0)
#: Shares are rounded to .01 %: of smaller ones than this the tail would be made of rounding.
_LEAST_SHARE_PCT: Final = 1.0


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Run time to failure of one kind: seconds at the levels 0, .5, .9, .95 and 1."""

    points_s: tuple[float, float, float, float, float]

    def at(self, levels: FloatArray) -> FloatArray:
        """Seconds at levels in [0, 1]."""
        return np.exp(np.interp(levels, _LEVELS, np.log(self.points_s)))

    def mean_s(self) -> float:
        """Exact mean."""
        pieces = zip(pairwise(_LEVELS), pairwise(self.points_s), strict=True)
        return math.fsum((high - low) * _mean_between(a, b) for (low, high), (a, b) in pieces)


@cache
def run_times(parameters: ClusterParameters) -> tuple[RunTimes, ...]:
    """By kind, in the table's order."""
    shortest = [_points(kind, kind.rtf_min[2] * 60, parameters) for kind in parameters.kinds]
    total_s = max(
        (
            times.mean_s() * kind.trials / kind.rtf_share_pct * 100
            for kind, times in zip(parameters.kinds, shortest, strict=True)
            if kind.rtf_share_pct >= _LEAST_SHARE_PCT
        ),
        default=0.0,
    )
    return tuple(
        _points(kind, _end_s(kind, times, total_s, parameters), parameters)
        for kind, times in zip(parameters.kinds, shortest, strict=True)
    )


def _points(kind: FailureKind, end_s: float, parameters: ClusterParameters) -> RunTimes:
    median, ninety, ninety_five = (60 * minutes for minutes in kind.rtf_min)
    return RunTimes((median * parameters.shortest_share, median, ninety, ninety_five, end_s))


def _end_s(kind: FailureKind, shortest: RunTimes, total_s: float, parameters: ClusterParameters) -> float:
    """Where the tail must end for the kind to have its share, by bisection; within the length of the trace."""
    least, most = shortest.points_s[4], parameters.longest_days * 86_400
    wanted = kind.rtf_share_pct / 100 * total_s / kind.trials
    if kind.rtf_share_pct < _LEAST_SHARE_PCT or _points(kind, least, parameters).mean_s() >= wanted:
        return least
    for _ in range(60):
        middle = math.sqrt(least * most)
        if _points(kind, middle, parameters).mean_s() < wanted:
            least = middle
        else:
            most = middle
    return least


def _mean_between(a: float, b: float) -> float:
    """Mean of what is even in logarithm between a and b."""
    return a if b <= a * (1 + 1e-12) else (b - a) / math.log(b / a)
