"""GET /api/v1/quantiles: what is p99, where, since when, and how sure are you.

Where does p99 come from: here -> store/windows.py: merged() -> quantiles/sketch_column.py: quantiles().
"""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answer_models import QuantilesAnswer
from api.answers import CSV_COVERAGE, RangeAnswer, answer_range, csv_coverage
from api.csv_answers import CSV_RESPONSE, csv_answer, read_format
from api.params import QuantileParameters, read_levels
from api.question_route import QuestionRoute
from api.responses import json_answer, numbers
from api.service import Parts
from api.sketch_groups import side_by_side, summaries

router = APIRouter(tags=["quantiles"], route_class=QuestionRoute)

COLUMNS = ("start", "end", "q", "value", "error_bound", "count", "nan_count", "min", "max", "mean", *CSV_COVERAGE)


@router.get(
    "/api/v1/quantiles",
    operation_id="get_quantiles",
    summary="Quantiles of merged sketches",
    response_model=QuantilesAnswer,
    responses=CSV_RESPONSE,
)
def get_quantiles(request: Request, given: Annotated[QuantileParameters, Query()], service: Parts) -> Response:
    """Quantiles by group and step, from the merged sketches of all agents, never from other quantiles.

    Each value is the one at the nearest rank, within `error_bound`; `coverage` says how complete the data is.
    A range without data is a 200 with no groups. CSV has one row per group, step and level.
    """
    wanted = read_format(request, given.format)
    levels = read_levels(given.q, service.config)
    found = answer_range(service, given, {"sketch"})
    version = found.merged.newest_version
    if wanted == "csv":
        return csv_answer(request, found.question.by, COLUMNS, _rows(_groups(found, levels)), version)
    body = found.body(
        ("quantiles", *levels),
        lambda: {**found.head(), "rule": "nearest-rank", "groups": _groups(found, levels)},
    )
    return json_answer(request, body, version)


def _rows(groups: list[dict[str, Any]]) -> Iterator[list[object]]:
    for group in groups:
        labels, span = group["labels"].values(), (group["start"], group["end"])
        whole = [group[name] for name in COLUMNS[4 : -len(CSV_COVERAGE)]]
        for one in group["values"]:
            yield [*labels, *span, one["q"], one["value"], *whole, *csv_coverage(group["coverage"])]


def _groups(found: RangeAnswer, levels: list[float]) -> list[dict[str, Any]]:
    column = side_by_side(found)
    return [
        {
            **found.group_head(group),
            "values": [{"q": q, "value": value} for q, value in zip(levels, numbers(row), strict=True)],
            **summary,
            "coverage": found.coverage_over(group.start_ns, group.end_ns),
        }
        for group, row, summary in zip(
            found.merged.groups, column.quantiles(levels).tolist(), summaries(column), strict=True
        )
    ]
