"""Trees as arrays: the same answers as the booster they came from, and no array that is no tree gets through."""

from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import ModelFileError
from analytics.ssd.forest import Forest, booster_of, check, forest_of
from analytics.ssd.training import Recipe, grow, margins

xgboost = pytest.importorskip("xgboost")


@cache
def _grown() -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(2_000, 6)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    positive = np.nan_to_num(matrix[:, 1] + matrix[:, 4]) > 1.2
    recipe = Recipe(trees=12, side_by_side=2, depth=3, learning_rate=0.3, monotone=False, least_child_weight=1.0)
    columns = [f"c{number}" for number in range(6)]
    return grow(matrix, positive, np.ones(2_000, np.float32), columns, recipe, 0), matrix


def test_a_booster_made_again_of_its_trees_says_the_same_bit_for_bit() -> None:
    booster, matrix = _grown()
    again = booster_of(forest_of(booster))
    assert np.array_equal(margins(again, matrix), margins(booster, matrix))
    rows = xgboost.DMatrix(matrix[:50])
    assert again.predict(rows, pred_contribs=True) == pytest.approx(booster.predict(rows, pred_contribs=True), abs=1e-5)


def test_trees_over_the_columns_they_use_say_the_same() -> None:
    booster, matrix = _grown()
    forest = forest_of(booster)
    used = np.array([0, 1, 2, 4, 5], np.int32) if 3 not in forest.used() else np.arange(6, dtype=np.int32)
    compact = booster_of(forest.over(used))
    assert np.array_equal(margins(compact, np.ascontiguousarray(matrix[:, used])), margins(booster, matrix))


_ARRAYS = [field.name for field in fields(Forest) if field.name not in ("columns", "base")]


@given(
    name=st.sampled_from(_ARRAYS),
    place=st.integers(0, 10_000),
    value=st.one_of(st.integers(-3, 20), st.sampled_from([2**31 - 1, -(2**31), 255])),
)
def test_a_changed_array_is_refused_or_still_trees(name: str, place: int, value: int) -> None:
    booster, matrix = _grown()
    forest = forest_of(booster)
    array = getattr(forest, name).copy()
    array[place % array.size] = np.int64(value).astype(array.dtype)
    changed = replace(forest, **{name: array})
    try:
        check(changed)
    except ModelFileError:
        return
    assert np.isfinite(margins(booster_of(changed), matrix[:20])).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base": 1.0}, "base of 1.0; want a probability"),
        ({"base": float("nan")}, "base of nan"),
        ({"columns": 2}, "looks at a column beyond"),
        ({"left": np.zeros(3, np.int32)}, "3 entries in 'left'"),
        ({"sizes": np.zeros(1, np.int32)}, "a tree without nodes"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        check(replace(forest_of(_grown()[0]), **change))


def test_a_child_that_leads_back_is_refused() -> None:
    forest = forest_of(_grown()[0])
    left = forest.left.copy()
    left[1] = 0
    with pytest.raises(ModelFileError, match=r"does not come after its parent|one child"):
        check(replace(forest, left=left))


def test_a_node_with_two_parents_is_refused() -> None:
    forest = forest_of(_grown()[0])
    left = forest.left.copy()
    left[0] = forest.right[0]
    with pytest.raises(ModelFileError, match="no parent, or two"):
        check(replace(forest, left=left))
