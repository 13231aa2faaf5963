"""What the API measures of itself: /metrics and the latency stream."""

import socket

import msgspec

from api.config import ApiConfig
from tests.api.world import asking


def test_requests_are_counted_by_template_method_and_status(world):
    with asking(world.url) as client:
        client.get("/api/v1/quantiles", metric="probe_rtt_us")
        client.get("/api/v1/quantiles", metric="nothing")
        client.request("POST", "/api/v1/quantiles")
        client.request("HEAD", "/healthz")
        client.get("/some/path")
        client.get("/some/other/path")
        client.request("BREW", "/healthz")
        text = client.get("/metrics").text
    for line in (
        'tailwatch_api_requests_total{method="GET",route="/api/v1/quantiles",status="200"} 1.0',
        'tailwatch_api_requests_total{method="GET",route="/api/v1/quantiles",status="404"} 1.0',
        'tailwatch_api_requests_total{method="POST",route="/api/v1/quantiles",status="405"} 1.0',
        'tailwatch_api_requests_total{method="HEAD",route="/healthz",status="200"} 1.0',
        'tailwatch_api_requests_total{method="GET",route="unmatched",status="404"} 2.0',
        'tailwatch_api_requests_total{method="other",route="/healthz",status="405"} 1.0',
        'tailwatch_api_request_duration_seconds_count{route="/api/v1/quantiles"} 3.0',
    ):
        assert line in text
    assert "/some" not in text


def test_metrics_speak_openmetrics_to_who_asks_for_it(client):
    response = client.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_every_request_becomes_a_row_of_the_latency_stream(world, tmp_path):
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(30)
        with asking(world.url, ApiConfig(telemetry_socket=str(path))) as client:
            client.get("/api/v1/metrics")
            client.get("/nowhere")
        rows = []
        while len(rows) < 2:
            datagram = msgspec.msgpack.decode(listener.recv(1 << 20))
            assert datagram["stream"] == "api_requests"
            rows += datagram["rows"]
    assert [row[1:4] for row in rows] == [["/api/v1/metrics", "GET", 200], ["unmatched", "GET", 404]]
    for ts_ns, *_, duration_us in rows:
        assert isinstance(ts_ns, int)
        assert 0 < duration_us < 10e6
        assert isinstance(duration_us, float)


def test_a_crash_is_counted_as_500(world):
    def broken_clock():
        raise RuntimeError("clock")

    with asking(world.url, now_ns=broken_clock) as client:
        client.get("/api/v1/agents")
        assert 'route="/api/v1/agents",status="500"} 1.0' in client.get("/metrics").text
