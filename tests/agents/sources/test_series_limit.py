"""A source lets so many series in, and no more."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from agents.sources.series_limit import SeriesLimit

HOUR_NS = 3600 * 10**9


def rows_of(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"name": list(names), "code": ["a"] * len(names), "value": range(len(names))})


def test_rows_of_known_series_pass_and_those_of_further_ones_are_left_out_and_counted() -> None:
    limit = SeriesLimit(2, ["name", "code"], "name")
    assert limit.admit(rows_of("x", "y", "x"), 0)["name"].to_list() == ["x", "y", "x"]
    assert limit.admit(rows_of("z", "y", "z", "x"), 1)["name"].to_list() == ["y", "x"]
    assert (len(limit), limit.refused, limit.offenders()) == (2, 2, [("z", 2)])


def test_a_series_that_is_not_seen_for_long_makes_room() -> None:
    limit = SeriesLimit(1, ["name"], "name")
    limit.admit(rows_of("x"), 0)
    assert limit.admit(rows_of("y"), HOUR_NS)["name"].to_list() == []
    assert limit.admit(rows_of("y"), 2 * HOUR_NS)["name"].to_list() == ["y"]


def test_a_series_that_goes_on_being_seen_stays_however_long_it_runs() -> None:
    limit = SeriesLimit(1, ["name"], "name")
    for quarter in range(40):
        assert limit.admit(rows_of("x", "y"), quarter * HOUR_NS // 4)["name"].to_list() == ["x"]
        assert len(limit) == 1


def test_a_million_odd_names_do_not_fill_the_memory_of_offenders() -> None:
    limit = SeriesLimit(1, ["name"], "name")
    limit.admit(rows_of("good"), 0)
    for batch in range(20):
        limit.admit(rows_of(*(f"odd{batch}-{i}" for i in range(500)), "worst", "worst"), 0)
    assert limit.refused == 20 * 502
    assert limit.offenders(1) == [("worst", 40)]
    assert len(limit.offenders(10_000)) <= 1502


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), max_size=8), st.integers(1, 4))
def test_whatever_comes_in_which_batches_the_first_series_are_let_in(batches: list[list[str]], most: int) -> None:
    limit = SeriesLimit(most, ["name"], "name")
    passed = [name for batch in batches for name in limit.admit(rows_of(*batch), 0)["name"].to_list()]
    flat = [name for batch in batches for name in batch]
    first = list(dict.fromkeys(flat))[:most]
    assert passed == [name for name in flat if name in first]
    assert limit.refused == len(flat) - len(passed)
