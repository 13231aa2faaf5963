"""The outermost layer around the app: times every request, and answers HEAD as GET without a body.

Plain ASGI, not a framework middleware class, because it runs for every request and must see crashes too.
"""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.own_metrics import OwnMetrics
from api.route_templates import RouteTemplates
from api.telemetry import LatencySender

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestWatch:
    """Counts and times requests by route template, refused ones too; unknown paths are one route, and methods."""

    def __init__(self, app: ASGIApp, routes: RouteTemplates, metrics: OwnMetrics, sender: LatencySender | None) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._sender = sender

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        status = 500  # what the client sees when the app raises before it answers

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        started_ns = time.perf_counter_ns()
        try:
            await self._app(inner, receive, watched_send)
        finally:
            duration_ns = time.perf_counter_ns() - started_ns
            route = self._routes.of(scope["path"])
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.request_duration.observe(route, duration_ns / 1e9)
            if self._sender is not None:
                self._sender.record(time.time_ns(), route, method, status, duration_ns / 1e3)
