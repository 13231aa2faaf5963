"""A database, made-up drives whose windows are in it, and the job that scores them, driven step by step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import sqlalchemy as sa

from agents.sources.streams import SMART
from analytics.ssd.days import drive_days
from collector.config import CollectorConfig
from collector.jobs.config import DrivesConfig, JobsConfig
from collector.jobs.drive_intake import day_of, note_chunk
from collector.jobs.drives import DriveRounds
from collector.jobs.job_streams import COLLECTOR_STREAMS
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import polars_schema
from pipeline.sql import compile_query
from store.claims import claim
from store.drive_days import put_days
from store.drives import DriveSeen, note_drives
from store.flush import Flush, write_flush
from store.registry import load_versions, register_queries
from store.series import SeriesIds
from tailwatch.query_set import builtin_queries

DAY_NS = 86_400 * 10**9
HOUR_NS = 3600 * 10**9
#: 2024-11-20: a day in the past of every machine, for the job trusts no clock that is ahead of the server's.
TODAY = 20_047
PLACES = ("node", "rack", "model", "vendor", "family", "firmware", "kind")
QUERIES = ("drives", "drive_verdicts", "drive_probabilities", "drive_counts")


def plans() -> dict[str, Plan]:
    """The built-in queries on drives, compiled."""
    streams = {"smart": SMART, **COLLECTOR_STREAMS}
    return {one.name: compile_query(one.name, one.sql, streams, {}) for one in builtin_queries() if one.name in QUERIES}


PLANS = plans()


def reading(day: int, hour: int = 12, **columns: Any) -> dict[str, Any]:
    """A row of the stream smart: an SSD that is well, and what `columns` say otherwise."""
    return {
        "ts": day * DAY_NS + hour * HOUR_NS + 5,
        "host": "n1",
        "rack": "r1",
        "device": "/dev/sda",
        "kind": "ata",
        "model": "SSD A1",
        "family": "Intel 530 Series SSDs",
        "serial": "S1",
        "firmware": "F1",
        "state": "ok",
        "passed": 1,
        "failing": 0,
        "uncorrectable_total": 0,
        "realloc_total": 0,
        "crc_total": 0,
        "wear_used_pct": 10,
        "power_on_h": 10_000 + 24 * (day - TODAY) + hour,
        "temperature_c": 30,
        "read_s": 0.1,
    } | columns


@dataclass
class DrivesWorld:
    """Readings go in as an agent's records would, through the plan into flushes of a partition."""

    engine: sa.Engine
    names: list[str] = field(default_factory=lambda: list(QUERIES))
    offset: int = 0

    def __post_init__(self) -> None:
        with self.engine.begin() as connection:
            register_queries(connection, [PLANS[name] for name in self.names], 0)

    def take(self, rows: Iterable[Mapping[str, Any]], partition: int = 0) -> None:
        """Flush these readings."""
        chain = Chain(PLANS["drives"], {})
        frame = pl.DataFrame(list(rows), schema=polars_schema({**SMART, "rack": "string"}), orient="row")
        partial = chain.finish(chain.prepare(frame), after=0)
        with self.engine.begin() as connection:
            held = claim(connection, "tailwatch", partition, "tester")
            versions = load_versions(connection)
        flush = Flush(held.next_offset + 1, TODAY * DAY_NS, partials={chain.plan.version: partial})
        write_flush(self.engine, held, flush, versions, SeriesIds())

    def know(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put these readings down as drive-days, without windows: quicker where it is about what is said of them."""
        frame = pl.DataFrame(list(rows), schema=polars_schema({**SMART, "rack": "string"}), orient="row")
        days = drive_days(frame)
        with self.engine.begin() as connection:
            numbers = note_drives(
                connection,
                [
                    DriveSeen(row["drive"], (row["day"] - day_of(0)).days, **{name: row[name] for name in PLACES})
                    for row in days.iter_rows(named=True)
                ],
            )
            put_days(connection, days, numbers)
            for chunk in {number // 1024 for number in numbers.values()}:
                note_chunk(connection, chunk, TODAY * DAY_NS)

    def next_number(self, number: int) -> None:
        """The next new drive gets this number: so a few drives lie in several chunks."""
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT setval('drives_id_seq', {number}, false)")
            else:
                connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = 'drives'")
                connection.exec_driver_sql(f"INSERT INTO sqlite_sequence VALUES ('drives', {number - 1})")

    def rounds(self, owner: str = "tester", **settings: Any) -> DriveRounds:
        """The job as a collector has it; it rests for nobody."""
        drives = DrivesConfig(**{"cpu_share": 1.0, **settings})
        return DriveRounds(CollectorConfig(jobs=JobsConfig(drives=drives)), self.engine, owner)

    def table(self, name: str, *left_out: str) -> list[tuple[Any, ...]]:
        """All rows of a table, in order, without columns that say when."""
        table = sa.Table(name, sa.MetaData(), autoload_with=self.engine)
        columns = [column for column in table.c if column.name not in left_out]
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(*columns)).all()
        return sorted((tuple(row) for row in found), key=repr)

    def drive(self, name: str) -> dict[str, Any]:
        """One row of `drives`."""
        with self.engine.connect() as connection:
            found = connection.execute(sa.text("SELECT * FROM drives WHERE drive = :name"), {"name": name})
            return dict(found.mappings().one())
