"""GET /api/v1/status: the pipeline at a glance, for people and for the demo's live line."""

from collections import Counter
from importlib.metadata import version

from fastapi import APIRouter
from starlette.responses import Response

from api.agent_state import state_of
from api.models import StatusAnswer
from api.responses import live_answer
from api.service import Parts, Service
from api.times import rfc_3339
from store.errors import SchemaError
from store.fleet import agents, totals

router = APIRouter(tags=["fleet"])

RELEASE = version("tailwatch")


@router.get("/api/v1/status", operation_id="get_status", summary="Totals and state", response_model=StatusAnswer)
def get_status(service: Parts) -> Response:
    """Cumulative counters of the pipeline, agents by state, and whether the database has the right tables."""
    now_ns = service.now_ns()
    schema = _schema_state(service)
    with service.database.reading() as connection:
        counted = totals(connection)
        states = Counter(state_of(row, now_ns, service.config) for row in agents(connection))
    return live_answer(
        {
            "time": rfc_3339(now_ns),
            "time_ns": now_ns,
            "version": RELEASE,
            "database_schema": schema,
            "agents": {state: states[state] for state in ("alive", "silent", "retired")},
            "totals": counted,
        }
    )


def _schema_state(service: Service) -> dict[str, object]:
    try:
        service.database.check_schema()
    except SchemaError as error:
        return {"ok": False, "detail": str(error)}
    return {"ok": True, "detail": "as this release needs it"}
