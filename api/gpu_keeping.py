"""What an upload says of a job: the answer, with advice where it was reported; kept as the collectors' job keeps it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.reported import by_scheduler, lost_gpu_s
from analytics.gpu.retry_advice import Limits, RetryAdvice
from analytics.gpu.retry_features import FAILED
from api.database import Database
from api.gpu_advising import ActiveModels, advice_for, chain_of
from api.gpu_answers import href
from api.writing import WritableDatabase
from store.gpu_advice import AdviceRow, put_advice
from store.gpu_attempts import AttemptRow, attempts_of
from store.gpu_failures import FailureRow, failures_of, put_failure
from store.gpu_found import failed_at, found_row

_NOT_ASKED = "keep was not asked for"
_NAMELESS = "job was not named"


@dataclass(frozen=True, slots=True)
class GpuJob:
    """The attempt whose logs come, and what is stored of its job; `name` is None where nobody said."""

    name: str | None
    number: int
    attempts: Sequence[AttemptRow] = ()
    failures: Sequence[FailureRow] = ()

    @property
    def told(self) -> AttemptRow | None:
        """The attempt, where it was reported."""
        return next((row for row in self.attempts if row.number == self.number), None)


def stored_job(database: Database, name: str | None, number: int | None) -> GpuJob:
    """What is stored of a job; without a number its last attempt is meant, and the first of one that is unknown."""
    if not name:
        return GpuJob(None, number or 1)
    with database.reading() as connection:
        attempts = attempts_of(connection, [name]).get(name, [])
        failures = failures_of(connection, name)
    return GpuJob(name, number or (attempts[-1].number if attempts else 1), attempts, failures)


def answer_about(
    found: Diagnosis,
    job: GpuJob,
    models: ActiveModels,
    database: Database,
    kept_in: WritableDatabase | None,
    rules: str,
    now_ns: int,
    *,
    did_not_fail: bool = False,
) -> dict[str, object]:
    """The answer to an upload; what is found is kept in `kept_in`, if there is one.

    Args:
        rules: version of the signatures.
        did_not_fail: whoever uploads says so, by an exit code of 0.
    """
    told = job.told
    found = by_scheduler(found, "" if told is None else told.outcome)
    failure = failure_of(found, job.name or "", job.number, told, rules, now_ns)
    no_failure = _no_failure(told, did_not_fail) if failure is None else ""
    advice, why_not, generation = _advice(found, job, models, database, failure or no_failure)
    why_not_kept = _NOT_ASKED if kept_in is None else ""
    if kept_in is not None and failure is None:
        why_not_kept = no_failure
    elif kept_in is not None and failure is not None:
        with kept_in.writing() as connection:
            keep(connection, failure, advice, generation)
    return {
        "job": job.name,
        "number": None if job.name is None else job.number,
        "diagnosis": asdict(found),
        "advice": None if advice is None else asdict(advice),
        "why_no_advice": why_not,
        "kept": not why_not_kept,
        "why_not_kept": why_not_kept,
        "href": None if why_not_kept or job.name is None else href(job.name),
    }


def _advice(
    found: Diagnosis, job: GpuJob, models: ActiveModels, database: Database, failure: FailureRow | str
) -> tuple[RetryAdvice | None, str, int | None]:
    """Advice and its model, or why there is none; `failure` may say why it is none."""
    if job.name is None:
        return None, _NAMELESS, None
    if isinstance(failure, str):
        return None, failure, None
    earlier = [row for row in job.failures if row.number != job.number]
    chain = chain_of(job.attempts, [*earlier, failure], job.number)
    with database.reading() as connection:
        active = models.now(connection)
    said = advice_for(chain, job.number, active, Limits(), found.retry)
    return (None, said, None) if isinstance(said, str) else (said, "", active.generation)


def _no_failure(told: AttemptRow | None, did_not_fail: bool) -> str:
    if did_not_fail:
        return "exit_code=0 says that the job did not fail; leave it out to have its logs decide"
    if told is not None and told.outcome == "passed":
        return f"attempt {told.number} is reported to have passed"
    return "nothing in the logs says that the job failed"


def failure_of(
    found: Diagnosis, job: str, number: int, told: AttemptRow | None, rules: str, now_ns: int
) -> FailureRow | None:
    """The failure as it is kept; None where nothing failed.

    Args:
        told: the attempt, where it was reported.
        rules: version of the signatures.
    """
    if found.status == "no_failure":
        return None
    reported = told is not None and told.outcome in FAILED
    failed_ns = failed_at(told, reported=reported, else_ns=now_ns)
    return found_row(
        found,
        told,
        job=job,
        number=number,
        status=found.status,
        failed_ns=failed_ns,
        found_ns=now_ns,
        lost_gpu_s=None if told is None else lost_gpu_s(told, failed_ns),
        diagnosis=json.dumps(asdict(found)),
        rules_version=rules,
        origin="upload",
        reported=reported,
    )


def keep(connection: sa.Connection, row: FailureRow, advice: RetryAdvice | None, generation: int | None) -> None:
    """Put both in place of what was found and advised before."""
    put_failure(connection, row)
    if advice is not None:
        put_advice(
            connection,
            AdviceRow(
                job=row.job,
                number=row.number,
                given_ns=row.found_ns,
                decision=advice.decision,
                probability=advice.probability,
                model_generation=generation,
                body=json.dumps(asdict(advice)),
            ),
        )
