"""The CPU left in the running epoch: a token bucket that keeps the mean over ten epochs within 5 % of the budget.

Each epoch brings 1.02 budgets, at most 0.3 budgets are carried over from quiet epochs, and debts are carried in full:
so any ten epochs take at most 10 x 1.02 + 0.3 = 10.5 budgets.
Shipping comes in bursts at checkpoints, so it is charged when rows are gathered (`owe`), by prediction; what it then
really takes (`ship`) is not charged to the epoch it falls into, and `settle` makes up for the difference.
Pure: the reading of CPU is fed in.
"""

from collections.abc import Callable
from typing import Final

#: What an epoch brings, in budgets, and how much of a quiet one is carried over.
REFILL: Final = 1.02
CARRIED: Final = 0.3
# A longer debt than the stretch over which the mean is kept would only punish.
MOST_DEBT: Final = 10.0


class EpochAllowance:
    """The bucket of one agent; implements agents.shares.Allowance."""

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        """`cpu_s` is the CPU that this process has taken so far. Empty until the first `begin`."""
        self._cpu_s = cpu_s
        self._level_s = 0.0
        self._mark_s = cpu_s()
        self._charged_s = 0.0
        self._owed_s = 0.0
        self._shipped_s = 0.0

    def left_s(self) -> float:
        """CPU seconds; 0 or less: overflow from here on."""
        return self._level_s - (self._cpu_s() - self._mark_s)

    def owe(self, cpu_s: float) -> None:
        """What was just gathered will cost so much to ship at the next checkpoint."""
        self._owed_s += cpu_s
        self.charge(cpu_s)

    def charge(self, cpu_s: float) -> None:
        """CPU that the reading does not show: of children, or still to come."""
        self._level_s -= cpu_s
        self._charged_s += cpu_s

    def ship(self, cpu_s: float) -> None:
        """So much of what the reading shows went into shipping."""
        self._shipped_s += cpu_s
        self.charge(-cpu_s)

    def settle(self) -> float:
        """A checkpoint is done: take the difference between its real and its predicted cost, and return it.

        Taken from what is left, but not counted in `end`: spread it over the epochs until the next checkpoint.
        """
        difference_s = self._shipped_s - self._owed_s
        self._level_s -= difference_s
        self._owed_s = self._shipped_s = 0.0
        return difference_s

    def begin(self, budget_s: float, late_s: float = 0.0) -> None:
        """A new epoch of so much budget; `late_s` is what the last one earned by lasting longer than it should."""
        self._count()
        carried_s = min(self._level_s + REFILL * late_s, CARRIED * budget_s)
        self._level_s = max(carried_s, -MOST_DEBT * budget_s) + REFILL * budget_s

    def end(self) -> float:
        """CPU charged since the last call: what was taken, shipping in the epoch in which its rows were gathered."""
        self._count()
        charged_s, self._charged_s = self._charged_s, 0.0
        return charged_s

    def _count(self) -> None:
        now_s = self._cpu_s()
        self.charge(now_s - self._mark_s)
        self._mark_s = now_s
