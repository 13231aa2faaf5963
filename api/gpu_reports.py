"""Posted attempts of jobs, read row by row: what is wrong with any is told at once, with its place and field."""

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from analytics.gpu.attempts import Attempt
from analytics.gpu.reported import attempt_of
from analytics.gpu.taxonomy import taxonomy
from api.errors import ParameterError
from api.gpu_models import AttemptPost, FailedAttemptPost
from api.times import SECOND_NS, parse_time
from store.errors import GpuRowError
from store.gpu_attempts import AttemptRow, check_attempt

#: Faults that one answer names.
_MOST_FAULTS: Final = 8
#: What is reported has happened; clocks may be off, and a queue may know when a job is to begin.
_AHEAD_NS: Final = 86_400 * SECOND_NS


def read_attempts(posted: Sequence[AttemptPost], now_ns: int) -> list[AttemptRow]:
    """The attempts, in the order posted.

    Raises:
        ParameterError: some cannot be used; says which and why.
    """
    rows: list[AttemptRow] = []
    faults: list[str] = []
    for place, one in enumerate(posted):
        try:
            row = _row(one, now_ns, f"attempts.{place}")
            check_attempt(row)
        except ParameterError as error:
            faults.append(error.detail)
        except GpuRowError as error:
            faults.append(f"attempts.{place}: {error}")
        else:
            rows.append(row)
    _refuse(faults)
    return rows


def read_chain(posted: Sequence[FailedAttemptPost], now_ns: int) -> list[Attempt]:
    """The attempts as advice takes them, in the order posted.

    Raises:
        ParameterError: some cannot be used; says which and why. A reason that nobody knows would be advised about as if
            there were none.
    """
    rows = read_attempts(posted, now_ns)
    _refuse([fault for place, one in enumerate(posted) for fault in _strange(one, f"attempts.{place}")])
    return [attempt_of(row, one) for row, one in zip(rows, posted, strict=True)]


def posted_time(value: str | float | None, now_ns: int, field: str) -> int | None:
    """A time in a body: RFC 3339, Unix seconds as text or number, or relative to now.

    Raises:
        ParameterError: no time, or more than a day ahead.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        if not (math.isfinite(value) and 0 <= value < 1e11):
            raise ParameterError(
                f"{field}={value!r} is no time in Unix seconds; write RFC 3339, or seconds since 1970", parameter=field
            )
        value = str(value) if isinstance(value, int) else f"{value:.6f}"
    time_ns = parse_time(value[:100], now_ns, field)
    if time_ns > now_ns + _AHEAD_NS:
        raise ParameterError(
            f"{field}={value[:60]!r} is more than a day ahead of this machine's clock; send what has happened",
            parameter=field,
        )
    return time_ns


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise ParameterError("; ".join(faults[:_MOST_FAULTS]) + more, parameter="attempts")


def _strange(one: FailedAttemptPost, place: str) -> Iterator[str]:
    """What is wrong with what is said of the failure."""
    reasons = taxonomy()
    if one.reason and one.reason not in reasons:
        near = get_close_matches(one.reason, reasons, n=1)
        meant = f"did you mean {near[0]}? Else" if near else "send one that a diagnosis gave, or"
        yield f"{place}.reason={one.reason[:60]!r} is not known; {meant} leave it out"
    categories = sorted({row.category for row in reasons.values()})
    if one.category and one.category not in categories:
        yield f"{place}.category={one.category[:60]!r} is not known; want {', '.join(categories)}, or leave it out"


def _row(one: AttemptPost, now_ns: int, place: str) -> AttemptRow:
    started_ns = posted_time(one.started, now_ns, f"{place}.started")
    ended_ns = posted_time(one.ended, now_ns, f"{place}.ended")
    if started_ns is not None and ended_ns is not None and ended_ns < started_ns:
        raise ParameterError(
            f"{place}: ended {str(one.ended)[:60]} is before started {str(one.started)[:60]}; send both as the "
            "scheduler's clock had them",
            parameter=f"{place}.ended",
        )
    return AttemptRow(
        job=one.job,
        number=one.number,
        user=one.user,
        queue=one.queue,
        nodes=tuple(one.nodes),
        gpus=one.gpus,
        submitted_ns=posted_time(one.submitted, now_ns, f"{place}.submitted"),
        start_ns=started_ns,
        end_ns=ended_ns,
        outcome=one.outcome,
        exit_code=one.exit_code,
        signal=one.signal,
        synthetic=one.synthetic,
        reported_ns=now_ns,
    )
