"""GET /api/v1/values: the metrics that are one number per group: count, sum, min, max, avg."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answer_models import ValuesAnswer
from api.answers import CSV_COVERAGE, RangeAnswer, answer_range, csv_coverage
from api.csv_answers import CSV_RESPONSE, csv_answer, read_format
from api.params import RangeParameters
from api.question_route import QuestionRoute
from api.responses import json_answer, number
from api.service import Parts
from api.times import rfc_3339
from pipeline.plan import NUMBER_FUNCTIONS
from pipeline.states import AvgState
from store.windows import Group

router = APIRouter(tags=["values"], route_class=QuestionRoute)

COLUMNS = ("start", "end", "value", "count", *CSV_COVERAGE)


@router.get(
    "/api/v1/values",
    operation_id="get_values",
    summary="Merged counts, sums, minima, maxima, averages",
    response_model=ValuesAnswer,
    responses=CSV_RESPONSE,
)
def get_values(request: Request, given: Annotated[RangeParameters, Query()], service: Parts) -> Response:
    """One number by group and step. Averages are merged as sum and count, so they are never averages of averages."""
    wanted = read_format(request, given.format)
    found = answer_range(service, given, NUMBER_FUNCTIONS)
    version = found.merged.newest_version
    if wanted == "csv":
        return csv_answer(request, found.question.by, COLUMNS, _rows(found), version)
    return json_answer(request, found.body("values", lambda: {**found.head(), "groups": _groups(found)}), version)


def _groups(found: RangeAnswer) -> list[dict[str, object]]:
    return [
        {
            **found.group_head(group),
            "value": None if (value := _value(group)) is None else number(value),
            "count": _count(group),
            "coverage": found.coverage_over(group.start_ns, group.end_ns),
        }
        for group in found.merged.groups
    ]


def _rows(found: RangeAnswer) -> Iterator[list[object]]:
    for group in found.merged.groups:
        value, covered = _value(group), csv_coverage(found.coverage_over(group.start_ns, group.end_ns))
        shown = number(value) if isinstance(value, float) else value
        span = rfc_3339(group.start_ns), rfc_3339(group.end_ns)
        yield [*group.labels.values(), *span, shown, _count(group), *covered]


def _value(group: Group) -> int | float | None:
    """The aggregate; None where the group's records had no value."""
    return group.state.answers()[0]


def _count(group: Group) -> int | None:
    return int(group.state.n[0]) if isinstance(group.state, AvgState) else None
