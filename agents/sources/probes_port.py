"""Tailwatch's own port, on which other agents knock: it accepts, answers a GET with a few bytes, and closes.

It cannot be turned against anybody: TCP proves the sender's address, an answer is shorter than any question, and a
connection gets one at most. Connections, their time and how many are taken in a second are bounded; beyond that they
wait in the kernel's queue. A connect alone is answered by the kernel, without this process.
"""

import selectors
import socket
from collections import OrderedDict
from contextlib import suppress
from typing import Final

from agents.errors import SourceError
from agents.sources.listening import listening_address

MOST_CONNECTIONS: Final = 64
MOST_PER_S: Final = 2000
OPEN_S: Final = 2.0
_LONGEST_REQUEST: Final = 2**13
_BACKLOG: Final = 1024
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
_ASKED: Final = (b"GET ", b"HEAD ")


def listening_socket(listen: str) -> socket.socket:
    """A socket that listens there, for IPv4 too where it is every interface of IPv6; SourceError where it cannot."""
    address = listening_address(listen)
    opened = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6 and address.host == "::":
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind((address.host, address.port))
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        reason = error.strerror or str(error)
        raise SourceError(f"listen {listen!r}: {reason}; set another address, or '' to answer nobody") from error
    return opened


class ProbePort:
    """What knocks on one listening socket; used by the thread of the selector."""

    def __init__(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        """The listener is closed by whoever opened it."""
        self.counters = {"knocks": 0, "knocks_answered": 0, "knocks_cut": 0, "knocks_held_back": 0}
        self._listener = listener
        self._selector = selector
        self._asking: OrderedDict[socket.socket, tuple[float, bytes]] = OrderedDict()
        self._second_s = 0.0
        self._taken = 0
        self._resting = False
        selector.register(listener, selectors.EVENT_READ, self)

    def ready(self, ready: object, now_s: float) -> None:
        """The listener or one of the connections has something."""
        if ready is self._listener:
            self._accept(now_s)
        elif isinstance(ready, socket.socket) and ready in self._asking:
            self._read(ready)

    def tick(self, now_s: float) -> float:
        """Close those that take too long; returns when to come again at the latest."""
        while self._asking:
            connection, (began_s, _) = next(iter(self._asking.items()))
            if now_s < began_s + OPEN_S:
                break
            self._end(connection, "knocks_cut")
        if self._resting and now_s >= self._second_s + 1:
            self._resting = False
            self._selector.register(self._listener, selectors.EVENT_READ, self)
        if self._resting:
            return self._second_s + 1
        return min((began_s + OPEN_S for began_s, _ in self._asking.values()), default=now_s + OPEN_S)

    def close(self) -> None:
        """End all connections; the listener stays open."""
        for connection in list(self._asking):
            self._end(connection, "knocks_cut")
        if not self._resting:
            self._selector.unregister(self._listener)

    def _accept(self, now_s: float) -> None:
        if now_s >= self._second_s + 1:
            self._second_s, self._taken = now_s, 0
        while self._taken < MOST_PER_S:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # none waits, one has gone again, or there are no descriptors: then soon
                return
            self._taken += 1
            self.counters["knocks"] += 1
            connection.setblocking(False)
            while len(self._asking) >= MOST_CONNECTIONS:
                self._end(next(iter(self._asking)), "knocks_cut")
            self._asking[connection] = now_s, b""
            self._selector.register(connection, selectors.EVENT_READ, self)
        self.counters["knocks_held_back"] += 1
        self._resting = True
        self._selector.unregister(self._listener)

    def _read(self, connection: socket.socket) -> None:
        began_s, before = self._asking[connection]
        try:
            data = connection.recv(_LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        request = before + data
        if not data:
            self._end(connection)
        elif not any(request.startswith(one[: len(request)]) for one in _ASKED) or len(request) > _LONGEST_REQUEST:
            self._end(connection, "knocks_cut")
        elif b"\r\n\r\n" in request or b"\n\n" in request:
            with suppress(OSError):
                connection.send(_OK if request.startswith(b"GET ") else _OK[:-3])
                connection.shutdown(socket.SHUT_WR)
            self._end(connection, "knocks_answered")
        else:
            self._asking[connection] = began_s, request

    def _end(self, connection: socket.socket, event: str = "") -> None:
        if event:
            self.counters[event] += 1
        del self._asking[connection]
        self._selector.unregister(connection)
        connection.close()
