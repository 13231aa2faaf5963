"""Table 2: what becomes of the shares when draining is taken to cost nothing, as the paper's model takes it.

The same profiled costs, once with what encoding, spool and transport take and once without. Both solutions then run
with their shares held, and their bytes and CPU are measured, shipping included: what looked free is paid for.
"""

from dataclasses import replace

from agents import policies
from agents.cost_model import QueryCosts, predicted
from agents.shares import Shares
from benchmarks.jarvis.budgets import ADAPTIVE, BEST_OP
from benchmarks.jarvis.host import Host
from benchmarks.jarvis.measured import UNLIMITED_CORES, WORKLOADS, Mean, counted, offered
from benchmarks.jarvis.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

COLUMNS = [
    Column("workload", "workload"), Column("budget", "budget %", 0), Column("model", "draining is"),
    Column("kept", "share here after each proxy"), Column("cpu", "CPU/budget, measured", 3),
    Column("bytes", "KB an epoch, measured", 1), Column("gain", "bytes of best-op / these, by the model", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:  # noqa: ARG001  # there is no target for it
    """Both solutions at some budgets of each workload."""
    table = Table("free_draining", "2. The same with the assumption that draining is free", COLUMNS)
    table.notes = [
        (
            "Profiled once per workload. `free`: as in the paper, encoding, spool and transport cost nothing; "
            "its budget is the same share of what the operators alone need. `net`: with these costs."
        ),
        (
            "Both are then run with their shares held and no limit; CPU, shipping included, beside the budget of "
            "table 1. The last column is what each model promises over the best operator-level split."
        ),
    ]
    for name in WORKLOADS:
        costs, version = _profiled(name, size), offered(name, size).workload.plan.version
        kinds = _kinds(name, size)
        operators_s = predicted(without_shipping(costs), (1.0,) * len(kinds)).cpu_s
        all_s = predicted(costs, (1.0,) * len(kinds)).cpu_s
        for share in size.budgets:
            budget_s = share * offered(name, size).need_s
            for model, each, allowance_s in (
                ("free", without_shipping(costs), share * operators_s), ("net", costs, share * all_s),
            ):  # fmt: skip
                shares, best = (
                    policies.shares_for(policy, {version: each}, {version: kinds}, allowance_s)[version]
                    for policy in (ADAPTIVE, BEST_OP)
                )
                mean = _held(name, shares, size)
                table.rows.append({
                    "workload": name, "budget": 100 * share, "model": model,
                    "kept": " ".join(f"{e:.2f}" for e in mean.kept), "cpu": mean.cpu_s / budget_s,
                    "bytes": mean.wire_bytes / 1e3,
                    "gain": predicted(each, best).wire_bytes / predicted(each, shares).wire_bytes,
                })  # fmt: skip
    return [table]


def without_shipping(costs: QueryCosts) -> QueryCosts:
    """The same costs, but what leaves the agent costs it nothing."""
    return replace(
        costs, drained_s=(0.0,) * len(costs.drained_s), groups=replace(costs.groups, group_s=0.0),
    )  # fmt: skip


def _kinds(name: str, size: Sizing) -> tuple[str, ...]:
    return tuple(str(stage.__struct_config__.tag) for stage in offered(name, size).workload.plan.stages)


def _profiled(name: str, size: Sizing) -> QueryCosts:
    one = offered(name, size)
    with Host(one.load, ADAPTIVE, one.need_s, size) as host:
        host.run(size.settle_epochs)
        return host.runtime.models[one.workload.plan.version]


def _held(name: str, shares: Shares, size: Sizing) -> Mean:
    one = offered(name, size)
    fixed = {one.workload.plan.version: shares}
    with Host(one.load, ADAPTIVE, UNLIMITED_CORES * size.epoch_s, size, fixed=fixed) as host:
        host.run(size.checkpoint_epochs)
        return counted(host, replace(size, counted_epochs=size.checkpoint_epochs))
