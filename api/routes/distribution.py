"""GET /api/v1/distribution: all buckets of merged sketches, and the share of values at or below given ones."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answer_models import DistributionAnswer
from api.answers import CSV_COVERAGE, RangeAnswer, answer_range, csv_coverage
from api.config import ApiConfig
from api.csv_answers import CSV_RESPONSE, csv_answer, read_format
from api.distribution import (
    BELOW_COLUMNS,
    Resolution,
    at_or_below,
    at_resolution,
    buckets_of,
    read_below,
    read_resolution,
)
from api.params import DistributionParameters
from api.question_route import QuestionRoute
from api.responses import json_answer
from api.service import Parts
from api.sketch_groups import side_by_side, summaries

router = APIRouter(tags=["quantiles"], route_class=QuestionRoute)

BUCKET_ROW = ("start", "end", "lo", "hi", "count", "total", "error_bound", *CSV_COVERAGE)
BELOW_ROW = ("start", "end", *BELOW_COLUMNS, "total", "error_bound", *CSV_COVERAGE)


@router.get(
    "/api/v1/distribution",
    operation_id="get_distribution",
    summary="Buckets of merged sketches, and shares below limits",
    response_model=DistributionAnswer,
    responses=CSV_RESPONSE,
)
def get_distribution(request: Request, given: Annotated[DistributionParameters, Query()], service: Parts) -> Response:
    """Buckets by group and step, as heat maps need them, and how many values lie at or below the limits in `below`.

    CSV has one row per group, step and bucket; with `below`, one per group, step and limit instead.
    """
    wanted = read_format(request, given.format)
    resolution = read_resolution(given.scale, given.max_buckets)
    limits = read_below(given.below, service.config)
    found = answer_range(service, given, {"sketch"})
    version = found.merged.newest_version
    if wanted == "csv":
        columns = BELOW_ROW if limits else BUCKET_ROW
        _, groups = _groups(found, resolution, limits, service.config)
        return csv_answer(request, found.question.by, columns, _rows(groups, bool(limits)), version)

    def answer() -> dict[str, object]:
        scale, groups = _groups(found, resolution, limits, service.config)
        return {**found.head(), "scale": scale, "groups": groups}

    return json_answer(request, found.body(("distribution", resolution, *limits), answer), version)


def _groups(
    found: RangeAnswer, resolution: Resolution, limits: list[float], config: ApiConfig
) -> tuple[int, list[dict[str, Any]]]:
    """(the scale of all buckets, the groups)."""
    native = side_by_side(found)
    column = at_resolution(native, resolution, config)
    parts = zip(found.merged.groups, buckets_of(column), at_or_below(native, limits), summaries(native), strict=True)
    return column.scale, [
        {
            **found.group_head(group),
            "buckets": buckets,
            "below": below,
            **summary,
            "coverage": found.coverage_over(group.start_ns, group.end_ns),
        }
        for group, buckets, below, summary in parts
    ]


def _rows(groups: list[dict[str, Any]], below: bool) -> Iterator[list[object]]:
    for group in groups:
        head = [*group["labels"].values(), group["start"], group["end"]]
        tail = [group["count"], group["error_bound"], *csv_coverage(group["coverage"])]
        for one in group["below"] if below else group["buckets"]:
            yield [*head, *(one.values() if below else one), *tail]
