"""How counters of trouble stand and grow: level, growth over spans, acceleration, age-adjusted, how long ago, how many.

Nearly all counters of nearly all drives are 0. So the arithmetic is done only where a counter is above 0, and every
other cell is a 0, or NaN where something it needs is unknown. A counter that fell was reset: its growth is 0 there,
never below (the day's flag says so).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.ssd.feature_names import GROWTH_SPANS, STEMS
from analytics.ssd.timeline import TOLERANCE_D, WINDOW_D, Block, BoolArray, Column, Int64Array, Timeline

Float32Array = npt.NDArray[np.float32]
#: Where features are written, by name: float32[rows of the block], NaN before.
Sheet = Mapping[str, Float32Array]

HOURS_PER_DAY: Final = 24


def log1p(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """log(1 + x) of x >= 0, and -log(1 - x) below: tails are shortened on both sides, 0 stays 0."""
    numbers = np.asarray(values, np.float64)
    return np.copysign(np.log1p(np.abs(numbers)), numbers)


@dataclass(frozen=True, slots=True)
class Symptom:
    """A counter of trouble of all rows, and for each row the newest one up to it on which the counter had grown."""

    column: Column
    last_growth: Int64Array | None

    @classmethod
    def of(cls, column: Column, timeline: Timeline) -> "Symptom":
        """A rise over more than TOLERANCE_D days is no event: on which of the days it happened is not known."""
        keys, values = timeline.keys, column.values
        if column.known is None:
            grew = np.flatnonzero(values[1:] > values[:-1]) + 1
            grew = grew[keys[grew] - keys[grew - 1] <= TOLERANCE_D]
        else:
            told = np.flatnonzero(column.known)
            here, before = told[1:], told[:-1]
            grew = here[(values[here] > values[before]) & (keys[here] - keys[before] <= TOLERANCE_D)]
        if not grew.size:
            return cls(column, None)
        last = np.zeros(keys.size, np.int64)  # row 0 has no row before it: it can stand for "never" here
        last[grew] = grew
        return cls(column, np.maximum.accumulate(last))


@dataclass(slots=True)
class _Counts:
    """What the symptoms of a row add up to."""

    told: Int64Array
    above: Int64Array
    grew: dict[int, Int64Array]
    comparable: dict[int, Int64Array]
    new: Int64Array


def symptom_features(block: Block, symptoms: Mapping[str, Symptom], power_on_h: Column | None, into: Sheet) -> None:
    """All features of all counters of trouble; those that are told nowhere are not in `symptoms` and stay NaN."""
    n = block.rows.size
    zeros = [np.zeros(n, np.int64) for _ in range(3 + 2 * len(GROWTH_SPANS))]
    counts = _Counts(
        zeros[0],
        zeros[1],
        dict(zip(GROWTH_SPANS, zeros[3:6], strict=True)),
        dict(zip(GROWTH_SPANS, zeros[6:], strict=True)),
        zeros[2],
    )
    power_on_days = days_powered_on(block, power_on_h)
    for stem, column in STEMS.items():
        symptom = symptoms.get(column)
        if symptom is not None:
            # An NVMe drive's media errors are its uncorrectable errors: one symptom, not two.
            twin = symptoms.get("uncorrectable_total") if column == "media_errors_total" else None
            _one_symptom(block, stem, symptom, power_on_days, twin, counts, into)
    told = counts.told > 0
    into["symptoms"][told] = counts.above[told]
    for span in GROWTH_SPANS:
        comparable = counts.comparable[span] > 0
        into[f"symptoms_grew_{span}d"][comparable] = counts.grew[span][comparable]
    comparable = counts.comparable[WINDOW_D] > 0
    into["symptoms_new_30d"][comparable] = counts.new[comparable]
    into["missing_symptoms"][:] = len(STEMS) - _told_of(block, symptoms)


def days_powered_on(block: Block, power_on_h: Column | None) -> npt.NDArray[np.float64]:
    """Days powered on, at least 1; NaN where unknown."""
    if power_on_h is None:
        return np.full(block.rows.size, np.nan)
    hours, known = block.now(power_on_h)
    days = np.maximum(hours / HOURS_PER_DAY, 1.0)
    if known is not None:
        days[~known] = np.nan
    return days


def _told_of(block: Block, symptoms: Mapping[str, Symptom]) -> Int64Array:
    told = np.zeros(block.rows.size, np.int64)
    for symptom in symptoms.values():
        told += True if symptom.column.known is None else symptom.column.known[block.rows]
    return told


def _one_symptom(
    block: Block,
    stem: str,
    symptom: Symptom,
    power_on_days: npt.NDArray[np.float64],
    twin: Symptom | None,
    counts: _Counts,
    into: Sheet,
) -> None:
    column = symptom.column
    now, known = block.now(column)
    some = np.flatnonzero(now)  # where it is above 0: unknown values are 0 too
    blank = np.zeros(now.size, np.float32) if known is None else np.where(known, np.float32(0), np.float32(np.nan))

    into[f"{stem}_level"][:] = blank
    into[f"{stem}_level"][some] = log1p(now[some])
    rate = into[f"{stem}_per_power_on_day"]
    rate[:] = np.where(np.isnan(power_on_days), np.float32(np.nan), blank)
    rate[some] = log1p(now[some] / power_on_days[some])

    counted = np.ones(now.size, np.bool_) if known is None else known
    if twin is not None:
        counted = counted & (False if twin.column.known is None else ~twin.column.known[block.rows])
    counts.told += counted
    counts.above[some] += counted[some]

    growth: dict[int, Int64Array] = {}
    there: dict[int, BoolArray] = {}
    for span in GROWTH_SPANS:
        found, there[span] = block.before(column, span)
        earlier = column.values[found[some]]
        growth[span] = np.maximum(now[some] - earlier, 0)
        feature = into[f"{stem}_growth_{span}d"]
        feature[there[span]] = 0
        grown = growth[span] > 0
        feature[some[grown]] += log1p(growth[span][grown]).astype(np.float32)  # NaN stays NaN
        if span != WINDOW_D:
            counts.comparable[span] += there[span] & counted
            counts.grew[span][some] += grown & there[span][some] & counted[some]
    both = there[7] & there[30]
    acceleration = into[f"{stem}_acceleration"]
    acceleration[both] = 0
    acceleration[some] += log1p(growth[7] / 7 - growth[30] / 30).astype(np.float32)
    _growth_known(block, stem, symptom, some, counted, counts, into)
    _since_growth(block, symptom, blank, into[f"{stem}_since_growth_d"])


def _growth_known(
    block: Block, stem: str, symptom: Symptom, some: Int64Array, counted: BoolArray, counts: _Counts, into: Sheet
) -> None:
    """Growth over what is known of the last 30 days: a drive that is known for ten days has grown or not, too."""
    column = symptom.column
    found, there = block.first_known(column)
    earlier = column.values[found[some]]
    grown = np.maximum(column.values[block.rows[some]] - earlier, 0)
    feature = into[f"{stem}_growth_known"]
    feature[there] = 0
    feature[some] += log1p(grown).astype(np.float32)  # NaN stays NaN
    counted = counted & there
    counts.comparable[WINDOW_D] += counted
    counts.grew[WINDOW_D][some] += (grown > 0) & counted[some]
    counts.new[some] += (earlier == 0) & counted[some]


def _since_growth(block: Block, symptom: Symptom, blank: Float32Array, feature: Float32Array) -> None:
    feature[:] = blank + np.float32(WINDOW_D)
    if symptom.last_growth is None:
        return
    last = symptom.last_growth[block.rows]
    age = block.timeline.keys[block.rows] - block.timeline.keys[last]
    recent = (age < WINDOW_D) & (last > 0)
    feature[recent] = (blank[recent] + age[recent]).astype(np.float32)
