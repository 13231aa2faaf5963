"""An agent on paper: true costs, an allowance as the real one has, and the runtime deciding. Seconds are numbers here.

An epoch runs batch by batch, each query in turn, under the decision's shares until the allowance is used up and under
its fallback from there on. The allowance is the agent's own, and a budget that changes is told at once, as the agent's
loop does. A profile sees the true costs times lognormal errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from agents import policies
from agents.allowance import EpochAllowance
from agents.config import RuntimeConfig
from agents.cost_model import Groups, OperatorCosts, QueryCosts, groups_per_record
from agents.runtime import Runtime
from agents.shares import Decision, EpochSeen, Policy, ProxyCounts, Shares

BATCH_ROWS = 2**14

# 38,000 probes a second between servers: filter, join, join, project, aggregate; all local takes about 0.96 core s.
PROBES = QueryCosts(
    records=38_000,
    operators=(
        OperatorCosts(0.4e-6, 0.86),
        OperatorCosts(3e-6, 1.0),
        OperatorCosts(3e-6, 1.0),
        OperatorCosts(0.3e-6, 1.0),
        OperatorCosts(22e-6, 1.0),
    ),
    drained_bytes=(30.0, 30.0, 33.0, 36.0, 24.0),
    drained_s=(0.8e-6, 0.8e-6, 0.9e-6, 0.9e-6, 0.7e-6),
    groups=Groups(distinct=900, group_bytes=60.0, group_s=2e-6, checkpoint_epochs=2.0),
)
PROBES_KINDS = ("filter", "join", "join", "project", "aggregate")

# Log lines: two filters, a costly extraction of fields, aggregate; all local takes about 0.9 core s at 20,000 a second.
LOGS = QueryCosts(
    records=20_000,
    operators=(
        OperatorCosts(1e-6, 0.9),
        OperatorCosts(4e-6, 0.5),
        OperatorCosts(60e-6, 1.0),
        OperatorCosts(15e-6, 1.0),
    ),
    drained_bytes=(45.0, 45.0, 44.0, 9.0),
    drained_s=(1.2e-6, 1.2e-6, 1.2e-6, 0.4e-6),
    groups=Groups(distinct=4_000, group_bytes=20.0, group_s=1e-6, checkpoint_epochs=2.0),
)
LOGS_KINDS = ("filter", "filter", "extract", "aggregate")


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch was like, for assertions; `asked_s` is the true CPU that the decided shares ask for."""

    state: str
    shares: Mapping[str, Shares]
    budget_s: float
    cpu_s: float
    wire_bytes: float
    overflow: float
    profiled: bool
    theta_s: float
    asked_s: float
    stable: bool


@dataclass(slots=True)
class SimulatedAgent:
    """The true world of one agent; change `truth`, `budget_s` and so on between epochs."""

    truth: dict[str, QueryCosts]
    kinds: dict[str, tuple[str, ...]]
    budget_s: float
    policy: Policy = "adaptive"
    config: RuntimeConfig = field(default_factory=RuntimeConfig)
    fixed_s: float = 0.02
    sigma: float = 0.1
    batch_noise: float = 0.02
    epoch_noise: float = 0.01
    rate_noise: float = 0.0
    profile_s: float = 0.01
    seed: int = 1
    unpaced: frozenset[str] = frozenset()
    runtime: Runtime = field(init=False)
    epochs: list[Epoch] = field(default_factory=list)
    _cpu_s: float = 0.0
    _allowance: EpochAllowance = field(init=False)
    _slow: float = 1.0
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.runtime = Runtime(self.policy, self.config, self.kinds)
        self._allowance = EpochAllowance(lambda: self._cpu_s)
        self._rng = np.random.default_rng(self.seed)

    def run(self, epochs: int) -> list[Epoch]:
        """So many epochs more; returns them."""
        for _ in range(epochs):
            self._epoch()
        return self.epochs[-epochs:]

    def adopt(self, version: str, costs: QueryCosts, kinds: tuple[str, ...]) -> None:
        """One more query from the next epoch on."""
        self.truth[version], self.kinds[version] = costs, kinds
        self.runtime.adopt(self.kinds)

    def leave(self, version: str) -> None:
        """One query less."""
        del self.truth[version], self.kinds[version]
        self.runtime.adopt(self.kinds)

    def _epoch(self) -> None:
        decision = self.runtime.give(self.budget_s)
        state, theta_s = self.runtime.state, self.runtime.theta_s
        self._allowance.begin(self.budget_s)
        start_s = self._cpu_s
        self._slow = self._noise(self.epoch_noise)
        self._cpu_s += self.fixed_s * self._slow + (self.profile_s if decision.profile else 0)
        runs = {version: _Run(costs) for version, costs in self.truth.items()}
        batches = [
            (version, rows)
            for version, costs in self.truth.items()
            if version not in self.unpaced
            for rows in _batches(int(costs.records * self._noise(self.rate_noise)))
        ]
        batches = [batches[i] for i in self._rng.permutation(len(batches))]
        for version, rows in batches:
            self._batch(decision, runs[version], version, rows)
        while self.unpaced and self._allowance.at_ease_s() > 0:
            for version in sorted(self.unpaced):
                self._batch(decision, runs[version], version, BATCH_ROWS // 8)
        cpu_s = self._cpu_s - start_s
        counts = {version: run.counts for version, run in runs.items()}
        costs = {v: self._profiled(self.truth[v]) for v in counts if counts[v].reached[0]} if decision.profile else None
        wire_bytes = {version: run.wire_bytes() for version, run in runs.items()}
        over = max((run.overflow() for run in runs.values()), default=0.0)
        asked_s = self.fixed_s + policies.taken(self.truth, decision.shares).cpu_s
        self.runtime.end_of_epoch(EpochSeen(cpu_s, self.budget_s, counts, costs, self.unpaced, wire_bytes))
        self.epochs.append(
            Epoch(
                state,
                decision.shares,
                self.budget_s,
                cpu_s,
                sum(wire_bytes.values()),
                over,
                decision.profile,
                theta_s,
                asked_s,
                self.runtime.stable,
            )
        )

    def _batch(self, decision: Decision, run: "_Run", version: str, rows: int) -> None:
        zeros = (0.0,) * len(self.kinds[version])
        shares, fallback = decision.shares.get(version, zeros), decision.fallback.get(version, zeros)
        took_s = run.batch(rows, shares, fallback if self._allowance.left_s() <= 0 else None)
        self._cpu_s += took_s * self._slow * self._noise(self.batch_noise)

    def _profiled(self, costs: QueryCosts) -> QueryCosts:
        """The costs as a profile with errors finds them."""
        return replace(
            costs,
            operators=tuple(replace(one, cpu_s=one.cpu_s * self._noise(self.sigma)) for one in costs.operators),
            drained_bytes=tuple(each * self._noise(self.sigma / 5) for each in costs.drained_bytes),
            drained_s=tuple(each * self._noise(self.sigma) for each in costs.drained_s),
            groups=replace(costs.groups, group_s=costs.groups.group_s * self._noise(self.sigma)),
        )

    def _noise(self, sigma: float) -> float:
        return float(self._rng.lognormal(0.0, sigma)) if sigma else 1.0


class _Run:
    """One query in one epoch."""

    def __init__(self, costs: QueryCosts) -> None:
        self.costs = costs
        self.counts = ProxyCounts.zeros(len(costs.operators))

    def batch(self, rows: int, shares: Shares, fallback: Shares | None) -> float:
        """Rows through the chain; under the fallback where one is given. Returns CPU seconds."""
        costs, counts, cpu_s, reaching = self.costs, self.counts, 0.0, rows
        before = self._groups()
        would_reach = float(rows)
        for i, operator in enumerate(costs.operators):
            local = round((shares if fallback is None else fallback)[i] * reaching)
            would = shares[i] * would_reach
            counts.reached[i] += reaching
            counts.local[i] += local
            over = min(reaching - local, max(0, round(would) - local)) if fallback is not None else 0
            counts.overflowed[i] += over
            cpu_s += local * operator.cpu_s + (reaching - local) * costs.drained_s[i]
            reaching = round(local * operator.selectivity)
            would_reach = local * operator.selectivity
        return cpu_s + (self._groups() - before) * costs.groups.group_s

    def wire_bytes(self) -> float:
        """Bytes of what this epoch left."""
        drained = sum(
            (reached - local) * size
            for reached, local, size in zip(
                self.counts.reached, self.counts.local, self.costs.drained_bytes, strict=True
            )
        )
        return drained + self._groups() * self.costs.groups.group_bytes

    def overflow(self) -> float:
        """The largest share of overflow at a proxy."""
        return max((o / r for o, r in zip(self.counts.overflowed, self.counts.reached, strict=True) if r), default=0.0)

    def _groups(self) -> float:
        local = self.counts.local[-1]
        return local * groups_per_record(self.costs.groups, local)


def _batches(rows: int) -> list[int]:
    """Rows of an epoch as they come: ten or more batches."""
    size = max(1, min(BATCH_ROWS, rows // 10))
    return [size] * (rows // size) + ([rows % size] if rows % size else []) if rows else []
