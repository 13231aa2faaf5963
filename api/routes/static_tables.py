"""/api/v1/tables: static tables that queries join, kept by content.

A query takes the content that is current when it is posted and keeps it: uploading another one changes no query until
it is posted again.
"""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.errors import UnknownNameError
from api.pagination import page_of
from api.params import PageParameters
from api.problems import nearest_name
from api.query_models import TableEntry, TablesPage
from api.responses import JSON, bytes_answer, json_answer
from api.service import Parts
from api.times import rfc_3339
from api.uploaded_table import read_upload, uploaded
from api.writing import Writable
from store.static_tables import TableRow, list_tables, put_table, stored_bytes

router = APIRouter(tags=["queries"])

PARQUET = "application/vnd.apache.parquet"
# What a hash names never changes.
_FOR_GOOD = "private, max-age=31536000, immutable"
_BODY = {
    "required": True,
    "content": {
        "text/csv": {"schema": {"type": "string"}},
        "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
    },
}


class UploadParameters(BaseModel):
    """How an upload is to be read."""

    model_config = ConfigDict(extra="forbid")

    types: str | None = Field(
        default=None,
        max_length=10_000,
        description="column:type,... (int64, float64, string, bool) where values would suggest another type.",
        examples=["zip:string"],
    )


@router.put(
    "/api/v1/tables/{name}",
    operation_id="put_table",
    summary="Upload a static table",
    response_model=TableEntry,
    status_code=201,
    responses={200: {"model": TableEntry, "description": "This content was here already; it is the current one now."}},
    openapi_extra={"requestBody": _BODY},
)
def put(
    name: str,
    given: Annotated[UploadParameters, Query()],
    data: Annotated[bytes, Depends(uploaded)],
    service: Parts,
    writable: Writable,
) -> Response:
    """CSV with a header line, or a JSON array of objects. Queries posted from now on join this content."""
    table = read_upload(name, data, given.types)
    with writable.writing() as connection:
        new = put_table(connection, table, service.now_ns())
        row = next(row for row in list_tables(connection) if (row.name, row.content_hash) == (name, table.content_hash))
    headers = {"Cache-Control": "no-store", "Location": _href(row)}
    return Response(orjson.dumps(_entry(row)), 201 if new else 200, headers=headers, media_type=JSON)


@router.get("/api/v1/tables", operation_id="list_tables", summary="Static tables, by name", response_model=TablesPage)
def list_all(request: Request, given: Annotated[PageParameters, Query()], service: Parts) -> Response:
    """Every content of every uploaded table."""
    with service.database.reading() as connection:
        known = list_tables(connection)
    known.sort(key=_place)
    page, next_cursor = page_of(known, _place, given, service.config)
    return json_answer(request, {"tables": [_entry(row) for row in page], "next_cursor": next_cursor})


@router.get(
    "/api/v1/tables/{name}/{content_hash}",
    operation_id="get_table",
    summary="One content of a static table",
    response_class=Response,
    responses={200: {"content": {PARQUET: {}}, "description": "The rows, as Parquet."}},
)
def get(request: Request, name: str, content_hash: str, service: Parts) -> Response:
    """The rows, as Parquet. What a hash names never changes, so it may be cached for good."""
    with service.database.reading() as connection:
        known = {(row.name, row.content_hash) for row in list_tables(connection)}
        # Asked for only if it is known: what else a path may hold is not for the database.
        data = stored_bytes(connection, name, content_hash) if (name, content_hash) in known else None
    if data is None:
        nearest = nearest_name(f"{name}/{content_hash}", [f"{table}/{one}" for table, one in known])
        raise UnknownNameError(
            f"no table {name[:60]!r} with content {content_hash[:64]!r}; GET /api/v1/tables lists them", nearest=nearest
        )
    return bytes_answer(request, data, PARQUET, _FOR_GOOD)


def _place(row: TableRow) -> str:
    """By name, the newest content of each first; unique, as cursors need it."""
    return f"{row.name}\x1f{2**63 - row.uploaded_ns:020d}\x1f{row.content_hash}"


def _entry(row: TableRow) -> dict[str, object]:
    return {
        "name": row.name,
        "content_hash": row.content_hash,
        "current": row.current,
        "rows": row.rows,
        "columns": row.columns,
        "size_bytes": row.size_bytes,
        "uploaded": rfc_3339(row.uploaded_ns),
        "href": _href(row),
    }


def _href(row: TableRow) -> str:
    return f"/api/v1/tables/{row.name}/{row.content_hash}"
