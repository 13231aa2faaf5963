"""The API's own latencies on their way to an agent."""

import socket

import msgspec
import pytest
from prometheus_client import generate_latest

from api.own_metrics import OwnMetrics
from api.telemetry import BUFFERED_ROWS, SEND_INTERVAL_S, LatencySender
from tests.promptness import promptly


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "agent.sock"))
        listening.settimeout(30)
        yield listening


def sender_to(path, rows=0):
    metrics = OwnMetrics()
    sender = LatencySender(str(path), metrics)
    for i in range(rows):
        sender.record(1_795_330_810_000_000_000 + i, "/api/v1/quantiles", "GET", 200, 123.5)
    return sender, metrics


def started_and_closed(sender):
    """All that it held is sent or dropped: closing itself does not wait for a thread that stands still."""
    sender.start()
    sender.close()
    sender._thread.join(30)
    assert not sender._thread.is_alive()


def dropped(metrics, reason):
    return metrics.registry.get_sample_value("tailwatch_api_telemetry_rows_dropped_total", {"reason": reason}) or 0


def received(listening):
    """All datagrams that are there, decoded."""
    listening.settimeout(0.05)
    found = []
    while True:
        try:
            found.append(msgspec.msgpack.decode(listening.recv(1 << 20)))
        except TimeoutError:
            return found


def test_rows_arrive_in_the_stream_format_and_in_order(listener, tmp_path):
    sender, metrics = sender_to(tmp_path / "agent.sock", rows=450)
    started_and_closed(sender)
    datagrams = received(listener)
    assert {datagram["stream"] for datagram in datagrams} == {"api_requests"}
    rows = [row for datagram in datagrams for row in datagram["rows"]]
    assert rows == [[1_795_330_810_000_000_000 + i, "/api/v1/quantiles", "GET", 200, 123.5] for i in range(450)]
    assert metrics.registry.get_sample_value("tailwatch_api_telemetry_rows_sent_total") == 450


def test_rows_leave_by_themselves_and_several_share_a_datagram(listener, tmp_path):
    sender, _ = sender_to(tmp_path / "agent.sock", rows=10)
    with promptly(SEND_INTERVAL_S + 1):
        sender.start()
        assert len(msgspec.msgpack.decode(listener.recv(1 << 20))["rows"]) == 10
    sender.close()


def test_without_a_listener_rows_are_counted_as_dropped(tmp_path):
    sender, metrics = sender_to(tmp_path / "nobody.sock", rows=7)
    started_and_closed(sender)
    assert dropped(metrics, "no_listener") == 7


def test_a_listener_that_has_gone_is_no_listener(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(tmp_path / "agent.sock"))
    sender, metrics = sender_to(tmp_path / "agent.sock", rows=3)
    started_and_closed(sender)
    assert dropped(metrics, "no_listener") == 3


def test_a_full_socket_drops_counted_and_never_waits(listener, tmp_path):
    sender, metrics = sender_to(tmp_path / "agent.sock", rows=BUFFERED_ROWS)
    with promptly(1):
        started_and_closed(sender)
    arrived = sum(len(datagram["rows"]) for datagram in received(listener))
    assert dropped(metrics, "socket_full") > 0
    assert arrived + dropped(metrics, "socket_full") == BUFFERED_ROWS


def test_a_full_buffer_drops_the_newest_rows_counted(tmp_path):
    _, metrics = sender_to(tmp_path / "nobody.sock", rows=BUFFERED_ROWS + 5)
    assert dropped(metrics, "buffer_full") == 5


def test_a_path_no_socket_can_have_is_counted_not_raised():
    sender, metrics = sender_to("/" + "x" * 300, rows=2)
    started_and_closed(sender)
    assert dropped(metrics, "socket_error") == 2
    assert b"tailwatch_api_telemetry_rows_dropped_total" in generate_latest(metrics.registry)
