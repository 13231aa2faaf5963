"""What a query meets between two profiles, kept current from its proxies' counts: records per epoch, selectivities.

Both are known exactly for each epoch and cost nothing. They are smoothed, since a batch more or less falls into an
epoch; a change that two epochs in a row agree on is taken over at once.
"""

from dataclasses import replace
from typing import Final

from agents.cost_model import Prices, QueryCosts
from agents.shares import ProxyCounts

# The newest of n values counts 1/n, and no less than this: what holds for long is known better and better.
_LEAST_WEIGHT: Final = 0.1
# From this part of the smoothed value on, two values on the same side of it are a change and no noise.
_CHANGE: Final = 0.15
# A selectivity is taken from no fewer records than these.
_ENOUGH: Final = 100


class Smoothed:
    """One smoothed number; until something is added, `value` is a guess."""

    def __init__(self, value: float, *, measured: bool = True) -> None:
        """Start from a value that was measured already, or from a guess that the first measured one replaces."""
        self.value = value
        self._count = 1 if measured else 0
        self._before: float | None = None
        self._doubted = False

    def restart(self, *, doubted: bool = False) -> None:
        """What was measured so far is a guess from now on; a `doubted` one counts if the next is about as much."""
        self._count, self._before, self._doubted = (1 if doubted else 0), None, doubted

    def add(self, measured: float) -> None:
        """Take the next epoch's value in."""
        before, self._before = self._before, measured
        doubted, self._doubted = self._doubted, False
        side = _side(measured, self.value)
        if not self._count or (doubted and side):
            self.value, self._count = measured, 1
        elif side and before is not None and _side(before, self.value) == side:
            self.value, self._count = (before + measured) / 2, 2
        else:
            self._count += 1
            self.value += max(1 / self._count, _LEAST_WEIGHT) * (measured - self.value)


class Current:
    """The costs of one query as they were profiled, with the rates as they are now."""

    def __init__(self, costs: QueryCosts) -> None:
        """Start from a fresh profile."""
        self._costs = costs
        self._records = Smoothed(costs.records)
        self._selectivities = _selectivities(costs)

    @property
    def costs(self) -> QueryCosts:
        """The costs, as current as is known."""
        operators = list(self._costs.operators)
        for i, selectivity in enumerate(self._selectivities):
            operators[i] = replace(operators[i], selectivity=selectivity.value)
        return replace(self._costs, records=self._records.value, operators=tuple(operators))

    def profiled(self, costs: QueryCosts) -> None:
        """Take over a new profile; records per epoch stay what many epochs said."""
        self._costs = costs
        self._selectivities = _selectivities(costs)

    def priced(self, prices: Prices) -> None:
        """Shipping takes so much by now."""
        self._costs = self._costs.priced(prices)

    def add(self, counts: ProxyCounts, length_epochs: float = 1.0) -> None:
        """Take in the counts of an epoch, so long."""
        self._records.add(counts.reached[0] / length_epochs)
        for i, selectivity in enumerate(self._selectivities):
            if counts.local[i] >= _ENOUGH:
                selectivity.add(counts.reached[i + 1] / counts.local[i])


def _selectivities(costs: QueryCosts) -> list[Smoothed]:
    return [Smoothed(operator.selectivity) for operator in costs.operators[:-1]]


def _side(measured: float, smoothed: float) -> int:
    """1 or -1 where a measured value lies clearly above or below the smoothed one."""
    if abs(measured - smoothed) <= _CHANGE * abs(smoothed):
        return 0
    return 1 if measured > smoothed else -1
