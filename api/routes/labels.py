"""GET /api/v1/labels and the values of one: what `by` and `where` can say."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.label_text import check_labels, read_matchers
from api.list_models import LabelsPage, LabelValuesPage
from api.pagination import page_of
from api.params import LabelParameters
from api.responses import json_answer
from api.service import Parts
from store.registry import MetricRow, metric, metrics
from store.series_list import matching_series

router = APIRouter(tags=["metrics"])

_Label = Annotated[str, Path(description="Name of the label.", max_length=1_000, examples=["host"])]


@router.get("/api/v1/labels", operation_id="list_labels", summary="Labels, by name", response_model=LabelsPage)
def list_labels(request: Request, given: Annotated[LabelParameters, Query()], service: Parts) -> Response:
    """Labels of one metric, or of all, and how many values each has in the series that `where` means."""
    where = read_matchers(given.where, service.config.max_labels)
    with service.database.reading() as connection:
        rows, known = _asked(connection, given.metric)
        check_labels(_whose(given.metric), known, where=where)
        values: defaultdict[str, set[str]] = defaultdict(set)
        for series in matching_series(connection, sorted({row.query_id for row in rows}), where):
            for label, value in series.labels.items():
                values[label].add(value)
    page, next_cursor = page_of(known, str, given, service.config)
    labels = [{"label": label, "values": len(values[label])} for label in page]
    return json_answer(request, {"labels": labels, "next_cursor": next_cursor})


@router.get(
    "/api/v1/labels/{label}/values",
    operation_id="list_label_values",
    summary="Values of a label",
    response_model=LabelValuesPage,
)
def list_label_values(
    request: Request, label: _Label, given: Annotated[LabelParameters, Query()], service: Parts
) -> Response:
    """Every value that the label has in series of one metric, or of all, that `where` means; by code point."""
    where = read_matchers(given.where, service.config.max_labels)
    with service.database.reading() as connection:
        rows, known = _asked(connection, given.metric)
        check_labels(_whose(given.metric), known, by=[label], where=where, by_parameter="label")
        query_ids = sorted({row.query_id for row in rows if label in row.labels})
        found = {
            series.labels[label] for series in matching_series(connection, query_ids, where) if label in series.labels
        }
    page, next_cursor = page_of(sorted(found), str, given, service.config)
    return json_answer(request, {"label": label, "values": page, "next_cursor": next_cursor})


def _asked(connection: sa.Connection, name: str | None) -> tuple[Sequence[MetricRow], list[str]]:
    """The metrics meant, and their labels by name."""
    rows = metrics(connection) if name is None else [metric(connection, name)]
    return rows, sorted({label for row in rows for label in row.labels})


def _whose(name: str | None) -> str:
    return "label" if name is None else f"label of {name}"
