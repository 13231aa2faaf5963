"""GET /api/v1/agents: who reports, since when, how far behind, what runs there, and who has fallen silent."""

from collections.abc import Sequence
from typing import Annotated, get_args

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.agent_runtime import shown_status
from api.agent_state import SPOOL_AGE, AgentState, silent_s, state_of
from api.errors import ParameterError, UnknownNameError
from api.fleet_models import AgentDetail, AgentsPage
from api.pagination import page_of
from api.params import AgentsParameters
from api.problems import nearest_name
from api.responses import json_answer
from api.service import Parts, Service
from api.times import rfc_3339
from store.agent_lags import AgentProgress, progress_of_agents
from store.agent_status import StatusRow, statuses_of
from store.fleet import AgentRow, agents
from store.starts import shared_ids

router = APIRouter(tags=["fleet"])

_Agent = Annotated[str, Path(description="The agent's id.", max_length=1_000, examples=["rack7-host12"])]


@router.get("/api/v1/agents", operation_id="list_agents", summary="Agents, by name", response_model=AgentsPage)
def list_agents(request: Request, given: Annotated[AgentsParameters, Query()], service: Parts) -> Response:
    """Every agent as its last heartbeat and status showed it; one not heard of for `agent_silent_after_s` is silent."""
    if given.state is not None and given.state not in get_args(AgentState):
        raise ParameterError(
            f"state={given.state[:60]!r} is none; ask for {', '.join(get_args(AgentState))}", parameter="state"
        )
    now_ns = service.now_ns()
    with service.database.reading() as connection:
        known = agents(connection)
        shared = shared_ids(connection, _alive_since(service, now_ns))
        progress = progress_of_agents(connection)
        wanted = [
            row
            for row in known
            if row.agent.startswith(given.prefix or "") and given.state in (None, state_of(row, now_ns, service.config))
        ]
        page, next_cursor = page_of(wanted, lambda row: row.agent, given, service.config)
        statuses = statuses_of(connection, [row.agent for row in page])
    entries = [
        _entry(row, shared.get(row.agent, []), progress.get(row.agent, []), statuses.get(row.agent), now_ns, service)
        for row in page
    ]
    return json_answer(request, {"agents": entries, "next_cursor": next_cursor})


@router.get("/api/v1/agents/{agent:path}", operation_id="get_agent", summary="One agent", response_model=AgentDetail)
def get_agent(request: Request, agent: _Agent, service: Parts) -> Response:
    """An agent as its last heartbeat and status showed it, and how far its records of each query have come."""
    now_ns = service.now_ns()
    with service.database.reading() as connection:
        known = {row.agent: row for row in agents(connection)}
        shared = shared_ids(connection, _alive_since(service, now_ns))
        progress = progress_of_agents(connection, agent).get(agent, [])
        status = statuses_of(connection, [agent]).get(agent)
    if agent not in known:
        nearest = nearest_name(agent, known)
        hint = f"did you mean {nearest!r}?" if nearest else "GET /api/v1/agents lists them"
        raise UnknownNameError(f"unknown agent {agent[:200]!r}; {hint}", parameter="agent", nearest=nearest)
    row = known[agent]
    entry = _entry(row, shared.get(agent, []), progress, status, now_ns, service)
    queries = [_query(one, now_ns) for one in progress]
    return json_answer(request, {**entry, "machine_id": row.machine_id, "queries": queries})


def _alive_since(service: Service, now_ns: int) -> int:
    return now_ns - round(service.config.agent_silent_after_s * 1e9)


def _entry(
    row: AgentRow,
    shared_by: list[str],
    progress: Sequence[AgentProgress],
    status: StatusRow | None,
    now_ns: int,
    service: Service,
) -> dict[str, object]:
    shown = shown_status(row, status, now_ns)
    lags = [lag for one in progress if (lag := _lag(one, now_ns)) is not None]
    return {
        "agent": row.agent,
        "host": row.host,
        "labels": shown.labels,
        "probe_address": shown.probes,
        "shared_by": shared_by,
        "state": state_of(row, now_ns, service.config),
        "first_seen": rfc_3339(row.first_seen_ns),
        "last_seen": rfc_3339(row.last_seen_ns),
        "last_seen_ns": row.last_seen_ns,
        "silent_s": round(silent_s(row, now_ns), 3),
        "incarnation": row.incarnation,
        "started": rfc_3339(row.started_ns),
        "clock_ahead_s": None if row.clock_offset_ns is None else round(row.clock_offset_ns / 1e9, 3),
        "lag_s": max(lags, default=None),
        "spool_oldest_age_s": row.counters.get(SPOOL_AGE),
        "counters": row.counters,
        "runtime": shown.runtime,
    }


def _query(one: AgentProgress, now_ns: int) -> dict[str, object]:
    return {
        "query": one.query,
        "version": one.version,
        "live": not one.replayable,
        "first": rfc_3339(one.first_ns),
        "first_ns": one.first_ns,
        "watermark": rfc_3339(one.watermark_ns),
        "watermark_ns": one.watermark_ns,
        "lag_s": _lag(one, now_ns),
    }


def _lag(one: AgentProgress, now_ns: int) -> float | None:
    """Seconds since the watermark, never negative; None for replays."""
    return None if one.replayable else round(max(0, now_ns - one.watermark_ns) / 1e9, 3)
