"""Growing boosters: what is thinned out, what is constrained, and that the same seed gives the same trees."""

import numpy as np
import pytest

from analytics.errors import MissingLibraryError, TooFewDataError
from analytics.ssd import training
from analytics.ssd.training import Recipe, directions, enough, grow, margins, thinned

pytest.importorskip("xgboost")

_RECIPE = Recipe(trees=20, side_by_side=1, depth=3, learning_rate=0.2, least_child_weight=1.0)
_COLUMNS = ("realloc_level", "age_d")


def _rows(rows: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    matrix = np.column_stack([rng.poisson(0.3, rows), rng.uniform(0, 900, rows)]).astype(np.float32)
    return matrix, rng.random(rows) < 0.02 + 0.1 * matrix[:, 0]


def test_one_negative_in_k_is_kept_and_stands_for_k() -> None:
    positive = np.zeros(20_000, bool)
    positive[::50] = True
    rows, weights = thinned(positive, 10, 1)
    assert positive[rows].sum() == 400
    assert (weights[positive[rows]] == 1).all()
    assert (weights[~positive[rows]] == 10).all()
    assert weights.sum() == pytest.approx(20_000, rel=0.05)
    assert (np.diff(rows) > 0).all()


def test_the_same_seed_grows_the_same_trees() -> None:
    matrix, positive = _rows()
    weights = np.ones(positive.size, np.float32)
    first, again, other = (
        margins(grow(matrix, positive, weights, _COLUMNS, _RECIPE, seed), matrix) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_thinning_keeps_the_mean_probability_at_the_base_rate() -> None:
    matrix, positive = _rows(30_000)
    rows, weights = thinned(positive, 10, 0)
    booster = grow(matrix[rows], positive[rows], weights, _COLUMNS, _RECIPE, 0)
    p = 1 / (1 + np.exp(-margins(booster, matrix)))
    assert p.mean() == pytest.approx(positive.mean(), rel=0.15)


def test_more_of_a_symptom_never_lowers_a_margin() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.uniform(0, 5, (2_000, 2)).astype(np.float32)
    positive = rng.random(2_000) < 0.5 - 0.08 * matrix[:, 0]  # the data say the opposite
    booster = grow(matrix, positive, np.ones(2_000, np.float32), _COLUMNS, _RECIPE, 0)
    levels = np.column_stack([np.linspace(0, 5, 50), np.full(50, 2.5)]).astype(np.float32)
    assert (np.diff(margins(booster, levels)) >= 0).all()


def test_directions_go_by_what_a_feature_is() -> None:
    names = ("realloc_level", "crc_growth_7d", "realloc_since_growth_d", "symptoms_new_30d", "age_d", "model")
    assert directions(names) == (1, 1, -1, 1, 0, 0)


def test_too_few_failed_drives_are_refused_with_how_many_there_are() -> None:
    with pytest.raises(TooFewDataError, match="9 failed drives in 1,000 rows of training; want 10"):
        enough(9, 1_000)


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(training.importlib, "import_module", missing)
    with pytest.raises(MissingLibraryError, match=r"install tailwatch\[analytics\]"):
        training.xgboost()
