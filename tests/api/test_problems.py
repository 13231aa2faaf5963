"""Every error is a problem document, and nothing else leaves the process."""

import pytest

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
