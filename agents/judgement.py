"""Was an epoch congested, indebted, idle or stable, and what does its CPU say about the model?

congested: more than `congested_overflow` of the records that reached a proxy were drained for want of CPU, or the
    epoch took more than that above its budget; and there are cheaper shares to go to.
indebted: as much overflow, though the shares ask for no more than epochs are granted: it pays for the epochs before,
    and says nothing of these shares.
idle: more than `idle_share` of the budget was left, and with it the model gives shares that save bytes.
stable: none of these.
The model may be off by a factor, `actual`: CPU taken against what the counts should have cost. What the shares ask for
is judged by it at the present rates, not by the bare CPU of an epoch that happened to bring a batch more or less; and a
share that would rise only beyond the budget leaves nothing idle.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from agents import choice, demand, policies
from agents.choice import Question
from agents.config import RuntimeConfig
from agents.cost_model import QueryCosts
from agents.rates import Smoothed
from agents.shares import EpochSeen, Policy, Shares

Verdict = Literal["congested", "indebted", "idle", "stable"]

# Overflow of a query counts from this part of the budget on; and less than this is nothing to gain or to save.
_MATTERS: Final = 0.005
# Epochs are granted a little more than that on average, so shares that ask for it do not overflow by themselves.
_GRANTED: Final = 1.03
_ACTUAL_LEAST, _ACTUAL_MOST = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an epoch was like.

    Attributes:
        asked_s: CPU that the decided shares ask for per epoch: what is fixed, and `actual` times `expected_s`.
        expected_s: CPU for operators and shipping by the model, at the present rates.
        actual: CPU seconds really taken per second of the model, beside what is fixed.
        done_s: CPU by the model for the operators and the shipping of this epoch's own counts.
        overflow: the largest share of records drained for want of CPU at any proxy that matters.
    """

    verdict: Verdict
    asked_s: float
    expected_s: float
    actual: float
    done_s: float
    overflow: float


@dataclass(frozen=True, slots=True)
class Load:
    """The queries whose rate is not the agent's to choose, and what was decided for them.

    `refused` are shares that were found congested when no better ones could be found: nothing to rise to.
    """

    policy: Policy
    models: Mapping[str, QueryCosts]
    operators: policies.Operators
    shares: Mapping[str, Shares]
    fixed_s: float
    refused: Mapping[str, Shares] | None = None


def judge(seen: EpochSeen, load: Load, config: RuntimeConfig, actual: Smoothed) -> Judgement:
    """Judge an epoch by its counts and by CPU and budget, both per epoch as it is set.

    `actual` is what earlier epochs said, and takes this one in.
    """
    unpaced_s = sum(
        demand.done_s(load.models[version], counts) / seen.length_epochs
        for version, counts in seen.counts.items()
        if version in seen.unpaced and version in load.models
    )
    done_s, overflow = _by_counts(seen, load)
    if done_s > _MATTERS * seen.budget_s:
        taken_s = seen.cpu_s - unpaced_s - load.fixed_s
        actual.add(min(_ACTUAL_MOST, max(_ACTUAL_LEAST, taken_s / done_s)))
    expected_s = policies.taken(load.models, load.shares).cpu_s
    asked_s = load.fixed_s + actual.value * expected_s
    over = asked_s > (1 + config.congested_overflow) * seen.budget_s
    overflowed = overflow > config.congested_overflow
    verdict: Verdict = "stable"
    if over or (overflowed and asked_s > _GRANTED * seen.budget_s):
        verdict = "congested" if _could_fall(load, seen.budget_s) else "stable"
    elif overflowed:
        verdict = "indebted"
    elif asked_s < (1 - config.idle_share) * seen.budget_s and _could_rise(load, actual.value, seen.budget_s):
        verdict = "idle"
    return Judgement(verdict, asked_s, expected_s, actual.value, done_s, overflow)


def _by_counts(seen: EpochSeen, load: Load) -> tuple[float, float]:
    """CPU by the model for what was done, and the largest share of overflow of queries in which it matters."""
    done_s = overflow = 0.0
    for version, counts in seen.counts.items():
        if version not in load.shares:
            continue
        costs = load.models.get(version)
        missed_s = math.inf
        if costs is not None:
            done_s += demand.done_s(costs, counts) / seen.length_epochs
            missed_s = demand.missed_s(costs, counts, load.shares[version]) / seen.length_epochs
        if missed_s > _MATTERS * seen.budget_s:
            overflow = max(overflow, demand.overflow_share(counts))
    return done_s, overflow


def _could_fall(load: Load, budget_s: float) -> bool:
    cheapest = policies.fallback_for(load.policy, load.models, load.operators)
    now_s, then_s = (policies.taken(load.models, shares).cpu_s for shares in (load.shares, cheapest))
    return now_s - then_s > _MATTERS * budget_s


def _could_rise(load: Load, actual: float, budget_s: float) -> bool:
    question = Question(load.policy, load.models, load.operators, (budget_s - load.fixed_s) / actual)
    more = choice.choose(question, load.shares, load.refused)
    if load.policy not in policies.STATIC:
        more = choice.unless_in_vain(question, load.shares, more)
    now_bytes, then_bytes = (policies.taken(load.models, shares).wire_bytes for shares in (load.shares, more))
    return then_bytes < (1 - _MATTERS) * now_bytes
