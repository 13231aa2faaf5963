"""GET /api/v1/cardinality: how many series each query has, which label makes them, and whose are refused."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.list_models import CardinalityPage
from api.pagination import page_of
from api.params import PageParameters
from api.responses import json_answer
from api.service import Parts
from api.times import rfc_3339
from store.series_limit import OTHERS, RefusedAgent, SeriesUse, label_values, series_use

router = APIRouter(tags=["fleet"])

AGENTS_SHOWN = 10


@router.get(
    "/api/v1/cardinality",
    operation_id="list_cardinality",
    summary="Series per query, by name",
    response_model=CardinalityPage,
)
def list_cardinality(request: Request, given: Annotated[PageParameters, Query()], service: Parts) -> Response:
    """Every query's series beside its limit: the labels with the most values, and the agents refused the most."""
    with service.database.reading() as connection:
        page, next_cursor = page_of(series_use(connection), lambda use: use.query, given, service.config)
        queries = [_entry(use, label_values(connection, use.query_id)) for use in page]
    return json_answer(request, {"queries": queries, "next_cursor": next_cursor})


def _entry(use: SeriesUse, labels: list[tuple[str, int]]) -> dict[str, object]:
    last_ns = max((one.last_ns for one in use.refused), default=None)
    named = [one for one in use.refused if one.agent != OTHERS]
    return {
        "query": use.query,
        "series": use.series,
        "series_max": use.series_max,
        "labels": [{"label": label, "values": values} for label, values in labels],
        "refused_records": sum(one.records for one in use.refused),
        "refused_groups": sum(one.groups for one in use.refused),
        "last_refused": None if last_ns is None else rfc_3339(last_ns),
        "last_refused_ns": last_ns,
        "refused_agents": [_refused(one) for one in named[:AGENTS_SHOWN]],
    }


def _refused(one: RefusedAgent) -> dict[str, object]:
    return {
        "agent": one.agent,
        "records": one.records,
        "groups": one.groups,
        "last_refused": rfc_3339(one.last_ns),
        "last_refused_ns": one.last_ns,
        "example": msgspec.json.decode(one.example),
    }
