"""From what was found of an attempt, and what was reported of it, to the row of a failure."""

import json
from dataclasses import asdict

from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.reported import lost_gpu_s
from collector.jobs.gpu_runs import Run
from store.gpu_failures import FailureRow


def failure_row(
    job: str, run: Run, found: Diagnosis, last_ns: int | None, now_ns: int, rules_version: str
) -> FailureRow | None:
    """What is kept of it; None where nothing failed.

    Args:
        last_ns: when its last line was written, None without any.
    """
    if found.status == "no_failure":
        return None
    told = run.attempt
    failed_ns = last_ns if last_ns is not None else now_ns
    if run.reported and told is not None:
        failed_ns = told.reported_ns if told.end_ns is None else told.end_ns
    return FailureRow(
        job=job,
        number=run.number,
        failed_ns=failed_ns,
        found_ns=now_ns,
        status=found.status,
        reason=found.reason,
        category=found.category,
        guess=found.guess,
        confidence=found.confidence,
        retry=found.retry,
        action=found.action,
        node=found.node,
        rank=found.rank,
        user="" if told is None else told.user,
        gpus=None if told is None else told.gpus,
        lost_gpu_s=None if told is None else lost_gpu_s(told, failed_ns),
        template=found.template,
        diagnosis=json.dumps(asdict(found)),
        rules_version=rules_version,
        origin="agents",
        reported=run.reported,
        synthetic=told is not None and told.synthetic,
    )
