"""Every path below /prometheus, and the small ASGI app that answers it.

It is an app of its own because everything here must be as Prometheus has it, refusals of paths and methods included.
Whatever reads or evaluates runs in a thread, one of `max_concurrent`; who waits for one longer than the
query's time, gets 503. A client that goes away ends its query.
"""

import asyncio
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

import anyio
from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as HttpRoute
from starlette.types import Receive, Scope, Send

from api.prometheus import envelope, federate, lists, queries, standing_answers
from api.prometheus.calls import Call, Route
from api.prometheus.errors import BodyTooLargeError, QueryTimeoutError
from api.prometheus.parameters import SECOND_NS, Parameters, read_parameters
from api.service import Service

PREFIX: Final = "/prometheus"
_V1: Final = f"{PREFIX}/api/v1"
_GET, _BOTH = ("GET",), ("GET", "POST")
MAX_BODY_BYTES: Final = 1 << 20

ROUTES: Final = (
    Route(f"{_V1}/query", _BOTH, queries.query, timed=True),
    Route(f"{_V1}/query_range", _BOTH, queries.query_range, timed=True),
    Route(f"{_V1}/format_query", _BOTH, queries.format_query),
    Route(f"{_V1}/labels", _BOTH, lists.labels),
    Route(f"{_V1}/label/{{name}}/values", _GET, lists.label_values),
    Route(f"{_V1}/series", _BOTH, lists.series),
    Route(f"{_V1}/metadata", _GET, lists.metadata),
    Route(f"{_V1}/status/buildinfo", _GET, standing_answers.buildinfo, works=False),
    Route(f"{_V1}/rules", _GET, standing_answers.rules, works=False),
    Route(f"{_V1}/alerts", _GET, standing_answers.alerts, works=False),
    Route(f"{_V1}/query_exemplars", _BOTH, standing_answers.exemplars, works=False),
    Route(f"{PREFIX}/federate", _GET, federate.federate),
)
_EXACT: Final = {route.path.removeprefix(PREFIX): route for route in ROUTES}
_VALUES_OF: Final = _EXACT["/api/v1/label/{name}/values"]
_VALUES_PATH: Final = re.compile(r"/api/v1/label/([^/]+)/values")


def install(app: FastAPI, service: Service) -> None:
    """Have `app` answer below /prometheus; it knows the templates, so that requests can be counted by them."""
    answering = PrometheusApi(service)
    app.router.routes += [*(HttpRoute(route.path, answering) for route in ROUTES), Mount(PREFIX, answering)]
    app.router.routes.append(HttpRoute(PREFIX, answering))  # a mount begins behind the slash


class PrometheusApi:
    """The ASGI app. Its routes read the store through the service that they are given."""

    def __init__(self, service: Service) -> None:
        self._service = service
        workers = service.config.prometheus.max_concurrent
        self._free = asyncio.Semaphore(workers)
        self._threads = anyio.CapacityLimiter(workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        root = scope.get("app_root_path", scope.get("root_path", ""))
        route, name = _route_of(scope["path"].removeprefix(root).removeprefix(PREFIX))
        if route is None:
            response: Response = PlainTextResponse("404 page not found\n", 404)
        else:
            scope["route"] = route
            try:
                response = await self._response(route, name, scope, receive)
            except ClientDisconnect:
                return
        await response(scope, receive, send)

    async def _response(self, route: Route, name: str, scope: Scope, receive: Receive) -> Response:
        if scope["method"] not in route.methods:
            return PlainTextResponse("Method Not Allowed\n", 405, {"Allow": ", ".join(route.methods)})
        started_s = monotonic()
        try:
            given = await read_parameters(scope, await _body(receive))
            deadline_s = started_s + self._timeout_s(route, given)
            call = Call(self._service, given, name, self._service.now_ns(), deadline_s)
            return await self._worked(route, call, receive) if route.works else route.answer(call)
        except (ClientDisconnect, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is must leave in Prometheus' envelope
            return envelope.answer_for(error, route.path)

    def _timeout_s(self, route: Route, given: Parameters) -> float:
        longest_s = self._service.config.prometheus.timeout_s
        if not route.timed or not given.text("timeout"):
            return longest_s
        return min(longest_s, given.duration_ns("timeout") / SECOND_NS)

    async def _worked(self, route: Route, call: Call, receive: Receive) -> Response:
        watch = asyncio.create_task(_watch(receive, call.gone))
        try:
            return await self._in_thread(lambda: route.answer(call), call.deadline_s)
        except asyncio.CancelledError:
            call.gone.set()  # the thread must not go on for nobody
            raise
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _in_thread(self, work: Callable[[], Response], deadline_s: float) -> Response:
        try:
            async with asyncio.timeout(max(0.0, deadline_s - monotonic())):
                await self._free.acquire()
        except TimeoutError:
            raise QueryTimeoutError("query timed out in query queue") from None
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._free.release()


def _route_of(path: str) -> tuple[Route | None, str]:
    values = _VALUES_PATH.fullmatch(path)
    if values is not None:
        return _VALUES_OF, values[1]
    route = _EXACT.get(path)
    return (None if route is _VALUES_OF else route), ""


async def _body(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        BodyTooLargeError: it is larger than any question needs; the rest is not read.
        ClientDisconnect: the client went before it was sent.
    """
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise BodyTooLargeError(f"the body is larger than {MAX_BODY_BYTES} bytes; send a shorter form")
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _watch(receive: Receive, gone: threading.Event) -> None:
    """Note when the client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
