"""GET /api/v1/values: the metrics that are one number per group: count, sum, min, max, avg."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import RangeAnswer, answer_range
from api.models import ValuesAnswer
from api.params import RangeParameters
from api.responses import json_answer, number
from api.service import Parts
from pipeline.states import AvgState
from store.windows import Group

router = APIRouter(tags=["values"])

FUNCTIONS = frozenset({"count", "sum", "min", "max", "avg"})


@router.get(
    "/api/v1/values",
    operation_id="get_values",
    summary="Merged counts, sums, minima, maxima, averages",
    response_model=ValuesAnswer,
)
def get_values(request: Request, given: Annotated[RangeParameters, Query()], service: Parts) -> Response:
    """One number by group and step. Averages are merged as sum and count, so they are never averages of averages."""
    found = answer_range(service, given, FUNCTIONS, other="quantiles")
    content = {**found.head(), "groups": _groups(found)}
    return json_answer(request, content, found.merged.newest_version)


def _groups(found: RangeAnswer) -> list[dict[str, object]]:
    return [
        {
            **found.group_head(group),
            "value": _value(group),
            "count": int(group.state.n[0]) if isinstance(group.state, AvgState) else None,
            "coverage": found.coverage_over(group.start_ns, group.end_ns),
        }
        for group in found.merged.groups
    ]


def _value(group: Group) -> object:
    """The aggregate as JSON has it; null where the group's records had no value."""
    value = group.state.answers()[0]
    return None if value is None else number(value)
