"""GET /api/v1/services/{service}/tail/causes: why requests were slow, by load, and the slowest of them one by one."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.errors import DataError
from api.answers import span
from api.errors import ConflictError
from api.params import read_stretch
from api.responses import json_answer
from api.running import Run, run_question
from api.service import Parts, Service
from api.service_causes import BYTES_PER_REQUEST, causes_content, coverage_content, explain, usable_samples
from api.service_lookup import ServiceName
from api.service_promises import nothing_there, promise_entry, server_of, service_and_target
from api.service_speedups import learned_of, no_profile
from api.service_tail_models import CausesAnswer
from api.service_tail_params import MOST_SLOWEST, CausesParameters
from api.words import whole
from store.tail_batches import read_columns
from store.tail_profiles import active_profile

router = APIRouter(tags=["services"])


@router.get(
    "/api/v1/services/{service}/tail/causes", operation_id="get_service_tail_causes", summary="Why requests were slow",
    response_model=CausesAnswer,
)  # fmt: skip
async def causes(
    service: ServiceName, request: Request, given: Annotated[CausesParameters, Query()], parts: Parts
) -> Response:
    """Each request that took longer than the target has one cause; shares by level of load, and the slowest requests.

    At most `api.services.max_requests` are looked at, the newest of the stretch; `coverage` says which.
    """
    now_ns = parts.now_ns()
    stretch = read_stretch(given.start, given.end, now_ns)
    slowest = whole(given.slowest, "slowest", 0, MOST_SLOWEST) or 0
    return await run_question(request, parts.reads, lambda: _answer(request, service, stretch, slowest, parts))


def _answer(request: Request, name: str, stretch: tuple[int, int], slowest: int, parts: Service) -> Response:
    run, most = Run.current(), parts.config.services.max_requests
    check = run.check if run else lambda: None
    with parts.database.reading() as connection:
        row, target_ms = service_and_target(connection, name)
        server_of(row)  # refuses, before anything is read
        profile = active_profile(connection, name)
    if profile is None:
        raise no_profile(name)
    learned = learned_of(profile)
    server = server_of(row, learned.profile.max_degree)
    with parts.reads.admission(check) as admitted:
        # A turn among the heavy questions is taken before anything is read: nobody waits inside a transaction.
        admitted.admit_bytes(most * BYTES_PER_REQUEST)
        with parts.database.reading() as connection:
            recorded = read_columns(connection, name, *stretch, most)
        samples = usable_samples(recorded)
        if not len(samples):
            raise nothing_there(row, *stretch, "usable requests")
        check()
        try:
            found = explain(samples, server, learned, target_ms, check)
            content = causes_content(
                found, learned, server, target_ms, row.settings.percentile, slowest, recorded.instances
            )
        except DataError as error:
            raise ConflictError(f"why requests of {name[:200]!r} were slow cannot be told: {error}") from error
    return json_answer(
        request,
        {
            "service": name,
            **span(*stretch),
            "synthetic": row.synthetic,
            "promise": promise_entry(row.settings),
            "profile_version": profile.version,
            **content,
            "coverage": coverage_content(recorded, samples, found.effective),
        },
    )
