"""How good a ranking of drives is: figures over scores and labels, each row with a weight.

Failures are rare, so the area under the ROC curve says little; what counts is what stands at the top of the list. The
weights are what a bootstrap needs: a drive that is drawn twice weighs 2 (intervals.py). A `Ranking` sorts once and then
answers for any weights in one pass. Rows of equal score are on one step: no threshold can part them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analytics.ssd.labels import BoolArray

Float64Array = npt.NDArray[np.float64]

#: Precision counts twice as much as recall: a false alarm costs a drive and a walk, a missed one has RAID behind it.
F_BETA = 0.5


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows by falling score.

    Attributes:
        order: int64[rows], the rows as they were given. positive: bool[rows], in this order.
        step_ends: int64[steps], last place of each run of equal scores. scores: float64[steps], the score of the step.
    """

    order: npt.NDArray[np.int64]
    positive: BoolArray
    step_ends: npt.NDArray[np.int64]
    scores: Float64Array

    def steps(self, weights: Float64Array | None = None) -> "Steps":
        """What every threshold gives, for weights float64[rows] in the order the rows were given."""
        if weights is None:
            true = np.cumsum(self.positive, dtype=np.float64)[self.step_ends]
            return Steps(true, (self.step_ends + 1) - true)
        sorted_weights = weights[self.order]
        every = np.cumsum(sorted_weights)[self.step_ends]
        true = np.cumsum(sorted_weights * self.positive)[self.step_ends]
        return Steps(true, every - true)


@dataclass(frozen=True, slots=True)
class Steps:
    """Positives and negatives at or above each threshold, the highest first: float64[steps] each, never falling."""

    true: Float64Array
    false: Float64Array

    @property
    def positives(self) -> float:
        """Weight of all positives."""
        return float(self.true[-1]) if self.true.size else 0.0

    @property
    def negatives(self) -> float:
        """Weight of all negatives."""
        return float(self.false[-1]) if self.false.size else 0.0

    def within(self, false_positive_rate: float) -> int:
        """How many steps have a share of false alarms not above the given one."""
        # Weights are whole numbers of drives; the factor only forgives the rounding of the rate.
        allowed = false_positive_rate * self.negatives * (1 + 1e-12)
        return int(np.searchsorted(self.false, allowed, side="right"))


def ranking(scores: npt.ArrayLike, positive: BoolArray) -> Ranking:
    """Sort rows by score, the highest first. Scores must not be NaN."""
    values = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    in_order = values[order]
    ends = np.flatnonzero(np.append(in_order[1:] != in_order[:-1], True)) if values.size else np.zeros(0, np.int64)
    return Ranking(order, positive[order], ends, in_order[ends])


def average_precision(steps: Steps) -> float:
    """AUCPR: mean over the positives of the precision at their step; NaN without positives."""
    if steps.positives <= 0:
        return float("nan")
    found = steps.true + steps.false
    precision = np.divide(steps.true, found, out=np.zeros_like(found), where=found > 0)
    return float(np.sum(np.diff(steps.true, prepend=0.0) * precision) / steps.positives)


def roc_area(steps: Steps) -> float:
    """AUROC: how often a positive stands above a negative, ties counting half; NaN without either."""
    if steps.positives <= 0 or steps.negatives <= 0:
        return float("nan")
    widths = np.diff(steps.false, prepend=0.0)
    above = steps.true - np.diff(steps.true, prepend=0.0) / 2
    return float(np.sum(widths * above) / (steps.positives * steps.negatives))


def recall_at(steps: Steps, false_positive_rate: float) -> float:
    """Highest recall (TPR) of a threshold whose share of false alarms is not above the given one; NaN without
    positives or negatives."""
    if steps.positives <= 0 or steps.negatives <= 0:
        return float("nan")
    allowed = steps.within(false_positive_rate)
    return float(steps.true[allowed - 1] / steps.positives) if allowed else 0.0


def threshold_at(ranked: Ranking, false_positive_rate: float) -> float:
    """The lowest threshold (alarm at or above it) whose share of false alarms is not above the given one; inf where
    even the first step is too much."""
    allowed = ranked.steps().within(false_positive_rate)
    return float(ranked.scores[allowed - 1]) if allowed else float("inf")


def best_threshold(ranked: Ranking, least_precision: float = 0.0) -> float:
    """The threshold with the highest F0.5 of those with the precision; inf where there is none, or no positive."""
    steps = ranked.steps()
    if steps.positives <= 0:
        return float("inf")
    alarmed = steps.true + steps.false
    precise = steps.true >= least_precision * alarmed
    if not precise.any():
        return float("inf")
    found = np.where(precise, f_score(steps.true, steps.false, steps.positives), -1.0)
    return float(ranked.scores[int(np.argmax(found))])


def f_score(true: Float64Array, false: Float64Array, positives: float) -> Float64Array:
    """F0.5 of counts of true and false alarms; 0 where there is no alarm."""
    weight = F_BETA**2
    return np.asarray((1 + weight) * true / np.maximum(weight * positives + true + false, 1e-300))


@dataclass(frozen=True, slots=True)
class Alarms:
    """What an alarm at a fixed threshold, or of a rule, amounts to.

    `precision` is NaN where nothing is alarmed, `recall` where nothing failed.
    """

    true: float
    false: float
    missed: float
    quiet: float

    @property
    def precision(self) -> float:
        return _ratio(self.true, self.true + self.false)

    @property
    def recall(self) -> float:
        return _ratio(self.true, self.true + self.missed)

    @property
    def false_positive_rate(self) -> float:
        return _ratio(self.false, self.false + self.quiet)

    @property
    def f_half(self) -> float:
        counts = np.array([self.true]), np.array([self.false])
        return float(f_score(*counts, self.true + self.missed)[0]) if self.true + self.missed else float("nan")


def alarms(fires: BoolArray, positive: BoolArray, weights: Float64Array | None = None) -> Alarms:
    """Counts of alarms, weighted."""
    weight = np.ones(fires.size) if weights is None else weights
    true, false = float(weight[fires & positive].sum()), float(weight[fires & ~positive].sum())
    missed = float(weight[~fires & positive].sum())
    return Alarms(true, false, missed, float(weight.sum()) - true - false - missed)


def brier(probabilities: Float64Array, positive: BoolArray, weights: Float64Array | None = None) -> float:
    """Mean squared distance between probability and outcome."""
    return float(np.average((probabilities - positive) ** 2, weights=weights))


def calibration_error(
    probabilities: Float64Array, positive: BoolArray, weights: Float64Array | None = None, bins: int = 20
) -> float:
    """ECE: mean distance between probability and observed share over bins with equally many rows each."""
    order = np.argsort(probabilities, kind="stable")
    weight = np.ones(order.size) if weights is None else weights[order]
    gap = (probabilities[order] - positive[order]) * weight
    edges = np.linspace(0, order.size, bins + 1).astype(np.int64)[:-1]
    edges = np.unique(edges[edges < order.size])
    return float(np.abs(np.add.reduceat(gap, edges)).sum() / weight.sum()) if order.size else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
