"""One policy at one budget of one workload: measured once per run, by whichever table asks first."""

from dataclasses import dataclass, field
from functools import cache
from typing import Final

from agents import policies
from agents.cost_model import QueryCosts
from agents.shares import POLICIES, Policy
from benchmarks.jarvis.host import Host
from benchmarks.jarvis.measured import Mean, cheapest_s, offered, static
from benchmarks.jarvis.settling import epochs_to_stable
from benchmarks.jarvis.sizing import Sizing

ADAPTIVE: Final[Policy] = "adaptive"
BEST_OP: Final[Policy] = "best-op"
LB_DP: Final[Policy] = "lb-dp"
#: At this budget frames are kept for a collector, and gains over best-op are scored.
GAIN_BUDGET: Final = 0.6
# A budget so much below the cheapest split is hopeless: what policies make of it is measured for a shorter time.
_HOPELESS: Final = 0.9


@dataclass(frozen=True, slots=True)
class Found:
    """One policy at one budget.

    Attributes:
        settled: epochs from a cold start to a stable partition; None for policies that never move, or if it never was.
        costs: what the runtime profiled; None where it profiles nothing.
        closed_form: wire bytes per epoch that these costs promise for the adaptive policy and for best-op, within the
            allowance at the end.
        payloads: the frames of one checkpoint after all this, at GAIN_BUDGET.
    """

    mean: Mean
    budget_s: float
    settled: int | None = None
    costs: QueryCosts | None = None
    closed_form: dict[Policy, float] = field(default_factory=dict)
    payloads: tuple[bytes, ...] = ()

    @property
    def keeps(self) -> bool:
        """Whether it stays within the budget and takes every record in."""
        return self.mean.keeps_to(self.budget_s)


@cache
def measured(name: str, share: float, policy: Policy, size: Sizing) -> Found:
    """From a cold start, but for policies that never move."""
    one = offered(name, size)
    budget_s = share * one.need_s
    if policy in policies.STATIC:
        return Found(static(name, policy, size), budget_s)
    hopeless = budget_s < _HOPELESS * cheapest_s(name, size)
    settle, count = (size.hopeless_epochs, size.checkpoint_epochs) if hopeless else (
        size.settle_epochs, size.counted_epochs
    )  # fmt: skip
    with Host(one.load, policy, budget_s, size) as host:
        epochs = host.run(settle)
        host.run_to_checkpoint()
        mean = Mean.of(host.run(count))
        return Found(
            mean, budget_s, epochs_to_stable(epochs, size.checkpoint_epochs), host.runtime.models.get(one.version),
            {each: _promised(host, each) for each in (ADAPTIVE, BEST_OP)},
            _frames(host, size) if share == GAIN_BUDGET else (),
        )  # fmt: skip


@cache
def frames_of(name: str, policy: Policy, size: Sizing) -> tuple[bytes, ...]:
    """What a policy sends in one checkpoint interval at GAIN_BUDGET, after it has settled and been measured."""
    if policy not in policies.STATIC:
        return measured(name, GAIN_BUDGET, policy, size).payloads
    one = offered(name, size)
    with Host(one.load, policy, 1000.0, size) as host:
        host.run(size.checkpoint_epochs)
        return _frames(host, size)


def of_all(name: str, share: float, size: Sizing) -> dict[Policy, Found]:
    """Every policy."""
    return {policy: measured(name, share, policy, size) for policy in POLICIES}


def feasible(found: dict[Policy, Found]) -> bool:
    """Whether any policy at all takes no more than the budget.

    What the goal allows beyond it is for steering, and makes no room where the cheapest split is over the budget.
    """
    return any(one.keeps and one.mean.cpu_s <= one.budget_s for one in found.values())


def best_baseline(found: dict[Policy, Found]) -> Policy | None:
    """The policy with fewest bytes among those that keep to the budget, the adaptive one left out."""
    keeping = [policy for policy, one in found.items() if policy != ADAPTIVE and one.keeps]
    return min(keeping, key=lambda policy: found[policy].mean.wire_bytes, default=None)


def _frames(host: Host, size: Sizing) -> tuple[bytes, ...]:
    host.take_payloads()
    host.run(size.checkpoint_epochs)
    return tuple(host.take_payloads())


def _promised(host: Host, policy: Policy) -> float:
    """Wire bytes per epoch by a policy's closed form within the present allowance, from what is profiled."""
    runtime = host.runtime
    shares = policies.shares_for(policy, runtime.models, host.executor.operators, runtime.theta_s)
    return policies.taken(runtime.models, shares).wire_bytes
