"""The same three quarters of an hour of telemetry twice: as our source gives it, and as Prometheus is written it.

Readings are the same numbers in both. Of deltas we hold what happened in each window; Prometheus gets the counter that
adds them up (under the metric's own name, for rate and increase) and a twin that holds each delta by itself (under the
name with _DELTAS, for everything else). All values are multiples of 1/8 below 2**20, so that sums are exact in any
order and a difference is never rounding of the input.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from api.promql.samples import STALE_NAN_BITS, FloatSamples, Labels, Request, Samples, SketchSamples
from quantiles.converters.prometheus import NativeHistogram, spans_of
from quantiles.sketch_column import SketchColumn
from store.label_matchers import matches_all
from tests.counterparts.prometheus import WrittenSeries

START_S = 1_795_320_000
SPACING_S = 10
STEPS = 270
END_S = START_S + SPACING_S * STEPS
_DELTAS = "_each"
_NS = 1_000_000_000

FLOAT_DELTAS = ("hits",)
SKETCHES = ("lat", "drift")
STALE = np.array([STALE_NAN_BITS], np.uint64).view(np.float64)[0]

# What a process counts on: it goes back to nothing when the process starts anew.
_RESTARTS = {70, 171}


def each_by_itself(metric: str) -> str:
    """The name under which Prometheus holds every delta of this metric by itself."""
    return metric + _DELTAS


def metric_of(name: str) -> str:
    """Our name of what Prometheus calls so."""
    return name.removesuffix(_DELTAS)


@dataclass(frozen=True, slots=True)
class FloatSeries:
    """One series of numbers: step -> value; the sample's time is START_S + SPACING_S * step."""

    labels: Labels
    values: dict[int, float]
    delta: bool = False


@dataclass(frozen=True, slots=True)
class SketchSeries:
    """One series of sketches: step -> the values that fell into the window that ends there."""

    labels: Labels
    scale: int
    values: dict[int, list[float]]


class Telemetry:
    """All series, made from one seed."""

    def __init__(self, seed: int = 1) -> None:
        rng = random.Random(seed)
        self.floats = [*_gauges(rng), *_counters(rng), *_odd_ones(), *_float_deltas(rng)]
        self.sketches = [*_latencies(rng), *_drifts(rng)]
        self.columns = [_column(series) for series in self.sketches]

    def written(self) -> list[WrittenSeries]:
        """What Prometheus gets."""
        found = [_readings(series) for series in self.floats if not series.delta]
        for series in self.floats:
            if series.delta:
                found += _twins_of_numbers(series)
        for sketches in self.sketches:
            found += _twins_of_sketches(sketches)
        return found

    def source(self, *, eager: bool = False) -> "MemorySource":
        """What the evaluator gets; an eager source merges sketches by group where a request allows it."""
        return MemorySource(self, eager)


class MemorySource:
    """A Source over arrays in memory.

    edges: of the requests so far, how many samples lie exactly on the left edge of a range, where Prometheus 2 counts
        them in and Prometheus 3 and we do not.
    """

    def __init__(self, telemetry: Telemetry, eager: bool) -> None:
        self.edges = 0
        self._eager = eager
        self._floats = telemetry.floats
        self._sketches = [
            (series, np.array(list(series.values)) * SPACING_S * _NS + START_S * _NS, column)
            for series, column in zip(telemetry.sketches, telemetry.columns, strict=True)
        ]

    def select(self, request: Request) -> Samples:
        """As Source.select."""
        wanted = matches_all(request.matchers)
        return Samples(
            self._numbers(request, [series for series in self._floats if wanted(series.labels)]),
            list(self._parts(request, [each for each in self._sketches if wanted(each[0].labels)])),
        )

    def _numbers(self, request: Request, chosen: list[FloatSeries]) -> FloatSamples:
        times, values, owners = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int64)]
        for owner, series in enumerate(chosen):
            at = np.array(list(series.values), np.int64) * SPACING_S * _NS + START_S * _NS
            inside = self._inside(request, at)
            times.append(at[inside])
            values.append(np.array(list(series.values.values()))[inside])
            owners.append(np.full(inside.sum(), owner, np.int64))
        return FloatSamples(
            [dict(series.labels) for series in chosen],
            np.array([series.delta for series in chosen], bool),
            np.concatenate(owners), np.concatenate(times), np.concatenate(values),
        )  # fmt: skip

    def _parts(
        self, request: Request, chosen: list[tuple[SketchSeries, np.ndarray, SketchColumn]]
    ) -> Iterator[SketchSamples]:
        for scale in sorted({series.scale for series, _, _ in chosen}):
            times, columns, owners, labels = [], [], [], []
            for series, at, column in chosen:
                if series.scale == scale:
                    inside = np.flatnonzero(self._inside(request, at))
                    times.append(at[inside])
                    columns.append(column.take(inside))
                    owners.append(np.full(len(inside), len(labels), np.int64))
                    labels.append(dict(series.labels))
            part = SketchSamples(labels, np.concatenate(owners), np.concatenate(times), SketchColumn.concat(columns))
            yield _grouped(part, request) if self._eager and request.addable and request.grouping else part

    def _inside(self, request: Request, at: np.ndarray) -> np.ndarray:
        starts = np.arange(request.first_ns, request.last_ns + 1, request.step_ns) - request.range_ns
        self.edges += int(np.isin(at, starts).sum())
        return (at > request.first_ns - request.range_ns) & (at <= request.last_ns)


def _grouped(part: SketchSamples, request: Request) -> SketchSamples:
    """One series per group of labels, the sketches of one moment merged."""
    grouping = request.grouping
    assert grouping is not None
    keys = []
    for labels in part.labels:
        kept = {
            name: value
            for name, value in labels.items()
            if (name in grouping.labels) != grouping.without and not (grouping.without and name == "__name__")
        }
        keys.append(tuple(sorted(kept.items())))
    groups = list(dict.fromkeys(keys))
    owners = np.array([groups.index(key) for key in keys], np.int64)[part.series]
    pairs = np.stack([owners, part.times_ns])
    unique, codes = np.unique(pairs, axis=1, return_inverse=True)
    merged = part.sketches.reduce(codes.reshape(-1), unique.shape[1])
    return SketchSamples([dict(key) for key in groups], unique[0], unique[1], merged, grouped=True)


def _column(series: SketchSeries) -> SketchColumn:
    values = np.array([value for each in series.values.values() for value in each])
    groups = np.repeat(np.arange(len(series.values)), [len(each) for each in series.values.values()])
    return SketchColumn.from_values(values, groups, len(series.values), series.scale)


def _eighths(value: float) -> float:
    return round(value * 8) / 8


def _gauges(rng: random.Random) -> Iterator[FloatSeries]:
    for host, rack in (("a", "r1"), ("b", "r1"), ("c", "r2")):
        level = rng.uniform(-20, 60)
        values = {step: _eighths(level := level + rng.gauss(0, 3)) for step in range(STEPS + 1)}
        yield FloatSeries({"__name__": "temperature", "job": "node", "host": host, "rack": rack}, values)
        up = {step: float(rng.random() > 0.1) for step in range(STEPS + 1)}
        yield FloatSeries({"__name__": "up", "job": "node", "host": host}, up)
    # One ends with a marker and begins anew, one is silent for longer than the lookback, one is rare.
    marked = {step: float(rng.randrange(50)) for step in range(STEPS + 1) if not 150 < step < 175}
    yield FloatSeries({"__name__": "depth", "job": "broker", "host": "a"}, dict(sorted({**marked, 151: STALE}.items())))
    silent = {step: float(rng.randrange(50)) for step in range(STEPS + 1) if not 160 <= step < 205}
    yield FloatSeries({"__name__": "depth", "job": "broker", "host": "b"}, silent)
    rare = {step: _eighths(rng.uniform(-5, 5)) for step in range(0, STEPS + 1, 7)}
    yield FloatSeries({"__name__": "rare", "job": "web", "host": "a"}, rare)
    yield FloatSeries({"__name__": "ceiling", "job": "web"}, {step: 40.0 + step % 3 for step in range(STEPS + 1)})


def _counters(rng: random.Random) -> Iterator[FloatSeries]:
    for host in "ab":
        for code in ("200", "500"):
            total, values = 0.0, {}
            for step in range(STEPS + 1):
                if step in _RESTARTS and host == "a":
                    total = 0.0
                total += rng.randrange(0, 40 if code == "200" else 3)
                if rng.random() > 0.05:
                    values[step] = total
            labels = {"__name__": "requests_total", "job": "web", "host": host, "code": code, "instance": f"{host}:80"}
            yield FloatSeries(labels, values)
    flat = dict.fromkeys(range(20, STEPS - 30), 7.0)
    yield FloatSeries({"__name__": "errors_total", "job": "web", "host": "a"}, flat)
    late = {step: float(4 * (step - 180)) for step in range(180, STEPS + 1) if step % 5}
    yield FloatSeries({"__name__": "errors_total", "job": "web", "host": "b"}, late)


def _odd_ones() -> Iterator[FloatSeries]:
    odd = {"nan": float("nan"), "plus": float("inf"), "minus": float("-inf")}
    for kind, value in odd.items():
        values = {step: value if step % 4 == 1 else float(step % 9) for step in range(STEPS + 1)}
        yield FloatSeries({"__name__": "odd", "kind": kind}, values)


def _float_deltas(rng: random.Random) -> Iterator[FloatSeries]:
    for host in "ab":
        values = {step: float(rng.randrange(0, 30)) for step in range(1, STEPS + 1)}
        yield FloatSeries({"__name__": "hits", "job": "web", "host": host}, values, delta=True)


def _latencies(rng: random.Random) -> Iterator[SketchSeries]:
    for host, path, middle in (("a", "/", 3.0), ("a", "/x", 4.0), ("b", "/", 3.5), ("c", "/", 5.0)):
        labels = {"__name__": "lat", "job": "web", "host": host, "path": path}
        values = {
            step: [_eighths(rng.lognormvariate(middle, 0.6)) + 0.125 for _ in range(rng.randrange(3, 25))]
            for step in range(1, STEPS + 1)
        }
        yield SketchSeries(labels, 5, values)


def _drifts(rng: random.Random) -> Iterator[SketchSeries]:
    for host in "ab":
        labels = {"__name__": "drift", "job": "node", "host": host}
        values = {
            step: [_eighths(rng.gauss(0, 9)) * rng.choice((0, 1, 1, 1)) for _ in range(rng.randrange(2, 15))]
            for step in range(1, STEPS + 1)
        }
        yield SketchSeries(labels, 6, values)


def _readings(series: FloatSeries) -> WrittenSeries:
    return WrittenSeries(series.labels, [(_ms(step), value) for step, value in series.values.items()])


def _twins_of_numbers(series: FloatSeries) -> Iterator[WrittenSeries]:
    total, counter = 0.0, [(_ms(0), 0.0)]
    for step, value in series.values.items():
        total = value if step in _RESTARTS else total + value
        counter.append((_ms(step), total))
    yield WrittenSeries(series.labels, counter)
    yield _readings(FloatSeries(_alone(series.labels), series.values))


def _twins_of_sketches(series: SketchSeries) -> Iterator[WrittenSeries]:
    total = _Buckets(series.scale)
    counter, alone = [(_ms(0), total.histogram())], []
    for step, values in series.values.items():
        if step in _RESTARTS:
            total = _Buckets(series.scale)
        total.add(values)
        counter.append((_ms(step), total.histogram()))
        now = _Buckets(series.scale)
        now.add(values)
        alone.append((_ms(step), now.histogram()))
    yield WrittenSeries(series.labels, histograms=counter)
    yield WrittenSeries(_alone(series.labels), histograms=alone, gauge=True)


class _Buckets:
    """Counts as native histograms number them, made one value at a time from the definition of the bounds."""

    def __init__(self, schema: int) -> None:
        self._schema = schema
        self._bounds = [2.0 ** (j / 2**schema) for j in range(2**schema)]
        self._sides: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
        self._zeros, self._sum = 0, 0.0

    def add(self, values: list[float]) -> None:
        for value in values:
            self._sum += value
            if value == 0:
                self._zeros += 1
            else:
                self._sides[value > 0][self._index(abs(value))] += 1

    def histogram(self) -> NativeHistogram:
        spans, deltas = {}, {}
        for positive, counts in self._sides.items():
            indexes = sorted(counts)
            spans[positive] = spans_of(indexes)
            deltas[positive] = tuple(b - a for a, b in pairwise([0, *(counts[index] for index in indexes)]))
        total = self._zeros + sum(sum(side.values()) for side in self._sides.values())
        return NativeHistogram(
            self._schema, total, self._sum, 0.0, self._zeros,
            negative_spans=spans[False], negative_deltas=deltas[False],
            positive_spans=spans[True], positive_deltas=deltas[True],
        )  # fmt: skip

    def _index(self, magnitude: float) -> int:
        """The i with gamma**(i-1) < magnitude <= gamma**i."""
        mantissa, exponent = np.frexp(magnitude)  # magnitude = (2 * mantissa) * 2**(exponent - 1)
        above = sum(bound < 2 * mantissa for bound in self._bounds)
        return int((int(exponent) - 1) * 2**self._schema + above)


def _alone(labels: Labels) -> Labels:
    return {**labels, "__name__": each_by_itself(labels["__name__"])}


def _ms(step: int) -> int:
    return (START_S + SPACING_S * step) * 1000
