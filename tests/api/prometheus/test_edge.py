"""The edge itself: paths, methods, bodies, a database that is away, time that is up, clients that go."""

import re
import sqlite3
import threading
import time
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.config import ApiConfig, PrometheusConfig
from api.prometheus import queries
from api.prometheus.routes import MAX_BODY_BYTES, ROUTES
from tests.api.prometheus.test_queries import END, QUERY, refused
from tests.api.world import asking, fill, probe_records
from tests.promptness import promptly

V1 = "/prometheus/api/v1/"


@pytest.mark.parametrize(
    "path",
    [
        *("status/flags", "rules/test/test", "", "query/", "label//values", "label/a/b/values"),
        *("label/{name}/values/x", "/prometheus", "/prometheus/", "/prometheus/api"),
    ],
)
def test_unknown_paths_are_as_plain_as_with_prometheus(client, path):
    for method in ("GET", "POST"):
        response = client.request(method, path if path.startswith("/") else V1 + path)
        assert (response.status_code, response.text) == (404, "404 page not found\n")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_other_methods_are_refused_as_plainly_with_those_that_are_taken(client, route):
    for method in {"PUT", "DELETE", "OPTIONS", "PATCH", "POST", "BREW"} - set(route.methods):
        response = client.request(method, route.path.format(name="host"))
        assert (response.status_code, response.text) == (405, "Method Not Allowed\n")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["allow"] == ", ".join(route.methods)


def test_own_metrics_know_templates_only(world):
    with asking(world.url) as client:
        client.get(f"{V1}label/tor/values")
        client.get(f"{V1}label/host/values")
        client.get(f"{V1}no/such")
        client.get("/prometheus/other")
        client.request("PUT", QUERY)
        text = client.get("/metrics").text
    requests = 'tailwatch_api_requests_total{method="%s",route="%s",status="%d"} %.1f'
    for line in (
        requests % ("GET", "/prometheus/api/v1/label/{name}/values", 200, 2),
        requests % ("GET", "unmatched", 404, 2),
        requests % ("PUT", QUERY, 405, 1),
    ):
        assert line in text
    assert "no/such" not in text


def test_a_body_larger_than_any_question_is_refused(client):
    body = b"query=" + b"1" * MAX_BODY_BYTES
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.request("POST", QUERY, content=body, headers=headers)
    assert str(MAX_BODY_BYTES) in refused(response, 413, "bad_data")
    crowd = client.request("POST", QUERY, content=b"a=1&" * 1_001, headers=headers)
    assert "1000 parameters" in refused(crowd, 400, "bad_data")


def test_a_database_that_is_away_is_unavailable_and_arithmetic_goes_on(tmp_path):
    world = fill(tmp_path / "own.db", probe_records(n=60))
    with asking(world.url) as client:
        broken = sqlite3.connect(world.path)
        broken.execute("DROP TABLE series")
        broken.close()
        for path in ("query?query=probes_total", "labels", "series?match[]=probes_total"):
            assert "tailwatch db upgrade" in refused(client.get(V1 + path), 503, "unavailable")
        assert client.get(QUERY, query="1+1").json()["data"]["result"][1] == "2"
        assert 'database_errors_total{reason="schema"} 3.0' in client.get("/metrics").text


def test_a_damaged_page_is_internal_and_says_nothing_of_the_inside(tmp_path, caplog):
    world = fill(tmp_path / "own.db", probe_records(n=60))
    broken = sqlite3.connect(world.path)
    broken.execute("UPDATE pages SET data = x'01ff'")
    broken.commit()
    broken.close()
    with asking(world.url) as client:
        text = refused(client.get(QUERY, query="probes_total", time=str(END)), 500, "internal")
    assert "damaged" in text
    assert "Traceback" not in text
    assert "request failed path=/prometheus/api/v1/query" in caplog.text


def test_a_crash_is_internal_and_neutral(world, monkeypatch, caplog):
    def crash(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(queries, "instant", crash)
    with asking(world.url) as client:
        assert "secret" not in refused(client.get(QUERY, query="1"), 500, "internal")
    assert "secret" in caplog.text


def test_a_query_ends_when_its_time_is_up(world, monkeypatch):
    def slow(text, at, source, limits, interrupt):
        while True:
            interrupt()
            time.sleep(0.001)

    monkeypatch.setattr(queries, "instant", slow)
    with asking(world.url, ApiConfig(prometheus=PrometheusConfig(timeout_s=0.05))) as client:
        for given in ({}, {"timeout": "10ms"}, {"timeout": "1h"}):
            with promptly(5):
                text = refused(client.get(QUERY, query="1", **given), 503, "timeout")
                assert text == "query timed out in expression evaluation"
    assert refused_in_time(world)


def refused_in_time(world):
    """Whether `timeout` alone ends a query whose server would wait for a minute."""
    with asking(world.url) as client:
        return "timed out" in refused(client.get(QUERY, query="1", timeout="20ms"), 503, "timeout")


def test_who_waits_longer_than_the_query_may_take_is_told_so(world, monkeypatch):
    running, go_on = threading.Event(), threading.Event()
    evaluate = queries.instant

    def held(text, *others):
        if text == "1":
            running.set()
            assert go_on.wait(30)
        return evaluate(text, *others)

    monkeypatch.setattr(queries, "instant", held)
    with asking(world.url, ApiConfig(prometheus=PrometheusConfig(max_concurrent=1))) as client:
        first = client.portal.start_task_soon(client.http.get, f"{QUERY}?query=1")
        assert running.wait(30)
        response = client.get(QUERY, query="2", timeout="20ms")
        assert refused(response, 503, "timeout") == "query timed out in query queue"
        assert client.get(f"{V1}rules").status_code == 200  # what does no work does not wait
        go_on.set()
        assert first.result(30).json()["data"]["result"][1] == "1"
        assert client.get(QUERY, query="2").json()["data"]["result"][1] == "2"


def test_a_query_ends_when_its_client_goes(world, monkeypatch):
    running, ended = threading.Event(), threading.Event()

    def endless(text, at, source, limits, interrupt):
        running.set()
        try:
            while True:
                interrupt()
                time.sleep(0.001)
        finally:
            ended.set()

    monkeypatch.setattr(queries, "instant", endless)
    with asking(world.url) as client:
        sent = []

        async def ask_and_go():
            messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

            async def receive():
                if len(messages) == 1:
                    await anyio.to_thread.run_sync(running.wait)
                return messages.pop(0)

            async def send(message):
                sent.append(message)

            scope = {
                "type": "http", "method": "GET", "path": QUERY, "raw_path": QUERY.encode(), "query_string": b"query=1",
                "headers": [], "http_version": "1.1", "scheme": "http", "server": ("api", 80), "client": ("c", 1),
                "root_path": "", "asgi": {"version": "3.0"},
            }  # fmt: skip
            await client.app(scope, receive, send)

        client.portal.call(ask_and_go)
        assert ended.wait(30)
    assert sent[0]["status"] == 503


TEXT = st.text(max_size=30)
EXPRESSION = (
    st.sampled_from(
        [
            "1",
            "probes_total",
            "probe_rtt_us[1m]",
            "sum(rate(probe_rtt_us[1m]))",
            "{}",
            "x{",
            "odd_ratio * odd_ratio",
            "((((",
            '"x"',
        ]
    )
    | TEXT
)
MOMENT = (
    st.sampled_from(["", "0", str(END), "NaN", "-Inf", "1e300", "2026-11-22T07:01:00Z", "-62135596800", "9" * 400])
    | TEXT
)
LENGTH = st.sampled_from(["1", "0", "-1", "1h", "1e300", "NaN", "0.0000001", "10s", "5y", "9" * 400]) | TEXT
NUMBER = st.integers(-(10**20), 10**20).map(str) | TEXT


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([route.path.format(name="tor") for route in ROUTES]),
    st.sampled_from(["GET", "POST"]),
    st.fixed_dictionaries(
        {},
        optional={
            "query": EXPRESSION, "time": MOMENT, "start": MOMENT, "end": MOMENT, "step": LENGTH, "limit": NUMBER,
            "timeout": LENGTH, "lookback_delta": LENGTH, "match[]": st.lists(EXPRESSION, max_size=3), "metric": TEXT,
            "limit_per_metric": NUMBER,
        },
    ),
    st.binary(max_size=40),
    st.sampled_from(["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/json"]),
)  # fmt: skip
def test_no_question_breaks_a_route(client, path, method, asked, body, kind):
    sent = {"content": body, "headers": {"Content-Type": kind}} if body else {"data": asked} if method == "POST" else {}
    response = client.request(method, path, params=asked, **sent)
    assert response.status_code in {200, 400, 405, 422, 503}, response.text
    if response.status_code in {400, 422}:
        refused(response, response.status_code, {400: "bad_data", 422: "execution"}[response.status_code])
    if response.status_code == 503:
        refused(response, 503, "timeout")


def test_the_reference_names_every_route_setting_and_error():
    root = Path(__file__).parents[3]
    reference = (root / "docs" / "reference" / "prometheus-api.md").read_text()
    assert [route.path for route in ROUTES if f"`{route.path}`" not in reference] == []
    assert [name for name in PrometheusConfig.__struct_fields__ if f"`{name}`" not in reference] == []
    classes = re.findall(r"^class (\w+)\(", (root / "api" / "prometheus" / "errors.py").read_text(), re.MULTILINE)
    assert len(classes) == 5
    assert [name for name in classes if f"`{name}`" not in reference] == []


@pytest.mark.parametrize("path", ["labels", "label/host/values", "series", "federate"])
def test_many_heavy_patterns_are_refused_before_they_are_compiled(client, path):
    selectors = [f'{{host=~"{letter}\\\\pL{{40}}"}}' for letter in "abcdefghijkl"]
    address = "/prometheus/federate" if path == "federate" else V1 + path
    text = refused(client.get(address, **{"match[]": selectors}), 400, "bad_data")
    assert "the regular expressions weigh" in text
    assert client.get(address, **{"match[]": selectors[:2]}).status_code == 200


def test_an_answer_of_too_many_buckets_is_refused_before_it_is_written(client, monkeypatch):
    given = {"query": "probe_rtt_us", "time": str(END)}
    assert client.get(QUERY, **given).status_code == 200
    monkeypatch.setattr(queries, "MOST_BUCKETS", 20)
    assert "at most 20 are written" in refused(client.get(QUERY, **given), 422, "execution")
    assert client.get(QUERY, query="histogram_quantile(0.5, probe_rtt_us)", time=str(END)).status_code == 200
