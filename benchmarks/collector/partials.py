"""Table 1: partial results decoded, merged and stored by one core, before any transport."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.collector.fleet import SPREADS, Load, partial_load, probe_plan, sent
from benchmarks.collector.goals import PARTIALS
from benchmarks.collector.sizing import Sizing
from benchmarks.collector.taking_in import Intake, intake
from benchmarks.rounds import Candidate, Rounds, interleaved
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from quantiles._kernels.choice import NAMES, use_kernels

GROUPS = 2_000
SMALL_GROUPS = 10
COLUMNS = [
    Column("keys", "keys"), Column("cells", "cells"), Column("frame", "groups a frame"),
    Column("bytes", "bytes a group", 0), Column("kernels", "kernels"), Column("groups", "K groups/s", 0),
    Column("low", "lowest", 0), Column("high", "highest", 0), Column("frames", "frames/s", 0),
]  # fmt: skip


@dataclass
class Workload:
    """One load, and the frames of the round before and of the measured ones."""

    name: str
    load: Load
    times: int
    warm: list[bytes] = field(init=False)
    payloads: list[bytes] = field(init=False)
    groups: int = field(init=False)

    def __post_init__(self) -> None:
        bodies = self.load.bodies
        self.warm = [frame for frame, _ in sent(bodies, agents=1)]
        measured = list(sent(bodies, agents=self.times, first=len(bodies)))
        self.payloads = [frame for frame, _ in measured]
        self.groups = sum(groups for _, groups in measured)

    def candidate(self, kernels: str, opened: ExitStack, last: dict[str, Intake]) -> Candidate:
        """Takes the frames in on a new database that knows the series already; `last` keeps it until the next run."""
        mine = opened.enter_context(ExitStack())

        def prepare() -> Intake:
            mine.close()
            use_kernels(kernels)
            made = mine.enter_context(intake(self.load.plan))
            made.take(self.warm)
            last[self.name + kernels] = made
            return made

        return Candidate(lambda made: made.take(self.payloads), prepare, self.groups)

    def measured(self, rounds: int) -> Rounds:
        """All kernels in turns; what the last run of each stored is compared with the truth."""
        last: dict[str, Intake] = {}
        with ExitStack() as opened:
            found = interleaved({name: self.candidate(name, opened, last) for name in NAMES}, rounds)
            for name in NAMES:
                if name in found.seconds:
                    use_kernels(name)
                    last[self.name + name].check(self.load, self.times + 1, len(self.warm) + len(self.payloads))
        return found


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Every shape with both kernels; the target takes the first shape with numba."""
    table = Table("partials", "1. Partial results taken in, merged and stored on SQLite, one core", COLUMNS)
    table.notes = [
        "Frames in memory -> checksum, columns, checks, merging -> pages, marks and positions in one transaction.",
        "A flush for every second of CPU time, by a partition that knows its series: making those is not timed.",
        "Each group holds 100 values of one key and window. What is stored is compared with the truth after each run.",
        f"CPU time of the process, SQLite and its writing included. Median of {size.rounds} rounds.",
    ]
    plain, counted = probe_plan(), probe_plan(", count(*) AS probes_total")
    for place, (keys, cells) in enumerate(size.shapes):
        groups = min(keys, GROUPS)
        frames = max(2, size.distinct_groups // groups)
        load = partial_load(plain, keys=keys, groups=groups, frames=frames, spread=SPREADS[cells])
        found = _rows(table, Workload(f"{keys}/{cells}", load, size.times), keys, cells, groups, size)
        if not place:
            rate = found.rate("numba").median
            board.score(PARTIALS, rate, f"{keys:,} keys, {cells} cells, numba; NumPy {found.rate('numpy').median:,.0f}")
    keys, cells = size.shapes[0]
    frames = max(2, size.distinct_groups // GROUPS)
    load = partial_load(counted, keys=keys, groups=GROUPS, frames=frames, spread=SPREADS[cells])
    _rows(table, Workload("counted", load, size.times), keys, cells, GROUPS, size, " and a count")
    small = partial_load(plain, keys=keys, groups=SMALL_GROUPS, frames=min(1_000, 5 * frames), spread=SPREADS[cells])
    _rows(table, Workload("small", small, size.times), keys, cells, SMALL_GROUPS, size)
    return [table]


def _rows(table: Table, work: Workload, keys: int, cells: int, groups: int, size: Sizing, more: str = "") -> Rounds:
    found = work.measured(size.rounds)
    table.notes += [f"{work.name} failed with {name}: {why}" for name, why in found.failed.items()]
    for name in _in_order(found):
        rate = found.rate(name)
        table.rows.append({
            "keys": keys, "cells": f"{cells}{more}", "frame": groups,
            "bytes": sum(map(len, work.payloads)) / work.groups, "kernels": name, "groups": rate.median / 1e3,
            "low": rate.lowest / 1e3, "high": rate.highest / 1e3,
            "frames": rate.median * len(work.payloads) / work.groups,
        })  # fmt: skip
    return found


def _in_order(found: Rounds) -> Sequence[str]:
    return [name for name in reversed(NAMES) if name in found.seconds]
