"""One GET of a page of metrics, bounded in time, bytes and redirects, whatever the other side does.

It runs in a thread; `abort` may be called from another one and ends it, also while it waits for a byte. Passwords and
tokens are read from their files each time, so that renewed ones are taken, and are sent to no other host than the
target's own. Proxies of the environment are not used.
"""

import base64
import http.client
import socket
import ssl
import time
import urllib.parse
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from agents.sources.authorities import trusting
from agents.sources.configs import ScrapeConfig

MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_CHUNK_BYTES: Final = 2**16
_GZIP: Final = 16 + zlib.MAX_WBITS
_TEXTS: Final = "application/openmetrics-text;version=1.0.0;q={0},text/plain;version=0.0.4;q={1},*/*;q=0.1"
_PROTOBUF: Final = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


_REASONS: Final = (
    (TimeoutError, "timeout", "no answer in time"),
    (ConnectionRefusedError, "refused", "connection refused"),
    (socket.gaierror, "unresolved", "the name is not found"),
    (ssl.SSLError, "tls", ""),
    (zlib.error, "encoding", "the page is no gzip, though it says so"),
    (http.client.IncompleteRead, "cut_off", "the page ended early"),
    (OSError, "network", ""),
)


class FetchError(Exception):
    """No page came.

    Attributes:
        reason: a word for counters.
    """

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


class Fetched(NamedTuple):
    """A page's bytes, and how they are to be read."""

    content_type: str
    body: bytes


class Fetch:
    """One scrape of one URL."""

    def __init__(self, url: str, config: ScrapeConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._config = config
        self._clock = clock
        self._until_s = clock() + config.timeout_s
        self._socket: socket.socket | None = None
        self._aborted = False

    def run(self) -> Fetched:
        """The page.

        Raises:
            FetchError: none came, with the reason.
        """
        try:
            return self._get()
        except FetchError:
            raise
        except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
            raise FetchError(*self._reason(error)) from error

    def abort(self) -> None:
        """End a fetch that another thread runs; it then fails as one that took too long."""
        self._aborted = True
        opened = self._socket
        if opened is not None:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _get(self) -> Fetched:
        url, authorization = self._url, self._authorization()
        for _ in range(MOST_REDIRECTS + 1):
            parts = urllib.parse.urlsplit(url)
            own = parts[:2] == urllib.parse.urlsplit(self._url)[:2]
            connection = self._connected(parts)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", path, headers=self._headers(authorization if own else None))
                response = connection.getresponse()
                if response.status == http.client.OK:
                    return Fetched(response.getheader("Content-Type", ""), self._body(response))
                location = response.getheader("Location")
                if response.status not in _REDIRECTS or not location:
                    raise FetchError("http_status", f"answers {response.status} {response.reason}"[:100])
                url = urllib.parse.urljoin(url, location)
            finally:
                self._socket = None
                connection.close()
        raise FetchError("redirects", f"more than {MOST_REDIRECTS} redirects, the last to {url[:200]!r}")

    def _connected(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError("redirects", f"sent on to {parts.geturl()[:200]!r}, no URL of http or https")
        left_s = self._left_s()
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = trusting(self._config.ca_path)
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=left_s, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=left_s)
        try:
            connection.connect()
            self._socket = connection.sock
            self._left_s()
        except BaseException:
            connection.close()
            raise
        return connection

    def _headers(self, authorization: str | None) -> dict[str, str]:
        texts = _TEXTS.format("0.8", "0.5")
        headers = {
            "Accept": f"{_PROTOBUF},{texts}" if self._config.native_histograms else texts,
            "Accept-Encoding": "gzip",
            "Connection": "close",
            "User-Agent": "tailwatch-agent",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{self._config.timeout_s:g}",
        }
        return headers if authorization is None else headers | {"Authorization": authorization}

    def _authorization(self) -> str | None:
        config = self._config
        path = config.bearer_token_path or config.password_path
        if not path:
            return None
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise FetchError("credentials", f"{path}: cannot be read: {error}") from error
        if config.bearer_token_path:
            return f"Bearer {secret}"
        pair = f"{config.username}:{secret}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        most = self._config.max_body_bytes
        encoding = response.getheader("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise FetchError("encoding", f"Content-Encoding is {encoding[:50]!r}; want gzip or none")
        unpacker = _Gunzip(most + 1) if encoding == "gzip" else None
        parts, size, received = [], 0, 0
        while True:
            left_s = self._left_s()
            if self._socket is not None:
                self._socket.settimeout(left_s)
            chunk = response.read1(_CHUNK_BYTES)
            received += len(chunk)
            if not chunk:
                break
            part = chunk if unpacker is None else unpacker.unpacked(chunk)
            parts.append(part)
            size += len(part)
            if size > most or received > most:
                raise FetchError("too_large", f"the page has more than {most} bytes; raise max_body_bytes")
        if response.length or (unpacker is not None and not unpacker.is_whole):
            raise FetchError("cut_off", f"the page ended early, after {received} bytes")
        return b"".join(parts)

    def _left_s(self) -> float:
        left_s = self._until_s - self._clock()
        if left_s <= 0 or self._aborted:
            raise FetchError("timeout", self._too_slow())
        return left_s

    def _too_slow(self) -> str:
        return f"no whole page within {self._config.timeout_s:g} s"

    def _reason(self, error: Exception) -> tuple[str, str]:
        if self._aborted:
            return "timeout", self._too_slow()
        for kind, reason, says in _REASONS:
            if isinstance(error, kind):
                return reason, says or " ".join(str(error).split())[:200]
        return "http", f"no HTTP: {error!r}"[:200]


class _Gunzip:
    """Unpacks gzip as it comes, also of several members one behind the other, as servers with several threads write."""

    def __init__(self, most_bytes: int) -> None:
        """Nothing is given beyond `most_bytes`."""
        self._left = most_bytes
        self._member = zlib.decompressobj(_GZIP)

    @property
    def is_whole(self) -> bool:
        """Whether it may end here."""
        return self._member.eof

    def unpacked(self, data: bytes) -> bytes:
        """What follows; raises zlib.error where that is no gzip."""
        found = []
        while data and self._left > 0:
            if self._member.eof:
                data = data.lstrip(b"\0")  # which some pad with
                if not data:
                    break
                self._member = zlib.decompressobj(_GZIP)
            found.append(self._member.decompress(data, self._left))
            self._left -= len(found[-1])
            data = self._member.unused_data
        return b"".join(found)
