"""From which probability on an operator hears of a drive."""

import numpy as np

from analytics.ssd.thresholds import REPLACE_LEAST_PRECISION, thresholds


def validation(failing: list[float], healthy: list[float]) -> tuple[float, float]:
    """Thresholds from one row of each drive."""
    score = np.array(failing + healthy)
    return thresholds(score, np.arange(score.size) < len(failing), np.arange(score.size, dtype=np.int32))


def test_replace_takes_the_list_with_the_best_f_half_of_those_that_are_sure_enough() -> None:
    watch, replace = validation([0.9, 0.8, 0.2], [0.7, *([0.1] * 200)])
    assert replace == 0.8
    assert watch <= replace


def test_a_model_that_is_never_sure_sends_nobody_to_pull_a_drive() -> None:
    healthy = [0.51, 0.52, 0.53, *([0.1] * 300)]
    assert REPLACE_LEAST_PRECISION > 1 / 3
    watch, replace = validation([0.5, 0.5], healthy)
    assert replace == 1.0, "the best list has two failed drives of five"
    assert watch < replace
    assert validation([0.515], healthy)[1] == 1.0


def test_nothing_is_replaced_for_what_no_drive_failed_of() -> None:
    assert validation([], [0.2, 0.3])[1] == 1.0
