"""Every error is a problem document, and nothing else leaves the process."""

import threading

import pytest
from fastapi.openapi.utils import get_openapi

from api import problems
from api.models import Problem
from tests.api.world import asking


def problem_of(response):
    """The problem, held against the model that OpenAPI shows."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    Problem.model_validate_json(response.content, strict=True)
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["type"].startswith("urn:tailwatch:problem:")
    return problem


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("/api/v1/quantile", "/api/v1/quantiles"),
        ("/api/v1/metrics/", "/api/v1/metrics"),
        ("/readyz/x", "/readyz"),
        ("/%00", None),
        ("/" + "x" * 5_000, None),
        ("/<script>", None),
    ],
)
def test_unknown_paths_name_the_nearest_known_one(client, path, nearest):
    problem = problem_of(client.get(path))
    assert problem["status"] == 404
    assert problem.get("nearest") == nearest
    assert len(problem["detail"]) < 300


def test_the_hints_of_the_first_error_are_gathered_beside_other_requests(world, monkeypatch):
    makers = []

    def watched(**named):
        makers.append(threading.current_thread())
        return get_openapi(**named)

    monkeypatch.setattr("api.app.get_openapi", watched)
    for first in ("/nowhere", "/docs", "/openapi.json", "/api/v1/quantiles?quantil=1"):
        with asking(world.url) as client:
            loop = client.portal.call(threading.current_thread)
            client.get(first)
            client.get("/nowhere")
        assert len(makers) == 1, "made once"
        assert makers.pop() is not loop, first


@pytest.mark.parametrize(
    ("body", "kind", "parameter", "detail"),
    [
        (b'{"sql": "x"', "application/json", "body", "the body is no JSON: see character"),
        (b"[" * 100_000, "application/json", "body", "the body is no JSON; send"),
        (b'{"sql": "\xff"}', "application/json", "body", "the body is no JSON; send"),
        (b'{"sql": "x"}', "application/x-www-form-urlencoded", "body", "with Content-Type: application/json"),
        (b"[]", "application/json", "body", "the body is no JSON object"),
        (b"", "application/json", "body", "the body is missing"),
        (b'{"sql": "x", "tables": [{}]}', "application/json", "tables.0.name", "tables.0.name is missing"),
        (b'{"sql": "x", "tables": [{"name": "a", "content_hash": "b", "x": 1}]}', "application/json", "tables.0.x", ""),
        (b'{"sql": "x", "nam": "y"}', "application/json", "nam", "did you mean name"),
    ],
)
def test_a_body_that_cannot_be_read_says_where_and_what_to_send(client, body, kind, parameter, detail):
    problem = problem_of(client.request("POST", "/api/v1/queries", content=body, headers={"Content-Type": kind}))
    assert (problem["status"], problem["parameter"]) == (400, parameter)
    assert detail in problem["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/v1/quantiles", "/metrics", "/docs"])
def test_other_methods_are_405_with_what_is_allowed(client, method, path):
    response = client.request(method, path)
    assert problem_of(response)["status"] == 405
    assert "GET" in response.headers["allow"]


def test_a_crash_is_a_neutral_500_and_the_log_has_the_reason(world, caplog):
    def broken_clock():
        raise RuntimeError("secret /path/to/things")

    with asking(world.url, now_ns=broken_clock) as client:
        response = client.get("/api/v1/status")
    problem = problem_of(response)
    assert problem["status"] == 500
    assert "secret" not in response.text
    assert "secret" in caplog.text


def test_head_is_get_without_a_body(client):
    plain = {"Accept-Encoding": "identity"}
    got = client.request("GET", "/api/v1/metrics", headers=plain)
    head = client.request("HEAD", "/api/v1/metrics", headers=plain)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == got.headers["etag"]
    assert head.headers["content-length"] == str(len(got.content))
    assert client.request("HEAD", "/nowhere").status_code == 404


def test_nearest_names_are_offered_only_when_close():
    assert problems.nearest_name("hicup_us", ["hiccup_us", "rtt_us"]) == "hiccup_us"
    assert problems.nearest_name("x", ["hiccup_us"]) is None
