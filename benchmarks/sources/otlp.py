"""Table 4: OpenTelemetry's exponential histograms of 160 buckets, from the socket to p99 by route.

Ours is received over HTTP, decoded, and goes through a query that merges sketches by route and 10 s; the client that
posts is in the same process and paid for, too. The peer is OpenTelemetry's own messages: a body out of memory parsed,
the counts of each point read into NumPy and added up by route. Whoever finds another p99 than the values' own bucket
has no number.
"""

import gzip
import http.client
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from agents.executor import Executor
from agents.sources.configs import OtlpConfig
from agents.sources.otlp import JSON, PROTOBUF, OtlpSource
from agents.sources.streams import known_streams
from benchmarks.rounds import Candidate, interleaved
from benchmarks.sources.feeding import answer_of
from benchmarks.sources.goals import OTLP_POINTS
from benchmarks.sources.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.sql import compile_query

OURS: Final = "tailwatch"
PEER: Final = "opentelemetry-proto"
BUCKETS: Final = 160
SCALE: Final = 4
FIRST: Final = -120
ROUTES: Final = 50
#: Points a request, as a collector's batches have.
A_REQUEST: Final = 1000
COLUMNS: Final = [
    Column("who", "who"), Column("does", "what is sent"), Column("bytes", "bytes a point", 0),
    Column("median", "points/s", 0), Column("low", "lowest", 0), Column("high", "highest", 0),
    Column("ratio", "ours / peer", 2), Column("state", ""),
]  # fmt: skip
STREAMS: Final = known_streams({"otlp": {"http_route": "string"}})
#: By route: counts of the buckets.
Truth = Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]


def run(sizing: Sizing, board: Scoreboard) -> list[Table]:
    """The table."""
    table = Table("otlp", "4. OpenTelemetry's exponential histograms to p99 by route", COLUMNS)
    count = sizing.otlp_requests * A_REQUEST
    table.notes.append(f"{count:,} points of {BUCKETS} buckets, {A_REQUEST} a request; CPU time with the client's own")
    bodies, truth = requests(sizing.otlp_requests)
    growing, grown = requests(sizing.otlp_requests, cumulative=True)
    few, few_truth = requests(1)
    text = [_as_json(body) for body in few]
    candidates: dict[str, Candidate] = {}
    about: dict[str, tuple[str, str, float]] = {}
    for who, does, sent, wanted, kind, packed in (
        (OURS, "protobuf, delta", bodies, truth, PROTOBUF, False),
        (OURS, "protobuf with gzip, delta", [gzip.compress(body, 1) for body in bodies], truth, PROTOBUF, True),
        (OURS, "protobuf, cumulative", growing, grown, PROTOBUF, False),
        (OURS, "JSON, delta", text, few_truth, JSON, False),
        (PEER, "protobuf, delta", bodies, truth, "", False),
    ):
        run_one = (
            partial(by_messages, sent, wanted) if who == PEER else partial(by_tailwatch, sent, wanted, kind, packed)
        )
        points = len(sent) * A_REQUEST
        candidates[f"{who} {does}"] = Candidate(run_one, per_run=points)
        about[f"{who} {does}"] = who, does, sum(map(len, sent)) / points
    found = interleaved(candidates, sizing.rounds)
    peer = f"{PEER} protobuf, delta"
    for name, (who, does, size) in about.items():
        row: dict[str, Any] = {"who": who, "does": does, "bytes": size, "median": None, "low": None, "high": None}
        row |= {"ratio": None, "state": found.failed.get(name, "")[:90]}
        if name in found.seconds:
            rate = found.rate(name)
            row |= {"median": rate.median, "low": rate.lowest, "high": rate.highest}
            if who == OURS and peer in found.seconds:
                row["ratio"] = found.speedup(name, peer).median
        table.rows.append(row)
    first = f"{OURS} protobuf, delta"
    if first in found.seconds:
        board.score(
            OTLP_POINTS,
            found.rate(first).median,
            "received over HTTP, decoded, through a query with sketch(distribution)",
        )
    else:
        board.fail(OTLP_POINTS, found.failed[first])
    return [table]


def requests(count: int, *, cumulative: bool = False) -> tuple[list[bytes], Truth]:
    """Bodies of A_REQUEST points each, and what they add up to by route."""
    draw = np.random.default_rng(9)
    shape = np.exp(-(((np.arange(BUCKETS) - 70) / 25) ** 2)) * 50 + 1
    now_ns = time.time_ns()
    truth = {f"/route/{route}": np.zeros(BUCKETS, np.int64) for route in range(ROUTES)}
    totals = np.zeros((A_REQUEST, BUCKETS), np.int64)
    bodies = []
    for turn in range(count):
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        _attribute(resource.resource.attributes, "service.name", "shop")
        metric = resource.scope_metrics.add().metrics.add(name="http.server.request.duration", unit="s")
        histogram = metric.exponential_histogram
        histogram.aggregation_temporality = 2 if cumulative else 1
        added = draw.poisson(shape, (A_REQUEST, BUCKETS))
        totals += added
        for i in range(A_REQUEST):
            counts = totals[i] if cumulative else added[i]
            route = f"/route/{i % ROUTES}"
            if not cumulative or turn:  # the first one of a series tells what was before
                truth[route] += added[i]
            point = histogram.data_points.add(start_time_unix_nano=now_ns - 10**12, time_unix_nano=now_ns + turn)
            point.scale, point.count, point.sum = SCALE, int(counts.sum()), float(counts.sum())
            _attribute(point.attributes, "http.route", route)
            _attribute(point.attributes, "server.address", f"10.0.0.{i // ROUTES}")
            point.positive.offset = FIRST
            point.positive.bucket_counts.extend(counts.tolist())
        bodies.append(request.SerializeToString())
    return bodies, truth


def by_tailwatch(bodies: Sequence[bytes], truth: Truth, kind: str, packed: bool, _: object) -> None:
    """What an agent makes of them, but for shipping."""
    executor = Executor([plan()], {}, "host")
    source = OtlpSource(OtlpConfig(listen="127.0.0.1:0"), STREAMS["otlp"])
    source.open(None)
    client = http.client.HTTPConnection("127.0.0.1", source.port)
    headers = {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if packed else {})
    try:
        for body in bodies:
            client.request("POST", "/v1/metrics", body, headers)
            answer = client.getresponse()
            if answer.status != 200 or len(answer.read()) > 2:
                raise AssertionError(f"{answer.status}: {source.counters()}")
            for batch in source.poll():
                executor.add(batch)
    finally:
        client.close()
        source.close()
    found = answer_of(Partial.merge([one for delta in executor.take() for one in delta.partials]), "http_s")
    _check({route: (count, _bucket(p99)) for route, (count, p99) in found.items()}, truth)


def plan() -> Plan:
    """Sketches by route."""
    sql = "SELECT http_route, sketch(distribution) AS http_s FROM otlp WHERE name = 'http.server.request.duration'"
    return compile_query("http", f"{sql} GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), http_route", STREAMS, {})


def by_messages(bodies: Sequence[bytes], truth: Truth, _: object) -> None:
    """The messages as generated for Python, and NumPy."""
    sums: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
    for body in bodies:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.exponential_histogram.data_points:
                        routes = [one.value.string_value for one in point.attributes if one.key == "http.route"]
                        counts = np.array(point.positive.bucket_counts, np.int64)
                        if routes[0] in sums:
                            sums[routes[0]] += counts
                        else:
                            sums[routes[0]] = counts
    _check({route: _answer(counts) for route, counts in sums.items()}, truth)


def _check(found: Mapping[str, tuple[int, int]], truth: Truth) -> None:
    wanted = {route: _answer(counts) for route, counts in truth.items() if counts.any()}
    if found != wanted:
        raise AssertionError(f"found {dict(list(found.items())[:2])}, wanted {dict(list(wanted.items())[:2])}")


def _answer(counts: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[int, int]:
    """How many values, and the bucket of the one at the nearest rank of p99."""
    total = int(counts.sum())
    return total, FIRST + int(np.searchsorted(np.cumsum(counts), int(np.ceil(0.99 * total))))


def _bucket(value: float) -> int:
    return int(np.ceil(np.log2(value) * 2**SCALE)) - 1


def _attribute(attributes: Any, key: str, text: str) -> None:
    attribute = attributes.add(key=key)
    attribute.value.string_value = text


def _as_json(body: bytes) -> bytes:
    from google.protobuf import json_format

    return bytes(json_format.MessageToJson(ExportMetricsServiceRequest.FromString(body), indent=None).encode())
