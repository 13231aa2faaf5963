"""Table 1: bytes on the wire and CPU by policy and budget, for all workloads."""

from dataclasses import dataclass
from functools import cache
from math import inf, nan

from agents import policies
from agents.shares import POLICIES, Policy
from benchmarks.jarvis.goals import BYTES, GAIN_OVER_BEST_OP
from benchmarks.jarvis.host import Host, predicted_bytes
from benchmarks.jarvis.measured import UNLIMITED_CORES, WITHIN, WORKLOADS, Mean, counted, offered, steady
from benchmarks.jarvis.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

ADAPTIVE: Policy = "adaptive"
BEST_OP: Policy = "best-op"
GAIN_BUDGET = 0.6
GAIN_WORKLOAD = "log analytics"
COLUMNS = [
    Column("workload", "workload"), Column("budget", "budget %", 0), Column("policy", "policy"),
    Column("bytes", "KB an epoch", 1), Column("of_raw", "bytes/raw", 4), Column("cpu", "CPU/budget", 3),
    Column("keeps", "keeps to it"), Column("overflow", "overflow %", 2), Column("settled", "epochs to stable"),
    Column("kept", "share here after each proxy"),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """One policy at one budget; `settled` is None for policies that never move, or where it never was stable.

    closed_form: bytes per epoch that the profiled costs promise for the adaptive policy and for best-op.
    """

    mean: Mean
    budget_s: float
    settled: int | None
    closed_form: dict[Policy, float]

    @property
    def keeps(self) -> bool:
        """Whether it stays within the budget, but for what the goal allows."""
        return self.mean.cpu_s <= WITHIN * self.budget_s


@cache
def measured(name: str, share: float, policy: Policy, size: Sizing) -> Found:
    """Policies that never move are measured without a limit, once: the budget changes nothing they do."""
    one = offered(name, size)
    budget_s = share * one.need_s
    if policy in policies.STATIC:
        return Found(_static(name, policy, size), budget_s, None, {})
    with Host(one.load, policy, budget_s, size) as host:
        epochs = host.run(size.settle_epochs)
        mean = counted(host, size)
        closed = {each: predicted_bytes(host, each) for each in (ADAPTIVE, BEST_OP)}
    return Found(mean, budget_s, first_of_two_stable([epoch.stable for epoch in epochs]), closed)


@cache
def _static(name: str, policy: Policy, size: Sizing) -> Mean:
    return steady(offered(name, size).load, policy, UNLIMITED_CORES * size.epoch_s, size, size.checkpoint_epochs)


def first_of_two_stable(stable: list[bool]) -> int | None:
    """How many epochs it took to the first of two stable ones; None when there are no two in a row."""
    for place in range(len(stable) - 1):
        if stable[place] and stable[place + 1]:
            return place + 1
    return None


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Every workload, budget and policy."""
    table = Table("budgets", "1. Bytes on the wire and CPU by policy and budget", COLUMNS)
    table.notes = [
        (
            f"Budget: share of what the full local chain needs at the offered rate, measured in this run. An epoch is "
            f"{size.epoch_s:g} s of records, a checkpoint comes every {size.checkpoint_epochs * size.epoch_s:g} s."
        ),
        (
            "CPU: process time of chain, proxies, runtime, encoding, spool, uplink and embedded transport; means over "
            f"{size.counted_epochs} epochs after {size.settle_epochs} to settle."
        ),
        (
            f"A policy keeps to its budget when it takes at most {WITHIN:g} times it. all-sp, all-src and filter-src "
            "do the same at every budget: they are measured once, without a limit."
        ),
        "Raw: the records as text, numbers as 8 bytes.",
    ]
    worst, worst_at = 0.0, ""
    beyond: list[str] = []
    for name in WORKLOADS:
        one = offered(name, size)
        table.notes.append(
            f"{name}: {one.load.records / size.epoch_s:,.0f} records/s of {one.workload.record_bytes:.0f} bytes; the "
            f"full local chain needs {one.need_s / size.epoch_s:.2f} cores."
        )
        for share in size.budgets:
            found = {policy: measured(name, share, policy, size) for policy in POLICIES}
            table.rows += [_row(name, share, policy, each, one.workload.record_bytes) for policy, each in found.items()]
            ratio = _against_best(found)
            if ratio is None:
                beyond.append(f"{name} {share:.0%}")
            elif ratio > worst:
                worst, worst_at = ratio, f"{name} at {share:.0%}"
    if beyond:
        table.notes.append(f"No policy keeps to its budget, so none is best: {', '.join(beyond)}.")
    board.score(BYTES, worst or nan, f"worst: {worst_at}; {len(beyond)} cells in which nothing keeps left out")
    _score_gain(size, board)
    return [table]


def _against_best(found: dict[Policy, Found]) -> float | None:
    """Bytes of the adaptive policy beside the fewest of a baseline that keeps to the budget."""
    baselines = [one.mean.wire_bytes for policy, one in found.items() if policy != ADAPTIVE and one.keeps]
    if not found[ADAPTIVE].keeps:
        return inf if baselines else None
    return found[ADAPTIVE].mean.wire_bytes / min(baselines) if baselines else 0.0


def _score_gain(size: Sizing, board: Scoreboard) -> None:
    mine, other = (measured(GAIN_WORKLOAD, GAIN_BUDGET, policy, size) for policy in (ADAPTIVE, BEST_OP))
    gain = other.mean.wire_bytes / mine.mean.wire_bytes
    closed = mine.closed_form[BEST_OP] / mine.closed_form[ADAPTIVE]
    board.score(
        GAIN_OVER_BEST_OP, gain, f"{GAIN_WORKLOAD} at {GAIN_BUDGET:.0%}; the closed form promises {closed:.2f} "
        f"from the profiled costs, {gain / closed:.2f} of it was measured",
    )  # fmt: skip


def _row(name: str, share: float, policy: Policy, found: Found, record_bytes: float) -> dict[str, str | float | None]:
    mean = found.mean
    return {
        "workload": name, "budget": 100 * share, "policy": policy, "bytes": mean.wire_bytes / 1e3,
        "of_raw": mean.wire_bytes / (record_bytes * mean.records), "cpu": mean.cpu_s / found.budget_s,
        "keeps": "yes" if found.keeps else "no", "overflow": 100 * mean.overflow, "settled": found.settled,
        "kept": " ".join(f"{e:.2f}" for e in mean.kept),
    }  # fmt: skip
