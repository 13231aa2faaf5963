"""Table 4: one p99 over 30,000 stored sketches: pages read, bodies decoded and merged, nothing cached."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


# Values of each sketch and the sigma of their logarithms; the target takes the last one, the largest.
CONTENTS = ((VALUES, SPREADS[46]), (1_000, 0.5))


@dataclass(frozen=True, slots=True)
class Content:
    """Some sketches, in `windows` windows from one on, and what they are together."""

    partial: Partial
    start_ns: int
    end_ns: int
    truth: SketchColumn

    @property
    def sketches(self) -> int:
        """How many."""
        return len(self.partial)

    @property
    def cells(self) -> float:
        """Of each, on average."""
        return len(sketches_of(self.partial).cells) / self.sketches


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Both databases, both kernels, small sketches and large ones."""
    table = Table("reads", f"4. One p99 over {size.series * size.windows:,} sketches", COLUMNS)
    table.notes = [
        f"{size.series} series in {size.windows} windows; store.windows.merged and the quantile.",
        "Wall time, for a server works elsewhere; the database's own cache is warm, ours does not exist.",
        f"Median of {_rounds(size)} rounds in turns. Each answer is compared with the merged truth.",
    ]
    contents = [_content(size, place, *what) for place, what in enumerate(CONTENTS)]
    found: dict[tuple[str, str], float] = {}
    with databases() as (engines, missing):
        table.notes += [missing] if missing else []
        for name, engine in engines.items():
            _fill(engine, contents)
            for content in contents:
                _measure(table, name, engine, content, size, found)
    for target, name in ((READ_SQLITE, SQLITE), (READ_POSTGRESQL, POSTGRESQL)):
        if (name, "numba") in found:
            what = f"{contents[-1].sketches:,} sketches of {contents[-1].cells:.0f} cells"
            board.score(target, found[name, "numba"], f"{name}, {what}, numba; NumPy {found[name, 'numpy']:.0f} ms")
        else:
            board.fail(target, missing)
    return [table]


def _content(size: Sizing, place: int, values: int, spread: float) -> Content:
    first = place * size.windows
    partials: list[Partial] = []
    for window in range(first, first + size.windows):
        load = partial_load(
            probe_plan(), keys=size.series, groups=size.series, frames=1, values=values, spread=spread, seed=window
        )
        partials.append(_later(load.truth, window))
    together = Partial.merge(partials)
    column = sketches_of(together)
    assert len(column) == size.series * size.windows
    start_ns = START_NS + first * WINDOW_NS
    truth = column.reduce(np.zeros(len(column), np.int64), 1)
    return Content(together, start_ns, start_ns + size.windows * WINDOW_NS, truth)


def _fill(engine: sa.Engine, contents: Sequence[Content]) -> None:
    """All of it in one flush."""
    plan = contents[0].partial.plan
    with engine.begin() as connection:
        register_queries(connection, [plan], 0)
        held = claim(connection, "bench", 0, "bench")
    with engine.connect() as connection:
        versions = load_versions(connection)
    everything = Partial.merge([content.partial for content in contents])
    write_flush(engine, held, Flush(1, START_NS, partials={plan.version: everything}), versions, SeriesIds())


def _rounds(size: Sizing) -> int:
    return size.rounds * 4 + 1


def _later(partial: Partial, window: int) -> Partial:
    """The same groups, `window` windows later."""
    keys = partial.keys.with_columns(partial.keys["window"] + window * WINDOW_NS)
    return Partial(partial.plan, keys, partial.states)


def _measure(
    table: Table, name: str, engine: sa.Engine, content: Content, size: Sizing, found: dict[tuple[str, str], float]
) -> None:
    selection = Selection(METRIC, content.start_ns, content.end_ns)
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
    wanted = float(content.truth.quantiles([0.99])[0, 0])
    assert len(answers) == len(NAMES) * (_rounds(size) + 1)
    assert all(p99 == wanted and column == content.truth for p99, column in answers), f"{name} answers another multiset"
    for kernels in reversed(NAMES):
        spread = times.time_s(kernels)
        found[name, kernels] = spread.median * 1e3
        table.rows.append({
            "database": name, "sketches": content.sketches, "cells": content.cells,
            "kernels": kernels, "median": spread.median * 1e3, "low": spread.lowest * 1e3,
            "high": spread.highest * 1e3,
        })  # fmt: skip
