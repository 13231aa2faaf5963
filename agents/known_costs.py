"""What the runtime knows of the load: each query's costs with rates and prices as they are now, and what is fixed.

A profile measures, each epoch's counts and each checkpoint's prices keep it current. What the agent takes beside its
queries (sources, the loop) is fixed; by how much CPU and model differ at a new profile is told from the epochs before.
"""

from collections import deque
from collections.abc import Collection, Mapping
from statistics import median
from typing import Final

from agents import demand, policies
from agents.cost_model import QueryCosts
from agents.rates import Current
from agents.shares import EpochSeen, Shares

#: A change of the budget by this part, or of what the queries take by that part of the budget, is a known change.
BUDGET_CHANGE: Final = 0.05
_NEED_CHANGE: Final = 0.1
# The epochs before a profile correct it if its costs explain this part of the budget, and by no more than that factor.
_TELLING: Final = 0.3
_CREDIBLE: Final = 1.6


class KnownCosts:
    """Of one agent.

    Attributes:
        fixed_s: CPU per epoch beside the queries; 0 until the first profile.
    """

    def __init__(self, epochs: int) -> None:
        """Nothing known yet; the last `epochs` before a profile are compared with it."""
        self._current: dict[str, Current] = {}
        self._recent: deque[EpochSeen] = deque(maxlen=epochs)
        self._fixed_known = False
        self._basis: tuple[float, dict[str, QueryCosts]] | None = None
        self.fixed_s = 0.0

    @property
    def models(self) -> dict[str, QueryCosts]:
        """What was profiled, with rates and prices as they are now."""
        return {version: current.costs for version, current in self._current.items()}

    def keep(self, versions: Collection[str]) -> None:
        """Forget all others."""
        self._current = {version: current for version, current in self._current.items() if version in versions}

    def configure(self, epochs: int) -> None:
        """Compare the last `epochs` from now on."""
        self._recent = deque(self._recent, maxlen=epochs)

    def note(self, seen: EpochSeen) -> None:
        """Take an epoch's rates and prices in."""
        for version, current in self._current.items():
            if version in seen.counts:
                current.add(seen.counts[version], seen.length_epochs)
            if seen.prices is not None and version in seen.prices:
                current.priced(seen.prices[version])
        if seen.prices is not None and self._basis is not None:
            # Better known prices are no change of the load.
            then_s, then = self._basis
            prices = seen.prices
            self._basis = then_s, {v: one.priced(prices[v]) if v in prices else one for v, one in then.items()}

    def remember(self, seen: EpochSeen) -> None:
        """An epoch that tells what costs are: one without a profile, run as it was decided."""
        self._recent.append(seen)

    def changed(self, budget_s: float, shares: Mapping[str, Shares]) -> bool:
        """Whether the budget, or what the queries take with these shares, is not what it was when this was so last."""
        if self._basis is not None and not self._differs(*self._basis, budget_s, shares):
            return False
        known, self._basis = self._basis is not None, (budget_s, self.models)
        return known

    def learn(self, found: Mapping[str, QueryCosts], budget_s: float) -> float:
        """Take over what a profile found; returns how much more than that CPU says, beside what is fixed."""
        for version, costs in found.items():
            if version in self._current:
                self._current[version].profiled(costs)
            else:
                self._current[version] = Current(costs)
        self._basis = budget_s, self.models
        if not self._recent or not self._current:
            return 1.0
        calibrated = self._calibrated(max(0.0, budget_s - self.fixed_s))
        if not self._fixed_known or not 1 / _CREDIBLE <= calibrated <= _CREDIBLE:
            # Costs that were measured just now are not so far off: what is fixed is.
            self._fixed_known = True
            self.fixed_s = max(0.0, median(self._unexplained_s(seen) for seen in self._recent))
            return 1.0
        return calibrated

    def _unexplained_s(self, seen: EpochSeen) -> float:
        """CPU of an epoch beside its queries. Most is drained before the first profile, and shipping has its price."""
        if seen.owed_s is None:
            return seen.cpu_s - self._done_s(seen)
        counted = ((models, seen.counts[version]) for version, models in self.models.items() if version in seen.counts)
        run_s = sum(demand.run_s(costs, counts) for costs, counts in counted)
        return seen.cpu_s - (seen.owed_s + run_s) / seen.length_epochs

    def _done_s(self, seen: EpochSeen) -> float:
        models = self.models
        counted = ((models[version], counts) for version, counts in seen.counts.items() if version in models)
        return sum(demand.done_s(costs, counts) for costs, counts in counted) / seen.length_epochs

    def _calibrated(self, room_s: float) -> float:
        done_s = sum(self._done_s(seen) for seen in self._recent)
        if done_s <= _TELLING * len(self._recent) * room_s:
            return 1.0
        return sum(seen.cpu_s - self.fixed_s for seen in self._recent) / done_s

    def _differs(
        self, then_budget_s: float, then: Mapping[str, QueryCosts], budget_s: float, shares: Mapping[str, Shares]
    ) -> bool:
        if abs(budget_s - then_budget_s) > BUDGET_CHANGE * then_budget_s:
            return True
        now = {version: costs for version, costs in self.models.items() if version in then}
        now_s, then_s = (policies.taken(each, shares).cpu_s for each in (now, {v: then[v] for v in now}))
        return abs(now_s - then_s) > _NEED_CHANGE * budget_s
