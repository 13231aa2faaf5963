"""POST /api/v1/services/{service}/requests: requests as a service recorded them, a batch at a time, each batch once."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.errors import ParameterError
from api.responses import live_answer
from api.service import Parts, Service
from api.service_lookup import ServiceName
from api.service_models import RequestsTaken
from api.service_samples import LargeBodies, Recorded, read_records, refuse_useless, unpacked_body
from api.uploaded_table import uploaded
from api.words import flag
from api.writing import Writable
from store.tail_batches import add_batch
from store.tail_services import check_name
from store.tail_tables import BATCH_NAME_MAX, NAME_MAX

router = APIRouter(tags=["services"])

_RECORD = {"arrival_ms": 1795330810000.5, "wait_ms": 0.4, "service_ms": 12.5, "predicted_ms": 11, "degree": 2}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"oneOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}]},
            "example": [_RECORD | {"in_system": 7, "active_threads": 5}],
        },
    },
}


class BatchParameters(BaseModel):
    """Where the requests ran, and what their batch is called."""

    model_config = ConfigDict(extra="forbid")

    instance: Annotated[str, Field(max_length=NAME_MAX)] | None = Field(
        default=None,
        description="Which server they ran on, each with threads of its own. Without it, the sender's address.",
        examples=["search-7"],
    )
    batch: Annotated[str, Field(max_length=BATCH_NAME_MAX)] | None = Field(
        default=None,
        description="What the instance, which is named then, calls these: sent again under this name, they count once.",
        examples=["1795330810-42"],
    )
    synthetic: Annotated[str, Field(max_length=20)] | None = Field(
        default=None, description="true: they were made up, and so is the service from now on."
    )


@router.post(
    "/api/v1/services/{service}/requests", operation_id="record_service_requests", summary="Record requests",
    response_model=RequestsTaken, openapi_extra={"requestBody": _BODY},
)  # fmt: skip
def record(
    service: ServiceName,
    request: Request,
    given: Annotated[BatchParameters, Query()],
    data: Annotated[bytes, Depends(uploaded)],
    parts: Parts,
    writable: Writable,
) -> Response:
    """Keep what can be kept, and say what was left out and why. JSON, lines of it, or msgpack; plain or gzip."""
    instance = given.instance if given.instance is not None else _sender(request)
    check_name("service", service)
    check_name("instance", instance)
    if given.batch is not None:
        check_name("batch", given.batch, BATCH_NAME_MAX)
        if given.instance is None:  # behind one proxy all have its address, and one's batch would pass for another's
            raise ParameterError(
                f"batch={given.batch[:60]!r} without instance; name the server that calls it so: instance=web-7",
                parameter="instance",
            )
    synthetic = flag(given.synthetic, "synthetic") or False
    now_ns = parts.now_ns()
    large_bodies: LargeBodies = request.app.state.large_bodies
    with large_bodies.place_for(data) as placed:
        whole = unpacked_body(request, data)
        # One that was small because it was packed is read in a place of its own, but takes no second one.
        with large_bodies.place_for(b"" if placed else whole):
            recorded = read_records(whole, service, now_ns)
    _count(parts, recorded.left_out)
    refuse_useless(recorded)
    kept = False
    if len(recorded):
        with writable.writing() as connection:
            kept = add_batch(connection, service, instance, given.batch, recorded.columns, now_ns, synthetic=synthetic)
        _count(parts, {"accepted" if kept else "duplicate": len(recorded)})
    return live_answer(_answer(recorded, kept=kept))


def _answer(recorded: Recorded, *, kept: bool) -> dict[str, object]:
    return {
        "accepted": len(recorded) if kept else 0,
        "left_out": recorded.left_out,
        "why": recorded.why(),
        "ignored_fields": recorded.unknown,
        "duplicate": len(recorded) > 0 and not kept,
    }


def _sender(request: Request) -> str:
    return request.client.host if request.client else "this machine"


def _count(parts: Service, results: Mapping[str, int]) -> None:
    for result, requests in results.items():
        parts.metrics.recorded_requests.labels(result).inc(requests)
