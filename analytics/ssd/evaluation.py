"""The protocol: how good models of some drive-days are at failures that were unknown when they were trained.

Days are split with gaps (splits.py), drives and nodes into folds, several seeds deal folds and grow trees anew; every
figure has an interval over drives and stands beside the rule "any symptom grew in 30 days". Thresholds and calibration
never see the test. Checks for leaks run with it (leakage.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from analytics.errors import TooFewDataError
from analytics.ssd.examples import Examples, examples
from analytics.ssd.figures import (
    Alerting,
    Level,
    ModelRecall,
    TopDecile,
    alerting,
    errors,
    fold_mean_aucpr,
    level,
    recall_by_model,
    top_decile,
)
from analytics.ssd.intervals import Figure
from analytics.ssd.leakage import Leakage, leakage
from analytics.ssd.model import Model
from analytics.ssd.splits import NO_FOLD, Span, TimeSplit, folds, time_split
from analytics.ssd.training import LEAST_FAILED, Recipe
from analytics.ssd.trial import Scored, trial

#: Draws of the bootstrap, by drive and by row.
DRIVE_DRAWS = 500
ROW_DRAWS = 100


@dataclass(frozen=True, slots=True)
class Protocol:
    """How much is run. The defaults are what figures are quoted from."""

    seeds: int = 10
    folds: int = 5
    recipe: Recipe = field(default_factory=Recipe)
    drive_draws: int = DRIVE_DRAWS
    row_draws: int = ROW_DRAWS


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the split: its days, and what is in them."""

    name: str
    first: date
    last: date
    drives: int
    rows: int
    failed_drives: int
    positive_rows: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the protocol found.

    Attributes:
        first, last: days of the data. validates: "days" or "drives" (splits.py), "" for a given model.
        dropped: rows left out, by reason. fold_aucpr: AUCPR by drive within each fold.
        leakage: None for a given model.
    """

    horizon_d: int
    synthetic: bool
    first: date
    last: date
    validates: str
    parts: tuple[Part, ...]
    dropped: dict[str, int]
    seeds: int
    folds: int
    drive: Level
    row: Level
    fold_aucpr: Figure | None
    errors: dict[str, Figure]
    top_decile: TopDecile
    alerting: dict[str, Alerting]
    models: tuple[ModelRecall, ...]
    leakage: Leakage | None

    @property
    def recall_over_rule(self) -> Figure:
        """How much more of the failed drives the model finds than the rule, at the rule's share of false alarms."""
        return self.drive.figures["recall_over_rule"]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; numbers that are none are None."""
        found = _plain(asdict(self))
        if self.leakage is not None:
            found["leakage"]["shuffled"]["passed"] = self.leakage.shuffled.passed
            found["leakage"]["random_rows"]["alarm"] = self.leakage.random_rows.alarm
            found["leakage"]["best_column"]["alarm"] = self.leakage.best_column.alarm
            found["leakage"]["passed"] = self.leakage.passed
        found["top_decile"]["holds"] = self.top_decile.holds
        return dict(found)


def evaluate(
    days: pl.DataFrame,
    features: pl.DataFrame,
    failures: pl.DataFrame,
    horizon_d: int,
    names: Sequence[str],
    protocol: Protocol = Protocol(),
    *,
    synthetic: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Run the protocol.

    Args:
        days: drive-days (columns.DAYS); features: of the same, with the columns `names`.
        failures: columns.FAILURES.
        progress: is told in words what has been done.
    Raises:
        TooFewDataError: too few days, drives or failures for an honest answer.
        DataError: a column is missing or of a wrong type.
    """
    # A column that is told nowhere teaches nothing, and takes as long as one that does.
    told = [name for name in names if name not in features.columns or features[name].null_count() < features.height]
    material = examples(days, features, failures, horizon_d, told)
    split = time_split(material.first_day, material.labels.last_day, horizon_d)
    _enough(material, split)
    trials, dealt = [], []
    for seed in range(protocol.seeds):
        fold = folds(material.keys, protocol.folds, seed)
        trials.append(trial(material, split, fold, protocol.recipe, seed))
        dealt.append(fold)
        progress(f"seed {seed + 1} of {protocol.seeds}")
    by_row = level(material, trials, "row", protocol.row_draws)
    progress("figures by row")
    checks = leakage(material, split, dealt[0], protocol.recipe, by_row.figures["aucpr"].value, 0)
    progress("checks for leaks")
    spans = (("train", split.train), ("validate", split.validate), ("test", split.test))
    dropped = dict(material.dropped)
    dropped["on a node of another fold (mean over seeds)"] = round(
        float(np.mean([(each == NO_FOLD).sum() for each in dealt]))
    )
    return _evaluation(
        material, trials, protocol, [_part(material, name, span) for name, span in spans], by_row, synthetic,
        validates=split.validates, dropped=dropped, checks=checks, fold_aucpr=fold_mean_aucpr(material, trials, dealt),
    )  # fmt: skip


def evaluate_model(
    model: Model,
    days: pl.DataFrame,
    features: pl.DataFrame,
    failures: pl.DataFrame,
    horizon_d: int,
    protocol: Protocol = Protocol(),
    *,
    synthetic: bool = False,
) -> Evaluation:
    """The same figures of a given model, on all days whose horizon is over; nothing is trained.

    Honest only for days and drives that the model was not trained on: its card says which.
    """
    model.refuse_other_horizons(horizon_d)
    material = examples(days, features, failures, horizon_d, model.encoding.features, encoding=model.encoding)
    scored = score(model, material, horizon_d)
    span = Span(int(material.day.min()), int(material.day.max()))
    _want_failures(material.failed_drives(scored.rows), scored.rows.size, "test")
    by_row = level(material, [scored], "row", protocol.row_draws)
    return _evaluation(
        material, [scored], Protocol(1, 1, protocol.recipe, protocol.drive_draws, protocol.row_draws),
        [_part(material, "test", span)], by_row, synthetic or model.synthetic,
        validates="", dropped=material.dropped, checks=None, fold_aucpr=None,
    )  # fmt: skip


def score(model: Model, material: Examples, horizon_d: int) -> Scored:
    """What a model says of all examples; these must be in its encoding."""
    margin = model.margins(material.matrix, horizon_d).astype(np.float64)
    probability = model.calibrations[horizon_d].probabilities(margin)
    watch, replace = model.thresholds[horizon_d]
    rows = np.arange(material.drive.size)
    return Scored(rows, margin, probability, probability >= watch, probability >= replace)


def _evaluation(
    material: Examples,
    trials: Sequence[Scored],
    protocol: Protocol,
    parts: Sequence[Part],
    by_row: Level,
    synthetic: bool,
    *,
    validates: str,
    dropped: dict[str, int],
    checks: Leakage | None,
    fold_aucpr: Figure | None,
) -> Evaluation:
    return Evaluation(
        material.labels.horizon_d,
        synthetic,
        _date(material.first_day),
        _date(material.labels.last_day),
        validates,
        tuple(parts),
        dropped,
        protocol.seeds,
        protocol.folds,
        level(material, trials, "drive", protocol.drive_draws),
        by_row,
        fold_aucpr,
        errors(material, trials, protocol.row_draws),
        top_decile(material, trials, protocol.drive_draws),
        {which: alerting(material, trials, which, protocol.drive_draws) for which in ("replace", "watch", "rule")},
        tuple(recall_by_model(material, trials)),
        checks,
    )


def _part(material: Examples, name: str, span: Span) -> Part:
    rows = np.flatnonzero(span.holds(material.day))
    return Part(
        name,
        _date(span.first),
        _date(span.last),
        material.drives(rows),
        rows.size,
        material.failed_drives(rows),
        int(material.positive[rows].sum()),
    )


def _enough(material: Examples, split: TimeSplit) -> None:
    for name, span in (("training", split.train), ("validation", split.validate), ("test", split.test)):
        rows = np.flatnonzero(span.holds(material.day))
        _want_failures(material.failed_drives(rows), rows.size, f"{name}, {span}")


def _want_failures(failed: int, rows: int, where: str) -> None:
    if failed < LEAST_FAILED:
        raise TooFewDataError(
            f"{failed} failed drives in {rows:,} rows of the {where}; want {LEAST_FAILED} or more for figures that "
            "mean anything: longer data, more drives, or a longer horizon"
        )


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
