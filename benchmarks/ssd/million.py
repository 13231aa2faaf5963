"""Table 4: a million drives of 30 days through features and scoring in parts, in a process of its own.

What it takes is the peak of that process's resident memory, all libraries and one part's data in it, and its CPU time.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from time import process_time

import polars as pl

from analytics.ssd.features import features
from analytics.ssd.fleet import daily, fleet_parts
from analytics.ssd.fleet_parameters import FleetParameters
from analytics.ssd.fleet_reference import fleet_references
from analytics.ssd.model_file import dump_model, load_model
from analytics.ssd.training import xgboost
from benchmarks.ssd.sizing import Sizing
from benchmarks.ssd.trained import trained
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

DAYS = 30
COLUMNS = [
    Column("drives", "drives"), Column("part", "drives a part"), Column("rows", "drive-days"),
    Column("peak", "peak memory, MB", 0), Column("idle", "of it libraries, MB", 0), Column("made", "made up, CPU s", 1),
    Column("features", "features, CPU s", 1), Column("scoring", "scoring, CPU s", 1), Column("flagged", "flagged"),
    Column("reasons", "reasons, CPU s", 1),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """One row, and one with parts ten times smaller."""
    del board
    table = Table("million", "4. Many drives of 30 days through features and scoring, in parts", COLUMNS)
    table.notes = [
        "synthetic drives; features of all drive-days; probabilities of 7 and 30 days for the newest day of each drive",
        "and reasons (SHAP) for those above the threshold to watch; the parts' data are made up in the same process",
    ]
    packed = dump_model(trained(size.fleet_drives)[0])
    for part in (size.part, size.part // 10):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
            table.rows.append({**child.submit(through, packed, size.million, part).result()})
    return [table]


def through(packed: bytes, drives: int, part: int) -> dict[str, float | int]:
    """All drives once; runs in a child."""
    xgboost()  # loaded before anything is measured
    model = load_model(packed)
    horizon = max(model.horizons)
    row: dict[str, float | int] = {"drives": drives, "part": part, "rows": 0, "flagged": 0, "idle": _peak_mb()}
    row |= dict.fromkeys(("made", "features", "scoring", "reasons"), 0.0)
    parameters = daily(FleetParameters(), drives, DAYS)
    # Tables of models are made of the whole fleet; here the first part stands for it.
    ranks = fleet_references(next(fleet_parts(parameters, 15, chunk=part)).days)
    clock = process_time()

    def spent(on: str) -> None:
        nonlocal clock
        now = process_time()
        row[on] += now - clock
        clock = now

    for fleet in fleet_parts(parameters, 15, chunk=part):
        spent("made")
        known = features(fleet.days, failures=fleet.failures, reference=ranks)
        spent("features")
        last = fleet.days["day"].max()
        assert isinstance(last, date)
        newest = known.filter(pl.col("day") == last)
        flagged = model.probabilities(newest)[horizon] >= model.thresholds[horizon][0]
        spent("scoring")
        model.contributions(newest.filter(pl.Series(flagged)), horizon)
        spent("reasons")
        row["rows"] += len(known)
        row["flagged"] += int(flagged.sum())
    return row | {"peak": _peak_mb()}


def _peak_mb() -> float:
    """Of this program: getrusage would begin with the memory of the process that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")
