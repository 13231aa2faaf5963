"""One run of the protocol: train, calibrate and choose thresholds before the test, then score the test's rows once.

Every row of the test is scored by the model whose training held out its fold, so that all drives of the test are
scored, each by a model that never saw it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.ssd.calibration import Calibration, calibrate
from analytics.ssd.examples import Examples
from analytics.ssd.labels import BoolArray
from analytics.ssd.metrics import Float64Array
from analytics.ssd.splits import NO_FOLD, Span, TimeSplit, pairs
from analytics.ssd.thresholds import thresholds
from analytics.ssd.training import Recipe, enough, grow, margins, thinned

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scored:
    """The test's rows with what the models said of them.

    Attributes:
        rows: int64[rows], into the examples, ascending.
        margin, probability: float64[rows]. watch, replace: bool[rows], above the threshold of the row's own model.
    """

    rows: Rows
    margin: Float64Array
    probability: Float64Array
    watch: BoolArray
    replace: BoolArray


@dataclass(frozen=True, slots=True)
class Fitted:
    """A booster with its calibration and the thresholds (watch, replace) of its probabilities."""

    booster: Any
    calibration: Calibration
    thresholds: tuple[float, float]


def trial(material: Examples, split: TimeSplit, fold: npt.NDArray[np.int8], recipe: Recipe, seed: int) -> Scored:
    """Run the protocol once.

    Args:
        fold: int8[rows] of the examples (splits.folds).
    Raises:
        TooFewDataError: a part has too few failed drives.
    """
    count = int(fold.max()) + 1
    held_out = cross_margins(material, split, fold, recipe, seed) if split.validates == "drives" else None
    found = []
    for own in range(count):
        training = rows_of(material, split.train, (fold != own) & (fold != NO_FOLD))
        validation = rows_of(material, split.validate, (fold != own) & (fold != NO_FOLD))
        booster = grown(material, training, recipe, seed * 1_000 + own)
        if held_out is None:
            margin = margins(booster, material.matrix[validation]).astype(np.float64)
        else:
            margin = held_out(own, validation)
        fitted = fitted_on(material, booster, validation, margin)
        found.append(_scored(material, fitted, rows_of(material, split.test, fold == own)))
    order = np.argsort(np.concatenate([part.rows for part in found]), kind="stable")
    return Scored(*(np.concatenate([getattr(part, name) for part in found])[order] for name in Scored.__slots__))


def rows_of(material: Examples, span: Span, wanted: BoolArray) -> Rows:
    """Rows of some days, as far as wanted."""
    return np.flatnonzero(span.holds(material.day) & wanted)


def grown(material: Examples, rows: Rows, recipe: Recipe, seed: int) -> Any:
    """A booster of some rows."""
    enough(material.failed_drives(rows), rows.size)
    kept, weights = thinned(material.positive[rows], recipe.keep_1_in, seed)
    rows = rows[kept]
    return grow(material.matrix[rows], material.positive[rows], weights, material.encoding.columns, recipe, seed)


def fitted_on(material: Examples, booster: Any, validation: Rows, margin: Float64Array) -> Fitted:
    """Calibration and thresholds from margins of the validation's rows."""
    positive = material.positive[validation]
    calibration = calibrate(margin, positive, material.failed_drives(validation))
    chosen = thresholds(calibration.probabilities(margin), positive, material.drive[validation])
    return Fitted(booster, calibration, chosen)


def cross_margins(
    material: Examples, split: TimeSplit, fold: npt.NDArray[np.int8], recipe: Recipe, seed: int
) -> Callable[[int, Rows], Float64Array]:
    """Margins of the validation's rows by models that saw neither their fold nor one that is held out.

    One model for every two folds serves both: it scores a for whom b is held out, and b for whom a is. Ten models for
    five folds, where a model for each fold of each held out one would be twenty.
    """
    count = int(fold.max()) + 1
    found = np.full((count, fold.size), np.nan)
    for a, b in pairs(count):
        neither = (fold != a) & (fold != b) & (fold != NO_FOLD)
        booster = grown(material, rows_of(material, split.train, neither), recipe, seed * 1_000 + 10 + a * count + b)
        for own, other in ((a, b), (b, a)):
            rows = rows_of(material, split.validate, fold == other)
            found[own, rows] = margins(booster, material.matrix[rows])
    return lambda own, rows: found[own, rows]


def _scored(material: Examples, fitted: Fitted, rows: Rows) -> Scored:
    margin = margins(fitted.booster, material.matrix[rows]).astype(np.float64)
    probability = fitted.calibration.probabilities(margin)
    watch, replace = fitted.thresholds
    return Scored(rows, margin, probability, probability >= watch, probability >= replace)
