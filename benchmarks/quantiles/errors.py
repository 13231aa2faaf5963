"""How far answers are from the exact ones: relative value error in per cent, at the nearest rank or one beside it."""

from collections.abc import Sequence
from math import ceil

import numpy as np

from quantiles.array_types import FloatArray, IntArray

MILLION = 1_000_000


def nearest_ranks(n: int, millionths: Sequence[int]) -> IntArray:
    """max(1, ceil(q * n)) of n values, in whole numbers: the levels are given in millionths."""
    return np.array([max(1, -(-level * n // MILLION)) for level in millionths])


def errors_pct(
    ordered: FloatArray, levels: Sequence[float], answers: Sequence[float | None], beside: int = 0
) -> list[float]:
    """|answer - x| / |x| in per cent for every level; infinite where there is no answer.

    beside: so many ranks either side of the nearest one may be meant, and the value closest to the answer counts.
        Libraries round ranks each in its own way, which is no error of their sketch: 1 forgives that.
    """
    ranks = nearest_ranks(len(ordered), [round(q * MILLION) for q in levels])
    given = np.array([np.nan if a is None else a for a in answers], np.float64)
    found = np.full(len(levels), np.inf)
    for shift in range(-beside, beside + 1):
        truth = ordered[np.clip(ranks + shift, 1, len(ordered)) - 1]
        found = np.fmin(found, 100 * np.abs(given - truth) / np.abs(truth))
    return [float(x) for x in found]


def dense_levels(steps: int) -> list[int]:
    """0 to 1 in equal steps, and both ends finer and finer: millionths, ascending."""
    inner = {ceil(i * MILLION / steps) for i in range(steps + 1)}
    ends = {1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000}
    return sorted(inner | ends | {MILLION - level for level in ends})
