"""Whether drives of today are those of the training."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import ModelMismatchError
from analytics.ssd.drift import BINS, DRIFTED, FLEET, LEAST_ROWS, drift, profile_of, psi


def _frame(rows: int = 4_000, shift: float = 0.0, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "model": ["A"] * (rows - rows // 4) + ["B"] * (rows // 4),
            "level": rng.normal(shift, 1, rows).astype(np.float32),
            "count": (rng.random(rows) < 0.1).astype(np.float32),
        }
    )


def test_drives_of_the_same_sort_have_not_drifted() -> None:
    found = drift(profile_of(_frame(), ("level", "count")), _frame(seed=1))
    assert set(found["model"]) == {FLEET, "A", "B"}
    assert found["psi"].max() < 0.1


def test_a_feature_that_moved_stands_first_and_by_model() -> None:
    now = _frame(seed=1).with_columns(
        level=pl.when(pl.col("model") == "B").then(pl.col("level") + 3).otherwise("level")
    )
    found = drift(profile_of(_frame(), ("level", "count")), now)
    assert found.row(0)[:2] == ("B", "level")
    assert found["psi"][0] > 2
    of_a = found.filter((pl.col("model") == "A") & (pl.col("feature") == "level"))
    assert of_a["psi"].item() < DRIFTED


def test_a_value_that_is_not_told_any_more_is_drift() -> None:
    now = _frame(seed=1).with_columns(count=pl.lit(None, pl.Float32))
    found = drift(profile_of(_frame(), ("level", "count")), now)
    assert found.filter(pl.col("feature") == "count")["psi"].min() > DRIFTED


def test_psi_is_that_of_its_formula() -> None:
    then, now = np.array([[0.5, 0.5, 0.0]], np.float32), np.array([[0.25, 0.75, 0.0]], np.float32)
    assert psi(then, now) == pytest.approx([-0.25 * np.log(0.5) + 0.25 * np.log(1.5)])


@given(counts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=11))
def test_psi_is_never_negative_and_zero_for_the_same(counts: list[tuple[int, int]]) -> None:
    p, q = (np.array(column, np.float32) / max(1, sum(column)) for column in zip(*counts, strict=True))
    assert psi(p, q) >= 0
    assert psi(p, p) == 0


def test_shares_of_each_line_add_up_to_one() -> None:
    profile = profile_of(_frame(), ("level", "count"))
    assert profile.shares.shape == (3, 2, BINS)
    assert profile.shares.sum(axis=2) == pytest.approx(np.ones((3, 2)), abs=1e-5)
    assert profile.rows == (4_000, 3_000, 1_000)


def test_a_drive_model_with_few_rows_has_no_line() -> None:
    profile = profile_of(_frame(4 * (LEAST_ROWS - 1)), ("level",))
    assert profile.models == (FLEET, "A")
    assert drift(profile_of(_frame(), ("level",)), _frame(40)).filter(pl.col("model") != FLEET).is_empty()


def test_features_that_are_missing_now_are_named() -> None:
    with pytest.raises(ModelMismatchError, match="lack 'count'"):
        drift(profile_of(_frame(), ("level", "count")), _frame().drop("count"))


def test_no_rows_now_are_no_lines() -> None:
    found = drift(profile_of(_frame(), ("level",)), _frame().clear())
    assert found.columns == ["model", "feature", "rows", "psi"]
    assert found.is_empty()
