"""Was an epoch congested, idle or stable, and what does its CPU say about the model?

congested: more than `congested_overflow` of the records that reached a proxy were drained for want of CPU, or the
    epoch took more than that above its budget; and there are cheaper shares to go to. Overflow while the shares ask
    for less than would be idle pays the debts of the epochs before, and says nothing of these shares.
idle: more than `idle_share` of the budget was left, and with it the model gives shares that save bytes.
stable: neither.
The model may be off by a factor, `actual`; it is taken from the epoch itself, so that what is left is measured in the
model's own seconds, and a share that would rise only beyond the budget leaves nothing idle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from agents import demand, policies
from agents.config import RuntimeConfig
from agents.cost_model import QueryCosts
from agents.shares import EpochSeen, Policy, Shares

Verdict = Literal["congested", "idle", "stable"]

# Overflow of a query counts from this part of the budget on; and less than this is nothing to gain or to save.
_MATTERS: Final = 0.005
_ACTUAL_LEAST, _ACTUAL_MOST = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an epoch was like.

    Attributes:
        asked_s: CPU that the decided shares asked for: taken, and what the overflow would have taken on top.
        modelled_s: the same by the model, without what is fixed.
        actual: CPU seconds really taken per second of the model, beside what is fixed.
        overflow: the largest share of records drained for want of CPU at any proxy that matters.
    """

    verdict: Verdict
    asked_s: float
    modelled_s: float
    actual: float
    overflow: float


@dataclass(frozen=True, slots=True)
class Load:
    """The queries whose rate is not the agent's to choose, and what was decided for them."""

    policy: Policy
    models: Mapping[str, QueryCosts]
    operators: policies.Operators
    shares: Mapping[str, Shares]
    fixed_s: float


def judge(seen: EpochSeen, load: Load, config: RuntimeConfig) -> Judgement:
    """Judge an epoch by its CPU and counts."""
    unpaced_s = sum(
        demand.done_s(load.models[version], counts)
        for version, counts in seen.counts.items()
        if version in seen.unpaced and version in load.models
    )
    used_s = seen.cpu_s - unpaced_s
    done_s, missed_s, overflow = _by_counts(seen, load)
    actual = _actual(used_s - load.fixed_s, done_s)
    asked_s = used_s + actual * missed_s
    verdict: Verdict = "stable"
    over = used_s > (1 + config.congested_overflow) * seen.budget_s
    overflowed = overflow > config.congested_overflow
    roomy = asked_s < (1 - config.idle_share) * seen.budget_s
    if (over or (overflowed and not roomy)) and _could_fall(load, seen.budget_s):
        verdict = "congested"
    elif roomy and not overflowed and _could_rise(load, actual, seen.budget_s):
        verdict = "idle"
    return Judgement(verdict, asked_s, done_s + missed_s, actual, overflow)


def _by_counts(seen: EpochSeen, load: Load) -> tuple[float, float, float]:
    done_s = missed_s = overflow = 0.0
    for version, counts in seen.counts.items():
        costs = load.models.get(version)
        if version in seen.unpaced or version not in load.shares:
            continue
        if costs is None:
            overflow = max(overflow, demand.overflow_share(counts))
            continue
        missing_s = demand.missed_s(costs, counts, load.shares[version])
        done_s += demand.done_s(costs, counts)
        missed_s += missing_s
        if missing_s > _MATTERS * seen.budget_s:
            overflow = max(overflow, demand.overflow_share(counts))
    return done_s, missed_s, overflow


def _actual(taken_s: float, modelled_s: float) -> float:
    if modelled_s <= 0:
        return 1.0
    return min(_ACTUAL_MOST, max(_ACTUAL_LEAST, taken_s / modelled_s))


def _could_fall(load: Load, budget_s: float) -> bool:
    cheapest = policies.fallback_for(load.policy, load.models, load.operators)
    now_s, then_s = (policies.taken(load.models, shares).cpu_s for shares in (load.shares, cheapest))
    return now_s - then_s > _MATTERS * budget_s


def _could_rise(load: Load, actual: float, budget_s: float) -> bool:
    allowance_s = (budget_s - load.fixed_s) / actual
    more = policies.shares_for(load.policy, load.models, load.operators, allowance_s)
    now_bytes, then_bytes = (policies.taken(load.models, shares).wire_bytes for shares in (load.shares, more))
    return then_bytes < (1 - _MATTERS) * now_bytes
