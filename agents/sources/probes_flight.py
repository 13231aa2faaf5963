"""One probe: a connection from a port of its own, without waiting, up to its outcome.

A new source port each time: another path through the fabric, so that one bad link of many shows in some of the
probes. What the kernel knows of the handshake (its round trip, SYNs sent again) does not depend on how soon this
process is scheduled, so it is asked where it can be.
"""

import errno
import re
import selectors
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from agents.sources.probes_peers import Peer

OK: Final = "ok"
TIMEOUT: Final = "timeout"
DNS: Final = "dns"
#: Not the peer's doing: this host had no port, descriptor or memory for it. No outcome, but a record that is lost.
LOCAL: Final = "local"
_REFUSED_FROM: Final = 400
_LONGEST_HEAD: Final = 2**16
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_CONTINUES: Final = 200
# Offsets in Linux' struct tcp_info, which only grows at its end.
_RTT_AT, _TOTAL_RETRANS_AT, _INFO_BYTES = 68, 100, 104

_OUTCOMES: Final = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: TIMEOUT,
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EAFNOSUPPORT: "unreachable",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.EPIPE: "reset",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EADDRNOTAVAIL: LOCAL,
    errno.EMFILE: LOCAL,
    errno.ENFILE: LOCAL,
    errno.ENOBUFS: LOCAL,
    errno.ENOMEM: LOCAL,
}
#: Every word that stands in the column `outcome`.
OUTCOMES: Final = tuple(
    dict.fromkeys(
        [OK, *(one for one in _OUTCOMES.values() if one != LOCAL), DNS, "tls", "http_status", "bad_http", "other"]
    )
)
Address = tuple[socket.AddressFamily, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one probe; times in us, None where they are not known."""

    peer: Peer
    outcome: str
    latency_us: float | None = None
    connect_us: float | None = None
    rtt_us: float | None = None
    syn_retransmits: int | None = None
    http_status: int | None = None


class Flight:
    """One that is under way. After `start`, `wants` says for which event of `socket` to call `ready`."""

    def __init__(self, peer: Peer, clock: Callable[[], float], tls: ssl.SSLContext | None = None) -> None:
        """`clock` gives seconds and only goes forward; `tls` is wanted for peers of the kind https."""
        self.peer = peer
        self.socket: socket.socket | None = None
        self.wants = selectors.EVENT_WRITE
        self.began_s = 0.0
        self._clock = clock
        self._tls = tls
        self._shaking: ssl.SSLSocket | None = None
        self._connected_s: float | None = None
        self._unsent = b""
        self._head = b""
        self._rtt_us: float | None = None
        self._syn_retransmits: int | None = None

    def start(self, address: Address) -> Result | None:
        """Begin; the result where there is one at once."""
        family, at = address
        self.began_s = self._clock()
        try:
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.setblocking(False)
            self.began_s = self._clock()
            code = self.socket.connect_ex(at)
        except (OSError, OverflowError, ValueError) as error:
            return self._failed(getattr(error, "errno", None))
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            return None
        return self._failed(code) if code else self._connected(self._clock())

    def ready(self, now_s: float) -> Result | None:
        """What was waited for has come, seen at `now_s`; the result once it is known."""
        assert self.socket is not None, "it has been started"
        try:
            if self._connected_s is None:
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                return self._failed(code) if code else self._connected(now_s)
            return self._go_on(now_s)
        except OSError as error:
            return self._failed(error.errno)

    def late(self) -> Result:
        """Its time is up."""
        if self._connected_s is None:
            self._ask_kernel()
        return self._result(TIMEOUT)

    def close(self) -> None:
        """Let go of the connection."""
        if self.socket is not None:
            self.socket.close()

    def _connected(self, now_s: float) -> Result | None:
        if _is_to_itself(self.socket):
            return self._failed(errno.ECONNREFUSED)
        self._connected_s = now_s
        self._ask_kernel()
        if self.peer.kind == "tcp":
            return self._result(OK, now_s)
        self._unsent = _request(self.peer)
        try:
            if self.peer.kind == "https":
                self._begin_tls()
            return self._go_on(now_s, receive=False)
        except ssl.SSLError:
            return self._result("tls")
        except OSError as error:
            return self._failed(error.errno)

    def _begin_tls(self) -> None:
        assert self.socket is not None, "it is connected"
        assert self._tls is not None, "peers of this kind have one"
        try:
            self.socket = self._shaking = self._tls.wrap_socket(
                self.socket, server_hostname=self.peer.host, do_handshake_on_connect=False
            )
        except ValueError as error:  # a name that no certificate can have
            raise ssl.SSLError(str(error)) from error

    def _go_on(self, now_s: float, *, receive: bool = True) -> Result | None:
        """As far as it goes without waiting."""
        try:
            if self._shaking is not None:
                self._shaking.do_handshake()
                self._shaking = None
            if self._unsent:
                self._send()
                return None
            return self._receive(now_s) if receive else None
        except ssl.SSLWantReadError:
            self.wants = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            self.wants = selectors.EVENT_WRITE
        except ssl.SSLError:  # no TLS, or a certificate that is not believed: its number is none of the system's
            return self._result("tls")
        except BlockingIOError:
            pass
        return None

    def _send(self) -> None:
        assert self.socket is not None, "it is connected"
        self._unsent = self._unsent[self.socket.send(self._unsent) :]
        self.wants = selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ

    def _receive(self, now_s: float) -> Result | None:
        assert self.socket is not None, "it is connected"
        data = self.socket.recv(_LONGEST_HEAD)
        while data and isinstance(self.socket, ssl.SSLSocket) and (more := self.socket.pending()):
            data += self.socket.recv(more)  # no event will tell of what was unpacked already
        self._head += data
        found = _STATUS_LINE.match(self._head)
        while found is not None and int(found.group(1)) < _CONTINUES:  # an interim answer: another one follows
            end = _head_end(self._head)
            if end is None:
                break
            self._head = self._head[end:]
            found = _STATUS_LINE.match(self._head)
        if _head_end(self._head) is None:
            return self._result("bad_http") if not data or len(self._head) > _LONGEST_HEAD else None
        if found is None:
            return self._result("bad_http")
        status = int(found.group(1))
        return self._result(OK if status < _REFUSED_FROM else "http_status", now_s, status)

    def _failed(self, code: int | None) -> Result:
        if self._connected_s is None and self.socket is not None:
            self._ask_kernel()
        return self._result(_OUTCOMES.get(code or 0, "other"))

    def _result(self, outcome: str, ended_s: float | None = None, http_status: int | None = None) -> Result:
        return Result(
            self.peer,
            outcome,
            (ended_s - self.began_s) * 1e6 if ended_s is not None and outcome == OK else None,
            None if self._connected_s is None else (self._connected_s - self.began_s) * 1e6,
            self._rtt_us,
            self._syn_retransmits,
            http_status,
        )

    def _ask_kernel(self) -> None:
        """Only Linux tells; a round trip of which a part was sent twice is none."""
        option = getattr(socket, "TCP_INFO", None)
        if option is None or self.socket is None:
            return
        with suppress(OSError):
            info = self.socket.getsockopt(socket.IPPROTO_TCP, option, 256)
            if len(info) >= _INFO_BYTES:
                (rtt_us,) = struct.unpack_from("=I", info, _RTT_AT)
                (self._syn_retransmits,) = struct.unpack_from("=I", info, _TOTAL_RETRANS_AT)
                if self._connected_s is not None and not self._syn_retransmits and rtt_us:
                    self._rtt_us = float(rtt_us)


def _is_to_itself(connected: socket.socket | None) -> bool:
    """Where nobody listens on this host, TCP may connect a socket to itself: its port is drawn from a range."""
    with suppress(OSError):
        own = None if connected is None else connected.getsockname()
        return bool(own) and connected is not None and own == connected.getpeername()
    return False


def _request(peer: Peer) -> bytes:
    return (
        f"GET {peer.path} HTTP/1.1\r\nHost: {peer.header_host}\r\nUser-Agent: tailwatch-probe\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")


def _head_end(head: bytes) -> int | None:
    found = [at + len(end) for end in (b"\r\n\r\n", b"\n\n") if (at := head.find(end)) >= 0]
    return min(found, default=None)
