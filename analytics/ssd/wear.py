"""When the rated life of a drive is used up: a robust line through whole percents, and an interval that admits them.

Drives tell wear in whole percents, so that 60 days of a drive that wears 2 % a year are one number all along. Each
reading k is taken for what it is: the true wear lies in [k, k + 1). From the newest WINDOW_D days:

slope     median of the slopes between the moments at which the number stepped (Theil-Sen over steps), from 2 steps on;
slack     how far the readings leave that line beyond their own percent, 0 where wear is linear;
interval  every slope for which each pair of readings can lie on one line, give or take the slack, and then wider by
          what days that differ by a relative deviation of 1 make of the window and of the days until the end (1.645
          deviations: 90 %); the end is early for the steepest slope from the upper end of today's percent, late for
          the flattest from its lower end.

So the interval holds the end of any truly linear wear, whatever the rounding, and that of wear that scatters so from
day to day in at least 90 of 100 drives (tests/analytics/ssd/test_wear.py draws both). Of a drive whose work changes
for good it says nothing until the window has seen it.

With one step or none the window can hardly tell the slope. Then it is the average over the life (wear / power_on_h),
if it is compatible with the window, with an interval of half to twice that, cut to what the window allows. A flat
window that contradicts it has no date, and says so; what the window allows at most still gives the earliest end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.ssd.verdicts import Float64Array, WearForecast

Int64Array = npt.NDArray[np.int64]

WINDOW_D: Final = 90
LEAST_WINDOW_D: Final = 30
CONFIDENCE: Final = 0.9
#: No date is said beyond this: nobody keeps a drive so long, and the error of a slope grows with it.
FARTHEST_D: Final = 30 * 365
#: Below this an average over the life says more of how the drive was tested than of its work.
LEAST_POWER_ON_H: Final = 90 * 24
_RATED_PCT: Final = 100.0
_LIFE_FACTOR: Final = 2.0
_Z: Final = 1.645  # a normal deviate is beyond it, on either side, one time in ten
_DAILY_SCATTER: Final = 1.0

#: Columns of `wear_forecasts`, one row a drive. `basis`: window, life, or "" where there is no slope.
FORECASTS: Final[dict[str, pl.DataType]] = {
    "drive": pl.String(),
    "used_pct": pl.Float64(),
    "pct_per_day": pl.Float64(),
    "ends": pl.Date(),
    "ends_early": pl.Date(),
    "ends_late": pl.Date(),
    "basis": pl.String(),
    "why_not": pl.String(),
}


@dataclass(frozen=True, slots=True)
class _Window:
    """What the window tells of each drive: float64[drives] each, NaN where it has no reading of wear."""

    span: Float64Array  # days from the first to the last reading
    steps: Float64Array  # how often the number changed
    slope: Float64Array  # percent a day; NaN where it stood still
    low: Float64Array
    high: Float64Array
    now: Float64Array  # the true wear that the newest reading stands for
    now_low: Float64Array
    now_high: Float64Array


def wear_forecasts(days: pl.DataFrame) -> pl.DataFrame:
    """The forecast of every drive in `days`, on its own newest day.

    Args:
        days: columns.DAYS, sorted by drive and day, nothing after the day that is judged.
    Returns:
        FORECASTS, one row a drive that stands in `days`, in their order.
    Cost: linear in rows where wear stands still; quadratic in the steps of a drive within the window.
    """
    if days.is_empty():
        return pl.DataFrame(schema=FORECASTS)
    drive = pl.col("drive")
    begins = days.select(drive.ne_missing(drive.shift(1))).to_series().to_numpy()
    starts = np.flatnonzero(begins)
    place = np.cumsum(begins) - 1
    at = days["day"].cast(pl.Int32).cast(pl.Int64).to_numpy()
    window = _window_of(starts.size, *_runs(place, at, days["wear_used_pct"]))
    ends = np.append(starts[1:], days.height) - 1
    used, hours = (_newest(starts.size, place, days[name]) for name in ("wear_used_pct", "power_on_h"))
    return _forecasts(days["drive"].gather(starts), at[ends], used, hours, window)


def wear_forecast(row: dict[str, Any]) -> WearForecast:
    """One row of `wear_forecasts` as what verdicts.py calls it."""
    return WearForecast(
        row["used_pct"],
        row["pct_per_day"],
        row["ends"],
        row["ends_early"],
        row["ends_late"],
        CONFIDENCE,
        row["why_not"],
        row["basis"],
    )


def wear_text(forecast: WearForecast) -> str:
    """The forecast in one line."""
    if forecast.ends is None:
        earliest = "" if forecast.ends_early is None else f"; not before {forecast.ends_early}"
        return f"no date: {forecast.why_not}{earliest}"
    if forecast.used_pct is not None and forecast.used_pct >= _RATED_PCT:
        return "the rated life is used up"
    late = forecast.ends_late or f"beyond {FARTHEST_D // 365} years"
    interval = f"{100 * forecast.confidence:.0f} %: {forecast.ends_early} to {late}"
    pace = "on average over its life" if forecast.basis == "life" else "as lately"
    return f"used up on {forecast.ends} ({interval}), at {forecast.pct_per_day:.3g} % a day {pace}"


def _newest(drives: int, place: Int64Array, column: pl.Series) -> Float64Array:
    """The newest known value of each drive, NaN where there is none; `place` is ascending."""
    told = np.flatnonzero(column.is_not_null().to_numpy())
    newest = np.full(drives, np.nan)
    last = told[np.flatnonzero(np.diff(place[told], append=drives))]
    newest[place[last]] = column.gather(last).to_numpy()
    return newest


def _runs(place: Int64Array, at: Int64Array, wear: pl.Series) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    """place, wear, first and last day of stretches of equal wear within the window, after the newest fall."""
    told = np.flatnonzero(wear.is_not_null().to_numpy())
    place, at, used = place[told], at[told], wear.gather(told).to_numpy()
    if place.size == 0:
        return place, used, at, at
    newest = at[_drive_end(place)]
    place, at, used = (values[at > newest - WINDOW_D] for values in (place, at, used))
    same = np.diff(place, prepend=-1) == 0
    stepped = ~same | (np.diff(used, prepend=-1) != 0)
    fell = same & (np.diff(used, prepend=-1) < 0)
    begin = np.flatnonzero(stepped)
    if fell.any():
        # From the last fall of each drive on: its row number, spread over the rows of the drive.
        since = np.maximum.accumulate(np.where(fell | ~same, np.arange(place.size), 0))
        begin = begin[begin >= since[_drive_end(place)[begin]]]
    end = np.append(begin[1:], place.size) - 1
    end = np.minimum(end, _drive_end(place)[begin])
    return place[begin], used[begin], at[begin], at[end]


def _drive_end(place: Int64Array) -> Int64Array:
    """For each row the number of its drive's last row; `place` is ascending and not empty."""
    last = np.flatnonzero(np.diff(place, append=place[-1] + 1))
    return np.repeat(last, np.diff(last, prepend=-1))


def _window_of(drives: int, place: Int64Array, wear: Int64Array, first: Int64Array, last: Int64Array) -> _Window:
    window = _Window(*(np.full(drives, np.nan) for _ in range(8)))
    for rows in _by_run_count(place):
        _fill(window, place[rows[:, 0]], *(values[rows].astype(np.float64) for values in (wear, first, last)))
    return window


def _by_run_count(place: Int64Array) -> Iterator[Int64Array]:
    """Row numbers int64[drives, n] of all drives with n runs, for each n that occurs."""
    if place.size == 0:
        return
    starts = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
    counts = np.diff(starts, append=place.size)
    for count in np.unique(counts):
        yield starts[counts == count][:, None] + np.arange(count)


def _fill(window: _Window, who: Int64Array, wear: Float64Array, first: Float64Array, last: Float64Array) -> None:
    """The parts of drives `who` with n runs each; wear, first and last are float64[drives, n], wear rising."""
    today = last[:, -1]
    now, slack = wear[:, -1] + 0.5, np.zeros(len(who))
    if wear.shape[1] > 1:
        at = (last[:, :-1] + first[:, 1:]) / 2
        level = (wear[:, :-1] + wear[:, 1:] + 1) / 2  # the mean of the whole percents passed between two runs
        slope = _between_steps(at, level) if wear.shape[1] > 2 else (wear[:, 1] - wear[:, 0]) / (today - first[:, 0])
        offset = np.median(level - slope[:, None] * at, axis=1)
        above = wear - (offset[:, None] + slope[:, None] * first)
        below = offset[:, None] + slope[:, None] * last - (wear + 1)
        slack = np.maximum(0.0, np.maximum(above.max(axis=1), below.max(axis=1)))
        now = np.clip(offset + slope * today, wear[:, -1], wear[:, -1] + 1)
        window.slope[who] = slope
    window.low[who], window.high[who] = _feasible(wear, first, last, slack)
    window.span[who], window.steps[who] = today - first[:, 0], wear.shape[1] - 1
    window.now[who], window.now_low[who], window.now_high[who] = now, wear[:, -1] - slack, wear[:, -1] + 1 + slack


def _between_steps(at: Float64Array, level: Float64Array) -> Float64Array:
    earlier, later = np.triu_indices(at.shape[1], 1)
    return np.median((level[:, later] - level[:, earlier]) / (at[:, later] - at[:, earlier]), axis=1)


def _feasible(
    wear: Float64Array, first: Float64Array, last: Float64Array, slack: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """The flattest and the steepest slope at which every pair of readings can lie on one line, within the slack."""
    earlier, later = np.triu_indices(wear.shape[1])
    steps = wear[:, later] - wear[:, earlier]
    farthest = last[:, later] - first[:, earlier]
    nearest = np.maximum(first[:, later] - last[:, earlier], 1.0)
    room = 2 * slack[:, None]
    with np.errstate(divide="ignore"):
        high = np.where(farthest > 0, (steps + 1 + room) / np.maximum(farthest, 1e-9), np.inf)
    least = steps - 1 - room
    low = np.where(least > 0, least / nearest, 0.0)
    return low.max(axis=1), high.min(axis=1)


def _forecasts(
    drives: pl.Series, newest: Int64Array, used: Float64Array, hours: Float64Array, window: _Window
) -> pl.DataFrame:
    chosen = _chosen(used, hours, window)
    with np.errstate(divide="ignore", invalid="ignore"):
        left_d = np.maximum(_RATED_PCT - window.now, 0) / chosen.slope
        scatter = 1 + _Z * _DAILY_SCATTER * np.sqrt(1 / np.maximum(window.span, 1) + 1 / np.maximum(left_d, 1))
        early_d = np.floor(np.maximum(_RATED_PCT - window.now_high, 0) / (chosen.high * scatter))
        late_d = np.ceil(np.maximum(_RATED_PCT - window.now_low, 0) / (chosen.low / scatter))
    over = used >= _RATED_PCT
    ahead_d = [np.where(over, 0.0, each) for each in (left_d, early_d, late_d)]
    names = ("ends", "ends_early", "ends_late")
    return pl.DataFrame(
        {
            "drive": drives,
            "used_pct": pl.Series(used, nan_to_null=True),
            "pct_per_day": pl.Series(chosen.slope, nan_to_null=True),
            **{name: _dates(newest, each) for name, each in zip(names, ahead_d, strict=True)},
            "basis": chosen.basis,
            "why_not": _why_not(used, chosen, ahead_d[0], window),
        },
        schema=FORECASTS,
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The slope that is said, and its bounds; NaN where there is none. `basis` is "window", "life" or ""."""

    slope: Float64Array
    low: Float64Array
    high: Float64Array
    basis: npt.NDArray[np.str_]


def _chosen(used: Float64Array, hours: Float64Array, window: _Window) -> _Chosen:
    """What the window tells; where it cannot tell, the average over the life, if the window allows that."""
    with np.errstate(divide="ignore", invalid="ignore"):
        life = np.where((hours >= LEAST_POWER_ON_H) & (used >= 1), (used + 0.5) / hours * 24, np.nan)
        least, most = used / hours * 24 / _LIFE_FACTOR, (used + 1) / hours * 24 * _LIFE_FACTOR
    long = window.span >= LEAST_WINDOW_D
    low, high = np.where(long, window.low, 0.0), np.where(long, window.high, np.inf)
    told = long & (window.steps >= 2)
    by_life = ~told & (life >= low) & (life <= high)
    one_step = long & (window.steps == 1) & ~told & ~by_life
    flat = long & (window.steps == 0) & ~by_life
    return _Chosen(
        np.select([by_life, told | one_step, flat], [life, window.slope, 0.0], np.nan),
        np.select([by_life, told | one_step], [np.maximum(least, low), low], np.nan),
        np.select([by_life, told | one_step | flat], [np.minimum(most, high), high], np.nan),
        np.select([by_life, told | one_step | flat], ["life", "window"], ""),
    )


def _dates(newest: Int64Array, ahead_d: Float64Array) -> pl.Series:
    """Days ahead as dates; NULL where there is none or it lies too far away."""
    sayable = ahead_d <= FARTHEST_D  # False for NaN and inf
    at = newest + np.where(sayable, ahead_d, 0).astype(np.int64)
    return pl.Series(at).cast(pl.Int32).cast(pl.Date).set(pl.Series(~sayable), None)


def _why_not(used: Float64Array, chosen: _Chosen, ends_d: Float64Array, window: _Window) -> pl.Series:
    """Why there is no date, in words; "" where there is one."""
    facts = pl.DataFrame({"span": window.span, "slope": chosen.slope, "used": used, "ends": ends_d}, nan_to_null=True)
    span, slope = pl.col("span").cast(pl.Int64), pl.col("slope")
    return facts.select(
        pl.when(pl.col("used").is_null())
        .then(pl.lit("the drive does not tell its wear"))
        .when(pl.col("used") >= _RATED_PCT)
        .then(pl.lit(""))
        .when(slope.is_null())
        .then(
            pl.format(
                f"{{}} of readings of wear, {LEAST_WINDOW_D} are wanted, and its life so far tells no average",
                pl.when(span > 0).then(pl.format("{} days", span + 1)).otherwise(pl.lit("1 day")),
            )
        )
        .when(slope == 0)
        .then(pl.format("wear stood still for {} days", span))
        .when(pl.col("ends") > FARTHEST_D)
        .then(pl.lit(f"at this pace not within {FARTHEST_D // 365} years"))
        .otherwise(pl.lit(""))
        .alias("why_not")
    )["why_not"]
