"""The source `scrape` beside real programs: Prometheus, its node exporter, its library for Python."""

import json
import math
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from agents.sources.configs import ScrapeConfig
from agents.sources.scrape import ScrapeSource
from agents.sources.scrape_fetch import Fetch
from agents.sources.scrape_page import text_page
from agents.sources.scrape_protobuf import protobuf_page
from tests.agents.sources.native_pages import HISTOGRAM, family, label, native
from tests.counterparts.choice import Counterparts, free_port
from tests.counterparts.programs import program
from tests.counterparts.prometheus import running

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def node_exporter() -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus-node-exporter"), f"--web.listen-address={address}", "--collector.disable-defaults"]
    command += [f"--collector.{name}" for name in ("cpu", "meminfo", "stat", "loadavg", "netdev")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.02)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def scraped(times: int, *targets: str, **settings: Any) -> list[pl.DataFrame]:
    """The rows of each page of the targets."""
    now = [0.0]
    config = ScrapeConfig(**{"targets": targets, "interval_s": 30.0, "timeout_s": 30.0} | settings)
    source = ScrapeSource(config, clock=lambda: now[0])
    source.open(None)
    found = []
    try:
        for _ in range(times):
            wanted, deadline = source.counters()["scrapes"] + len(targets), time.monotonic() + WITHIN_S
            now[0] += 30.0
            batches = source.poll()
            while source.counters()["scrapes"] < wanted or any(one.runs for one in source._targets.values()):
                assert time.monotonic() < deadline, source.counters()
                time.sleep(0.005)
                batches += source.poll()
            batches += source.poll()
            found.append(pl.concat([batch.rows for batch in batches]))
        assert source.missing() == {}
        counters = source.counters()
        assert {n: counters[n] for n in ("malformed", "duplicates", "bad_values")} == {
            "malformed": 0, "duplicates": 0, "bad_values": 0,
        }  # fmt: skip
        return found
    finally:
        source.close()


def value(rows: pl.DataFrame, name: str) -> float:
    return rows.filter(pl.col("name") == name)["value"].item()


def test_a_real_prometheus_is_scraped_in_text_and_in_protobuf_alike(counterparts: Counterparts) -> None:
    address = counterparts.address("prometheus").removeprefix("http://")
    pages = {}
    for packed in (False, True):
        first, second = scraped(2, address, native_histograms=packed)
        assert first["name"].n_unique() > 50
        assert value(second, "up") == 1
        # Prometheus counts what it answers: the page that we took before is one of them.
        requests = second.filter(pl.col("name") == "prometheus_http_requests_total")
        assert requests["value"].sum() >= 1
        found = second.filter(pl.col("name") == "prometheus_http_response_size_bytes")
        assert found["count"].sum() >= 1
        assert found["distribution"].null_count() == 0
        pages[packed] = set(first["name"].unique()) - {"promhttp_metric_handler_errors_total"}
    assert pages[False] == pages[True]


def test_protobuf_of_a_real_prometheus_holds_the_series_of_its_text(counterparts: Counterparts) -> None:
    url = f"{counterparts.address('prometheus')}/metrics"
    deadline = time.monotonic() + WITHIN_S
    # Before its first page was taken and counted, Prometheus has no series of that.
    while b'handler="/metrics"' not in (text := Fetch(url, ScrapeConfig(targets=("a:1",))).run()).body:
        assert time.monotonic() < deadline
    other = Fetch(url, ScrapeConfig(targets=("a:1",), native_histograms=True)).run()
    assert "protobuf" in other.content_type
    plain = text_page(text.body, openmetrics="openmetrics" in text.content_type)
    packed = protobuf_page(other.body)

    def series(keys: pl.Series) -> set[str]:
        return {
            key.replace('.0"', '"').replace("{}", "")
            for key in keys
            if 'le="' not in key and 'quantile="' not in key and "_created" not in key
        }

    assert len(series(plain.keys)) > 100
    assert series(plain.keys) == series(packed.keys)
    assert packed.malformed == 0


def test_a_real_node_exporter_is_read_as_the_library_for_python_reads_it(node_exporter: str) -> None:
    fetched = Fetch(f"http://{node_exporter}/metrics", ScrapeConfig(targets=("a:1",))).run()
    page = text_page(fetched.body, openmetrics="openmetrics" in fetched.content_type)
    assert page.malformed == page.duplicates == 0
    with urllib.request.urlopen(f"http://{node_exporter}/metrics", timeout=10) as answer:
        old = answer.read()
    theirs = [s for f in text_string_to_metric_families(old.decode()) for s in f.samples]
    ours = text_page(old, openmetrics=False)
    assert [key.partition("{")[0] for key in ours.keys] == [s.name for s in theirs]
    assert all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(ours.values, (s.value for s in theirs), strict=True)
    )
    first, second = scraped(2, node_exporter)
    memory = value(second, "node_memory_MemTotal_bytes")
    assert memory == value(first, "node_memory_MemTotal_bytes") > 2**20
    cpu = second.filter(pl.col("name") == "node_cpu_seconds_total")
    assert cpu["kind"].unique().to_list() == ["counter"]
    assert 0 <= cpu["value"].sum() < 3600


def test_the_exposition_of_the_library_for_python_is_scraped_in_openmetrics() -> None:
    registry = CollectorRegistry()
    requests = Counter("requests", "x", ["code"], registry=registry)
    took = Histogram("took_seconds", "x", registry=registry)
    Gauge("depth", "x", registry=registry).set(4)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        now, address = [0.0], f"127.0.0.1:{server.server_port}"
        config = ScrapeConfig(targets=(address,), interval_s=10.0, timeout_s=10.0)
        source = ScrapeSource(config, clock=lambda: now[0])
        source.open(None)
        for count in (1, 30):
            for _ in range(count):
                requests.labels("200").inc()
                took.observe(0.3, {"trace_id": "abc"})
            wanted = source.counters()["scrapes"] + 1
            now[0] += 10
            batches, deadline = source.poll(), time.monotonic() + WITHIN_S
            while source.counters()["scrapes"] < wanted or any(one.runs for one in source._targets.values()):
                assert time.monotonic() < deadline
                time.sleep(0.002)
            batches += source.poll()
        source.close()
        rows = pl.concat([batch.rows for batch in batches])
        assert value(rows, "requests_total") == 30
        assert value(rows, "depth") == 4
        assert rows.filter(pl.col("name") == "took_seconds")["count"].to_list() == [30]
        assert not [name for name in rows["name"] if name.endswith("_created")]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_native_histogram_is_the_one_that_a_real_prometheus_scrapes() -> None:
    """Its buckets of the same page are ours, each with as many values: the pages that other tests take are right."""
    binary = program("prometheus")
    values = [0.0, 1e-7, 0.011, 0.25, 0.25, 0.26, 1.0, 3.5, 64.0, 1e6, -0.5, -7.0]
    page = family("took_seconds", HISTOGRAM, label("path", "/") + native(values, 3))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header(
                "Content-Type",
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            )
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    config = (
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
        f"scrape_configs: [{{job_name: a, static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]}}]\n"
    )
    try:
        with running(binary, config) as address:
            deadline = time.monotonic() + WITHIN_S
            while True:
                with urllib.request.urlopen(f"{address}/api/v1/query?query=took_seconds", timeout=10) as answer:
                    found = json.load(answer)["data"]["result"]
                if found:
                    break
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    theirs = found[0]["histogram"][1]
    (ours,) = protobuf_page(page).native
    assert int(theirs["count"]) == ours.histogram.count == len(values)
    assert float(theirs["sum"]) == ours.histogram.sum
    gamma = 2.0 ** (2.0**-3)
    mine = {gamma**i: n for i, n in ours.histogram.positive.items()}
    mine |= {-(gamma ** (i - 1)): n for i, n in ours.histogram.negative.items()}
    buckets = {float(b[2]): int(b[3]) for b in theirs["buckets"]}
    zeros = buckets.pop(2.0**-128)
    assert zeros == ours.histogram.zero_count == 1
    assert list(buckets.values()) == [n for _, n in sorted(mine.items())]
    assert list(buckets) == pytest.approx([upper for upper, _ in sorted(mine.items())], rel=1e-6)
