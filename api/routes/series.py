"""GET /api/v1/series: which label sets of a metric have data in a stretch of time."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import span
from api.label_text import check_labels, read_matchers
from api.list_models import SeriesPage
from api.pagination import page_of
from api.params import SeriesParameters, read_stretch
from api.question_route import QuestionRoute
from api.responses import json_answer
from api.service import Parts
from store.series_list import last_windows, matching_series
from store.snapshot import Snapshot

router = APIRouter(tags=["metrics"], route_class=QuestionRoute)


@router.get("/api/v1/series", operation_id="list_series", summary="Series of a metric", response_model=SeriesPage)
def list_series(request: Request, given: Annotated[SeriesParameters, Query()], service: Parts) -> Response:
    """Label sets that have data of the metric between start and end, in the order in which they were first stored."""
    where = read_matchers(given.where, service.config.max_labels)
    start_ns, end_ns = read_stretch(given.start, given.end, service.now_ns())
    with service.database.reading() as connection:
        seen = Snapshot(connection, service.reads.catalog)
        row = seen.view.metric(given.metric)
        check_labels(f"label of {row.name}", row.labels, where=where)
        last = last_windows(seen, row, start_ns, end_ns)
        found = [one for one in matching_series(connection, [row.query_id], where) if one.series_id in last]
    page, next_cursor = page_of(found, lambda one: f"{one.series_id:020d}", given, service.config)
    series = [{"labels": one.labels, **span(*last[one.series_id])} for one in page]
    return json_answer(request, {"metric": row.name, "series": series, "next_cursor": next_cursor})
