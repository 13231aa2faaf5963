"""GET /api/v1/status: the pipeline at a glance, for people and for the demo's live line; what retention has left."""

from collections import Counter
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.agent_state import SPOOL_AGE, state_of
from api.fleet_models import StatusAnswer
from api.list_models import RetentionPage
from api.pagination import page_of
from api.params import PageParameters
from api.responses import json_answer, live_answer
from api.service import Parts, Service
from api.times import rfc_3339
from store.errors import SchemaError
from store.fleet import AgentRow, CollectorRow, agents, collectors, totals
from store.kept_levels import KeptLevel, kept_queries

router = APIRouter(tags=["fleet"])

RELEASE = version("tailwatch")


@router.get("/api/v1/status", operation_id="get_status", summary="Totals and state", response_model=StatusAnswer)
def get_status(service: Parts) -> Response:
    """Cumulative counters of the pipeline, agents by state, and whether the database has the right tables."""
    now_ns = service.now_ns()
    schema = _schema_state(service)
    with service.database.reading() as connection:
        counted = totals(connection)
        known = agents(connection)
        claimed = collectors(connection)
    states = {row.agent: state_of(row, now_ns, service.config) for row in known}
    by_state = Counter(states.values())
    return live_answer(
        {
            "time": rfc_3339(now_ns),
            "time_ns": now_ns,
            "version": RELEASE,
            "database_schema": schema,
            "agents": {state: by_state[state] for state in ("alive", "silent", "retired")},
            "spool": _oldest([row for row in known if states[row.agent] == "alive"]),
            "collectors": [_collector(row, now_ns) for row in claimed],
            "totals": counted,
        }
    )


@router.get(
    "/api/v1/status/retention",
    operation_id="list_retention",
    summary="Windows kept, by query and width",
    response_model=RetentionPage,
)
def list_retention(request: Request, given: Annotated[PageParameters, Query()], service: Parts) -> Response:
    """From when on each width of windows is kept, and since when there is data, for every query by name."""
    with service.database.reading() as connection:
        known = kept_queries(connection)
    page, next_cursor = page_of(known, lambda one: one.query, given, service.config)
    queries = [{"query": one.query, "levels": [_level(level) for level in one.levels]} for one in page]
    return json_answer(request, {"queries": queries, "next_cursor": next_cursor})


def _level(level: KeptLevel) -> dict[str, object]:
    return {
        "width_ns": level.width_ns,
        "kept_from": None if level.kept_from_ns is None else rfc_3339(level.kept_from_ns),
        "kept_from_ns": level.kept_from_ns,
        "oldest": None if level.oldest_ns is None else rfc_3339(level.oldest_ns),
        "oldest_ns": level.oldest_ns,
    }


def _oldest(alive: list[AgentRow]) -> dict[str, object]:
    """The agent with the oldest spool; the first by name of several. Agents of an earlier release do not say."""
    ages = {row.agent: row.counters[SPOOL_AGE] for row in alive if SPOOL_AGE in row.counters}
    worst = max(ages, key=lambda agent: ages[agent], default=None)
    return {"oldest_age_s": None if worst is None else ages[worst], "agent": worst}


def _collector(row: CollectorRow, now_ns: int) -> dict[str, object]:
    flushed_ns = row.flushed_ns
    return {
        "collector": row.collector,
        "partitions": row.partitions,
        "last_flush": None if flushed_ns is None else rfc_3339(flushed_ns),
        "last_flush_s": None if flushed_ns is None else round(max(0, now_ns - flushed_ns) / 1e9, 3),
    }


def _schema_state(service: Service) -> dict[str, object]:
    try:
        service.database.check_schema()
    except SchemaError as error:
        return {"ok": False, "detail": str(error)}
    return {"ok": True, "detail": "as this release needs it"}
