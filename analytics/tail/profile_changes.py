"""Whether speed-ups have changed since they were learned: profiles beside each other, with their intervals."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.tail.learning import LearnedProfile
from analytics.tail.speedup import Float64Array, SpeedupProfile

#: Of the logarithm of a speed-up.
LEAST_CHANGE: Final = 0.15
# Works that two profiles put into one class each, when their classes end nearly alike: too few requests to tell.
_LEAST_WIDTH: Final = 1.25
_NORMAL_95: Final = 1.959964


@dataclass(frozen=True, slots=True)
class SpeedupChange:
    """How fast requests around `work_ms` are on `degree` threads, as used and as learned since."""

    work_ms: float
    degree: int
    used: float
    learned: float


def largest_change(used: LearnedProfile, learned: LearnedProfile) -> SpeedupChange | None:
    """The speed-up that changed most, if by more than 0.15 in its logarithm with a 95 % interval that excludes 0.

    Only cells count that both know from requests of their own. Classes may have other edges: works are compared.
    """
    found: list[tuple[float, SpeedupChange]] = []
    degrees = min(used.profile.max_degree, learned.profile.max_degree)
    for work_ms in _works(used.profile, learned.profile):
        rows = [int(one.profile.classes(np.array([work_ms]))[0]) for one in (used, learned)]
        for place in range(1, degrees):
            cells = [(one, row, place) for one, row in zip((used, learned), rows, strict=True)]
            if any(one.extrapolated[row, place] for one, row, place in cells):
                continue
            values = [float(one.profile.table[row, place]) for one, row, place in cells]
            change = abs(np.log(values[1] / values[0]))
            errors = [_error(*cell) for cell in cells]
            if change > max(LEAST_CHANGE, _NORMAL_95 * float(np.hypot(errors[0], errors[1]))):
                found.append((change, SpeedupChange(work_ms, place + 1, *values)))
    return max(found, key=lambda each: each[0])[1] if found else None


def _works(one: SpeedupProfile, other: SpeedupProfile) -> Float64Array:
    """A work of each stretch that both profiles take for one class, ascending."""
    edges = np.unique((*one.edges_ms, *other.edges_ms))
    if not edges.size:
        return np.ones(1)
    bounds = np.concatenate(([edges[0] / 2], edges, [edges[-1] * 2]))
    wide = bounds[1:] / bounds[:-1] >= _LEAST_WIDTH
    return np.asarray(np.sqrt(bounds[1:] * bounds[:-1])[wide])


def _error(one: LearnedProfile, row: int, place: int) -> float:
    """Standard error of a logarithm, of its 95 % interval; infinite where that has no end."""
    low, high = one.low[row, place], one.high[row, place]
    return float(np.log(high / low) / (2 * _NORMAL_95)) if 0 < low <= high < np.inf else np.inf
