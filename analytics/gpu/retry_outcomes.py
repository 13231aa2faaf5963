"""What became of retries, told by the attempts themselves: nobody has to label anything.

A retry got past the failure if it passed, or ran clearly longer than the attempt before had run until it failed. It
repeated the failure if it failed again with the same root and no later. Nothing is known where a person, the scheduler
or another failure ended it before that point, where it still runs, or where one of the two ran nobody knows how long.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_features import Situation, failed, same_root, situation

#: A repetition ends a little earlier or later each time: only clearly longer is past the failure.
SLACK: Final = 0.1
SLACK_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RetryOutcome:
    """One retry. `learned_from` names it: the same retry is the same name on every day."""

    seen: Situation
    passed: bool
    end_ns: int

    @property
    def learned_from(self) -> str:
        """Job and number of the attempt that failed."""
        return f"{self.seen.job}\n{self.seen.number}"


def got_past(failure: Attempt, retry: Attempt) -> bool | None:
    """Whether a retry got past the failure of the attempt before it; None where nobody can know (yet)."""
    if retry.outcome == "passed":
        return True
    if failure.runtime_unknown() or retry.runtime_unknown():
        return None
    until_s = failure.runtime_s()
    if retry.runtime_s() > until_s + max(SLACK_S, SLACK * until_s):
        return True
    return False if failed(retry) and same_root(failure, retry) else None


def chains(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Attempts by job, each job's in order of their numbers; jobs in order of their first mention.

    Raises:
        DataError: a job has two attempts of one number.
    """
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.job, []).append(attempt)
    for job, chain in found.items():
        chain.sort(key=lambda attempt: attempt.number)
        for one, two in pairwise(chain):
            if one.number == two.number:
                raise DataError(f"job {job!r}: two attempts of number {one.number}; want each number once a job")
    return found


def outcomes(chain: Sequence[Attempt], others: Mapping[int, int] | None = None) -> Iterator[RetryOutcome]:
    """What each retry of one job's chain teaches, in order.

    Args:
        others: number of a failed attempt -> how many other jobs had failed so on its nodes by then; none where absent.
    """
    for place, (failure, retry) in enumerate(pairwise(chain)):
        if not failed(failure) or retry.number != failure.number + 1:
            continue
        passed = got_past(failure, retry)
        if passed is None:
            continue
        before = 0 if others is None else others.get(failure.number, 0)
        moved = None if not failure.nodes or not retry.nodes else not set(failure.nodes) & set(retry.nodes)
        seen = replace(situation(chain[: place + 1], before), moved=moved)
        yield RetryOutcome(seen, passed, retry.end_ns or 0)
