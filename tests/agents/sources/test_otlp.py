"""The source otlp: what each kind of point becomes, what is refused and told, and input that is hostile."""

import json
import tracemalloc
from email.message import Message
from typing import Any

import numpy as np
import polars as pl
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from agents.sources import otlp as module
from agents.sources import otlp_points
from agents.sources.configs import OtlpConfig
from agents.sources.http_bodies import Refused
from agents.sources.http_intake import Request
from agents.sources.otlp import JSON, PROTOBUF, OtlpSource
from agents.sources.streams import OTLP
from pipeline.sketch_cells import bytes_of
from quantiles.merged_dense import merge_dense

SCHEMA = {**OTLP, "http_route": "string", "host_name": "string"}
NOW = 1_795_000_000 * 10**9
SECOND = 10**9
BEGAN = NOW - 600 * SECOND
DELTA, CUMULATIVE = 1, 2


class Fed:
    """A source that is open in all but its port, at a time of ours."""

    def __init__(self, max_series: int = 1000) -> None:
        self.now_ns = NOW
        self.source = OtlpSource(
            OtlpConfig(listen="127.0.0.1:0", max_series=max_series), SCHEMA, clock_ns=lambda: self.now_ns
        )
        self.source.open(None)
        self.source.close()
        self.told = ""

    def take(self, body: bytes, kind: str = PROTOBUF) -> int:
        """How many points were refused."""
        answer = self.source.take(Request("/v1/metrics", kind, body, Message()))
        said = ExportMetricsServiceResponse()
        if kind == JSON:
            json_format.Parse(answer.body, said)
        else:
            said.ParseFromString(answer.body)
        self.told = said.partial_success.error_message
        return int(said.partial_success.rejected_data_points)

    def rows(self) -> pl.DataFrame:
        batches = self.source.poll()
        return batches[0].rows if batches else pl.DataFrame()

    def of(self, *metrics: dict[str, Any], **resource: str) -> list[tuple[Any, ...]]:
        """What became of metrics: value and count."""
        self.take(request(*metrics, **resource))
        rows = self.rows()
        return rows.select("value", "count").rows() if rows.height else []


@pytest.fixture(name="fed")
def _fed() -> Fed:
    return Fed()


def request(*metrics: dict[str, Any], **resource: str) -> bytes:
    return message(*metrics, **resource).SerializeToString()


def message(*metrics: dict[str, Any], **resource: str) -> ExportMetricsServiceRequest:
    found = ExportMetricsServiceRequest()
    attributes = [{"key": key.replace("_", "."), "value": {"stringValue": text}} for key, text in resource.items()]
    body = {"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": metrics}]}]}
    json_format.ParseDict(body, found)
    return found


def point(at_s: float = 0.0, route: str | None = None, began: int = BEGAN, **values: Any) -> dict[str, Any]:
    found = {"timeUnixNano": NOW + int(at_s * SECOND), "startTimeUnixNano": began, **values}
    if route is not None:
        found["attributes"] = [{"key": "http.route", "value": {"stringValue": route}}]
    return found


def metric(
    field: str, *points: dict[str, Any], name: str = "m", temporality: int = DELTA, **more: Any
) -> dict[str, Any]:
    body: dict[str, Any] = {"dataPoints": points, **more}
    if field in ("sum", "histogram", "exponentialHistogram"):
        body["aggregationTemporality"] = temporality
    return {"name": name, "unit": "s", field: body}


def exponential(
    at_s: float = 0.0, counts: Any = (1, 2, 3), offset: int = 0, scale: int = 3, **more: Any
) -> dict[str, Any]:
    side = {"offset": offset, "bucketCounts": list(counts)}
    values = {"count": sum(counts), "scale": scale, "positive": side, **more}
    return point(at_s, **values)


def explicit(at_s: float = 0.0, counts: Any = (1, 2, 3), bounds: Any = (1.0, 2.0), **more: Any) -> dict[str, Any]:
    return point(at_s, **{"count": sum(counts), "bucketCounts": list(counts), "explicitBounds": list(bounds), **more})


def quantiles(rows: pl.DataFrame, levels: list[float]) -> list[float]:
    """Of all the rows' values together."""
    data, sizes = bytes_of(rows["distribution"])
    found = merge_dense(data, sizes, np.zeros(rows.height, np.int64), 1, 6)
    return [float(x) for x in found.quantiles(levels)[0]]


def test_a_gauge_is_its_reading_with_the_columns_that_were_declared(fed: Fed) -> None:
    points = [
        {**point(1.5, "/a"), "asInt": 7},
        {**point(2), "asDouble": -0.5, "attributes": [{"key": "host.name", "value": {"intValue": 5}}]},
    ]
    assert fed.take(request(metric("gauge", *points), service_name="shop", host_name="web1")) == 0
    rows = fed.rows()
    assert rows.columns == [name for name in SCHEMA if name != "host"]
    assert rows.rows() == [
        (NOW + 3 * SECOND // 2, "m", "s", "gauge", "shop", 7.0, None, None, "/a", "web1"),
        (NOW + 2 * SECOND, "m", "s", "gauge", "shop", -0.5, None, None, None, "5"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"boolValue": True}, "true"), ({"doubleValue": 0.25}, "0.25"), ({"stringValue": "ü"}, "ü"), ({}, None),
        ({"arrayValue": {"values": []}}, None), ({"bytesValue": "eA=="}, None), ({"intValue": -1}, "-1"),
    ],
)  # fmt: skip
def test_attributes_become_text(fed: Fed, value: dict[str, Any], text: str | None) -> None:
    fed.take(request(metric("gauge", {**point(), "asInt": 1, "attributes": [{"key": "http.route", "value": value}]})))
    assert fed.rows()["http_route"].to_list() == [text]


def test_names_that_are_not_declared_are_told(fed: Fed) -> None:
    assert fed.source.missing() == {}
    fed.take(request(metric("gauge", {**point(), "asInt": 1}), service_name="s", os_type="linux"))
    assert fed.source.missing() == {"attributes": "not declared under `streams`, left out: os.type"}


def test_sums_are_what_was_added(fed: Fed) -> None:
    assert fed.of(metric("sum", point(asInt=5), isMonotonic=True)) == [(5.0, None)]
    assert fed.of(metric("sum", point(asInt=-5))) == [(-5.0, None)]
    level = metric("sum", point(asInt=3), temporality=CUMULATIVE)
    assert fed.of(level) == [(3.0, None)]
    assert fed.of(level) == [(3.0, None)]  # may fall: a reading


def total(at_s: float, value: float, began: int = BEGAN, name: str = "m") -> dict[str, Any]:
    return metric("sum", point(at_s, began=began, asDouble=value), name=name, temporality=CUMULATIVE, isMonotonic=True)


def test_a_cumulative_sum_adds_what_is_new(fed: Fed) -> None:
    assert fed.of(total(0, 100)) == []
    assert fed.of(total(10, 107)) == [(7.0, None)]
    assert fed.of(total(10, 107)) == []  # sent twice
    assert fed.of(total(5, 103)) == []
    assert fed.of(total(20, 107)) == [(0.0, None)]
    assert fed.of(total(30, 4, began=NOW + 25 * SECOND)) == [(4.0, None)]  # began anew and says so
    assert fed.of(total(40, 1, began=NOW + 25 * SECOND)) == [(1.0, None)]  # or does not
    counters = fed.source.counters()
    assert [counters[name] for name in ("first_points", "not_newer", "resets", "points")] == [1, 2, 2, 4]


def test_a_series_that_began_while_we_listened_counts_from_its_start(fed: Fed) -> None:
    assert fed.of(total(10, 9, began=NOW + SECOND)) == [(9.0, None)]
    assert fed.of(total(10, 9, began=NOW - SECOND, name="other")) == []


def test_series_are_told_apart_by_resource_and_all_attributes_in_any_order(fed: Fed) -> None:
    def one(at_s: float, value: int, keys: str, host: str = "a") -> list[tuple[Any, ...]]:
        attributes = [{"key": key, "value": {"stringValue": "x"}} for key in keys]
        body = {**point(at_s, asInt=value), "attributes": attributes}
        return fed.of(metric("sum", body, temporality=CUMULATIVE, isMonotonic=True), host_name=host)

    assert one(0, 5, "pq") + one(0, 50, "p") + one(0, 500, "pq", "b") == []
    assert one(1, 6, "qp") == [(1.0, None)]
    assert one(1, 52, "p") == [(2.0, None)]
    assert one(1, 503, "qp", "b") == [(3.0, None)]


def test_what_is_forgotten_does_not_count_a_second_time(fed: Fed) -> None:
    later = 4000
    assert fed.of(total(10, 9, began=NOW + SECOND)) == [(9.0, None)]
    for at_s in (2000, later):
        fed.now_ns = NOW + at_s * SECOND
        assert fed.of(total(at_s, 1, name="other")) in ([], [(0.0, None)])
    assert fed.of(total(later, 12, began=NOW + SECOND)) == []
    assert fed.of(total(later + 1, 15, began=NOW + SECOND)) == [(3.0, None)]


def test_an_exponential_histogram_is_merged_as_it_is(fed: Fed) -> None:
    negative = {"offset": 2, "bucketCounts": [0, 5]}
    one = exponential(counts=(0, 300, 2), offset=-1, scale=6, zeroCount=2, count=309, negative=negative)
    assert fed.of(metric("exponentialHistogram", {**one, "sum": 2.5, "min": -1.04, "max": 1.02})) == [(None, 309)]
    fed.take(request(metric("exponentialHistogram", one)))
    low, middle, high = quantiles(fed.rows(), [0.0, 0.5, 1.0])
    assert -(2 ** (4 / 64)) <= low <= -(2 ** (3 / 64))
    assert 1 < middle <= 2 ** (1 / 64) < high <= 2 ** (2 / 64)


def grown(at_s: float, scale: int, offset: int, counts: Any, **more: Any) -> dict[str, Any]:
    one = exponential(at_s, counts, offset, scale, **more)
    return metric("exponentialHistogram", one, temporality=CUMULATIVE)


def test_cumulative_exponential_histograms_are_subtracted_bucket_by_bucket(fed: Fed) -> None:
    assert fed.of(grown(0, 3, 0, (5, 5))) == []
    fed.take(request(grown(1, 3, -1, (2, 5, 8), max=9.0)))
    rows = fed.rows()
    assert rows["count"].to_list() == [5]
    low, high = quantiles(rows, [0.0, 1.0])
    assert 2 ** (-1 / 8) < low <= 1 < 2 ** (1 / 8) < high <= 2 ** (2 / 8)  # not 9: that is of all since the start
    assert fed.of(grown(2, 2, -1, (2, 16))) == [(None, 3)]  # coarser
    assert fed.of(grown(3, 2, -1, (2, 16))) == [(None, 0)]
    assert fed.rows().height == 0
    assert fed.of(grown(4, 2, 0, (1, 30))) == [(None, 31)]  # a bucket shrank: all of it is new
    assert fed.source.counters()["resets"] == 1


def test_explicit_histograms_are_spread_over_their_buckets(fed: Fed) -> None:
    fed.take(request(metric("histogram", explicit(counts=(50, 49, 1), max=7.0))))
    rows = fed.rows()
    assert rows.select("kind", "count").rows() == [("histogram", 100)]
    half, most, all_of_it = quantiles(rows, [0.4, 0.9, 1.0])
    assert 0 < half <= 1 < most <= 2 < all_of_it <= 7.05


def test_cumulative_explicit_histograms_are_subtracted(fed: Fed) -> None:
    def one(at_s: float, counts: Any, bounds: Any = (1.0, 2.0)) -> list[tuple[Any, ...]]:
        return fed.of(metric("histogram", explicit(at_s, counts, bounds), temporality=CUMULATIVE))

    assert one(0, (1, 2, 3)) == []
    assert one(1, (1, 4, 3)) == [(None, 2)]
    assert one(2, (1, 4, 3)) == [(None, 0)]
    assert one(3, (5, 4, 3), (1.0, 3.0)) == []  # other bounds: nothing to compare with
    assert one(4, (5, 4, 4), (1.0, 3.0)) == [(None, 1)]
    assert one(5, (0, 0, 1), (1.0, 3.0)) == [(None, 1)]


def test_two_points_of_one_series_in_a_request_count_one_after_the_other(fed: Fed) -> None:
    points = [exponential(at_s, (10 * at_s + 1,)) for at_s in (0, 1, 2)]
    assert fed.of(metric("exponentialHistogram", *points, temporality=CUMULATIVE)) == [(None, 10), (None, 10)]


def test_a_histogram_without_buckets_keeps_its_count(fed: Fed) -> None:
    assert fed.of(metric("histogram", point(count=4))) == [(None, 4)]
    assert fed.of(metric("exponentialHistogram", exponential(scale=-1))) == [(None, 6)]
    counters = fed.source.counters()
    assert (counters["no_bounds"], counters["scale_too_coarse"], counters["points"]) == (1, 1, 2)


def test_a_gap_is_no_point_and_no_refusal(fed: Fed) -> None:
    for field in ("gauge", "sum", "histogram", "exponentialHistogram"):
        assert fed.take(request(metric(field, point(flags=1)))) == 0
    assert fed.source.poll() == []
    assert fed.source.counters()["no_value"] == 4


@pytest.mark.parametrize("hours", [-2, 2, -490_000, 100_000])
def test_a_time_that_is_far_off_is_that_of_receipt(fed: Fed, hours: int) -> None:
    fed.take(request(metric("gauge", {"asInt": 1, "timeUnixNano": NOW + hours * 3600 * SECOND})))
    assert fed.rows()["ts"].to_list() == [NOW]
    assert fed.source.counters()["time_off"] == 1


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("not_finite", metric("gauge", point(asDouble="NaN"))),
    ("not_finite", metric("sum", point(asDouble="-Infinity"))),
    ("malformed", metric("gauge", point())),
    ("no_name", metric("gauge", point(asInt=1), name="")),
    ("too_long_text", metric("gauge", point(asInt=1), name="n" * 2000)),
    ("too_long_text", metric("gauge", point(route="r" * 2000, asInt=1))),
    ("too_many_attributes", metric("gauge", {"asInt": 1, "attributes": [{"key": str(i)} for i in range(129)]})),
    ("unknown_temporality", metric("sum", point(asInt=1), temporality=0)),
    ("unknown_temporality", metric("histogram", explicit(), temporality=9)),
    ("summary", metric("summary", point(count=1))),
    ("bad_buckets", metric("histogram", explicit(count=7))),
    ("bad_buckets", metric("histogram", explicit(bounds=(1.0,)))),
    ("bad_buckets", metric("histogram", explicit(counts=(2**64 - 2, 1, 1), count=0))),
    ("bad_buckets", metric("histogram", explicit(counts=(2**63, 2**63, 6), count=6))),
    ("bounds_not_ascending", metric("histogram", explicit(bounds=(2.0, 1.0)))),
    ("bounds_not_ascending", metric("histogram", explicit(bounds=(1.0, "NaN")))),
    ("bounds_too_wide", metric("histogram", explicit(bounds=(1e-300, 1e300)))),
    ("too_many_buckets", metric("histogram", explicit(counts=[1] * 20_000, bounds=range(19_999)))),
    ("impossible_extremes", metric("histogram", explicit(min=5.0, max=4.0))),
    ("bad_buckets", metric("exponentialHistogram", exponential(count=5))),
    ("bad_buckets", metric("exponentialHistogram", exponential(counts=(2**63, 2**63, 6), count=6))),
    ("bad_buckets", metric("exponentialHistogram", exponential(counts=(2**63, 2**63 + 6), count=6))),
    ("bad_buckets", metric("exponentialHistogram", exponential(counts=(2**41,)))),
    ("bad_buckets", metric("exponentialHistogram", exponential(counts=(), count=2**63, zeroCount=2**63))),
    ("impossible_bucket", metric("exponentialHistogram", exponential(offset=2**30))),
    ("impossible_extremes", metric("exponentialHistogram", exponential(max=1e9))),
    ("sum_without_values", metric("exponentialHistogram", exponential(counts=(), sum=1.0))),
    ("too_many_buckets", metric("exponentialHistogram", exponential(counts=[1] * 140_000))),
]


@pytest.mark.parametrize(("reason", "wrong"), WRONG)
def test_a_point_that_cannot_be_taken_is_told_and_costs_no_other(fed: Fed, reason: str, wrong: dict[str, Any]) -> None:
    right = [
        metric("gauge", point(asInt=1)),
        metric("exponentialHistogram", exponential()),
        metric("histogram", explicit()),
    ]
    assert fed.take(request(*right, wrong, *right)) == 1
    assert fed.told == f"points refused: {reason}: 1"
    assert fed.rows().height == 6
    assert fed.source.counters()[reason] == 1


def test_what_cannot_be_right_does_not_get_into_the_memory_of_a_series(fed: Fed) -> None:
    assert fed.of(grown(0, 3, 0, (5, 5))) == []
    fed.take(request(grown(1, 3, 0, (50, 5), count=3)))
    assert fed.of(grown(2, 3, 0, (6, 5))) == [(None, 1)]


@pytest.mark.parametrize(
    "field",
    [
        b"\x0a\x05hell",
        b"\x12\x80",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x12\x83" + b"\x80" * 9 + b"\0",
    ],
)
def test_bucket_counts_that_are_no_numbers_are_refused(fed: Fed, field: bytes) -> None:
    """Bytes where the packed counts should be."""
    counts = field if field[0] == 0x0A else bytes([0x12, len(field) - 1]) + field[1:]
    points = b""
    for packed in (counts, b"\x12\x02\x01\x02"):
        data = bytes([0x42, len(packed)]) + packed + b"\x21" + (3).to_bytes(8, "little")
        points += bytes([0x0A, len(data)]) + data
    whole = b"\x0a\x01m\x52" + bytes([len(points) + 2]) + points + b"\x10\x01"
    for tag in (0x12, 0x12, 0x0A):
        whole = bytes([tag, len(whole)]) + whole
    assert fed.take(whole) == 1
    assert fed.rows()["count"].to_list() == [3]  # the one beside it is not touched


def test_more_series_than_allowed_are_refused_and_named() -> None:
    fed = Fed(max_series=10)
    many = [{**point(route=f"/{i}"), "asInt": 1} for i in range(1000)]
    assert fed.take(request(metric("gauge", *many, name="wide"))) == 990
    assert fed.told == "points refused: series_limit: 990"
    assert fed.rows().height == 10
    assert fed.source.missing()["series"] == "above max_series, 10: wide (990 points)"
    growing = [{**point(route=f"/{i}"), "asInt": 1} for i in range(30)]
    assert fed.take(request(metric("sum", *growing, name="grows", temporality=CUMULATIVE, isMonotonic=True))) == 20
    assert fed.source.counters()["series_limit"] == 1010


def test_what_series_remember_is_bounded() -> None:
    fed = Fed(max_series=10)
    large = [{**exponential(counts=[1] * 2000), "attributes": [{"key": str(i)}]} for i in range(5)]
    assert fed.take(request(metric("exponentialHistogram", *large, temporality=CUMULATIVE))) == 3
    assert fed.source.counters()["series_limit"] == 3


def test_json_is_read_as_protobuf_is(fed: Fed) -> None:
    given_one = message(
        metric("gauge", point(route="/a", asInt=1)), metric("exponentialHistogram", exponential()), service_name="s"
    )
    assert fed.take(given_one.SerializeToString()) == 0
    rows = fed.rows()
    text = json.loads(json_format.MessageToJson(given_one))
    text["unknown"] = {"of": "tomorrow"}
    metrics = text["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    metrics[0]["gauge"]["dataPoints"][0]["exemplars"] = [{"traceId": "5b8efff798038103d269b633813fc60c", "asInt": "1"}]
    assert fed.take(json.dumps(text).encode(), JSON) == 0
    assert fed.rows().equals(rows)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1", b'{"resourceMetrics": 1}', b"[" * 100_000, b'{"a":' * 5000, b"\xff\xfe",
        b'{"resourceMetrics": [{"resource": {"attributes": [{"key": 1}]}}]}', b'{"resourceMetrics": [null, 7]}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{"asInt": 1e400}]}}]}]}]}',
    ],
)  # fmt: skip
def test_json_that_is_no_request_is_refused(fed: Fed, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        fed.take(body, JSON)
    assert refused.value.status == 400
    assert fed.source.counters()["not_otlp"] == 1


def test_large_json_is_refused_and_large_protobuf_is_not(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_JSON_BYTES", 1)
    with pytest.raises(Refused, match="protobuf may have more"):
        fed.take(b"{}", JSON)
    assert fed.take(request(metric("gauge", *([{**point(), "asInt": 1}] * 100_000)))) == 0
    assert fed.rows().height == 100_000


def test_bodies_made_to_take_memory_do_not(fed: Fed) -> None:
    empty = ExportMetricsServiceRequest.FromString(request(metric("gauge")))
    gauge = empty.resource_metrics[0].scope_metrics[0].metrics[0]
    gauge.gauge.CopyFrom(type(gauge.gauge).FromString(b"\x0a\x00" * 600_000))
    assert fed.take(empty.SerializeToString()) == 600_000
    assert fed.told == "points refused: too_many_points: 600000"
    assert fed.take(b"\x0a\x00" * 150_000) == 50_000
    many = metric("gauge", {**point(), "asInt": 1})
    one = message(many)
    points = one.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]
    points.MergeFromString(b"\x3a\x03\x0a\x01k" * 1_000_000)
    assert fed.take(one.SerializeToString()) == 1
    assert fed.told == "points refused: too_many_attributes: 1"


def test_a_large_scope_is_kept_for_none_of_its_metrics(fed: Fed) -> None:
    totals = [metric("sum", point(asInt=1), name=f"m{i}", temporality=CUMULATIVE, isMonotonic=True) for i in range(200)]
    large = message(*totals)
    large.resource_metrics[0].scope_metrics[0].scope.name = "s" * 2**20
    body = large.SerializeToString()
    tracemalloc.start()
    try:
        assert fed.take(body) == 0
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 * 2**20
    assert kept < 2**20
    assert fed.source.counters()["first_points"] == 200


def test_scopes_tell_series_apart(fed: Fed) -> None:
    def one(scope: str, unit: str, value: int) -> list[tuple[Any, ...]]:
        sent = message(metric("sum", point(value, asInt=value), temporality=CUMULATIVE, isMonotonic=True))
        sent.resource_metrics[0].scope_metrics[0].scope.name = scope
        sent.resource_metrics[0].scope_metrics[0].metrics[0].unit = unit
        fed.take(sent.SerializeToString())
        rows = fed.rows()
        return rows.select("value").rows() if rows.height else []

    assert one("a", "s", 1) + one("b", "s", 10) + one("a", "ms", 100) == []
    assert [one("a", "s", 2), one("b", "s", 12), one("a", "ms", 103)] == [[(1.0,)], [(2.0,)], [(3.0,)]]


def test_points_of_too_many_metrics_are_all_told(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_points, "_MOST_METRICS", 12)
    two = metric("gauge", {**point(), "asInt": 1}, {**point(), "asInt": 2})
    one = message(*[two] * 20).resource_metrics[0]
    sent = ExportMetricsServiceRequest(resource_metrics=[one, one])
    sent.resource_metrics[0].scope_metrics.append(one.scope_metrics[0])
    # Of the things there may be, a resource and a scope are two.
    assert fed.take(sent.SerializeToString()) == 10 * 2 + 40 + 40
    assert fed.rows().height == 20
    assert fed.told == "points refused: too_many_metrics: 100"
    assert fed.source.counters()["too_many_metrics"] == 100


def test_large_integers_are_subtracted_exactly(fed: Fed) -> None:
    def one(at_s: float, value: int) -> list[tuple[Any, ...]]:
        return fed.of(metric("sum", point(at_s, asInt=value), temporality=CUMULATIVE, isMonotonic=True))

    assert one(0, 2**53 + 1) == []
    assert one(1, 2**53 + 2) == [(1.0, None)]
    assert one(2, 2**63 - 1) == [(float(2**63 - 2**53 - 3), None)]
