"""/api/v1/queries: what agents run. Post a query, change it, look at its versions, retire it; all while data flows.

A change begins at a window start that lies `valid_from_lead_s` ahead, so that every agent knows of it by then.
"""

from collections.abc import Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.errors import ConflictError
from api.pagination import page_of
from api.params import PageParameters
from api.posted_query import compiled
from api.query_models import PostedQuery, QueriesPage, QueryAnswer, QueryPost, QueryVersions, RetiredQuery
from api.responses import JSON, json_answer, live_answer
from api.service import Parts
from api.times import rfc_3339
from api.writing import Writable
from pipeline.plan import AggregateStage, ExtractStage, FilterStage, JoinStage, Plan
from store.errors import MetricChangedError, MetricTakenError
from store.query_changes import post_query, retire_query
from store.query_list import QueryRow, Span, VersionRow, list_queries, query_named
from store.registry import BEGINNING_NS, END_NS

router = APIRouter(tags=["queries"])


class CheckParameters(BaseModel):
    """How a post is meant."""

    model_config = ConfigDict(extra="forbid")

    check: bool = Field(default=False, description="Only say what would happen; nothing is changed.")


@router.post(
    "/api/v1/queries",
    operation_id="post_query",
    summary="Run a query on all agents, or change it",
    response_model=PostedQuery,
    status_code=201,
    responses={200: {"model": PostedQuery, "description": "That is what runs already, or `check` was given."}},
)
def post(body: QueryPost, given: Annotated[CheckParameters, Query()], service: Parts, writable: Writable) -> Response:
    """Compile the SQL and let it be valid: for all time if the query is new, else from a window start ahead.

    The same content again is a 200 and changes nothing. A metric's name belongs to one query for good, and keeps its
    meaning: anything else is a 409.
    """
    with service.database.reading() as connection:
        plan = compiled(connection, body, service.config.streams)
    lead_ns = round(service.config.valid_from_lead_s * 1e9)
    with writable.writing() as connection:
        try:
            posted = post_query(connection, plan, body.sql, service.now_ns(), lead_ns)
        except MetricTakenError as error:
            raise ConflictError(str(error), owners=error.owners) from error
        except MetricChangedError as error:
            raise ConflictError(str(error)) from error
        version = next(one for one in query_named(connection, plan.query).versions if one.version == plan.version)
        if given.check:
            connection.rollback()
    content = {
        **_version(version),
        "name": plan.query,
        "outcome": posted.outcome,
        **_time("valid_from", posted.valid_from_ns),
        "href": f"/api/v1/queries/{plan.query}",
    }
    if given.check or posted.outcome == "unchanged":
        return live_answer(content)
    headers = {"Cache-Control": "no-store", "Location": f"/api/v1/queries/{plan.query}"}
    return Response(orjson.dumps(content), 201, headers=headers, media_type=JSON)


@router.get("/api/v1/queries", operation_id="list_queries", summary="Queries, by name", response_model=QueriesPage)
def list_all(request: Request, given: Annotated[PageParameters, Query()], service: Parts) -> Response:
    """Every query, posted or from a configuration file, with what it computes and whether it runs."""
    now_ns = service.now_ns()
    with service.database.reading() as connection:
        known = list_queries(connection)
    page, next_cursor = page_of(known, lambda row: row.name, given, service.config)
    return json_answer(request, {"queries": [_entry(row, now_ns) for row in page], "next_cursor": next_cursor})


@router.get(
    "/api/v1/queries/{name}", operation_id="get_query", summary="One query and its history", response_model=QueryAnswer
)
def show(request: Request, name: str, service: Parts) -> Response:
    """What runs now, every version there was, and which windows each answers for."""
    with service.database.reading() as connection:
        row = query_named(connection, name)
    return json_answer(request, {**_entry(row, service.now_ns()), **_history(row)})


@router.get(
    "/api/v1/queries/{name}/versions",
    operation_id="list_query_versions",
    summary="Versions of a query",
    response_model=QueryVersions,
)
def list_versions(request: Request, name: str, service: Parts) -> Response:
    """Every version, in the order they were made, and which windows each answers for."""
    with service.database.reading() as connection:
        row = query_named(connection, name)
    return json_answer(request, {"name": row.name, **_history(row)})


@router.delete(
    "/api/v1/queries/{name}", operation_id="retire_query", summary="Stop running a query", response_model=RetiredQuery
)
def retire(name: str, service: Parts, writable: Writable) -> Response:
    """From a window start ahead, agents do not run it. Its metrics stay readable, its names stay taken for good.

    Posting it again revives it. Retiring it again changes nothing.
    """
    lead_ns = round(service.config.valid_from_lead_s * 1e9)
    with writable.writing() as connection:
        until_ns = retire_query(connection, name, service.now_ns(), lead_ns)
    return live_answer({"name": name, **_time("valid_until", until_ns)})


def _entry(row: QueryRow, now_ns: int) -> dict[str, object]:
    span = row.at(now_ns) or row.spans[0]
    following = row.spans[row.spans.index(span) + 1 :]
    shown = span.version or _last_version(row.spans)
    ahead = following[0] if following else None
    return {
        **_version(shown or row.versions[-1]),
        "name": row.name,
        "state": _state(span, ahead),
        "posted": row.spans[-1].posted,
        **_time("valid_from", span.from_ns),
        "next": None if ahead is None else {"version": _hash(ahead.version), **_time("valid_from", ahead.from_ns)},
        "href": f"/api/v1/queries/{row.name}",
    }


def _state(span: Span, ahead: Span | None) -> str:
    if ahead is None:
        return "retired" if span.version is None else "running"
    if span.version is None:
        return "reviving"
    return "retiring" if ahead.version is None else "changing"


def _last_version(spans: Sequence[Span]) -> VersionRow | None:
    return next((span.version for span in reversed(spans) if span.version is not None), None)


def _history(row: QueryRow) -> dict[str, object]:
    spans = [
        {**_time("valid_from", span.from_ns), **_time("valid_to", span.to_ns), "version": _hash(span.version)}
        for span in row.spans
    ]
    return {"spans": spans, "versions": [_version(version) for version in row.versions]}


def _version(row: VersionRow) -> dict[str, object]:
    plan = row.plan
    return {
        "version": row.version,
        "created": rfc_3339(row.created_ns),
        "readable": plan is not None,
        "source": "" if plan is None else plan.source,
        "window_ns": 0 if plan is None else plan.window_ns,
        "labels": [] if plan is None else plan.labels,
        "scale": 0 if plan is None else plan.scale,
        "metrics": [
            {"name": one.name, "function": one.function, "unit": one.unit} for one in (plan.metrics if plan else ())
        ],
        "tables": [{"name": name, "content_hash": known} for name, known in (plan.tables if plan else {}).items()],
        "stages": _stages(plan) if plan else [],
        "sql": row.sql,
    }


def _stages(plan: Plan) -> list[dict[str, str]]:
    found = []
    for stage in plan.stages:
        if isinstance(stage, FilterStage):
            kind, text = "filter", stage.predicate
        elif isinstance(stage, JoinStage):
            how = "LEFT JOIN" if stage.outer else "JOIN"
            kind, text = "join", f"{how} {stage.table} ON {stage.left_key} = {stage.right_key}"
        elif isinstance(stage, ExtractStage):
            made = [
                f"REGEXP_EXTRACT({one.source}, '{one.pattern}', {one.group}) AS {name}"
                for name, one in stage.columns.items()
            ]
            kind, text = "extract", ", ".join(made)
        elif isinstance(stage, AggregateStage):
            metrics = ", ".join(one.alias for one in stage.aggregates)
            by = f" by {', '.join(stage.labels)}" if stage.labels else ""
            kind, text = "aggregate", f"{metrics} per {stage.window_ns / 1e9:g} s{by}"
        else:
            kind, text = "project", ", ".join(f"{sql} AS {name}" for name, sql in stage.columns.items())
        found.append({"kind": kind, "text": text})
    return found


def _hash(version: VersionRow | None) -> str | None:
    return None if version is None else version.version


def _time(name: str, time_ns: int) -> dict[str, object]:
    """A time and the same in ns; null where there is no bound."""
    bounded = BEGINNING_NS < time_ns < END_NS
    return {name: rfc_3339(time_ns) if bounded else None, f"{name}_ns": time_ns if bounded else None}
