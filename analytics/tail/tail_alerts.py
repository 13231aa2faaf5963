"""What is wrong with a service's tail: alerts out of its minutes, with their figures and what to do, in words.

What fires goes on until its figures are well on the other side of the bound, so that nothing flaps around it. What
cannot be judged does not fire, and its text says why. There is no alert on canaries: nothing here runs any.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np

from analytics.errors import DataError
from analytics.tail.burn_rates import FEWEST_SLOW, PAIRS, burn
from analytics.tail.causes import Unreachable
from analytics.tail.correction_rates import FEWEST_LONG, WEEK, corrections, newest_long
from analytics.tail.learning import LearnedProfile
from analytics.tail.minutes import MINUTE_NS, MinuteTable
from analytics.tail.profile_changes import largest_change

Severity: TypeAlias = Literal["page", "ticket", "info"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a service promises: `percentile` of its requests within `target_ms`, over `window_days`."""

    percentile: float
    target_ms: float
    window_days: int = 28

    def __post_init__(self) -> None:
        """Refuses what cannot be promised."""
        if not 0 < self.percentile < 1 or not self.target_ms > 0 or self.window_days < 1:
            raise DataError(
                f"a promise of {self.percentile} within {self.target_ms} ms over {self.window_days} days; want a "
                "percentile above 0 and below 1, such as 0.99, a time above 0, and a day or more"
            )

    @property
    def budget(self) -> float:
        """Share of the requests that may be slow."""
        return 1 - self.percentile

    @property
    def text(self) -> str:
        """In words."""
        return f"p{self.percentile * 100:.6g} within {self.target_ms:g} ms"


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


#: The alerts, in the order in which they are told.
NAMES: Final = (
    "tail_burn", "tail_burn_slow", "predictor_drift", "over_parallel", "under_parallel_idle", "profile_stale",
    "table_out_of_range", "advice_ready", "advice_blocked", "objective_unreachable",
)  # fmt: skip
#: What to do about a cause that holds half of the slow requests.
REMEDIES: Final = {
    "intrinsic": "no policy saves these: make the work less, allow a request more threads, or raise the target",
    "queueing": "they waited for a worker: give requests fewer threads at this load, or add servers",
    "contention": "too many threads shared the hardware: give requests fewer threads at this load, or add servers",
    "mispredicted": "they were predicted to be shorter: give those that overrun more threads, or train the predictor",
    "under_parallel": "more threads would have saved them: ask for a forecast of a policy that gives long ones more",
    "": "no cause holds half of them: look at the causes by load",
}
#: Gates of a forecast that are about what was asked; all others are about what the service's requests tell of it.
ASKED_GATES: Final = ("saturation", "extrapolation")
# Windows end with the newest minute where that is no older, as requests are told of some minutes late; else now.
_LATE_NS: Final = 10 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class _Seen:
    """Minutes of 7 days up to an end, and what else alerts are made of."""

    minutes: MinuteTable
    end_ns: int
    promise: Promise
    context: Context
    firing: frozenset[str]
    since: Mapping[str, int]

    @classmethod
    def of(cls, minutes: MinuteTable, promise: Promise, context: Context) -> "_Seen":
        kept = minutes.where(minutes.start_ns < context.now_ns)
        end_ns = int(kept.start_ns[-1]) + MINUTE_NS if len(kept) else context.now_ns
        end_ns = end_ns if context.now_ns - end_ns <= _LATE_NS else context.now_ns
        before = {alert.name: alert for alert in context.before}
        return cls(
            kept.where(kept.start_ns >= end_ns - WEEK * MINUTE_NS),
            end_ns,
            promise,
            context,
            frozenset(name for name, alert in before.items() if alert.firing),
            {name: alert.since_ns for name, alert in before.items()},
        )

    def last(self, minutes: int) -> MinuteTable:
        return self.minutes.last(self.end_ns, minutes)

    def alert(self, name: str, severity: Severity, firing: bool, text: str, cause: str = "", **figures: float) -> Alert:
        same = name in self.since and (name in self.firing) == firing
        known = {key: value for key, value in figures.items() if np.isfinite(value)}
        return Alert(
            name,
            severity,
            firing,
            self.since[name] if same else self.context.now_ns,
            cause if firing else "",
            text,
            known,
        )


def evaluate(minutes: MinuteTable, promise: Promise, context: Context) -> list[Alert]:
    """All alerts of a service, firing or not: always those of NAMES, in that order.

    Args:
        minutes: of the newest 7 days, as far as there are any; those of several servers are added up before.
    Guarantee: pure; the same arguments give the same alerts. Cost: some 2 ms for 7 days.
    """
    seen = _Seen.of(minutes, promise, context)
    burns = [_burn(seen, name) for name in PAIRS]
    return [
        *burns,
        _predictor_drift(seen),
        _over_parallel(seen, burns[0].firing),
        _under_parallel_idle(seen),
        _profile_stale(seen),
        _table_out_of_range(seen),
        _advice_ready(seen),
        _advice_blocked(seen),
        _objective_unreachable(seen),
    ]


def _burn(seen: _Seen, name: str) -> Alert:
    """Budget that goes too fast in both windows of a pair; the first pair that burns is told of."""
    severity: Severity = "page" if name == "tail_burn" else "ticket"
    promise = seen.promise
    found = [burn(seen.minutes, seen.end_ns, pair, promise.budget) for pair in PAIRS[name]]
    burning = [one for one in found if one.fires(name in seen.firing)]
    told = (burning or found)[0]
    pair, left = told.pair, _budget_left(seen)
    text = (
        f"{_slow(told.short)} in {_span(pair.short)} and {_slow(told.long)} in {_span(pair.long)} missed "
        f"{promise.text}; {promise.budget * 100:.3g}% may: {told.short_rate:.3g} and {told.long_rate:.3g} times the "
        f"budget, with a bound of {pair.factor:g} in both"
    )
    if left is not None:
        gone = f"{left:.0%} is left" if left >= 0 else f"all is spent, and {-left:.0%} more"
        text += f". Of the budget of {promise.window_days} days, {gone}"
    if burning:
        text += f". {f'Half or more by {told.cause}: '.replace('_', '-') if told.cause else ''}{REMEDIES[told.cause]}"
    elif min(told.short_rate, told.long_rate) > pair.factor:
        text += f"; it fires from {told.waits_for} on"
    elif promise.budget * pair.factor >= 1:
        text += f"; a promise at this percentile cannot burn faster than {1 / promise.budget:.3g}"
    return seen.alert(
        name, severity, bool(burning), text, told.cause, short_rate=told.short_rate, long_rate=told.long_rate,
        bound=pair.factor, short_minutes=pair.short, long_minutes=pair.long, slow_short=float(told.short.slow.sum()),
        slow_long=float(told.long.slow.sum()), budget_left=np.nan if left is None else left,
    )  # fmt: skip


def _budget_left(seen: _Seen) -> float | None:
    """Share of the promise's budget, below 0 where more than all is gone."""
    requests, slow = seen.context.promise_requests, seen.context.promise_slow
    return 1 - slow / (requests * seen.promise.budget) if requests and slow is not None else None


def _predictor_drift(seen: _Seen) -> Alert:
    """Corrections above twice what is usual at the load, or long requests not foreseen."""
    before = "predictor_drift" in seen.firing
    found = corrections(seen.minutes, seen.end_ns, seen.context.policy_since_ns)
    long, missed = newest_long(seen.minutes, seen.end_ns)
    recall = 1 - missed / long if long else np.nan
    more = found.above(1.6 if before else 2.0)
    unforeseen = long >= FEWEST_LONG and recall < (0.8 if before else 0.75)
    text = "corrections are not judged: the loads of the last 30 min were not seen in 30 minutes of the 7 days before"
    if found.requests:
        text = (
            f"{found.corrected:,.0f} of {found.requests:,} requests got more threads while they ran in 30 min; "
            f"{found.usual:,.0f} do at such loads (median of 7 days); the bound is twice that"
        )
    if long:
        text += f". {recall:.0%} of the newest {long:,} long requests were foreseen; want 75% of 200 or more"
    if more or unforeseen:
        text += ". The predictor no longer fits the requests: train it on newer ones, or look for what changed in them"
    return seen.alert(
        "predictor_drift", "ticket", more or unforeseen, text,
        corrected=found.corrected, usual=found.usual, recall=recall, long=float(long),
    )  # fmt: skip


def _over_parallel(seen: _Seen, pages: bool) -> Alert:
    """More threads than the hardware has, at a load that the work would not fill."""
    before = "over_parallel" in seen.firing
    parts = [part.where(part.profiled) for part in (seen.last(15), seen.last(5))]
    most_share, of_room = (0.85, 0.85) if before else (0.8, 0.9)
    figures = [_parallelism(part) for part in parts]
    firing = len(parts[0]) >= 10 and all(
        share < most_share and load > of_room * efficiency for share, load, efficiency in figures
    )
    share, load, efficiency = figures[0]
    text = (
        f"running threads had {share:.0%} of a hardware thread each in 15 min (bound: 80%), at a load of {load:.2f}; "
        f"with the threads that requests are given, the hardware is full at {efficiency:.2f} (bound: 90% of that)"
        if len(parts[0])
        else "not judged: no minute of the last 15 has requests and learned speed-ups"
    )
    if firing:
        text += ". Threads are handed out that gain less than they cost: use lower degrees at this load"
    return seen.alert(
        "over_parallel", "page" if pages and firing else "ticket", firing, text,
        share=share, load=load, full_at=efficiency,
    )  # fmt: skip


def _parallelism(part: MinuteTable) -> tuple[float, float, float]:
    """Mean share, load, and the load at which the hardware is full; NaN without minutes."""
    if not len(part):
        return np.nan, np.nan, np.nan
    work = float(part.work_ms.sum())
    return (
        float(part.effective_ms.sum() / part.service_ms.sum()),
        work / float(part.capacity_ms.sum()),
        work / float(part.thread_ms.sum()),
    )


def _under_parallel_idle(seen: _Seen) -> Alert:
    """Slow for want of threads, beside idle workers."""
    before = "under_parallel_idle" in seen.firing
    part = seen.last(30)
    slow, idle = int(part.slow.sum()), int(part.idle_at_dispatch.sum())
    share = idle / slow if slow else np.nan
    firing = slow >= FEWEST_SLOW and share >= (0.4 if before else 0.5)
    text = (
        f"{idle:,} of {slow:,} slow requests in 30 min would have met {seen.promise.target_ms:g} ms on more threads, "
        "and left 2 workers or more idle when they began; the bound is half"
    )
    if firing:
        text += ". A policy that gives long requests more threads would use them: ask for a forecast of one"
    return seen.alert("under_parallel_idle", "info", firing, text, share=share, slow=float(slow), idle=float(idle))


def _profile_stale(seen: _Seen) -> Alert:
    """A speed-up that has changed by more than 15 % or so, and not by chance."""
    used, learned = seen.context.profile, seen.context.learned
    if used is None or learned is None:
        return seen.alert(
            "profile_stale", "info", False, "speed-ups are not compared: none in use, or none learned since"
        )
    change = largest_change(used, learned)
    if change is None:
        text = "no speed-up of the newest profile differs from the one in use by 0.15 in its logarithm, beyond chance"
        return seen.alert("profile_stale", "info", False, text)
    text = (
        f"on {change.degree} threads, requests around {change.work_ms:.3g} ms are {change.learned:.2f} times as fast, "
        f"and {change.used:.2f} in the profile in use. Use the newest profile, and search the target table again"
    )
    return seen.alert(
        "profile_stale", "info", True, text,
        degree=float(change.degree), used=change.used, learned=change.learned, work_ms=change.work_ms,
    )  # fmt: skip


def _table_out_of_range(seen: _Seen) -> Alert:
    """Loads beyond what the target table tells apart."""
    part = seen.last(60)
    part = part.where(part.start_ns >= seen.context.policy_since_ns)
    dispatched, last = int(part.dispatched.sum()), int(part.last_bucket.sum())
    share = last / dispatched if dispatched else np.nan
    if seen.context.table_buckets < 2 or not dispatched:
        text = "not judged: no target table of two buckets or more in use, or no request tells the load that it met"
        return seen.alert("table_out_of_range", "ticket", False, text)
    firing = dispatched >= 1_000 and share > (0.04 if "table_out_of_range" in seen.firing else 0.05)
    text = f"{share:.1%} of {dispatched:,} requests in 1 h began at a load of the table's last bucket; the bound is 5%"
    if firing:
        text += ". It does not know such loads: search a table on requests of these hours, with more buckets"
    return seen.alert("table_out_of_range", "ticket", firing, text, share=share, dispatched=float(dispatched))


def _advice_ready(seen: _Seen) -> Alert:
    """A forecast that promises enough to change the policy."""
    advice = _newest_advice(seen)
    if advice is None or advice.failed_gates or advice.gain_p99_pct is None:
        return seen.alert("advice_ready", "info", False, "no forecast of the last 7 days that passed all of its gates")
    gain, low, slower = (
        np.nan if each is None else each for each in (advice.gain_p99_pct, advice.gain_low_pct, advice.mean_change_pct)
    )
    firing = bool(gain >= 10 and low >= 5 and slower <= 5)
    text = (
        f"{advice.candidate} would lower p99 by {gain:.1f}% (5% quantile {low:.1f}%) and change the mean by "
        f"{slower:+.1f}%; wanted are 10%, 5% and +5% at most"
    )
    text += f". Look at run {advice.run}, and make it the active policy if you agree" if firing else ""
    return seen.alert("advice_ready", "info", firing, text, gain_p99_pct=gain, gain_low_pct=low, mean_change_pct=slower)


def _advice_blocked(seen: _Seen) -> Alert:
    """Nothing can be advised, as the service's requests do not tell enough."""
    advice = _newest_advice(seen)
    gates = {} if advice is None else advice.failed_gates
    failed = {name: text for name, text in gates.items() if name not in ASKED_GATES}
    text = "; ".join(failed.values()) or "no forecast of the last 7 days failed for want of what requests tell"
    return seen.alert("advice_blocked", "info", bool(failed), text, gates=float(len(failed)))


def _newest_advice(seen: _Seen) -> Advice | None:
    advice = seen.context.advice
    recent = advice is not None and seen.context.now_ns - advice.made_ns <= WEEK * MINUTE_NS
    return advice if recent else None


def _objective_unreachable(seen: _Seen) -> Alert:
    """A promise below what the work takes."""
    found = seen.context.unreachable
    if found is None:
        return seen.alert(
            "objective_unreachable", "ticket", False, f"{seen.promise.text} is not below what the work takes"
        )
    return seen.alert(
        "objective_unreachable", "ticket", True, found.text, "intrinsic", share=found.share, allowed=found.allowed,
        reachable_ms=found.reachable_ms,
    )  # fmt: skip


def _slow(table: MinuteTable) -> str:
    requests = int(table.requests.sum())
    return f"{table.slow.sum() / requests:.2%} of {requests:,} requests" if requests else "none of no requests"


def _span(minutes: int) -> str:
    for size, unit in ((1_440, "d"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size} {unit}"
    return f"{minutes} min"
