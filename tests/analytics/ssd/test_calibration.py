"""Probabilities that can be believed."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics.errors import TooFewDataError
from analytics.ssd.calibration import ISOTONIC_FROM, Calibration, calibrate, sigmoid


def _drawn(rows: int, slope: float, offset: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-3, 1.5, rows)
    return margins, rng.random(rows) < 1 / (1 + np.exp(-(slope * margins + offset)))


def test_a_sigmoid_is_found_again() -> None:
    margins, positive = _drawn(60_000, 0.6, -1.0)
    assert sigmoid(margins, positive) == pytest.approx((0.6, -1.0), abs=0.1)


def test_few_failed_drives_get_a_sigmoid_and_many_the_isotonic_fit() -> None:
    margins, positive = _drawn(5_000, 1.0, 0.0)
    assert calibrate(margins, positive, ISOTONIC_FROM - 1).method == "platt"
    assert calibrate(margins, positive, ISOTONIC_FROM).method == "isotonic"


@pytest.mark.parametrize("failed", [ISOTONIC_FROM - 1, ISOTONIC_FROM])
def test_predicted_failures_are_as_many_as_there_were(failed: int) -> None:
    margins, positive = _drawn(30_000, 1.7, 0.5)
    found = calibrate(margins, positive, failed).probabilities(margins)
    assert found.mean() == pytest.approx(positive.mean(), rel=0.03)
    top = np.argsort(-margins)[:3_000]
    assert found[top].mean() == pytest.approx(positive[top].mean(), rel=0.1)


def test_the_isotonic_fit_is_that_of_scikit_learn_at_the_middle_of_its_steps() -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    margins, positive = _drawn(3_000, 1.0, 0.0)
    found = calibrate(margins, positive, 500)
    fitted = isotonic.IsotonicRegression().fit(margins, positive.astype(float)).predict(found.margins[2:-2])
    assert found.values[2:-2] == pytest.approx(fitted, abs=1e-12)


@given(
    rows=st.lists(st.tuples(st.floats(-20, 20), st.booleans()), min_size=2, max_size=50),
    failed=st.sampled_from([10, 1_000]),
)
@example(rows=[(0.0, False), (7.021385642335769e-88, False), (-1.0, False)], failed=1_000)
def test_knots_rise_and_probabilities_never_fall_nor_reach_0_or_1(rows: list[tuple[float, bool]], failed: int) -> None:
    margins, positive = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = calibrate(margins, positive, failed)
    assert found.margins.size >= 1
    assert (np.diff(found.margins) > 0).all()
    assert (np.diff(found.values) >= 0).all()
    p = found.probabilities(np.linspace(-30, 30, 500))
    assert np.isfinite(p).all()
    assert ((p > 0) & (p < 1)).all()
    assert (np.diff(p) >= 0).all()


def test_what_is_no_order_at_all_gets_the_base_rate_and_keeps_the_order() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 1, 4_000)
    positive = rng.random(4_000) < 1 / (1 + np.exp(3 + margins))  # the wrong way round
    p = calibrate(margins, positive, 20).probabilities(margins)
    assert p.mean() == pytest.approx(positive.mean(), rel=0.05)
    assert (np.diff(p[np.argsort(margins)]) >= 0).all()


def test_beyond_the_knots_the_outermost_hold() -> None:
    knots = Calibration(np.array([0.0, 1.0]), np.array([0.2, 0.4]), "platt")
    assert knots.probabilities(np.array([-9.0, 0.5, 9.0])) == pytest.approx([0.2, 0.3, 0.4])


def test_a_validation_with_hardly_a_failure_is_refused() -> None:
    with pytest.raises(TooFewDataError, match=r"2 failed drives in the validation \(5 rows\); calibration needs 3"):
        calibrate(np.zeros(5), np.ones(5, bool), 2)
