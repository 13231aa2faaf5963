"""What browsers and proxies send beside GET: HEAD everywhere, no CORS, dates and zones as they come."""

import pytest

from api.answer_models import QuantilesAnswer
from tests.api.world import BEGIN_NS, SECOND_NS


def plain_routes(client):
    """Every GET route that needs no parameter but a metric."""
    document = client.get("/openapi.json").json()
    return sorted(path for path, methods in document["paths"].items() if "get" in methods and "{" not in path)


def test_head_works_on_every_route_that_get_works_on(client):
    routes = plain_routes(client)
    assert {"/api/v1/quantiles", "/api/v1/distribution", "/metrics"} <= set(routes)
    for path in routes:
        parameters = {"metric": "probe_rtt_us"} if client.get(path).status_code == 400 else None
        head = client.request("HEAD", path, params=parameters)
        assert head.status_code == client.request("GET", path, params=parameters).status_code
        assert head.content == b""
        assert head.headers["content-type"]


def test_no_other_origin_may_read_answers_in_a_browser(client):
    """CORS is off: a preflight is a 405, and no answer carries a header that would let a foreign page read it."""
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for path in plain_routes(client):
        asked = client.request("OPTIONS", path, headers=preflight)
        assert asked.status_code == 405
        got = client.request("GET", path, headers=preflight)
        for response in (asked, got):
            assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-22T07:00:10Z", "2026-11-22T07:00:30Z"),
        ("2026-11-22T08:30:10+01:30", "2026-11-21T21:00:30-10:00"),
        ("2026-11-22T07:00:10.001Z", "2026-11-22T07:00:29.999Z"),
        ("1795330810.001", "1795330829.999"),
        ("-53s", "-33s"),
        ("-52s999ms", "now-33s1ms"),
    ],
)
def test_one_stretch_has_many_names(client, start, end):
    response = client.get("/api/v1/quantiles", metric="probe_rtt_us", start=start, end=end)
    QuantilesAnswer.model_validate_json(response.content, strict=True)
    answer = response.json()
    assert (answer["start_ns"], answer["end_ns"]) == (BEGIN_NS + 10 * SECOND_NS, BEGIN_NS + 30 * SECOND_NS)


@pytest.mark.parametrize("path", ["/api/v1/quantiles", "/api/v1/distribution", "/api/v1/values"])
def test_a_stepped_range_in_the_past_is_a_304_however_late_it_is_asked_for_again(world, path):
    from tests.api.world import END_NS, NOW_NS, asking

    clock = iter(range(NOW_NS, NOW_NS + 10**15, 10 * 60 * SECOND_NS))
    metric = "probes_total" if path.endswith("values") else "probe_rtt_us"
    with asking(world.url, now_ns=lambda: next(clock)) as client:
        asked = {
            "metric": metric, "by": "host", "step": "20s", "start": BEGIN_NS // SECOND_NS, "end": END_NS // SECOND_NS
        }  # fmt: skip
        first = client.get(path, **asked)
        assert (len(first.json()["groups"]), first.headers["cache-control"]) == (6, "no-cache")
        again = client.request("GET", path, params=asked, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")
