"""GET /api/v1/agents: who reports, since when, and who has fallen silent."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.agent_state import silent_s, state_of
from api.models import AgentsPage
from api.pagination import page_of
from api.params import PageParameters
from api.responses import json_answer
from api.service import Parts, Service
from api.times import rfc_3339
from store.fleet import AgentRow, agents
from store.starts import shared_ids

router = APIRouter(tags=["fleet"])


@router.get("/api/v1/agents", operation_id="list_agents", summary="Agents, by name", response_model=AgentsPage)
def list_agents(request: Request, given: Annotated[PageParameters, Query()], service: Parts) -> Response:
    """Every agent as its last heartbeat showed it; one not heard of for `agent_silent_after_s` is silent."""
    now_ns = service.now_ns()
    with service.database.reading() as connection:
        known = agents(connection)
        shared = shared_ids(connection, now_ns - round(service.config.agent_silent_after_s * 1e9))
    page, next_cursor = page_of(known, lambda row: row.agent, given, service.config)
    return json_answer(
        request,
        {
            "agents": [_entry(row, shared.get(row.agent, []), now_ns, service) for row in page],
            "next_cursor": next_cursor,
        },
    )


def _entry(row: AgentRow, shared_by: list[str], now_ns: int, service: Service) -> dict[str, object]:
    return {
        "agent": row.agent,
        "host": row.host,
        "shared_by": shared_by,
        "state": state_of(row, now_ns, service.config),
        "first_seen": rfc_3339(row.first_seen_ns),
        "last_seen": rfc_3339(row.last_seen_ns),
        "last_seen_ns": row.last_seen_ns,
        "silent_s": round(silent_s(row, now_ns), 3),
        "incarnation": row.incarnation,
        "started": rfc_3339(row.started_ns),
        "clock_ahead_s": None if row.clock_offset_ns is None else round(row.clock_offset_ns / 1e9, 3),
        "counters": row.counters,
    }
