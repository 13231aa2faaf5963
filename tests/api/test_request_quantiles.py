"""Latencies per route on /metrics, from our own sketches, and which route a request counts for."""

import math
import re
import subprocess
import sys

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client.parser import text_string_to_metric_families

from api.request_quantiles import WINDOW_S, RequestQuantiles
from api.route_templates import UNMATCHED, RouteTemplates
from tests.api.world import asking

SECOND_NS = 10**9


class Clock:
    def __init__(self):
        self.now_ns = 10**15

    def __call__(self):
        return self.now_ns


def samples(measured):
    (metric,) = measured.collect()
    assert metric.type == "summary"
    return {(sample.name.rpartition("_")[2], *sample.labels.values()): sample.value for sample in metric.samples}


def test_quantiles_are_those_of_the_last_minutes_within_the_sketches_error():
    clock = Clock()
    measured = RequestQuantiles(clock)
    for n in range(1, 10_001):
        measured.observe("/a", n / 1_000)
    measured.observe("/b", 7.0)
    found = samples(measured)
    for level, exact in (("0.5", 5.0), ("0.9", 9.0), ("0.99", 9.9), ("0.999", 9.99)):
        assert found["seconds", "/a", level] == pytest.approx(exact, rel=0.0055)
        assert found["seconds", "/b", level] == pytest.approx(7.0, rel=0.0055)
    assert (found["count", "/a"], found["sum", "/a"]) == (10_000, pytest.approx(50_005))
    clock.now_ns += (WINDOW_S - 40) * SECOND_NS
    measured.observe("/a", 0.001)
    clock.now_ns += 60 * SECOND_NS
    found = samples(measured)
    assert found["seconds", "/a", "0.999"] == pytest.approx(0.001, rel=0.0055)
    assert math.isnan(found["seconds", "/b", "0.5"])
    assert (found["count", "/a"], found["count", "/b"]) == (10_001, 1)


def test_values_that_nobody_looked_at_do_not_gather_without_end():
    measured = RequestQuantiles(Clock())
    for _ in range(10_000):
        measured.observe("/a", 0.001)
    assert len(measured._routes["/a"].durations_s) < 4_096
    assert samples(measured)["count", "/a"] == 10_000


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_metrics_alone_tell_p99_of_every_route(world, accept):
    with asking(world.url) as client:
        for _ in range(3):
            client.get("/api/v1/quantiles", metric="probe_rtt_us")
        client.get("/api/v1/nothing")
        text = client.request("GET", "/metrics", headers={"Accept": accept}).text
    found = dict(
        re.findall(
            r'^tailwatch_api_request_duration_seconds\{quantile="0.99",route="(.*)"\} (\S+)$', text, re.MULTILINE
        )
    )
    assert set(found) == {"/api/v1/quantiles", UNMATCHED}
    assert all(0 < float(value) < 10 for value in found.values())
    if accept == "text/plain":
        families = {family.name: family.type for family in text_string_to_metric_families(text)}
        assert families["tailwatch_api_request_duration_seconds"] == "summary"


def test_every_route_of_the_app_is_its_own_template(client):
    templates = RouteTemplates(client.app)
    paths = [*client.app.openapi()["paths"], "/docs", "/", "/openapi.json"]
    for path in paths:
        assert templates.of(re.sub(r"\{[^}]*\}", "some-thing", path)) == path


def test_a_template_is_found_behind_prefixes_and_parameters():
    app, router = FastAPI(), APIRouter(prefix="/v1")
    router.get("/label/{name}/values")(lambda name: name)
    router.get("/labels")(lambda: "")
    app.include_router(router, prefix="/prometheus")
    app.get("/prometheus/{path:path}")(lambda path: path)
    templates = RouteTemplates(app)
    assert templates.of("/prometheus/v1/label/a b/values") == "/prometheus/v1/label/{name}/values"
    assert templates.of("/prometheus/v1/labels") == "/prometheus/v1/labels"
    assert templates.of("/prometheus/v1/label/a/b/values") == "/prometheus/{path}"
    assert templates.of("/elsewhere") == templates.of("/prometheus") == UNMATCHED


_COMPILED = """
import gc
from numba.core.dispatcher import Dispatcher
from api.request_quantiles import RequestQuantiles
from quantiles._kernels.compiling import compile_all

def compiled():
    kernels = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {(one.py_func.__name__, types) for one in kernels for types in one.signatures}

compile_all()
before = compiled()
now_ns = [0]
measured = RequestQuantiles(lambda: now_ns[0])
for _ in range(12):
    now_ns[0] += 40 * 10**9
    for duration_s in (0.001, 0.002, 3.0):
        measured.observe("/a", duration_s)
    list(measured.collect())
print(len(before), sorted(compiled() - before))
"""


def test_what_it_runs_is_compiled_beforehand_not_while_requests_wait():
    pytest.importorskip("numba")
    done = subprocess.run([sys.executable, "-c", _COMPILED], capture_output=True, text=True, check=True, timeout=120)
    n, missing = done.stdout.split(maxsplit=1)
    assert int(n) > 10
    assert missing.strip() == "[]"
