"""Questions to the API over the standard library's HTTP client. Imported only by agents that ask for plans.

No redirects and no proxies: the key goes to the address that was configured and nowhere else. The key's file is read
with every question, so that a key can be exchanged while the agent runs.
"""

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from agents.config import AgentConfig
from agents.errors import PlanUnavailableError

TIMEOUT_S: Final = 5.0
# Far above any plan or table; a wrong address must not fill the memory.
MAX_BYTES: Final = 64 * 2**20
UNREACHABLE: Final = "unreachable"
REFUSED: Final = "refused"
NOT_A_PLAN: Final = "not_a_plan"
_SHOWN_BYTES: Final = 200


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

    def get(self, path: str, etag: str = "", timeout_s: float = TIMEOUT_S) -> Reply | None:
        """What is at `path`; None when that is still what `etag` names.

        Raises:
            PlanUnavailableError: nothing answers, or not with this; `reason` is one of the words above.
        """
        try:
            connection = self._connection(timeout_s)
            try:
                connection.request("GET", self._prefix + path, headers=self._headers(etag))
                answer = connection.getresponse()
                body = answer.read(MAX_BYTES + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            text = f"{self._config.plan_url} gives no answer: {str(error) or type(error).__name__}"
            raise PlanUnavailableError(text, UNREACHABLE) from error
        if answer.status == 304 and etag:
            return None
        if answer.status != 200:
            said = body[:_SHOWN_BYTES].decode("utf-8", "replace")
            raise PlanUnavailableError(
                f"{self._config.plan_url}{path} answers with status {answer.status}: {said}", REFUSED
            )
        if len(body) > MAX_BYTES:
            raise PlanUnavailableError(f"{path} has more than {MAX_BYTES} bytes; check agent.plan_url", NOT_A_PLAN)
        return Reply(body, answer.getheader("ETag") or "")

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        context = ssl.create_default_context(cafile=self._config.plan_ca_path or None)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=context)

    def _headers(self, etag: str) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if etag:
            headers["If-None-Match"] = etag
        key = self._config.api_key
        if self._config.api_key_path:
            key = Path(self._config.api_key_path).read_text(encoding="utf-8").strip()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return headers
