"""Table 4: how many agents one core of a collector sustains, by policy, at 60 % of the budget.

The very frames that an agent sent are taken in, merged and stored on SQLite under the headers of several agents.
"""

from functools import cache

from agents.shares import POLICIES, Policy
from benchmarks.jarvis.budgets import ADAPTIVE, BEST_OP, measured
from benchmarks.jarvis.goals import AGENTS
from benchmarks.jarvis.host import Host
from benchmarks.jarvis.measured import UNLIMITED_CORES, WORKLOADS, offered
from benchmarks.jarvis.sizing import Sizing
from benchmarks.jarvis.taking_in import TakenIn, take_in
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from quantiles._kernels.choice import NAMES, use_kernels

BUDGET = 0.6
TARGET_WORKLOAD = "log analytics"
COLUMNS = [
    Column("workload", "workload"), Column("policy", "policy"), Column("keeps", "keeps to the budget"),
    Column("frames", "frames an epoch", 1), Column("cpu", "ms an epoch", 2), Column("agents", "agents a core", 1),
    Column("over", "times best-op", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Every workload and policy."""
    table = Table(
        "collectors", f"4. Agents that one core of a collector sustains, at {BUDGET:.0%} of the budget", COLUMNS
    )
    table.notes = [
        (
            f"{size.agents} agents send the frames of {size.kept_checkpoints} checkpoints; chain, merging and SQLite "
            "included, with the compiled kernels where they are installed. Process CPU."
        ),
        (
            "All agents send the same groups, so pages are shared between them; agents whose keys differ cost more to "
            "write, whatever the policy."
        ),
    ]
    use_kernels("numba" if "numba" in NAMES else NAMES[0])
    for name in WORKLOADS:
        spent = {policy: _taken_in(name, policy, size) for policy in POLICIES}
        epochs = size.agents * size.kept_checkpoints * size.checkpoint_epochs
        per_epoch = {policy: one.cpu_s / epochs for policy, one in spent.items()}
        for policy in POLICIES:
            table.rows.append({
                "workload": name, "policy": policy,
                "keeps": "yes" if measured(name, BUDGET, policy, size).keeps else "no",
                "frames": spent[policy].frames / epochs, "cpu": 1e3 * per_epoch[policy],
                "agents": size.epoch_s / per_epoch[policy], "over": per_epoch[BEST_OP] / per_epoch[policy],
            })  # fmt: skip
        if name == TARGET_WORKLOAD:
            gain = per_epoch[BEST_OP] / per_epoch[ADAPTIVE]
            board.score(AGENTS, gain, f"{name}; {size.epoch_s / per_epoch[ADAPTIVE]:.1f} agents a core")
    return [table]


@cache
def _taken_in(name: str, policy: Policy, size: Sizing) -> TakenIn:
    one = offered(name, size)
    budget_s = UNLIMITED_CORES * size.epoch_s if policy in ("all-sp", "all-src", "filter-src") else BUDGET * one.need_s
    with Host(one.load, policy, budget_s, size) as host:
        host.run(size.checkpoint_epochs if policy in ("all-sp", "all-src", "filter-src") else size.settle_epochs)
        host.run_to_checkpoint()
        host.take_payloads()
        host.run(size.kept_checkpoints * size.checkpoint_epochs)
        payloads = host.take_payloads()
    return take_in(one.workload, payloads, size.agents)
