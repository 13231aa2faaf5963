"""The end of an epoch: what it took, what was decided, what the next one may take; and what of that can be seen.

Every second or so: the executor's counts and the CPU since the last time go to the runtime; what it decides passes the
breaker and goes to the executor; the allowance is filled up from the budget of just now. An epoch that lasted longer
than it should (a stall, one large batch) earned its budget for that time, up to a few epochs: a host that was
suspended for an hour owes its agent nothing.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, get_args

import msgspec

from agents import policies
from agents.allowance import EpochAllowance
from agents.breaker import GUARDED, Breaker
from agents.config import AgentConfig
from agents.cpu_budget import CpuBudget
from agents.cpu_meter import CpuMeter
from agents.executor import Executor, kinds_of
from agents.own_metrics import Sample
from agents.runtime import Runtime
from agents.shares import Decision, EpochSeen, ProxyCounts, State
from pipeline.plan import JoinStage, Plan
from wire.status import Labels, ProxyStatus, QueryStatus, Status

# An epoch counts for so many at most.
LONGEST_EPOCHS: Final = 3.0
# Of the budget so much at most is kept free of files without a pace, for what cannot wait: no file waits for ever.
MOST_KEPT: Final = 0.9
# CPU and bytes are shown over so many epochs, as the bound on the mean is over as many.
SHOWN_EPOCHS: Final = 10
# A file with a pace may make a debt of so many budgets of an epoch.
PACED_DEBT: Final = 0.25
# What checkpoints take beyond the prices moves by this part towards the newest.
UNPRICED_WEIGHT: Final = 0.5
_STATES: Final[tuple[State, ...]] = get_args(State)


@dataclass(slots=True)
class Totals:
    """What is counted since the start, over all queries."""

    epochs: int = 0
    profiles: int = 0
    overflowed: int = 0
    crowded: int = 0
    sampled_out: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """One epoch as it is shown: its length, the CPU really taken in it, wire bytes by version."""

    length_s: float
    cpu_s: float
    wire_bytes: Mapping[str, int] = field(default_factory=dict)


class EpochLoop:
    """One agent's epochs; used by the agent's thread."""

    def __init__(
        self,
        config: AgentConfig,
        executor: Executor,
        meter: CpuMeter,
        allowance: EpochAllowance,
        *,
        budget: CpuBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        unpaced: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """Begin the first epoch. `unpaced` names the query versions whose records all come from files without pace."""
        self.totals = Totals()
        self._config = config
        self._executor = executor
        self._meter = meter
        self._clock = clock
        self._unpaced = unpaced
        self._budget = budget or CpuBudget(config.budget)
        self.allowance = allowance
        self._runtime = Runtime(config.policy, config.runtime, self._executor.operators)
        self._breaker = Breaker(config.runtime)
        self._decision = self._runtime.decision
        self._counts: Mapping[str, ProxyCounts] = {}
        self._cpu_s = 0.0
        self._children_s = meter.children_s()
        self._total_s = meter.own_s() + self._children_s
        self._unpriced_s = 0.0
        self._earned_s = self._granted_for_s = 0.0
        self._file_rows = 0
        self._file_s = 0.0
        self._other_s: deque[float] = deque([0.0], maxlen=2)
        self._begun_with_s = 0.0
        self._shown: deque[_Seen] = deque(maxlen=SHOWN_EPOCHS)
        self._wire_before = Counter(executor.shipping.bytes_by_version)
        self._wire_now: Mapping[str, int] = {}
        self._began_s = self._earned_to_s = self._due_s = clock()
        self._cores = self._budget.renew(self._total_s, self._began_s)
        self._due_s += config.epoch_s
        self._apply(self._runtime.decision)
        self._begin()

    @property
    def due_s(self) -> float:
        """When the running epoch should end, on the agent's clock."""
        return self._due_s

    @property
    def budget_cores(self) -> float:
        """What the agent may take now."""
        return self._cores

    @property
    def children_s(self) -> float:
        """CPU of the child processes so far."""
        return self._children_s

    @property
    def cpu_cores(self) -> float:
        """What it took over the last ten epochs, each with its own length; the first epoch's end brings a value."""
        length_s = sum(seen.length_s for seen in self._shown)
        return sum(seen.cpu_s for seen in self._shown) / length_s if length_s > 0 else 0.0

    def end(self, now_s: float) -> None:
        """End the running epoch, with all that waits to be run, and begin the next."""
        self._counts = self._executor.end_epoch()
        length_s = max(now_s - self._began_s, 1e-6)
        counted_s = min(length_s, LONGEST_EPOCHS * self._config.epoch_s)
        earned_s = self._earned_s + self._cores * (now_s - self._earned_to_s)
        budget_s = earned_s * counted_s / length_s
        late_s = budget_s - self._granted_for_s
        self._cpu_s = self._counted_cpu_s()
        left_s = self.allowance.left_s() + late_s
        wire = Counter(self._executor.shipping.bytes_by_version)
        self._wire_now, self._wire_before = wire - self._wire_before, wire
        self._decide(budget_s, counted_s / self._config.epoch_s, empty=left_s <= 0 and not self._file_rows)
        self._total()
        self._show(length_s)
        self._other_s.append(max(0.0, self._cpu_s - self._file_s))
        self._file_rows, self._file_s = 0, 0.0
        self._began_s = self._earned_to_s = now_s
        self._earned_s = 0.0
        self._due_s = self._next_due_s(now_s)
        self._cores = self._budget.renew(self._total_s, now_s)
        self._apply(self._runtime.give(self._cores * self._config.epoch_s))
        self._begin(late_s)

    def may_read(self, *, paced: bool) -> bool:
        """Whether a file may be read on, asked before each batch.

        One with a pace until there is some debt: until then its records overflow, as live ones do; under policies that
        let nothing overflow it waits at once. One without a pace while more is left than the others will want by the
        end of the epoch, going by the last two.
        """
        if paced:
            debt_s = 0.0 if self._config.policy in policies.UNMOVED else PACED_DEBT * self._cores * self._config.epoch_s
            return self.allowance.left_s() > -debt_s
        left_s = self.allowance.at_ease_s()
        others_took_s = self._begun_with_s - left_s - self._file_s
        wanted_s = min(max(self._other_s), MOST_KEPT * self._cores * self._config.epoch_s) - others_took_s
        return left_s > max(0.0, wanted_s)

    def note_file(self, rows: int, cpu_s: float) -> None:
        """So many rows of files were read: they could have waited, so an overrun is no reason to thin live ones."""
        self._file_rows += rows
        self._file_s += cpu_s

    @contextmanager
    def shipping(self, *, settles: bool = False) -> Iterator[None]:
        """What is done inside is shipping; with `settles` it is the checkpoint, which sets real against predicted.

        Prices of shipping are learnt in it. What it took beyond the new prices, for the frames as such, say, will
        be taken by the next ones too.
        """
        before_s = self._meter.own_s()
        try:
            yield
        finally:
            self.allowance.ship(self._meter.own_s() - before_s)
            if settles:
                epochs = max(1, round(self._config.checkpoint_s / self._config.epoch_s))
                beyond_s = (self.allowance.settle() - self._executor.shipped_by_price_s()) / epochs
                self._unpriced_s += UNPRICED_WEIGHT * (beyond_s - self._unpriced_s)

    def configure(self, config: AgentConfig) -> None:
        """Other settings from the next epoch on; the budget's at once."""
        if config.budget != self._config.budget:
            self._budget = CpuBudget(config.budget)
            self._give_at_once(self._budget.renew(self._total_s, self._clock()))
        if config.policy != self._config.policy:
            self._breaker.reset()
        self._breaker.configure(config.runtime)
        self._runtime.configure(config.policy, config.runtime)
        self._due_s += config.epoch_s - self._config.epoch_s
        self._config = config
        self._apply(self._runtime.decision)

    def adopt(self) -> None:
        """The executor runs other queries now."""
        self._runtime.adopt(self._executor.operators)
        self._apply(self._runtime.decision)

    def status(self) -> Status:
        """What the runtime decided and why."""
        config = self._config
        return Status(
            agent=config.agent_id,
            sent_ns=time.time_ns(),
            policy=config.policy,
            state=self._runtime.state,
            epochs_in_state=self._runtime.epochs_in_state,
            epoch_s=config.epoch_s,
            budget_cores=self._cores,
            budget_from=self._budget.budget_from,
            cpu_cores=self.cpu_cores,
            breaker=self._breaker.state,
            sampled=self._decision.sampled,
            queries=[self._query_status(run.chain.plan) for run in self._executor.runs],
            labels=Labels(**config.place) if any(config.place.values()) else msgspec.UNSET,
        )

    def samples(self) -> list[Sample]:
        """The metrics of budget, runtime and breaker."""
        name, config = "tailwatch_agents_", self._config
        found = [
            Sample(name + "policy", 1, (("policy", config.policy),)),
            *(Sample(name + "state", state == self._runtime.state, (("state", state),)) for state in _STATES),
            *(Sample(name + "breaker", one == self._breaker.state, (("state", one),)) for one in Breaker.STATES),
            Sample(name + "breaker_trips_total", self._breaker.trips),
            Sample(name + "epochs_total", self.totals.epochs),
            Sample(name + "profiles_total", self.totals.profiles),
            Sample(name + "epoch_cpu_seconds", self._cpu_s),
            Sample(name + "cpu_cores", self.cpu_cores),
            Sample(name + "budget_cores", self._cores, (("from", self._budget.budget_from),)),
            Sample(name + "allowance_seconds", self._runtime.theta_s),
            Sample(name + "overflowed_rows_total", self.totals.overflowed),
            Sample(name + "crowded_rows_total", self.totals.crowded),
            Sample(name + "sampled_share", self._decision.sampled),
            Sample(name + "sampled_out_rows_total", self.totals.sampled_out),
        ]
        for run in self._executor.runs:
            found += self._query_samples(run.chain.plan)
        return found

    def _next_due_s(self, now_s: float) -> float:
        """Epochs keep their rhythm; after a long stall a new one begins, rather than a very short epoch."""
        due_s, epoch_s = self._due_s + self._config.epoch_s, self._config.epoch_s
        return due_s if due_s > now_s + epoch_s / 2 else now_s + epoch_s

    def _begin(self, late_s: float = 0.0) -> None:
        self._granted_for_s = self._cores * self._config.epoch_s
        self.allowance.begin(self._granted_for_s, late_s)
        self._begun_with_s = self.allowance.at_ease_s()

    def _give_at_once(self, cores: float) -> None:
        """Another budget for the rest of the running epoch; the shares follow."""
        if cores > self._cores:
            self._breaker.reset()  # what it was open for may be over; if not, it trips again
        now_s = self._clock()
        self._earned_s += self._cores * (now_s - self._earned_to_s)
        self._earned_to_s, self._cores = now_s, cores
        self._granted_for_s = self._earned_s + cores * max(0.0, self._due_s - now_s)
        left_s = self.allowance.at_ease_s()
        self.allowance.change(self._granted_for_s)
        self._begun_with_s += self.allowance.at_ease_s() - left_s
        self._runtime.give(cores * self._config.epoch_s)

    def _counted_cpu_s(self) -> float:
        """The epoch's CPU: shipping as it was gathered, by its price, and what checkpoints take beyond that."""
        children_s = self._meter.children_s()
        self.allowance.charge(children_s - self._children_s)
        self._children_s = children_s
        return max(0.0, self.allowance.end() + self._unpriced_s)

    def _decide(self, budget_s: float, length_epochs: float, *, empty: bool) -> None:
        overruled = self._breaker.state != "closed"
        if self._config.policy in GUARDED:
            self._breaker.end_of_epoch(self._cpu_s, budget_s, empty=empty)
        seen = EpochSeen(
            cpu_s=self._cpu_s,
            budget_s=budget_s,
            counts=self._counts,
            costs=self._executor.costs(),
            unpaced=self._unpaced(),
            wire_bytes=self._wire_now,
            overruled=overruled,
            length_epochs=length_epochs,
            prices=self._executor.new_prices(),
            owed_s=self._executor.owed_s(),
        )
        self._apply(self._runtime.end_of_epoch(seen))

    def _apply(self, decision: Decision) -> None:
        """What waits, waits: files without a pace never overflow, and until they are profiled run here."""
        unpaced = self._unpaced()
        if unpaced:
            shares = {**decision.shares}
            if self._config.policy in GUARDED:
                unknown = unpaced - set(self._runtime.models)
                shares |= {v: (1.0,) * len(kinds) for v, kinds in self._executor.operators.items() if v in unknown}
            fallback = {**decision.fallback, **{version: shares[version] for version in unpaced & set(shares)}}
            decision = replace(decision, shares=shares, fallback=fallback)
        self._decision = self._breaker.applied(decision)
        self._executor.decide(self._decision)

    def _total(self) -> None:
        totals, counts = self.totals, self._counts.values()
        totals.epochs += 1
        totals.profiles += self._decision.profile
        totals.overflowed += sum(sum(one.overflowed) for one in counts)
        totals.crowded += sum(one.crowded for one in counts)
        totals.sampled_out += sum(one.sampled_out for one in counts)

    def _show(self, length_s: float) -> None:
        total_s = self._meter.own_s() + self._children_s
        self._shown.append(_Seen(length_s, total_s - self._total_s, self._wire_now))
        self._total_s = total_s

    def _query_status(self, plan: Plan) -> QueryStatus:
        predicted = self._runtime.predicted_bytes(plan.version)
        shares = self._shares(plan)
        counts = self._counts.get(plan.version) or ProxyCounts.zeros(len(shares))
        return QueryStatus(
            query=plan.query,
            version=plan.version,
            proxies=[
                ProxyStatus(operator, share, reached, local, overflowed)
                for operator, share, reached, local, overflowed in zip(
                    names_of(plan), shares, counts.reached, counts.local, counts.overflowed, strict=True
                )
            ],
            wire_bytes_per_s=self._wire_bytes_per_s(plan.version),
            predicted_bytes_per_s=None if predicted is None else predicted / self._config.epoch_s,
        )

    def _query_samples(self, plan: Plan) -> list[Sample]:
        name = "tailwatch_agents_"
        of_query = (("query", plan.query), ("version", plan.version))
        found = [
            Sample(name + "proxy_share", share, (*of_query, ("proxy", str(number)), ("operator", operator)))
            for number, (operator, share) in enumerate(zip(names_of(plan), self._shares(plan), strict=True), 1)
        ]
        found.append(Sample(name + "query_wire_bytes_per_second", self._wire_bytes_per_s(plan.version), of_query))
        predicted = self._runtime.predicted_bytes(plan.version)
        if predicted is not None:
            found.append(Sample(name + "predicted_wire_bytes_per_second", predicted / self._config.epoch_s, of_query))
        return found

    def _shares(self, plan: Plan) -> tuple[float, ...]:
        return self._decision.shares.get(plan.version) or (0.0,) * len(plan.stages)

    def _wire_bytes_per_s(self, version: str) -> float:
        length_s = sum(seen.length_s for seen in self._shown)
        return sum(seen.wire_bytes.get(version, 0) for seen in self._shown) / length_s if length_s > 0 else 0.0


def names_of(plan: Plan) -> list[str]:
    """What each operator is called where people read it: its kind, of a join also the table."""
    return [
        f"join {stage.table}" if isinstance(stage, JoinStage) else kind
        for stage, kind in zip(plan.stages, kinds_of(plan), strict=True)
    ]
