"""Answers of both sides in one form, and whether two of them are the same."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.promql.answer import Answer
from quantiles.bins import bins_of
from tests.promql_differential.reference import Bucket
from tests.promql_differential.telemetry import metric_of

#: Values lie between 1/1024 and 2**20 and sums of them are exact; what is left is the rounding of divisions, of powers
#: and of running means, and what a subtraction of two such makes of it.
NOISE = 1e-9
#: Squares of deviations, slopes: differences of nearly equal large numbers, which both sides add up in other orders.
NOISE_OF_MOMENTS = 1e-7


@dataclass(frozen=True, slots=True)
class Histogram:
    """A native histogram as the HTTP API lists it; only buckets with values."""

    count: float
    sum: float
    buckets: tuple[Bucket, ...]


Labels = frozenset[tuple[str, str]]
Value = float | str | Histogram


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: a kind with points of series (time in ms, value), in the order given, or the status of a refusal."""

    status: int
    kind: str = ""
    series: tuple[tuple[Labels, tuple[tuple[int, Value], ...]], ...] = ()
    error: str = ""


def said_by_us(answer: Answer) -> Said:
    """The evaluator's answer."""
    points: list[list[tuple[int, Value]]] = [[] for _ in answer.labels]
    if answer.kind == "string":
        return Said(200, "string", ((frozenset(), ((0, answer.text),)),))
    floats = (answer.float_series.tolist(), answer.float_times_ns.tolist(), answer.float_values.tolist())
    for series, time_ns, value in zip(*floats, strict=True):
        points[series].append((time_ns // 1_000_000, value))
    rows = zip(answer.histogram_series.tolist(), answer.histogram_times_ns.tolist(), strict=True)
    for row, (series, time_ns) in enumerate(rows):
        points[series].append((time_ns // 1_000_000, _histogram(answer, row)))
    found = [
        (frozenset((name, value) for name, value in labels.items() if value), tuple(sorted(each, key=_time)))
        for labels, each in zip(answer.labels, points, strict=True)
    ]
    return Said(200, answer.kind, tuple(found))


def said_by_prometheus(status: int, body: Mapping[str, Any]) -> Said:
    """Prometheus' answer; twins have the names of what they are twins of."""
    if status != 200:
        return Said(status, error=str(body.get("error", "")))
    kind, result = body["data"]["resultType"], body["data"]["result"]
    if kind in ("scalar", "string"):
        value = result[1] if kind == "string" else float(result[1])
        return Said(200, kind, ((frozenset(), ((0 if kind == "string" else _ms(result[0]), value),)),))
    found = []
    for series in result:
        labels = {**series["metric"]}
        if "__name__" in labels:
            labels["__name__"] = metric_of(labels["__name__"])
        numbers = series.get("values") or ([series["value"]] if "value" in series else [])
        histograms = series.get("histograms") or ([series["histogram"]] if "histogram" in series else [])
        points: list[tuple[int, Value]] = [(_ms(time_s), float(value)) for time_s, value in numbers]
        points += [(_ms(time_s), histogram_of(value)) for time_s, value in histograms]
        found.append((frozenset(labels.items()), tuple(sorted(points, key=_time))))
    return Said(200, kind, tuple(found))


def histogram_of(value: Mapping[str, Any]) -> Histogram:
    """A native histogram of the HTTP API."""
    buckets = tuple((float(low), float(high), float(count)) for _, low, high, count in value.get("buckets", []))
    return Histogram(float(value["count"]), float(value["sum"]), buckets)


def coarsened(said: Said, schema: int) -> Said:
    """The same with all histograms brought to a schema, where theirs is finer."""
    series = (
        (
            labels,
            tuple(
                (time, _coarsened(value, schema) if isinstance(value, Histogram) else value) for time, value in points
            ),
        )
        for labels, points in said.series
    )
    return replace(said, series=tuple(series))


def difference(ours: Said, theirs: Said, noise: float = NOISE, ordered: bool = False) -> str:
    """In what the two differ, in words; empty when they agree.

    Args:
        noise: how far values may be apart, relatively, or absolutely where they are small.
        ordered: whether series with other values must come in the same order.
    """
    if (ours.status, ours.kind) != (theirs.status, theirs.kind):
        seen, there = (f"status {each.status}, {each.kind or each.error}" for each in (ours, theirs))
        return f"{seen}; wanted {there}"
    mine, wanted = dict(ours.series), dict(theirs.series)
    if len(mine) != len(ours.series):
        return "two series of the same labels"
    if mine.keys() != wanted.keys():
        surplus, lacking = ([dict(labels) for labels in keys] for keys in (mine - wanted.keys(), wanted - mine.keys()))
        return f"series {surplus[:3]} too many, {lacking[:3]} too few"
    for labels, points in wanted.items():
        if said := _unlike(mine[labels], points, noise):
            return f"{dict(labels)} {said}"
    if ordered:
        return _misplaced(ours, theirs, noise)
    return ""


def _misplaced(ours: Said, theirs: Said, noise: float) -> str:
    """Compared by value, for series of equal values may come in any order."""
    orders = [[points[0][1] for _, points in each.series] for each in (ours, theirs)]
    if all(_same(a, b, noise) for a, b in zip(*orders, strict=True)):
        return ""
    return f"in the order {orders[0]}, wanted {orders[1]}"


def _unlike(mine: Sequence[tuple[int, Value]], wanted: Sequence[tuple[int, Value]], noise: float) -> str:
    if (times := [time for time, _ in mine]) != (at := [time for time, _ in wanted]):
        other = sorted(set(times) ^ set(at))
        return f"has {len(times)} points, wanted {len(at)}; the first that one side lacks is at {other[:1]} ms"
    for (time, value), (_, right) in zip(mine, wanted, strict=True):
        if not _same(value, right, noise):
            return f"at {time} ms is {value}, wanted {right}"
    return ""


def _same(value: Value, right: Value, noise: float) -> bool:
    if isinstance(value, Histogram) and isinstance(right, Histogram):
        mine = [value.count, value.sum, *(part for bucket in value.buckets for part in bucket)]
        wanted = [right.count, right.sum, *(part for bucket in right.buckets for part in bucket)]
        return len(mine) == len(wanted) and all(_close(a, b, noise) for a, b in zip(mine, wanted, strict=True))
    if isinstance(value, float) and isinstance(right, float):
        return _close(value, right, noise)
    return value == right


def _close(value: float, right: float, noise: float) -> bool:
    if math.isnan(value) or math.isnan(right):
        return math.isnan(value) and math.isnan(right)
    return value == right or abs(value - right) <= noise * max(abs(value), abs(right)) or abs(value - right) <= NOISE


def _histogram(answer: Answer, row: int) -> Histogram:
    held = answer.histograms
    cells = slice(int(held.offsets[row]), int(held.offsets[row + 1]))
    low, high = bins_of(held.schema).bounds(held.cells[cells])
    rows = zip(low.tolist(), high.tolist(), held.counts[cells].tolist(), strict=True)
    return Histogram(float(held.totals[row]), float(held.sums[row]), tuple(bucket for bucket in rows if bucket[2]))


def _coarsened(histogram: Histogram, schema: int) -> Histogram:
    counts: dict[tuple[float, float], float] = {}
    for low, high, count in histogram.buckets:
        outer = max(-low, high)
        if outer > 0:
            index = math.ceil(math.log2(outer) * 2**schema - 1e-6)
            inner, outer = 2 ** ((index - 1) / 2**schema), 2 ** (index / 2**schema)
        bounds = (-outer, -inner) if low < 0 else (inner, outer) if high > 0 else (0.0, 0.0)
        counts[bounds] = counts.get(bounds, 0.0) + count
    return replace(histogram, buckets=tuple((*bounds, count) for bounds, count in counts.items()))


def _time(point: tuple[int, Value]) -> int:
    return point[0]


def _ms(time_s: float) -> int:
    return round(time_s * 1000)
