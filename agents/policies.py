"""Which shares each policy gives, from the profiled costs and an allowance: one function, six rules.

| policy | shares | allowance | profile |
|---|---|---|---|
| adaptive | fewest wire bytes within the allowance, any shares (cost_model.least_bytes) | all queries together | yes |
| all-sp | 0: every record is drained as it came | not looked at | no |
| all-src | 1: every record is aggregated here | not looked at | no |
| filter-src | 1 up to and with the last of the leading filters, then 0 | not looked at | no |
| best-op | zeros and ones: per query the prefix of operators that makes fewest bytes in all | all together | yes |
| lb-dp | (x, 1, 1, ...), the same x for all queries, as large as fits | all together | yes |

Queries without a profile are drained under the last column's "yes". Where nothing fits, the answer is the cheapest in
CPU that the rule allows. The allowance is for operators and shipping: what sources and the loop take is off already.
When an epoch's allowance is used up, `fallback_for` says what is left: the cheapest shares, but for all-sp and all-src,
which stay what they are.
"""

import math
from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Final, TypeAlias

from agents import cost_model
from agents.cost_model import Kept, Predicted, QueryCosts
from agents.shares import Policy, Shares

# Policies whose shares follow from the kinds of operators alone.
STATIC: Final[frozenset[Policy]] = frozenset({"all-sp", "all-src", "filter-src"})
# Policies that stay what they are when the allowance is used up.
UNMOVED: Final[frozenset[Policy]] = frozenset({"all-sp", "all-src"})
# All that saves bytes is done where it costs no more than ROUNDING_COST of the allowance; within the same bound an e
# this near to 1 becomes 1: a hundredth of the raw records can be more bytes than the partial results of all others.
NEAR_ONE: Final = 0.97
ROUNDING_COST: Final = 1.03
#: Two CPU figures within this factor are the same.
ABOUT: Final = 1.05
# best-op tries every combination of prefixes up to this many, and improves one query at a time beyond.
_COMBINATIONS: Final = 4096
_HALVINGS: Final = 30

Operators: TypeAlias = Mapping[str, tuple[str, ...]]
_Option: TypeAlias = tuple[Kept, Predicted]


def shares_for(
    policy: Policy, models: Mapping[str, QueryCosts], operators: Operators, allowance_s: float
) -> dict[str, Shares]:
    """Shares by version, one vector for each of `operators`, whose kinds are "filter", "join", ..., "aggregate".

    Args:
        models: what is profiled; versions that are not in `operators` do not count.
        allowance_s: CPU seconds per epoch for operators and shipping of all queries.
    """
    profiled = {version: models[version] for version in operators if version in models}
    shares: dict[str, Shares] = {version: (0.0,) * len(kinds) for version, kinds in operators.items()}
    if policy == "all-src":
        return {version: (1.0,) * len(kinds) for version, kinds in operators.items()}
    if policy == "filter-src":
        return {version: _leading_filters(kinds) for version, kinds in operators.items()}
    if policy == "all-sp" or not profiled:
        return shares
    if policy == "adaptive":
        kept = _fewest_bytes(profiled, allowance_s)
    elif policy == "best-op":
        kept = _best_prefixes(profiled, allowance_s)
    else:
        kept = _same_part(profiled, allowance_s)
    return shares | _shares(kept)


def fallback_for(policy: Policy, models: Mapping[str, QueryCosts], operators: Operators) -> dict[str, Shares]:
    """Shares by version for the rest of an epoch whose allowance is used up."""
    if policy in UNMOVED:
        return shares_for(policy, models, operators, 0.0)
    zeros: dict[str, Shares] = {version: (0.0,) * len(kinds) for version, kinds in operators.items()}
    if policy == "lb-dp":
        return shares_for(policy, models, operators, -1.0)
    return zeros | {version: _about_cheapest(models[version]) for version in operators if version in models}


def taken(models: Mapping[str, QueryCosts], shares: Mapping[str, Shares]) -> Predicted:
    """What all profiled queries take with these shares, per epoch."""
    each = [cost_model.predicted(costs, shares[version]) for version, costs in models.items() if version in shares]
    return Predicted(sum(one.wire_bytes for one in each), sum(one.cpu_s for one in each))


def _shares(kept: Mapping[str, Kept]) -> dict[str, Shares]:
    return {version: cost_model.shares_of(one) for version, one in kept.items()}


def _about_cheapest(costs: QueryCosts) -> Shares:
    """Of the prefixes that take about the least CPU, the one with fewest bytes: costs are known no better."""
    options = _prefixes(costs)
    least_s = min(_cpu(option) for option in options)
    kept, _ = min(
        (option for option in options if _cpu(option) <= ABOUT * least_s),
        key=lambda option: (option[1].wire_bytes, option[1].cpu_s),
    )
    return cost_model.shares_of(kept)


def _leading_filters(kinds: tuple[str, ...]) -> Shares:
    leading = next((i for i, kind in enumerate(kinds) if kind != "filter"), len(kinds))
    return (1.0,) * leading + (0.0,) * (len(kinds) - leading)


def _fewest_bytes(models: Mapping[str, QueryCosts], allowance_s: float) -> dict[str, Kept]:
    """All that saves bytes where the allowance is just short of it, else what it is good for."""
    everything = cost_model.least_bytes(models, math.inf)
    if taken(models, _shares(everything)).cpu_s <= ROUNDING_COST * allowance_s:
        return everything
    return _rounded(models, cost_model.least_bytes(models, allowance_s), allowance_s)


def _rounded(models: Mapping[str, QueryCosts], kept: dict[str, Kept], allowance_s: float) -> dict[str, Kept]:
    """An e near 1 is 1 where the CPU allows it and bytes do not grow."""
    near = {version: tuple(1.0 if e >= NEAR_ONE else e for e in one) for version, one in kept.items()}
    if near == kept:
        return kept
    before, after = (taken(models, _shares(each)) for each in (kept, near))
    return near if after.cpu_s <= ROUNDING_COST * allowance_s and after.wire_bytes <= before.wire_bytes else kept


def _best_prefixes(models: Mapping[str, QueryCosts], allowance_s: float) -> dict[str, Kept]:
    """One prefix per query: every combination where these are few, else one query at a time from the cheapest on."""
    options = {version: _prefixes(costs) for version, costs in models.items()}
    if prod(len(prefixes) for prefixes in options.values()) <= _COMBINATIONS:
        return _best_of_all(options, allowance_s)
    chosen = {version: min(prefixes, key=_cpu) for version, prefixes in options.items()}
    while True:
        left_s = allowance_s - sum(predicted.cpu_s for _, predicted in chosen.values())
        best: tuple[float, str, _Option] | None = None
        for version, (_, now) in chosen.items():
            for option in options[version]:
                saved, more_s = now.wire_bytes - option[1].wire_bytes, option[1].cpu_s - now.cpu_s
                if saved <= 0 or more_s > left_s:
                    continue
                ratio = saved / more_s if more_s > 0 else float("inf")
                if best is None or ratio > best[0]:
                    best = ratio, version, option
        if best is None:
            return {version: kept for version, (kept, _) in chosen.items()}
        chosen[best[1]] = best[2]


def _best_of_all(options: Mapping[str, list[_Option]], allowance_s: float) -> dict[str, Kept]:
    def worth(combination: tuple[_Option, ...]) -> tuple[float, float, float]:
        cpu_s = sum(predicted.cpu_s for _, predicted in combination)
        return (max(0.0, cpu_s - allowance_s), sum(predicted.wire_bytes for _, predicted in combination), cpu_s)

    best = min(product(*options.values()), key=worth)
    return {version: kept for version, (kept, _) in zip(options, best, strict=True)}


def _prefixes(costs: QueryCosts) -> list[_Option]:
    count = len(costs.operators)
    vectors = [(1.0,) * length + (0.0,) * (count - length) for length in range(count + 1)]
    return [(kept, cost_model.predicted(costs, kept)) for kept in vectors]


def _cpu(option: _Option) -> float:
    return option[1].cpu_s


def _same_part(models: Mapping[str, QueryCosts], allowance_s: float) -> dict[str, Kept]:
    """The largest x that fits; where neither 0 nor 1 does, the cheaper of them."""

    def part(x: float) -> dict[str, Kept]:
        return {version: (x,) * len(costs.operators) for version, costs in models.items()}

    def cpu_s(x: float) -> float:
        return taken(models, _shares(part(x))).cpu_s

    all_s, none_s = cpu_s(1.0), cpu_s(0.0)
    if all_s <= max(allowance_s, none_s):
        return part(1.0)
    if none_s >= allowance_s:
        return part(0.0)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if cpu_s(middle) <= allowance_s else (low, middle)
    return _rounded(models, part(low), allowance_s)
