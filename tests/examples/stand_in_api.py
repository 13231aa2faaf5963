"""A stand-in for Tailwatch's API: answers as it is told, and keeps what it was sent."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

TABLE = {
    "version": 7,
    "metric": "threads_and_queue",
    "width": 2.0,
    "targets_ms": [10.0, 20.0, 40.0],
    "correction": {"full": False, "every_ms": 5.0},
    "prediction": True,
    "max_degree": 2,
    "class_edges_ms": [5.0, 30.0],
    "speedups": [[1.0, 1.1], [1.0, 1.6], [1.0, 1.9]],
    "explore_share": 0.0,
    "profile_version": 3,
}


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    def requests(self) -> list[dict[str, float]]:
        found = json.loads(gzip.decompress(self.body))
        assert list(found) == ["requests"]
        return list(found["requests"])


@dataclass
class StandIn:
    """Answers in the order given, the last one for ever: (status, body, headers); None: hangs up without one."""

    url: str = ""
    answers: list[tuple[int, bytes, dict[str, str]] | None] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def say(self, *answers: tuple[int, bytes, dict[str, str]] | None) -> None:
        with self.lock:
            self.answers = list(answers)

    def next(self, asked: Asked) -> tuple[int, bytes, dict[str, str]] | None:
        with self.lock:
            self.asked.append(asked)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def table_answer(version: int = 7, **changed: object) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps(TABLE | {"version": version} | changed).encode(), {"ETag": f'"{version}"'}


def taken(left_out: int = 0) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps({"accepted": 1, "left_out": {"bad_time": left_out}, "duplicate": False}).encode(), {}


def failing(status: int, problem: str = "about:blank") -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps({"type": problem, "detail": "no"}).encode(), {}


@contextmanager
def stand_in_api() -> Iterator[StandIn]:
    found = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = found.next(Asked(self.command, self.path, dict(self.headers), body))
            if answer is None:
                self.close_connection = True
                return
            status, content, headers = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != 304:
                self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 -- so the standard library calls them

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
