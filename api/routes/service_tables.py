"""Tables of targets of a service: drafted, put in use, taken back; and what its servers are told of the active one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.degree_tables import Tables
from api.drive_lookup import who_asks
from api.errors import ConflictError, ParameterError
from api.gpu_answers import times_of
from api.pagination import cursor_of, given_limit, given_number
from api.params import PageParameters
from api.responses import json_answer, live_answer, versioned_answer
from api.routes.service_objectives import policy_as_stored
from api.service import Parts
from api.service_lookup import ServiceName
from api.service_models import (
    ActivateTablePost,
    DegreeTable,
    RollBackPost,
    TableRolledBack,
    TargetTableEntry,
    TargetTablePost,
    TargetTablesPage,
)
from api.words import whole
from api.writing import Writable
from store.tail_profiles import active_profile
from store.tail_services import known_service
from store.tail_targets import (
    Expected,
    TargetTableRow,
    activate_table,
    active_table,
    draft_table,
    get_table,
    list_tables,
    roll_back_table,
    table_changes,
)

router = APIRouter(tags=["services"])

TableVersion = Annotated[str, Path(description="Of the table, from 1.", max_length=20, examples=["3"])]
_CHANGES_SHOWN = 100


@router.get(
    "/api/v1/services/{service}/degree-table", operation_id="get_degree_table",
    summary="What servers choose degrees by", response_model=DegreeTable,
)  # fmt: skip
def degree_table(service: ServiceName, request: Request, parts: Parts, tables: Tables) -> Response:
    """The active table of targets and the speed-ups. Send the ETag back as If-None-Match: an empty 304 is "as before".

    Where none is active, it is a 404 of the type no-active-table; whoever gets anything else keeps the last good one.
    """
    table = tables.of(service, parts.database)
    return versioned_answer(request, table.body, table.etag)


@router.get(
    "/api/v1/services/{service}/target-tables", operation_id="list_target_tables",
    summary="Tables of targets", response_model=TargetTablesPage,
)  # fmt: skip
def list_all(
    service: ServiceName, request: Request, given: Annotated[PageParameters, Query()], parts: Parts
) -> Response:
    """Drafts, the active one, and those that were; the newest first. And who changed what, when and why."""
    limit, before = given_limit(given, parts.config), given_number(given)
    with parts.database.reading() as connection:
        known_service(connection, service)
        active = active_table(connection, service)
        found = list_tables(connection, service, before, limit + 1)
        changes = table_changes(connection, service, _CHANGES_SHOWN)
    shown = found[:limit]
    content = {
        "active": None if active is None else active.version,
        "tables": [_entry(row) for row in shown],
        "changes": [
            {
                "version": one.version,
                "state": one.state,
                **times_of({"changed": one.changed_ns}),
                "changed_by": one.changed_by,
                "note": one.note,
            }
            for one in changes
        ],
        "next_cursor": cursor_of(str(shown[-1].version)) if len(found) > limit else None,
    }
    return json_answer(request, content)


@router.get(
    "/api/v1/services/{service}/target-tables/{version}", operation_id="get_target_table",
    summary="One table of targets", response_model=TargetTableEntry,
)  # fmt: skip
def get(service: ServiceName, version: TableVersion, request: Request, parts: Parts) -> Response:
    """Its policy, its state, and what speaks for it."""
    number = _number(version)
    with parts.database.reading() as connection:
        known_service(connection, service)
        row = get_table(connection, service, number)
    return json_answer(request, _entry(row))


@router.post(
    "/api/v1/services/{service}/target-tables", operation_id="draft_target_table", summary="Draft a table of targets",
    response_model=TargetTableEntry, status_code=201,
)  # fmt: skip
def draft(service: ServiceName, body: TargetTablePost, request: Request, parts: Parts, writable: Writable) -> Response:
    """Keep a table as a draft; no server is told of it."""
    policy = policy_as_stored(body.policy)
    if policy["kind"] != "tpc":
        raise ParameterError(
            f"policy.kind is {policy['kind']!r}; a table of targets is of kind tpc", parameter="policy"
        )
    with writable.writing() as connection:
        row = draft_table(
            connection, service, policy, parts.now_ns(), by=who_asks(request), note=body.note,
            evidence=body.evidence, max_degree=body.max_degree,
        )  # fmt: skip
    answer = live_answer(_entry(row))
    answer.status_code = 201
    answer.headers["Location"] = f"{request.url.path}/{row.version}"
    return answer


@router.post(
    "/api/v1/services/{service}/target-tables/{version}/activate", operation_id="activate_target_table",
    summary="Have servers use a table", response_model=TargetTableEntry,
)  # fmt: skip
def activate(
    service: ServiceName,
    version: TableVersion,
    body: ActivateTablePost,
    request: Request,
    parts: Parts,
    writable: Writable,
    tables: Tables,
) -> Response:
    """Servers are told of this one from now on; the one before retires. 409: another one is active than expected."""
    number = _number(version)
    with writable.writing() as connection:
        row = activate_table(
            connection, service, number, parts.now_ns(),
            by=who_asks(request), note=body.note, expected=Expected(body.expected_active),
        )  # fmt: skip
        if active_profile(connection, service) is None:
            raise ConflictError(
                f"nothing was learned of the speed-ups of {service!r} yet, without which no server can use a table of "
                "targets; learn them first, with POST to the service's speedup-profile/learn"
            )
    tables.forget(service)
    return live_answer(_entry(row))


@router.post(
    "/api/v1/services/{service}/target-tables/{version}/roll-back", operation_id="roll_back_target_table",
    summary="Take a table back", response_model=TableRolledBack,
)  # fmt: skip
def roll_back(
    service: ServiceName,
    version: TableVersion,
    body: RollBackPost,
    request: Request,
    parts: Parts,
    writable: Writable,
    tables: Tables,
) -> Response:
    """The table that was active before this one is active again; none, where there was none."""
    number = _number(version)
    with writable.writing() as connection:
        now_active = roll_back_table(connection, service, number, parts.now_ns(), by=who_asks(request), note=body.note)
    tables.forget(service)
    return live_answer({"rolled_back": number, "active": None if now_active is None else _entry(now_active)})


def _number(version: str) -> int:
    number = whole(version, "version", 1, 2**31 - 1)
    assert number is not None
    return number


def _entry(row: TargetTableRow) -> dict[str, object]:
    return {
        "version": row.version,
        "state": row.state,
        "follows": row.follows,
        "max_degree": row.max_degree,
        **times_of({"created": row.created_ns}),
        "created_by": row.created_by,
        **times_of({"changed": row.changed_ns}),
        "changed_by": row.changed_by,
        "note": row.note,
        "policy": row.document,
        "evidence": row.evidence,
    }
