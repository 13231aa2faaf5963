"""What an epoch should have cost by the model, from the records that each proxy counted.

Two figures: the CPU of what was done, and the CPU that the overflow would have taken on top, had it gone on as decided.
Their sum is what the decision asks for, whether or not the allowance sufficed.
"""

from agents.cost_model import QueryCosts, groups_per_record
from agents.shares import ProxyCounts, Shares


def done_s(costs: QueryCosts, counts: ProxyCounts) -> float:
    """CPU seconds for taking records in, for the operators and for shipping what they and the proxies left."""
    cpu_s = run_s(costs, counts)
    for i, each_s in enumerate(costs.drained_s):
        cpu_s += (counts.reached[i] - counts.local[i]) * each_s
    aggregated = counts.local[-1]
    return cpu_s + aggregated * groups_per_record(costs.groups, aggregated) * costs.groups.group_s


def run_s(costs: QueryCosts, counts: ProxyCounts) -> float:
    """The part of it before anything is shipped."""
    local_s = sum(rows * operator.cpu_s for rows, operator in zip(counts.local, costs.operators, strict=True))
    return counts.reached[0] * costs.taken_in_s + local_s


def missed_s(costs: QueryCosts, counts: ProxyCounts, shares: Shares) -> float:
    """CPU seconds that the overflowed records would have cost beyond being drained."""
    if not any(counts.overflowed):
        return 0.0
    groups = costs.groups
    # What a record that enters operator i costs from there on, from the last operator to the first.
    beyond = groups_per_record(groups, counts.local[-1] + counts.overflowed[-1]) * groups.group_s
    cpu_s = 0.0
    for i in reversed(range(len(costs.operators))):
        entering = costs.operators[i].cpu_s + beyond
        cpu_s += counts.overflowed[i] * (entering - costs.drained_s[i])
        if i > 0:
            reaches = shares[i] * entering + (1 - shares[i]) * costs.drained_s[i]
            beyond = costs.operators[i - 1].selectivity * reaches
    return cpu_s


def overflow_share(counts: ProxyCounts) -> float:
    """The largest share, over the proxies, of the records that reached one and were drained for want of CPU."""
    shares = [over / reached for over, reached in zip(counts.overflowed, counts.reached, strict=True) if reached]
    return max(shares, default=0.0)


def sent_bytes(costs: QueryCosts, counts: ProxyCounts) -> float:
    """Wire bytes of what the operators and proxies left."""
    drained = sum(
        (reached - local) * size
        for reached, local, size in zip(counts.reached, counts.local, costs.drained_bytes, strict=True)
    )
    aggregated = counts.local[-1]
    return drained + aggregated * groups_per_record(costs.groups, aggregated) * costs.groups.group_bytes
