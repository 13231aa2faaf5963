"""Table 2: rows that agents did not aggregate, finished through the chain at the collector."""

from benchmarks.collector.fleet import drained_load, probe_plan
from benchmarks.collector.goals import DRAINED
from benchmarks.collector.partials import Workload
from benchmarks.collector.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from quantiles._kernels.choice import NAMES

KEYS = 10_000
COLUMNS = [
    Column("keys", "keys"), Column("rows", "rows a frame"), Column("bytes", "bytes a row", 1),
    Column("kernels", "kernels"), Column("rate", "K records/s", 0), Column("low", "lowest", 0),
    Column("high", "highest", 0),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Frames of rows, as many as agents put into one; the target takes numba."""
    table = Table("drained", "2. Drained rows taken in, aggregated and stored on SQLite, one core", COLUMNS)
    table.notes = [
        "As table 1, but frames hold rows: a time, two labels as text and a value; each is grouped and counted here.",
        f"Median of {size.rounds} rounds, CPU time of the process.",
    ]
    load = drained_load(probe_plan(), keys=KEYS, rows=size.drained_rows, frames=size.drained_frames)
    work = Workload("drained", load, size.times)
    found = work.measured(size.rounds)
    table.notes += [f"{name} failed: {why}" for name, why in found.failed.items()]
    for name in reversed(NAMES):
        if name in found.seconds:
            rate = found.rate(name)
            table.rows.append({
                "keys": KEYS, "rows": size.drained_rows, "bytes": sum(map(len, work.payloads)) / work.groups,
                "kernels": name, "rate": rate.median / 1e3, "low": rate.lowest / 1e3, "high": rate.highest / 1e3,
            })  # fmt: skip
    reached = found.rate("numba").median
    board.score(DRAINED, reached, f"{KEYS:,} keys, numba; NumPy {found.rate('numpy').median:,.0f}")
    return [table]
