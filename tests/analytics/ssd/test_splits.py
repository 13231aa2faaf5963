"""No part of a split knows what lies ahead of it, and no drive or node stands on both sides."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import TooFewDataError
from analytics.ssd.splits import NO_FOLD, Span, folds, pairs, time_split, training_split
from tests.analytics.ssd.drive_rows import day


@given(first=st.integers(0, 20_000), days=st.integers(1, 900), horizon=st.integers(1, 90))
def test_every_label_before_the_test_is_known_when_the_test_begins(first: int, days: int, horizon: int) -> None:
    last = first + days - 1
    try:
        split = time_split(first, last, horizon)
    except TooFewDataError:
        # What is refused is short: no data of seven horizons are.
        assert days < 4 * horizon + 10
        return
    assert split.train.first == first
    assert split.train.days >= horizon
    assert split.train.last + horizon <= split.test.first
    assert split.validate.last + horizon <= split.test.first
    assert split.test.last + horizon == last
    if split.validates == "days":
        assert split.train.last + horizon <= split.validate.first
        assert split.train.days >= 3 * horizon
    else:
        assert split.train.first <= split.validate.first
        assert split.validate.last == split.train.last


def test_forty_days_with_a_horizon_of_ten_are_split_as_the_page_says() -> None:
    split = time_split(1, 40, 10)
    assert (split.train, split.validate, split.test) == (Span(1, 15), Span(8, 15), Span(25, 30))
    assert split.validates == "drives"


def test_a_year_with_a_horizon_of_thirty_has_days_of_its_own_to_validate_on() -> None:
    split = time_split(1, 365, 30)
    assert (split.train, split.validate, split.test) == (Span(1, 132), Span(162, 194), Span(224, 335))


def test_too_short_data_are_refused_with_the_days_that_would_do() -> None:
    with pytest.raises(TooFewDataError, match=r"33 days of data for a horizon of 10.* want 34 days or more"):
        time_split(1, 33, 10)
    time_split(1, 34, 10)
    with pytest.raises(TooFewDataError, match=r"19 days of data .* want 20 days or more"):
        training_split(1, 19, 10)


@given(days=st.integers(20, 500), horizon=st.integers(1, 60))
def test_training_leaves_out_no_day_whose_horizon_is_over(days: int, horizon: int) -> None:
    try:
        split = training_split(1, days, horizon)
    except TooFewDataError:
        return
    assert split.validate.last == days - horizon
    assert split.train.last <= split.validate.last - (horizon if split.validates == "days" else 0)


_ROWS = st.lists(
    st.tuples(st.sampled_from("ABCDEFGH"), st.integers(0, 9), st.sampled_from([None, "n1", "n2", "n3", "n4"])),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:2],
)


@given(rows=_ROWS, seed=st.integers(0, 50), order=st.randoms())
def test_no_drive_and_no_node_is_in_two_folds_whatever_the_order(rows: list[tuple], seed: int, order) -> None:
    def dealt(records: list[tuple]) -> dict[tuple, int]:
        frame = pl.DataFrame(
            [(drive, day(number), node) for drive, number, node in records],
            schema={"drive": pl.String, "day": pl.Date, "node": pl.String},
            orient="row",
        )
        return dict(zip(records, folds(frame, 3, seed).tolist(), strict=True))

    found = dealt(rows)
    for column in (0, 2):
        for name in {row[column] for row in rows} - {None}:
            own = {fold for row, fold in found.items() if row[column] == name} - {NO_FOLD}
            assert len(own) <= 1
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert dealt(shuffled) == found


def test_a_row_on_a_node_of_another_fold_is_in_no_part() -> None:
    homes = {fold: name for name in "abcdefgh" for fold in _fold_of(name)}
    here, there = list(homes.values())[:2]
    frame = pl.DataFrame({"drive": ["D", "D", "E"], "day": [day(0), day(1), day(0)], "node": [here, there, there]})
    found = folds(frame, 5, 0)
    assert found[0] != NO_FOLD
    assert found[1] == NO_FOLD
    assert found[2] not in (NO_FOLD, found[0])


def _fold_of(node: str) -> list[int]:
    return folds(pl.DataFrame({"drive": ["D"], "day": [day(0)], "node": [node]}), 5, 0).tolist()


def test_folds_are_alike_in_size_and_another_seed_deals_anew() -> None:
    drives = [f"SN{number:05d}" for number in range(5_000)]
    frame = pl.DataFrame(
        {"drive": drives, "day": [day(0)] * 5_000, "node": [None] * 5_000}, schema_overrides={"node": pl.String}
    )
    first, second = folds(frame, 5, 0), folds(frame, 5, 1)
    assert np.bincount(first).min() > 850
    assert 0.1 < (first == second).mean() < 0.3


def test_every_two_folds_make_a_pair_once() -> None:
    assert list(pairs(3)) == [(0, 1), (0, 2), (1, 2)]
