"""From drive-days and failures to a model: one booster, calibration and thresholds for each horizon.

All data teach. The split is that of the evaluation without its test: training, H days of gap and validation, or in
short data a validation by drives, for which models that left these drives out are grown beside the one that is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from analytics.ssd.card import Card, limits
from analytics.ssd.drift import profile_of
from analytics.ssd.examples import Examples, examples
from analytics.ssd.feature_names import FEATURES_VERSION, TAUGHT
from analytics.ssd.forest import forest_of
from analytics.ssd.matrix import Encoding, vocabulary_of
from analytics.ssd.model import Model
from analytics.ssd.model_file import with_digest
from analytics.ssd.splits import NO_FOLD, TimeSplit, folds, training_split
from analytics.ssd.training import Recipe, margins
from analytics.ssd.trial import Fitted, fitted_on, grown, rows_of

HORIZONS = (7, 30)
_FOLDS = 5
_PROFILE_ROWS = 100_000


def train(
    days: pl.DataFrame,
    features: pl.DataFrame,
    failures: pl.DataFrame,
    *,
    last_day: date | None = None,
    horizons: Sequence[int] = HORIZONS,
    seed: int = 0,
    recipe: Recipe = Recipe(),  # noqa: B008 -- frozen
    names: tuple[str, ...] = TAUGHT,
    origin: str = "",
    synthetic: bool = False,
    made: date | None = None,
    results: Mapping[str, Mapping[str, Any]] | None = None,
    why_no_results: Mapping[str, str] | None = None,
) -> Model:
    """Train a model.

    Args:
        days: drive-days; features: of the same, with the columns `names`.
        last_day: the last day of which failures are known; by default the newest drive-day.
        origin, synthetic, results: for the card.
        made: day of the training for the card; by default the last day, so that the same data give the same bytes.
    Raises:
        TooFewDataError: too few days or failures for one of the horizons; the message says which and how much there is.
        MissingLibraryError: xgboost or scikit-learn is not installed.
    """
    newest = days["day"].max() if last_day is None else last_day
    assert isinstance(newest, date)
    number = (newest - date(1970, 1, 1)).days
    encoding = Encoding(names, vocabulary_of(features))
    fitted: dict[int, Fitted] = {}
    material = None
    for horizon in sorted(horizons):
        material = examples(days, features, failures, horizon, names, encoding=encoding, last_day=number)
        fitted[horizon] = _fitted(material, training_split(material.first_day, number, horizon), recipe, seed)
    thin = features.gather_every(max(1, features.height // _PROFILE_ROWS))
    pairs = features.select("kind", "vendor").unique()
    failed = failures.filter(pl.col("day") <= newest)["drive"].n_unique()
    own = tuple(sorted(horizons))
    thresholds = {horizon: fit.thresholds for horizon, fit in fitted.items()}
    card = Card(
        made=(made or newest).isoformat(),
        origin=origin,
        synthetic=synthetic,
        first_day=str(days["day"].min()),
        last_day=newest.isoformat(),
        drives=days["drive"].n_unique(),
        rows=days.height,
        failures=failed,
        horizons=own,
        recipe={name: float(value) for name, value in asdict(recipe).items()} | {"seed": float(seed)},
        calibration={str(horizon): fit.calibration.method for horizon, fit in fitted.items()},
        thresholds={str(horizon): both for horizon, both in thresholds.items()},
        results=results or {},
        why_no_results=why_no_results or {},
        limits=limits(failed, own, synthetic, features["model"].n_unique()),
    )
    return with_digest(
        Model(
            own,
            FEATURES_VERSION,
            encoding,
            {horizon: forest_of(fit.booster) for horizon, fit in fitted.items()},
            {horizon: fit.calibration for horizon, fit in fitted.items()},
            thresholds,
            frozenset((kind, vendor) for kind, vendor in pairs.iter_rows()),
            profile_of(thin, names),
            card,
        )
    )


def _fitted(material: Examples, split: TimeSplit, recipe: Recipe, seed: int) -> Fitted:
    every = np.ones(material.drive.size, bool)
    booster = grown(material, rows_of(material, split.train, every), recipe, seed)
    if split.validates == "days":
        validation = rows_of(material, split.validate, every)
        return fitted_on(
            material, booster, validation, margins(booster, material.matrix[validation]).astype(np.float64)
        )
    fold = folds(material.keys, _FOLDS, seed)
    validation = rows_of(material, split.validate, fold != NO_FOLD)
    margin = np.full(fold.size, np.nan)
    for own in range(_FOLDS):
        others = rows_of(material, split.train, (fold != own) & (fold != NO_FOLD))
        rows = rows_of(material, split.validate, fold == own)
        margin[rows] = margins(grown(material, others, recipe, seed * 1_000 + own), material.matrix[rows])
    return fitted_on(material, booster, validation, margin[validation])
