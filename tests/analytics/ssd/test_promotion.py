"""The gate that a new model has to pass."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from analytics.errors import ModelMismatchError, TooFewDataError
from analytics.ssd.calibration import Calibration
from analytics.ssd.model import Model
from analytics.ssd.promotion import Bounds, Verdict, judge
from tests.analytics.ssd.learning_rows import Rows, learnable, quick_model

pytest.importorskip("xgboost")

_CHECKED = {"leakage": {"passed": True, "shuffled": {"aucpr": 0.01, "limit": 0.05}}}


@cache
def _later() -> Rows:
    """Days after those of the training, of drives of the same sort."""
    rows = learnable(seed=3)
    shift = pl.col("day").dt.offset_by("60d")
    return Rows(*(frame.with_columns(shift) for frame in (rows.days, rows.features, rows.failures)))


def _good(**card: Any) -> Model:
    results = {"5": _CHECKED, "10": _CHECKED}
    return replace(quick_model(), card=replace(quick_model().card, **{"results": results, **card}))


def _judged(candidate: Model, current: Model | None) -> Verdict:
    rows = _later()
    return judge(candidate, current, rows.days, rows.features, rows.failures, Bounds(most_alarmed=0.6), draws=20)


def _recalibrated(model: Model, factor: float) -> Model:
    changed = {
        horizon: Calibration(own.margins, np.clip(own.values * factor, 1e-9, 0.999), own.method)
        for horizon, own in model.calibrations.items()
    }
    return replace(model, calibrations=changed)


def test_a_model_as_good_as_the_current_one_passes_with_every_criterion_in_figures() -> None:
    found = _judged(_good(), quick_model())
    assert found.promoted, found.why
    assert found.why == ""
    assert len(found.criteria) == 2 * 8
    assert all(any(sign.isdigit() for sign in criterion.text) for criterion in found.criteria)


def test_a_model_that_ranks_worse_is_refused_by_both_rankings() -> None:
    model = _good()
    backwards = {
        horizon: replace(forest, value=np.where(forest.left == -1, -forest.value, forest.value))
        for horizon, forest in model.forests.items()
    }
    found = _judged(replace(model, forests=backwards, _boosters={}), quick_model())
    assert not found.promoted
    missed = {criterion.name for criterion in found.criteria if not criterion.met}
    assert "AUCPR not worse" in missed
    assert "the current model 0." in found.why


def test_a_model_that_predicts_four_times_the_failures_is_refused() -> None:
    found = _judged(_recalibrated(_good(), 4), None)
    assert not found.promoted
    assert "times the failures there were; want 0.5 to 2 times" in found.why


def test_a_model_that_alarms_many_more_drives_than_the_current_one_is_refused() -> None:
    eager = replace(_good(), thresholds={5: (1e-9, 1e-8), 10: (1e-9, 1e-8)})
    found = _judged(eager, quick_model())
    missed = {criterion.name for criterion in found.criteria if not criterion.met}
    assert {"alerts", "alerts beside the current model"} <= missed


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({}, "the card has no checks for leaks"),
        (
            {"5": _CHECKED, "10": {"leakage": {"passed": False, "shuffled": {"aucpr": 0.4, "limit": 0.05}}}},
            "AUCPR 0.4000",
        ),
    ],
)
def test_a_model_without_passed_checks_for_leaks_is_refused(results: dict[str, Any], said: str) -> None:
    found = _judged(_good(results=results), None)
    assert not found.promoted
    assert said in found.why


def test_the_first_model_is_judged_by_the_bounds_alone() -> None:
    found = _judged(_good(), None)
    assert found.promoted, found.why
    assert not any("current model" in criterion.name for criterion in found.criteria)


def test_days_of_the_training_are_no_held_out_days() -> None:
    rows = learnable()
    with pytest.raises(ModelMismatchError, match="the candidate was trained on days up to 2026-02-16"):
        judge(_good(), None, rows.days, rows.features, rows.failures)


def test_a_candidate_without_a_horizon_of_the_current_model_is_refused() -> None:
    model = _good()
    short = replace(model, horizons=(5,))
    rows = _later()
    with pytest.raises(ModelMismatchError, match=r"foretells \(5,\) days, the current model \(5, 10\)"):
        judge(short, model, rows.days, rows.features, rows.failures)


def test_too_few_failures_to_judge_by_are_said() -> None:
    rows = _later()
    with pytest.raises(TooFewDataError, match=r"failed drives in .* held-out rows for 5 days; want 10"):
        judge(_good(), None, rows.days, rows.features, rows.failures.head(3))
