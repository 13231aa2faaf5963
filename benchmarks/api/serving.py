"""API processes as `tailwatch api run` starts them, with API keys on; and a client that adds little of its own."""

import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from store.api_keys import create_key

STARTS_WITHIN_S = 60.0
_PIECE = 1 << 20


@dataclass
class Connection:
    """One kept-alive connection to a server on this machine."""

    port: int
    headers: str = ""
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str) -> bytes:
        """The body of a 200.

        Raises:
            RuntimeError: any other answer; with its beginning.
        """
        answer = self._ask(path)
        if not answer:  # servers close what was idle for some seconds
            self._socket.close()
            self._connect()
            answer = self._ask(path)
        return _body(answer)

    def _ask(self, path: str) -> bytes:
        """The whole answer, or as much of it as came before the server closed the connection."""
        try:
            self._socket.sendall(self.request(path))
            answer = bytearray()
            while (not (length := _length(answer)) or len(answer) < length) and (piece := self._socket.recv(_PIECE)):
                answer += piece
        except ConnectionError:
            return b""
        return bytes(answer)

    def request(self, path: str) -> bytes:
        """The bytes that ask for a path."""
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{self.headers}\r\n".encode()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def per_second(connection: Connection, paths: Sequence[str], at_once: int, seconds: float) -> float:
    """Answers a second, with so many connections that each ask again as soon as they have their answer."""
    requests = [connection.request(path) for path in paths]
    selector = selectors.DefaultSelector()
    asked = done = 0
    begun = time.perf_counter()
    for _ in range(at_once):
        one = Connection(connection.port)._socket
        selector.register(one, selectors.EVENT_READ, bytearray())
        one.sendall(requests[asked % len(requests)])
        asked += 1
    while time.perf_counter() - begun < seconds:
        for key, _ in selector.select(1.0):
            answer, held = key.data, key.fileobj
            assert isinstance(held, socket.socket)
            one = held
            answer += one.recv(_PIECE)
            if (length := _length(answer)) and len(answer) >= length:
                _body(bytes(answer))
                answer.clear()
                done += 1
                one.sendall(requests[asked % len(requests)])
                asked += 1
    took = time.perf_counter() - begun
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    selector.close()
    return done / took


@contextmanager
def api(url: str, engine: sa.Engine, **settings: Any) -> Iterator[Connection]:
    """A running API over the database, and a connection that shows a key."""
    with TemporaryDirectory(prefix="tailwatch-bench-api-") as folder:
        port = _free_port()
        config = {"data_dir": folder, "database": {"url": url}, "builtin_queries": False, "queries": []}
        config["api"] = {"port": port, "auth": "on", "rate_limit_per_s": 0, **settings}
        path = Path(folder) / "tailwatch.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        with engine.begin() as connection:
            _, key = create_key(connection, f"bench-{port}", ["read"], time.time_ns())
        command = [sys.executable, "-m", "tailwatch.cli", "api", "run", "--config", str(path)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILWATCH_")}
        environment["TAILWATCH_KERNELS"] = "numba"
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait(port, process, Path(folder) / "log")
            made = Connection(port, f"Authorization: Bearer {key}\r\n")
            yield made
            made.close()
        finally:
            process.terminate()
            process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            connection = Connection(port)
            connection.get("/healthz")
            connection.close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the API did not start; its log ends:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.02)
        else:
            return


def _length(answer: bytearray) -> int:
    """Bytes of the whole answer; 0 as long as its head is not complete."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = bytes(answer[:end]).lower() + b"\r\n"
    at = head.index(b"content-length:") + len(b"content-length:")
    return end + 4 + int(head[at : head.index(b"\r", at)])


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"wanted 200, got {head.splitlines()[0].decode()}: {body[:300]!r}")
    return body


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
