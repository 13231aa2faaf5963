"""Which services record their requests, and what each has promised and runs on."""

from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.errors import DataError
from api.degree_tables import Tables
from api.drive_lookup import who_asks
from api.errors import ParameterError, PreconditionError
from api.gpu_answers import times_of
from api.pagination import cursor_of, given_cursor, given_limit
from api.params import PageParameters
from api.responses import json_answer, versioned_answer
from api.service import Parts
from api.service_lookup import ServiceName
from api.service_models import ObjectiveAnswer, ObjectivePut, ServicesPage
from api.writing import Writable
from store.errors import ServiceChangedError
from store.tail_services import ServiceRow, ServiceSettings, known_service, list_services, put_service

router = APIRouter(tags=["services"])

_ETAG_HEADERS: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"schema": {"type": "string"}, "description": "The version, in quotes."}}}
}


@router.get("/api/v1/services", operation_id="list_services", summary="Services, by name", response_model=ServicesPage)
def list_all(request: Request, given: Annotated[PageParameters, Query()], parts: Parts) -> Response:
    """Services that recorded requests, or whose objective is set."""
    limit, after = given_limit(given, parts.config), given_cursor(given)
    with parts.database.reading() as connection:
        found = list_services(connection, after or "", limit + 1)
    shown = found[:limit]
    next_cursor = cursor_of(shown[-1].service) if len(found) > limit else None
    return json_answer(request, {"services": [_entry(row) for row in shown], "next_cursor": next_cursor})


@router.get(
    "/api/v1/services/{service}/objective", operation_id="get_service_objective",
    summary="What a service has promised", response_model=ObjectiveAnswer, responses=_ETAG_HEADERS,
)  # fmt: skip
def get(service: ServiceName, request: Request, parts: Parts) -> Response:
    """Its settings; the ETag is their version, for If-Match of the next PUT."""
    with parts.database.reading() as connection:
        row = known_service(connection, service)
    return _answer(request, row)


@router.put(
    "/api/v1/services/{service}/objective", operation_id="put_service_objective",
    summary="Say what a service has promised", response_model=ObjectiveAnswer, responses=_ETAG_HEADERS,
)  # fmt: skip
def put(
    service: ServiceName, body: ObjectivePut, request: Request, parts: Parts, writable: Writable, tables: Tables
) -> Response:
    """Set all settings of a service; what is left out has its default. With If-Match, only in place of that version."""
    settings, expected = _settings(body), _expected(request)
    try:
        with writable.writing() as connection:
            row = put_service(connection, service, settings, parts.now_ns(), expected, by=who_asks(request))
    except ServiceChangedError as error:
        raise PreconditionError(str(error)) from error
    tables.forget(service)
    return _answer(request, row)


def _settings(body: ObjectivePut) -> ServiceSettings:
    given = body.model_dump()
    edges = given["class_edges_ms"]
    if given["policy"] is not None:
        given["policy"] = policy_as_stored(given["policy"])
    return ServiceSettings(**given | {"class_edges_ms": None if edges is None else tuple(edges)})


def policy_as_stored(given: object) -> dict[str, object]:
    """A posted policy with everything told that was left out.

    Raises:
        ParameterError: it is none.
    """
    from analytics.tail.policy_documents import policy_document, policy_from  # noqa: PLC0415  # brings NumPy's random

    try:
        return policy_document(policy_from(given))
    except DataError as error:
        raise ParameterError(str(error)[:1_000], parameter="policy") from error


def _expected(request: Request) -> int | None:
    """The version that If-Match names; None where any will do.

    Raises:
        PreconditionError: it names something else.
    """
    told = request.headers.get("if-match", "*").strip()
    if told == "*":
        return None
    told = told.removeprefix("W/")  # compression makes our own tags weak; the version in them is exact
    number = told.removeprefix('"').removesuffix('"')
    if told != f'"{number}"' or not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise PreconditionError(f"If-Match {told[:80]!r} is no version of an objective; GET it, and send its ETag")
    return int(number)


def _answer(request: Request, row: ServiceRow) -> Response:
    body = orjson.dumps(_objective(row))
    if request.method == "PUT":
        headers = {"ETag": f'"{row.version}"', "Cache-Control": "no-store"}
        return Response(body, headers=headers, media_type="application/json")
    return versioned_answer(request, body, f'"{row.version}"')


def _objective(row: ServiceRow) -> dict[str, object]:
    one = row.settings
    settings = {name: getattr(one, name) for name in ServiceSettings.__slots__}
    said = {"version": row.version, **times_of({"changed": row.changed_ns}), "changed_by": row.changed_by}
    return {"service": row.service, **settings, **said}


def _entry(row: ServiceRow) -> dict[str, object]:
    return {
        "service": row.service,
        "synthetic": row.synthetic,
        "version": row.version,
        "percentile": row.settings.percentile,
        "target_ms": row.settings.target_ms,
        **times_of({"first": row.first_ns, "latest": row.latest_ns}),
        "href": f"/api/v1/services/{quote(row.service, safe='')}/objective",
    }
