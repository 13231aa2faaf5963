"""What happens when shares cannot keep the agent within its budget: first the cheapest way to run, then sampling.

Over budget for `epochs` epochs in a row, every query runs the way that takes least CPU, whatever that costs in bytes.
Still over for as long again, live records are thinned evenly, by a share that follows the CPU. It closes step by step:
with room the share rises; at 1, and with room for as long again, the runtime's own shares come back. A breaker that
trips again soon after it closed stays open for longer, so that it does not swing. Pure: CPU readings are fed in.
"""

import logging
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from agents.config import RuntimeConfig
from agents.shares import Decision, Policy

log = logging.getLogger(__name__)

BreakerState: TypeAlias = Literal["closed", "cheapest", "sampling"]

#: The policies whose shares follow the budget. The others do what they say, and metrics show what that takes.
GUARDED: Final[frozenset[Policy]] = frozenset({"adaptive", "best-op", "lb-dp"})
LEAST_SAMPLED: Final = 0.01
# Budgets that must be to be saved by leaving out yet more records.
_WORTH: Final = 0.05
# The share of live records is judged by the mean of so many epochs.
SAMPLING_EPOCHS: Final = 4
LONGEST_WAIT: Final = 8


class Breaker:
    """One agent's breaker."""

    STATES: Final[tuple[BreakerState, ...]] = ("closed", "cheapest", "sampling")

    def __init__(self, config: RuntimeConfig) -> None:
        """`breaker_epochs` with more than `breaker_over` budgets in a row trip it; less than `breaker_room` is room."""
        self.configure(config)
        self.state: BreakerState = "closed"
        self.sampled = 1.0
        self.trips = 0
        self._over = 0
        self._room = 0
        self._wait = 1
        self._closed_for = 0
        self._used: list[float] = []
        self._before: tuple[float, float] | None = None

    def configure(self, config: RuntimeConfig) -> None:
        """Other settings from now on."""
        self._epochs, self._over_share, self._room_share = (
            config.breaker_epochs,
            config.breaker_over,
            config.breaker_room,
        )

    @property
    def _aim(self) -> float:
        """Between room and the budget."""
        return (self._room_share + 1.0) / 2

    def reset(self) -> None:
        """Closed, as at the start."""
        self.state, self.sampled, self._before = "closed", 1.0, None
        self._over = self._room = 0
        self._used.clear()

    def end_of_epoch(self, cpu_s: float, budget_s: float, *, empty: bool) -> None:
        """An epoch took `cpu_s`; `empty`: nothing of the allowance was left, and nothing could have waited."""
        used = cpu_s / budget_s if budget_s > 0 else 0.0
        over = empty and used > self._over_share
        self._over = self._over + 1 if over else 0
        self._room = self._room + 1 if used < self._room_share else 0
        if self.state == "closed":
            self._closed_for += 1
            if self._over >= self._epochs:
                self._trip()
        elif self.state == "cheapest":
            if self._over >= self._epochs:
                self._sample_less(used)
                self._enter("sampling", used)
            elif self._room >= self._epochs * self._wait:
                self._closed_for = 0
                self._enter("closed", used)
        else:
            self._follow(used)

    def applied(self, decision: Decision) -> Decision:
        """The runtime's decision, or what is done in its place; a profile is made all the same.

        What the cheapest way is for a query that has just come, nobody knows before.
        """
        if self.state == "closed":
            return decision
        return replace(decision, shares=decision.fallback, sampled=self.sampled)

    def _trip(self) -> None:
        self.trips += 1
        soon = self.trips > 1 and self._closed_for < 2 * self._epochs
        self._wait = min(2 * self._wait, LONGEST_WAIT) if soon else 1
        self._enter("cheapest", None)

    def _follow(self, used: float) -> None:
        """While sampling: the share of records moves so that a little less than the budget is taken."""
        self._used.append(used)
        if len(self._used) < SAMPLING_EPOCHS:
            return
        mean = sum(self._used) / len(self._used)
        self._used.clear()
        if mean > 1.0:
            if self._less_would_help(mean):
                self._sample_less(mean)
        elif mean < self._room_share:
            self._before = None
            # CPU grows by no more than the share does, so this does not overshoot; the bound is for noise.
            self.sampled = min(1.0, self.sampled * min(self._aim / max(mean, 1e-9), 2.0))
            if self.sampled >= 1.0:
                self._enter("cheapest", mean)

    def _less_would_help(self, mean: float) -> bool:
        """Whether leaving out yet more records would save CPU, going by what the last ones left out have saved.

        Taking records off a socket costs whatever becomes of them; none is given up for nothing.
        """
        if self._before is None or self._before[0] <= self.sampled:
            return True
        sampled, used = self._before
        return (used - mean) / (sampled - self.sampled) * self.sampled > _WORTH

    def _sample_less(self, used: float) -> None:
        self._before = (self.sampled, used)
        self.sampled = max(self.sampled * max(self._aim / used, 0.5), LEAST_SAMPLED)

    def _enter(self, state: BreakerState, used: float | None) -> None:
        """Change state and say so."""
        self.state = state
        self._over = self._room = 0
        self._used.clear()
        if state != "sampling":
            self.sampled = 1.0
        level = logging.INFO if state == "closed" else logging.WARNING
        log.log(
            level,
            "breaker %s sampled=%.3f used_of_budget=%s",
            state,
            self.sampled,
            "over" if used is None else f"{used:.2f}",
        )
