"""What is said of drives as series, every five minutes: how many are in which state, and what is said of each.

The records of the streams in drive_streams.py are written as job_series.py does. The position within a window is the
number of the last drive written.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl
import sqlalchemy as sa

from collector import own_metrics
from collector.jobs.config import DrivesConfig
from collector.jobs.drive_streams import DRIVE_COUNTS, DRIVE_STREAMS, DRIVE_VERDICTS
from collector.jobs.job_series import Place, StreamFlushes, WindowSeries
from collector.jobs.job_streams import MEASURED, SYNTHETIC
from pipeline.schema import polars_schema
from store.claims import DRIVES_PARTITION, DRIVES_TOPIC
from store.drive_tables import drives

STATES: Final[Mapping[int, str]] = {-1: "unknown", 0: "good", 1: "watch", 2: "replace"}
_PLACE: Final = Place(DRIVES_TOPIC, DRIVES_PARTITION)
# Places in a window: 1 with the counts, n + 2 with all drives up to number n. By number, since which drives are written
# changes while a writer that died is not yet gone on with.
_DRIVES_A_PART = 1024
_PERCENT = 100.0
_DAY_NS = 86_400 * 10**9
# Made up is what a generator made, and what a model that learned from such says of any drive.
_MADE_UP: Final = sa.or_(drives.c.synthetic, drives.c.model_synthetic)


class DriveSeries(WindowSeries):
    """Writes the windows of one job: counts first, then drives."""

    def __init__(self, config: DrivesConfig, series_max: int, engine: sa.Engine, owner: str) -> None:
        super().__init__(StreamFlushes(engine, _PLACE, DRIVE_STREAMS, series_max, owner))
        self._config = config
        self._engine = engine

    def _is_due(self) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(sa.select(drives.c.id).limit(1)).one_or_none() is not None

    def _parts(self, at_ns: int, done: int) -> Iterator[tuple[int, str, pl.DataFrame]]:
        """(place, stream, records) of the window behind place `done`: counts first, then drives, some at a time."""
        last_day = at_ns // _DAY_NS - self._config.gone_after_days
        with self._engine.connect() as connection:
            counts = _counts(connection, last_day)
        total = int(counts["drives"].sum())
        good = int(counts.filter(pl.col("state") == "good")["drives"].sum())
        for state in STATES.values():
            own_metrics.drives.labels(state).set(int(counts.filter(pl.col("state") == state)["drives"].sum()))
        few = total <= self._config.series_max_drives
        own_metrics.drives_without_series.set(0 if few else good)
        if not total:
            return
        if done < 1:
            yield 1, "drive_counts", counts.with_columns(ts=pl.lit(at_ns, pl.Int64))
        after = max(done, 1) - 2
        while True:
            with self._engine.connect() as connection:
                after, records = _verdicts(connection, last_day, after, notable=not few)
            if not records.height:
                return
            yield after + 2, "drive_verdicts", records.with_columns(ts=pl.lit(at_ns, pl.Int64))


def _counts(connection: sa.Connection, last_day: int) -> pl.DataFrame:
    """Drives by state and model. Every state of a model is there, so that none stands still when it becomes empty."""
    table = drives
    found = connection.execute(
        sa.select(table.c.model, _MADE_UP, table.c.state, sa.func.count())
        .where(table.c.scored_ns.is_not(None), table.c.last_day >= last_day)
        .group_by(table.c.model, _MADE_UP, table.c.state)
    )
    counted: dict[tuple[str | None, str], dict[int, int]] = {}
    for model, made_up, state, n in found:
        counted.setdefault((model, _origin(made_up)), {})[state] = n
    rows = [
        {"state": word, "model": model, "origin": origin, "drives": by_state.get(state, 0)}
        for (model, origin), by_state in counted.items()
        for state, word in STATES.items()
    ]
    return pl.DataFrame(rows, schema={k: v for k, v in polars_schema(DRIVE_COUNTS).items() if k != "ts"}, orient="row")


def _verdicts(connection: sa.Connection, last_day: int, after: int, *, notable: bool) -> tuple[int, pl.DataFrame]:
    """(the last number, records) of the next drives behind `after`; with `notable` those that are not Good."""
    table = drives
    names = ("id", "drive", "node", "rack", "model", "kind", "state", "p7", "p30", "wear_used_pct")
    query = sa.select(*(table.c[name] for name in names), _MADE_UP.label("made_up")).where(
        table.c.id > after, table.c.scored_ns.is_not(None), table.c.last_day >= last_day
    )
    if notable:
        query = query.where(table.c.state != sa.literal_column("0"))  # as the index drives_not_good has it
    found = connection.execute(query.order_by(table.c.id).limit(_DRIVES_A_PART)).all()
    rows = [
        {
            "drive": row.drive,
            "node": row.node,
            "rack": row.rack,
            "model": row.model,
            "kind": row.kind,
            "origin": _origin(row.made_up),
            "state": row.state,
            "probability_7d": row.p7,
            "probability_30d": row.p30,
            "wear_used_ratio": None if row.wear_used_pct is None else row.wear_used_pct / _PERCENT,
        }
        for row in found
    ]
    schema = {name: kind for name, kind in polars_schema(DRIVE_VERDICTS).items() if name != "ts"}
    return (found[-1].id if found else after), pl.DataFrame(rows, schema=schema, orient="row")


def _origin(made_up: bool) -> str:
    return SYNTHETIC if made_up else MEASURED
