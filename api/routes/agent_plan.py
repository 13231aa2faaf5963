"""GET /api/v1/agents/{agent}/plan: what an agent is to run, asked for every few seconds. DELETE retires an agent.

All agents run all queries; each ignores those whose stream it has no source for. The answer holds every version that is
valid now, will be, or was until an hour ago, so that records which come late find theirs.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.agent_state import silent_s, state_of
from api.errors import ConflictError
from api.query_models import AgentPlanModel, RetiredAgent
from api.responses import JSON, bytes_answer, live_answer
from api.service import Parts
from api.writing import Writable
from pipeline.agent_plan import FORMAT, AgentPlan, PlannedTable, PlannedVersion, encode_agent_plan
from store.fleet import agents, retire_agent
from store.query_list import QueryRow, Span, list_queries
from store.registry import BEGINNING_NS, END_NS
from store.static_tables import list_tables

router = APIRouter(tags=["fleet"])

LISTED_AFTER_END_NS = 3600 * 10**9


@router.get(
    "/api/v1/agents/{agent:path}/plan",
    operation_id="get_agent_plan",
    summary="What an agent is to run",
    response_model=AgentPlanModel,
)
def get_plan(request: Request, agent: str, service: Parts) -> Response:
    """The same for every agent, also for one that nobody has heard of: it asks before its first heartbeat.

    Send the ETag back as If-None-Match: as long as nothing has changed the answer is an empty 304.
    """
    del agent
    now_ns = service.now_ns()
    with service.database.reading() as connection:
        known = list_queries(connection)
        stored = {(row.name, row.content_hash) for row in list_tables(connection)}
    plan = AgentPlan(
        format=FORMAT,
        queries=[version for row in known for version in _planned(row, stored, now_ns)],
        retired=[row.name for row in known if (span := row.at(now_ns)) is not None and span.version is None],
    )
    return bytes_answer(request, encode_agent_plan(plan), JSON)


@router.delete(
    "/api/v1/agents/{agent:path}", operation_id="retire_agent", summary="Expect no more of an agent",
    response_model=RetiredAgent,
)  # fmt: skip
def retire(agent: str, service: Parts, writable: Writable) -> Response:
    """Coverage no longer expects it; what it sent stays. Stop the agent first: one that is alive is a 409.

    It comes back by itself as soon as it reports again.
    """
    now_ns = service.now_ns()
    with writable.writing() as connection:
        row = next((row for row in agents(connection) if row.agent == agent), None)
        if row is not None and state_of(row, now_ns, service.config) == "alive":
            raise ConflictError(
                f"agent {agent!r} was heard of {silent_s(row, now_ns):.0f} s ago and would come back with its next "
                f"heartbeat; stop it, and retire it {service.config.agent_silent_after_s:g} s later"
            )
        retire_agent(connection, agent, now_ns)
    return live_answer({"agent": agent, "state": "retired"})


def _planned(row: QueryRow, stored: set[tuple[str, str]], now_ns: int) -> list[PlannedVersion]:
    listed = [span for span in row.spans if span.to_ns > now_ns - LISTED_AFTER_END_NS]
    found = []
    for span in listed:
        if span.version is None:
            continue
        plan = span.version.plan
        tables = [
            PlannedTable(
                name=name,
                content_hash=content_hash,
                url=f"/api/v1/tables/{name}/{content_hash}" if (name, content_hash) in stored else None,
            )
            for name, content_hash in (plan.tables if plan else {}).items()
        ]
        found.append(
            PlannedVersion(
                query=row.name,
                version=span.version.version,
                plan=span.version.encoded,
                valid_from_ns=_begin_ns(row, span, first=span is listed[0]),
                valid_to_ns=None if span.to_ns == END_NS else span.to_ns,
                tables=tables,
            )
        )
    return found


def _begin_ns(row: QueryRow, span: Span, *, first: bool) -> int | None:
    """Records of a version that is no longer listed are told to the next one: stored, and seen as missing."""
    place = row.spans.index(span)
    if span.from_ns == BEGINNING_NS or (first and row.spans[place - 1].version is not None):
        return None
    return span.from_ns
