"""Attempts as schedulers report them, made into what diagnoses and retry advice take; whoever stores them.

A report knows little at first: no GPUs, no start, no end. What is unknown stays so, and is never guessed. What the
scheduler did is a fact, which logs often do not tell: it took the nodes away, its time was over, a node died.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, get_args

import msgspec

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt, Outcome
from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.node_events import JobFacts
from analytics.gpu.signatures import Signature
from analytics.gpu.taxonomy import taxonomy

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
_DIGITS: Final = 16
#: How an attempt ended, as the scheduler tells -> the reason that this is.
_KNOWN_TO_SCHEDULERS: Final[Mapping[str, str]] = {
    "timeout": "time_limit",
    "node_failure": "node_failure",
    "preempted": "job_preempted",
}
_ALWAYS: Final = "preempted"


class Reported(Protocol):
    """An attempt as it is kept: texts are "" where unknown, all else None."""

    @property
    def job(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def nodes(self) -> tuple[str, ...]: ...
    @property
    def gpus(self) -> float | None: ...
    @property
    def submitted_ns(self) -> int | None: ...
    @property
    def start_ns(self) -> int | None: ...
    @property
    def end_ns(self) -> int | None: ...
    @property
    def outcome(self) -> str: ...


class Found(Protocol):
    """What was found of an attempt; None where no reason was sure enough."""

    @property
    def reason(self) -> str | None: ...
    @property
    def category(self) -> str | None: ...
    @property
    def template(self) -> str | None: ...


def attempt_of(told: Reported, found: Found | None = None) -> Attempt:
    """The attempt, with the reason that was found of it.

    Raises:
        DataError: an outcome that is none.
    """
    outcome = next((one for one in OUTCOMES if one == told.outcome), None)
    if outcome is None:
        raise DataError(f"outcome {told.outcome[:80]!r} of job {told.job[:80]!r}; want {', '.join(OUTCOMES)}")
    known = (time_ns for time_ns in (told.submitted_ns, told.start_ns, told.end_ns) if time_ns is not None)
    return Attempt(
        job=told.job,
        number=told.number,
        user=told.user,
        queue=told.queue,
        nodes=told.nodes,
        gpus=told.gpus or 0.0,
        submitted_ns=next(known, 0),
        start_ns=told.start_ns,
        end_ns=told.end_ns,
        outcome=outcome,
        reason=(found.reason or "") if found else "",
        category=(found.category or "") if found else "",
        template=(found.template or "") if found else "",
    )


def facts_of(told: Reported) -> JobFacts:
    """What a diagnosis takes from it: where and when it ran, and whether it failed.

    Of one that a person ended the logs have to tell: it may have been killed because it had failed.
    """
    return JobFacts(
        nodes=frozenset(told.nodes),
        start_ns=told.start_ns,
        end_ns=told.end_ns,
        failed=None if told.outcome in ("running", "killed") else told.outcome != "passed",
    )


def by_scheduler(found: Diagnosis, outcome: str) -> Diagnosis:
    """The diagnosis of the logs, or what the scheduler knows better.

    Where logs give no sure answer, how it ended is the answer; of a preemption it always is, for what follows from it
    looks like failures.

    Args:
        outcome: as it was reported, "" where nothing was.
    """
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


def lost_gpu_s(told: Reported, until_ns: int | None = None) -> float | None:
    """GPU seconds from its start to its end, or to `until_ns` where it has none; None where nobody can know."""
    end_ns = told.end_ns if told.end_ns is not None else until_ns
    if told.gpus is None or told.start_ns is None or end_ns is None:
        return None
    return told.gpus * max(0, end_ns - told.start_ns) / 1e9


def rules_version(signatures: Sequence[Signature]) -> str:
    """Which rules those are, in 16 hex digits: the same rules in the same order are the same version."""
    return hashlib.sha256(msgspec.json.encode(signatures)).hexdigest()[:_DIGITS]
