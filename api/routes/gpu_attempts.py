"""POST /api/v1/gpu/attempts: what the scheduler tells of jobs: who ran what, where, from when to when, how it ended."""

from fastapi import APIRouter
from starlette.responses import Response

from api.gpu_models import AttemptsPost, AttemptsTaken
from api.gpu_reports import read_attempts
from api.responses import live_answer
from api.service import Parts
from api.writing import Writable
from store.gpu_attempts import put_attempts

router = APIRouter(tags=["gpu"])


@router.post(
    "/api/v1/gpu/attempts", operation_id="report_gpu_attempts", summary="Report attempts of jobs",
    response_model=AttemptsTaken,
)  # fmt: skip
def report(body: AttemptsPost, service: Parts, writable: Writable) -> Response:
    """Attempts as far as they are known now; told of again, they are filled in. A fault in one, and none is taken."""
    rows = read_attempts(body.attempts, service.now_ns())
    with writable.writing() as connection:
        changed = put_attempts(connection, rows)
    return live_answer({"attempts": len(rows), "changed": changed})
