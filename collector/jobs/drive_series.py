"""What is said of drives as windows of their own: levels, retention, PromQL and Grafana serve it like any metric.

Every five minutes the verdicts become records of the streams in drive_streams.py and go through the plans of all
queries on these streams into flushes, as an agent's records would: under a claim of the job's own, whose position is
the number of the newest window and the last drive written. A writer that dies goes on behind it, and what another one
has written since is fenced off (docs/decisions/0008). No query gets more series than collector.series_max.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import polars as pl
import sqlalchemy as sa

from collector import own_metrics
from collector.jobs.config import DrivesConfig
from collector.jobs.drive_streams import COLLECTOR_STREAMS, DRIVE_COUNTS, DRIVE_VERDICTS, MEASURED, SYNTHETIC
from collector.series_limit import Refused, SeriesLimit
from pipeline.chain import Chain
from pipeline.errors import PipelineError
from pipeline.partial import Partial
from pipeline.schema import COLUMN_TYPES, polars_schema
from store.claims import DRIVES_PARTITION, JOBS_TOPIC, Claim, claim
from store.drive_tables import drives
from store.flush import Flush, write_flush
from store.registry import RegisteredVersion, load_versions, valid_ranges
from store.series import SeriesIds
from store.series_limit import Refusal

log = logging.getLogger(__name__)

STEP_NS: Final = 300 * 10**9
STATES: Final[Mapping[int, str]] = {-1: "unknown", 0: "good", 1: "watch", 2: "replace"}
# Positions of a window: 0 before anything is written, 1 with the counts, n + 2 with all drives up to number n. By
# number, since which drives are written changes while a writer that died is not yet gone on with.
_PLACES = 2**36
_DRIVES_A_PART = 1024
_PERCENT = 100.0
_DAY_NS = 86_400 * 10**9
# Made up is what a generator made, and what a model that learned from such says of any drive.
_MADE_UP: Final = sa.or_(drives.c.synthetic, drives.c.model_synthetic)


class DriveSeries:
    """Writes the windows of one job; forgets its claim whenever a write fails."""

    def __init__(self, config: DrivesConfig, series_max: int, engine: sa.Engine, owner: str) -> None:
        self._config = config
        self._engine = engine
        self._owner = owner
        self._claim: Claim | None = None
        self._series = SeriesIds()
        # Nothing waits in memory: what may go on is in the database before the next part is looked at.
        self._limit = SeriesLimit(engine, series_max, self._series, lambda: ())
        self._chains: dict[str, Chain | None] = {}

    def write(self, now_ns: int, rest: Callable[[], None] = lambda: None) -> int:
        """Write the window that ended last, with what is said now, as far as it is not written yet.

        Returns how many parts were written. A window that has ended shows at once, to PromQL too.

        Args:
            rest: called between parts; may raise to end the work, which the next call goes on with.
        Raises:
            FencedError: another process has written meanwhile; the next call finds out what.
            sqlalchemy.exc.SQLAlchemyError: the database failed; the part may be written again.
        """
        step = now_ns // STEP_NS
        try:
            return self._write(step, step * STEP_NS - 1, rest)
        except BaseException:
            self._claim = None
            raise

    def _write(self, step: int, at_ns: int, rest: Callable[[], None]) -> int:
        """The window before `step`; records are at its last moment, `at_ns`."""
        if self._claim is None:
            with self._engine.connect() as connection:
                if connection.execute(sa.select(drives.c.id).limit(1)).one_or_none() is None:
                    return 0  # no drives, nothing to claim
            with self._engine.begin() as connection:
                self._claim = claim(connection, JOBS_TOPIC, DRIVES_PARTITION, self._owner)
        first, end = step * _PLACES, (step + 1) * _PLACES
        reached = self._claim.next_offset
        if reached > end + _PLACES:
            log.warning(
                "clock behind what was written of drives; writing from now on windows_ahead=%d",
                reached // _PLACES - step,
            )
            reached = first
        if reached >= end:
            return 0
        with self._engine.connect() as connection:
            versions = self._versions(connection, at_ns)
        written = 0
        for place, stream, records in self._parts(at_ns, max(0, reached - first)):
            self._flush(first + place, at_ns, versions, stream, records)
            written += 1
            rest()
        self._flush(end, at_ns, versions, "", pl.DataFrame())
        return written

    def _flush(
        self, position: int, at_ns: int, versions: Mapping[str, RegisteredVersion], stream: str, records: pl.DataFrame
    ) -> None:
        assert self._claim is not None
        partials: dict[str, Partial] = {}
        refusals: list[Refusal] = []
        for name, version in versions.items():
            chain = self._chains[name]
            if version.plan.source == stream and chain is not None:
                kept, refused = self._limit.split(version, chain.finish(_placed(records, chain), after=0))
                if len(kept):
                    partials[name] = kept
                if refused is not None:
                    refusals.append(_refusal(version, refused))
        held = self._claim
        flush = Flush(position, at_ns, partials=partials, refusals=refusals)
        write_flush(self._engine, held, flush, versions, self._series)
        self._claim = Claim(held.topic, held.partition, held.owner, held.epoch, held.flushes + 1, position, ())
        for one in refusals:
            own_metrics.records_over_series_max.labels(one.query).inc(one.records)

    def _versions(self, connection: sa.Connection, at_ns: int) -> dict[str, RegisteredVersion]:
        """Of every query on our streams the version that is valid then, if it can run here."""
        found: dict[str, RegisteredVersion] = {}
        for name, version in load_versions(connection).items():
            if version.plan.source not in COLLECTOR_STREAMS:
                continue
            if name not in self._chains:
                self._chains[name] = _chain(version)
            window_ns = at_ns // version.plan.window_ns * version.plan.window_ns
            known = valid_ranges(connection, version.query_id)
            if self._chains[name] is not None and any(
                one.version == version and one.from_ns <= window_ns < one.to_ns for one in known
            ):
                found[name] = version
        return found

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


def _refusal(version: RegisteredVersion, refused: Refused) -> Refusal:
    records = sum(refused.records.values())
    return Refusal(version.query_id, version.plan.query, JOBS_TOPIC, refused.groups, records, refused.example)


def _chain(version: RegisteredVersion) -> Chain | None:
    plan = version.plan
    try:
        return Chain(plan, {})
    except (PipelineError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        log.warning("query on drives left out query=%s version=%s error=%s", plan.query, plan.version, error)
        return None


def _placed(records: pl.DataFrame, chain: Chain) -> pl.DataFrame:
    """The records with every column that the chain reads; what our streams do not have (a host, a switch) is NULL."""
    missing = {name: kind for name, kind in chain.schema_at(0).items() if name not in records.columns}
    return records.with_columns(pl.lit(None, COLUMN_TYPES[kind]).alias(name) for name, kind in missing.items())


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
