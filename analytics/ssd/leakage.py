"""Checks that an evaluation is not fooling anybody.

Shuffled labels: failures are dealt to other drives at random and the whole protocol runs again. Nothing can be learnt,
so AUCPR must be that of a list in no order. Where it is higher, drives of the training stand in the test.

A column too good: one column that alone tells failed drives from the others almost without error was made with
knowledge of the failure.

Rows at random: the same rows, parted at random instead of by time and drive. Rows of one drive are nearly copies, so a
model recognises drives it has seen. Where that scores far above the honest split, figures of random rows flatter; the
alarm says by how much, since that is how such figures are usually made.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analytics.ssd.examples import Examples
from analytics.ssd.figures import drive_starts
from analytics.ssd.labels import Labels
from analytics.ssd.metrics import average_precision, ranking, roc_area
from analytics.ssd.splits import NO_FOLD, TimeSplit
from analytics.ssd.training import Recipe, margins
from analytics.ssd.trial import grown, rows_of

#: A random split this many times, and this much, above the honest one is far above.
FAR_TIMES = 1.5
FAR_ABOVE = 0.05
#: AUROC of one column alone from which on it is too good: the best symptom reaches .9 on real drives.
TOO_GOOD = 0.985
#: Lists in no order that the limit of shuffled labels is the highest of.
_ORDERS = 400


@dataclass(frozen=True, slots=True)
class ShuffledLabels:
    """AUCPR by drive with failures dealt at random; `limit`: what a list in no order reaches once in four hundred."""

    aucpr: float
    base_rate: float
    limit: float

    @property
    def passed(self) -> bool:
        """Nothing was learnt where there was nothing to learn."""
        return self.aucpr <= self.limit


@dataclass(frozen=True, slots=True)
class RandomRows:
    """AUCPR by row of a split at random beside the honest one's."""

    aucpr: float
    honest: float

    @property
    def alarm(self) -> bool:
        """The random split is far above the honest one."""
        return self.aucpr > FAR_TIMES * self.honest and self.aucpr - self.honest > FAR_ABOVE


@dataclass(frozen=True, slots=True)
class BestColumn:
    """The column that tells failed drives best of all by itself."""

    column: str
    auroc: float

    @property
    def alarm(self) -> bool:
        """It is too good to be a reading."""
        return self.auroc >= TOO_GOOD


@dataclass(frozen=True, slots=True)
class Leakage:
    """All checks. `passed`: no sign of a leak; the alarm about random rows is a warning about other figures."""

    shuffled: ShuffledLabels
    random_rows: RandomRows
    best_column: BestColumn

    @property
    def passed(self) -> bool:
        """The honest figures can be believed."""
        return self.shuffled.passed and not self.best_column.alarm


def leakage(
    material: Examples, split: TimeSplit, fold: npt.NDArray[np.int8], recipe: Recipe, honest_aucpr: float, seed: int
) -> Leakage:
    """Run all checks.

    Args:
        honest_aucpr: by row, of the honest split.
    """
    return Leakage(
        shuffled_labels(material, split, fold, recipe, seed),
        RandomRows(_random_rows(material, recipe, seed), honest_aucpr),
        best_column(material, rows_of(material, split.train, fold != NO_FOLD)),
    )


def shuffled_labels(
    material: Examples, split: TimeSplit, fold: npt.NDArray[np.int8], recipe: Recipe, seed: int
) -> ShuffledLabels:
    """The protocol with failures that are dealt to other drives, once over all folds."""
    dealt = _dealt(material, seed)
    scores, rows = [], []
    # Constraints would carry what we know of symptoms into a model that must know nothing.
    free = replace(recipe, monotone=False)
    for own in range(int(fold.max()) + 1):
        training = rows_of(dealt, split.train, (fold != own) & (fold != NO_FOLD))
        booster = grown(dealt, training, free, seed * 1_000 + own)
        tested = rows_of(dealt, split.test, fold == own)
        rows.append(tested)
        scores.append(margins(booster, dealt.matrix[tested]))
    tested = np.concatenate(rows)
    order = np.argsort(tested, kind="stable")
    tested, score = tested[order], np.concatenate(scores)[order].astype(np.float64)
    starts = drive_starts(dealt.drive[tested])
    highest = np.maximum.reduceat(score, starts)
    failed = np.logical_or.reduceat(dealt.positive[tested], starts)
    rng = np.random.default_rng(seed)
    by_chance = [average_precision(ranking(highest, rng.permutation(failed)).steps()) for _ in range(_ORDERS)]
    base = float(failed.mean()) if failed.size else float("nan")
    return ShuffledLabels(average_precision(ranking(highest, failed).steps()), base, float(np.max(by_chance)))


def _dealt(material: Examples, seed: int) -> Examples:
    """The same rows with each drive's failure given to another drive."""
    rng = np.random.default_rng(seed + 1)
    starts = drive_starts(material.drive)
    dealt_on = rng.permutation(material.labels.failed_on[starts])[material.drive]
    known = Labels(material.day, dealt_on, material.labels.horizon_d, material.labels.last_day)
    return replace(material, labels=known, positive=known.positive)


def _random_rows(material: Examples, recipe: Recipe, seed: int) -> float:
    """AUCPR by row of one half of all rows, drawn at random, after training on the other."""
    rng = np.random.default_rng(seed + 2)
    half = rng.random(material.drive.size) < 0.5
    booster = grown(material, np.flatnonzero(half), recipe, seed)
    tested = np.flatnonzero(~half)
    return average_precision(ranking(margins(booster, material.matrix[tested]), material.positive[tested]).steps())


def best_column(material: Examples, rows: npt.NDArray[np.int64], most_rows: int = 20_000) -> BestColumn:
    """The column with the highest AUROC by itself, in either direction, unknown being lowest; constant ones are 0.5."""
    positive = material.positive[rows]
    others = rows[~positive]
    chosen = np.concatenate((rows[positive], others[:: max(1, others.size // most_rows)]))
    failed = material.positive[chosen]
    best = BestColumn("", 0.5)
    for number, name in enumerate(material.encoding.columns):
        values = np.nan_to_num(material.matrix[chosen, number], nan=-np.inf, posinf=np.inf)
        area = roc_area(ranking(values, failed).steps())
        area = max(area, 1 - area)
        if area > best.auroc:
            best = BestColumn(name, area)
    return best
