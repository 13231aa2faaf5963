"""Table 5: bytes of a sketch of 10,000 lognormal values, header included, without few-k values."""

from benchmarks.quantiles.adding import filled
from benchmarks.quantiles.data_sets import LOGNORMAL_05, LOGNORMAL_1, SYNTHETIC, generated
from benchmarks.quantiles.peers.registry import Field
from benchmarks.quantiles.sizing import Sizing
from benchmarks.rounds import Spread
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

VALUES = 10_000
TARGETS = {LOGNORMAL_05: "quantiles.bytes_sigma05", LOGNORMAL_1: "quantiles.bytes_sigma1"}
COLUMNS = [
    Column("method", "method"), Column("data", "data set"), Column("seeds", "seeds"), Column("bytes", "bytes", 0),
    Column("low", "smallest", 0), Column("high", "largest", 0), Column("ratio", "ours x", 2),
]  # fmt: skip


def run(field: Field, size: Sizing, board: Scoreboard) -> list[Table]:
    """Every method that has bytes; the targets take the largest of all seeds."""
    table = Table("sizes", f"5. Bytes of {VALUES:,} values", COLUMNS)
    table.notes = [
        "Median, smallest and largest over the seeds; ours x = bytes / our bytes. A Sketch keeps no few-k values.",
        "boost-histogram's bytes are its pickle, all bins included.",
        SYNTHETIC,
    ]
    for data, target in TARGETS.items():
        ours: float | None = None
        for method in field.methods:
            if method.to_bytes is None:
                continue
            seeds = size.seeds if method.kind == "ours" else min(size.seeds, 3)
            try:
                method.ready()
                found = Spread.of(
                    [len(method.to_bytes(filled(method, generated(data, VALUES, s)))) for s in range(seeds)]
                )
            except Exception as error:  # noqa: BLE001  # a peer's fault is a result to show, not a reason to stop
                table.notes.append(f"{method.name} failed on {data}: {type(error).__name__}: {error}")
                continue
            if method.kind == "ours" and ours is None:
                ours = found.median
                board.score(target, found.highest, f"largest of {seeds} seeds; median {found.median:g}")
            table.rows.append({
                "method": method.name, "data": data, "seeds": seeds, "bytes": float(found.median),
                "low": found.lowest, "high": found.highest, "ratio": found.median / ours if ours else None,
            })  # fmt: skip
    return [table]
