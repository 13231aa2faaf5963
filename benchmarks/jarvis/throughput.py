"""Table 5: the largest rate that each policy keeps up with at 40 % of the budget, by how much the link carries.

The paper's setting is a source whose records, as they come, do not fit the link, and whose CPU is short. So there are
links that carry a part of what all records take at the nominal rate, as all-sp encodes them: a quarter, a half, three
quarters; and none at all. The target is taken at the half, which stood before the others were measured.
A policy keeps up with a rate when it keeps to the CPU budget and the link carries what it sends.
The adaptive policy and lb-dp run for real, at one rate after the other. Splits that never move cost the same per record
at any rate, so theirs follows from what they take at the nominal one; best-op is the best of the prefixes, each run
for itself: nothing that decides can be better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Final

import numpy as np

from agents.shares import POLICIES, Policy
from benchmarks.jarvis.cells import ADAPTIVE, BEST_OP, LB_DP
from benchmarks.jarvis.goals import THROUGHPUT
from benchmarks.jarvis.host import Host
from benchmarks.jarvis.measured import WITHIN, Mean, offered, offered_at, prefix, static
from benchmarks.jarvis.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

WORKLOAD: Final = "log analytics"
BUDGET: Final = 0.4
#: Parts of what all records take at the nominal rate, as they come.
LINKS: Final = (0.25, 0.5, 0.75, inf)
SCORED_LINK: Final = 0.5
COLUMNS = [
    Column("link", "link carries, of raw"), Column("policy", "policy"),
    Column("rate", "records/s", 0), Column("factor", "times the nominal rate", 3),
    Column("over", "of the best other", 3), Column("bound", "bound by"),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """What a policy took at a rate: a multiple of the nominal one."""

    factor: float
    mean: Mean


@dataclass(frozen=True, slots=True)
class Limits:
    """Per epoch: of CPU, with what the goal allows, and of bytes."""

    cpu_s: float
    wire_bytes: float

    def hold(self, mean: Mean) -> bool:
        """Whether it is within both."""
        return mean.cpu_s <= self.cpu_s and mean.wire_bytes <= self.wire_bytes


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """All policies, all links."""
    table = Table("throughput", f"5. Largest rate kept up with, {BUDGET:.0%} of the budget", COLUMNS)
    table.notes = [
        f"Kept up with: at most {WITHIN:g} times the budget, and no more bytes than the link carries.",
        (
            "Adaptive and lb-dp run at rate after rate, with straight lines between; the others by what each split "
            "takes per record, best-op as the best of all prefixes."
        ),
    ]
    one, raw = offered(WORKLOAD, size), static(WORKLOAD, "all-sp", size)
    table.notes.append(
        f"{WORKLOAD}: the nominal rate is {one.load.records / size.epoch_s:,.0f} records/s, whose raw records take "
        f"{8e-6 * raw.wire_bytes / size.epoch_s:,.1f} Mbit/s encoded."
    )
    gains: dict[float, float] = {}
    for link in LINKS:
        limits = Limits(WITHIN * BUDGET * one.need_s, link * raw.wire_bytes)
        found = {policy: _kept_up(policy, limits, size) for policy in POLICIES}
        best = max(factor for policy, (factor, _) in found.items() if policy != ADAPTIVE)
        gains[link] = found[ADAPTIVE][0] / best
        for policy, (factor, bound) in found.items():
            table.rows.append({
                "link": "no limit" if link == inf else f"{link:.0%}", "policy": policy,
                "rate": factor * one.load.records / size.epoch_s, "factor": factor, "over": factor / best,
                "bound": bound,
            })  # fmt: skip
    others = ", ".join(
        f"{gain:.2f} {'without a limit' if link == inf else f'at {link:.0%}'}"
        for link, gain in gains.items()
        if link != SCORED_LINK
    )
    board.score(
        THROUGHPUT, gains[SCORED_LINK], f"{WORKLOAD} at {BUDGET:.0%} of the CPU, on a link that carries "
        f"{SCORED_LINK:.0%} of the raw records; {others}",
    )  # fmt: skip
    return [table]


def _kept_up(policy: Policy, limits: Limits, size: Sizing) -> tuple[float, str]:
    if policy in (ADAPTIVE, LB_DP):
        return largest(_swept(policy, size), limits)
    if policy == BEST_OP:
        lengths = range(len(offered(WORKLOAD, size).kinds) + 1)
        return max(_scaled(prefix(WORKLOAD, length, size), limits) for length in lengths)
    return _scaled(static(WORKLOAD, policy, size), limits)


def _scaled(mean: Mean, limits: Limits) -> tuple[float, str]:
    """By what it takes at the nominal rate."""
    return min((limits.cpu_s / mean.cpu_s, "CPU"), (limits.wire_bytes / mean.wire_bytes, "link"))


def largest(tried: Sequence[Tried], limits: Limits) -> tuple[float, str]:
    """From the largest rate tried that is within both limits on, as far as a straight line to the next one is.

    Returns the rate and which limit bounds it. Below the lowest rate tried, both grow with the rate: all runs here.
    """
    good = [place for place, one in enumerate(tried) if limits.hold(one.mean)]
    place = max(good, default=-1)
    if place == len(tried) - 1:
        return tried[-1].factor, "highest tried"
    here = tried[place] if good else Tried(0.0, Mean(0.0, 0.0, 0.0, (), 0))
    beyond = tried[place + 1]
    part, bound = min(
        (_where(here.mean.cpu_s, beyond.mean.cpu_s, limits.cpu_s), "CPU"),
        (_where(here.mean.wire_bytes, beyond.mean.wire_bytes, limits.wire_bytes), "link"),
    )
    return here.factor + part * (beyond.factor - here.factor), bound


def _where(first: float, last: float, limit: float) -> float:
    """How far one comes from first to last before the limit; 1 where all of it is within."""
    return 1.0 if last <= limit else max(0.0, (limit - first) / (last - first))


@cache
def _swept(policy: Policy, size: Sizing) -> list[Tried]:
    """From the rate at which all fits here to beyond the one that the cheapest split can do, in equal ratios."""
    one = offered(WORKLOAD, size)
    operators = len(one.kinds)
    cheapest_s = min(prefix(WORKLOAD, length, size).cpu_s for length in range(operators + 1))
    budget_s = BUDGET * one.need_s
    factors = np.geomspace(BUDGET, 1.1 * budget_s / cheapest_s, size.rates).tolist()
    found: list[Tried] = []
    with Host(offered_at(WORKLOAD, factors[0], size), policy, budget_s, size) as host:
        host.run(size.settle_epochs)
        for factor in factors:
            host.offer(offered_at(WORKLOAD, factor, size))
            host.run(size.rate_epochs)
            host.run_to_checkpoint()
            found.append(Tried(factor, Mean.of(host.run(size.checkpoint_epochs))))
    return found
