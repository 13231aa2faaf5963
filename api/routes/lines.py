"""GET /api/v1/lines: the texts that first_lines and last_lines keep."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answer_models import LinesAnswer
from api.answers import CSV_COVERAGE, RangeAnswer, answer_range, csv_coverage
from api.config import ApiConfig
from api.csv_answers import CSV_RESPONSE, csv_answer, guarded, read_format
from api.errors import LimitError, ParameterError
from api.params import LinesParameters
from api.question_route import QuestionRoute
from api.responses import json_answer
from api.service import Parts
from api.times import rfc_3339
from pipeline.plan import LINE_FUNCTIONS
from pipeline.states import KeptLine, LinesState
from store.windows import Group

router = APIRouter(tags=["lines"], route_class=QuestionRoute)

COLUMNS = ("start", "end", "time", "place", "text", "lines_seen", "bytes_seen", *CSV_COVERAGE)
# Groups of lines are many times as large as others, and are merged before it is known how large.
MOST_GROUPS = 2_000
# What a line takes in an answer beside its text.
_LINE_BYTES = 64


@router.get(
    "/api/v1/lines",
    operation_id="get_lines",
    summary="First or last lines of logs",
    response_model=LinesAnswer,
    responses=CSV_RESPONSE,
)
def get_lines(request: Request, given: Annotated[LinesParameters, Query()], service: Parts) -> Response:
    """Kept lines by group and step, oldest first, and how many there were in all.

    CSV has one row per group, step and line.
    """
    wanted = read_format(request, given.format)
    if given.max_lines is not None and given.max_lines < 1:
        raise ParameterError(
            f"max_lines={str(given.max_lines)[:60]} is below 1; ask for 1 or more", parameter="max_lines"
        )
    found = answer_range(service, given, LINE_FUNCTIONS, MOST_GROUPS)
    states = _picked(found, given.max_lines, service.config)
    version = found.merged.newest_version
    if wanted == "csv":
        return csv_answer(request, found.question.by, COLUMNS, _rows(found, states), version)

    def answer() -> dict[str, object]:
        groups = zip(found.merged.groups, _lines_of(states), strict=True)
        return {**found.head(), "groups": [_shown(found, states, group, lines) for group, lines in groups]}

    return json_answer(request, found.body(("lines", given.max_lines), answer), version)


def _picked(found: RangeAnswer, max_lines: int | None, config: ApiConfig) -> LinesState | None:
    """The answer's states with at most so many lines each; None where there are none.

    Raises:
        LimitError: together they are too large for one answer.
    """
    states = found.merged.states
    if states is None:
        return None
    assert isinstance(states, LinesState)  # by answer_range
    if max_lines is not None:
        states = states.at_most(max_lines)
    size = int(states.lengths.sum()) + _LINE_BYTES * states.lengths.size
    if size > config.max_text_bytes:
        raise LimitError(
            f"the answer has {states.lengths.size} lines in {len(states)} groups, {size} bytes, at most "
            f"{config.max_text_bytes} are sent at once; ask for fewer groups with where or by, for fewer lines with "
            "max_lines, or for a shorter range",
            parameter="max_lines",
            limit=config.max_text_bytes,
        )
    return states


def _lines_of(states: LinesState | None) -> Iterator[list[KeptLine]]:
    return iter(()) if states is None else states.each()


def _shown(found: RangeAnswer, states: LinesState | None, group: Group, lines: list[KeptLine]) -> dict[str, object]:
    assert states is not None  # there is a group
    seen, seen_bytes = states.seen(group.place)
    return {
        **found.group_head(group),
        "lines": [
            {"time": rfc_3339(line.ts_ns), "time_ns": line.ts_ns, "place": line.place, "text": line.text}
            for line in lines
        ],
        "lines_seen": seen,
        "bytes_seen": seen_bytes,
        "all_kept": len(lines) == seen,
        "coverage": found.coverage_over(group.start_ns, group.end_ns),
    }


def _rows(found: RangeAnswer, states: LinesState | None) -> Iterator[list[object]]:
    for group, lines in zip(found.merged.groups, _lines_of(states), strict=True):
        assert states is not None  # there is a group
        head = [*group.labels.values(), rfc_3339(group.start_ns), rfc_3339(group.end_ns)]
        tail = [*states.seen(group.place), *csv_coverage(found.coverage_over(group.start_ns, group.end_ns))]
        for line in lines:
            yield [*head, rfc_3339(line.ts_ns), line.place, guarded(line.text), *tail]
