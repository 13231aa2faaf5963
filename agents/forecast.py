"""What each policy would decide, and what that would take, from the costs that a dry run found.

The rule is the runtime's: sources and the loop are off the budget first, queries with a pace share the rest; files
without a pace get the shares that are best per record, and are read as fast as what then is left allows.
Costs are per record; what a batch costs however few its records are, is the difference between what the dry run took as
an agent and what its records should have: it is taken for the same under every policy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agents import policies
from agents.config import AgentConfig
from agents.cost_model import Predicted, QueryCosts, predicted
from agents.dry_run import QuerySeen, Seen
from agents.executor import kinds_of
from agents.idle_floor import SAMPLER_CORES
from agents.shares import POLICIES, Policy, Shares

# The part of the budget that the runtime steers to.
_TARGET: Final = 0.985


@dataclass(frozen=True, slots=True)
class QueryForecast:
    """One query under one policy; `records_per_s` is what it would keep up with."""

    shares: Shares
    cores: float = 0.0
    wire_bytes_per_s: float = 0.0
    records_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """One policy: by query version, and in all. It fits when what cannot wait takes no more than the budget."""

    policy: Policy
    cores: float
    wire_bytes_per_s: float
    fits: bool
    queries: Mapping[str, QueryForecast] = field(default_factory=dict)


def fixed_cores(seen: Seen) -> float:
    """What is taken whatever is decided: the loop, the reading of what cannot wait, the handling of its batches."""
    return seen.idle.cores + reading_cores(seen) + handling_cores(seen)


def reading_cores(seen: Seen) -> float:
    """What reading live sources and files with a pace takes."""
    turning = seen.idle.turn_s * seen.idle.turns_per_s  # empty polls are in both
    return max(0.0, seen.sources_cores - turning)


def handling_cores(seen: Seen) -> float:
    """What handling the batches of what cannot wait takes beyond their records; 0 where it is not known."""
    if seen.as_agent_cores is None:
        return 0.0
    own_idle = seen.idle.cores - seen.idle.samplers * SAMPLER_CORES
    by_records = sum(
        predicted(query.costs, (1.0,) * len(query.costs.operators)).cpu_s * query.records_per_s / query.costs.records
        for query in seen.queries
        if query.paced and query.costs is not None and query.costs.records > 0
    )
    return max(0.0, seen.as_agent_cores - own_idle - reading_cores(seen) - by_records)


def forecasts(seen: Seen, config: AgentConfig) -> list[Forecast]:
    """Every policy, in the order in which they are documented."""
    return [_forecast(policy, seen, config) for policy in POLICIES]


def _forecast(policy: Policy, seen: Seen, config: AgentConfig) -> Forecast:
    fixed, epoch_s = fixed_cores(seen), config.epoch_s
    room = max(0.0, _TARGET * seen.budget_cores - fixed)
    models = {query.plan.version: query.costs for query in seen.queries if query.costs is not None}
    paced = [query for query in seen.queries if query.paced]
    waiting = [query for query in seen.queries if not query.paced]
    shares = policies.shares_for(policy, models, _operators(paced), room * epoch_s)
    shares |= policies.shares_for(policy, models, _operators(waiting), math.inf)
    found: dict[str, QueryForecast] = {}
    for query in paced:
        found[query.plan.version] = _query(query, shares[query.plan.version], 1.0, epoch_s)
    taken = fixed + sum(one.cores for one in found.values())
    pace = _pace(seen, waiting, models, shares, (seen.budget_cores - taken) * epoch_s, epoch_s)
    for query in waiting:
        found[query.plan.version] = _query(query, shares[query.plan.version], pace, epoch_s)
    reading = pace * _reading_cores(seen, waiting)
    return Forecast(
        policy,
        cores=fixed + reading + sum(one.cores for one in found.values()),
        wire_bytes_per_s=sum(one.wire_bytes_per_s for one in found.values()),
        fits=taken <= seen.budget_cores,
        queries=found,
    )


def _operators(queries: Sequence[QuerySeen]) -> dict[str, tuple[str, ...]]:
    return {query.plan.version: kinds_of(query.plan) for query in queries}


def _pace(
    seen: Seen,
    waiting: Sequence[QuerySeen],
    models: Mapping[str, QueryCosts],
    shares: Mapping[str, Shares],
    left_s: float,
    epoch_s: float,
) -> float:
    """How fast files without a pace are read, as a multiple of how fast they were in the dry run."""
    versions = {query.plan.version for query in waiting}
    each = {version: costs for version, costs in models.items() if version in versions}
    wanted_s = policies.taken(each, shares).cpu_s + _reading_cores(seen, waiting) * epoch_s
    return max(0.0, left_s) / wanted_s if wanted_s > 0 else 0.0


def _reading_cores(seen: Seen, waiting: Sequence[QuerySeen]) -> float:
    """At the pace of the dry run; queries of one stream share its reading."""
    rates: dict[str, float] = {}
    for query in waiting:
        rates[query.plan.source] = max(rates.get(query.plan.source, 0.0), query.records_per_s)
    return sum(rate * seen.reading_s.get(stream, 0.0) for stream, rate in rates.items())


def _query(query: QuerySeen, shares: Shares, pace: float, epoch_s: float) -> QueryForecast:
    if query.costs is None:
        return QueryForecast(shares)
    taken = _at(query.costs, shares, pace)
    return QueryForecast(shares, taken.cpu_s / epoch_s, taken.wire_bytes / epoch_s, pace * query.records_per_s)


def _at(costs: QueryCosts, shares: Shares, pace: float) -> Predicted:
    """Groups are shared by more records when more come; for a rough figure the pace is a factor."""
    taken = predicted(costs, shares)
    return Predicted(taken.wire_bytes * pace, taken.cpu_s * pace)
