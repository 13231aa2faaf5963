"""Attempts, failures, advice, nodes and models of GPU jobs: rows of the store as JSON.

Diagnoses and advice are kept as the JSON that they are shown as. One that a newer release wrote, and that this one does
not know the shape of, is left open; the row beside it has the essentials.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.retry_advice import RetryAdvice
from api.times import rfc_3339
from store.gpu_advice import AdviceRow
from store.gpu_attempts import AttemptRow
from store.gpu_failures import FailureCount, FailureRow
from store.gpu_models import RetryModelRow
from store.gpu_nodes import NodeRow

log = logging.getLogger(__name__)

_Shape = TypeVar("_Shape")


def attempt_entry(row: AttemptRow) -> dict[str, object]:
    """An attempt as it was reported."""
    return {
        "number": row.number,
        "user": row.user,
        "queue": row.queue,
        "nodes": row.nodes,
        "gpus": row.gpus,
        **_time("submitted", row.submitted_ns),
        **_time("started", row.start_ns),
        **_time("ended", row.end_ns),
        "outcome": row.outcome,
        "exit_code": row.exit_code,
        "signal": row.signal,
        "synthetic": row.synthetic,
        **_time("reported", row.reported_ns),
    }


def failure_entry(row: FailureRow) -> dict[str, object]:
    """A failure as lists show it."""
    return {
        "id": row.id,
        "job": row.job,
        "number": row.number,
        **_time("failed", row.failed_ns),
        **_time("found", row.found_ns),
        "status": row.status,
        "reason": row.reason,
        "category": row.category,
        "guess": row.guess,
        "confidence": row.confidence,
        "retry": row.retry,
        "action": row.action,
        "node": row.node,
        "rank": row.rank,
        "user": row.user,
        "gpus": row.gpus,
        "lost_gpu_hours": None if row.lost_gpu_s is None else row.lost_gpu_s / 3600,
        "template": row.template,
        "origin": row.origin,
        "reported": row.reported,
        "synthetic": row.synthetic,
        "rules_version": row.rules_version,
        "revision": row.revision,
        "href": href(row.job),
    }


def job_failure(row: FailureRow, advice: AdviceRow | None) -> dict[str, object]:
    """A failure with all that was found, and what was advised."""
    body = None if advice is None else advice_body(advice)
    found = _known(row.diagnosis, Diagnosis, "diagnosis", row.id)
    return {
        **failure_entry(row),
        "diagnosis": None if found is None else asdict(found),
        "advice": body,
        **_time("advised", None if advice is None else advice.given_ns),
    }


def advice_body(row: AdviceRow) -> dict[str, Any] | None:
    """Advice as it was given; None where this release cannot read it."""
    found = _known(row.body, RetryAdvice, "advice", row.number)
    return None if found is None else asdict(found)


def node_entry(row: NodeRow) -> dict[str, object]:
    """What the newest test says of a node."""
    return {
        "node": row.node,
        "failures": row.failures,
        "expected": row.expected,
        "ratio": row.ratio,
        "p_value": row.p_value,
        "q_value": row.q_value,
        "stands_out": row.stands_out,
        **_time("checked", row.checked_ns),
    }


def model_entry(row: RetryModelRow) -> dict[str, object]:
    """A state of the model behind the advice."""
    return {
        "generation": row.generation,
        "digest": row.digest,
        "parent": row.parent,
        **_time("created", row.created_ns),
        "active": row.active,
        **_time("activated", row.activated_ns),
        "note": row.note,
        "bytes": row.size_bytes,
    }


def failures_summed(counts: Sequence[FailureCount]) -> dict[str, object]:
    """Failures by reason, those that took the most GPU time first, and what they add up to."""
    reasons: dict[tuple[str | None, str | None], list[float]] = {}
    for one in counts:
        of_reason = reasons.setdefault((one.category, one.reason), [0, 0.0])
        of_reason[0] += one.failures
        of_reason[1] += one.lost_gpu_s / 3600
    failures = sum(one.failures for one in counts)
    unexplained = sum(one.failures for one in counts if one.status == "abstained")
    ordered = sorted(reasons.items(), key=lambda item: (-item[1][1], -item[1][0], item[0][0] or "", item[0][1] or ""))
    return {
        "failures": failures,
        "unexplained": unexplained,
        "unexplained_ratio": unexplained / failures if failures else None,
        "lost_gpu_hours": sum(one.lost_gpu_s for one in counts) / 3600,
        "synthetic_failures": sum(one.failures for one in counts if one.synthetic),
        "reasons": [
            {"category": category, "reason": reason, "failures": n, "lost_gpu_hours": hours}
            for (category, reason), (n, hours) in ordered
        ],
    }


def href(job: str) -> str:
    """Where a job is asked for."""
    return f"/api/v1/gpu/jobs/{quote(job, safe='')}"


def times_of(times: Mapping[str, int | None]) -> dict[str, object]:
    """Each time twice: in words, and in ns."""
    return {key: value for name, time_ns in times.items() for key, value in _time(name, time_ns).items()}


def _known(text: str, shape: type[_Shape], what: str, number: int) -> _Shape | None:
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.MsgspecError as error:
        log.warning("%s cannot be read number=%d error=%s", what, number, error)
        return None


def _time(name: str, time_ns: int | None) -> dict[str, object]:
    return {name: None if time_ns is None else rfc_3339(time_ns), f"{name}_ns": time_ns}
