"""Table 9: what adapting costs: CPU of a run that decides as it goes beside the same run told its shares.

The second agent is told the shares of each epoch and decides nothing: no runtime, no allowance, no profile, no meter.
Both take the same records in the same batches, epoch by epoch in turns, so that what disturbs the machine disturbs
both. In the time measured fall a cold start with its first profile and a step of the budget; an agent at rest is the
second half of what follows that step.
"""

from statistics import median

from benchmarks.jarvis.cells import ADAPTIVE, GAIN_BUDGET
from benchmarks.jarvis.goals import OVERHEAD
from benchmarks.jarvis.host import Epoch, Host
from benchmarks.jarvis.measured import EXTRA, UNLIMITED_CORES, WORKLOADS, cheapest_s, offered
from benchmarks.jarvis.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

# Where no split keeps to GAIN_BUDGET, overflow would make the two runs differ.
BUDGET_FOR_ALL = 1.1
STEP = 1.25
COLUMNS = [
    Column("workload", "workload"), Column("budget", "budget %"), Column("adapting", "adapting, ms an epoch", 2),
    Column("told", "told, ms an epoch", 2), Column("overhead", "overhead %", 2), Column("lowest", "lowest", 2),
    Column("highest", "highest", 2), Column("rest", "at rest %", 2), Column("profiles", "profiles"),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Every workload that is scored."""
    table = Table("overhead", "9. CPU of adapting, beside the same run told its shares", COLUMNS)
    epochs = 2 * size.overhead_epochs
    table.notes = [
        (
            f"{epochs} epochs: from a cold start, and from half of them on with {STEP:g} times the budget; the first "
            f"profile and both searches are in it. Median of {size.overhead_rounds} runs. At rest: the last "
            f"{size.overhead_epochs // 2} epochs."
        ),
    ]
    worst, remarks = ("", 0.0), []
    for name in (name for name in WORKLOADS if name != EXTRA):
        one = offered(name, size)
        share = GAIN_BUDGET if cheapest_s(name, size) <= GAIN_BUDGET * one.need_s else BUDGET_FOR_ALL
        pairs = [_pair(name, share, size) for _ in range(size.overhead_rounds)]
        each = [_over(pair) for pair in pairs]
        rest = [_over([half[-(size.overhead_epochs // 2) :] for half in pair]) for pair in pairs]
        table.rows.append({
            "workload": name, "budget": f"{share:.0%} to {STEP * share:.0%}",
            "adapting": median(_ms(pair[0]) for pair in pairs), "told": median(_ms(pair[1]) for pair in pairs),
            "overhead": median(each), "lowest": min(each), "highest": max(each), "rest": median(rest),
            "profiles": max(sum(epoch.state == "profile" for epoch in pair[0]) for pair in pairs),
        })  # fmt: skip
        remarks.append(f"{name} {median(each):.1f}, at rest {median(rest):.1f}")
        if not worst[0] or median(each) > worst[1]:
            worst = name, median(each)
    remark = f"worst: {worst[0]}; {epochs} epochs with a cold start and a step in them; {'; '.join(remarks)}"
    board.score(OVERHEAD, worst[1], remark)
    return [table]


def _pair(name: str, share: float, size: Sizing) -> list[list[Epoch]]:
    """The epochs of the run that adapts and of the one that is told."""
    one = offered(name, size)
    adapting: list[Epoch] = []
    told: list[Epoch] = []
    with Host(one.load, ADAPTIVE, share * one.need_s, size) as host:
        adapting += host.run(1)
        fixed, unlimited_s = {one.version: host.taken[0]}, UNLIMITED_CORES * size.epoch_s
        with Host(one.load, ADAPTIVE, unlimited_s, size, fixed=fixed, schedule=host.taken) as other:
            # The told one is an epoch behind: at the end of an epoch it is told the shares of the next.
            for number in range(1, 2 * size.overhead_epochs + 1):
                if number == size.overhead_epochs:
                    host.give(STEP * share * one.need_s)
                adapting += host.run(1)
                with host.clock.excluded():
                    told += other.run(1)
    return [adapting[: len(told)], told]


def _ms(epochs: list[Epoch]) -> float:
    return 1e3 * sum(epoch.cpu_s for epoch in epochs) / len(epochs)


def _over(pair: list[list[Epoch]]) -> float:
    return 100 * (_ms(pair[0]) / _ms(pair[1]) - 1)
