"""Questions about a service that take long: what-ifs, searches for a target table, learning; and their runs.

They are queued here and answered by the collectors' job `tail`, one at a time, so that no caller waits and a collector
that dies loses none.
"""

from collections.abc import Callable
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.drive_lookup import who_asks
from api.errors import ConflictError, TooManyRequestsError, UnknownNameError
from api.pagination import given_limit
from api.responses import json_answer, live_answer
from api.service import Parts, Service
from api.service_lookup import ServiceName
from api.service_run_answers import AtWork, read_at_work, run_entry, run_href, run_notes
from api.service_run_models import LearnPost, RunAsked, RunDetail, RunEntry, RunsPage, SearchPost, WhatIfPost
from api.service_run_requests import RunRequest, learn_request, search_request, what_if_request
from api.service_tail_params import (
    RUN_KINDS,
    RUN_STATES,
    RunPostParameters,
    RunsParameters,
    given_place,
    place_cursor,
)
from api.words import flag, if_given
from api.writing import Writable, WritableDatabase
from store.errors import ServiceLimitError
from store.tail_runs import Kind, RunRow, ask_run, cancel_run, get_run, list_runs
from store.tail_services import known_service

router = APIRouter(tags=["services"])

#: After so long one of the runs that wait may have been answered.
_RETRY_AFTER_S = 60
_Given = Annotated[RunPostParameters, Query()]
RunId = Annotated[str, Path(description="Of the run.", max_length=64, examples=["5f0c2b7a11e94f3d"])]


@router.post(
    "/api/v1/services/{service}/what-if", operation_id="ask_service_what_if",
    summary="What the tail would be under another policy", response_model=RunAsked, status_code=202,
)  # fmt: skip
def what_if(
    service: ServiceName, body: WhatIfPost, given: _Given, request: Request, parts: Parts, writable: Writable
) -> Response:
    """Replay recorded requests under a policy, load or server of choice; the answer has gates, and intervals."""
    return _asked(
        request, parts, writable, service, "what_if", given,
        lambda connection, now_ns: what_if_request(connection, service, body, now_ns),
    )  # fmt: skip


@router.post(
    "/api/v1/services/{service}/target-tables/search", operation_id="search_service_target_table",
    summary="Search a table of targets", response_model=RunAsked, status_code=202,
)  # fmt: skip
def search(
    service: ServiceName, body: SearchPost, given: _Given, request: Request, parts: Parts, writable: Writable
) -> Response:
    """Search the table that suits the recorded loads, and draft it; nothing is put in use."""
    return _asked(
        request, parts, writable, service, "search", given,
        lambda connection, now_ns: search_request(connection, service, body, now_ns),
    )  # fmt: skip


@router.post(
    "/api/v1/services/{service}/speedup-profile/learn", operation_id="learn_service_speedups",
    summary="Learn speed-ups anew", response_model=RunAsked, status_code=202,
)  # fmt: skip
def learn(
    service: ServiceName, body: LearnPost, given: _Given, request: Request, parts: Parts, writable: Writable
) -> Response:
    """Learn how much faster requests get with more threads; what is learned is in use from then on."""
    return _asked(
        request, parts, writable, service, "learn", given,
        lambda connection, now_ns: learn_request(connection, service, body, now_ns),
    )  # fmt: skip


@router.get(
    "/api/v1/services/{service}/runs", operation_id="list_service_runs", summary="Questions that were asked",
    response_model=RunsPage,
)  # fmt: skip
def list_all(
    service: ServiceName, request: Request, given: Annotated[RunsParameters, Query()], parts: Parts
) -> Response:
    """What-ifs, searches and learnings of a service, the newest first, without their answers."""
    kind, state = if_given(given.kind, RUN_KINDS, "kind"), if_given(given.state, RUN_STATES, "state")
    limit, before = given_limit(given, parts.config), given_place(given)
    with parts.database.reading() as connection:
        known_service(connection, service)
        rows = list_runs(connection, service, before, limit + 1, kind=kind, state=state)
        at_work = read_at_work(connection, parts.now_ns())
    shown = rows[:limit]
    next_cursor = place_cursor(shown[-1].asked_ns, shown[-1].id) if len(rows) > limit else None
    return json_answer(request, {"runs": [run_entry(row, at_work) for row in shown], "next_cursor": next_cursor})


@router.get(
    "/api/v1/services/{service}/runs/{run}", operation_id="get_service_run", summary="One question with its answer",
    response_model=RunDetail,
)  # fmt: skip
def show(service: ServiceName, run: RunId, request: Request, parts: Parts) -> Response:
    """A run, how far it is, and its answer once there is one."""
    with parts.database.reading() as connection:
        row = get_run(connection, service, run)
        if row is None:
            raise _unknown(connection, service, run)
        notes, at_work = run_notes(connection, row), read_at_work(connection, parts.now_ns())
    return json_answer(request, {**run_entry(row, at_work), "answer": row.answer, "notes": notes})


@router.delete(
    "/api/v1/services/{service}/runs/{run}", operation_id="cancel_service_run", summary="Want no answer any more",
    response_model=RunEntry,
)  # fmt: skip
def cancel(service: ServiceName, run: RunId, parts: Parts, writable: Writable) -> Response:
    """Cancel a run that waits or is being worked on; one that has ended is a 409. The run stays in the list."""
    with writable.writing() as connection:
        row = get_run(connection, service, run)
        if row is None:
            raise _unknown(connection, service, run)
        if row.state not in ("waiting", "running", "cancelled"):
            raise ConflictError(f"run {run} is {row.state} already; there is nothing to cancel")
        row = cancel_run(connection, service, run, parts.now_ns()) or row
        at_work = read_at_work(connection, parts.now_ns())
    return live_answer(run_entry(row, at_work))


def _asked(
    request: Request,
    parts: Service,
    writable: WritableDatabase,
    service: str,
    kind: Kind,
    given: RunPostParameters,
    read: Callable[[sa.Connection, int], RunRequest],
) -> Response:
    """Queue a question, or find the run of an equal one; 202 with where to look.

    Args:
        read: makes the question from the body, or refuses it.
    Raises:
        TooManyRequestsError: as many questions as may wait already.
        store.errors.ServiceRowError: a text in the body that no database keeps.
    """
    fresh, now_ns = flag(given.fresh, "fresh") or False, parts.now_ns()
    with parts.database.reading() as connection:
        question = read(connection, now_ns)
    try:
        with writable.writing() as connection:
            row, new = ask_run(connection, service, kind, question, now_ns, asked_by=who_asks(request), fresh=fresh)
            notes, at_work = run_notes(connection, row), read_at_work(connection, now_ns)
    except ServiceLimitError as error:
        raise TooManyRequestsError(str(error), reason="runs", retry_after_s=_RETRY_AFTER_S) from error
    return _accepted(row, at_work, new, notes)


def _accepted(row: RunRow, at_work: AtWork, new: bool, notes: list[str]) -> Response:
    answer = live_answer({**run_entry(row, at_work), "new": new, "notes": notes})
    answer.status_code = 202
    answer.headers["Location"] = run_href(row)
    return answer


def _unknown(connection: sa.Connection, service: str, run: str) -> UnknownNameError:
    known_service(connection, service)
    return UnknownNameError(
        f"service {service[:200]!r} has no run {run[:80]!r}; GET /api/v1/services/{service[:200]}/runs lists those "
        "that are kept",
        parameter="run",
    )
