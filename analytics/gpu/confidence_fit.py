"""Parameters of confidence from labelled logs: a logistic curve, and the threshold from which on answers are given.

The threshold is chosen on the confidences that `held_out` gives: of curves that saw no log of the same repository.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from analytics.errors import TooFewDataError
from analytics.gpu.confidence import FEATURES, Parameters, curve

#: Of all labelled logs at least so many are to be answered; abstaining more often buys accuracy that nobody asked for.
LEAST_COVERAGE = 0.85
#: Sources are dealt to so many groups, each held out once.
FOLDS = 10
#: Inverse of the penalty on squared coefficients.
C = 3.0
#: Newton's method is there in about ten.
STEPS = 50


FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    """Of a labelled log with a root: its features by name, whether the root is right, and its source."""

    features: dict[str, float]
    right: bool
    source: str


def fit(examples: Sequence[Example], fitted_on: str, logs: int | None = None) -> Parameters:
    """A curve from all examples, and a threshold from held-out ones.

    Args:
        fitted_on: in words, kept with the parameters.
        logs: how many labelled logs there are with those in which nothing was found; None: as many as examples.
    Raises:
        TooFewDataError: fewer than 20 examples or two sources, or all right, or all wrong.
    """
    count = len(examples) if logs is None else logs
    curve_of_all = _curve_of(examples, fitted_on)
    threshold = _threshold(held_out(examples), [one.right for one in examples], count)
    return msgspec.structs.replace(curve_of_all, threshold=threshold, logs=count)


def held_out(examples: Sequence[Example]) -> list[float]:
    """Of each example the probability by a curve that saw no example of its source, nor of others of its fold."""
    sources = sorted({one.source for one in examples})
    fold_of = {source: place % FOLDS for place, source in enumerate(sources)}
    chances = [0.0] * len(examples)
    for fold in sorted(set(fold_of.values())):
        parameters = _curve_of([one for one in examples if fold_of[one.source] != fold], f"all folds but {fold}")
        for place, one in enumerate(examples):
            if fold_of[one.source] == fold:
                chances[place] = curve(one.features, parameters)
    return chances


def _curve_of(examples: Sequence[Example], fitted_on: str) -> Parameters:
    right = [one.right for one in examples]
    if len(examples) < 20 or len({one.source for one in examples}) < 2 or len(set(right)) < 2:
        raise TooFewDataError(
            f"{len(examples)} labelled logs with a root, {sum(right)} of them right, of "
            f"{len({one.source for one in examples})} sources; wanted 20 of two sources, some right and some wrong"
        )
    table = np.array([[one.features[name] for name in FEATURES] for one in examples], dtype=np.float64)
    intercept, *coefficients = _newton(table, np.array(right, dtype=np.float64))
    return Parameters(
        intercept=round(intercept, 4),
        coefficients={name: round(value, 4) for name, value in zip(FEATURES, coefficients, strict=True)},
        threshold=0.5,
        fitted_on=fitted_on,
        logs=len(examples),
    )


def _threshold(chances: Sequence[float], right: Sequence[bool], logs: int) -> float:
    """Of those that answer enough logs the one with most right answers; the smallest where all answer fewer."""
    order = sorted(range(len(chances)), key=lambda place: -chances[place])
    best, best_share = chances[order[-1]], 0.0
    count = 0
    for taken, place in enumerate(order, 1):
        count += right[place]
        last_of_its_kind = taken == len(order) or chances[order[taken]] != chances[place]
        if last_of_its_kind and taken >= LEAST_COVERAGE * logs and count / taken > best_share:
            best, best_share = chances[place], count / taken
    return math.floor(best * 1e4) / 1e4


def _newton(table: FloatArray, right: FloatArray) -> list[float]:
    """Intercept and coefficients of the penalised logistic regression; the intercept bears no penalty."""
    rows = np.column_stack([np.ones(len(table)), table])
    penalty = np.diag([0.0, *([1.0 / C] * table.shape[1])])
    found = np.zeros(rows.shape[1])
    for _ in range(STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(rows @ found, -60.0, 60.0)))
        slope = rows.T @ (chance - right) + penalty @ found
        curvature = (rows * (chance * (1.0 - chance))[:, None]).T @ rows + penalty
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(found)), slope)
        found -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    return [float(value) for value in found]
