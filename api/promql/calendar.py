"""Hours, days and months of a time in seconds since 1970, UTC."""

from collections.abc import Callable

import numpy as np

from api.promql.evaluation import Evaluation
from api.promql.samples import Float64Array, Int64Array
from api.promql.tree import Call
from api.promql.values import Vector, floats_of, of_floats

Dates = np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]


def _days(seconds: Int64Array) -> Dates:
    return (seconds // 86_400).astype("datetime64[D]")


def _since(days: Dates, unit: str) -> Int64Array:
    """Days since the month or the year began."""
    return np.asarray((days - days.astype(f"datetime64[{unit}]").astype("datetime64[D]")).astype(np.int64))


def _days_in_month(seconds: Int64Array) -> Int64Array:
    month = _days(seconds).astype("datetime64[M]")
    return np.asarray(((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64))


PARTS: dict[str, Callable[[Int64Array], Int64Array]] = {
    "minute": lambda seconds: seconds // 60 % 60,
    "hour": lambda seconds: seconds // 3600 % 24,
    "day_of_week": lambda seconds: (seconds // 86_400 + 4) % 7,  # 1 January 1970 was a Thursday
    "day_of_month": lambda seconds: _since(_days(seconds), "M") + 1,
    "day_of_year": lambda seconds: _since(_days(seconds), "Y") + 1,
    "days_in_month": _days_in_month,
    "month": lambda seconds: _days(seconds).astype("datetime64[M]").astype(np.int64) % 12 + 1,
    "year": lambda seconds: _days(seconds).astype("datetime64[Y]").astype(np.int64) + 1970,
}
FARTHEST_S = 2**50  # beyond it a year has no date that NumPy can tell


def _function(name: str) -> Callable[[Evaluation, Call], Vector]:
    def function(evaluation: Evaluation, call: Call) -> Vector:
        if call.arguments:
            vector = evaluation.vector(call.arguments[0])
        else:
            times = evaluation.grid.seconds()[None, :]
            vector = of_floats([{}], times, np.ones(times.shape, np.bool_))
        return floats_of(vector, lambda times: _part(name, times))

    return function


def _part(name: str, times: Float64Array) -> Float64Array:
    known = np.abs(times) < FARTHEST_S
    seconds = np.where(known, np.floor(times), 0.0).astype(np.int64)
    return np.where(known, PARTS[name](seconds), np.nan)


FUNCTIONS = {name: _function(name) for name in PARTS}
