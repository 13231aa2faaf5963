"""Ranks within a model: tables of a day, ties, small models, and chunks that agree with the whole."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analytics.errors import DataError
from analytics.ssd.days import canonical_days
from analytics.ssd.features import features
from analytics.ssd.fleet_reference import LEAST_DRIVES, FleetReference, fleet_reference, fleet_references, reference_day
from tests.analytics.ssd.drive_rows import day

RANK = "wear_rank_in_model"


def fleet(wear: list[int | None], on: int = 0, model: str | None = "M") -> pl.DataFrame:
    """One drive a value, read on one day."""
    return canonical_days(
        pl.DataFrame(
            {
                "drive": [f"{model}{n:04}" for n in range(len(wear))],
                "day": [day(on)] * len(wear),
                "model": model,
                "wear_used_pct": wear,
            },
            schema_overrides={"wear_used_pct": pl.Int64, "model": pl.String},
        )
    )


def ranks(days: pl.DataFrame, reference: FleetReference) -> list[float | None]:
    """Rank of wear, by row."""
    return features(days, reference=reference)[RANK].to_list()


def test_a_rank_is_the_share_of_the_model_that_is_below() -> None:
    days = fleet(list(range(101)))
    found = ranks(days, fleet_reference(days, day(0)))
    assert found == pytest.approx([(n + 0.5) / 101 for n in range(101)], abs=0.01)


def test_equal_drives_stand_in_the_middle() -> None:
    days = fleet([7] * 50)
    assert ranks(days, fleet_reference(days, day(0))) == pytest.approx([0.5] * 50)


def test_a_drive_that_alone_has_errors_stands_at_the_top() -> None:
    days = fleet([0] * 200)
    reference = fleet_reference(days, day(0))
    [worst] = ranks(fleet([9]), reference)
    [usual] = ranks(fleet([0]), reference)
    assert (worst, usual) == (1.0, pytest.approx(0.5))


@given(wear=st.lists(st.one_of(st.none(), st.integers(0, 6), st.integers(0, 2**50)), min_size=20, max_size=60))
@settings(max_examples=30)
def test_ranks_rise_with_values_and_stay_between_0_and_1(wear: list[int | None]) -> None:
    days = fleet(wear)
    found = ranks(days, fleet_reference(days, day(0)))
    told = sum(value is not None for value in wear)
    assert [rank is None for rank in found] == [value is None or told < LEAST_DRIVES for value in wear]
    pairs = sorted(
        (value, rank) for value, rank in zip(wear, found, strict=True) if value is not None and rank is not None
    )
    assert all(0 <= rank <= 1 for _, rank in pairs)
    assert [rank for _, rank in pairs] == sorted(rank for _, rank in pairs)
    assert len({value for value, _ in pairs}) == len(dict(pairs))


def test_a_small_model_has_no_ranks_and_neither_has_an_unknown_one() -> None:
    few = fleet([5] * (LEAST_DRIVES - 1))
    assert set(ranks(few, fleet_reference(few, day(0)))) == {None}
    enough = fleet([5] * LEAST_DRIVES)
    assert None not in ranks(enough, fleet_reference(enough, day(0)))
    nameless = fleet([5] * 50, model=None)
    assert set(ranks(nameless, fleet_reference(nameless, day(0)))) == {None}


def test_models_are_compared_with_their_own() -> None:
    days = canonical_days(pl.concat([fleet([1, 3] * 30, model="A"), fleet([2, 100] * 30, model="B")]))
    found = ranks(days, fleet_reference(days, day(0)))
    assert found[:2] == found[60:62]


def test_tables_hold_for_two_weeks_and_never_for_days_before() -> None:
    reference = fleet_reference(fleet([1, 2, 3, 4] * 10, on=10), day(10))
    for on, told in ((9, False), (10, True), (24, True), (25, False)):
        assert (ranks(fleet([2], on=on), reference)[0] is not None) == told


def test_the_newest_tables_count() -> None:
    old, new = fleet_reference(fleet([0] * 30, on=0), day(0)), fleet_reference(fleet([9] * 30, on=7), day(7))
    both = FleetReference.joined([new, old])
    assert ranks(fleet([5], on=6), both) == [1.0]
    assert ranks(fleet([5], on=7), both) == [0.0]


def test_weekly_snapshots_count_for_the_week() -> None:
    days = canonical_days(
        pl.concat([fleet([n] * 1, on=n % 7, model="M").with_columns(drive=pl.lit(f"D{n}")) for n in range(28)])
    )
    assert fleet_reference(days, day(6)).tables["drives"].to_list() == [28]
    assert fleet_reference(days, day(7)).tables["drives"].to_list() == [24]


def test_a_batch_makes_the_tables_that_the_days_would_have_made() -> None:
    days = canonical_days(pl.concat([fleet([n, n + 1, n + 2] * 10, on=n) for n in range(30)]))
    batch = fleet_references(days)
    assert batch.tables["day"].unique().sort().to_list() == sorted(
        {day(0), *(reference_day(day(n)) for n in range(7, 30))}
    )
    for n in (8, 15, 29):
        made = reference_day(day(n))
        week = days.filter(pl.col("day").is_between(made - timedelta(days=6), made))
        alone = features(days, day(n), day(n), reference=fleet_reference(week, made))
        assert_frame_equal(alone, features(days, day(n), day(n), reference=batch), check_exact=True)


def test_tables_are_made_on_one_day_in_seven() -> None:
    found = {reference_day(date(2026, 1, n)) for n in range(1, 15)}
    assert found == {date(2026, 1, 1), date(2026, 1, 8)}


def test_other_tables_are_refused() -> None:
    with pytest.raises(DataError, match="tables of a fleet"):
        FleetReference(pl.DataFrame({"model": ["M"]}))


def test_a_reference_of_nothing_ranks_nothing() -> None:
    nothing = fleet_references(fleet([]))
    assert ranks(fleet([1]), nothing) == [None]
