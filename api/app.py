"""Puts the app together: routes, problem documents, the watch around it, OpenAPI."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from api import docs_page, problems
from api.config import ApiConfig
from api.database import Database
from api.models import Problem
from api.own_metrics import OwnMetrics
from api.params import refuse_repeated
from api.prometheus import routes as prometheus
from api.routes import agents, catalog, health, quantiles, series, status, values
from api.service import Service
from api.telemetry import LatencySender
from api.watch import RequestWatch

_DESCRIPTION = (
    "Quantiles, counts and averages of merged telemetry, with their error bound and how complete they are. "
    "Times are relative (-5m), Unix seconds or RFC 3339. Errors are problem documents (RFC 9457)."
)


def create_app(config: ApiConfig, engine: sa.Engine, now_ns: Callable[[], int] = time.time_ns) -> FastAPI:
    """The API over an opened database.

    Args:
        engine: belongs to the caller, who disposes of it.
        now_ns: the clock that relative times, agent states and coverage are read against.
    """
    metrics = OwnMetrics()
    sender = LatencySender(config.telemetry_socket, metrics) if config.telemetry_socket else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        if sender is not None:
            sender.start()
        yield
        if sender is not None:
            sender.close()

    app = FastAPI(
        title="Tailwatch API",
        version=status.RELEASE,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = Service(config, Database(engine, metrics), metrics, now_ns)
    for resource in (quantiles, values, catalog, agents, series, status):
        app.include_router(resource.router, dependencies=[Depends(refuse_repeated)], responses=_PROBLEM_RESPONSES)
    app.include_router(health.router)
    prometheus.install(app, app.state.service)
    docs_page.install(app)
    problems.install(app)
    app.add_middleware(RequestWatch, metrics=metrics, sender=sender)
    _describe_problems(app)
    return app


_PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"model": Problem, "description": "A problem document (RFC 9457): 4xx and 5xx."}
}


def _describe_problems(app: FastAPI) -> None:
    """Have OpenAPI name the media type that problem documents really have."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            for methods in app.openapi_schema["paths"].values():
                for operation in methods.values():
                    content = operation["responses"].get("default", {}).get("content", {})
                    if "application/json" in content:
                        content[problems.MEDIA_TYPE] = content.pop("application/json")
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
