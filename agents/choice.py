"""Which shares for an allowance, given those that hold now: the policy's answer, without moves that gain too little.

Costs are known to a few percent, so two answers that differ by less are the same. Three rules follow.
- All that saves bytes is done where it is just above the allowance (SNAP): a hundredth of the raw records can be more
  bytes than the partial results of all others, and what it really takes is then measured, not predicted. Where that
  shows that it does not fit, it is refused for a while.
- Shares that would jump do so for bytes worth the move; else those of now stay, or move along the path they are on.
- While all is well, shares move in small steps.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents import cost_model, policies
from agents.cost_model import Kept, QueryCosts, kept_of, shares_of
from agents.shares import Policy, Shares

#: Above the allowance by this factor all that saves bytes is tried, from where no more than so much is left to do:
#: over a longer way a prediction may be off by more.
SNAP: Final = 1.08
_NEAR: Final = 0.35
# A move by this much of the records is a jump, and must save this part of the bytes.
_JUMP: Final = 0.1
_JUMP_GAIN: Final = 0.03
#: While all is well, a share of the records moves by this much in an epoch at most.
STEP: Final = 0.02
# Shares that are refused are not the answer for this part of what they take by the model.
_LESS: Final = 0.94
_REFUSED_EPOCHS: Final = 60
_REFUSED_MOST: Final = 960
_HALVINGS: Final = 20

ByVersion = Mapping[str, Shares]


@dataclass(frozen=True, slots=True)
class Question:
    """What to choose for."""

    policy: Policy
    models: Mapping[str, QueryCosts]
    operators: policies.Operators
    allowance_s: float


class Refusal:
    """Shares that were found to take too much, though by the model they would fit; ever longer if it happens again."""

    def __init__(self) -> None:
        """None yet."""
        self._shares: dict[str, Shares] | None = None
        self._left = 0
        self._span = _REFUSED_EPOCHS

    @property
    def shares(self) -> dict[str, Shares] | None:
        """Those that are not to be tried now."""
        return self._shares if self._left else None

    def note(self, shares: ByVersion) -> None:
        """These took too much."""
        again = self._shares == dict(shares)
        self._span = min(2 * self._span, _REFUSED_MOST) if again else _REFUSED_EPOCHS
        self._shares, self._left = dict(shares), self._span

    def epoch(self) -> None:
        """Another epoch is over."""
        self._left = max(0, self._left - 1)

    def forget(self) -> None:
        """Something has changed: all may be tried."""
        self._shares, self._left = None, 0


def choose(question: Question, now: ByVersion, refused: ByVersion | None = None) -> dict[str, Shares]:
    """The policy's answer; what is refused only with so much less that it is another one."""
    policy, models, operators = question.policy, question.models, question.operators
    found = policies.shares_for(policy, models, operators, question.allowance_s)
    if policy == "adaptive":
        everything = policies.shares_for(policy, models, operators, math.inf)
        near = (moved(now, everything) or 0.0) <= _NEAR
        if near and policies.taken(models, everything).cpu_s <= SNAP * question.allowance_s:
            found = everything
        elif policies.taken(models, found).cpu_s > question.allowance_s:
            # Nothing fits, or just about nothing: then the cheapest way is the answer, as far as that is known.
            least = policies.fallback_for(policy, models, operators)
            if policies.taken(models, least).cpu_s > question.allowance_s:
                found = least
    if found == refused and policy not in policies.STATIC:
        less_s = _LESS * policies.taken(models, found).cpu_s
        found = policies.shares_for(policy, models, operators, min(question.allowance_s, less_s))
    return found


def unless_in_vain(question: Question, now: ByVersion, new: dict[str, Shares]) -> dict[str, Shares]:
    """`new`, or what is as good and nearer to `now`."""
    apart = moved(now, new)
    if apart is None or apart <= _JUMP:
        return new
    models = question.models
    old, wanted = policies.taken(models, now), policies.taken(models, new)
    fits = old.cpu_s <= max(policies.ROUNDING_COST * question.allowance_s, policies.ABOUT * wanted.cpu_s)
    if fits and wanted.wire_bytes > (1 - _JUMP_GAIN) * old.wire_bytes:
        return dict(now)
    if question.policy != "adaptive":
        return new
    along = _along(question, now)
    if along is not None and wanted.wire_bytes > (1 - _JUMP_GAIN) * policies.taken(models, along).wire_bytes:
        return along
    return new


def cheapest(question: Question, now: ByVersion) -> dict[str, Shares]:
    """What is left when the allowance is used up; that of now while it is about as cheap and ships no more."""
    new = policies.fallback_for(question.policy, question.models, question.operators)
    if not moved(now, new):
        return new
    old, wanted = (policies.taken(question.models, shares) for shares in (now, new))
    stays = old.cpu_s <= policies.ABOUT * wanted.cpu_s and wanted.wire_bytes > (1 - _JUMP_GAIN) * old.wire_bytes
    return {version: now[version] for version in new} if stays else new


def in_steps(now: ByVersion, new: dict[str, Shares]) -> dict[str, Shares]:
    """A step from `now` towards `new`; shares that jump do so at once."""
    apart = moved(now, new)
    if apart is None or apart <= STEP or apart > _JUMP:
        return new
    part = STEP / apart
    return {
        version: shares_of(
            tuple(
                before + part * (after - before)
                for before, after in zip(kept_of(now[version]), kept_of(one), strict=True)
            )
        )
        for version, one in new.items()
    }


def moved(now: ByVersion, new: ByVersion) -> float | None:
    """By how much of the records the two differ at most; None where they are of other queries."""
    if any(len(now.get(version, ())) != len(one) for version, one in new.items()):
        return None
    return max(
        (
            abs(before - after)
            for version, one in new.items()
            for before, after in zip(kept_of(now[version]), kept_of(one), strict=True)
        ),
        default=0.0,
    )


def whole(shares: ByVersion) -> bool:
    """Whether all of them are 0 or 1, so that there is no trimming them."""
    return not any(0 < share < 1 for one in shares.values() for share in one)


def _along(question: Question, now: ByVersion) -> dict[str, Shares] | None:
    """The shares of now, with the one block that runs in part run for as much as the allowance is good for."""
    kept = {version: kept_of(one) for version, one in now.items() if version in question.models}
    version = next((version for version, one in kept.items() if any(0 < e < 1 for e in one)), None)
    if version is None:
        return None
    models, mine = question.models, kept[version]
    level = next(e for e in mine if 0 < e < 1)
    others_s = sum(cost_model.predicted(models[v], now[v]).cpu_s for v in kept if v != version)

    def at(part: float) -> Kept:
        return tuple(part if e == level else e for e in mine)

    def fits(part: float) -> bool:
        return others_s + cost_model.predicted(models[version], shares_of(at(part))).cpu_s <= question.allowance_s

    good, bad = (0.0, 1.0) if fits(0.0) else (1.0, 0.0)
    if not fits(good) or fits(bad):
        return None
    for _ in range(_HALVINGS):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return {**now, version: shares_of(at(good))}
