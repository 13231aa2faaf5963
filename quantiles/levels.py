"""Quantile levels: the check of a level and the one rank rule, nearest rank r = max(1, ceil(q * n))."""

import numpy as np
import numpy.typing as npt

from quantiles.array_types import FloatArray, IntArray
from quantiles.errors import LevelError

# q is rounded once when it is written down and q * n once more, each by at most 2**-53 of itself. A product this near
# to an integer is that integer: ceil(0.07 * 100) must be 7, though the float product is 7.000000000000001.
RANK_TOLERANCE = 4 * 2.0**-53


def as_levels(levels: npt.ArrayLike) -> FloatArray:
    """Levels as float64[m].

    Raises:
        LevelError: a level is NaN or outside [0, 1].
    """
    try:
        array = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise LevelError(f"levels are {levels!r}, wanted numbers from 0 to 1") from error
    if array.ndim != 1:
        raise LevelError(f"levels have {array.ndim} dimensions, wanted a flat list of numbers from 0 to 1")
    wrong = ~((array >= 0) & (array <= 1))
    if wrong.any():
        level = float(array[np.argmax(wrong)])
        hint = f"; did you mean {level / 100:.15g}?" if 1 < level <= 100 else ""
        raise LevelError(f"level is {level:.15g}, wanted a number from 0 to 1{hint}")
    return array


def nearest_ranks(levels: FloatArray, totals: IntArray) -> IntArray:
    """Rank of each level among each total, int64[len(totals), len(levels)], in 1..total (1 where the total is 0)."""
    product = totals[:, None].astype(np.float64) * levels[None, :]
    nearest = np.rint(product)
    whole = np.abs(product - nearest) <= RANK_TOLERANCE * product
    ranks = np.where(whole, nearest, np.ceil(product)).astype(np.int64)
    return np.clip(ranks, 1, np.maximum(totals, 1)[:, None])
