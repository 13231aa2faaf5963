"""Table 7: epochs until the partition is stable again after a step of the budget, of the rate, of what operators cost.

Counted from the change to the first epoch of the stable checkpoint interval (settling.py), that epoch included:
detection and profile are in it. Each sequence runs through all its steps in one agent, so that what it learned before
is there, for better or worse. Steps to budgets that no split keeps have no end to come to: they are listed, not scored.
The last table is one sequence epoch by epoch, which the plot shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean, median

from benchmarks.jarvis.cells import ADAPTIVE
from benchmarks.jarvis.goals import STABLE_P50, STABLE_P95
from benchmarks.jarvis.host import Epoch, Host
from benchmarks.jarvis.measured import EXTRA, cheapest_s, offered, offered_at
from benchmarks.jarvis.settling import epochs_to_stable
from benchmarks.jarvis.sizing import Sizing
from benchmarks.jarvis.workloads import RELAYED_HOSTS, relay_of_racks
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

COLUMNS = [
    Column("workload", "workload"), Column("step", "step"), Column("feasible", "feasible"),
    Column("epochs", "epochs to stable, each time"), Column("median", "median", 1), Column("profiles", "profiles", 1),
    Column("overflow", "overflow after the step %", 1),
]  # fmt: skip
TRACE = [
    Column("epoch", "epoch"), Column("phase", "phase"), Column("budget", "budget, cores", 3),
    Column("cpu", "CPU charged, cores", 3), Column("bytes", "KB in the epoch", 1), Column("state", "state"),
    Column("overflow", "overflow %", 1), Column("kept", "share here after each proxy"),
]  # fmt: skip
LARGER_TABLE = 2 * RELAYED_HOSTS


@dataclass(frozen=True, slots=True)
class Step:
    """One change: the budget as a share of the need at the nominal rate, and the load, as they are from then on."""

    name: str
    share: float
    factor: float = 1.0
    table_rows: int = 0


@dataclass(frozen=True, slots=True)
class Course:
    """What one agent goes through, from a cold start on."""

    workload: str
    start: float
    steps: tuple[Step, ...]
    repeated: bool


SEQUENCES = (
    Course(
        "log analytics", 0.6,
        (
            Step("budget 60 to 90 %", 0.9), Step("budget 90 to 45 %", 0.45), Step("budget 45 to 70 %", 0.7),
            Step("rate up by 40 %, at 70 %", 0.7, 1.4), Step("rate back", 0.7),
        ),
        repeated=True,
    ),
    Course(
        EXTRA, 0.75,
        (
            Step("budget 75 to 90 %", 0.9), Step("budget 90 to 65 %", 0.65), Step("budget 65 to 90 %", 0.9),
            Step("rate up by 40 %, at 90 %", 0.9, 1.4), Step("rate back", 0.9),
            Step("joined table twice as large, at 90 %", 0.9, 1.0, LARGER_TABLE),
            Step("joined table back", 0.9, 1.0, RELAYED_HOSTS),
        ),
        repeated=False,
    ),
    Course(
        "server to server", 1.1, (Step("budget 110 to 60 %", 0.6), Step("budget 60 to 110 %", 1.1)), repeated=False
    ),
    Course(
        "rack to rack", 1.1, (Step("budget 110 to 60 %", 0.6), Step("budget 60 to 110 %", 1.1)), repeated=False
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What followed one step: epochs to stable, None when it never was."""

    workload: str
    step: str
    feasible: bool
    epochs: int | None
    profiles: int
    overflow: float


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """All sequences, several times, each time from another epoch of the load on."""
    outcomes: list[Outcome] = []
    trace: list[tuple[str, Epoch]] = []
    for sequence in SEQUENCES:
        for turn in range(size.repetitions if sequence.repeated else 1):
            found, seen = _run_through(sequence, size, turn)
            outcomes += found
            trace = trace or seen
    scored = [one for one in outcomes if one.workload != EXTRA]
    _score([one for one in scored if one.feasible], len(scored), size, board)
    return [_table(outcomes, size), _trace(trace, size)]


def feasible(workload: str, step: Step, size: Sizing) -> bool:
    """Whether any split keeps to the budget, going by what those take that never move."""
    return step.factor * cheapest_s(workload, size) <= step.share * offered(workload, size).need_s


def _score(outcomes: Sequence[Outcome], of: int, size: Sizing, board: Scoreboard) -> None:
    counted = sorted(_counted(one, size) for one in outcomes)
    never = sum(one.epochs is None for one in outcomes)
    remark = (
        f"{len(counted)} feasible steps of {of}, {never} of them not stable within {size.step_epochs} epochs; "
        "detection and profile included"
    )
    if not counted:
        board.fail(STABLE_P50, "no step was feasible")
        board.fail(STABLE_P95, "no step was feasible")
        return
    board.score(STABLE_P50, median(counted), remark)
    board.score(STABLE_P95, counted[ceil(0.95 * len(counted)) - 1], remark + "; nearest rank")


def _counted(one: Outcome, size: Sizing) -> int:
    """A step that led to no rest counts as one epoch more than there were."""
    return size.step_epochs + 1 if one.epochs is None else one.epochs


def _run_through(sequence: Course, size: Sizing, turn: int) -> tuple[list[Outcome], list[tuple[str, Epoch]]]:
    """From a cold start, through the steps."""
    name = sequence.workload
    one = offered(name, size)
    outcomes: list[Outcome] = []
    with Host(one.load, ADAPTIVE, sequence.start * one.need_s, size, first_epoch=turn) as host:
        trace = [("start", epoch) for epoch in host.run(size.step_epochs + turn)]
        for step in sequence.steps:
            _change(name, step, size)(host)
            epochs = host.run(size.step_epochs + turn)
            after = epochs_to_stable(epochs[: size.step_epochs], size.checkpoint_epochs)
            profiles = sum(epoch.state == "profile" for epoch in epochs)
            overflow = fmean(epoch.overflow for epoch in epochs)
            outcomes.append(Outcome(name, step.name, feasible(name, step, size), after, profiles, overflow))
            trace += [(step.name, epoch) for epoch in epochs]
    return outcomes, trace


def _change(name: str, step: Step, size: Sizing) -> Callable[[Host], None]:
    one = offered(name, size)
    load = offered_at(name, step.factor, size)

    def change(host: Host) -> None:
        if step.table_rows:
            host.replace_query(load.of(relay_of_racks(step.table_rows)))
        else:
            host.offer(load)
        host.give(step.share * one.need_s)

    return change


def _table(outcomes: Sequence[Outcome], size: Sizing) -> Table:
    table = Table("steps", "7. Epochs to a stable partition after a step", COLUMNS)
    table.notes = [
        (
            "From the change to the first epoch of a checkpoint interval in which nothing is profiled, at most 5 % "
            "overflow at any proxy, shares move by at most 0.05, and CPU is on average at most 1.05 times the budget "
            "and leaves nothing idle that could save bytes."
        ),
        (
            f"Sequences from a cold start in one agent each, {size.step_epochs} epochs or more between steps; - is not "
            "stable until the next step. Steps to infeasible budgets, and those of {EXTRA}, are "
            "not scored."
        ),
    ]
    for key in dict.fromkeys((one.workload, one.step, one.feasible) for one in outcomes):
        group = [one for one in outcomes if (one.workload, one.step, one.feasible) == key]
        table.rows.append({
            "workload": key[0], "step": key[1], "feasible": "yes" if key[2] else "no",
            "epochs": " ".join("-" if one.epochs is None else str(one.epochs) for one in group),
            "median": float(median(_counted(one, size) for one in group)) if key[2] else None,
            "profiles": sum(one.profiles for one in group) / len(group),
            "overflow": 100 * max(one.overflow for one in group),
        })  # fmt: skip
    return table


def _trace(trace: Sequence[tuple[str, Epoch]], size: Sizing) -> Table:
    table = Table("trace", "8. Shares over epochs, log analytics, from a cold start through its steps", TRACE)
    for number, (phase, epoch) in enumerate(trace):
        table.rows.append({
            "epoch": number, "phase": phase, "budget": epoch.budget_s / size.epoch_s,
            "cpu": epoch.charged_s / size.epoch_s, "bytes": epoch.wire_bytes / 1e3, "state": epoch.state,
            "overflow": 100 * epoch.overflow, "kept": " ".join(f"{e:.3f}" for e in epoch.kept),
        })  # fmt: skip
    return table
