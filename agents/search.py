"""A search for the effective allowance, one step per epoch: what was tried, whether it was too much, what comes next.

It turns the one number of tuning.py. It is over when an epoch is stable, when no allowance is right because the shares
jump there, or after so many steps; then the last allowance that was not too much holds, and the shares that were are
to be refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from agents.judgement import Judgement
from agents.shares import Shares
from agents.tuning import Stretch

Outcome: TypeAlias = Literal["found", "go on", "given up"]

# Shares whose epoch came as the model expected were a test of all of the allowance that they were decided for.
_AS_EXPECTED: Final = 0.05
_DEBT_EPOCHS: Final = 10


@dataclass(frozen=True, slots=True)
class Tried:
    """What an epoch was a test of, in CPU seconds beside what is fixed.

    `room_s` is the budget's, `decided_s` the allowance that was decided for, `expected_s` what its shares should take.
    """

    room_s: float
    decided_s: float
    expected_s: float


class Search:
    """The present or the last one.

    Attributes:
        then_profile: whether costs are measured anew when it ends without a result.
        too_much: the last shares that were congested.
    """

    def __init__(self, stretch: Stretch, steps: int) -> None:
        """`steps` at most, until `begin` says otherwise."""
        self.then_profile = False
        self.too_much: dict[str, Shares] | None = None
        self._stretch = stretch
        self._most = steps
        self._steps = self._waited = 0

    @property
    def begun(self) -> bool:
        """Whether a step was made."""
        return self._steps + self._waited > 0

    def begin(self, steps: int, *, then_profile: bool = False) -> None:
        """A new one, from the present allowance, of so many steps at most."""
        self.then_profile, self.too_much = then_profile, None
        self._most, self._steps, self._waited = steps, 0, 0
        self._stretch.start(self._stretch.value)

    def step(self, judged: Judgement, shares: Mapping[str, Shares], tried: Tried, right_s: float) -> Outcome:
        """Take in the epoch that ran with `shares`; its CPU says that `right_s` beside what is fixed would be right."""
        if judged.verdict == "stable":
            return "found"
        if judged.verdict == "indebted" and self._waited < _DEBT_EPOCHS:
            self._waited += 1  # debts end with the stretch over which the mean is kept
            return "go on"
        self._steps += 1
        suggested = right_s / judged.actual / tried.room_s if tried.room_s > 0 else 0.0
        if judged.verdict == "congested":
            self.too_much = dict(shares)
            self._stretch.was_too_much(self._tested(judged, tried), suggested)
        elif judged.verdict == "idle":
            self._stretch.was_too_little(self._tested(judged, tried), suggested)
        if self._stretch.collapsed or self._steps >= self._most:
            self._stretch.give_up()
            return "given up"
        return "go on"

    def _tested(self, judged: Judgement, tried: Tried) -> float:
        """The stretch that the epoch was a test of.

        By what its records asked for; where they came as expected and the shares leap over some of the allowance, all
        of that allowance was tested with them.
        """
        if tried.room_s <= 0:
            return self._stretch.value
        asked, decided = judged.expected_s / tried.room_s, tried.decided_s / tried.room_s
        if abs(judged.expected_s - tried.expected_s) > _AS_EXPECTED * tried.expected_s:
            return asked
        return max(asked, decided) if judged.verdict == "idle" else min(asked, decided)
