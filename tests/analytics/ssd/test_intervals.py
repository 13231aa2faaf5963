"""Intervals draw drives, never rows."""

import numpy as np
import pytest

from analytics.ssd.intervals import bootstrap


def test_rows_of_one_drive_are_always_drawn_together() -> None:
    drive = np.repeat(np.arange(20, dtype=np.int32), 5)
    seen = []

    def figures(weights: np.ndarray | None) -> np.ndarray:
        if weights is not None:
            seen.append(weights)
        return np.zeros(1)

    bootstrap(drive, figures, draws=30)
    for weights in seen:
        assert (weights.reshape(20, 5) == weights[::5, None]).all()
        assert weights[::5].sum() == 20


def test_copies_of_rows_do_not_make_an_interval_narrower() -> None:
    values = np.random.default_rng(1).normal(size=200)

    def width(copies: int) -> float:
        rows = np.repeat(values, copies)
        drive = np.repeat(np.arange(200, dtype=np.int32), copies)
        found = bootstrap(drive, lambda w: np.array([np.average(rows, weights=w)]), draws=200)[0]
        return found.high - found.low

    assert width(10) == pytest.approx(width(1))
    # 90 % of a mean of 200 normal values: 2 * 1.645 / sqrt(200).
    assert width(1) == pytest.approx(0.233, rel=0.2)


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    drive = np.arange(50, dtype=np.int32)
    values = np.random.default_rng(2).random(50)

    def run(seed: int) -> tuple[float, float]:
        found = bootstrap(drive, lambda w: np.array([np.average(values, weights=w)]), draws=40, seed=seed)[0]
        return found.low, found.high

    assert run(1) == run(1) != run(2)


def test_draws_without_a_number_do_not_count() -> None:
    drive = np.arange(3, dtype=np.int32)
    found = bootstrap(drive, lambda w: np.array([np.nan if w is not None and w[0] == 0 else 1.0]), draws=50)[0]
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    nothing = bootstrap(drive, lambda _: np.array([np.nan]), draws=5)[0]
    assert np.isnan(nothing.low)
