"""The address on which an agent shows its metrics."""

import socket
import urllib.request

import pytest

from agents.errors import MetricsPortError
from agents.metrics_server import MetricsServer


def _ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "asked", "elsewhere"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
        ("127.0.0.2", "127.0.0.2", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2", None),
        pytest.param("::1", "[::1]", None, marks=pytest.mark.skipif(not _ipv6(), reason="this machine has no IPv6")),
    ],
)
def test_the_page_is_shown_on_the_address_that_is_named(host: str, asked: str, elsewhere: str | None) -> None:
    server = MetricsServer(0, 60, host)
    try:
        server.set("page\n", "")
        with urllib.request.urlopen(f"http://{asked}:{server.port}/metrics", timeout=10) as answer:
            assert answer.read() == b"page\n"
        if elsewhere is not None:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((elsewhere, server.port), 10)
    finally:
        server.close()


def test_an_address_of_another_machine_is_refused_by_name() -> None:
    with pytest.raises(MetricsPortError, match=r"cannot listen on 192\.0\.2\.1:9"):
        MetricsServer(9101, 60, "192.0.2.1")
