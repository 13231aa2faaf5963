"""Why a model gave a drive its probability, in words with the figures that stand in the data.

A model's contributions (SHAP values, in log-odds) are numbers about features; an operator wants to read "reallocated
sectors 4 -> 61 in 7 days". So the figures come from the drive-days themselves wherever a feature is made of a column,
and from the feature's own value else; none is made up. Features of one column tell one story: the strongest speaks, its
rank within the model stands beside it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from analytics.ssd.columns import WORDS
from analytics.ssd.feature_names import DESCRIBED, Feature
from analytics.ssd.verdicts import Float32Array, Reason

MOST_REASONS: Final = 5
#: As in features: a value "7 days ago" may be up to so many days older.
_SLACK_D: Final = 14
#: Features that are about a whole row or a neighbourhood; {n} is their value.
_COUNTED: Final = {
    "symptoms": "kinds of errors on record: {n}",
    "symptoms_new_30d": "kinds of errors that were not there 30 days ago: {n}",
    "failures_on_node_30d": "failed drives on its node in 30 days: {n}",
    "failures_on_rack_30d": "failed drives in its rack in 30 days: {n}",
    "gap_d": "days without readings: {n}",
    "samples_30d": "days with readings of the last 30: {n}",
    "history_d": "days of history: {n}",
    "resets_30d": "days on which a counter fell, of the last 30: {n}",
    "missing_symptoms": "kinds of errors that it does not tell: {n}",
}
_FLAGS: Final = {
    "infant": ("less than 90 days powered on", "more than 90 days powered on"),
    "warns": ("critical warning of spare, reliability or read-only", "no critical warning"),
    "verdict_bad": ("the drive's own verdict is that it fails", "the drive's own verdict is good"),
}
_CATEGORIES: Final = {"kind": "its kind", "vendor": "its vendor", "model": "its model"}
_UNITS: Final = {"wear_used_pct": " %", "spare_pct": " %", "spare_threshold_pct": " %", "temperature_c": " °C"}


class History:
    """One drive's days, in order: what a reason may quote. Columns are only taken out when they are."""

    def __init__(self, days: pl.DataFrame) -> None:
        """Of the rows of one drive, sorted by day."""
        self._rows = days
        self._days: Sequence[date] = days["day"].to_list()
        self._columns: dict[str, Sequence[int | None]] = {}

    def newest(self, column: str) -> int | None:
        """What stands on the newest day."""
        values = self._values(column)
        return values[-1] if values else None

    def before(self, column: str, window_d: int) -> tuple[int, int] | None:
        """(value, how many days ago): the newest known at least `window_d` days ago, else the oldest since then."""
        newest = self._days[-1]
        known = [
            (value, (newest - day).days)
            for day, value in zip(self._days[:-1], self._values(column)[:-1], strict=True)
            if value is not None and newest - day <= timedelta(days=window_d + _SLACK_D)
        ]
        old_enough = [one for one in known if one[1] >= window_d]
        return old_enough[-1] if old_enough else next(iter(known), None)

    def _values(self, column: str) -> Sequence[int | None]:
        if column not in self._columns:
            self._columns[column] = self._rows[column].to_list()
        return self._columns[column]


def reasons(
    names: Sequence[str], contributions: Float32Array, values: Mapping[str, Any], history: History
) -> tuple[Reason, ...]:
    """What speaks most for failing, strongest first; at most MOST_REASONS, none where nothing does.

    Args:
        names: of the model's features, in the order of `contributions` (float32[features]).
        values: the drive's row of features, None for unknown.
        history: its drive-days up to that day.
    """
    order = [place for place in np.argsort(-contributions, kind="stable") if contributions[place] > 0]
    found: dict[str, Reason] = {}
    ranks: dict[str, str] = {}
    for place in order:
        name = names[place]
        feature = DESCRIBED.get(name)
        column = feature.columns[0] if feature is not None and feature.columns else name
        if feature is not None and feature.sort == "rank" and (rank := _rank(values.get(name))):
            ranks.setdefault(column, rank)
        story = column if feature is None or feature.sort not in ("count", "flag") else name
        if story not in found and len(found) < MOST_REASONS:
            text = reason_text(name, values.get(name), history)
            found[story] = Reason(name, column, float(contributions[place]), text)
    return tuple(_ranked(reason, ranks) for reason in found.values())


def reason_text(name: str, value: Any, history: History) -> str:
    """A feature of that value in words, whatever its name."""
    feature = DESCRIBED.get(name)
    if feature is None:
        return _unknown(name, value)
    if value is None:
        return f"{_what(feature)}: not known"
    if feature.sort == "flag":
        return _flag(feature, told=value == 0)
    grew = re.fullmatch(r"symptoms_grew_(\d+)d", name)
    if grew:
        return f"kinds of errors that grew in {_days(int(grew[1]))}: {_number(value)}"
    if name in _COUNTED:
        return _COUNTED[name].format(n=_number(value))
    return _of_column(feature, float(value), history)


def _flag(feature: Feature, *, told: bool) -> str:
    if feature.name in _FLAGS:
        return _FLAGS[feature.name][int(told)]
    return f"{_what(feature)}: {'told' if told else 'not told'}"


def _of_column(feature: Feature, value: float, history: History) -> str:
    column = feature.columns[0]
    if feature.name.startswith("write_amplification"):
        return f"{_what(feature)} {_number(math.expm1(value))}{_within(feature)}"
    if feature.name == "spare_margin_pct":
        threshold = _shown("spare_threshold_pct", history.newest("spare_threshold_pct"))
        return f"{_level(column, history)}, threshold {threshold}"
    match feature.sort:
        case "since":
            text = _since(feature, round(value))
        case "rank":
            text = f"{_level(column, history)} ({_rank(value)})"
        case "acceleration":
            text = _growth(column, 7, history)
        case "growth" | "rate" if feature.window_d:
            text = _growth(column, feature.window_d, history)
        case "rate":
            hours = history.newest("power_on_h")
            text = _level(column, history) + ("" if hours is None else f" in {hours} hours powered on")
        case _ if feature.window_d:
            text = f"{_what(feature)} up to {_number(value)}{_UNITS.get(column, '')}{_within(feature)}"
        case _:
            text = _level(column, history)
    return text


def _since(feature: Feature, days: int) -> str:
    if days >= feature.window_d:
        return f"{_what(feature)} have not grown{_within(feature)}"
    return f"{_what(feature)} grew {_days(days)} ago" if days else f"{_what(feature)} grew today"


def _within(feature: Feature) -> str:
    return f" within {_days(feature.window_d)}" if feature.window_d else ""


def _growth(column: str, window_d: int, history: History) -> str:
    now, before = history.newest(column), history.before(column, window_d)
    if now is None or before is None:
        return _level(column, history)
    value, days = before
    if value == now:
        return f"{WORDS[column]} still {_shown(column, now)} after {_days(days)}"
    return f"{WORDS[column]} {_shown(column, value)} -> {_shown(column, now)} in {_days(days)}"


def _level(column: str, history: History) -> str:
    now = history.newest(column)
    return f"{WORDS[column]} not told today" if now is None else f"{WORDS[column]} {_shown(column, now)}"


def _shown(column: str, value: int | None) -> str:
    if value is None:
        return "not told"
    if not column.endswith("_bytes"):
        return f"{value}{_UNITS.get(column, '')}"
    for unit, size in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value} B"


def _rank(value: Any) -> str:
    """p99 for the highest hundredth, p1 for the lowest: p100 would promise that there is none higher."""
    if value is None or not 0 <= value <= 1:
        return ""
    return f"p{max(1, min(int(value * 100), 99))} of its model"


def _ranked(reason: Reason, ranks: Mapping[str, str]) -> Reason:
    rank = ranks.get(reason.column)
    if rank is None or rank in reason.text or reason.feature not in DESCRIBED:
        return reason
    return Reason(reason.feature, reason.column, reason.contribution, f"{reason.text} ({rank})")


def _what(feature: Feature) -> str:
    if feature.name.startswith("write_amplification"):
        return "bytes written to flash per byte written by the host"
    return WORDS.get(feature.columns[0], _plain(feature.name)) if feature.columns else _plain(feature.name)


def _unknown(name: str, value: Any) -> str:
    what = _CATEGORIES.get(name, _plain(name))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"{what}: not known"
    return f"{what}: {value}" if isinstance(value, str) else f"{what} {_number(value)}"


def _plain(name: str) -> str:
    return name.replace("_", " ").strip() or "a feature without a name"


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
