"""From evidence to a state that does not flap: enter high, leave low after calm days, and be quiet about what is known.

Each cause (id of a hard rule, "probability", "wear") has a state of its own. It is entered as soon as the evidence is
strong enough, held while it is at least half as strong, and left one step at a time after CALM_DAYS days below that. A
drive's state is the worst of its causes that nobody has acknowledged. An acknowledgement holds as long as the cause's
level has not become worse, and until its last day.

Pure: the next memory depends on the memory, the evidence and the day, nothing else. A memory also holds what was known
at the end of the day before, so the same day can be judged again and again as it goes on: its worst evidence counts,
and the same evidence changes nothing.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from analytics.errors import DataError
from analytics.ssd.verdicts import Acknowledgement, State

#: How many days evidence must stay below a state before that is left for the next lower one.
CALM_DAYS: Final[Mapping[State, int]] = {State.WATCH: 7, State.REPLACE: 14}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks against a drive on one day, for one cause.

    Attributes:
        enter: the state that the evidence is strong enough to enter.
        hold: the state that it is strong enough to stay in; never below `enter`.
        level: how bad it is, higher is worse; compared with acknowledgements.
        slack: by how much it may be above an acknowledged level and still be no news.
    """

    enter: State
    hold: State
    level: float
    slack: float = 0.0


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause as it is remembered: its state, its worst level since that was entered, and for how long it is calm."""

    state: State
    level: float
    slack: float
    calm_days: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What one drive's next state depends on.

    Attributes:
        day: the newest day that was judged.
        state, since: what was said on that day, and from which day on.
        causes: those not yet calm, acknowledged ones too.
        before: causes, state and since at the end of the day before `day`; None on the first day.
        today: the worst evidence of `day` so far.
    """

    day: date
    state: State
    since: date
    causes: Mapping[str, Cause] = field(default_factory=dict)
    before: "Before | None" = None
    today: Mapping[str, Evidence] = field(default_factory=dict)

    def shown(self, acknowledged: Sequence[Acknowledgement]) -> dict[str, Cause]:
        """The causes that count: those that are not acknowledged on that day."""
        return {
            name: cause for name, cause in self.causes.items() if not _is_known(name, cause, acknowledged, self.day)
        }


@dataclass(frozen=True, slots=True)
class Before:
    """What was known at the end of an earlier day."""

    day: date
    state: State
    since: date
    causes: Mapping[str, Cause]


def next_memory(
    previous: Memory | None,
    evidence: Mapping[str, Evidence],
    day: date,
    *,
    acknowledged: Sequence[Acknowledgement] = (),
    forgotten: Collection[str] = (),
    frozen: Collection[str] = (),
    unknown: bool = False,
) -> Memory:
    """What is to be remembered after `day`, whose state is what is said of the drive.

    Args:
        evidence: cause -> evidence; a cause that is absent is calm.
        forgotten: causes that no longer count at all: their column was muted, or there is no model any more.
        frozen: causes of which nothing can be said today; they stay as they are.
        unknown: whether the state is UNKNOWN unless some cause speaks against the drive.

    A day before that of `previous` changes nothing: what was judged later stands.
    """
    if previous is not None and day < previous.day:
        return previous
    if previous is not None and day == previous.day:
        before = previous.before
        today = {name: one for name, one in previous.today.items() if name not in forgotten}
        for name, one in evidence.items():
            today[name] = _worse(today[name], one) if name in today else one
    else:
        before = None if previous is None else Before(previous.day, previous.state, previous.since, previous.causes)
        today = dict(evidence)
    old = {} if before is None else before.causes
    elapsed = 1 if before is None else (day - before.day).days
    causes = {}
    for name in sorted({*old, *today} - set(forgotten)):
        after = _step(old.get(name), today.get(name), elapsed, is_frozen=name in frozen)
        if after is not None:
            causes[name] = after
    state = max(
        (one.state for name, one in causes.items() if not _is_known(name, one, acknowledged, day)), default=State.GOOD
    )
    if state == State.GOOD and unknown:
        state = State.UNKNOWN
    since = before.since if before is not None and before.state == state else day
    return Memory(day, state, since, causes, before, today)


def without_reading(previous: Memory | None, day: date) -> Memory:
    """The memory of a drive of which there is no reading that counts: UNKNOWN, with every cause kept as it was."""
    names = () if previous is None else {*previous.causes, *(previous.before.causes if previous.before else ())}
    if previous is not None and day < previous.day:
        return previous
    kept = next_memory(previous, {}, day, frozen=names)
    before = kept.before
    since = before.since if before is not None and before.state == State.UNKNOWN else day
    return Memory(kept.day, State.UNKNOWN, since, kept.causes, before, kept.today)


def dump_memory(memory: Memory) -> str:
    """The memory as one line of JSON, for a table."""
    before = memory.before
    document = {
        "day": memory.day.isoformat(),
        "state": int(memory.state),
        "since": memory.since.isoformat(),
        "causes": _plain_causes(memory.causes),
        "before": None
        if before is None
        else [before.day.isoformat(), int(before.state), before.since.isoformat(), _plain_causes(before.causes)],
        "today": {name: [int(one.enter), int(one.hold), one.level, one.slack] for name, one in memory.today.items()},
    }
    return json.dumps(document, separators=(",", ":"))


def load_memory(text: str) -> Memory:
    """The memory that `dump_memory` wrote.

    Raises:
        DataError: the text is none.
    """
    try:
        document = json.loads(text)
        before = document["before"]
        return Memory(
            date.fromisoformat(document["day"]),
            State(document["state"]),
            date.fromisoformat(document["since"]),
            _causes(document["causes"]),
            None
            if before is None
            else Before(
                date.fromisoformat(before[0]), State(before[1]), date.fromisoformat(before[2]), _causes(before[3])
            ),
            {
                name: Evidence(State(enter), State(hold), level, news)
                for name, (enter, hold, level, news) in document["today"].items()
            },
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(
            f"a drive's memory cannot be read: {text[:80]!r} ({error!r}); wanted is what dump_memory wrote; "
            "leave it out and the drive is judged afresh"
        ) from error


def _step(old: Cause | None, evidence: Evidence | None, elapsed_d: int, *, is_frozen: bool) -> Cause | None:
    """One cause, one day on; None when it is calm for good."""
    if evidence is None and is_frozen:
        return old
    if evidence is not None and evidence.enter > (State.GOOD if old is None else old.state):
        level, slack = _worst_level(old, evidence)
        return Cause(evidence.enter, level, slack, 0)
    if old is None:
        return None
    if evidence is not None and evidence.hold >= old.state:
        level, slack = _worst_level(old, evidence)
        return Cause(old.state, level, slack, 0)
    calm = old.calm_days + (elapsed_d if old.calm_days else 1)
    if calm < CALM_DAYS[old.state]:
        return Cause(old.state, old.level, old.slack, calm)
    return None if old.state == State.WATCH else _down(old, evidence)


def _down(old: Cause, evidence: Evidence | None) -> Cause:
    """From REPLACE to WATCH, which has to be calm in its turn; its level is that of today where there is one."""
    if evidence is None:
        return Cause(State.WATCH, old.level, old.slack, 0)
    return Cause(State.WATCH, evidence.level, evidence.slack, 0)


def _worst_level(old: Cause | None, evidence: Evidence) -> tuple[float, float]:
    if old is None:
        return evidence.level, evidence.slack
    return max((old.level, old.slack), (evidence.level, evidence.slack))


def _worse(one: Evidence, other: Evidence) -> Evidence:
    worst = max((one.level, one.slack), (other.level, other.slack))
    return Evidence(max(one.enter, other.enter), max(one.hold, other.hold), *worst)


def _is_known(name: str, cause: Cause, acknowledged: Sequence[Acknowledgement], day: date) -> bool:
    """Whether an operator has seen this cause at about this level."""
    return any(
        one.cause == name and (one.until is None or day <= one.until) and cause.level <= one.level + cause.slack
        for one in acknowledged
    )


def _plain_causes(causes: Mapping[str, Cause]) -> dict[str, list[Any]]:
    return {name: [int(one.state), one.level, one.slack, one.calm_days] for name, one in causes.items()}


def _causes(document: Mapping[str, Sequence[Any]]) -> dict[str, Cause]:
    return {name: Cause(State(state), level, news, calm) for name, (state, level, news, calm) in document.items()}
