"""Connections that cost too much before a request is complete, and HTTPS."""

import select
import socket
import ssl
import time

import httpx
import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key

from api import connections
from api.config import ApiConfig
from api.errors import TlsError
from api.tls import tls_context
from tests.api.test_server import serving
from tests.promptness import promptly
from tests.whole_response import whole_response


def connected(url):
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(30)
    return connection


def all_of(connection):
    """What the server sends until it closes."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.fixture
def impatient(monkeypatch):
    """Makes servers end what is slow, from then on."""

    def from_now_on():
        monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.3)
        monkeypatch.setattr(connections, "REST_WITHIN_S", 0.3)

    return from_now_on


def greeted(url, impatient):
    """A connection that has had an answer, of a server that is impatient since then: until then a test may be slow."""
    connection = connected(url)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in whole_response(connection)
    impatient()
    return connection


def test_a_head_that_never_ends_is_431_before_it_fills_the_memory(world):
    with serving(world) as (url, _, _), connected(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX: ")
        assert b"200 OK" in whole_response(connection)  # and so what came with it is read, too, apart from the rest
        for _ in range(4):
            connection.sendall(b"x" * (2**13 - 10))
            assert not select.select([connection], [], [], 0.05)[0], "it may have 32,768 bytes"
        connection.sendall(b"x" * 40_000)
        answer = all_of(connection)
        counted = httpx.get(url + "/metrics", timeout=30).text
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"more than the 32768 bytes that are taken" in answer
    assert 'refused_requests_total{reason="headers_too_large"} 1.0' in counted


def drip_until_it_ends(connection, first):
    """A byte every 50 ms, `first` at the beginning; nothing where that is empty."""
    connection.settimeout(0.05)
    for byte in first + b"X" * 600:
        try:
            connection.sendall(bytes([byte])) if first else None
            assert connection.recv(100) == b""
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            pass
        return
    raise AssertionError("it never ended")


@pytest.mark.parametrize("first", [b"", b"GET /", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come_ends_the_connection_also_when_it_drips(world, impatient, first):
    impatient()
    with serving(world) as (url, _, _), promptly(3):
        began_s = time.monotonic()
        with connected(url) as connection:
            drip_until_it_ends(connection, first)
        assert 0.25 < time.monotonic() - began_s < 30


def test_an_idle_connection_between_requests_stays_and_answers_again(world, impatient):
    with serving(world) as (url, _, _), greeted(url, impatient) as connection:
        for _ in range(2):
            time.sleep(0.4)  # longer than a head may take, shorter than uvicorn keeps idle connections
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in whole_response(connection)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        received = b""
        while received.count(b"200 OK") < 2:
            received += connection.recv(65_536)


@pytest.mark.parametrize("begun", [b"GET /heal", b"\r\n"])
def test_a_second_request_that_stops_in_its_head_ends_the_connection_too(world, impatient, begun):
    with serving(world) as (url, _, _), greeted(url, impatient) as connection:
        connection.sendall(begun)
        with promptly(3):
            assert all_of(connection) == b""


def test_a_body_may_take_longer_than_a_head(world, impatient):
    with serving(world) as (url, _, _), greeted(url, impatient) as connection:
        connection.sendall(b"POST /api/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        time.sleep(0.5)
        connection.sendall(b"def")
        assert b"404 Not Found" in whole_response(connection)


def test_a_body_that_nobody_waits_for_has_to_come_in_time(world, impatient):
    with serving(world, ApiConfig(port=0, auth="on")) as (url, _, _), greeted(url, impatient) as connection:
        connection.sendall(b"POST /api/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        with promptly(3):
            assert b"401 Unauthorized" in all_of(connection)


def test_a_connection_goes_on_after_a_refused_body_that_came(world):
    with serving(world, ApiConfig(port=0, auth="on")) as (url, _, _), connected(url) as connection:
        connection.sendall(b"POST /api/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        assert b"401 Unauthorized" in whole_response(connection)
        connection.sendall(b"def")
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in whole_response(connection)


def test_a_connection_that_goes_silent_after_a_refused_body_ends(world, impatient):
    with serving(world, ApiConfig(port=0, auth="on")) as (url, _, _), greeted(url, impatient) as connection:
        connection.sendall(b"POST /api/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        assert b"401 Unauthorized" in whole_response(connection)
        connection.sendall(b"def")
        with promptly(3):
            assert all_of(connection) == b""


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def certificate(authority, tmp_path):
    """Paths of a certificate for localhost and its key."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = tmp_path / "api.pem", tmp_path / "api.key"
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return certificate, key


def config_of(certificate, key):
    return ApiConfig(port=0, tls_certificate_path=str(certificate), tls_key_path=str(key))


def test_with_a_certificate_it_speaks_https_and_nothing_else(world, authority, certificate):
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serving(world, config_of(*certificate)) as (url, _, _):
        port = url.rpartition(":")[2]
        assert httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trusting, timeout=30).json() == {"status": "ok"}
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"https://127.0.0.1:{port}/healthz")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
        old = ssl.create_default_context()
        authority.configure_trust(old)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
        assert httpx.get(f"https://localhost:{port}/healthz", verify=old, timeout=30).status_code == 200


def test_keys_that_would_travel_unencrypted_are_warned_of(world, certificate, caplog):
    caplog.set_level("INFO")
    with serving(world, ApiConfig(host="0.0.0.0", port=0)) as (url, _, _):
        port = url.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/status", timeout=30).status_code == 401
    assert "api keys come unencrypted" in caplog.text
    assert "keys=on" in caplog.text
    caplog.clear()
    with serving(world, msgspec.structs.replace(config_of(*certificate), host="0.0.0.0")):
        pass
    with serving(world, ApiConfig(port=0, auth="on")):
        pass
    assert "unencrypted" not in caplog.text


def test_files_that_are_no_certificate_and_key_are_named(certificate, tmp_path):
    chain, key = certificate
    other = tmp_path / "other.key"
    trustme.CA().issue_cert("x.example").private_key_pem.write_to_path(str(other))
    secret = tmp_path / "secret.key"
    secret.write_bytes(
        load_key(key.read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")
        )
    )
    for files, words in (
        ((tmp_path / "absent.pem", key), r"api\.tls_certificate_path: .*absent\.pem cannot be read: No such file"),
        ((chain, tmp_path / "absent.key"), r"api\.tls_key_path: .*absent\.key cannot be read"),
        ((chain, other), r"api\.tls_key_path: .*other\.key cannot be used .*mismatch"),
        ((chain, secret), r"secret\.key cannot be used .*without a password"),
        ((key, key), r"cannot be used with .*want the key of that certificate in PEM"),
    ):
        with pytest.raises(TlsError, match=words):
            tls_context(config_of(*files))
    assert tls_context(ApiConfig()) is None
