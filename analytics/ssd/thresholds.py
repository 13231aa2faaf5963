"""From which probability on an operator hears of a drive: chosen on the validation, never on the test.

`watch`: one healthy drive in a hundred may be named over the days of the validation. `replace`: of the lists of which
half or more failed, the one with the best F0.5 there; where no list is that sure, 1: the model alone sends nobody to
pull a drive. Drives are judged by their highest probability.
"""

import numpy as np

from analytics.ssd.labels import BoolArray, Int32Array
from analytics.ssd.metrics import Float64Array, best_threshold, ranking, threshold_at

#: Share of the healthy drives that may be on the list to watch.
WATCH_FALSE_POSITIVE_RATE = 0.01
#: Share of the drives on the list to replace that must have failed.
REPLACE_LEAST_PRECISION = 0.5


def thresholds(probabilities: Float64Array, positive: BoolArray, drive: Int32Array) -> tuple[float, float]:
    """(watch, replace) from the rows of a validation; both in (0, 1], watch never above replace."""
    score, failed = by_drive(probabilities, positive, drive)
    ranked = ranking(score, failed)
    watch = min(1.0, threshold_at(ranked, WATCH_FALSE_POSITIVE_RATE))
    replace = min(1.0, best_threshold(ranked, REPLACE_LEAST_PRECISION))
    return min(watch, replace), max(watch, replace)


def by_drive(score: Float64Array, positive: BoolArray, drive: Int32Array) -> tuple[Float64Array, BoolArray]:
    """Highest score of each drive, and whether any of its rows is positive; `drive` in any order of numbers."""
    order = np.argsort(drive, kind="stable")
    numbers = drive[order]
    starts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1])) if numbers.size else np.zeros(0, np.int64)
    if not starts.size:
        return np.zeros(0), np.zeros(0, bool)
    return np.maximum.reduceat(score[order], starts), np.logical_or.reduceat(positive[order], starts)
