"""Growing a booster of decision trees from examples.

Of the rows of drives that did not fail, 1 in k is kept, with weight k: ten times faster, and probabilities keep their
scale. Weighting failures up instead (scale_pos_weight) would wreck it: the mean probability then says nothing any more.
More trouble never lowers a probability: symptoms and their growth are under monotone constraints, so that noise in
sixty failed drives cannot teach that reallocated sectors are good for a drive.

One thread by default: with more, sums of floats come out in another order and no run repeats exactly.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.errors import MissingLibraryError, TooFewDataError
from analytics.ssd.columns import SYMPTOMS
from analytics.ssd.feature_names import DESCRIBED
from analytics.ssd.labels import BoolArray
from analytics.ssd.verdicts import Float32Array

#: Failed drives below which nothing is trained.
LEAST_FAILED = 10
#: Values that a column is cut into; xgboost's own 256 cost a quarter more and rank no better.
_BINS = 128


@dataclass(frozen=True, slots=True)
class Recipe:
    """How trees are grown. The defaults are those of the evaluation's page, chosen on validation days only.

    Attributes:
        trees: in all; `side_by_side` of them are grown at once and averaged, which steadies what few failures teach.
        keep_1_in: of the rows without failure, how many one stands for.
        threads: more than 1 is faster and no longer repeats bit for bit.
    """

    trees: int = 100
    side_by_side: int = 4
    depth: int = 3
    learning_rate: float = 0.15
    subsample: float = 0.5
    columns_per_tree: float = 0.75
    columns_per_node: float = 0.5
    least_child_weight: float = 1.0
    keep_1_in: int = 10
    monotone: bool = True
    threads: int = 1


def xgboost() -> Any:
    """The library, or MissingLibraryError with what to install."""
    try:
        return importlib.import_module("xgboost")
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "models need xgboost, which is not installed; install tailwatch[analytics]"
        ) from error


def thinned(positive: BoolArray, keep_1_in: int, seed: int) -> tuple[npt.NDArray[np.int64], Float32Array]:
    """Rows to train on, ascending, and their weights: all positives, and 1 in k of the others with weight k."""
    rng = np.random.default_rng(seed)
    kept = positive | (rng.random(positive.size) * keep_1_in < 1)
    rows = np.flatnonzero(kept)
    return rows, np.where(positive[rows], np.float32(1), np.float32(keep_1_in))


def grow(
    matrix: Float32Array,
    positive: BoolArray,
    weights: Float32Array,
    columns: Sequence[str],
    recipe: Recipe,
    seed: int,
) -> Any:
    """A booster (xgboost.Booster) of log-odds.

    Args:
        matrix: float32[rows, columns], NaN where unknown.
        columns: the matrix' columns, by name.
    Guarantee: with one thread, the same input gives the same booster, bit for bit.
    """
    library = xgboost()
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": recipe.depth,
        "eta": recipe.learning_rate,
        "subsample": recipe.subsample,
        "colsample_bytree": recipe.columns_per_tree,
        "colsample_bynode": recipe.columns_per_node,
        "num_parallel_tree": recipe.side_by_side,
        "min_child_weight": recipe.least_child_weight,
        "max_bin": _BINS,
        "nthread": recipe.threads,
        "seed": seed,
        "base_score": _base_rate(positive, weights),
    }
    if recipe.monotone:
        settings["monotone_constraints"] = "(" + ",".join(str(sign) for sign in directions(columns)) + ")"
    data = library.QuantileDMatrix(matrix, label=positive, weight=weights, nthread=recipe.threads, max_bin=_BINS)
    return library.train(settings, data, max(1, recipe.trees // recipe.side_by_side))


def margins(booster: Any, matrix: Float32Array) -> Float32Array:
    """Log-odds before calibration, float32[rows]."""
    return np.asarray(booster.inplace_predict(matrix, predict_type="margin"), np.float32)


def directions(columns: Sequence[str]) -> tuple[int, ...]:
    """By column: 1 where more of it may only raise the probability, -1 where it may only lower it, 0 else."""
    return tuple(_direction(name) for name in columns)


def _direction(name: str) -> int:
    known = DESCRIBED.get(name)
    if known is None or not known.columns or known.columns[0] not in SYMPTOMS:
        return 0
    if known.sort == "since":
        return -1
    return 1 if known.sort in ("level", "growth") or name.startswith("symptoms") else 0


def enough(failed_drives: int, rows: int) -> None:
    """Raise TooFewDataError where there is nothing to learn from."""
    if failed_drives < LEAST_FAILED:
        raise TooFewDataError(
            f"{failed_drives} failed drives in {rows:,} rows of training; want {LEAST_FAILED} or more: longer data, "
            "more drives, or a longer horizon"
        )


def _base_rate(positive: BoolArray, weights: Float32Array) -> float:
    share = float(weights[positive].sum() / weights.sum()) if positive.size else 0.5
    return min(max(share, 1e-6), 1 - 1e-6)
