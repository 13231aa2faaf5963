"""How sure a figure is: the bootstrap over drives.

The rows of one drive are nearly copies of each other, so rows must never be drawn one by one: intervals would come out
many times too narrow. Whole drives are drawn with replacement, and all their rows with them. The drives of each draw
are the same for everything that is computed from it, so differences of two rankings are compared pairwise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analytics.ssd.metrics import Float64Array

#: What an interval holds, if nothing else is said: the bound below is exceeded with 95 %.
LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its interval. `low` and `high` are NaN where no draw gave a number."""

    value: float
    low: float
    high: float
    level: float = LEVEL

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


def bootstrap(
    drive: npt.NDArray[np.int32],
    figures: Callable[[Float64Array | None], Float64Array],
    *,
    draws: int = 200,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Figure]:
    """Figures of all rows, with percentile intervals.

    Args:
        drive: int32[rows], which drive each row is of, from 0 up without gaps.
        figures: takes weights float64[rows], None for all alike, and gives float64[k].
    Cost: draws + 1 calls. Guarantee: the same seed gives the same intervals.
    """
    drives = int(drive.max()) + 1 if drive.size else 0
    values = figures(None)
    if not drives or draws < 1:
        return [Figure(float(value), float("nan"), float("nan"), level) for value in values]
    rng = np.random.default_rng(seed)
    drawn = np.empty((draws, values.size))
    for i in range(draws):
        times = np.bincount(rng.integers(0, drives, drives), minlength=drives).astype(np.float64)
        drawn[i] = figures(times[drive])
    return [intervals_of(float(value), drawn[:, k], level) for k, value in enumerate(values)]


def intervals_of(value: float, drawn: Float64Array, level: float) -> Figure:
    """A figure whose bootstrap draws are given; draws that are NaN had no failed drive in them and do not count."""
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return Figure(value, float("nan"), float("nan"), level)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Figure(value, float(low), float(high), level)
