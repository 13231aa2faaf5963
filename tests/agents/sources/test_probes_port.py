"""Tailwatch's own port: who gets an answer, and how little a flood of connections can take."""

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agents.sources import probes_port
from agents.sources.probes_port import MOST_CONNECTIONS, OPEN_S, ProbePort, listening_socket


class Served:
    """A port with a clock fed by hand, turned by the test."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.selector = selectors.DefaultSelector()
        self.listener = listening_socket("127.0.0.1:0")
        self.port = ProbePort(self.listener, self.selector)

    def turn(self, seconds: float = 0.05) -> None:
        for key, _ in self.selector.select(seconds):
            key.data.ready(key.fileobj, self.now_s)
        self.port.tick(self.now_s)

    def until(self, event: str, count: int) -> None:
        deadline_s = time.monotonic() + 60
        while self.port.counters[event] < count:
            assert time.monotonic() < deadline_s, self.port.counters
            self.turn()

    def knock(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), 20)


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.port.close()
    one.selector.close()
    one.listener.close()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n",
        ),
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"),
        (b"POST / HTTP/1.1\r\n\r\n", b""),
        (b"\x16\x03\x01\x02\x00", b""),
        (b"GETTING", b""),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3000, b""),
    ],
    ids=["get", "head", "post", "tls", "word", "endless"],
)
def test_a_get_is_answered_once_and_shorter_than_it_was_asked_or_little_more(
    served: Served, request_: bytes, answer: bytes
) -> None:
    with served.knock() as knocking:
        knocking.sendall(request_)
        served.until("knocks_answered" if answer else "knocks_cut", 1)
        try:
            got = knocking.makefile("rb").read()
        except ConnectionResetError:
            got = b""
    assert got == answer
    assert len(got) < 80


def test_a_request_may_come_in_pieces_and_a_connect_alone_is_fine(served: Served) -> None:
    with served.knock():
        served.until("knocks", 1)
    with served.knock() as knocking:
        for piece in (b"G", b"ET / HTTP/1.1\r\n", b"\r\n"):
            knocking.sendall(piece)
            served.turn()
        served.until("knocks_answered", 1)
    assert served.port.counters["knocks"] == 2
    assert served.port.counters["knocks_cut"] == 0


def test_who_says_nothing_is_let_go_of(served: Served) -> None:
    with served.knock() as silent:
        served.until("knocks", 1)
        assert served.port.tick(served.now_s) == served.now_s + OPEN_S
        served.now_s += OPEN_S
        served.turn(0)
        assert silent.recv(10) == b""
    assert served.port.counters["knocks_cut"] == 1


def test_of_too_many_connections_the_oldest_make_room(served: Served) -> None:
    with ExitStack() as open_:
        knocking = []
        for number in range(MOST_CONNECTIONS + 3):
            knocking.append(open_.enter_context(served.knock()))
            served.until("knocks", number + 1)
        assert served.port.counters["knocks_cut"] == 3
        assert [one.recv(10) for one in knocking[:3]] == [b"", b"", b""]
        knocking[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        served.until("knocks_answered", 1)


def test_a_flood_waits_in_the_kernels_queue(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_port, "MOST_PER_S", 5)
    with ExitStack() as open_:
        for _ in range(8):
            open_.enter_context(served.knock())
        served.until("knocks_held_back", 1)
        assert served.port.counters["knocks"] == 5
        for _ in range(3):
            served.turn(0.01)
        assert served.port.counters["knocks"] == 5
        served.now_s += 1
        served.until("knocks", 8)
