"""Table 5: epochs until the shares are stable again after a step of the budget, of the rate, of what operators cost.

Counted from the change to the first of two stable epochs, that one included: detection and profile are in it. The last
table is one such run epoch by epoch, which the plot shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from statistics import median

from benchmarks.jarvis.budgets import ADAPTIVE, first_of_two_stable
from benchmarks.jarvis.goals import STABLE_P50, STABLE_P95
from benchmarks.jarvis.host import Epoch, Host
from benchmarks.jarvis.measured import offered
from benchmarks.jarvis.sizing import Sizing
from benchmarks.jarvis.workloads import rack_to_rack
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

COLUMNS = [
    Column("workload", "workload"), Column("step", "step"), Column("median", "median", 1),
    Column("longest", "longest", 0), Column("times", "steps", 0), Column("never", "never", 0),
    Column("overflow", "overflow after the step %", 1),
]  # fmt: skip
TRACE = [
    Column("epoch", "epoch"), Column("phase", "phase"), Column("budget", "budget, cores", 3),
    Column("cpu", "CPU charged, cores", 3), Column("bytes", "KB in the epoch", 1), Column("state", "state"),
    Column("overflow", "overflow %", 1), Column("kept", "share here after each proxy"),
]  # fmt: skip
TABLE_ROWS, LARGER_TABLE_ROWS = 20_000, 400_000


@dataclass(frozen=True, slots=True)
class Step:
    """What changes, in words, and how."""

    name: str
    make: Callable[[Host], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What followed one step: epochs to stable, None when it never was."""

    workload: str
    step: str
    epochs: int | None
    overflow: float


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """All sequences, several times, each time with other records."""
    outcomes: list[Outcome] = []
    trace: list[tuple[str, Epoch]] = []
    for seed in range(size.repetitions):
        for workload in ("log analytics", "server to server"):
            found, seen = _sequence(workload, _budget_steps(workload, size), 0.5, size, seed)
            outcomes += found
            if not trace:
                trace = seen
            outcomes += _sequence(workload, _rate_steps(workload, size), 0.6, size, seed)[0]
        outcomes += _sequence("rack to rack", _table_steps(size), 0.6, size, seed)[0]
    longest = size.step_epochs + 1
    counted = sorted(longest if one.epochs is None else one.epochs for one in outcomes)
    never = sum(one.epochs is None for one in outcomes)
    remark = f"{len(counted)} steps, {never} not stable within {size.step_epochs} epochs"
    board.score(STABLE_P50, median(counted), remark)
    board.score(STABLE_P95, counted[ceil(0.95 * len(counted)) - 1], remark + "; nearest rank")
    return [_table(outcomes, size), _trace(trace, size)]


def _budget_steps(workload: str, size: Sizing) -> list[Step]:
    need_s = offered(workload, size).need_s
    return [
        Step("budget 50 to 90 %", lambda host: host.give(0.9 * need_s)),
        Step("budget 90 to 30 %", lambda host: host.give(0.3 * need_s)),
    ]


def _rate_steps(workload: str, size: Sizing) -> list[Step]:
    load = offered(workload, size).load
    return [
        Step("rate up by 50 %", lambda host: host.offer(load.at_rate(1.5))),
        Step("rate down to 70 %", lambda host: host.offer(load.at_rate(0.7))),
    ]


def _table_steps(size: Sizing) -> list[Step]:
    load = offered("rack to rack", size).load

    def swap(rows: int) -> Callable[[Host], None]:
        return lambda host: host.replace_query(load.of(rack_to_rack(rows)))

    return [
        Step(f"joined table {TABLE_ROWS:,} to {LARGER_TABLE_ROWS:,} rows", swap(LARGER_TABLE_ROWS)),
        Step(f"joined table back to {TABLE_ROWS:,} rows", swap(TABLE_ROWS)),
    ]


def _sequence(
    workload: str, steps: list[Step], share: float, size: Sizing, seed: int
) -> tuple[list[Outcome], list[tuple[str, Epoch]]]:
    """From a cold start, through the steps."""
    one = offered(workload, size)
    outcomes: list[Outcome] = []
    with Host(one.load, ADAPTIVE, share * one.need_s, size, first_epoch=seed) as host:
        trace = [("start", epoch) for epoch in host.run(size.step_epochs + seed)]
        for step in steps:
            step.make(host)
            epochs = host.run(size.step_epochs + seed)
            after = first_of_two_stable([epoch.stable for epoch in epochs])
            reached = sum(epoch.reached for epoch in epochs)
            overflow = sum(epoch.overflowed for epoch in epochs) / max(1, reached)
            outcomes.append(Outcome(workload, step.name, after, overflow))
            trace += [(step.name, epoch) for epoch in epochs]
    return outcomes, trace


def _table(outcomes: list[Outcome], size: Sizing) -> Table:
    table = Table("steps", "5. Epochs to a stable partition after a step", COLUMNS)
    table.notes = [
        (
            "From the change to the first of two stable epochs, that one included. Stable: no profile, "
            "at most 5 % of the records overflow, at most 5 % above the budget, and nothing idle that could save."
        ),
        f"{size.repetitions} cold starts of each sequence, {size.step_epochs} epochs or more before each step.",
    ]
    for key in dict.fromkeys((one.workload, one.step) for one in outcomes):
        group = [one for one in outcomes if (one.workload, one.step) == key]
        epochs = [size.step_epochs + 1 if one.epochs is None else one.epochs for one in group]
        table.rows.append({
            "workload": key[0], "step": key[1], "median": float(median(epochs)), "longest": max(epochs),
            "times": len(group), "never": sum(one.epochs is None for one in group),
            "overflow": 100 * max(one.overflow for one in group),
        })  # fmt: skip
    return table


def _trace(trace: list[tuple[str, Epoch]], size: Sizing) -> Table:
    table = Table("trace", "6. Shares over epochs, log analytics, from a cold start through two steps", TRACE)
    for number, (phase, epoch) in enumerate(trace):
        table.rows.append({
            "epoch": number, "phase": phase, "budget": epoch.budget_s / size.epoch_s,
            "cpu": epoch.charged_s / size.epoch_s, "bytes": epoch.wire_bytes / 1e3, "state": epoch.state,
            "overflow": 100 * epoch.overflowed / max(1, epoch.reached),
            "kept": " ".join(f"{e:.3f}" for e in epoch.kept),
        })  # fmt: skip
    return table
