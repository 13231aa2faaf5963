"""What is wrong with a service's tail, minute by minute: alerts with their figures and what to do, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from analytics.tail.causes import Unreachable
from analytics.tail.learning import LearnedProfile
from analytics.tail.minutes import MinuteTable

Severity: TypeAlias = Literal["page", "ticket", "info"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a service promises: `percentile` of its requests within `target_ms`, over `window_days`."""

    percentile: float
    target_ms: float
    window_days: int = 28


@dataclass(frozen=True, slots=True)
class Advice:
    """What a forecast says of a candidate policy; percentages, above 0: better.

    Attributes:
        run: its id. candidate: what would be changed to, in words. made_ns: when it was made.
        gain_p99_pct, gain_low_pct: by how much p99 falls, and the lower bound of its 90 % interval.
        mean_change_pct: of the mean latency, above 0: slower. All three None where it is refused.
        failed_gates: names of the gates that it did not pass, with what each says.
    """

    run: str
    candidate: str
    made_ns: int
    gain_p99_pct: float | None = None
    gain_low_pct: float | None = None
    mean_change_pct: float | None = None
    failed_gates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a service, firing or not.

    Attributes:
        since_ns: when it began to fire, or to be quiet.
        cause: of CAUSES, where one holds half or more of what is slow; else "".
        text: what was seen, wanted and to be done.
        figures: what the text says, as numbers.
    """

    name: str
    severity: Severity
    firing: bool
    since_ns: int
    cause: str
    text: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Context:
    """What alerts hang on beside minutes.

    Attributes:
        now_ns: minutes that begin at it or later are not looked at.
        before: the alerts of the evaluation before this, none at first: what fires goes on until it is well below.
        promise_requests, promise_slow: in the window of the promise up to now; None: not counted.
        profile, learned: speed-ups in use, and the newest that were learned; None: none.
        table_buckets: of the target table in use; 0: no table. policy_since_ns: when the policy or table in use came.
        advice: the newest forecast, None: none.
        unreachable: what causes.unreachable says of the newest requests.
    """

    now_ns: int
    before: Sequence[Alert] = ()
    promise_requests: int | None = None
    promise_slow: int | None = None
    profile: LearnedProfile | None = None
    learned: LearnedProfile | None = None
    table_buckets: int = 0
    policy_since_ns: int = 0
    advice: Advice | None = None
    unreachable: Unreachable | None = None


def evaluate(minutes: MinuteTable, promise: Promise, context: Context) -> list[Alert]:
    """All alerts of a service, firing or not, in the order of NAMES.

    Args:
        minutes: up to 7 days, those of several servers merged.
    """
    raise NotImplementedError
