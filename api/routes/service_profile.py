"""GET /api/v1/services/{service}/speedup-profile: how much faster a service's requests get with more threads."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.errors import UnknownNameError
from api.gpu_answers import times_of
from api.responses import json_answer, numbers
from api.service import Parts
from api.service_lookup import ServiceName
from api.service_run_answers import AtWork, read_at_work, run_href
from api.service_speedups import learned_of
from api.service_tail_models import ProfileAnswer
from api.service_tail_params import ProfileParameters
from api.times import SECOND_NS
from api.words import whole
from store.tail_profiles import ProfileRow, active_profile, get_profile, list_profiles
from store.tail_runs import RunRow, list_runs
from store.tail_services import known_service

router = APIRouter(tags=["services"])

_NEVER = "nobody asked for it, and the collectors' job has not tried yet"


@router.get(
    "/api/v1/services/{service}/speedup-profile", operation_id="get_service_speedups",
    summary="How much faster requests get with more threads", response_model=ProfileAnswer,
)  # fmt: skip
def profile(
    service: ServiceName, request: Request, given: Annotated[ProfileParameters, Query()], parts: Parts
) -> Response:
    """Learned speed-ups with what they rest on, and how the newest learning went, also where it was refused."""
    version = whole(given.version, "version", 1, 2**31 - 1)
    with parts.database.reading() as connection:
        known_service(connection, service)
        active = version is None
        row = active_profile(connection, service) if active else get_profile(connection, service, version or 0)
        versions = [one.version for one in list_profiles(connection, service)]
        runs = list_runs(connection, service, None, 1, kind="learn")
        at_work = read_at_work(connection, parts.now_ns())
    if row is None and version is not None:
        known = ", ".join(map(str, versions[:20])) or "none yet"
        raise UnknownNameError(
            f"no version {version} of the speed-ups of {service[:200]!r} is kept; there are {known}",
            parameter="version",
        )
    learning = _learning(runs[0] if runs else None, at_work)
    content = {
        "service": service,
        "profile": None if row is None else _entry(row, parts.now_ns()),
        "why_no_profile": "" if row is not None else f"nothing is in use: {learning['text']}",
        "versions": versions,
        "learning": learning,
    }
    return json_answer(request, content)


def _entry(row: ProfileRow, now_ns: int) -> dict[str, object]:
    """Speed-ups and what they rest on."""
    learned = learned_of(row)
    return {
        "version": row.version,
        "active": row.active,
        **times_of({"created": row.created_ns}),
        "age_s": max(0, now_ns - row.created_ns) / SECOND_NS,
        "class_edges_ms": list(learned.profile.edges_ms),
        "speedups": learned.profile.table.tolist(),
        "low": [numbers(one) for one in learned.low.tolist()],
        "high": [numbers(one) for one in learned.high.tolist()],
        "counts": learned.counts.tolist(),
        "extrapolated": learned.extrapolated.tolist(),
        "requests": learned.requests,
        "explored": learned.explored,
        "basis": learned.basis,
        "slowdown": asdict(learned.slowdown),
    }


def _learning(run: RunRow | None, at_work: AtWork) -> dict[str, object]:
    """How the newest learning went."""
    if run is None:
        return {"state": "never", "text": _NEVER, **times_of({"asked": None}), "href": None}
    told = {
        "waiting": "it waits for its turn",
        "running": f"it is under way: {at_work.text(run) or 'it has begun'}",
        "done": "the newest learning succeeded",
        "cancelled": "the newest learning was cancelled",
    }
    text = told.get(run.state) or run.error or f"the newest learning is {run.state}"
    return {"state": run.state, "text": text, **times_of({"asked": run.asked_ns}), "href": run_href(run)}
