"""The data: real values, the sketches of them, and how both get into a database as a collector would write them.

A grid's hour is drawn once and repeats, so that a day of a thousand series is known without being kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import sqlalchemy as sa

from benchmarks.api.sizing import Sizing
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.sql import compile_query
from pipeline.states import SketchState
from quantiles.sketch_column import SketchColumn
from store.claims import claim
from store.fleet import AgentReport, VersionProgress
from store.flush import Arrival, Flush, write_flush
from store.levels import levels_of
from store.registry import RegisteredVersion, load_versions, register_queries
from store.rollup import roll_up
from store.series import SeriesIds

SECOND_NS = 10**9
HOUR_S = 3_600
# A whole hour, long enough ago that every answer about it is settled.
START_S = 1_795_000_000 // HOUR_S * HOUR_S
AGENTS = 4
_MEDIAN_US, _SIGMA = 800.0, 0.5
_ROLLED_AT_ONCE = 64


@dataclass(frozen=True)
class Content:
    """Windows of some series, all of which have the same number of values in each.

    Attributes:
        values: int32[windows, series, values], one hour at most; window w holds that of w modulo its number.
        windows: how many there are in the databases.
    """

    name: str
    window_s: int
    values: np.ndarray
    windows: int

    @property
    def metric(self) -> str:
        """The metric's name."""
        return f"{self.name}_us"

    @property
    def series(self) -> int:
        """How many."""
        return int(self.values.shape[1])

    @property
    def end_s(self) -> int:
        """Where the last window ends."""
        return START_S + self.windows * self.window_s

    @cached_property
    def plan(self) -> Plan:
        """The query that makes the metric."""
        sql = (
            f"SELECT host, sketch(rtt_us) AS {self.metric} FROM {self.name} "
            f"GROUP BY TUMBLE(ts, INTERVAL '{self.window_s}' SECOND), host"
        )
        schema = {"ts": "int64", "host": "string", "rtt_us": "int64"}
        return compile_query(self.name, sql, {self.name: schema}, {})

    @cached_property
    def sketches(self) -> SketchColumn:
        """One sketch per window and series, of the windows that `values` holds."""
        windows, series, values = self.values.shape
        groups = np.repeat(np.arange(windows * series), values)
        return SketchColumn.from_values(self.values.reshape(-1).astype(np.int64), groups, windows * series)

    def host(self, series: int) -> str:
        """A series' label."""
        return f"host-{series:04d}"

    def exact(self, q: float, windows: Sequence[int]) -> float:
        """The value at the nearest rank among all values of these windows."""
        values = self.values[[window % len(self.values) for window in windows]].reshape(-1)
        rank = max(1, int(np.ceil(q * values.size - 1e-9)))
        return float(np.partition(values, rank - 1)[rank - 1])


def large_content(size: Sizing) -> Content:
    """Every window drawn."""
    series, windows, values = size.large
    return _drawn("large", 10, series, windows, values, windows)


def grid_content(size: Sizing, series: int) -> Content:
    """An hour of minutes, again and again, and half an hour more: so that ranges begin and end between hours."""
    return _drawn(f"grid_{series}", 60, series, 60, 100, 60 * size.grid_hours + 30)


def fill(engine: sa.Engine, content: Content, *, rolled_up: bool) -> None:
    """Write all windows, an hour or so in a flush, with what agents say of them; and what the jobs would make of it."""
    with engine.begin() as connection:
        register_queries(connection, [content.plan], 0)
    with engine.connect() as connection:
        versions = load_versions(connection)
    version, series = versions[content.plan.version], SeriesIds()
    with engine.begin() as connection:
        held = claim(connection, "bench", 0, "bench")
    drawn = len(content.values)
    for first in range(0, content.windows, drawn):
        last = min(first + drawn, content.windows)
        flush = Flush(
            held.next_offset + 1,
            content.end_s * SECOND_NS,
            partials={content.plan.version: _partial(content, first, last)},
            arrivals=list(_arrivals(content, version, first, last)),
            reports=list(_reports(content, version)),
        )
        write_flush(engine, held, flush, versions, series)
        with engine.begin() as connection:
            held = claim(connection, "bench", 0, "bench")
    if rolled_up:
        _roll_up(engine, version, content)


def _drawn(name: str, window_s: int, series: int, windows: int, values: int, stored: int) -> Content:
    source = np.random.default_rng([series, windows, values])
    drawn = np.rint(_MEDIAN_US * np.exp(_SIGMA * source.standard_normal((windows, series, values), np.float32)))
    return Content(name, window_s, drawn.astype(np.int32), stored)


def _partial(content: Content, first: int, last: int) -> Partial:
    n, series = last - first, content.series
    column = content.sketches.take(np.arange(n * series))
    windows = (START_S + np.repeat(np.arange(first, last), series) * content.window_s) * SECOND_NS
    keys = pl.DataFrame({
        "window": windows,
        "rows": np.full(n * series, content.values.shape[2], np.int64),
        "host": [content.host(one) for one in range(series)] * n,
    })  # fmt: skip
    return Partial(content.plan, keys, {content.metric: SketchState(column)})


def _arrivals(content: Content, version: RegisteredVersion, first: int, last: int) -> Sequence[Arrival]:
    rows = content.series * content.values.shape[2]
    return [
        Arrival(version.version_id, (START_S + window * content.window_s) * SECOND_NS, f"agent-{agent}",
                n_in=rows, n_local=rows, got_local=rows)
        for window in range(first, last)
        for agent in range(AGENTS)
    ]  # fmt: skip


def _reports(content: Content, version: RegisteredVersion) -> Sequence[AgentReport]:
    begin_ns, end_ns = START_S * SECOND_NS, content.end_s * SECOND_NS
    return [
        AgentReport(f"agent-{agent}", f"host-{agent}", f"{agent:032x}", f"{agent + 1:032x}", begin_ns, end_ns, {},
                    [VersionProgress(version.version_id, version.query_id, begin_ns, end_ns, replayable=False)])
        for agent in range(AGENTS)
    ]  # fmt: skip


def _roll_up(engine: sa.Engine, version: RegisteredVersion, content: Content) -> None:
    for level in levels_of(content.plan.window_ns)[1:]:
        done = 1
        while done:
            with engine.begin() as connection:
                ended_ns = content.end_s * SECOND_NS
                done = roll_up(connection, version, level.number, ended_ns, _ROLLED_AT_ONCE)
