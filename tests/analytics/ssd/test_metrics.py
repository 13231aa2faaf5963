"""Figures of rankings, beside scikit-learn's and naive ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.ssd.metrics import (
    alarms,
    average_precision,
    best_threshold,
    brier,
    calibration_error,
    ranking,
    recall_at,
    roc_area,
    threshold_at,
)

sklearn_metrics = pytest.importorskip("sklearn.metrics")

#: Score, label, weight; few distinct scores, so that there are ties.
_ROWS = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 3)), min_size=2, max_size=60).filter(
    lambda rows: {label for _, label, weight in rows if weight} == {True, False}
)


@given(rows=_ROWS)
def test_areas_are_those_of_scikit_learn_with_ties_and_weights(rows: list[tuple[int, bool, int]]) -> None:
    score, label, weight = (np.array(column) for column in zip(*rows, strict=True))
    steps = ranking(score, label).steps(weight.astype(float))
    assert average_precision(steps) == pytest.approx(
        sklearn_metrics.average_precision_score(label, score, sample_weight=weight)
    )
    assert roc_area(steps) == pytest.approx(sklearn_metrics.roc_auc_score(label, score, sample_weight=weight))


@given(rows=_ROWS, rate=st.sampled_from([0.0, 0.001, 0.1, 0.25, 0.5, 1.0]))
def test_recall_at_a_rate_is_the_best_of_all_thresholds_that_keep_it(
    rows: list[tuple[int, bool, int]], rate: float
) -> None:
    score, label, weight = (np.array(column) for column in zip(*rows, strict=True))
    best = 0.0
    for threshold in range(10):
        fires = score >= threshold
        if weight[fires & ~label].sum() / weight[~label].sum() <= rate:
            best = max(best, weight[fires & label].sum() / weight[label].sum())
    assert recall_at(ranking(score, label).steps(weight.astype(float)), rate) == pytest.approx(best)


@given(rows=_ROWS, rate=st.sampled_from([0.0, 0.1, 0.5]))
def test_an_alarm_at_the_threshold_of_a_rate_keeps_it(rows: list[tuple[int, bool, int]], rate: float) -> None:
    score, label = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    ranked = ranking(score, label)
    found = alarms(score >= threshold_at(ranked, rate), label)
    assert np.isnan(found.false_positive_rate) or found.false_positive_rate <= rate + 1e-12


@given(rows=_ROWS)
def test_no_threshold_has_a_higher_f_half_than_the_best(rows: list[tuple[int, bool, int]]) -> None:
    score, label = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    if not label.any():
        return
    best = alarms(score >= best_threshold(ranking(score, label)), label).f_half
    found = [sklearn_metrics.fbeta_score(label, score >= t, beta=0.5, zero_division=0.0) for t in np.unique(score)]
    assert best == pytest.approx(max(found))


def test_figures_without_failures_are_no_numbers() -> None:
    steps = ranking(np.arange(3.0), np.zeros(3, bool)).steps()
    assert np.isnan([average_precision(steps), roc_area(steps), recall_at(steps, 0.1)]).all()
    assert np.isnan(alarms(np.ones(3, bool), np.zeros(3, bool)).recall)
    assert best_threshold(ranking(np.zeros(0), np.zeros(0, bool))) == float("inf")


def test_probabilities_that_are_right_have_no_calibration_error() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0, 0.3, 40_000)
    label = rng.random(p.size) < p
    assert calibration_error(p, label) < 0.01
    assert calibration_error(np.minimum(p * 3, 1), label) > 0.2
    assert brier(p, label) == pytest.approx(sklearn_metrics.brier_score_loss(label, p))


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    p, label = np.array([0.1, 0.1, 0.7, 0.9, 0.9]), np.array([False, True, True, True, True])
    once, weight = np.array([0.1, 0.7, 0.9]), np.array([2.0, 1.0, 2.0])
    assert brier(p, label) == pytest.approx((0.1**2 + 0.9**2 + 0.3**2 + 0.1**2 * 2) / 5)
    assert brier(once, np.array([False, True, True]), weight) == pytest.approx((0.02 + 0.09 + 0.02) / 5)
