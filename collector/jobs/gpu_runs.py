"""Which lines of a job belong to which of its attempts, and from when on an attempt can be looked into.

Attempts follow each other. A line goes to the attempt in whose time it was written; kernels, launchers and schedulers
write before a start and after an end, so times reach a little further, up to halfway to the next attempt. What was
written after the last attempt that is known has ended belongs to one that nobody has reported yet; and once that has
died and its log been quiet, what comes then to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from analytics.gpu.node_events import SLACK_NS
from analytics.gpu.retry_features import FAILED
from store.gpu_attempts import RUNNING, AttemptRow

#: Later than anything that is written.
FOREVER_NS: Final = 2**62


@dataclass(frozen=True, slots=True)
class Waits:
    """How long lines are waited for: after the end that was reported, and after the last line where none was."""

    settle_ns: int
    quiet_ns: int


@dataclass(frozen=True, slots=True)
class Death:
    """An attempt that nobody reported and whose lines told that it failed; `over`: its log was quiet from then on."""

    number: int
    failed_ns: int
    over: bool


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt as far as it is known.

    Attributes:
        attempt: what was reported, None where nothing was.
        from_ns, to_ns: its lines were written at or after the one and before the other.
        due_ns: when to look into it; None: it has not failed, and no line says anything.
    """

    number: int
    attempt: AttemptRow | None
    from_ns: int
    to_ns: int
    due_ns: int | None

    @property
    def reported(self) -> bool:
        """Whether it is reported that it failed."""
        return self.attempt is not None and self.attempt.outcome in FAILED

    @property
    def ended_well(self) -> bool:
        """Whether it is reported that it ended, and did not fail: whatever its lines say, there is no failure."""
        return self.attempt is not None and self.attempt.outcome != RUNNING and not self.reported


def runs_of(
    attempts: Sequence[AttemptRow],
    last_ns: int | None,
    since_ns: int,
    waits: Waits,
    deaths: Sequence[Death] = (),
) -> list[Run]:
    """All attempts of one job in order, the last ones maybe not reported.

    Args:
        attempts: by number.
        last_ns: when its last line was written, None where no line is known.
        since_ns: nothing before is looked at.
        deaths: by number, of attempts that nobody reported; those that turn out to be of a reported one are left out.
    """
    found: list[Run] = []
    low_ns = since_ns
    for one, following in pairwise([*attempts, None]):
        assert one is not None
        high_ns = _until(one, following)
        begin_ns = _begin(one)
        from_ns = low_ns if begin_ns is None else max(low_ns, begin_ns - SLACK_NS)
        to_ns = max(from_ns, high_ns)
        found.append(Run(one.number, one, from_ns, to_ns, _due(one, min(to_ns, last_ns or 0), last_ns, waits)))
        if high_ns < FOREVER_NS:
            low_ns = max(low_ns, to_ns)
    number = found[-1].number + 1 if found else 1
    for death in deaths:
        if death.number < number or (found and found[-1].to_ns > death.failed_ns):
            continue
        number = death.number
        if death.over:
            number += 1
            if death.failed_ns >= low_ns:
                to_ns = death.failed_ns + min(SLACK_NS, waits.quiet_ns)
                found.append(Run(death.number, None, low_ns, to_ns, death.failed_ns + waits.quiet_ns))
                low_ns = to_ns
    last = found[-1] if found else None
    if last_ns is not None and last_ns > since_ns and (last is None or last.to_ns <= last_ns):
        found.append(Run(number, None, low_ns, FOREVER_NS, last_ns + waits.quiet_ns))
    return found


def _begin(one: AttemptRow) -> int | None:
    return one.start_ns if one.start_ns is not None else one.submitted_ns


def _until(one: AttemptRow, following: AttemptRow | None) -> int:
    """Before when its last line was written."""
    latest_ns = FOREVER_NS if one.end_ns is None else one.end_ns + SLACK_NS
    next_ns = None if following is None else _begin(following)
    if next_ns is None:
        return latest_ns
    if one.end_ns is None or one.end_ns >= next_ns:
        return min(latest_ns, next_ns)
    return min(latest_ns, (one.end_ns + next_ns) // 2)


def _due(one: AttemptRow, quiet_since_ns: int, last_ns: int | None, waits: Waits) -> int | None:
    if one.outcome in FAILED:
        # Who reports that it failed knows that it ended, whatever a clock says.
        ended_ns = one.reported_ns if one.end_ns is None else min(one.end_ns, one.reported_ns)
        return ended_ns + waits.settle_ns
    if one.outcome != RUNNING:
        return 0
    return None if last_ns is None else quiet_since_ns + waits.quiet_ns
