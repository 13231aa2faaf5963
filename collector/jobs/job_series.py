"""What a job says as windows of its own: levels, retention, PromQL and Grafana serve it like any metric.

A job's records go through the plans of all queries on its streams into flushes, as an agent's records would: under a
claim of the job's own, whose position says what of it is written. A writer that dies is gone on with behind it, and
what another one has written since is fenced off (docs/decisions/0008). No query gets more series than
collector.series_max.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

import polars as pl
import sqlalchemy as sa

from collector import own_metrics
from collector.series_limit import Refused, SeriesLimit
from pipeline.chain import Chain
from pipeline.errors import PipelineError
from pipeline.partial import Partial
from pipeline.schema import COLUMN_TYPES
from store.claims import Claim, claim
from store.flush import Flush, write_flush
from store.registry import RegisteredVersion, ValidRange, load_versions, valid_ranges
from store.series import SeriesIds
from store.series_limit import Refusal

log = logging.getLogger(__name__)

STEP_NS: Final = 300 * 10**9
#: Positions that a window has: 0 before anything of it is written.
PLACES: Final = 2**36


@dataclass(frozen=True, slots=True)
class Place:
    """What the windows are written under: a topic that no transport has (store/claims.py), a partition of it."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Reader:
    """A version of a query on the job's streams, and when it is valid."""

    version: RegisteredVersion
    ranges: tuple[ValidRange, ...]

    def valid(self, records: pl.DataFrame) -> pl.DataFrame:
        """The records in whose windows the version is valid."""
        width_ns = self.version.plan.window_ns
        window = pl.col("ts") // width_ns * width_ns
        return records.filter(reduce(or_, ((window >= one.from_ns) & (window < one.to_ns) for one in self.ranges)))


class StreamFlushes:
    """Flushes of records of some streams, under one claim; forgets its claim whenever a write fails."""

    def __init__(self, engine: sa.Engine, place: Place, streams: Collection[str], series_max: int, owner: str) -> None:
        self._engine = engine
        self._place = place
        self._streams = frozenset(streams)
        self._owner = owner
        self._claim: Claim | None = None
        self._series = SeriesIds()
        # Nothing waits in memory: what may go on is in the database before the next part is looked at.
        self._limit = SeriesLimit(engine, series_max, self._series, lambda: ())
        self._chains: dict[str, Chain | None] = {}

    @property
    def is_claimed(self) -> bool:
        """Whether it was ours when last asked."""
        return self._claim is not None

    def position(self) -> int:
        """How far it is written; claims it where it is not ours yet."""
        if self._claim is None:
            with self._engine.begin() as connection:
                self._claim = claim(connection, self._place.topic, self._place.partition, self._owner)
        return self._claim.next_offset

    def let_go(self) -> None:
        """A write failed: what is written is to be asked of the database."""
        self._claim = None

    def readers(self) -> list[Reader]:
        """Of every query on the streams the versions that can run here."""
        found = []
        with self._engine.connect() as connection:
            for name, version in load_versions(connection).items():
                if version.plan.source not in self._streams:
                    continue
                if name not in self._chains:
                    self._chains[name] = _chain(version)
                ranges = tuple(one for one in valid_ranges(connection, version.query_id) if one.version == version)
                if self._chains[name] is not None and ranges:
                    found.append(Reader(version, ranges))
        return found

    def flush(
        self,
        position: int,
        now_ns: int,
        readers: Collection[Reader],
        stream: str = "",
        records: pl.DataFrame | None = None,
    ) -> None:
        """Write the records of one stream, and the position with them; both or neither.

        Raises:
            FencedError: another process has written meanwhile.
            sqlalchemy.exc.SQLAlchemyError: the database failed; it may be written all the same.
        """
        held = self._claim
        assert held is not None
        partials: dict[str, Partial] = {}
        refusals: list[Refusal] = []
        for one in readers:
            plan, chain = one.version.plan, self._chains[one.version.plan.version]
            if records is not None and plan.source == stream and chain is not None:
                mine = one.valid(records)
                kept, refused = self._limit.split(one.version, chain.finish(_placed(mine, chain), after=0))
                if len(kept):
                    partials[plan.version] = kept
                if refused is not None:
                    refusals.append(self._refusal(one.version, refused))
        versions = {one.version.plan.version: one.version for one in readers}
        flush = Flush(position, now_ns, partials=partials, refusals=refusals)
        write_flush(self._engine, held, flush, versions, self._series)
        self._claim = Claim(held.topic, held.partition, held.owner, held.epoch, held.flushes + 1, position, ())
        for refusal in refusals:
            own_metrics.records_over_series_max.labels(refusal.query).inc(refusal.records)

    def _refusal(self, version: RegisteredVersion, refused: Refused) -> Refusal:
        records = sum(refused.records.values())
        topic = self._place.topic
        return Refusal(version.query_id, version.plan.query, topic, refused.groups, records, refused.example)


class WindowSeries(ABC):
    """What holds just now, once every five minutes: the position is the newest window's number and its last part."""

    def __init__(self, flushes: StreamFlushes) -> None:
        self._flushes = flushes

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
            self._flushes.let_go()
            raise

    @abstractmethod
    def _is_due(self) -> bool:
        """Whether there is anything to say, ever: else nothing is claimed."""

    @abstractmethod
    def _parts(self, at_ns: int, done: int) -> Iterator[tuple[int, str, pl.DataFrame]]:
        """(place, stream, records) of the window behind place `done`: places rise, from 1 to less than PLACES."""

    def _write(self, step: int, at_ns: int, rest: Callable[[], None]) -> int:
        """The window before `step`; records are at its last moment, `at_ns`."""
        if not self._flushes.is_claimed and not self._is_due():
            return 0
        first, end = step * PLACES, (step + 1) * PLACES
        reached = self._flushes.position()
        if reached > end + PLACES:
            log.warning("clock behind what a job wrote; writing from now on windows_ahead=%d", reached // PLACES - step)
            reached = first
        if reached >= end:
            return 0
        readers = self._flushes.readers()
        written = 0
        for place, stream, records in self._parts(at_ns, max(0, reached - first)):
            self._flushes.flush(first + place, at_ns, readers, stream, records)
            written += 1
            rest()
        self._flushes.flush(end, at_ns, readers)
        return written


def _chain(version: RegisteredVersion) -> Chain | None:
    plan = version.plan
    try:
        return Chain(plan, {})
    except (PipelineError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        log.warning("query on a job's stream left out query=%s version=%s error=%s", plan.query, plan.version, error)
        return None


def _placed(records: pl.DataFrame, chain: Chain) -> pl.DataFrame:
    """The records with every column that the chain reads; what our streams do not have (a host, a switch) is NULL."""
    missing = {name: kind for name, kind in chain.schema_at(0).items() if name not in records.columns}
    return records.with_columns(pl.lit(None, COLUMN_TYPES[kind]).alias(name) for name, kind in missing.items())
