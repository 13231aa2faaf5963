"""A small HTTP server for sources to which other programs POST what they have.

An agent has no web framework: this is the standard library's server with what that lacks against a network. There are
at most so many connections (the one that is idle longest makes room); a head and a body have to arrive within a time
however slowly they drip; bodies are bounded as they come, unpacked, and all together (http_bodies.py). Bodies are
unpacked and taken one at a time, for the interpreter would not do two at once. Who is refused is told why and, where it
may try again, when; what was answered with success has been taken. Between `close` and a later `open` clients find
nobody and try again.
"""

import contextlib
import io
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

from agents.errors import SourceError
from agents.sources.http_bodies import BodyRoom, Refused, announced_bytes, received, unpacked
from agents.sources.listening import listening_address

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 2
_WAKE_S: Final = 0.2
_CLOSED_WITHIN_S: Final = 5.0
_DISCARDED_BYTES: Final = 2**26
_PIECE_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True)
class Request:
    """One POST, its body unpacked. `kind` is the content type without parameters, in lower case."""

    path: str
    kind: str
    body: bytes
    headers: Message


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets; with 429 and 503 it is told to come back."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What clients may take.

    Attributes:
        body_bytes: of one body, packed and unpacked.
        connections: at once.
        idle_s: between two requests of a connection.
        head_s, body_s: until a request's head, and its body, are there.
    """

    body_bytes: int
    connections: int = 64
    idle_s: float = 60.0
    head_s: float = 10.0
    body_s: float = 30.0


class Service(ABC):
    """What a source does with requests; all are called from threads of the server, `take` from one at a time."""

    #: Content types by path; other types are refused with 415, other paths with 404.
    routes: Mapping[str, frozenset[str]]

    @abstractmethod
    def is_full(self) -> bool:
        """Whether nothing can be taken now: asked before a body is read."""

    @abstractmethod
    def take(self, request: Request) -> Answer:
        """Take it, or say why not; may raise Refused."""

    @abstractmethod
    def refusal(self, kind: str, refused: Refused) -> Answer:
        """How a refused request of that content type is told."""


class HttpIntake:
    """A server that may be opened again after it was closed."""

    def __init__(self, name: str, listen: str, service: Service, limits: HttpLimits) -> None:
        """`name` is the source's, for threads and the log."""
        self.name = name
        self.service = service
        self.limits = limits
        self.room = BodyRoom(4 * limits.body_bytes)
        self.taking = threading.Lock()
        self.closing = False
        self._listen = listen
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._counters = {"requests": 0, "too_many_connections": 0}

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def open(self) -> None:
        """Listen.

        Raises:
            SourceError: the port is taken or not allowed, or the host is none of this machine's.
        """
        address = listening_address(self._listen)
        try:
            opened = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:  # no descriptors left, say
            raise SourceError(f"{self.name} source: no socket can be had: {error}") from error
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((address.host, address.port))
            opened.listen(self.limits.connections)
            opened.settimeout(_WAKE_S)
        except OSError as error:
            opened.close()
            raise SourceError(
                f"{self.name} source: cannot listen on {address.shown}: {error}; "
                "set another `listen`, or stop who has it"
            ) from error
        self.closing, self._socket = False, opened
        self._thread = threading.Thread(target=self._accept, args=(opened,), name=self.name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the host's limit of threads
            self._socket, self._thread = None, None
            opened.close()
            raise SourceError(f"{self.name} source: nobody can be listened to: {error}") from error

    def close(self) -> None:
        """Listen no more; requests whose bodies are there are answered, the others are cut off."""
        opened, self._socket = self._socket, None
        if opened is None:
            return
        self.closing = True
        with contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        if self._thread is not None:
            self._thread.join(_CLOSED_WITHIN_S)
        opened.close()
        until_s = time.monotonic() + _CLOSED_WITHIN_S
        for one in self._all():
            one.cut_unless_taking()
        for one in self._all():
            one.thread.join(max(0.0, until_s - time.monotonic()))
        for one in self._all():
            one.cut()

    def counters(self) -> Mapping[str, int]:
        """Requests, and connections that had to go."""
        return dict(self._counters)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._all())

    def count(self, reason: str) -> None:
        """One more of it; a reason is one of a fixed few words."""
        with self._lock:
            self._counters[reason] = self._counters.get(reason, 0) + 1

    def forget(self, one: "_Connection") -> None:
        """A connection has ended."""
        with self._lock:
            self._connections.discard(one)

    def _all(self) -> list["_Connection"]:
        with self._lock:
            return list(self._connections)

    def _accept(self, opened: socket.socket) -> None:
        while self._socket is opened:
            try:
                client, _ = opened.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if self._socket is not opened:
                    return
                log.warning("connection cannot be accepted source=%s error=%s", self.name, error)
                time.sleep(_WAKE_S)  # no descriptors left, say: it would fail again at once
                continue
            self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        if not self._make_room():
            self.count("too_many_connections")
            with contextlib.suppress(OSError):
                client.setblocking(False)
                client.send(f"HTTP/1.1 503 Busy\r\nRetry-After: {RETRY_AFTER_S}\r\nConnection: close\r\n\r\n".encode())
                client.shutdown(socket.SHUT_WR)
            client.close()
            return
        one = _Connection(self, client)
        with self._lock:
            self._connections.add(one)
        try:
            one.thread.start()
        except RuntimeError:  # the host's limit of threads
            self.count("too_many_connections")
            self.forget(one)
            client.close()

    def _make_room(self) -> bool:
        """Whether one more may come; the one that is idle longest goes if there is none."""
        every = self._all()
        if len(every) < self.limits.connections:
            return True
        idle = [one for one in every if one.idle_since_s is not None]
        if not idle:
            return False
        longest = min(idle, key=lambda one: one.idle_since_s or 0.0)
        longest.cut()
        self.forget(longest)
        return True


class _Connection:
    """A client and the thread that serves it."""

    def __init__(self, intake: HttpIntake, client: socket.socket) -> None:
        self.intake = intake
        self.client = client
        self.idle_since_s: float | None = time.monotonic()
        self.taking = False
        self.thread = threading.Thread(target=self._serve, name=f"{intake.name}-http", daemon=True)

    def cut(self) -> None:
        """End it now, whatever it is at."""
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)

    def cut_unless_taking(self) -> None:
        """End it now unless its request is being taken and an answer is due."""
        if not self.taking:
            self.cut()

    def _serve(self) -> None:
        try:
            _Handler(self)
        except OSError:
            self.intake.count("disconnected")
        except Exception:
            # A fault of ours must cost one connection, not the agent's telemetry.
            self.intake.count("failed")
            log.exception("request failed source=%s", self.intake.name)
        finally:
            self.intake.forget(self)
            self.client.close()


class _TimedBytes(io.RawIOBase):
    """A socket's bytes until a moment, however they drip."""

    def __init__(self, client: socket.socket) -> None:
        self.until_s = 0.0
        self._client = client

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the client is too slow")
        self._client.settimeout(left_s)
        return self._client.recv_into(target)


class _Handler(BaseHTTPRequestHandler):
    """One connection: the standard library takes heads apart, the rest is here."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: _Connection) -> None:
        self.one = connection
        self.intake = connection.intake
        super().__init__(connection.client, ("", 0), self.intake)  # type: ignore[arg-type]

    def setup(self) -> None:
        """With a stream that has an end in time."""
        self.connection = self.one.client
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timed = _TimedBytes(self.connection)
        self.reader = io.BufferedReader(self.timed, _PIECE_BYTES)
        self.rfile = self.reader
        self.wfile = io.BytesIO()

    def finish(self) -> None:
        """The connection's thread closes the socket."""

    def handle_one_request(self) -> None:
        """Wait for a request as long as an idle connection may, then for its head."""
        limits = self.intake.limits
        self.close_connection = True
        self.one.idle_since_s = time.monotonic()
        self.timed.until_s = self.one.idle_since_s + limits.idle_s
        try:
            began = bool(self.reader.peek(1))
        except OSError:
            began = False  # idle for too long, or gone: there is nobody to tell
        if not began or self.intake.closing:
            return
        self.one.idle_since_s = None
        self.timed.until_s = time.monotonic() + limits.head_s
        super().handle_one_request()
        self._send()

    def handle_expect_100(self) -> bool:
        """Nothing is asked for that would be refused anyway."""
        try:
            self._check_head()
        except Refused as refused:
            self._refuse(refused)
            return False
        self.send_response_only(100)
        self.end_headers()
        self._send()
        return True

    def do_POST(self) -> None:
        """Read it, take it, answer."""
        intake, held = self.intake, 0

        def taken(size: int) -> None:
            nonlocal held
            intake.room.take(size)
            held += size

        intake.count("requests")
        try:
            self._check_head()
            self.timed.until_s = time.monotonic() + intake.limits.body_s
            body = received(self.reader, self.headers, intake.limits.body_bytes, taken)
            with intake.taking:
                self.one.taking = True  # `close` sees this, or we see that it has begun
                self._take(body)
        except TimeoutError:
            self._refuse(Refused(408, "too_slow", "the body took too long"))
        except Refused as refused:
            self._refuse(refused)
        finally:
            if held:
                intake.room.give_back(held)
        self._send()
        self.one.taking = False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library finds wrong with a head."""
        del explain
        no_method = int(code) == HTTPStatus.NOT_IMPLEMENTED
        self._refuse(
            Refused(405, "bad_request", "want POST") if no_method
            else Refused(int(code), "bad_request", message or "the head of the request is too long")
        )  # fmt: skip

    def version_string(self) -> str:
        """No release and no Python: who posts need not know."""
        return "tailwatch"

    def log_message(self, *_: object) -> None:
        """Requests are counted, not logged."""

    @property
    def _kind(self) -> str:
        headers = getattr(self, "headers", None)
        return "" if headers is None else str(headers.get("Content-Type", "")).partition(";")[0].strip().lower()

    def _check_head(self) -> None:
        """Raises Refused for what no body can mend."""
        service, path = self.intake.service, self.path.partition("?")[0]
        if path not in service.routes:
            raise Refused(404, "unknown_path", f"no such path; there is {', '.join(service.routes)}")
        if self._kind not in service.routes[path]:
            wanted = " or ".join(sorted(service.routes[path]))
            raise Refused(415, "unknown_type", f"Content-Type {self._kind[:80]!r}; want {wanted}")
        length = announced_bytes(self.headers)
        if length is not None and length > self.intake.limits.body_bytes:
            raise Refused(413, "too_large", f"{length} bytes; the most is {self.intake.limits.body_bytes}")
        if service.is_full() or self.intake.closing:
            raise Refused(503, "queue_full", "busy; nothing was taken, try again")

    def _take(self, body: bytes) -> None:
        intake = self.intake
        encoding = str(self.headers.get("Content-Encoding", "")).strip().lower()
        plain = unpacked(body, encoding, intake.limits.body_bytes)
        if intake.service.is_full() or intake.closing:
            raise Refused(503, "queue_full", "busy; nothing was taken, try again")
        answer = intake.service.take(Request(self.path.partition("?")[0], self._kind, plain, self.headers))
        self._answer(answer)

    def _refuse(self, refused: Refused) -> None:
        """Tell it and let the client go: the rest of what it sends is no request."""
        self.intake.count(refused.reason)
        self.close_connection = True
        self._answer(self.intake.service.refusal(self._kind, refused))

    def _answer(self, answer: Answer) -> None:
        self.request_version = self.protocol_version  # what is no HTTP at all gets a whole answer, too
        self.send_response(answer.status)
        headers = {"Content-Type": answer.kind, **answer.headers}
        if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.setdefault("Allow", "POST")
        if self.intake.closing:
            self.close_connection = True
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if getattr(self, "command", "") != "HEAD":
            self.wfile.write(answer.body)

    def _send(self) -> None:
        """What was written, at once; then hear the client out if it is to go, else it might not get to read it."""
        assert isinstance(self.wfile, io.BytesIO)
        data, self.wfile = self.wfile.getvalue(), io.BytesIO()
        if not data:
            return
        self.connection.settimeout(self.intake.limits.head_s)
        self.connection.sendall(data)
        if self.close_connection and not data.startswith(b"HTTP/1.1 100"):
            self.connection.shutdown(socket.SHUT_WR)
            self._discard()

    def _discard(self) -> None:
        self.timed.until_s = time.monotonic() + (0.1 if self.intake.closing else 2.0)
        left = _DISCARDED_BYTES
        with contextlib.suppress(OSError):
            while left > 0 and (piece := self.reader.read1(_PIECE_BYTES)):
                left -= len(piece)
