"""Health for machines: /healthz (the process answers), /readyz (it can answer questions), /metrics (it counts)."""

import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.errors import DatabaseUnavailableError, NotReadyError
from api.models import Health, Readiness
from api.responses import live_answer
from api.service import Parts, Service
from store.errors import SchemaError

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="get_health", summary="Is the process up?", response_model=Health)
async def get_health() -> Response:
    """200 as long as the process answers at all; asks nothing of the database."""
    return live_answer({"status": "ok"})


@router.get("/readyz", operation_id="get_readiness", summary="Can questions be answered?", response_model=Readiness)
def get_readiness(service: Parts) -> Response:
    """200 when the database answers and has the right tables, else 503 with every check's result."""
    checks = _checks(service)
    failed = [name for name, check in checks.items() if not check["ok"]]
    if failed:
        raise NotReadyError(failed, checks)
    return live_answer({"status": "ready", "checks": checks})


@router.get(
    "/metrics",
    operation_id="get_own_metrics",
    summary="This API's own metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus or OpenMetrics text."}},
)
async def get_own_metrics(request: Request, service: Parts) -> Response:
    """Requests, latencies, telemetry rows and database errors of this process, for Prometheus to scrape."""
    body, content_type = service.metrics.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _checks(service: Service) -> dict[str, dict[str, object]]:
    """Reachable first; the schema only when something can be read at all."""
    started = time.perf_counter()
    database_ok, schema_ok = True, True
    database, schema = "reachable", "as this release needs it"
    try:
        service.database.check_schema()
    except DatabaseUnavailableError as error:
        database_ok, schema_ok = False, False
        database, schema = error.detail, "unknown: the database does not answer"
    except SchemaError as error:
        schema_ok, schema = False, str(error)
    ms = round((time.perf_counter() - started) * 1e3, 3)
    return {
        "database": {"ok": database_ok, "detail": database, "ms": ms},
        "schema": {"ok": schema_ok, "detail": schema, "ms": ms},
    }
