"""POST /api/v1/gpu/classify: why a job died, from its logs as they are uploaded; kept only where that is asked for.

The body is read while it comes, in a thread, with bounded memory (api/log_stream.py); the loop answers others then.
"""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from analytics.gpu.diagnosis import Diagnosis
from api.errors import ForbiddenError, ParameterError
from api.gpu_advising import Advising
from api.gpu_keeping import GpuJob, answer_about, stored_job
from api.gpu_models import ClassifyAnswer, ClassifyPost
from api.gpu_params import ClassifyParameters, Known, read_known
from api.json_schemas import inlined
from api.log_classifier import Classifying, LogClassifier
from api.log_stream import LogStream
from api.log_unpacking import Unpacking, too_large
from api.log_uploads import facts_about, form_of, origin_of, read_posted
from api.responses import live_answer
from api.service import Parts, Service
from api.words import flag, whole
from api.writing import Writable
from store.gpu_checks import ATTEMPTS_MAX
from store.gpu_tables import NAME_MAX

router = APIRouter(tags=["gpu"])

_CUT_OFF = "the gzip ends in the middle: what came before was read"
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "text/plain": {
            "schema": {"type": "string", "examples": ["RuntimeError: CUDA out of memory. Tried to allocate 2 GiB\n"]}
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {
            "schema": inlined(ClassifyPost),
            "example": {
                "logs": [
                    {"name": "rank0.log", "rank": 0, "text": "RuntimeError: NCCL communicator was aborted on rank 0\n"},
                    {"name": "dmesg", "source": "kernel", "node": "gpu-17", "text": "NVRM: Xid (PCI:0000:07:00): 79\n"},
                ],
                "facts": {"nodes": ["gpu-17"], "exit_code": 1, "end": "2026-11-22T06:01:03Z"},
            },
        },
    },
}


@router.post(
    "/api/v1/gpu/classify", operation_id="classify_gpu_logs", summary="Why a job died, from its logs",
    response_model=ClassifyAnswer, openapi_extra={"requestBody": _BODY},
)  # fmt: skip
async def classify(
    request: Request,
    given: Annotated[ClassifyParameters, Query()],
    service: Parts,
    classifier: Classifying,
    models: Advising,
    writable: Writable,
) -> Response:
    """The body is one log, plain or gzip, of any size up to a limit; or several of one job with what is known of it.

    Of a job whose attempts were reported, when and where it ran are taken from there, and advice is given.
    """
    keeping = flag(given.keep, "keep") or False
    _check_scope(request, "ingest" if keeping else "read")
    if keeping and not given.job:
        raise ParameterError("keep=true needs job: a failure is kept under the name of its job", parameter="job")
    if keeping and given.job and len(given.job) > NAME_MAX:
        raise ParameterError(f"job has {len(given.job)} characters; want at most {NAME_MAX}", parameter="job")
    number = whole(given.number, "number", 1, ATTEMPTS_MAX)
    job = await run_in_threadpool(stored_job, service.database, given.job, number)
    found, known = await _diagnosed(request, given, job, classifier, service)
    kept_in = writable if keeping else None
    rules = classifier.rules if keeping else ""
    content = await run_in_threadpool(
        answer_about, found, job, models, service.database, kept_in, rules, service.now_ns(),
        did_not_fail=known.failed is False,
    )  # fmt: skip
    return live_answer(content)


async def _diagnosed(
    request: Request, given: ClassifyParameters, job: GpuJob, classifier: LogClassifier, service: Service
) -> tuple[Diagnosis, Known]:
    form, now_ns, stream = form_of(request), service.now_ns(), LogStream(request)
    if form.json:
        posted = await read_posted(stream, form, given, service.config.max_body_bytes, now_ns)
        facts = facts_about(posted.known, job.told, posted)
        return await classifier.read(stream, lambda: classifier.diagnose(posted.logs, facts)), posted.known
    known = read_known(given, now_ns)
    facts, origin = facts_about(known, job.told), origin_of(given)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:18]) > classifier.max_log_bytes:
        raise too_large(classifier.max_log_bytes)
    unpacking = Unpacking(classifier.max_log_bytes)

    def read() -> Diagnosis:
        return classifier.diagnose([(origin, unpacking.pieces(stream.pieces(), form.packed))], facts)

    found = await classifier.read(stream, read)
    return replace(found, notes=(*found.notes, _CUT_OFF)) if unpacking.cut_off else found, known


def _check_scope(request: Request, scope: str) -> None:
    """The gate lets both scopes pass, as it does not look at parameters; with keys off everybody may.

    Raises:
        ForbiddenError: the key is good for the other thing only.
    """
    allows = request.scope.get("tailwatch.allows")
    if allows is not None and not allows(scope):
        what = "keeping what was found" if scope == "ingest" else "classifying without keeping"
        raise ForbiddenError(
            f"{what} needs the scope {scope}; make a key with `tailwatch key create NAME --scope {scope}`", scope=scope
        )
