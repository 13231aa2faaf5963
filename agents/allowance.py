"""The CPU left in the running epoch, granted so that the mean over ten epochs stays within 5 % of the budget.

An epoch is granted what keeps it and the nine before it within LIMIT budgets on average. So the law holds by
construction, but for the last batch of an epoch: what that overdraws is taken off the next ones, a profile's overdraw
too, and what was taken more than nine epochs ago is forgotten, as the law forgets it. No epoch is granted more than
AT_ONCE above its own budget, however quiet the ones before were.
Shipping comes in bursts at checkpoints, so it is charged when rows are gathered (`owe`), by prediction; what it then
really takes (`ship`) is not charged to the epoch it falls into, and `settle` makes up for the difference.
Pure: the reading of CPU is fed in.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Over so many epochs the mean is kept.
EPOCHS: Final = 10
#: To so many budgets; the rest of the 5 % is for last batches.
LIMIT: Final = 1.04
#: Above its own budget one epoch is granted so many budgets at most.
AT_ONCE: Final = 0.35
# What can wait is done within just the budget.
_AT_EASE: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Past:
    """An epoch that is over; one that was late earned more than the budget it was begun with."""

    taken_s: float
    earned_s: float
    budget_s: float


class EpochAllowance:
    """What one agent may take; implements agents.shares.Allowance."""

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        """`cpu_s` is the CPU that this process has taken so far. Nothing is granted until the first `begin`."""
        self._cpu_s = cpu_s
        self._mark_s = cpu_s()
        self._past: deque[_Past] = deque(maxlen=EPOCHS - 1)
        self._budget_s = 0.0
        self._granted_s = self._at_ease_s = 0.0
        self._taken_s = 0.0
        self._charged_s = 0.0
        self._owed_s = 0.0
        self._shipped_s = 0.0

    def left_s(self) -> float:
        """CPU seconds; 0 or less: overflow from here on."""
        return self._granted_s - self._taken_now_s()

    def at_ease_s(self) -> float:
        """CPU seconds left for what can wait: it keeps the mean within the bare budget."""
        return self._at_ease_s - self._taken_now_s()

    def owe(self, cpu_s: float) -> None:
        """What was just gathered will cost so much to ship at the next checkpoint."""
        self._owed_s += cpu_s
        self.charge(cpu_s)

    def charge(self, cpu_s: float) -> None:
        """CPU that the reading does not show: of children, or still to come."""
        self._taken_s += cpu_s
        self._charged_s += cpu_s

    def ship(self, cpu_s: float) -> None:
        """So much of what the reading shows went into shipping."""
        self._shipped_s += cpu_s
        self.charge(-cpu_s)

    def settle(self) -> float:
        """A checkpoint is done: take what it really cost beyond what was owed; returns what it really cost.

        That is taken from what is left, but not counted in `end`: it is of the epochs whose rows were shipped.
        """
        shipped_s = self._shipped_s
        self._taken_s += shipped_s - self._owed_s
        self._owed_s = self._shipped_s = 0.0
        return shipped_s

    def begin(self, budget_s: float, late_s: float = 0.0) -> None:
        """A new epoch of so much budget; `late_s` is what the last one earned by lasting longer than it should."""
        self._count()
        if self._budget_s > 0:
            self._past.append(_Past(self._taken_s, max(self._budget_s + late_s, 0.0), self._budget_s))
        self._taken_s = 0.0
        self.change(budget_s)

    def change(self, budget_s: float) -> None:
        """The running epoch has another budget."""
        self._budget_s = budget_s
        self._granted_s, self._at_ease_s = self._grant_s(LIMIT), self._grant_s(_AT_EASE)

    def end(self) -> float:
        """CPU charged since the last call: what was taken, shipping in the epoch in which its rows were gathered."""
        self._count()
        charged_s, self._charged_s = self._charged_s, 0.0
        return charged_s

    def _grant_s(self, limit: float) -> float:
        """Budgets that became smaller since then make what was saved smaller too, and what was overdrawn."""
        saved_s = sum(
            (limit * past.earned_s - past.taken_s) * min(1.0, self._budget_s / past.budget_s) for past in self._past
        )
        return limit * self._budget_s + min(saved_s, (1.0 + AT_ONCE - limit) * self._budget_s)

    def _taken_now_s(self) -> float:
        return self._taken_s + (self._cpu_s() - self._mark_s)

    def _count(self) -> None:
        now_s = self._cpu_s()
        self.charge(now_s - self._mark_s)
        self._mark_s = now_s
