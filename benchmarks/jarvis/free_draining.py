"""Table 4: what becomes of the shares when draining is taken to cost nothing, as the paper's model takes it.

The same profiled costs, once with what encoding, spool and transport take and once without. Both solutions then run
with their shares held, and their bytes and CPU are measured, shipping included: what looked free is paid for.
"""

from dataclasses import replace

from agents import policies
from agents.cost_model import QueryCosts, predicted
from benchmarks.jarvis.cells import ADAPTIVE, BEST_OP, GAIN_BUDGET, measured
from benchmarks.jarvis.measured import WITHIN, WORKLOADS, cheapest_s, held, offered
from benchmarks.jarvis.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

COLUMNS = [
    Column("workload", "workload"), Column("budget", "budget %", 0), Column("model", "draining is"),
    Column("kept", "share here after each proxy"), Column("cpu", "CPU/budget, measured", 3),
    Column("bytes", "KB an epoch, measured", 1), Column("gain", "best-op's bytes / these, by the model", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:  # noqa: ARG001  # there is no target for it
    """Both solutions at some budgets of each workload."""
    table = Table("free_draining", "4. The same with the assumption that draining is free", COLUMNS)
    table.notes = [
        (
            f"Costs as the adaptive policy profiled them for {GAIN_BUDGET:.0%}. `free`: as in the paper, encoding, "
            "spool and transport cost nothing; its budget is the same share of what the operators alone need. "
            "`net`: with these costs."
        ),
        (
            "Both are then run with their shares held and no limit; CPU, shipping included, beside the budget of "
            "table 3. The last column is what each model promises over the best operator-level split."
        ),
    ]
    over: list[float] = []
    for name in WORKLOADS:
        one = offered(name, size)
        costs = measured(name, GAIN_BUDGET, ADAPTIVE, size).costs
        if costs is None:
            table.notes.append(f"{name}: nothing was profiled in the time given.")
            continue
        kinds = {one.version: one.kinds}
        operators_s = predicted(without_shipping(costs), (1.0,) * len(one.kinds)).cpu_s
        all_s = predicted(costs, (1.0,) * len(one.kinds)).cpu_s
        for share in size.budgets:
            for model, each, allowance_s in (
                ("free", without_shipping(costs), share * operators_s), ("net", costs, share * all_s),
            ):  # fmt: skip
                shares, best = (
                    policies.shares_for(policy, {one.version: each}, kinds, allowance_s)[one.version]
                    for policy in (ADAPTIVE, BEST_OP)
                )
                # Rounded, so that what is the same split is run once.
                mean = held(name, tuple(round(p, 2) for p in shares), size)
                used = mean.cpu_s / (share * one.need_s)
                if model == "free" and cheapest_s(name, size) <= WITHIN * share * one.need_s:
                    over.append(used)
                table.rows.append({
                    "workload": name, "budget": 100 * share, "model": model,
                    "kept": " ".join(f"{e:.2f}" for e in mean.kept), "cpu": used, "bytes": mean.wire_bytes / 1e3,
                    "gain": predicted(each, best).wire_bytes / predicted(each, shares).wire_bytes,
                })  # fmt: skip
    if over:
        table.notes.append(
            f"At the {len(over)} budgets that a fixed policy keeps, the shares of `free` take {min(over):.2f} to "
            f"{max(over):.2f} times the budget."
        )
    return [table]


def without_shipping(costs: QueryCosts) -> QueryCosts:
    """The same costs, but what leaves the agent costs it nothing."""
    return replace(
        costs, drained_s=(0.0,) * len(costs.drained_s), groups=replace(costs.groups, group_s=0.0),
    )  # fmt: skip
