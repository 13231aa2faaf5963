"""Minutes of services as series, each once when it has settled; alerts every five minutes.

Minutes are written under a claim whose position is the number of the first minute that is not written yet. Those that
wait to be computed hold it up, so that what came while no collector ran is in the series too; a request that comes
after its minute was written is in the tables, which the API reads, and in no series.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import polars as pl
import sqlalchemy as sa

from analytics.tail.minutes import Minute, minute_from
from collector.jobs.job_series import Place, StreamFlushes, WindowSeries
from collector.jobs.job_streams import MEASURED, SYNTHETIC
from collector.jobs.tail_streams import SERVICE_ALERTS, SERVICE_CAUSES, SERVICE_MINUTES
from collector.jobs.tail_waiting import MINUTE_NS
from pipeline.schema import Schema, polars_schema
from store.claims import TAIL_MINUTES_PARTITION, TAIL_PARTITION, TAIL_TOPIC
from store.tail_alerts import list_alerts
from store.tail_documents import document_of
from store.tail_tables import tail_alerts, tail_minutes, tail_services

#: Service, origin, document, and the minute in it.
_Row: TypeAlias = tuple[str, str, Mapping[str, Any], Minute]
#: Of minutes that nobody wrote for so long, as after a rest of weeks, only the last are written.
_LONGEST_NS: Final = 7 * 86_400 * 10**9


class ServiceMinutes:
    """Minutes as records, each once."""

    def __init__(self, series_max: int, engine: sa.Engine, owner: str) -> None:
        self._engine = engine
        place = Place(TAIL_TOPIC, TAIL_MINUTES_PARTITION)
        self._flushes = StreamFlushes(engine, place, ("service_minutes", "service_causes"), series_max, owner)

    def write(self, until: int, now_ns: int, rest: Callable[[], None] = lambda: None) -> int:
        """Write the minutes below the number `until` that are not written yet; returns how many of all services.

        Args:
            until: minutes since 1970; from then on they may still change, or wait to be computed.
            rest: called between parts; may raise to end the work, which the next call goes on with.
        Raises:
            FencedError: another process has written meanwhile; the next call finds out what.
            sqlalchemy.exc.SQLAlchemyError: the database failed; the part may be written again.
        """
        try:
            return self._write(until, now_ns, rest)
        except BaseException:
            self._flushes.let_go()
            raise

    def _write(self, until: int, now_ns: int, rest: Callable[[], None]) -> int:
        if not self._flushes.is_claimed and not _any(self._engine, tail_minutes):
            return 0
        first = max(self._flushes.position() // 2, until - _LONGEST_NS // MINUTE_NS)
        written = 0
        while True:
            with self._engine.connect() as connection:
                minute = _next_minute(connection, first, until)
                if minute is None:
                    return written
                rows = _rows_of(connection, minute)
            readers = self._flushes.readers()
            # Positions are even once a minute is whole: one that dies between its two streams is gone on with there.
            if self._flushes.position() <= 2 * minute:
                self._flushes.flush(2 * minute + 1, now_ns, readers, "service_minutes", _minute_records(rows))
            self._flushes.flush(2 * minute + 2, now_ns, readers, "service_causes", _cause_records(rows))
            written += len(rows)
            first = minute + 1
            rest()


class ServiceWindows(WindowSeries):
    """Alerts, firing or not."""

    def __init__(self, series_max: int, engine: sa.Engine, owner: str) -> None:
        place = Place(TAIL_TOPIC, TAIL_PARTITION)
        super().__init__(StreamFlushes(engine, place, ("service_alerts",), series_max, owner))
        self._engine = engine

    def _is_due(self) -> bool:
        return _any(self._engine, tail_alerts)

    def _parts(self, at_ns: int, done: int) -> Iterator[tuple[int, str, pl.DataFrame]]:
        """(place, stream, records): one part, place 1."""
        if done >= 1:
            return
        with self._engine.connect() as connection:
            origins = _origins(connection)
            alerts = list_alerts(connection)
        rows = [
            {
                "ts": at_ns,
                "service": one.service,
                "origin": origins.get(one.service, MEASURED),
                "alert": one.name,
                "severity": one.severity,
                "firing": int(one.firing),
            }
            for one in alerts
        ]
        if rows:
            yield 1, "service_alerts", _frame(rows, SERVICE_ALERTS)


def _next_minute(connection: sa.Connection, first: int, until: int) -> int | None:
    start = tail_minutes.c.start_ns
    query = sa.select(sa.func.min(start)).where(start >= first * MINUTE_NS, start < until * MINUTE_NS)
    found = connection.execute(query).scalar_one()
    return None if found is None else int(found) // MINUTE_NS


def _rows_of(connection: sa.Connection, minute: int) -> list[_Row]:
    """Of all services that had requests in it."""
    table = tail_minutes
    query = sa.select(table.c.service, table.c.document).where(table.c.start_ns == minute * MINUTE_NS)
    origins = _origins(connection)
    rows: list[_Row] = []
    for row in connection.execute(query.order_by(table.c.service)):
        document = document_of(row.document)
        rows.append((row.service, origins.get(row.service, MEASURED), document, minute_from(document)))
    return rows


def _minute_records(rows: list[_Row]) -> pl.DataFrame:
    return _frame([_minute_record(*row) for row in rows], SERVICE_MINUTES)


def _minute_record(service: str, origin: str, document: Mapping[str, Any], minute: Minute) -> dict[str, Any]:
    target_ms, has_threads = document.get("target_ms"), document.get("threads") is not None
    return {
        "ts": minute.start_ns,
        "service": service,
        "origin": origin,
        "requests": minute.requests,
        "slow": None if target_ms is None else minute.slow,
        "corrected": minute.corrected,
        "long": minute.long,
        "long_missed": minute.long_missed,
        "latency_us": minute.latency_ms * 1e3,
        "p99_us": minute.p99_ms * 1e3,
        "load": minute.load if has_threads else None,
        "mean_share": minute.mean_share if has_threads else None,
        "target_us": None if target_ms is None else target_ms * 1e3,
        "promise": None if target_ms is None else document.get("promise"),
    }


def _cause_records(rows: list[_Row]) -> pl.DataFrame:
    records = [
        {"ts": minute.start_ns, "service": service, "origin": origin, "cause": cause, "slow": slow}
        for service, origin, document, minute in rows
        if document.get("target_ms") is not None
        for cause, slow in minute.causes.items()
    ]
    return _frame(records, SERVICE_CAUSES)


def _origins(connection: sa.Connection) -> dict[str, str]:
    table = tail_services
    rows = connection.execute(sa.select(table.c.service, table.c.synthetic))
    return {row.service: SYNTHETIC if row.synthetic else MEASURED for row in rows}


def _frame(rows: list[dict[str, Any]], schema: Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(polars_schema(schema)), orient="row")


def _any(engine: sa.Engine, table: sa.Table) -> bool:
    first = next(iter(table.primary_key.columns))
    with engine.connect() as connection:
        return connection.execute(sa.select(first).limit(1)).one_or_none() is not None
