"""OpenTelemetry's requests taken apart: which points are taken, which are refused and why.

A request is walked once; what is wrong with a point, or the metric around it, costs that point and is counted by
reason. What is right goes to the rows (otlp_rows.py). Cumulative sums that may fall are readings, such as requests in
flight: they stay what they are.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from agents.sources.otlp_attributes import LONGEST_TEXT, Attributes, AttributesError, AttributeSet
from agents.sources.otlp_buckets import LONGEST_COUNTS, MOST_SPREAD, explicit_parts, spread_of
from agents.sources.otlp_increments import Increments
from agents.sources.otlp_messages import CLASSES, CUMULATIVE, DELTA, NO_RECORDED_VALUE, DecodeError, fields_of, joined
from agents.sources.otlp_rows import ExponentialPoint, Extremes, Head, Metric, Note, Rows
from pipeline.schema import Schema, polars_schema
from quantiles.dense_bodies import VALUES_LIMIT

HOUR_NS: Final = 3600 * 10**9
MOST_POINTS: Final = 500_000
_MOST_METRICS: Final = 100_000
_NAN: Final = float("nan")
_FIELDS: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
# A metric of one point; a scope with such a metric.
_LEAST_METRIC_BYTES: Final = 4
_LEAST_SCOPE_BYTES: Final = 6


class Read(NamedTuple):
    """What became of a request: its rows, and how many points were refused, by reason."""

    rows: pl.DataFrame
    refused: Mapping[str, int]


class PointReader:
    """Turns requests into rows; keeps what is needed of earlier ones.

    Attributes:
        events: what is worth counting beside refused points.
    """

    def __init__(self, schema: Schema, columns: Sequence[str], most_series: int) -> None:
        """`columns` of the schema are those that attributes fill."""
        self.events: Counter[str] = Counter()
        self.attributes = Attributes(columns)
        self.increments = Increments(most_series)
        self._types = {name: kind for name, kind in polars_schema(schema).items() if name != "host"}

    def read(self, body: bytes, now_ns: int, note: Note) -> Read:
        """The rows of a request; `note` is told of points that were refused, or whose distribution cannot be used.

        Raises:
            DecodeError: the body is no request.
        """
        self.increments.grow_older(now_ns)
        walk = _Walk(self, now_ns, note)
        for data in fields_of("Request", body).resource_metrics:
            walk.resource(data)
        walk.tell_what_was_too_much()
        return Read(walk.rows.finished(self._types), walk.rows.refused)


class _Walk:
    """One request."""

    def __init__(self, reader: PointReader, now_ns: int, note: Note) -> None:
        self.rows = Rows(reader.attributes, reader.increments, reader.events, note)
        self._events = reader.events
        self._attributes = reader.attributes
        self._now_ns = now_ns
        self._points = 0
        self._metrics = 0
        self._beyond = 0

    def resource(self, data: bytes) -> None:
        """All metrics of one resource."""
        if self._too_many():
            self._beyond += _points_of_resource(data)
            return
        try:
            found = fields_of("ResourceMetrics", data)
            resource = self._attributes.of(fields_of("Attributes", found.resource).attributes)
        except AttributesError as error:
            self.rows.refuse(str(error), "resource", _points_in(found.scope_metrics))
            return
        except DecodeError:
            self.rows.refuse("malformed", "resource")
            return
        for scope_data in found.scope_metrics:
            if self._too_many():
                self._beyond += _points_in([scope_data])
                continue
            try:
                scope = fields_of("ScopeMetrics", scope_data)
            except DecodeError:
                self.rows.refuse("malformed", "scope")
                continue
            around = _digest(resource.digest, scope.scope)
            for metric_data in scope.metrics:
                if self._too_many():
                    self._beyond += _points_of(metric_data)
                else:
                    self._metric(metric_data, resource, around)

    def tell_what_was_too_much(self) -> None:
        """At the end: points of more metrics than there may be."""
        self.rows.refuse("too_many_metrics", "", self._beyond)

    def _too_many(self) -> bool:
        """Whether there are more metrics, or empty things around them, than one request may hold."""
        self._metrics += 1
        return self._metrics > _MOST_METRICS

    def _metric(self, data: bytes, resource: AttributeSet, around: bytes) -> None:
        """`around` tells its resource and scope from others."""
        try:
            found = fields_of("Metric", data)
        except DecodeError:
            self.rows.refuse("malformed", "metric")
            return
        field = next((name for name in _FIELDS if found.HasField(name)), None)
        if field is None:
            return
        points = getattr(found, field)
        count = len(points.data_points)
        reason, name, unit = _named(found)
        if field == "summary":
            reason = "summary"
        elif not reason and field != "gauge" and points.temporality not in (DELTA, CUMULATIVE):
            reason = "unknown_temporality"
        elif not reason and self._points + count > MOST_POINTS:
            reason = "too_many_points"
        if reason:
            self.rows.refuse(reason, name, count)
            return
        self._points += count
        cumulative = field != "gauge" and points.temporality == CUMULATIVE
        kind = field
        if field == "sum" and cumulative and not points.monotonic:
            kind, cumulative = "gauge", False
        digest = _digest(around, found.name, found.unit, field.encode())
        metric = Metric(name, unit, kind, resource.service, resource, digest, cumulative)
        self.rows.begin(metric)
        take = {"histogram": self._take_explicit, "exponential_histogram": self._take_exponential}.get(
            field, self._take_number
        )
        message = {"histogram": "Explicit", "exponential_histogram": "Exponential"}.get(field, "Number")
        parse = CLASSES[message].FromString
        for point in points.data_points:
            try:
                reason = take(parse(point))
            except AttributesError as error:
                reason = str(error)
            except DecodeError:
                reason = "malformed"
            if reason:
                self.rows.refuse(reason, name)

    def _head(self, point: Any) -> Head:
        """The point's own time is taken where it is within an hour of ours."""
        ts, start = point.time, point.start
        if not -HOUR_NS <= ts - self._now_ns <= HOUR_NS:
            self._events["time_off"] += 1
            ts, start = self._now_ns, 0
        return self.rows.head(ts, start, self._attributes.of(point.attributes))

    def _take_number(self, point: Any) -> str:
        if point.flags & NO_RECORDED_VALUE:
            self._events["no_value"] += 1
            return ""
        if not point.HasField("as_int") and not point.HasField("as_double"):
            return "malformed"
        value = point.as_int if point.HasField("as_int") else point.as_double
        if value - value != 0:
            return "not_finite"
        self.rows.add_number(self._head(point), value)
        return ""

    def _take_exponential(self, point: Any) -> str:
        if point.flags & NO_RECORDED_VALUE:
            self._events["no_value"] += 1
            return ""
        first, counts, first_below, counts_below = 0, b"", 0, b""
        if point.HasField("positive"):
            side = point.positive
            first, counts = side.offset, joined(side.counts)
        if point.HasField("negative"):
            side = point.negative
            first_below, counts_below = side.offset, joined(side.counts)
        if len(counts) > LONGEST_COUNTS or len(counts_below) > LONGEST_COUNTS:
            return "too_many_buckets"
        self.rows.add_exponential(
            ExponentialPoint(
                self._head(point), point.scale, point.zero_count, point.count, point.zero_threshold, _said_by(point),
                first, counts, first_below, counts_below,
            )
        )  # fmt: skip
        return ""

    def _take_explicit(self, point: Any) -> str:
        if point.flags & NO_RECORDED_VALUE:
            self._events["no_value"] += 1
            return ""
        parts = explicit_parts(point.count, joined(point.counts), joined(point.bounds))
        if parts is None or point.count >= VALUES_LIMIT:
            return "bad_buckets"
        if len(parts[0]) > LONGEST_COUNTS:
            return "too_many_buckets"
        spread = spread_of(parts[1])
        if spread > MOST_SPREAD:
            return "bounds_too_wide"
        self.rows.add_explicit(self._head(point), point.count, _said_by(point), *parts, spread)
        return ""


def _named(metric: Any) -> tuple[str, str, str]:
    """The reason why it cannot be taken or "", its name, its unit."""
    try:
        name, unit = metric.name.decode(), metric.unit.decode()
    except UnicodeDecodeError:
        return "bad_utf8", "", ""
    if max(len(name), len(unit)) > LONGEST_TEXT:
        return "too_long_text", name, unit
    return ("" if name else "no_name"), name, unit


def _digest(*parts: bytes) -> bytes:
    """Short, whatever comes from outside: it is kept for each metric, and between requests."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _points_of_resource(data: bytes) -> int:
    """How many points there are in a resource that is left out, at least one."""
    if len(data) <= _LEAST_SCOPE_BYTES:
        return 1
    try:
        return _points_in(fields_of("ResourceMetrics", data).scope_metrics)
    except DecodeError:
        return 1


def _points_in(scopes: Iterable[bytes]) -> int:
    """How many points there are in scopes that are left out, at least one."""
    found = 0
    for scope in scopes:
        if len(scope) < _LEAST_SCOPE_BYTES:
            continue
        try:
            found += sum(map(_points_of, fields_of("ScopeMetrics", scope).metrics))
        except DecodeError:
            found += 1
    return max(1, found)


def _points_of(data: bytes) -> int:
    """How many points there are in a metric that is left out, at least one."""
    if len(data) <= _LEAST_METRIC_BYTES:
        return 1
    try:
        metric = fields_of("Metric", data)
    except DecodeError:
        return 1
    return max(1, sum(len(getattr(metric, name).data_points) for name in _FIELDS if metric.HasField(name)))


def _said_by(point: Any) -> Extremes:
    """Sum, minimum, maximum; NaN where they are not said."""
    says = point.HasField
    return (
        point.sum if says("sum") else _NAN,
        point.min if says("min") else _NAN,
        point.max if says("max") else _NAN,
    )
