"""Requests that a service recorded: when each came, waited and ran, what was predicted, on how many threads.

Columns as services send them become `Samples` once, here; what cannot be used is left out and counted by reason.

Clocks of machines differ, and a request that ended before it came is never seen here: a sample says how long it waited
and ran, not when it ended. What a clock that jumps does to the order of arrival, it does to `arrivals_ms` only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.errors import DataError
from analytics.tail.simulation import Int32Array
from analytics.tail.speedup import Float64Array, Int64Array

BoolArray = npt.NDArray[np.bool_]

#: Why a request is left out, in the order in which it is looked at.
REASONS: Final = {
    "no_service_time": "no service time, or none above 0",
    "bad_time": "a time is negative, infinite, or longer than a day",
    "no_arrival": "no time of arrival, or none after 1970",
    "bad_degree": "threads at the start below 1, at the end fewer than that or more than 4,096",
}
_DAY_MS: Final = 86_400_000.0
_MOST_DEGREE: Final = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """n recorded requests in order of arrival; all arrays of n, times in milliseconds.

    Attributes:
        arrivals_ms: since the beginning of `origin_ns`, never falling.
        waits_ms: for its first thread, 0 where not told. services_ms: from then to its end, above 0.
        predictions_ms: of the time on one thread; NaN: none. cpu_ms: of all its threads; NaN: not told.
        raised_ms: after its start, when it got more threads for the first time; NaN: never, or not told.
        degrees, last_degrees: threads at its start and end, 1 where not told.
        in_system: other requests in the service at its start; active, long_active: threads at work then, and those of
            long requests. All -1 where not told.
        table_versions: of the target table that it was run by; -1: none, or not told.
        explored: its degree was drawn by chance.
        weights: how many requests it stands for, at least 1.
        instances: int32, the server that it ran on, by number; each has hardware threads of its own.
        origin_ns: since 1970 UTC, where arrivals_ms is 0.
        left_out: requests by reason (REASONS).
    """

    arrivals_ms: Float64Array
    waits_ms: Float64Array
    services_ms: Float64Array
    predictions_ms: Float64Array
    cpu_ms: Float64Array
    raised_ms: Float64Array
    degrees: Int32Array
    last_degrees: Int32Array
    in_system: Int32Array
    active: Int32Array
    long_active: Int32Array
    table_versions: Int32Array
    explored: BoolArray
    weights: Float64Array
    instances: Int32Array
    origin_ns: int = 0
    left_out: Mapping[str, int] | None = None

    def __len__(self) -> int:
        """How many."""
        return int(self.arrivals_ms.size)

    @property
    def latencies_ms(self) -> Float64Array:
        """From arrival to end."""
        return np.asarray(self.waits_ms + self.services_ms)

    def where(self, chosen: BoolArray | Int64Array | slice) -> "Samples":
        """Some of them, in the same order."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in ARRAYS})


ARRAYS: Final = tuple(one.name for one in fields(Samples) if one.name not in ("origin_ns", "left_out"))

_FLOATS: Final = ("wait_us", "service_us", "predicted_us", "cpu_us", "raised_us")
_COUNTS: Final = ("degree", "degree_final", "in_system", "active_threads", "long_threads", "table_version")
#: Columns of `take_samples`; all but arrival_ns and service_us may be left out.
COLUMNS: Final = ("arrival_ns", *_FLOATS, *_COUNTS, "explored", "weight")
#: One more that it takes: the server, by number, where requests of several are together. No request tells it itself.
INSTANCE_COLUMN: Final = "instance"


def take_samples(columns: Mapping[str, npt.NDArray[np.generic]]) -> Samples:
    """Columns as services send them, sorted by arrival; cost is a sort, memory some 120 bytes a request.

    Args:
        columns: by name (COLUMNS), each of n: `arrival_ns` int64, since 1970 UTC; times in microseconds, NaN where not
            told; counts as integers, negative where not told; `explored` as 0 or 1; `weight`, at least 1; `instance`
            (INSTANCE_COLUMN) as a number, all of one server where it is left out.
    Raises:
        DataError: a wanted column is missing, or they are not of one length.
    """
    for name in ("arrival_ns", "service_us"):
        if name not in columns:
            raise DataError(f"columns {', '.join(sorted(columns))}; {name} is wanted, too")
    n = columns["arrival_ns"].size
    for name, values in columns.items():
        if values.shape != (n,):
            raise DataError(f"column {name} has shape {values.shape}; want one value for each of {n} requests")
    floats = {name: _float(columns, name, n) for name in _FLOATS}
    counts = {name: _count(columns, name, n) for name in _COUNTS}
    arrivals = np.asarray(columns["arrival_ns"], np.int64)
    first = np.where(counts["degree"] < 0, 1, counts["degree"])
    last = np.where(counts["degree_final"] < 0, first, counts["degree_final"])
    faults = {
        "no_service_time": ~(floats["service_us"] > 0),
        "bad_time": np.logical_or.reduce(
            [(values < 0) | (values > _DAY_MS * 1e3) for values in floats.values()] or [np.zeros(n, bool)]
        ),
        "no_arrival": arrivals <= 0,
        "bad_degree": (first < 1) | (last < first) | (last > _MOST_DEGREE),
    }
    good, left_out = np.ones(n, bool), {}
    for reason, wrong in faults.items():
        if (some := int(np.count_nonzero(good & wrong))) > 0:
            left_out[reason] = some
        good &= ~wrong
    order = np.flatnonzero(good)[np.argsort(arrivals[good], kind="stable")]
    arrivals = arrivals[order]
    origin_ns = int(arrivals[0]) if order.size else 0
    milliseconds = {name: values[order] * 1e-3 for name, values in floats.items()}
    predictions = milliseconds["predicted_us"]
    numbers = {name: values[order].astype(np.int32) for name, values in counts.items()}
    weight = np.asarray(columns["weight"], np.float64)[order] if "weight" in columns else np.ones(order.size)
    instances = _count(columns, INSTANCE_COLUMN, n) if INSTANCE_COLUMN in columns else np.zeros(n, np.int64)
    explored = np.asarray(columns["explored"])[order] > 0 if "explored" in columns else np.zeros(order.size, bool)
    return Samples(
        arrivals_ms=np.asarray((arrivals - origin_ns) * 1e-6, np.float64),
        waits_ms=np.nan_to_num(milliseconds["wait_us"], nan=0.0),
        services_ms=milliseconds["service_us"],
        predictions_ms=np.where(predictions > 0, predictions, np.nan),
        cpu_ms=milliseconds["cpu_us"],
        raised_ms=milliseconds["raised_us"],
        degrees=first[order].astype(np.int32),
        last_degrees=last[order].astype(np.int32),
        in_system=numbers["in_system"],
        active=numbers["active_threads"],
        long_active=numbers["long_threads"],
        table_versions=numbers["table_version"],
        explored=explored,
        weights=np.maximum(np.nan_to_num(weight, nan=1.0, posinf=1.0), 1.0),
        instances=instances[order].astype(np.int32),
        origin_ns=origin_ns,
        left_out=left_out,
    )


def _float(columns: Mapping[str, npt.NDArray[np.generic]], name: str, n: int) -> Float64Array:
    return np.asarray(columns[name], np.float64) if name in columns else np.full(n, np.nan)


def _count(columns: Mapping[str, npt.NDArray[np.generic]], name: str, n: int) -> npt.NDArray[np.int64]:
    if name not in columns:
        return np.full(n, -1, np.int64)
    values = columns[name]
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isfinite(values.astype(np.float64)), values, -1)
    return np.clip(np.asarray(values, np.int64), -1, 2**31 - 1)
