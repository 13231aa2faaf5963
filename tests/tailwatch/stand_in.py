"""An API that answers what a test put there, and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


class StandIn:
    """What to answer per path, and (path, parameters) of every question."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.media_type = "application/json"
        self.asked: list[tuple[str, list[tuple[str, str]]]] = []
        self.keys: list[str | None] = []  # Authorization of every question
        self.posted: list[tuple[str, Any]] = []  # path and JSON of every POST
        self.replaced: list[tuple[str, str | None, Any]] = []  # path, If-Match and JSON of every PUT
        self.deleted: list[tuple[str, list[tuple[str, str]]]] = []  # path and parameters of every DELETE
        self.url = ""

    def put(self, path: str, content: Any, status: int = 200) -> None:
        self.answers[path] = (status, content if isinstance(content, bytes) else json.dumps(content).encode())


@contextmanager
def serving() -> Iterator[StandIn]:
    """A stand-in on a free port, for as long as the block runs."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            stand_in.asked.append((parts.path, parse_qsl(parts.query)))
            stand_in.keys.append(self.headers["Authorization"])
            status, body = stand_in.answers[parts.path]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.send_header("Content-Type", stand_in.media_type)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            stand_in.posted.append((urlsplit(self.path).path, json.loads(body)))
            self.do_GET()

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            stand_in.replaced.append((urlsplit(self.path).path, self.headers["If-Match"], json.loads(body)))
            self.do_GET()

        def do_DELETE(self) -> None:
            assert self.headers["Content-Length"] is None
            parts = urlsplit(self.path)
            stand_in.deleted.append((parts.path, parse_qsl(parts.query)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()
