"""Failures around a drive: whose, where, and from which day they count."""

from datetime import date

import polars as pl
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from analytics.ssd.days import canonical_days
from analytics.ssd.features import features
from analytics.ssd.neighbours import located_failures
from tests.analytics.ssd.drive_rows import day, failures_of, fleets, rows

NODE, RACK = "failures_on_node_30d", "failures_on_rack_30d"


def fleet(*drives: tuple[str, str | None, str | None], days: int = 45) -> pl.DataFrame:
    """Drives as (name, node, rack), read on each of so many days."""
    return canonical_days(
        pl.concat(
            [
                rows(*({"day": n, "node": node, "rack": rack} for n in range(days)), drive=name)
                for name, node, rack in drives
            ]
        )
    )


def failed(**drives: int) -> pl.DataFrame:
    """Failures by drive, as numbers of days."""
    return pl.DataFrame(
        {"drive": list(drives), "day": [day(n) for n in drives.values()]}, schema={"drive": pl.String, "day": pl.Date}
    )


def around(days: pl.DataFrame, failures: pl.DataFrame, drive: str, feature: str) -> list[float | None]:
    """The feature of one drive by day."""
    return features(days, failures=failures).filter(pl.col("drive") == drive)[feature].to_list()


def test_a_failure_counts_from_the_day_after_it_for_thirty_days() -> None:
    found = around(fleet(("A", "n", "r"), ("B", "n", "r")), failed(A=3), "B", NODE)
    assert found == [0] * 4 + [1] * 30 + [0] * 11


def test_a_rack_has_many_nodes() -> None:
    days = fleet(("A", "n1", "r"), ("B", "n2", "r"), ("C", "n3", "q"))
    assert around(days, failed(A=3), "B", NODE)[10] == 0
    assert around(days, failed(A=3), "B", RACK)[10] == 1
    assert around(days, failed(A=3), "C", RACK)[10] == 0


def test_a_drive_s_own_failure_does_not_count() -> None:
    days = fleet(("A", "n", "r"), ("B", "n", "r"))
    assert around(days, failed(A=3, B=4), "A", NODE)[10] == 1
    assert around(days, failed(A=3), "A", NODE) == [0] * 45


def test_a_place_that_is_unknown_has_unknown_failures() -> None:
    days = fleet(("A", None, None), ("B", None, "r"))
    assert set(around(days, failed(A=3), "B", NODE)) == {None}
    assert set(around(days, failed(A=3), "B", RACK)) == {0}


def test_without_a_list_of_failures_they_are_unknown_and_with_an_empty_one_none() -> None:
    days = fleet(("A", "n", "r"), days=2)
    assert features(days)[NODE].to_list() == [None, None]
    assert features(days, failures=failed())[NODE].to_list() == [0, 0]


def test_a_chunk_without_the_failed_drive_needs_to_be_told_where_it_was() -> None:
    whole = fleet(("A", "n", "r"), ("B", "n", "r"))
    chunk = whole.filter(pl.col("drive") == "B")
    located = located_failures(failed(A=3), whole)
    assert located.rows() == [("A", day(3), "n", "r")]
    assert set(around(chunk, failed(A=3), "B", NODE)) == {0}
    assert around(chunk, located, "B", NODE) == around(whole, failed(A=3), "B", NODE)


def test_a_failed_drive_was_where_it_was_seen_last_within_two_weeks() -> None:
    days = canonical_days(rows({"day": 0, "node": "a"}, {"day": 5, "node": "b"}, {"day": 40, "node": "c"}))
    assert located_failures(failed(S1=19), days)["node"].to_list() == ["b"]
    assert located_failures(failed(S1=12), days.reverse())["node"].to_list() == ["b"]
    assert located_failures(failed(S1=20), days)["node"].to_list() == [None]


def test_a_failure_told_twice_counts_once() -> None:
    days = fleet(("A", "n", "r"), ("B", "n", "r"))
    twice = pl.concat([failed(A=3), failed(A=3)])
    assert around(days, twice, "B", NODE)[10] == 1


@given(days=fleets())
@settings(max_examples=30)
def test_counts_are_those_of_looking_at_every_failure_for_every_row(days: pl.DataFrame) -> None:
    days = canonical_days(days)
    failures = located_failures(failures_of(days), days)
    found = features(days, failures=failures)
    told = failures.rows()
    for row, node, rack in zip(found.to_dicts(), days["node"], days["rack"], strict=True):
        for feature, at, place in ((NODE, 2, node), (RACK, 3, rack)):
            near = [f for f in told if f[at] == place and f[0] != row["drive"] and 1 <= age(row["day"], f[1]) <= 30]
            assert row[feature] == (None if place is None else len(near))


@given(days=fleets())
@settings(max_examples=20)
def test_drives_apart_are_as_drives_together_when_failures_are_located(days: pl.DataFrame) -> None:
    days = canonical_days(days)
    failures = located_failures(failures_of(days), days)
    whole = features(days, failures=failures)
    for drive in days["drive"].unique():
        alone = features(days.filter(pl.col("drive") == drive), failures=failures)
        assert_frame_equal(alone, whole.filter(pl.col("drive") == drive), check_exact=True)


def age(now: date, then: date) -> int:
    """Days between."""
    return (now - then).days
