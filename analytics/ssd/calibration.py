"""From a booster's margin to a probability that can be believed: of drives said to fail with 5 %, 5 % do.

Fitted on rows later than the training, or of drives that it left out (splits.py). Many failed drives: isotonic
regression, whatever the shape. Few: Platt's sigmoid, since steps made of a handful of drives are noise. Either is kept
as knots and applied by linear interpolation, so a model file holds no code and every reader computes the same.

Knots of the isotonic fit stand in the middle of its steps, not at their ends: what lies between is then told apart, and
a list sorted by probability has no long ties. The outermost steps are tilted a little for the same reason.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from analytics.errors import TooFewDataError
from analytics.ssd.labels import BoolArray
from analytics.ssd.metrics import Float64Array

#: Failed drives from which on the isotonic fit is taken.
ISOTONIC_FROM = 100
#: Failed drives below which there is nothing to calibrate on.
LEAST_FAILED = 3
#: By how much of its value the outermost steps rise.
_TILT = 0.05
_GRID = 257


@dataclass(frozen=True, slots=True)
class Calibration:
    """Knots: margins that rise strictly, probabilities in (0, 1) that never fall; float64[knots] each."""

    margins: Float64Array
    values: Float64Array
    method: Literal["isotonic", "platt"]

    def probabilities(self, margins: np.typing.NDArray[np.floating]) -> Float64Array:
        """Calibrated probabilities of margins; beyond the outermost knots theirs."""
        return np.asarray(np.interp(margins, self.margins, self.values), np.float64)


def calibrate(margins: Float64Array, positive: BoolArray, failed_drives: int) -> Calibration:
    """Fit a calibration.

    Args:
        margins: float64[rows], log-odds from the booster, of rows it was not trained on.
        failed_drives: how many drives the positive rows are of.
    Raises:
        TooFewDataError: fewer than three failed drives.
    """
    if failed_drives < LEAST_FAILED:
        raise TooFewDataError(
            f"{failed_drives} failed drives in the validation ({margins.size} rows); calibration needs {LEAST_FAILED}"
        )
    if failed_drives < ISOTONIC_FROM:
        return _platt(margins, positive)
    return _isotonic(margins, positive)


def _platt(margins: Float64Array, positive: BoolArray) -> Calibration:
    slope, offset = sigmoid(margins, positive)
    low, high = float(margins.min()), float(margins.max())
    grid = np.linspace(low - 1.0, high + 1.0, _GRID)
    values = 1.0 / (1.0 + np.exp(-(slope * grid + offset)))
    return Calibration(grid, np.clip(values, 1e-9, 1 - 1e-9), "platt")


def sigmoid(margins: Float64Array, positive: BoolArray) -> tuple[float, float]:
    """Slope and offset in log-odds of the likeliest sigmoid, by Newton's method; the slope is never below 0.01.

    Targets are Platt's: a little inside 0 and 1, so that a perfect separation has an answer.
    """
    positives = float(positive.sum())
    negatives = positive.size - positives
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, offset = 1.0, float(np.log((positives + 0.5) / (negatives + 0.5)) - np.log(np.exp(margins).mean() + 1e-300))
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(slope * margins + offset, -500, 500)))
        residual, weight = p - target, p * (1 - p)
        gradient = np.array([(residual * margins).sum(), residual.sum()])
        cross = (weight * margins).sum()
        hessian = np.array([[(weight * margins**2).sum() + 1e-9, cross], [cross, weight.sum() + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 2.0 / max(1e-300, float(np.abs(step).max())))  # far from the answer Newton overshoots
        slope, offset = slope - float(step[0]), offset - float(step[1])
        if np.abs(step).max() < 1e-10:
            break
    if slope >= 0.01:
        return slope, offset
    # No order at all, or the wrong way round: the base rate for everybody.
    return 0.01, float(np.log((positives + 0.5) / (negatives + 0.5))) - 0.01 * float(margins.mean())


def _isotonic(margins: Float64Array, positive: BoolArray) -> Calibration:
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 -- of the extra `analytics`

    # Boosters tell float32; between closer margins the regression's lines are too steep to have a number.
    margins = margins.astype(np.float32).astype(np.float64)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(margins, positive.astype(np.float64))
    order = np.argsort(margins, kind="stable")
    x, y = margins[order], fitted[order]
    starts = np.flatnonzero(np.append(True, y[1:] != y[:-1]))
    ends = np.append(starts[1:], y.size) - 1
    middles = (x[starts] + x[ends]) / 2
    # The lowest step often holds no failure at all; nobody is sure of that: half a failure in all its rows.
    levels = np.maximum(y[starts], 0.5 / (ends[0] + 1))
    levels = np.maximum.accumulate(levels)
    inner_x = np.concatenate(([x[starts[0]]], middles[1:-1], [x[ends[-1]]])) if starts.size > 1 else x[[0, -1]]
    if starts.size > 1:
        knots_x = np.concatenate(([inner_x[0]], [middles[0]], middles[1:-1], [middles[-1]], [inner_x[-1]]))
        knots_y = np.concatenate(([levels[0] * (1 - _TILT)], levels, [levels[-1] * (1 + _TILT)]))
    else:
        knots_x, knots_y = inner_x, levels[0] * np.array([1 - _TILT, 1 + _TILT])
    rising = np.append(True, np.diff(knots_x) > 0)
    return Calibration(knots_x[rising], np.clip(np.maximum.accumulate(knots_y[rising]), 1e-9, 1 - 1e-9), "isotonic")
