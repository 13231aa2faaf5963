"""How much a request may bring: bytes of URL, headers and body. Plain ASGI, as it runs for every request.

The URL and headers are looked at first; what of them a server must hold before it can say so is bounded in
api/connections.py. A body is taken in here, once it is known who sends it: never more of it than the limit is held,
whether its length was announced or not, and it has to come in time. Logs are the exception: see STREAMED.
"""

from asyncio import timeout

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.config import ApiConfig
from api.errors import RefusedError, TooLargeError, TooSlowError
from api.own_metrics import OwnMetrics
from api.refusals import refusal

BODY_WITHIN_S = 30.0
#: Paths whose routes read the body themselves while it comes, within limits of their own (api/log_stream.py).
STREAMED = frozenset({"/api/v1/gpu/classify"})


class HeadLimit:
    """Answers 414 or 431 to what is too long to be a question of ours."""

    def __init__(self, app: ASGIApp, config: ApiConfig, metrics: OwnMetrics) -> None:
        self._app = app
        self._max_url_bytes = config.max_url_bytes
        self._max_header_bytes = config.max_header_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except TooLargeError as error:
                await _refuse(self._metrics, error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        url_bytes = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
        if url_bytes > self._max_url_bytes:
            raise TooLargeError(
                f"the URL has {url_bytes} bytes, at most {self._max_url_bytes} are taken; ask for less at once, or "
                "raise api.max_url_bytes",
                reason="url_too_long",
                status=414,
                limit=self._max_url_bytes,
            )
        header_bytes = 0
        for name, value in scope["headers"]:
            header_bytes += len(name) + len(value)
        if header_bytes > self._max_header_bytes:
            raise headers_too_large(self._max_header_bytes)


class BodyLimit:
    """Takes the body in before the app runs; 413 when it is too large, 408 when it does not come."""

    def __init__(self, app: ASGIApp, config: ApiConfig, metrics: OwnMetrics) -> None:
        self._app = app
        self._max_bytes = config.max_body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in STREAMED or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(scope, receive)
        except RefusedError as error:
            await _refuse(self._metrics, error, scope, receive, send)
            return
        if body is None:  # the client has gone
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, receive_again, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """All of it; None when the client went away in the middle.

        Raises:
            TooLargeError, TooSlowError: there is more, or it takes too long.
        """
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        held = 0
        try:
            async with timeout(BODY_WITHIN_S):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    part = message.get("body", b"")
                    held += len(part)
                    if held > self._max_bytes:
                        raise self._too_large()
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise TooSlowError(
                f"the body did not come within {BODY_WITHIN_S:g} s; send it faster, or in smaller requests",
                reason="body_too_slow",
                headers={"Connection": "close"},
            ) from None

    def _too_large(self) -> TooLargeError:
        return TooLargeError(
            f"the body has more than the {self._max_bytes} bytes that are taken; send less at once, or raise "
            "api.max_body_bytes",
            reason="body_too_large",
            status=413,
            limit=self._max_bytes,
        )


def headers_too_large(limit: int) -> TooLargeError:
    """The refusal, also for headers that never came to their end."""
    return TooLargeError(
        f"the headers have more than the {limit} bytes that are taken; send fewer, or raise api.max_header_bytes",
        reason="headers_too_large",
        status=431,
        limit=limit,
    )


async def _refuse(metrics: OwnMetrics, error: RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
    metrics.refused_requests.labels(error.reason).inc()
    await refusal(scope["path"], error)(scope, receive, send)


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
