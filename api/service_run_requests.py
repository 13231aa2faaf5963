"""Posted questions that take long, checked as far as that is quick, as the collectors' job takes them.

What is refused here would be refused by the job minutes later: policies that are none, more threads than a request may
have, stretches in which nothing was recorded, settings that nobody told. Times become whole minutes, so that who asks
the same twice within a minute asks one question.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from analytics.errors import DataError
from analytics.tail.policies import Policy, Server
from analytics.tail.policy_documents import policy_document, policy_from, policy_of_text
from api.errors import ConflictError, ParameterError, UnknownNameError
from api.service_promises import nothing_there, promised_target, server_of
from api.service_run_models import LearnPost, SearchPost, StretchPost, WhatIfPost
from api.service_tail_params import read_minutes_stretch
from store.errors import TargetTableError
from store.tail_batches import read_columns
from store.tail_services import ServiceRow, known_service
from store.tail_tables import NAME_MAX
from store.tail_targets import get_table
from store.texts import is_storable

_SERVER_FIELDS: Final = ("threads", "workers", "max_degree")

RunRequest: TypeAlias = Mapping[str, Any]


def what_if_request(connection: sa.Connection, service: str, body: WhatIfPost, now_ns: int) -> RunRequest:
    """The question of a what-if.

    Raises:
        ParameterError, ConflictError, UnknownNameError: it cannot be answered; says what to change.
        store.errors.UnknownServiceError: nobody has heard of the service.
    """
    row = known_service(connection, service)
    promised_target(row)
    server = _candidate_server(server_of(row), body)
    policy, most = _candidate(connection, row, body)
    degree = getattr(policy, "degree", 1)
    if degree > server.max_degree:
        raise ParameterError(
            f"candidate runs requests on {degree} threads, and max_degree is {server.max_degree}; ask for fewer, or "
            "say max_degree, too",
            parameter="candidate",
        )
    return {
        **_stretch(connection, row, body, now_ns),
        "candidate": policy_document(policy),
        "table_version": body.table_version,
        "load_multiplier": body.load_multiplier,
        "fan_out": row.settings.fan_out if body.fan_out is None else body.fan_out,
        **{name: getattr(body, name) for name in _SERVER_FIELDS},
        "table_max_degree": most,
        "predictor": None if body.predictor is None else body.predictor.model_dump(),
    }


def search_request(connection: sa.Connection, service: str, body: SearchPost, now_ns: int) -> RunRequest:
    """The question of a search; raises as `what_if_request`."""
    row = known_service(connection, service)
    promised_target(row)
    server_of(row)
    rest = body.model_dump(exclude={"start", "end", "instance"})
    return {**_stretch(connection, row, body, now_ns), **rest}


def learn_request(connection: sa.Connection, service: str, body: LearnPost, now_ns: int) -> RunRequest:
    """The question of learning anew; raises as `what_if_request`."""
    row = known_service(connection, service)
    server_of(row)
    edges = body.class_edges_ms
    if edges is not None and not all(a < b for a, b in zip((0.0, *edges), edges, strict=False)):
        raise ParameterError(
            f"class_edges_ms={edges!r} do not rise from above 0; want times such as [15, 62]",
            parameter="class_edges_ms",
        )
    return {**_stretch(connection, row, body, now_ns), "class_edges_ms": edges}


def _stretch(connection: sa.Connection, row: ServiceRow, body: StretchPost, now_ns: int) -> dict[str, Any]:
    start_ns, end_ns = read_minutes_stretch(body.start, body.end, now_ns)
    if not _recorded(connection, row.service, start_ns, end_ns):
        raise ConflictError(nothing_there(row, start_ns, end_ns, "recorded requests").detail)
    if body.instance is not None and not (
        is_storable(body.instance, NAME_MAX) and _recorded(connection, row.service, start_ns, end_ns, body.instance)
    ):
        raise UnknownNameError(
            f"instance {body.instance[:200]!r} of service {row.service[:200]!r} recorded nothing in this stretch; "
            "leave instance out for those of all",
            parameter="instance",
        )
    return {"start_ns": start_ns, "end_ns": end_ns, "instance": body.instance}


def _recorded(connection: sa.Connection, service: str, start_ns: int, end_ns: int, instance: str | None = None) -> bool:
    return read_columns(connection, service, start_ns, end_ns, 1, instance=instance).requests_seen > 0


def _candidate(connection: sa.Connection, row: ServiceRow, body: WhatIfPost) -> tuple[Policy, int | None]:
    """The policy in question; and with how many threads of a request servers would run it, where its table says.

    Raises:
        ParameterError: none, two, or one that is no policy. UnknownNameError: no such table.
    """
    if (body.candidate is None) == (body.table_version is None):
        raise ParameterError(
            'want exactly one of candidate (a policy, such as {"kind": "fixed", "degree": 3}) and table_version',
            parameter="candidate",
        )
    try:
        if isinstance(body.candidate, str):
            return policy_of_text(body.candidate), None
        if body.candidate is not None:
            return policy_from(body.candidate), None
        table = get_table(connection, row.service, body.table_version or 0)
        return policy_from(table.document), table.max_degree
    except DataError as error:
        raise ParameterError(str(error)[:1_000], parameter="candidate") from error
    except TargetTableError as error:
        raise UnknownNameError(str(error)[:1_000], parameter="table_version") from error


def _candidate_server(server: Server, body: WhatIfPost) -> Server:
    told = {name: value for name in _SERVER_FIELDS if (value := getattr(body, name)) is not None}
    changed = replace(server, **told)
    if changed.max_degree > changed.workers:
        raise ParameterError(
            f"max_degree={changed.max_degree} is more than the {changed.workers} workers there would be; want at most "
            "as many",
            parameter="max_degree",
        )
    return changed
