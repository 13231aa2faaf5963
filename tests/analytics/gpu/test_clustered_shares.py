"""Intervals of shares: as wide as users differ, and the same by drawing as by the formula for many."""

import numpy as np
import polars as pl
import pytest

from analytics.gpu.clustered_shares import share_of


def jobs(users: int, each: int, seed: int, *, alike: bool) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    chance = np.full(users, 0.4) if alike else rng.choice([0.0, 0.8], users)
    hit = rng.random((users, each)) < chance[:, None]
    user = np.repeat(np.arange(users), each)
    return pl.DataFrame({"user": user, "job": np.arange(users * each), "hit": hit.ravel()}).with_columns(
        pl.col("user", "job").cast(pl.String)
    )


def width(share: object) -> float:
    return float(share.high - share.low)  # type: ignore[attr-defined]


def test_users_that_differ_widen_the_interval() -> None:
    alike = share_of(jobs(50, 40, 1, alike=True), pl.col("hit"))
    differ = share_of(jobs(50, 40, 1, alike=False), pl.col("hit"))
    assert width(alike) == pytest.approx(2 * 1.645 * np.sqrt(0.24 / 2000), rel=0.3)
    assert width(differ) > 3 * width(alike)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(100):
        share = share_of(jobs(60, 10, seed, alike=False), pl.col("hit"))
        assert share.low is not None
        assert share.high is not None
        held += share.low <= 0.4 <= share.high
    assert 82 <= held <= 97


def test_many_users_are_not_drawn_and_give_the_same_interval() -> None:
    many = jobs(2001, 2, 3, alike=False)
    drawn = share_of(many.filter(pl.col("user") != "0"), pl.col("hit"))
    computed = share_of(many, pl.col("hit"))
    assert width(computed) == pytest.approx(width(drawn), rel=0.15)


def test_jobs_without_a_user_stand_for_themselves_and_nothing_has_no_share() -> None:
    nobody = jobs(10, 10, 4, alike=True).with_columns(user=pl.lit(None, dtype=pl.String))
    assert width(share_of(nobody, pl.col("hit"))) < 0.3
    empty = share_of(nobody.head(0), pl.col("hit"))
    assert (empty.value, empty.low, empty.trials) == (None, None, 0)
