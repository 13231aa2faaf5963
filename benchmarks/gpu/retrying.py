"""Table 4: what retry advice saves on a simulated cluster, in the worst of 16 cases and over several seeds."""

from typing import Final

from analytics.gpu.simulation.grid import SIMULATED_NOTE, Simulation, run_grid
from analytics.gpu.simulation.policies import PolicyName
from benchmarks.gpu.goals import SAVED_ALWAYS, SAVED_REASON
from benchmarks.gpu.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

AGAINST: Final[tuple[PolicyName, ...]] = ("always", "per_reason", "unlearned", "never")
COLUMNS = [
    Column("seed", "seed"), Column("against", "against"), Column("worst", "GPU time saved, worst case, %", 1),
    Column("best", "best case, %", 1), Column("sooner", "jobs done sooner, worst case, %", 1),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """A grid for each seed; targets take the worst of all."""
    table = Table("retrying", "4. Retry advice, simulated", COLUMNS)
    table.notes = [
        SIMULATED_NOTE,
        f"{size.simulated:,} failing jobs a case; GPU time is that of jobs that fail at least once",
    ]
    grids = [run_grid(size.simulated, seed) for seed in size.seeds]
    for grid in grids:
        for name in AGAINST:
            saved = [cell.saved_pct(name) for cell in grid.cells]
            sooner = min(cell.sooner_pct(name) for cell in grid.cells)
            table.rows.append(
                {"seed": grid.seed, "against": name, "worst": min(saved), "best": max(saved), "sooner": sooner}
            )
    goals: dict[str, PolicyName] = {SAVED_ALWAYS: "always", SAVED_REASON: "per_reason"}
    for target, name in goals.items():
        worst = min(_worst(grid, name) for grid in grids)
        board.score(
            target, worst, f"simulated, worst case of {len(grids)} seeds x {len(grids[0].cells)} against {name}"
        )
    return [table]


def _worst(grid: Simulation, name: PolicyName) -> float:
    return min(cell.saved_pct(name) for cell in grid.cells)
