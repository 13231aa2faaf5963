"""Squared error and ranking of probabilities, from counts."""

import math

import numpy as np
import pytest

from analytics.gpu.retry_quality import BINS, Answers


def test_before_both_have_happened_there_are_no_figures() -> None:
    answers = Answers()
    assert math.isnan(answers.brier())
    answers.add(0.5, passed=True)
    assert answers.brier() == 0.25
    assert math.isnan(answers.auc())


def test_ranking_and_error_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    probabilities = (rng.integers(0, BINS, 400) + 0.5) / BINS
    passed = rng.random(400) < probabilities
    answers = Answers()
    for probability, past in zip(probabilities.tolist(), passed.tolist(), strict=True):
        answers.add(probability, past)
    higher = probabilities[passed][:, None] > probabilities[~passed]
    equal = probabilities[passed][:, None] == probabilities[~passed]
    assert answers.auc() == pytest.approx((higher + equal / 2).mean())
    assert answers.brier() == pytest.approx(((probabilities - passed) ** 2).mean())
    assert answers.totals() == (int((~passed).sum()), int(passed.sum()))


def test_certainty_falls_into_the_last_part() -> None:
    answers = Answers()
    answers.add(1.0, passed=True)
    answers.add(0.0, passed=False)
    assert (answers.counts[-1], answers.counts[0]) == ([0, 1], [1, 0])
    assert answers.auc() == 1.0
