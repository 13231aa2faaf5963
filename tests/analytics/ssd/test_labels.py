"""Which rows teach something, and what."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import DataError
from analytics.ssd.labels import labels
from tests.analytics.ssd.drive_rows import DAY0, day

_DAYS = st.integers(0, 40)


def _rows(*pairs: tuple[str, int]) -> pl.DataFrame:
    days = [(drive, day(number)) for drive, number in pairs]
    return pl.DataFrame(days, schema={"drive": pl.String, "day": pl.Date}, orient="row")


@given(
    rows=st.lists(st.tuples(st.sampled_from("ABC"), _DAYS), min_size=1, max_size=30),
    failures=st.lists(st.tuples(st.sampled_from("ABC"), _DAYS), max_size=4),
    horizon=st.integers(1, 15),
)
def test_labels_are_what_the_definition_says_row_by_row(
    rows: list[tuple[str, int]], failures: list[tuple[str, int]], horizon: int
) -> None:
    found = labels(_rows(*rows), _rows(*failures), horizon)
    last = max(number for _, number in rows)
    for place, (drive, number) in enumerate(rows):
        failed = min((on for name, on in failures if name == drive), default=10**6)
        positive = number < failed <= number + horizon
        gone = number >= failed
        assert found.positive[place] == positive
        assert found.after_failure[place] == gone
        assert found.censored[place] == (not positive and not gone and number + horizon > last)
        assert found.usable[place] == (not found.censored[place] and not gone)


def test_a_row_whose_window_is_cut_counts_where_the_drive_failed_in_what_there_is_of_it() -> None:
    found = labels(
        _rows(("A", 8), ("B", 8), ("A", 9)), _rows(("A", 10)), 5, last_day=(DAY0 - date(1970, 1, 1)).days + 10
    )
    assert found.usable.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pl.DataFrame({"day": [DAY0]}), "no column 'drive'"),
        (pl.DataFrame({"drive": ["A"], "day": ["2026-01-01"]}), "'day' is String; want Date"),
        (pl.DataFrame({"drive": ["A", None], "day": [DAY0, DAY0 + timedelta(1)]}), "'drive' is empty in row 1"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_column(frame: pl.DataFrame, said: str) -> None:
    with pytest.raises(DataError, match=said):
        labels(frame, _rows(), 10)


def test_a_horizon_of_no_days_is_refused() -> None:
    with pytest.raises(DataError, match="horizon of 0 days"):
        labels(_rows(("A", 1)), _rows(), 0)
