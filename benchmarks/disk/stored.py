"""Bytes on disk per series and day, by the width of the windows, and what default retention adds up to.

Every window is flushed as it fills, several times, by the code of the collector: so pages are written and replaced as
they are in use, and what a database keeps of replaced rows is counted. Then the scheduled work makes minutes and hours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import polars as pl
import sqlalchemy as sa

from benchmarks.collector.databases import databases
from benchmarks.collector.fleet import SECOND_NS, START_NS, WINDOW_NS, probe_plan, records
from benchmarks.disk.sizing import Sizing
from benchmarks.tables import Cell, Column, Table
from benchmarks.targets import Scoreboard
from collector.config import CollectorConfig
from collector.jobs.config import JobsConfig, RetentionConfig
from collector.jobs.rounds import Rounds
from pipeline.chain import Chain
from pipeline.partial import Partial
from store.claims import Claim, claim
from store.flush import Arrival, Flush, write_flush
from store.registry import RegisteredVersion, load_versions, register_queries
from store.series import SeriesIds

SPREAD = 0.5  # as wide as round trips in a data centre: 90 % lie within a factor of 2.3 of the median
HOUR_NS = 3600 * SECOND_NS
FIRST_NS = START_NS // HOUR_NS * HOUR_NS
DAY_S = 86_400
COLUMNS = [
    Column("database", "database"), Column("values", "values a window"), Column("partitions", "partitions"),
    Column("own", "10 s: bytes a series-day", 0), Column("minutes", "1 min: bytes a series-day", 0),
    Column("hours", "1 h: bytes a series-day", 0), Column("manifests", "bytes an agent-day and query", 0),
    Column("total", "KB a series, default retention", 0),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Each case on each database, freshly made."""
    del board
    kept = RetentionConfig()
    table = Table("stored", "Bytes on disk of a sketch metric", COLUMNS)
    table.notes = [
        f"{size.series} series of {size.agents} agents, lognormal values of sigma {SPREAD}, {size.hours} h of windows.",
        f"Each window is flushed {size.flushes} times as it fills.",
        "Tables with their indexes as they lie on disk, space of replaced rows included; not the write-ahead log.",
        "Bytes of the 10 s level before the coarser ones are made; those are what the roll-up adds.",
        f"Default retention, in days: {', '.join(f'{s / DAY_S:g}' for s in msgspec.structs.astuple(kept))}.",
        "Manifests say how complete answers are: one row per agent, query and window of any level.",
    ]
    for values, partitions in size.cases:
        with databases() as (engines, missing):
            table.notes += [missing] if missing and missing not in table.notes else []
            for name, engine in engines.items():
                table.rows.append(_measured(name, engine, values, partitions, size, kept))
    return [table]


def _measured(
    name: str, engine: sa.Engine, values: int, partitions: int, size: Sizing, kept: RetentionConfig
) -> dict[str, Cell]:
    hour = _Hours(engine, size, values, partitions)
    hour.fill()
    own = hour.sizes()
    hour.roll_up()
    all_levels = hour.sizes()
    per_day = 24 / size.hours
    series_days = {0: own["pages"] * per_day / size.series}
    # Coarser levels by their share of the bytes: both are written once, in the same way.
    payload = hour.payload()
    added = all_levels["pages"] - own["pages"]
    for number in (1, 2):
        share = payload.get(number, 0) / max(1, payload.get(1, 0) + payload.get(2, 0))
        series_days[number] = added * share * per_day / size.series
    days = {0: kept.own_windows_s / DAY_S, 1: kept.minutes_s / DAY_S, 2: kept.hours_s / DAY_S}
    return {
        "database": name, "values": values, "partitions": partitions, "own": series_days[0],
        "minutes": series_days[1], "hours": series_days[2],
        "manifests": own["manifests"] * per_day / size.agents,
        "total": sum(series_days[number] * days[number] for number in days) / 1e3,
    }  # fmt: skip


@dataclass
class _Hours:
    """Some hours of windows on one database."""

    engine: sa.Engine
    size: Sizing
    values: int
    partitions: int
    held: dict[int, Claim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = probe_plan()
        with self.engine.begin() as connection:
            register_queries(connection, [self.plan], 0)
            for partition in range(self.partitions):
                self.held[partition] = claim(connection, "t", partition, "benchmark")

    def version(self) -> RegisteredVersion:
        with self.engine.connect() as connection:
            return load_versions(connection)[self.plan.version]

    def fill(self) -> None:
        """Every window, as often as it is flushed, by every partition's agents."""
        version, ids = self.version(), SeriesIds()
        pool = [self._partials(seed) for seed in range(4)]
        for window in range(FIRST_NS, FIRST_NS + self.size.hours * HOUR_NS, WINDOW_NS):
            for turn in range(self.size.flushes):
                for partition, partial in pool[(window // WINDOW_NS + turn) % len(pool)].items():
                    self._flush(version, ids, partition, _moved(partial, window))

    def roll_up(self) -> None:
        """Minutes and hours, as the scheduled work makes them."""
        config = CollectorConfig(jobs=JobsConfig(settle_s=0.0))
        rounds = Rounds(config, self.engine, "benchmark")
        assert rounds.round(FIRST_NS + self.size.hours * HOUR_NS + WINDOW_NS)
        rounds.leave()

    def sizes(self) -> dict[str, int]:
        """Bytes on disk: of the pages, and of the manifests."""
        with self.engine.connect() as connection:
            found = _table_bytes(connection)
        return {
            kind: sum(size for name, size in found.items() if name.startswith(kind)) for kind in ("pages", "manifests")
        }

    def payload(self) -> dict[int, int]:
        """Bytes of the pages' own content by level."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT level, sum(length(data)) FROM pages GROUP BY level"))
            return {int(level): int(total) for level, total in rows}

    def _partials(self, seed: int) -> dict[int, Partial]:
        """One flush's content by partition, all in one window."""
        rng, chain = np.random.default_rng([9, seed, self.values]), Chain(self.plan, {})
        values = max(1, self.values // self.size.flushes)
        found = {}
        for partition in range(self.partitions):
            keys = np.arange(partition, self.size.series, self.partitions)
            rows = records(rng, keys, self.size.series, values, SPREAD)
            found[partition] = _moved(chain.finish(chain.prepare(rows), after=0), FIRST_NS)
        return found

    def _flush(self, version: RegisteredVersion, ids: SeriesIds, partition: int, partial: Partial) -> None:
        window = int(partial.keys["window"][0])
        agents = range(partition, self.size.agents, self.partitions)
        n = int(partial.keys["rows"].sum()) // len(agents)
        arrivals = [Arrival(version.version_id, window, f"agent-{a}", n_in=n, n_local=n, got_local=n) for a in agents]
        held = self.held[partition]
        flush = Flush(
            held.next_offset + 1, window + WINDOW_NS, partials={self.plan.version: partial}, arrivals=arrivals
        )
        write_flush(self.engine, held, flush, {self.plan.version: version}, ids)
        self.held[partition] = replace(held, next_offset=held.next_offset + 1, flushes=held.flushes + 1)


def _moved(partial: Partial, window_ns: int) -> Partial:
    """The same groups in another window; what straddled two windows is in one."""
    keys = partial.keys.with_columns(window=pl.lit(window_ns, pl.Int64))
    return Partial.merge([replace(partial, keys=keys)])


def _table_bytes(connection: sa.Connection) -> Mapping[str, int]:
    """Table -> bytes on disk, indexes included."""
    if connection.dialect.name == "postgresql":
        rows = connection.execute(
            sa.text(
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        )
    else:
        rows = connection.execute(
            sa.text(
                "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
                "GROUP BY m.tbl_name"
            )
        )
    return {str(name): int(size) for name, size in rows}
