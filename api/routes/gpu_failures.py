"""Which jobs failed of what, one job in full, sums over time, and nodes on which more fails than on others."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.csv_answers import CSV_RESPONSE, csv_answer, read_format
from api.errors import UnknownNameError
from api.gpu_answers import attempt_entry, failure_entry, failures_summed, job_failure, node_entry, times_of
from api.gpu_models import FailuresPage, GpuSummary, JobDetail, NodesPage
from api.gpu_params import (
    FailuresParameters,
    NodesParameters,
    SummaryParameters,
    place_cursor,
    read_failures,
)
from api.pagination import cursor_of, given_cursor, given_limit
from api.params import read_stretch
from api.responses import json_answer
from api.service import Parts
from api.words import flag
from store.gpu_advice import advice_of
from store.gpu_attempts import attempts_of
from store.gpu_failures import failure_counts, failures_of, list_failures
from store.gpu_nodes import list_nodes
from store.gpu_overview import gpu_overview

router = APIRouter(tags=["gpu"])

#: Nodes that a summary names.
_MOST_NODES = 100
_TEXTS = ("job", "user", "node", "status", "reason", "category", "guess", "retry", "action")
_FIGURES = (
    "number", "failed", "found", "confidence", "rank", "gpus", "lost_gpu_hours", "origin", "reported", "synthetic",
    "rules_version", "revision",
)  # fmt: skip
_NODE_FIGURES = ("failures", "expected", "ratio", "p_value", "q_value", "stands_out", "checked")
JobName = Annotated[
    str, Path(description="The scheduler's name of the job.", max_length=1_000, examples=["train-4711"])
]


@router.get(
    "/api/v1/gpu/failures", operation_id="list_gpu_failures", summary="Failed jobs, and why",
    response_model=FailuresPage, responses=CSV_RESPONSE,
)  # fmt: skip
def list_all(request: Request, given: Annotated[FailuresParameters, Query()], service: Parts) -> Response:
    """Attempts that failed, the newest first, each with what was found and how sure that is."""
    wanted = read_format(request, given.format)
    question, limit = read_failures(given, service.now_ns()), given_limit(given, service.config)
    with service.database.reading() as connection:
        page = list_failures(connection, question.where, limit=limit, after=question.after)
    entries, next_cursor = [failure_entry(row) for row in page.rows], place_cursor(page.after)
    if wanted == "csv":
        return _csv(request, (_TEXTS, _FIGURES), entries, next_cursor)
    return json_answer(request, {"failures": entries, "next_cursor": next_cursor})


@router.get(
    "/api/v1/gpu/jobs/{job:path}", operation_id="get_gpu_job", summary="One job: what was found, and what to do",
    response_model=JobDetail,
)  # fmt: skip
def show(request: Request, job: JobName, service: Parts) -> Response:
    """A job's attempts as they were reported, what was found of each that failed with the lines that say so, advice."""
    with service.database.reading() as connection:
        attempts = attempts_of(connection, [job]).get(job, []) if "\x00" not in job else []
        failures = failures_of(connection, job) if "\x00" not in job else []
        advice = {row.number: advice_of(connection, job, row.number) for row in failures}
    if not attempts and not failures:
        raise unknown_job(job)
    content = {
        "job": job,
        "attempts": [attempt_entry(row) for row in attempts],
        "failures": [job_failure(row, advice[row.number]) for row in failures],
    }
    return json_answer(request, content)


@router.get(
    "/api/v1/gpu/summary", operation_id="get_gpu_summary", summary="Failed jobs at a glance", response_model=GpuSummary
)
def summary(request: Request, given: Annotated[SummaryParameters, Query()], service: Parts) -> Response:
    """Failures and lost GPU hours by reason, how many no rule explains, nodes that stand out, how far the job is."""
    start_ns, end_ns = read_stretch(given.start, given.end, service.now_ns())
    with service.database.reading() as connection:
        counts = failure_counts(connection, start_ns, end_ns)
        nodes = list_nodes(connection, limit=_MOST_NODES, stands_out=True)
        known = gpu_overview(connection)
    content = {
        **times_of({"start": start_ns, "end": end_ns}),
        **failures_summed(counts),
        "nodes_standing_out": [row.node for row in nodes],
        **times_of({"nodes_checked": known.checked_ns, "last_round": known.round_ns}),
        "jobs_waiting": known.waiting,
    }
    return json_answer(request, content)


@router.get(
    "/api/v1/gpu/nodes", operation_id="list_gpu_nodes", summary="Nodes, and which fail more than the others",
    response_model=NodesPage, responses=CSV_RESPONSE,
)  # fmt: skip
def nodes(request: Request, given: Annotated[NodesParameters, Query()], service: Parts) -> Response:
    """What the newest test of all nodes says of each, by name."""
    wanted = read_format(request, given.format)
    limit, after = given_limit(given, service.config), given_cursor(given)
    stands_out = flag(given.stands_out, "stands_out")
    with service.database.reading() as connection:
        rows = list_nodes(connection, limit=limit + 1, after=after, stands_out=stands_out)
    entries = [node_entry(row) for row in rows[:limit]]
    next_cursor = cursor_of(rows[limit - 1].node) if len(rows) > limit else None
    if wanted == "csv":
        return _csv(request, (("node",), _NODE_FIGURES), entries, next_cursor)
    return json_answer(request, {"nodes": entries, "next_cursor": next_cursor})


def unknown_job(job: str) -> UnknownNameError:
    """No such job; every job that failed is listed somewhere."""
    return UnknownNameError(
        f"nothing is known of job {job[:200]!r}; GET /api/v1/gpu/failures lists jobs that failed, and POST "
        "/api/v1/gpu/attempts reports one",
        parameter="job",
    )


def _csv(
    request: Request,
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    entries: Iterable[Mapping[str, object]],
    next_cursor: str | None,
) -> Response:
    """Texts are never None: an empty field says the same."""
    texts, figures = columns

    def rows() -> Iterator[list[object]]:
        for one in entries:
            yield [
                *("" if one[name] is None else one[name] for name in texts),
                *(_spelled(one[name]) for name in figures),
            ]

    answer = csv_answer(request, texts, figures, rows(), 0)
    if next_cursor is not None:
        answer.headers["Tailwatch-Next-Cursor"] = next_cursor
    return answer


def _spelled(figure: object) -> object:
    """Flags as JSON and the parameters of this list spell them."""
    return str(figure).lower() if isinstance(figure, bool) else figure
