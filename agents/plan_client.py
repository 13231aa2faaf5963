"""Questions to the API over the standard library's HTTP client. Imported only by agents that ask for plans.

No redirects and no proxies: the key goes to the address that was configured and nowhere else. The key's file is read
with every question, so that a key can be exchanged while the agent runs.
"""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agents.config import AgentConfig
from agents.errors import PlanUnavailableError

TIMEOUT_S: Final = 5.0
# For a whole answer: one that comes byte by byte must not keep the asking from going on.
WITHIN_S: Final = 30.0
# Far above any plan or table; a wrong address must not fill the memory.
MAX_BYTES: Final = 64 * 2**20
UNREACHABLE: Final = "unreachable"
REFUSED: Final = "refused"
NOT_A_PLAN: Final = "not_a_plan"
_SHOWN_BYTES: Final = 200


class _Problem(msgspec.Struct):
    """The part of a problem document that people read."""

    title: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API answered; `etag` names this content."""

    body: bytes
    etag: str


class PlanClient:
    """Asks one API; used by one thread."""

    def __init__(self, config: AgentConfig) -> None:
        """Nothing is opened yet."""
        parts = urlsplit(config.plan_url)
        self._host, self._port, self._prefix = parts.hostname or "", parts.port, parts.path.rstrip("/")
        self._tls = parts.scheme == "https"
        self._config = config

    def get(self, path: str, etag: str = "", most_bytes: int = MAX_BYTES) -> Reply | None:
        """What is at `path`; None when that is still what `etag` names.

        Raises:
            PlanUnavailableError: nothing answers, or not with this; `reason` is one of the words above.
        """
        headers = self._headers(etag)
        try:
            connection = self._connection()
            try:
                connection.connect()
                with _cut_after(WITHIN_S, connection.sock):
                    connection.request("GET", self._prefix + path, headers=headers)
                    answer = connection.getresponse()
                    body = answer.read(most_bytes + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            text = f"{self._config.plan_url} gives no answer: {str(error) or type(error).__name__}"
            raise PlanUnavailableError(text, UNREACHABLE) from error
        if answer.status == 304 and etag:
            return None
        if answer.status != 200:
            raise PlanUnavailableError(
                f"{self._config.plan_url}{path} answers with status {answer.status}: {_said(body)}", REFUSED
            )
        if len(body) > most_bytes:
            raise PlanUnavailableError(f"{path} has more than {most_bytes} bytes; check agent.plan_url", NOT_A_PLAN)
        return Reply(body, answer.getheader("ETag") or "")

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self._config.plan_ca_path or None)
        return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=context)

    def _headers(self, etag: str) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        # A damaged one that no header can hold would keep the question from ever being asked.
        if etag and etag.isascii() and etag.isprintable():
            headers["If-None-Match"] = etag
        key = self._key()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _key(self) -> str:
        key, path = self._config.api_key, self._config.api_key_path
        if path:
            try:
                key = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "is no text"
                raise PlanUnavailableError(f"agent.api_key_path {path} cannot be read: {why}", UNREACHABLE) from error
        if not (key.isascii() and key.isprintable()):
            raise PlanUnavailableError(
                "the API key has a line break or other characters that no key has; want one line", UNREACHABLE
            )
        return key


def _said(body: bytes) -> str:
    """What an answer says that is no plan: of a problem document its title and detail, else how it begins."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body[:_SHOWN_BYTES].decode("utf-8", "replace")
    return ": ".join(part[:_SHOWN_BYTES] for part in (problem.title, problem.detail) if part)


@contextmanager
def _cut_after(within_s: float, connected: socket.socket) -> Iterator[None]:
    """End what is still read from the socket then.

    Raises:
        TimeoutError: it was ended.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(within_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise TimeoutError(f"the answer was not complete after {within_s:g} s")
