"""GET /api/v1/quantiles: what is p99, where, since when, and how sure are you.

Where does p99 come from: here -> store/windows.py: merged() -> quantiles/sketch_column.py: quantiles().
"""

from typing import Annotated, cast

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import RangeAnswer, answer_range
from api.models import QuantilesAnswer
from api.params import QuantileParameters, read_levels
from api.responses import json_answer, number, numbers
from api.service import Parts
from pipeline.states import SketchState
from quantiles.sketch_column import SketchColumn

router = APIRouter(tags=["quantiles"])


@router.get(
    "/api/v1/quantiles",
    operation_id="get_quantiles",
    summary="Quantiles of merged sketches",
    response_model=QuantilesAnswer,
)
def get_quantiles(request: Request, given: Annotated[QuantileParameters, Query()], service: Parts) -> Response:
    """Quantiles by group and step, from the merged sketches of all agents, never from other quantiles.

    Each value is the one at the nearest rank, within `error_bound`; `coverage` says how complete the data is.
    A range without data is a 200 with no groups.
    """
    levels = read_levels(given.q, service.config)
    found = answer_range(service, given, {"sketch"}, other="values")
    content = {**found.head(), "rule": "nearest-rank", "groups": _groups(found, levels)}
    return json_answer(request, content, found.merged.newest_version)


def _groups(found: RangeAnswer, levels: list[float]) -> list[dict[str, object]]:
    """All groups; their sketches are laid side by side so that quantiles are computed in one call."""
    groups = found.merged.groups
    if not groups:
        return []
    column = SketchColumn.concat([cast(SketchState, group.state).column for group in groups])
    sums = column.sums.values()
    return [
        {
            **found.group_head(group),
            "values": [{"q": q, "value": value} for q, value in zip(levels, numbers(row), strict=True)],
            "error_bound": column.error_bound,
            "count": count,
            "nan_count": nan_count,
            "min": number(low),
            "max": number(high),
            "mean": number(total / count) if count else None,
            "coverage": found.coverage_over(group.start_ns, group.end_ns),
        }
        for group, row, count, nan_count, low, high, total in zip(
            groups,
            column.quantiles(levels).tolist(),
            column.totals().tolist(),
            column.nan_counts.tolist(),
            column.minima.tolist(),
            column.maxima.tolist(),
            sums if isinstance(sums, list) else sums.tolist(),
            strict=True,
        )
    ]
