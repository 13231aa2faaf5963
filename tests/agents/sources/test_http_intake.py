"""The HTTP server that sources listen with: what hostile, slow and honest clients get."""

import contextlib
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import SourceError
from agents.sources import http_intake
from agents.sources.http_bodies import Refused, unpacked
from agents.sources.http_intake import Answer, HttpIntake, HttpLimits, Request, Service
from agents.sources.listening import listening_address
from tests.whole_response import whole_response

MOST = 100_000
GZIP = {"Content-Encoding": "gzip"}


class Kept(Service):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.routes = {"/in": frozenset({"text/plain"})}
        self.bodies: list[bytes] = []
        self.full = False
        self.waits = threading.Event()
        self.waits.set()
        self.entered = threading.Event()

    def is_full(self) -> bool:
        return self.full

    def take(self, request: Request) -> Answer:
        self.entered.set()
        self.waits.wait(20)
        self.bodies.append(request.body)
        return Answer(200, b"taken", "text/plain")

    def refusal(self, kind: str, refused: Refused) -> Answer:
        return Answer(refused.status, f"{kind}|{refused.message}".encode(), "text/plain")


class Running:
    def __init__(self, **limits: float) -> None:
        self.service = Kept()
        values = {"connections": 8, "idle_s": 20.0, "head_s": 20.0, "body_s": 20.0, **limits}
        self.intake = HttpIntake("t", "127.0.0.1:0", self.service, HttpLimits(MOST, **values))  # type: ignore[arg-type]
        self.intake.open()

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.intake.port, timeout=20)

    def raw(self, data: bytes = b"") -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self.intake.port), timeout=20)
        opened.sendall(data)
        return opened


@pytest.fixture(name="running")
def _running() -> Iterator[Running]:
    running = Running()
    yield running
    running.service.waits.set()
    running.intake.close()


def post(
    client: http.client.HTTPConnection, body: object, path: str = "/in", **headers: str
) -> tuple[int, bytes, http.client.HTTPResponse]:
    client.request("POST", path, body, {"Content-Type": "text/plain", **headers})  # type: ignore[arg-type]
    answer = client.getresponse()
    return answer.status, answer.read(), answer


def until(is_true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def everything(opened: socket.socket) -> bytes:
    """Until the other side closes, or cuts."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := opened.recv(65536):
            found += piece
    return found


def test_one_connection_serves_many_requests_plain_gzipped_and_chunked(running: Running) -> None:
    client = running.client()
    assert post(client, b"one")[:2] == (200, b"taken")
    assert post(client, gzip.compress(b"two"), **GZIP)[0] == 200
    assert post(client, iter([b"th", b"", b"ree"]), **{"Content-Type": "text/plain; charset=utf-8"})[0] == 200
    assert post(client, gzip.compress(b"fo") + gzip.compress(b"ur"), **GZIP)[0] == 200
    assert running.service.bodies == [b"one", b"two", b"three", b"four"]
    assert running.intake.connections == 1
    assert running.intake.counters()["requests"] == 4
    client.close()


@pytest.mark.parametrize(
    ("body", "headers", "path", "status", "reason"),
    [
        (b"x", {}, "/other", 404, "unknown_path"),
        (b"x", {"Content-Type": "text/html"}, "/in", 415, "unknown_type"),
        (b"x", {"Content-Encoding": "zstd"}, "/in", 415, "unknown_encoding"),
        (b"x", GZIP, "/in", 400, "bad_gzip"),
        (gzip.compress(b"long" * 100, mtime=0)[:-9], GZIP, "/in", 400, "bad_gzip"),
        (gzip.compress(b"x", mtime=0) + b"behind", GZIP, "/in", 400, "bad_gzip"),
        (gzip.compress(bytes(50 * MOST), mtime=0), GZIP, "/in", 413, "too_large"),
        (bytes(MOST + 1), {}, "/in", 413, "too_large"),
        (iter([bytes(MOST), b"x"]), {}, "/in", 413, "too_large"),
        (b"x", {"Content-Length": "-1"}, "/in", 400, "bad_request"),
        (b"x", {"Content-Length": "1e3"}, "/in", 400, "bad_request"),
        (b"1\r\nx\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked", "Content-Length": "13"}, "/in", 400, "bad_request"),
        (b"zz\r\n", {"Transfer-Encoding": "chunked"}, "/in", 400, "bad_request"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_reason(
    running: Running, body: object, headers: dict[str, str], path: str, status: int, reason: str
) -> None:
    client = running.client()
    if "Transfer-Encoding" in headers or "Content-Length" in headers:
        assert isinstance(body, bytes)
        head = "".join(f"{name}: {value}\r\n" for name, value in {"Content-Type": "text/plain", **headers}.items())
        with running.raw(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body) as opened:
            assert f" {status} ".encode() in everything(opened).split(b"\r\n")[0]
    else:
        assert post(client, body, path, **headers)[0] == status
    client.close()
    assert running.service.bodies == []
    assert running.intake.counters()[reason] == 1
    running.intake.room.take(4 * MOST)  # nothing is held any more


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /in HTTP/1.1\r\n\r\n", b" 405 "),
        (b"POST /in HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n", b" 411 "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 "),
        (b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
        (b"POST /in HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b" 431 "),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" 505 "),
    ],
)
def test_what_is_no_post_is_told_so(running: Running, sent: bytes, status: bytes) -> None:
    with running.raw(sent) as opened:
        assert status in everything(opened).split(b"\r\n")[0]


def test_a_full_source_is_told_before_the_body_is_sent_and_when_to_come_back(running: Running) -> None:
    running.service.full = True
    head = b"POST /in HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n"
    with running.raw(head) as opened:
        opened.shutdown(socket.SHUT_WR)
        answer = everything(opened)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 2\r\n" in answer
    assert running.intake.counters()["queue_full"] == 1


def test_who_asks_first_is_told_to_go_on(running: Running) -> None:
    head = b"POST /in HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with running.raw(head) as opened:
        assert whole_response(opened).startswith(b"HTTP/1.1 100 ")
        opened.sendall(b"ok")
        assert whole_response(opened).startswith(b"HTTP/1.1 200 ")
    assert running.service.bodies == [b"ok"]


@pytest.mark.parametrize("sent", [b"POST /in HT", b"POST /in HTTP/1.1\r\nContent-Type: text/plain\r\n"])
def test_a_head_that_drips_is_cut_off(sent: bytes) -> None:
    running = Running(head_s=0.2)
    with running.raw(sent) as opened:
        everything(opened)
    until(lambda: running.intake.connections == 0)
    running.intake.close()


def test_a_body_that_drips_is_told_that_it_is_too_slow() -> None:
    running = Running(body_s=0.3)
    with running.raw(b"POST /in HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\n") as opened:
        opened.settimeout(0.05)
        answer, end_s = b"", time.monotonic() + 60
        while not answer and time.monotonic() < end_s:
            try:
                answer = opened.recv(100)
            except TimeoutError:
                with contextlib.suppress(ConnectionError):  # it may have been told and cut off by now
                    opened.sendall(b"x")
        assert answer.startswith(b"HTTP/1.1 408 ")
    assert running.intake.counters()["too_slow"] == 1
    running.intake.close()


def test_the_connection_that_is_idle_longest_makes_room() -> None:
    running = Running(connections=2)
    first, second, third = (running.client() for _ in range(3))
    for one in (first, second, third, second):
        assert post(one, b"x")[0] == 200
        until(lambda: all(one.idle_since_s is not None for one in running.intake._all()))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        post(first, b"5")
    for one in (first, second, third):
        one.close()
    running.intake.close()


def test_connections_that_are_all_busy_let_no_more_in() -> None:
    running = Running(connections=1)
    with running.raw(b"POST /in HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n") as busy:
        until(lambda: any(one.idle_since_s is None for one in running.intake._all()))
        with running.raw() as opened:
            assert everything(opened).startswith(b"HTTP/1.1 503 ")
        busy.sendall(b"ok")
        assert whole_response(busy).startswith(b"HTTP/1.1 200 ")
    assert running.intake.counters()["too_many_connections"] == 1
    running.intake.close()


def test_bodies_of_all_connections_together_are_bounded(running: Running) -> None:
    running.intake.room.take(4 * MOST - 10)
    client = running.client()
    status, _, answer = post(client, bytes(11))
    assert (status, answer.headers["Retry-After"]) == (503, "2")
    client.close()
    other = running.client()
    assert post(other, bytes(10))[0] == 200
    other.close()


def test_closing_answers_what_is_being_taken_and_takes_nothing_else(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_intake, "_CLOSED_WITHIN_S", 20.0)  # a busy machine may take the usual time itself
    running.service.waits.clear()
    head = b"POST /in HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"
    with running.raw(head + b"ok") as taken, running.raw(head + b"no") as waiting, running.raw() as idle:
        running.service.entered.wait(20)
        until(lambda: running.intake.connections == 3)
        closer = threading.Thread(target=running.intake.close)
        closer.start()
        assert everything(idle) == b""
        running.service.waits.set()
        closer.join(20)
        assert not closer.is_alive()
        answers = [everything(taken)[:12], everything(waiting)[:12]]
    assert answers.count(b"HTTP/1.1 200") == len(running.service.bodies) == 1
    assert running.intake.connections == 0


def test_a_taken_port_is_an_error_that_names_it_and_a_closed_one_is_free(running: Running) -> None:
    port = running.intake.port
    other = HttpIntake("u", f"127.0.0.1:{port}", Kept(), HttpLimits(MOST))
    with pytest.raises(SourceError, match=f"u source: cannot listen on 127.0.0.1:{port}"):
        other.open()
    client = running.client()
    post(client, b"x")
    running.intake.close()
    running.intake.close()
    other.open()
    other.close()
    other.open()
    assert other.port == port
    other.close()
    client.close()


def test_a_host_without_descriptors_or_threads_refuses_a_source_and_keeps_no_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intake = HttpIntake("u", "127.0.0.1:0", Kept(), HttpLimits(MOST))
    for place, name, error in (
        (threading.Thread, "start", RuntimeError("can't start new thread")),
        (socket, "socket", OSError(24, "Too many open files")),
    ):

        def none_left(*_: object, raised: Exception = error) -> None:
            raise raised

        with monkeypatch.context() as patch:
            patch.setattr(place, name, none_left)
            with pytest.raises(SourceError, match=r"^u source: .*(new thread|open files)"):
                intake.open()
        intake.close()  # a socket that is left open would be told of
    intake.open()
    intake.close()


def test_a_fault_of_the_source_costs_one_connection(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Request) -> Answer:
        raise ZeroDivisionError

    client = running.client()
    with monkeypatch.context() as patched:
        patched.setattr(running.service, "take", broken)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            post(client, b"x")
    client.close()
    again = running.client()
    assert post(again, b"y")[0] == 200
    again.close()
    assert running.intake.counters()["failed"] == 1
    running.intake.room.take(4 * MOST)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.binary(max_size=300), st.integers(0, 299))
def test_unpacking_gives_the_body_or_refuses(noise: bytes, body: bytes, place: int) -> None:
    packed = gzip.compress(body)
    assert unpacked(packed, "gzip", 300) == body
    for damaged in (noise, packed[:place], packed[:place] + noise + packed[place + 1 :]):
        try:
            size = len(unpacked(damaged, "gzip", 300))
        except Refused:
            continue
        assert size <= 300


@pytest.mark.parametrize(
    ("listen", "shown"), [(":80", "0.0.0.0:80"), ("[::1]:4318", "[::1]:4318"), ("127.0.0.1:1", "127.0.0.1:1")]
)
def test_an_address_is_read_as_it_is_written(listen: str, shown: str) -> None:
    assert listening_address(listen).shown == shown


@pytest.mark.parametrize("listen", ["127.0.0.1:65536", "not a host!:80"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(SourceError, match="listen"):
        listening_address(listen)
