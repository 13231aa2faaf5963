"""The API keys that are known just now, and whether a request shows one of them.

All keys are read together, so that guessing costs no database read. They are read anew every 2 s while there are
requests, beside the requests; keys read more than 5 s ago are not trusted: a revoked key dies within 5 s, and with
the database out of reach nobody is let in. A key that is not known makes one more read, at most one a second: a new key
works within a second.
"""

import asyncio
import base64
import binascii
import hmac
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from anyio import CapacityLimiter, to_thread

from api.database import Database
from api.errors import DatabaseUnavailableError, UnauthorizedError
from store.api_keys import ApiKey, api_keys, digest_of, prefix_of

REFRESH_S = 2.0
TRUST_S = 5.0
_UNKNOWN_S = 1.0
_RETRY_S = 0.5
_NOBODY = bytes(32)

HOW_TO_MAKE_ONE = "make one with `tailwatch key create NAME --scope read` where the database is configured"
_HOW_TO_SHOW_IT = "send it as `Authorization: Bearer tw_...`, or as the password of HTTP Basic"


class KeyRing:
    """Used by one event loop."""

    def __init__(self, database: Database, now_ns: Callable[[], int]) -> None:
        self._database = database
        self._now_ns = now_ns
        self._keys: dict[str, ApiKey] = {}
        self._read_s = float("-inf")
        self._failed: tuple[float, str, str] | None = None  # when, and the error's detail and reason
        self._reading: asyncio.Task[None] | None = None
        self._limiter: CapacityLimiter | None = None

    async def key_of(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey:
        """The good key that a request shows.

        Raises:
            UnauthorizedError: it shows none, or one that is not good (any more); says why and what to do.
            DatabaseUnavailableError: it cannot be known now which keys are good.
        """
        shown = _shown(headers)
        if shown is None:
            with suppress(DatabaseUnavailableError):  # only the hint depends on it
                await self._stay_fresh()
            hint = _HOW_TO_SHOW_IT if self._keys else f"there is none yet; {HOW_TO_MAKE_ONE} and {_HOW_TO_SHOW_IT}"
            raise UnauthorizedError(f"this API wants a key; {hint}", reason="no_key")
        await self._stay_fresh()
        prefix = prefix_of(shown)
        if prefix is None:
            raise UnauthorizedError(
                "what was sent is no API key, which is tw_, 8 characters, _ and 52 more", reason="malformed_key"
            )
        if prefix not in self._keys and time.monotonic() - self._read_s > _UNKNOWN_S:
            await self._read()
        return self._good(prefix, shown)

    async def any_active(self) -> bool:
        """Whether any key would be let in now.

        Raises:
            DatabaseUnavailableError: it cannot be known.
        """
        await self._stay_fresh()
        now_ns = self._now_ns()
        return any(key.state(now_ns) == "active" for key in self._keys.values())

    def _good(self, prefix: str, shown: str) -> ApiKey:
        key = self._keys.get(prefix)
        same = hmac.compare_digest(digest_of(shown), key.digest if key else _NOBODY)
        if key is None or not same:
            raise UnauthorizedError(f"this API key is not known here; {HOW_TO_MAKE_ONE}", reason="unknown_key")
        state = key.state(self._now_ns())
        if state != "active":
            # Only who has the whole key learns this.
            raise UnauthorizedError(f"the API key {key.name} is {state}; {HOW_TO_MAKE_ONE}", reason=f"{state}_key")
        return key

    async def _stay_fresh(self) -> None:
        age_s = time.monotonic() - self._read_s
        if age_s > TRUST_S:
            await self._read()
        elif age_s > REFRESH_S:
            self._start_reading()

    async def _read(self) -> None:
        if self._failed is not None and self._just_failed():
            raise DatabaseUnavailableError(self._failed[1], reason=self._failed[2])
        await asyncio.shield(self._start_reading())

    def _start_reading(self) -> "asyncio.Task[None]":
        """The read that is under way, or a new one; not sooner after a failure than it makes sense."""
        if self._reading is None or (self._reading.done() and not self._just_failed()):
            self._reading = asyncio.create_task(self._read_all())
            self._reading.add_done_callback(_look_at)
        return self._reading

    def _just_failed(self) -> bool:
        return self._failed is not None and time.monotonic() - self._failed[0] < _RETRY_S

    async def _read_all(self) -> None:
        if self._limiter is None:
            self._limiter = CapacityLimiter(1)  # not the threads of the routes, which slow reads may fill
        begun_s = time.monotonic()
        try:
            found = await to_thread.run_sync(self._all_keys, limiter=self._limiter)
        except DatabaseUnavailableError as error:
            self._failed = time.monotonic(), error.detail, error.reason
            raise
        self._keys, self._read_s, self._failed = {key.prefix: key for key in found}, begun_s, None

    def _all_keys(self) -> list[ApiKey]:
        with self._database.reading() as connection:
            return api_keys(connection)


def _look_at(task: "asyncio.Task[None]") -> None:
    """Nobody may be waiting for a read that failed; the database's own log line has said so."""
    if not task.cancelled():
        task.exception()


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The text that stands where a key belongs; None when nothing does, "" when it cannot be read."""
    found = [value for name, value in headers if name == b"authorization"]
    if not found:
        return None
    scheme, _, rest = found[0].strip().partition(b" ")
    kind = scheme.lower()
    if len(found) > 1 or kind not in (b"bearer", b"basic"):
        return ""
    try:
        if kind == b"bearer":
            return rest.strip().decode("ascii")
        return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (UnicodeDecodeError, binascii.Error, ValueError):
        return ""
