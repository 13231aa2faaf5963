"""The source otlp and OpenTelemetry's own SDK and exporter: what is recorded there is what a query gives here."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from agents.executor import Executor
from agents.sources.configs import OtlpConfig
from agents.sources.otlp import OtlpSource
from agents.sources.source import Batch
from agents.sources.streams import OTLP, known_streams
from pipeline.partial import Partial
from pipeline.sketch_state import SketchState
from pipeline.sql import compile_query

SCHEMA = {**OTLP, "http_route": "string", "host_name": "string"}
TAKEN = np.random.default_rng(5).lognormal(-4.0, 1.0, 600)


@pytest.fixture(name="source")
def _source() -> Iterator[OtlpSource]:
    source = OtlpSource(OtlpConfig(listen="127.0.0.1:0"), SCHEMA)
    source.open(None)
    yield source
    source.close()


def provider(source: OtlpSource, temporality: AggregationTemporality, *, exponential: bool) -> Any:
    """An application's metrics, exported when it is told to."""
    exporter = OTLPMetricExporter(
        endpoint=f"http://127.0.0.1:{source.port}/v1/metrics",
        compression=Compression.Gzip if exponential else Compression.NoCompression,
        preferred_temporality=dict.fromkeys((Counter, Histogram, UpDownCounter), temporality),
        timeout=20,
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    views = [View(instrument_type=Histogram, aggregation=ExponentialBucketHistogramAggregation())] * exponential
    resource = Resource({"service.name": "shop", "host.name": "web1", "telemetry.sdk.language": "python"})
    return MeterProvider([reader], resource=resource, views=views, shutdown_on_exit=False)


def recorded(source: OtlpSource, temporality: AggregationTemporality, *, exponential: bool) -> Any:
    """Three exports of one application; the rows that they make."""
    app = provider(source, temporality, exponential=exponential)
    meter = app.get_meter("shop", "1.0")
    took = meter.create_histogram("http.server.request.duration", "s")
    orders, busy = meter.create_counter("orders", "1"), meter.create_up_down_counter("busy", "1")

    def temperature(_: CallbackOptions) -> list[Observation]:
        return [Observation(21.5)]

    meter.create_observable_gauge("temperature", [temperature], "Cel")
    for part in np.split(TAKEN, 3):
        for i, value in enumerate(part.tolist()):
            took.record(value, {"http.route": f"/r{i % 2}", "url.scheme": "https"})
            orders.add(2, {"http.route": "/buy"})
        busy.add(-1 if part[0] == TAKEN[0] else 3)
        assert app.force_flush(20_000)
    (batch,) = source.poll()
    app.shutdown()
    return batch.rows


@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
@pytest.mark.parametrize("exponential", [True, False])
def test_an_application_s_metrics_are_what_it_recorded(
    source: OtlpSource, temporality: AggregationTemporality, exponential: bool
) -> None:
    rows = recorded(source, temporality, exponential=exponential)
    assert {key: len(part) for (key, *_), part in rows.group_by("name")} == {
        "http.server.request.duration": 6, "orders": 3, "busy": 3, "temperature": 3,
    }  # fmt: skip
    by = {str(key): part for (key, *_), part in rows.group_by("name")}
    assert set(rows["service"]) == {"shop"}
    assert set(rows["host_name"]) == {"web1"}
    assert by["orders"].select("kind", "unit", "http_route").unique().rows() == [("sum", "1", "/buy")]
    assert by["orders"]["value"].to_list() == [400.0, 400.0, 400.0]
    delta = temporality is AggregationTemporality.DELTA
    assert by["busy"].select("kind", "value").rows() == (
        [("sum", -1.0), ("sum", 3.0), ("sum", 3.0)] if delta else [("gauge", -1.0), ("gauge", 2.0), ("gauge", 5.0)]
    )
    assert by["temperature"].select("kind", "unit", "value").unique().rows() == [("gauge", "Cel", 21.5)]
    assert by["http.server.request.duration"]["count"].to_list() == [100] * 6
    counters = source.counters()
    assert (counters["points"], counters["requests"]) == (15, 3)
    assert "url.scheme" in source.missing()["attributes"]

    sql = (
        "SELECT http_route, sketch(distribution) AS http_s FROM otlp WHERE name = 'http.server.request.duration' "
        "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), http_route"
    )
    streams = known_streams({"otlp": {"http_route": "string", "host_name": "string"}})
    executor = Executor([compile_query("q", sql, streams, {})], {}, "h")
    executor.add(Batch("otlp", rows))
    partial = Partial.merge([one for delta_ in executor.take() for one in delta_.partials])
    routes, state = partial.keys["http_route"], partial.states["http_s"]
    assert isinstance(state, SketchState)
    column = state.column.reduce(routes.rank("dense").to_numpy().astype(int) - 1, 2)
    for place, count in enumerate(column.totals().tolist()):
        values = np.concatenate([part[place::2] for part in np.split(TAKEN, 3)])
        assert count == len(values)
        for level in (0.5, 0.9, 0.99):
            truth = float(np.sort(values)[math.ceil(level * count) - 1])
            found = float(column.quantiles([level])[place, 0])
            if exponential:
                assert abs(found - truth) <= 0.05 * truth  # scale 3 or finer
            else:
                assert _bucket(found) == _bucket(truth)


def _bucket(value: float) -> int:
    return int(np.searchsorted([0, 5, 10, 25, 50, 75, 100], value))
