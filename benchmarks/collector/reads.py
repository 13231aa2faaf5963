"""Table 4: one p99 over 30,000 stored sketches: pages read, bodies decoded and merged, nothing cached."""

import time
from collections.abc import Callable

import numpy as np
import sqlalchemy as sa

from benchmarks.collector.databases import POSTGRESQL, SQLITE, databases
from benchmarks.collector.fleet import (
    METRIC,
    SPREADS,
    START_NS,
    VALUES,
    WINDOW_NS,
    partial_load,
    probe_plan,
    sketches_of,
)
from benchmarks.collector.goals import READ_POSTGRESQL, READ_SQLITE
from benchmarks.collector.sizing import Sizing
from benchmarks.rounds import Candidate, interleaved
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from pipeline.partial import Partial
from quantiles._kernels.choice import NAMES, use_kernels
from quantiles.sketch_column import SketchColumn
from store.claims import claim
from store.flush import Flush, write_flush
from store.registry import load_versions, register_queries
from store.series import SeriesIds
from store.windows import Selection, merged

COLUMNS = [
    Column("database", "database"), Column("sketches", "sketches"), Column("cells", "cells each", 1),
    Column("kernels", "kernels"), Column("median", "median ms", 1), Column("low", "lowest", 1),
    Column("high", "highest", 1),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Both databases, both kernels."""
    table = Table("reads", f"4. One p99 over {size.series * size.windows:,} sketches", COLUMNS)
    table.notes = [
        f"{size.series} series in {size.windows} windows, {VALUES} values each; store.windows.merged and the quantile.",
        "Wall time, for a server works elsewhere; the database's own cache is warm, ours does not exist.",
        f"Median of {_rounds(size)} rounds in turns. Each answer is compared with the merged truth.",
    ]
    found: dict[tuple[str, str], float] = {}
    with databases() as (engines, missing):
        table.notes += [missing] if missing else []
        for name, engine in engines.items():
            truth, cells = _fill(engine, size)
            _measure(table, name, engine, truth, cells, size, found)
    for target, name in ((READ_SQLITE, SQLITE), (READ_POSTGRESQL, POSTGRESQL)):
        if (name, "numba") in found:
            remark = f"{name}, {size.series * size.windows:,} sketches, numba; NumPy {found[name, 'numpy']:.0f} ms"
            board.score(target, found[name, "numba"], remark)
        else:
            board.fail(target, missing)
    return [table]


def _fill(engine: sa.Engine, size: Sizing) -> tuple[SketchColumn, float]:
    """One partial per window, flushed; gives all of it merged into one sketch, and the cells of a stored one."""
    plan = probe_plan()
    with engine.begin() as connection:
        register_queries(connection, [plan], 0)
        held = claim(connection, "bench", 0, "bench")
    with engine.connect() as connection:
        versions = load_versions(connection)
    partials: list[Partial] = []
    for window in range(size.windows):
        load = partial_load(plan, keys=size.series, groups=size.series, frames=1, spread=SPREADS[46], seed=window)
        partials.append(_later(load.truth, window))
    together = Partial.merge(partials)
    write_flush(engine, held, Flush(1, START_NS, partials={plan.version: together}), versions, SeriesIds())
    column = sketches_of(together)
    assert len(column) == size.series * size.windows
    return column.reduce(np.zeros(len(column), np.int64), 1), len(column.cells) / len(column)


def _rounds(size: Sizing) -> int:
    return size.rounds * 4 + 1


def _later(partial: Partial, window: int) -> Partial:
    """The same groups, `window` windows later."""
    keys = partial.keys.with_columns(partial.keys["window"] + window * WINDOW_NS)
    return Partial(partial.plan, keys, partial.states)


def _measure(
    table: Table, name: str, engine: sa.Engine, truth: SketchColumn, cells: float, size: Sizing,
    found: dict[tuple[str, str], float],
) -> None:  # fmt: skip
    selection = Selection(METRIC, START_NS, START_NS + size.windows * WINDOW_NS)
    answers: list[tuple[float, SketchColumn]] = []

    def read(_: object) -> None:
        with engine.connect() as connection:
            (group,) = merged(connection, selection).groups
        column = group.state.column  # type: ignore[attr-defined]
        answers.append((float(column.quantiles([0.99])[0, 0]), column))

    def chosen(kernels: str) -> Callable[[], None]:
        return lambda: use_kernels(kernels)

    candidates = {kernels: Candidate(read, chosen(kernels)) for kernels in NAMES}
    times = interleaved(candidates, _rounds(size), clock=time.perf_counter)
    wanted = float(truth.quantiles([0.99])[0, 0])
    assert len(answers) == len(NAMES) * (_rounds(size) + 1)
    assert all(p99 == wanted and column == truth for p99, column in answers), f"{name} answers another multiset"
    for kernels in reversed(NAMES):
        spread = times.time_s(kernels)
        found[name, kernels] = spread.median * 1e3
        table.rows.append({
            "database": name, "sketches": size.series * size.windows, "cells": cells,
            "kernels": kernels, "median": spread.median * 1e3, "low": spread.lowest * 1e3,
            "high": spread.highest * 1e3,
        })  # fmt: skip
