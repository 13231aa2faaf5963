"""Table 7: what adapting costs: CPU of a run beside the same run whose decisions were taken before.

The first run decides as it goes, profiles included. The second one is told the shares of each epoch and
decides nothing: no runtime, no allowance, no profile, no meter. Both take the same records in the same batches.
"""

from statistics import median

from benchmarks.jarvis.budgets import ADAPTIVE
from benchmarks.jarvis.goals import OVERHEAD
from benchmarks.jarvis.host import Host
from benchmarks.jarvis.measured import UNLIMITED_CORES, WORKLOADS, offered
from benchmarks.jarvis.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

BUDGET = 0.6
COLUMNS = [
    Column("workload", "workload"), Column("adapting", "adapting, ms an epoch", 2),
    Column("told", "told, ms an epoch", 2), Column("overhead", "overhead %", 2), Column("lowest", "lowest", 2),
    Column("highest", "highest", 2), Column("profiles", "profiles"),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Every workload, in turns."""
    table = Table("overhead", "7. CPU of adapting, beside the same run told its shares", COLUMNS)
    epochs = size.settle_epochs + size.counted_epochs
    table.notes = [
        (
            f"Budget {BUDGET:.0%}; {epochs} epochs from a cold start, so that the first profile and search are in it; "
            f"an agent that runs for hours does this once. Median of {size.overhead_rounds} pairs."
        ),
    ]
    worst, worst_at = 0.0, ""
    for name in WORKLOADS:
        pairs = [_pair(name, epochs, size) for _ in range(size.overhead_rounds)]
        each = [100 * (adapting / told - 1) for adapting, told, _ in pairs]
        table.rows.append({
            "workload": name, "adapting": 1e3 * median(a for a, _, _ in pairs) / epochs,
            "told": 1e3 * median(t for _, t, _ in pairs) / epochs, "overhead": median(each), "lowest": min(each),
            "highest": max(each), "profiles": max(profiles for _, _, profiles in pairs),
        })  # fmt: skip
        if not worst_at or median(each) > worst:
            worst, worst_at = median(each), name
    board.score(OVERHEAD, worst, f"worst: {worst_at}; {epochs} epochs with the first profile in them")
    return [table]


def _pair(name: str, epochs: int, size: Sizing) -> tuple[float, float, int]:
    """CPU seconds of the run that adapts and of the one that is told, and how many profiles the first one made."""
    one = offered(name, size)
    with Host(one.load, ADAPTIVE, BUDGET * one.need_s, size) as host:
        seen = host.run(epochs)
        host.run_to_checkpoint()
        taken = host.taken
    version = one.workload.plan.version
    with Host(
        one.load, ADAPTIVE, UNLIMITED_CORES * size.epoch_s, size, fixed={version: taken[0]}, schedule=taken
    ) as host:
        told = host.run(epochs)
    profiles = sum(epoch.state == "profile" for epoch in seen)
    return sum(epoch.cpu_s for epoch in seen), sum(epoch.cpu_s for epoch in told), profiles
