"""GET /api/v1/metrics: what can be asked for."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import route_of
from api.list_models import MetricsPage
from api.pagination import page_of
from api.params import MetricsParameters
from api.responses import json_answer
from api.service import Parts
from store.registry import MetricRow, metrics

router = APIRouter(tags=["metrics"])


@router.get("/api/v1/metrics", operation_id="list_metrics", summary="Metrics, by name", response_model=MetricsPage)
def list_metrics(request: Request, given: Annotated[MetricsParameters, Query()], service: Parts) -> Response:
    """Every metric with its query, unit, labels and window, and where to ask for it."""
    with service.database.reading() as connection:
        known = [
            row
            for row in metrics(connection)
            if row.name.startswith(given.prefix or "") and given.query in (None, row.query)
        ]
    page, next_cursor = page_of(known, lambda row: row.name, given, service.config)
    return json_answer(request, {"metrics": [_entry(row) for row in page], "next_cursor": next_cursor})


def _entry(row: MetricRow) -> dict[str, object]:
    return {
        "name": row.name,
        "query": row.query,
        "function": row.function,
        "unit": row.unit,
        "labels": list(row.labels),
        "window_ns": row.window_ns,
        "scale": row.scale if row.function == "sketch" else None,
        "href": f"{route_of(row.function)}?metric={row.name}",
    }
