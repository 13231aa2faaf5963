"""Probes over HTTPS: whose certificates are believed, what fails, and answers that come in pieces."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from agents.config import AgentConfig
from agents.errors import SourceError
from agents.sources.configs import ProbesConfig
from agents.sources.probes import ProbesSource
from agents.sources.probes_flight import OUTCOMES
from tests.agents.live import until
from tests.counterparts.choice import free_port

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 204 No Content\r\n" + b"A: b\r\n" * 4000 + b"\r\n"  # of several TLS records


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    found = trustme.CA()
    found.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return found


@contextlib.contextmanager
def served(context: ssl.SSLContext | None, does: Answer) -> Iterator[int]:
    """A server on loopback that does one thing to each connection, over TLS where there is a context."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), connection:
                    secured = connection if context is None else context.wrap_socket(connection, server_side=True)
                    with secured:
                        does(secured)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def answering(data: bytes, pause_s: float = 0) -> Answer:
    def answer(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += connection.recv(1000)
        for begin in range(0, len(data), 20_000 if pause_s else len(data)):
            connection.sendall(data[begin : begin + (20_000 if pause_s else len(data))])
            time.sleep(pause_s)

    return answer


def held(until_set: threading.Event) -> None:
    until_set.wait(30)


def context_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def probed(peer: str, **settings: Any) -> dict[str, Any]:
    """The first outcome."""
    config = ProbesConfig(listen="", peers=(peer,), **({"timeout_s": 10.0} | settings))
    source = ProbesSource(config, AgentConfig(id="agent-1"))
    source.open(None)
    try:
        rows: list[dict[str, Any]] = []
        until(lambda: bool(rows.extend(row for batch in source.poll() for row in batch.rows.to_dicts()) or rows))
    finally:
        source.close()
    return rows[0]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("pause_s", [0, 0.05])
def test_a_get_over_tls_has_a_status_and_latencies(
    authority: trustme.CA, tmp_path: Path, name: str, pause_s: float
) -> None:
    with served(context_of(authority, name), answering(HEAD, pause_s)) as port:
        row = probed(f"https://{name}:{port}/health?q=1", ca_path=str(tmp_path / "ca.pem"))
    assert (row["kind"], row["outcome"], row["http_status"], row["ok"]) == ("https", "ok", 204, 1)
    assert 0 < row["connect_us"] < row["latency_us"]
    assert row["rtt_us"] is None or row["rtt_us"] < row["latency_us"]


def test_who_is_not_believed_or_speaks_no_tls_is_told_by_an_outcome(authority: trustme.CA, tmp_path: Path) -> None:
    ca_path = str(tmp_path / "ca.pem")
    with served(context_of(authority, "127.0.0.1"), answering(HEAD)) as port:
        assert probed(f"https://127.0.0.1:{port}/")["outcome"] == "tls"  # the system does not know this authority
        assert probed(f"https://localhost:{port}/", ca_path=ca_path)["outcome"] == "tls"  # another name
    with served(None, lambda plain: plain.sendall(b"220 mail is spoken here\r\n")) as port:
        row = probed(f"https://127.0.0.1:{port}/", ca_path=ca_path)
        assert (row["outcome"], row["latency_us"]) == ("tls", None)
        assert row["connect_us"] > 0
    with served(context_of(authority, "127.0.0.1"), answering(b"HTTP/1.1 503 Busy\r\n\r\n")) as port:
        assert probed(f"https://127.0.0.1:{port}/", ca_path=ca_path)["outcome"] == "http_status"
    with served(context_of(authority, "127.0.0.1"), answering(b"SSH\r\n")) as port:
        assert probed(f"https://127.0.0.1:{port}/", ca_path=ca_path)["outcome"] == "bad_http"
    assert probed(f"https://127.0.0.1:{free_port()}/", ca_path=ca_path)["outcome"] == "refused"
    assert "tls" in OUTCOMES


def test_a_handshake_that_is_never_answered_times_out(authority: trustme.CA, tmp_path: Path) -> None:
    done = threading.Event()
    with served(None, lambda _: held(done)) as port:
        row = probed(f"https://127.0.0.1:{port}/", ca_path=str(tmp_path / "ca.pem"), timeout_s=0.2)
        done.set()
    assert row["outcome"] == "timeout"


def test_authorities_that_cannot_be_read_are_refused_where_they_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        config = ProbesConfig(listen="", peers=("https://127.0.0.1:1/",), ca_path=str(tmp_path / name))
        with pytest.raises(SourceError, match=rf"ca_path '.*{name}': .*; want a PEM file"):
            ProbesSource(config, AgentConfig(id="agent-1")).open(None)
