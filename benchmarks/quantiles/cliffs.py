"""Table 4: what makes adding slow. Plain rate / rate with hostile input, so 1 is flat and 6 is six times slower.

10,000 series are added to twice: to new tables, whose memory the system has to give first (2 to 10 ms for the 16 MB
that Pareto needs, on the machine this was written on), and then to those tables. The target is about adding: it takes
the second; the table and the line above the target show both.
"""

import numpy as np

from benchmarks.quantiles.adding import filling
from benchmarks.quantiles.data_sets import SYNTHETIC, generated
from benchmarks.quantiles.grouped import grouped_candidate
from benchmarks.quantiles.peers.registry import Field
from benchmarks.quantiles.peers.tailwatch import NUMBA
from benchmarks.quantiles.sizing import BATCH, Sizing
from benchmarks.rounds import Candidate, interleaved
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard

DATA_SETS = ("NetMon-like", "Pareto")
SERIES = 10_000
SMALL_BATCH = 1_000
LEAST_VALUES, MOST_VALUES = 1_000_000, 4_000_000  # of Method.most_values: slower ones are left out
PLAIN = "plain"
NEW_TABLES = f"{SERIES:,} new series"
CLIFFS = ("constant", "sorted", f"batches of {SMALL_BATCH:,}", NEW_TABLES, f"{SERIES:,} series")

COLUMNS = [
    Column("method", "method"), Column("n", "values"), Column("rate", "plain M/s", 2),
    *(Column(cliff, cliff, 2) for cliff in CLIFFS), Column("worst", "worst", 2),
]  # fmt: skip


def run(field: Field, size: Sizing, board: Scoreboard) -> list[Table]:
    """Ours with both kernels, and every fast sketch beside; the target is numba's worst cliff, new tables apart."""
    tables: list[Table] = []
    worst: dict[str, tuple[float, str]] = {}
    listed: dict[str, str] = {}
    for data in DATA_SETS:
        table = Table(f"cliffs {data}", f"4. Cliffs: {data}", COLUMNS)
        table.notes = [
            f"Plain = shuffled, one sketch, batches of {BATCH:,}. Other columns = plain rate / rate with that changed.",
            f"Median of the ratios of {size.rounds} rounds. Series are random; new ones need memory first.",
            SYNTHETIC,
        ]
        for method in field.methods:
            if method.kind not in {"ours", "sketch", "histogram"} or method.most_values < LEAST_VALUES:
                continue
            n = size.values_for(min(method.most_values, MOST_VALUES))
            values = generated(data, n, seed=4)
            candidates: dict[str, Candidate] = {
                PLAIN: filling(method, values),
                CLIFFS[0]: filling(method, np.full(n, float(np.median(values)))),
                CLIFFS[1]: filling(method, np.sort(values)),
                CLIFFS[2]: filling(method, values, SMALL_BATCH),
            }
            codes = np.random.default_rng(4).integers(0, SERIES, n)
            for cliff, again in ((CLIFFS[3], False), (CLIFFS[4], True)):
                grouped = grouped_candidate(method, values, codes, SERIES, again)
                if grouped is not None:
                    candidates[cliff] = grouped[0]
            rounds = interleaved(candidates, size.rounds)
            table.notes += [f"{method.name}, {what}, failed: {why}" for what, why in rounds.failed.items()]
            if PLAIN not in rounds.seconds:
                continue
            slower = {c: rounds.speedup(PLAIN, c).median for c in CLIFFS if c in rounds.seconds}
            row: Row = {"method": method.name, "n": n, "rate": rounds.rate(PLAIN).median / 1e6}
            table.rows.append(row | slower | {"worst": max(slower.values(), default=None)})
            if method.name == NUMBA and not rounds.failed:
                cliff = max(slower.keys() - {NEW_TABLES}, key=slower.__getitem__)
                worst[data] = slower[cliff], cliff
                listed[data] = ", ".join(f"{name} {times:.3g}" for name, times in slower.items())
        tables.append(table)
    if len(worst) == len(DATA_SETS):
        data = max(worst, key=lambda name: worst[name][0])
        board.score("quantiles.worst_cliff", worst[data][0], f"{NUMBA}, {worst[data][1]}, {data}; there {listed[data]}")
    else:
        board.fail("quantiles.worst_cliff", f"{NUMBA} did not run, or not all of it")
    return tables
