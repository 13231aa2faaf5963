"""What a query costs per record in CPU and wire bytes, by operator; which shares make fewest bytes for an allowance.

Of one record offered, Q_i = q_1 * ... * q_i reach cut i; a record drained there takes b_i encoded bytes and s_i CPU
seconds to encode, spool and send. So of a record offered, R_i = Q_i b_i bytes and S_i = Q_i s_i seconds are shipped if
it leaves at cut i, and operator i costs Q_{i-1} c_i. Moving it through operator i saves the gain g_i = R_{i-1} - R_i
and costs the net w_i = Q_{i-1} c_i - (S_{i-1} - S_i). Where that is negative, running the operator is the cheaper way.
The last cut is the partial result, whose bytes depend on how many records share a group: `Groups` says how many.
"""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul
from typing import Final, TypeAlias

# Rounds of finding the groups that belong to an answer, and from which change of e on they are found.
_ROUNDS: Final = 6
_HALVINGS: Final = 16
_CLOSE: Final = 1e-3
# Aggregates that run in part and are tried without, at most.
_EXCLUDED: Final = 3
_SLACK: Final = 0.005


@dataclass(frozen=True, slots=True)
class OperatorCosts:
    """One operator, per record that it takes in."""

    cpu_s: float
    selectivity: float


@dataclass(frozen=True, slots=True)
class Groups:
    """Distinct groups among n records, and what one takes on the wire.

    `distinct` is how many there are in all, as far as is known; n records spread evenly meet distinct * (1 - (1 - 1 /
    distinct) ** n) of them. `checkpoint_epochs` is over how many epochs one partial result gathers.
    """

    distinct: float
    group_bytes: float
    group_s: float
    checkpoint_epochs: float


@dataclass(frozen=True, slots=True)
class Prices:
    """What shipping takes: per record at the cuts 0..M-1 in bytes and CPU seconds, then per group."""

    drained_bytes: tuple[float, ...]
    drained_s: tuple[float, ...]
    group_bytes: float
    group_s: float


@dataclass(frozen=True, slots=True)
class QueryCosts:
    """One query as it was profiled.

    Attributes:
        records: offered to the first proxy in an epoch.
        operators: row stages, then the aggregate: M of them.
        drained_bytes, drained_s: b_i and s_i for cuts 0..M-1.
        groups: the partial result.
        taken_in_s: CPU per record offered for what is done with it wherever it goes: windows, proxies, counts.
    """

    records: float
    operators: tuple[OperatorCosts, ...]
    drained_bytes: tuple[float, ...]
    drained_s: tuple[float, ...]
    groups: Groups
    taken_in_s: float = 0.0

    def priced(self, prices: Prices) -> "QueryCosts":
        """The same with other prices of shipping."""
        groups = replace(self.groups, group_bytes=prices.group_bytes, group_s=prices.group_s)
        return replace(self, drained_bytes=prices.drained_bytes, drained_s=prices.drained_s, groups=groups)


# Of the records offered, what is still here after each proxy: e_1..e_M, never rising.
Kept: TypeAlias = tuple[float, ...]
# What moving all records through one operator saves in wire bytes and costs in net CPU seconds, per epoch.
Step: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Per epoch: bytes on the wire, and CPU for the operators and for shipping (sources and loop are not in it)."""

    wire_bytes: float
    cpu_s: float


def predicted(costs: QueryCosts, shares: Sequence[float]) -> Predicted:
    """What an epoch of this query takes with these shares."""
    return _taken(costs, kept_of(shares))


def shares_of(kept: Kept) -> tuple[float, ...]:
    """p_i = e_i / e_{i-1}; 0 for a proxy that nothing reaches."""
    before = (1.0, *kept[:-1])
    return tuple(min(1.0, e / above) if above > 0 else 0.0 for e, above in zip(kept, before, strict=True))


def kept_of(shares: Sequence[float]) -> Kept:
    """e_i = p_1 * ... * p_i."""
    return tuple(accumulate(shares, mul))


def cheapest(costs: QueryCosts) -> tuple[float, ...]:
    """The shares that take least CPU; of equal ones those with fewer bytes. Always zeros and ones: a prefix.

    Costs grow more slowly than records where groups are shared, so no mixture is cheaper than both its ends.
    """
    return shares_of(fill([steps_of(costs)], -math.inf)[0])


def drained_s(costs: QueryCosts) -> float:
    """CPU seconds per epoch for taking all records in and shipping them as they came."""
    return costs.records * (costs.taken_in_s + costs.drained_s[0])


def steps_of(costs: QueryCosts, aggregated: float = 1.0) -> list[Step]:
    """(gain, net cost) of each operator for all records of an epoch.

    The last one is what a record saves on average when the share `aggregated` of the records is aggregated here: the
    fewer, the less they share groups. A query without records is taken for one with a single record, so that
    its shares are sensible when records come.
    """
    records = costs.records if costs.records > 0 else 1.0
    steps: list[Step] = []
    reaching = records
    last = len(costs.operators) - 1
    for i, operator in enumerate(costs.operators):
        bytes_before, s_before = reaching * costs.drained_bytes[i], reaching * costs.drained_s[i]
        if i < last:
            leaving = reaching * operator.selectivity
            bytes_after, s_after = leaving * costs.drained_bytes[i + 1], leaving * costs.drained_s[i + 1]
        else:
            leaving = reaching * groups_per_record(costs.groups, aggregated * reaching)
            bytes_after, s_after = leaving * costs.groups.group_bytes, leaving * costs.groups.group_s
        steps.append((bytes_before - bytes_after, reaching * operator.cpu_s - (s_before - s_after)))
        reaching = leaving
    return steps


def groups_per_record(groups: Groups, records: float) -> float:
    """How many groups of a partial result there are per record, at so many records an epoch; at most 1."""
    gathered = records * groups.checkpoint_epochs
    if gathered <= 1:
        return 1.0
    if groups.distinct <= 1:
        return 1.0 / gathered
    met = -groups.distinct * math.expm1(gathered * math.log1p(-1 / groups.distinct))
    return min(1.0, met / gathered)


def fill(chains: Sequence[Sequence[Step]], allowance_s: float) -> list[Kept]:
    """The e vectors that save most bytes with net costs of at most `allowance_s` in all, exactly.

    An e vector is a mixture of prefixes of its chain, so what a chain can do are the points between its prefixes in
    the plane of net cost and gain. Only the upper left edge of these is worth taking: from the cheapest prefix (net
    costs may be negative) to the one with most gain, flatter and flatter; a stretch of it is a block of pooled
    operators. All chains start at their cheapest prefix, then the blocks of all are taken in the order of gain per
    second until the allowance ends; at most one of them is taken in part. So
    - where even the cheapest prefixes cost more than the allowance, these are the answer;
    - an operator that saves CPU and bytes always runs, one that costs CPU and saves nothing never does;
    - one that saves CPU but expands runs only while the CPU is needed elsewhere or is not there.
    """
    edges = [_edge(steps) for steps in chains]
    left = allowance_s - sum(edge[0].cost_s for edge in edges)
    kept = [
        _mixture(len(steps), edge[0].length, edge[0].length, 0.0) for steps, edge in zip(chains, edges, strict=True)
    ]
    blocks: list[tuple[float, int, int]] = []
    for chain, edge in enumerate(edges):
        slope = math.inf
        for end in range(1, len(edge)):
            gain, cost = edge[end].gain - edge[end - 1].gain, edge[end].cost_s - edge[end - 1].cost_s
            # Rounding must not bring the blocks of one chain out of order.
            slope = min(slope, gain / cost)
            blocks.append((-slope, chain, end))
    for _, chain, end in sorted(blocks):
        if left <= 0:
            break
        start, stop = edges[chain][end - 1], edges[chain][end]
        cost = stop.cost_s - start.cost_s
        kept[chain] = _mixture(len(chains[chain]), start.length, stop.length, min(1.0, left / cost))
        left -= cost
    return kept


def least_bytes(models: Mapping[str, QueryCosts], allowance_s: float) -> dict[str, Kept]:
    """The e vectors with fewest wire bytes whose operators and shipping take at most `allowance_s` an epoch.

    `fill` with the partial results as large as they are at the e that comes out: found by a few rounds, from e = 1
    downwards. Since few records share few groups, aggregating a part may ship more than aggregating none: where an
    aggregate runs in part, the answer without it is tried as well, and the one with fewer bytes taken.
    """
    without: set[str] = set()
    best = _with_groups(models, allowance_s, without)
    latest = best
    for _ in range(_EXCLUDED):
        partly = [version for version, kept in latest.items() if 0 < kept[-1] < 1]
        if not partly:
            break
        without.update(partly)
        latest = _with_groups(models, allowance_s, without)
        best = min(best, latest, key=lambda kept: _worth(models, kept, allowance_s))
    return best


@dataclass(frozen=True, slots=True)
class _Prefix:
    """What the first `length` operators cost and gain."""

    cost_s: float
    gain: float
    length: int


def _edge(steps: Sequence[Step]) -> list[_Prefix]:
    """The prefixes worth mixing: from the cheapest to the one with most gain, gain per second falling."""
    prefixes = [_Prefix(0.0, 0.0, 0)]
    for gain, cost in steps:
        before = prefixes[-1]
        prefixes.append(_Prefix(before.cost_s + cost, before.gain + gain, before.length + 1))
    edge: list[_Prefix] = []
    for point in sorted(prefixes, key=lambda prefix: (prefix.cost_s, -prefix.gain)):
        if edge and point.gain <= edge[-1].gain:
            continue
        while len(edge) > 1 and _below(edge[-2], edge[-1], point):
            edge.pop()
        edge.append(point)
    return edge


def _below(first: _Prefix, middle: _Prefix, last: _Prefix) -> bool:
    """Whether `middle` lies on or under the line from first to last. Costs rise from one to the next."""
    there, all_of_it = middle.cost_s - first.cost_s, last.cost_s - first.cost_s
    return (middle.gain - first.gain) * all_of_it <= (last.gain - first.gain) * there


def _mixture(operators: int, start: int, stop: int, share: float) -> Kept:
    """`share` of the records through the first `stop` operators, the others through the first `start`."""
    both, longer = min(start, stop), max(start, stop)
    between = share if stop > start else 1.0 - share
    return (1.0,) * both + (between,) * (longer - both) + (0.0,) * (operators - longer)


def _taken(costs: QueryCosts, kept: Kept) -> Predicted:
    wire_bytes, cpu_s = 0.0, costs.records * costs.taken_in_s
    here, reaching = 1.0, costs.records
    for i, (operator, e) in enumerate(zip(costs.operators, kept, strict=True)):
        left = (here - e) * reaching
        wire_bytes += left * costs.drained_bytes[i]
        cpu_s += left * costs.drained_s[i] + e * reaching * operator.cpu_s
        here = e
        if i < len(kept) - 1:
            reaching *= operator.selectivity
    groups = here * reaching * groups_per_record(costs.groups, here * reaching)
    return Predicted(wire_bytes + groups * costs.groups.group_bytes, cpu_s + groups * costs.groups.group_s)


def _with_groups(models: Mapping[str, QueryCosts], allowance_s: float, without: Set[str]) -> dict[str, Kept]:
    """`fill`, until the groups it reckoned with are those of its answer; the best of what it met on the way."""
    net_s = allowance_s - sum(drained_s(costs) for costs in models.values())
    aggregated = dict.fromkeys(models, 1.0)
    met: list[dict[str, Kept]] = []
    for _ in range(_ROUNDS):
        chains = []
        for version, costs in models.items():
            steps = steps_of(costs, aggregated[version])
            chains.append(steps[:-1] if version in without else steps)
        found = dict(zip(models, fill(chains, net_s), strict=True))
        met.append({version: kept + (0.0,) * (version in without) for version, kept in found.items()})
        moved = max((abs(kept[-1] - aggregated[version]) for version, kept in met[-1].items()), default=0.0)
        aggregated = {version: kept[-1] for version, kept in met[-1].items()}
        if moved < _CLOSE:
            break
    met.append(_exactly(models, met[-1], allowance_s))
    return min(met, key=lambda kept: _worth(models, kept, allowance_s))


def _exactly(models: Mapping[str, QueryCosts], kept: dict[str, Kept], allowance_s: float) -> dict[str, Kept]:
    """The aggregate that runs in part, if there is one, run for just as many records as the allowance is good for."""
    version = next((version for version, one in kept.items() if 0 < one[-1] < 1), None)
    if version is None:
        return kept
    costs, one = models[version], kept[version]
    others_s = sum(_taken(models[other], its).cpu_s for other, its in kept.items() if other != version)

    def with_part(part: float) -> Kept:
        return tuple(part if e == one[-1] else e for e in one)

    def fits(part: float) -> bool:
        return _taken(costs, with_part(part)).cpu_s <= allowance_s - others_s

    good, bad = (0.0, 1.0) if fits(0.0) else (1.0, 0.0)
    for _ in range(_HALVINGS):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return kept | {version: with_part(good)}


def _worth(models: Mapping[str, QueryCosts], kept: Mapping[str, Kept], allowance_s: float) -> tuple[float, float]:
    """Less is better: first what lies above the allowance (but for the last half per cent), then bytes."""
    taken = [_taken(costs, kept[version]) for version, costs in models.items()]
    over = sum(each.cpu_s for each in taken) - allowance_s
    return (over if over > _SLACK * abs(allowance_s) else 0.0, sum(each.wire_bytes for each in taken))
