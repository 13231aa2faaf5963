"""What a query meets between two profiles, kept current from its proxies' counts: records per epoch, selectivities.

Both are known exactly for each epoch and cost nothing. They are smoothed, since a batch more or less falls into an
epoch; a change that two epochs in a row agree on is taken over at once.
"""

from dataclasses import replace
from typing import Final

from agents.cost_model import QueryCosts
from agents.shares import ProxyCounts

_WEIGHT: Final = 0.3
# From this part of the smoothed value on, two epochs on the same side of it are a change and no noise.
_CHANGE: Final = 0.15
# A selectivity is taken from no fewer records than these.
_ENOUGH: Final = 100


class Smoothed:
    """One smoothed number; until something is added, `value` is a guess."""

    def __init__(self, value: float, *, measured: bool = True) -> None:
        """Start from a value that was measured already, or from a guess that the first measured one replaces."""
        self.value = value
        self._measured = measured
        self._before: float | None = None

    def restart(self) -> None:
        """What was measured so far is a guess from now on."""
        self._measured, self._before = False, None

    def add(self, measured: float) -> None:
        """Take the next epoch's value in."""
        before, self._before = self._before, measured
        if not self._measured:
            self.value, self._measured = measured, True
            return
        if before is not None and _side(before, self.value) == _side(measured, self.value) != 0:
            self.value = (before + measured) / 2
            return
        self.value += _WEIGHT * (measured - self.value)


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
