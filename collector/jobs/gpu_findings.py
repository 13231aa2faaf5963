"""From scans and what was reported to the row of a failure: the logs' answer, or what the scheduler itself knows.

What the scheduler did is a fact, which logs often do not tell: it took the nodes away, its time was over, a node died.
Where logs give no sure answer, that is the answer; of a preemption it always is, for what follows from it looks like
failures.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.reported import lost_gpu_s
from analytics.gpu.taxonomy import taxonomy
from collector.jobs.gpu_runs import Run
from store.gpu_failures import FailureRow

#: How an attempt ended, as the scheduler tells -> the reason that this is.
_KNOWN_TO_SCHEDULERS: Final[Mapping[str, str]] = {
    "timeout": "time_limit",
    "node_failure": "node_failure",
    "preempted": "job_preempted",
}
_ALWAYS: Final = "preempted"


def by_scheduler(found: Diagnosis, run: Run) -> Diagnosis:
    """The diagnosis, or what the scheduler knows better."""
    outcome = "" if run.attempt is None else run.attempt.outcome
    reason = _KNOWN_TO_SCHEDULERS.get(outcome)
    if reason is None or (found.status == "answered" and outcome != _ALWAYS):
        return found
    row = taxonomy()[reason]
    logs = "" if found.guess in (None, reason) else f"; the logs alone suggest {found.guess}"
    return replace(
        found,
        status="answered",
        reason=reason,
        category=row.category,
        guess=reason,
        confidence=1.0,
        retry=row.retry,
        action=row.action,
        rank=None,
        node=None,
        evidence=(),
        template=None,
        notes=(*found.notes, f"the scheduler reported that it ended with {outcome}{logs}"),
    )


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
