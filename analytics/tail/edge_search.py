"""Where one class of work ends and the next begins: between predictions beyond which more threads help otherwise.

Predictions are cut into many strata, finer towards the tail. In a class of neighbouring strata, the logarithm of
effective time beside prediction is taken to be a level of the stratum and an effect of the degree, the same for the
whole class; the classes that leave least unexplained are chosen, and more of them only where they explain more than
chance would.
"""

from itertools import combinations, pairwise
from typing import Final

import numpy as np

from analytics.tail.simulation import Int32Array
from analytics.tail.speedup import Float64Array, Int64Array

_MOST_CLASSES: Final = 3
# The upper half of predictions is cut at 1 - 2 ** (-k / 4): a stratum holds a sixth of what lies above its beginning.
_STRATA: Final = 36
_IN_A_STRATUM: Final = 50
# Farther from the middle of its stratum than this many spreads, a prediction was of something else.
_OUTLIER: Final = 2.5


def found_edges(ratios: Float64Array, predictions_ms: Float64Array, degrees: Int32Array) -> tuple[float, ...]:
    """Edges in milliseconds, rounded to two digits; none where requests do not tell more than one class.

    Args:
        ratios: float64[n], logarithms of effective time beside prediction, n above 0. predictions_ms: float64[n].
        degrees: int32[n], from 1 on.
    Cost: O(n log n) and a thousand small least squares.
    """
    levels = 1 - 2.0 ** (-np.arange(4, 4 + _STRATA) / 4)
    levels = levels[(1 - levels) * ratios.size >= _IN_A_STRATUM]
    cuts = np.unique([float(f"{cut:.2g}") for cut in np.quantile(predictions_ms, levels)])
    stratum = np.searchsorted(cuts, predictions_ms, side="right")
    many, means, spread = _by_stratum(ratios, stratum, degrees.astype(np.int64) - 1)
    strata = many.shape[0]
    if strata < 2 or not _told(many):
        return ()
    unexplained = {
        (first, last): _unexplained(many[first:last], means[first:last])
        for first, last in combinations(range(strata + 1), 2)
    }
    # Each class more has an effect for each degree more, which must explain more than noise of so many requests does.
    price = spread * (np.count_nonzero(many.sum(axis=0)) - 1) * np.log(max(float(_told(many)), 2.0))
    best, chosen = np.inf, tuple[int, ...]()
    for count in range(_MOST_CLASSES):
        for inner in combinations(range(1, strata), count):
            bounds = (0, *inner, strata)
            cost = count * price + sum(unexplained[pair] for pair in pairwise(bounds))
            if cost < best - 1e-9:
                best, chosen = cost, inner
    return tuple(float(cuts[place - 1]) for place in chosen)


def _told(many: Float64Array) -> float:
    """Requests that tell degrees of a stratum apart: all but those on its usual degree."""
    return float(many.sum() - many.max(axis=1).sum())


def _by_stratum(
    ratios: Float64Array, stratum: Int64Array, degree: Int64Array
) -> tuple[Float64Array, Float64Array, float]:
    """Requests and mean by stratum and degree, outliers drawn in; the variance within."""
    strata, degrees = int(stratum.max()) + 1, int(degree.max()) + 1
    order = np.argsort(stratum, kind="stable")
    parts = np.split(ratios[order], np.cumsum(np.bincount(stratum, minlength=strata))[:-1])
    middles = np.array([np.median(part) if part.size else 0.0 for part in parts])
    apart = ratios - middles[stratum]
    limit = _OUTLIER * 1.4826 * float(np.median(np.abs(apart))) + np.log(degrees + 1)
    apart = np.clip(apart, -limit, limit)
    cell = stratum * degrees + degree
    many = np.bincount(cell, minlength=strata * degrees).astype(np.float64)
    sums = np.bincount(cell, weights=apart, minlength=strata * degrees)
    means = np.divide(sums, many, out=np.zeros_like(sums), where=many > 0)
    spread = float(np.mean((apart - means[cell]) ** 2))
    means += np.repeat(middles, degrees)
    return many.reshape(strata, degrees), means.reshape(strata, degrees), spread


def _unexplained(many: Float64Array, means: Float64Array) -> float:
    """What a level for each stratum and one effect for each degree leave of these strata: a sum of squares."""
    total = many.sum(axis=1, keepdims=True)
    if not total.any():
        return 0.0
    # Levels of strata are taken out by hand, which leaves equations for the effects of degrees only.
    share = np.divide(many, total, out=np.zeros_like(many), where=total > 0)
    centred = means - (share * means).sum(axis=1, keepdims=True)
    matrix = np.diag(many.sum(axis=0)) - many.T @ share
    right = (many * centred).sum(axis=0)
    effects = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return float((many * centred**2).sum() - right @ effects)
