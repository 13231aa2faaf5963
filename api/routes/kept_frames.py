"""GET /api/v1/dead-letters and /api/v1/quarantine: frames that are in no answer, why, and whose they are."""

import base64
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.list_models import DeadLettersPage, KeptReasonsAnswer, QuarantinePage
from api.pagination import cursor_of, given_limit, given_number
from api.params import KeptFramesParameters
from api.responses import json_answer
from api.service import Parts, Service
from api.times import rfc_3339
from store.kept_frames import KeptFrame, Kind, kept_frames, kept_reasons
from wire.errors import WireError
from wire.frame import decode_frame

router = APIRouter(tags=["fleet"])

EXAMPLE_BYTES = 1_024
REASONS_SHOWN = 100
# Whose a frame is, is read from the frame: a page ends early when it has looked at so much.
LOOKED_AT_BYTES = 64 * 2**20
LOOKED_AT_FRAMES = 10_000


@router.get(
    "/api/v1/dead-letters",
    operation_id="list_dead_letters",
    summary="Frames that can never be used, newest first",
    response_model=DeadLettersPage,
)
def list_dead_letters(request: Request, given: Annotated[KeptFramesParameters, Query()], service: Parts) -> Response:
    """Dead letters with the reason, the agent where the frame is intact, and their first bytes."""
    return _page(request, given, service, "dead_letters")


@router.get(
    "/api/v1/dead-letters/reasons",
    operation_id="count_dead_letters",
    summary="Dead letters by reason",
    response_model=KeptReasonsAnswer,
)
def count_dead_letters(request: Request, service: Parts) -> Response:
    """How many dead letters are kept for which reason, most first; numbers in reasons are written as #."""
    return _reasons(request, service, "dead_letters")


@router.get(
    "/api/v1/quarantine",
    operation_id="list_quarantine",
    summary="Frames that wait for their plan, newest first",
    response_model=QuarantinePage,
)
def list_quarantine(request: Request, given: Annotated[KeptFramesParameters, Query()], service: Parts) -> Response:
    """Quarantined frames: they are taken in once the version of the query that made them is known here."""
    return _page(request, given, service, "quarantine")


@router.get(
    "/api/v1/quarantine/reasons",
    operation_id="count_quarantine",
    summary="Quarantined frames by reason",
    response_model=KeptReasonsAnswer,
)
def count_quarantine(request: Request, service: Parts) -> Response:
    """How many frames wait for which reason, most first; numbers in reasons are written as #."""
    return _reasons(request, service, "quarantine")


def _page(request: Request, given: KeptFramesParameters, service: Service, kind: Kind) -> Response:
    limit, before_id = given_limit(given, service.config), given_number(given)
    entries: list[dict[str, object]] = []
    last_id, looked_at, read_bytes = None, 0, 0
    with service.database.reading() as connection:
        for frame in kept_frames(connection, kind, before_id, given.reason or ""):
            if len(entries) == limit or looked_at >= LOOKED_AT_FRAMES or read_bytes >= LOOKED_AT_BYTES:
                break
            last_id, looked_at, read_bytes = frame.frame_id, looked_at + 1, read_bytes + len(frame.payload)
            agent = _agent_of(frame.payload)
            if given.agent in (None, agent):
                entries.append(_entry(frame, agent, kind))
        else:
            last_id = None
    next_cursor = None if last_id is None else cursor_of(str(last_id))
    return json_answer(request, {kind: entries, "next_cursor": next_cursor})


def _reasons(request: Request, service: Service, kind: Kind) -> Response:
    with service.database.reading() as connection:
        found = kept_reasons(connection, kind)
    reasons = [
        {
            "reason": one.reason,
            "frames": one.frames,
            "bytes": one.payload_bytes,
            "first": rfc_3339(one.first_ns),
            "first_ns": one.first_ns,
            "last": rfc_3339(one.last_ns),
            "last_ns": one.last_ns,
        }
        for one in found[:REASONS_SHOWN]
    ]
    totals = {"frames": sum(one.frames for one in found), "bytes": sum(one.payload_bytes for one in found)}
    return json_answer(request, {**totals, "reasons": reasons})


def _entry(frame: KeptFrame, agent: str | None, kind: Kind) -> dict[str, object]:
    return {
        "agent": agent,
        "reason": frame.reason,
        **({"query_version": frame.version} if kind == "quarantine" else {}),
        "received": rfc_3339(frame.received_ns),
        "received_ns": frame.received_ns,
        "topic": frame.topic,
        "partition": frame.partition,
        "offset": frame.offset,
        "bytes": len(frame.payload),
        "first_bytes": base64.b64encode(frame.payload[:EXAMPLE_BYTES]).decode(),
    }


def _agent_of(payload: bytes) -> str | None:
    """Whose frame it is; None where it is damaged, no frame, or of a newer release: nothing in it can be believed."""
    try:
        return decode_frame(payload).header.agent
    except WireError:
        return None
