"""Who may pass: API keys, their scopes, and how often each caller may ask. Plain ASGI, as it runs for every request.

With keys off, callers are told apart by address, and those on this machine are not limited. With keys on, what needs no
key and what shows a bad one also counts against the address, so that a flood of guesses is refused more cheaply still.
"""

import logging
import math
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from starlette.types import ASGIApp, Receive, Scope, Send

from api.config import ApiConfig, is_loopback
from api.database import Database
from api.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    RefusedError,
    TooManyRequestsError,
    UnauthorizedError,
)
from api.key_ring import HOW_TO_MAKE_ONE, KeyRing
from api.key_uses import KeyUses
from api.own_metrics import OwnMetrics
from api.rate_limit import TokenBuckets, network_of
from api.refusals import refusal
from api.scopes import scopes_wanted
from store.connect import open_engine

log = logging.getLogger(__name__)


class Keys:
    """The keys of one API process, over connections of their own: a check must not wait for slow answers' ones."""

    def __init__(self, url: sa.URL, metrics: OwnMetrics, now_ns: Callable[[], int]) -> None:
        self._engine = open_engine(url.render_as_string(hide_password=False))
        self.ring = KeyRing(Database(self._engine, metrics), now_ns)
        self.uses = KeyUses(self._engine)

    async def open(self) -> None:
        """Begin to note uses, and say what to do when there is no key yet."""
        self.uses.start()
        try:
            if not await self.ring.any_active():
                log.warning("every request needs an api key, and there is none that is good; %s", HOW_TO_MAKE_ONE)
        except DatabaseUnavailableError as error:
            log.warning("api keys cannot be read yet; requests are refused until they can error=%s", error.detail)

    def close(self) -> None:
        """Write down the last uses and close the connections."""
        self.uses.close()
        self._engine.dispose()


class AccessGate:
    """Lets a request through to the app, or answers 401, 403, 429, or 503 where keys cannot be read."""

    def __init__(
        self, app: ASGIApp, config: ApiConfig, keys: Keys | None, metrics: OwnMetrics, now_ns: Callable[[], int]
    ) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._now_ns = now_ns
        self._rate_per_s = config.rate_limit_per_s
        self._of_keys = TokenBuckets(config.rate_limit_per_s, config.rate_limit_burst)
        self._of_addresses = TokenBuckets(config.rate_limit_per_s, config.rate_limit_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._admit(scope)
            except RefusedError as error:
                self._metrics.refused_requests.labels(error.reason).inc()
                await refusal(scope["path"], error)(scope, receive, send)
                return
            except DatabaseUnavailableError as error:
                await refusal(scope["path"], error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        """Return when the request may pass.

        Raises:
            RefusedError, DatabaseUnavailableError: what to answer instead.
        """
        wanted = scopes_wanted(scope["path"], scope["method"]) if self._keys is not None else ()
        if self._keys is None or not wanted:
            self._limit_address(scope)
            return
        try:
            key = await self._keys.ring.key_of(scope["headers"])
        except UnauthorizedError:
            self._limit_address(scope)
            raise
        self._limit(self._of_keys, key.id, f"the API key {key.name}", "rate_of_key")
        if not any(key.allows(one) for one in wanted):
            has = ", ".join(sorted(key.scopes))
            raise ForbiddenError(
                f"{scope['method'][:20]} {scope['path'][:200]} needs the scope {' or '.join(wanted)}; the API key "
                f"{key.name} has {has}: make one with `tailwatch key create NAME --scope {wanted[0]}`",
                scope=wanted[0],
            )
        self._keys.uses.note(key.id, self._now_ns())
        scope["tailwatch.key"] = key.name  # whoever writes down who said something asks for it
        scope["tailwatch.allows"] = key.allows  # for routes where the scope depends on what is asked
        if wanted == ("admin",):
            log.info("admin request key=%s method=%s path=%.200r", key.name, scope["method"], scope["path"])

    def _limit_address(self, scope: Scope) -> None:
        client: Any = scope.get("client")
        host = client[0] if client else ""
        if host and not is_loopback(host):
            self._limit(self._of_addresses, network_of(host), "this address", "rate_of_address")

    def _limit(self, buckets: TokenBuckets, caller: object, what: str, reason: str) -> None:
        wait_s = buckets.take(caller)
        if wait_s:
            retry_after_s = max(1, math.ceil(wait_s))
            raise TooManyRequestsError(
                f"{what} may make {self._rate_per_s:g} requests a second; ask again in {retry_after_s} s, or raise "
                "api.rate_limit_per_s",
                reason=reason,
                retry_after_s=retry_after_s,
            )
