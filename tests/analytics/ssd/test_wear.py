"""The forecast of wear: its interval on simulated drives, whole percents, and what has no date."""

from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.ssd.verdicts import WearForecast
from analytics.ssd.wear import FARTHEST_D, LEAST_WINDOW_D, wear_forecast, wear_forecasts, wear_text
from tests.analytics.ssd.drive_tables import TODAY, history, seen

EPOCH = date(1970, 1, 1)


def forecast(days: pl.DataFrame) -> WearForecast:
    (row,) = wear_forecasts(days).iter_rows(named=True)
    return wear_forecast(row)


def rounded_down(wear: npt.NDArray[np.float64]) -> pl.DataFrame:
    """What drives show of float64[drives, days] on days 0, 1, ..."""
    drives, length = wear.shape
    return pl.DataFrame(
        {
            "drive": np.repeat([f"S{place:05d}" for place in range(drives)], length),
            "day": pl.Series(np.tile(np.arange(length, dtype=np.int32), drives)).cast(pl.Date),
            "wear_used_pct": np.floor(wear).astype(np.int64).ravel(),
        }
    ).with_columns(power_on_h=pl.lit(None, pl.Int64))


def covered(wear: npt.NDArray[np.float64], length: int) -> tuple[float, float]:
    """(share of drives whose true end lies in the interval, share that got a date), from the first `length` days."""
    end = np.where(wear[:, -1] >= 100, np.argmax(wear >= 100, axis=1), np.inf)
    found = wear_forecasts(rounded_down(wear[:, :length]))
    early, late, ends = (
        found[name].cast(pl.Int32).cast(pl.Float64).to_numpy() for name in ("ends_early", "ends_late", "ends")
    )
    dated = ~np.isnan(ends) & np.isfinite(end) & (end >= length)  # those still to come
    inside = (early <= end) & ~(late < end)  # no late end: it says beyond 30 years
    return float(inside[dated].mean()), float(dated.mean())


def slopes(rng: np.random.Generator, drives: int) -> npt.NDArray[np.float64]:
    return np.exp(rng.uniform(np.log(0.02), np.log(0.5), drives))


@pytest.mark.parametrize("length", [31, 60, 90])
def test_the_interval_holds_the_end_of_linear_wear_whatever_the_rounding(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.ssd.wear._DAILY_SCATTER", 0.0)  # by what the percents allow alone
    rng = np.random.default_rng(20260301)
    start, slope = rng.uniform(0, 50, 1500), slopes(rng, 1500)
    inside, dated = covered(start[:, None] + slope[:, None] * np.arange(5100, dtype=np.float64), length)
    assert inside == 1.0
    assert dated > 0.8


@pytest.mark.parametrize("length", [31, 90])
def test_the_interval_holds_the_end_of_wear_that_scatters_from_day_to_day_nine_times_in_ten(length: int) -> None:
    rng = np.random.default_rng(20260302)
    start, slope = rng.uniform(30, 50, 1000), slopes(rng, 1000)
    daily = rng.exponential(1.0, (1000, 3500)).astype(np.float32)  # relative deviation 1
    inside, dated = covered(start[:, None] + slope[:, None] * np.cumsum(daily, axis=1), length)
    assert inside >= 0.9
    assert dated > 0.8


@given(
    steps=st.lists(st.integers(0, 3), min_size=LEAST_WINDOW_D + 1, max_size=80),
    start=st.integers(0, 250),
    hours=st.none() | st.integers(0, 400_000),
)
def test_estimates_lie_in_their_interval_and_a_missing_date_is_said_in_words(
    steps: list[int], start: int, hours: int | None
) -> None:
    one = forecast(history(wear_used_pct=list(np.cumsum([start, *steps])), power_on_h=[hours]))
    assert one.used_pct == start + sum(steps)
    assert (one.ends is None) == (one.why_not != "")
    if one.ends is not None:
        assert one.ends_early is not None
        assert one.ends_early <= one.ends
        assert one.ends_late is None or one.ends <= one.ends_late
    assert wear_text(one)


def test_wear_that_stands_still_has_no_date_and_says_so() -> None:
    one = forecast(history(wear_used_pct=[5] * 61))
    assert (one.pct_per_day, one.ends, one.ends_late) == (0.0, None, None)
    assert one.why_not == "wear stood still for 60 days"
    assert one.ends_early is not None  # less than a whole percent in 60 days: 94 % take years
    assert (one.ends_early - TODAY).days > 3000
    assert wear_text(one) == f"no date: wear stood still for 60 days; not before {one.ends_early}"


def test_one_percent_in_ten_days_ends_when_arithmetic_says() -> None:
    one = forecast(history(wear_used_pct=[40 + day // 10 for day in range(61)]))
    assert one.ends is not None
    assert one.pct_per_day == pytest.approx(0.1)
    assert (one.ends - TODAY).days == pytest.approx(540, abs=10)
    assert one.confidence == 0.9


def test_a_burst_does_not_bend_the_slope() -> None:
    calm = [40 + day // 10 for day in range(90)]
    burst = [wear + (3 if day > 15 else 0) for day, wear in enumerate(calm)]
    one, other = (forecast(history(wear_used_pct=each)) for each in (calm, burst))
    assert other.pct_per_day == pytest.approx(one.pct_per_day, rel=0.05)


def test_a_short_history_falls_back_to_the_average_over_the_life() -> None:
    one = forecast(history(wear_used_pct=[50], power_on_h=[24 * 1010]))
    assert one.pct_per_day == pytest.approx(0.05)
    assert one.ends == TODAY + timedelta(days=990)
    assert one.ends_early is not None
    assert one.ends_late is not None
    assert one.ends_early < TODAY + timedelta(days=500)
    assert one.ends_late > TODAY + timedelta(days=1900)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"wear_used_pct": [None, None]}, "the drive does not tell its wear"),
        ({"wear_used_pct": [7] * 3}, "3 days of readings of wear, 30 are wanted, and its life so far tells no average"),
        ({"wear_used_pct": [7], "power_on_h": [100]}, "1 day of readings of wear, 30 are wanted, and its life so far "),
        ({"wear_used_pct": [0], "power_on_h": [9000]}, "1 day of readings of wear, 30 are wanted, and its life so far"),
        ({"wear_used_pct": [1], "power_on_h": [40_000]}, "at this pace not within 30 years"),
        # By its life it wears 1 % in 8 days; it has not for 60.
        ({"wear_used_pct": [50] * 61, "power_on_h": [10_000]}, "wear stood still for 60 days"),
    ],
)
def test_what_has_no_date_says_why(columns: dict[str, list[int]], why: str) -> None:
    one = forecast(history(**columns))
    assert one.ends is None
    assert one.why_not.startswith(why)


def test_a_window_that_cannot_tell_is_completed_by_the_life_when_they_agree() -> None:
    one = forecast(history(wear_used_pct=[50] * 61, power_on_h=[24 * 5050]))
    assert one.pct_per_day == pytest.approx(0.01)
    assert one.ends is not None
    # The window allows less than 1 % in 60 days, which is less than twice the average.
    assert one.ends_early is not None
    assert (one.ends_early - TODAY).days > 49 / (2 / 101) / 1.4


@pytest.mark.parametrize("used", [100, 112, 255, 100_000, 2**62])
def test_more_than_the_rated_life_never_overflows(used: int) -> None:
    one = forecast(history(wear_used_pct=[used - 1] * 40 + [used] * 10, power_on_h=[9000]))
    assert (one.used_pct, one.ends, one.ends_early, one.ends_late) == (used, TODAY, TODAY, TODAY)
    assert wear_text(one) == "the rated life is used up"


def test_only_what_came_after_a_fall_counts() -> None:
    falling = [90] * 5 + [10 + day // 10 for day in range(60)]
    one, other = forecast(history(wear_used_pct=falling)), forecast(history(wear_used_pct=falling[5:]))
    assert one == other


def test_nothing_older_than_the_window_counts() -> None:
    recent = [40 + day // 10 for day in range(90)]
    assert forecast(history(wear_used_pct=[3] * 50 + recent)) == forecast(history(wear_used_pct=recent))


def test_gaps_and_weekly_readings_are_read_by_date() -> None:
    daily = forecast(history(wear_used_pct=[40 + day // 10 for day in range(85)]))
    weekly = forecast(seen({84 - day: {"wear_used_pct": 40 + day // 10} for day in range(0, 85, 7)}))
    assert weekly.ends is not None
    assert weekly.pct_per_day == pytest.approx(daily.pct_per_day, rel=0.1)


@given(st.lists(st.lists(st.none() | st.integers(0, 120), min_size=1, max_size=50), min_size=2, max_size=4))
def test_drives_are_forecast_apart(wear: list[list[int | None]]) -> None:
    apart = [history(f"S{place}", wear_used_pct=each) for place, each in enumerate(wear)]
    assert wear_forecasts(pl.concat(apart)).rows() == [wear_forecasts(days).row(0) for days in apart]


def test_no_date_lies_beyond_what_is_said() -> None:
    slow = forecast(history(wear_used_pct=[1] * 45 + [2] * 45, power_on_h=[None] * 90))
    assert slow.ends is not None
    assert slow.ends_late is None
    assert "beyond 30 years" in wear_text(slow)
    assert slow.ends <= TODAY + timedelta(days=FARTHEST_D)


def test_an_empty_table_gives_an_empty_one() -> None:
    assert wear_forecasts(seen({0: {}}).clear()).is_empty()
