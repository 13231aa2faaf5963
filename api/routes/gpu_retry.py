"""Whether to run a failed job again: advice about jobs that are stored or posted, and the models that it comes from."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.errors import DataError
from analytics.gpu.advice_document import advice_document
from analytics.gpu.retry_advice import Limits, advise
from analytics.gpu.retry_features import failed
from analytics.gpu.retry_outcomes import chains
from analytics.gpu.signatures import Reaction
from api.drive_lookup import who_asks
from api.errors import ConflictError, ParameterError, UnknownNameError
from api.gpu_advising import Advising, advice_for, chain_of
from api.gpu_answers import advice_body, model_entry, times_of
from api.gpu_models import ActivatePost, AdviceAnswer, AdviceList, AdvicePost, RetryModelEntry, RetryModels
from api.gpu_params import AdviceParameters
from api.gpu_reports import read_chain
from api.responses import json_answer, live_answer
from api.routes.gpu_failures import unknown_job
from api.service import Parts
from api.words import flag, whole
from api.writing import Writable
from store.errors import RetryModelError
from store.gpu_advice import advice_of
from store.gpu_attempts import AttemptRow, attempts_of
from store.gpu_failures import FailureRow, failures_of
from store.gpu_models import model_list, roll_back

router = APIRouter(tags=["gpu"])

_NO_MODEL = "nothing was learned yet: advice comes from the priors of each reason"
_REACTIONS: dict[str, Reaction] = {
    "never": "never", "same": "same", "other_node": "other_node", "more_mem": "more_mem", "backoff": "backoff"
}  # fmt: skip


@router.get(
    "/api/v1/gpu/retry-advice", operation_id="get_gpu_retry_advice", summary="Whether to run a failed job again",
    response_model=AdviceAnswer,
)  # fmt: skip
def advice(request: Request, given: Annotated[AdviceParameters, Query()], service: Parts, models: Advising) -> Response:
    """As it was advised when the failure was found; computed now where it was not, or where that is asked for."""
    number, fresh = whole(given.number, "number", 1, 2**31 - 1), flag(given.fresh, "fresh")
    now_ns = service.now_ns()
    with service.database.reading() as connection:
        attempts = attempts_of(connection, [given.job]).get(given.job, [])
        failures = failures_of(connection, given.job)
        number = _meant(given.job, number, attempts, failures)
        kept = None if fresh else advice_of(connection, given.job, number)
        body = None if kept is None else advice_body(kept)
        if kept is not None and body is not None:
            about = {**times_of({"given": kept.given_ns}), "stored": True, "model_generation": kept.model_generation}
            return json_answer(request, {"advice": body, **about})
        active = models.now(connection)
    rule = next((row.retry for row in failures if row.number == number), None)
    chain = chain_of(attempts, failures, number)
    said = advice_for(chain, number, active, Limits(), _REACTIONS.get(rule or ""))
    if isinstance(said, str):
        raise ConflictError(said)
    about = {**times_of({"given": now_ns}), "stored": False, "model_generation": active.generation}
    return live_answer({"advice": said, **about})


@router.post(
    "/api/v1/gpu/retry-advice", operation_id="advise_gpu_attempts", summary="Whether to run these jobs again",
    response_model=AdviceList,
)  # fmt: skip
def advise_posted(body: AdvicePost, service: Parts, models: Advising) -> Response:
    """Advice about attempts that are posted with what is known of them; nothing is kept, and nothing learned."""
    limits = Limits(
        attempts=body.limits.attempts,
        gpu_hours=body.limits.gpu_hours,
        handback_h=body.limits.handback_h,
        explore=body.limits.explore,
    )
    try:
        jobs = chains(read_chain(body.attempts, service.now_ns()))
    except DataError as error:
        raise ParameterError(str(error)[:500], parameter="attempts") from error
    with service.database.reading() as connection:
        model = models.now(connection).model
    advice = [advise(chain, model, limits) for chain in jobs.values() if failed(chain[-1])]
    return live_answer(advice_document(model, len(jobs), advice))


@router.get(
    "/api/v1/gpu/retry-models", operation_id="list_gpu_retry_models", summary="What retry advice has learned",
    response_model=RetryModels,
)  # fmt: skip
def list_models(request: Request, service: Parts) -> Response:
    """States of the model that are kept, the newest first; one is active."""
    with service.database.reading() as connection:
        rows = model_list(connection)
    why_not = "" if any(row.active for row in rows) else _NO_MODEL
    return json_answer(request, {"models": [model_entry(row) for row in rows], "why_no_model": why_not})


@router.post(
    "/api/v1/gpu/retry-models/{generation}/activate", operation_id="activate_gpu_retry_model",
    summary="Go back to an earlier state", response_model=RetryModelEntry,
)  # fmt: skip
def activate(generation: str, body: ActivatePost, request: Request, service: Parts, writable: Writable) -> Response:
    """Have advice come from this state from now on, and what is learned next follow it."""
    number = whole(generation, "generation", 0, 2**31 - 1) or 0
    note = f"{who_asks(request)}: {body.note}" if body.note else f"{who_asks(request)} went back to it"
    with writable.writing() as connection:
        try:
            row = roll_back(connection, number, service.now_ns(), note)
        except RetryModelError as error:
            raise UnknownNameError(str(error), parameter="generation") from error
    return live_answer(model_entry(row))


def _meant(job: str, number: int | None, attempts: Sequence[AttemptRow], failures: Sequence[FailureRow]) -> int:
    """Which attempt is asked about.

    Raises:
        UnknownNameError: the job or the attempt is not known.
    """
    known = sorted({row.number for row in attempts} | {row.number for row in failures})
    if not known:
        raise unknown_job(job)
    if number is None:
        return known[-1]
    if number not in known:
        raise UnknownNameError(
            f"job {job[:200]!r} has no attempt {number}; known are {', '.join(map(str, known[:20]))}",
            parameter="number",
        )
    return number
