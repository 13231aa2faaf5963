"""GET /api/v1/services/{service}/tail: mean and quantiles of a service's latencies, over time and by load."""

from collections.abc import Iterator
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import span
from api.responses import json_answer
from api.running import Run, run_question
from api.service import Parts, Service
from api.service_lookup import ServiceName
from api.service_minutes import MinuteSums, StoredMinute, add_up, error_bound, group_entries, stored_minute
from api.service_promises import nothing_there, promise_entry
from api.service_tail_models import TailAnswer
from api.service_tail_params import MINUTE_NS, TailParameters, TailQuestion, read_tail
from api.times import SECOND_NS, rfc_3339
from store.tail_minutes import read_minutes
from store.tail_services import ServiceRow, known_service

router = APIRouter(tags=["services"])

#: Read at a time; a minute is some two kilobytes.
_AT_ONCE_NS = 86_400 * SECOND_NS


@router.get(
    "/api/v1/services/{service}/tail", operation_id="get_service_tail", summary="How long a service's requests take",
    response_model=TailAnswer,
)  # fmt: skip
async def tail(
    service: ServiceName, request: Request, given: Annotated[TailParameters, Query()], parts: Parts
) -> Response:
    """Requests, slow ones, mean and quantiles of latencies, threads and causes, of whole minutes added up.

    By load, minutes are grouped by the work that came in them as a share of what the hardware threads could do.
    """
    question = read_tail(given, parts.config, parts.now_ns())
    return await run_question(request, parts.reads, lambda: _answer(request, service, question, parts))


def _answer(request: Request, name: str, question: TailQuestion, parts: Service) -> Response:
    run = Run.current()
    with parts.database.reading() as connection:
        row = known_service(connection, name)
        minutes = _stored(connection, name, question)
        found = add_up(minutes, question, parts.config.max_groups, run.check if run else lambda: None)
    if not found.minutes:
        raise nothing_there(row, question.start_ns, question.end_ns, "minutes")
    content = {
        "service": row.service,
        **span(question.start_ns, question.end_ns),
        "step_ns": question.step_ns,
        "by": ["load"] if question.by_load else [],
        "synthetic": row.synthetic,
        "promise": None if row.settings.target_ms is None else promise_entry(row.settings),
        "error_bound": error_bound(),
        "groups": list(group_entries(found, question, row.settings)),
        "coverage": _coverage(row, question, found),
    }
    return json_answer(request, content)


def _stored(connection: sa.Connection, service: str, question: TailQuestion) -> Iterator[StoredMinute]:
    """Stored minutes in order, never more than a day of them at a time."""
    for begin_ns in range(question.start_ns, question.end_ns, _AT_ONCE_NS):
        end_ns = min(begin_ns + _AT_ONCE_NS, question.end_ns)
        yield from map(stored_minute, read_minutes(connection, service, begin_ns, end_ns))


def _coverage(row: ServiceRow, question: TailQuestion, found: MinuteSums) -> dict[str, object]:
    return {
        "minutes": found.minutes,
        "minutes_asked": (question.end_ns - question.start_ns) // MINUTE_NS,
        "newest_request": None if row.latest_ns is None else rfc_3339(row.latest_ns),
        "newest_request_ns": row.latest_ns,
        "unprofiled": found.unprofiled,
        "unpromised": found.unpromised,
        "unmeasured": found.unmeasured,
        "notes": list(_notes(row, found)),
    }


def _notes(row: ServiceRow, found: MinuteSums) -> Iterator[str]:
    """What to know of the figures."""
    objective = f"PUT /api/v1/services/{row.service[:200]}/objective"
    if found.unpromised:
        yield (
            f"{found.unpromised} of {found.minutes} minutes are from before a target was set: nothing of them is slow; "
            f"{objective} says what is promised"
        )
    if found.unmeasured:
        yield (
            f"of {found.unmeasured} of {found.minutes} minutes load is not known, as nobody had said how many hardware "
            f"threads there are; {objective} says it"
        )
    if found.unprofiled > found.unmeasured:
        yield (
            f"{found.unprofiled} of {found.minutes} minutes are from before any speed-ups were learned: their load is "
            "of threads in use, which is more than the work alone, and they have no causes"
        )
