"""Puts the app together: routes, problem documents, the watch around it, OpenAPI."""

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from api import docs_page, problems
from api.auth import AccessGate, Keys
from api.compression import Compression
from api.config import ApiConfig
from api.database import Database
from api.degree_tables import DegreeTables
from api.fleet_gauges import FleetGauges
from api.gpu_advising import ActiveModels
from api.log_classifier import LogClassifier
from api.models import Problem
from api.own_metrics import OwnMetrics
from api.params import refuse_repeated
from api.prometheus import routes as prometheus
from api.reads import Reads
from api.route_templates import RouteTemplates
from api.routes import (
    agent_peers,
    agent_plan,
    agents,
    cardinality,
    catalog,
    distribution,
    drive_actions,
    drive_mutes,
    drives,
    gpu_attempts,
    gpu_classify,
    gpu_failures,
    gpu_retry,
    health,
    kept_frames,
    labels,
    lines,
    quantiles,
    queries,
    series,
    service_alerts,
    service_causes,
    service_objectives,
    service_profile,
    service_requests,
    service_runs,
    service_tables,
    service_tail,
    static_tables,
    status,
    values,
)
from api.service import Service
from api.service_samples import LargeBodies
from api.size_limits import BodyLimit, HeadLimit
from api.telemetry import LatencySender
from api.watch import RequestWatch
from api.writing import WritableDatabase

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
    reads, database = Reads(config, metrics), Database(engine, metrics)
    sender = LatencySender(config.telemetry_socket, metrics) if config.telemetry_socket else None
    keys = Keys(engine.url, metrics, now_ns) if config.asks_for_keys else None
    writable = WritableDatabase(engine, metrics)
    gauges = FleetGauges(config, database, reads.catalog, now_ns)
    metrics.registry.register(gauges)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        if sender is not None:
            sender.start()
        if keys is not None:
            await keys.open()
        yield
        gauges.close()
        reads.close()
        database.close()
        if keys is not None:
            keys.close()
        if sender is not None:
            sender.close()
        writable.close()

    app = FastAPI(
        title="Tailwatch API",
        version=status.RELEASE,
        description=_DESCRIPTION,
        openapi_url=None,  # docs_page serves it, without making everybody else wait
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.writable = writable
    app.state.log_classifier = LogClassifier(config.gpu, metrics)
    app.state.retry_models = ActiveModels()
    app.state.degree_tables = DegreeTables()
    app.state.large_bodies = LargeBodies()
    app.state.service = Service(config, database, metrics, now_ns, reads)
    for resource in (
        quantiles,
        values,
        distribution,
        lines,
        catalog,
        labels,
        series,
        agent_peers,
        agent_plan,  # and the one above before agents, whose ids may hold slashes
        agents,
        drive_actions,
        drive_mutes,  # and the one above before drives, whose names may hold slashes
        drives,
        gpu_attempts,
        gpu_classify,
        gpu_failures,
        gpu_retry,
        service_objectives,
        service_requests,
        service_alerts,
        service_causes,
        service_profile,
        service_runs,  # before the tables of targets, whose versions `search` could be
        service_tables,
        service_tail,
        cardinality,
        kept_frames,
        status,
        queries,
        static_tables,
    ):
        app.include_router(resource.router, dependencies=[Depends(refuse_repeated)], responses=_PROBLEM_RESPONSES)
    app.include_router(health.router)
    prometheus.install(app, app.state.service)
    docs_page.install(app)
    problems.install(app)
    # The last one added is the first that a request meets.
    app.add_middleware(Compression)
    app.add_middleware(BodyLimit, config=config, metrics=metrics)
    app.add_middleware(AccessGate, config=config, keys=keys, metrics=metrics, now_ns=now_ns)
    app.add_middleware(HeadLimit, config=config, metrics=metrics)
    app.add_middleware(RequestWatch, routes=RouteTemplates(app), metrics=metrics, sender=sender)
    _describe_problems(app)
    return app


_PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"model": Problem, "description": "A problem document (RFC 9457): 4xx and 5xx."}
}


def _describe_problems(app: FastAPI) -> None:
    """Have OpenAPI name the media type that problem documents really have. Made once, by any thread; it takes 0.2 s."""
    lock = threading.Lock()

    def openapi() -> dict[str, Any]:
        with lock:
            if app.openapi_schema is None:
                app.openapi_schema = _described(app)
            return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for methods in schema["paths"].values():
        for operation in methods.values():
            content = operation["responses"].get("default", {}).get("content", {})
            if "application/json" in content:
                content[problems.MEDIA_TYPE] = content.pop("application/json")
    return schema
