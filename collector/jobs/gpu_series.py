"""What is known of failed jobs and nodes as series: failures once, in their own windows, the rest every five minutes.

Failures are counted in the order in which they were first found, under a claim whose position is the number of the last
one counted: so each counts once, however often it is looked into or taken back, and with the reason that it had when it
was counted. Numbers become visible in their order (store/gpu_failures.py): behind the position none is still to come.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import polars as pl
import sqlalchemy as sa

from collector.jobs.gpu_damaged import tell_damaged
from collector.jobs.gpu_streams import GPU_EXPLAINED, GPU_FAILURES, GPU_NODE_TESTS, GPU_STREAMS
from collector.jobs.job_series import Place, StreamFlushes, WindowSeries
from collector.jobs.job_streams import MEASURED, SYNTHETIC
from pipeline.schema import Schema, polars_schema
from store.claims import GPU_FAILURES_PARTITION, GPU_PARTITION, GPU_TOPIC
from store.gpu_failures import failure_counts
from store.gpu_nodes import NodeRow, list_nodes
from store.gpu_tables import gpu_failures, gpu_nodes

_DAY_NS: Final = 86_400 * 10**9
_AT_ONCE: Final = 1024
_UNKNOWN: Final = "unknown"


class _NodeBody(msgspec.Struct):
    synthetic: bool = False


class GpuFailureCounts:
    """Failures as records, each once."""

    def __init__(self, series_max: int, engine: sa.Engine, owner: str) -> None:
        place = Place(GPU_TOPIC, GPU_FAILURES_PARTITION)
        self._engine = engine
        self._flushes = StreamFlushes(engine, place, ("gpu_failures",), series_max, owner)

    def write(self, now_ns: int, rest: Callable[[], None] = lambda: None) -> int:
        """Count the failures that were found since the last one counted; returns how many.

        Args:
            rest: called between parts; may raise to end the work, which the next call goes on with.
        Raises:
            FencedError: another process has written meanwhile; the next call finds out what.
            sqlalchemy.exc.SQLAlchemyError: the database failed; the part may be written again.
        """
        try:
            return self._write(now_ns, rest)
        except BaseException:
            self._flushes.let_go()
            raise

    def _write(self, now_ns: int, rest: Callable[[], None]) -> int:
        written = 0
        while True:
            if not self._flushes.is_claimed and not _any(self._engine, gpu_failures):
                return written
            position = self._flushes.position()
            with self._engine.connect() as connection:
                rows = _found_after(connection, position)
            if not rows:
                return written
            records = pl.DataFrame([_record(row, now_ns) for row in rows], schema=_columns(GPU_FAILURES), orient="row")
            self._flushes.flush(rows[-1].id, now_ns, self._flushes.readers(), "gpu_failures", records)
            written += len(rows)
            rest()


class GpuWindows(WindowSeries):
    """What the newest test says of nodes, and which share of failures is not explained."""

    def __init__(self, series_max: int, engine: sa.Engine, owner: str) -> None:
        place = Place(GPU_TOPIC, GPU_PARTITION)
        super().__init__(StreamFlushes(engine, place, set(GPU_STREAMS) - {"gpu_failures"}, series_max, owner))
        self._engine = engine

    def _is_due(self) -> bool:
        return _any(self._engine, gpu_failures) or _any(self._engine, gpu_nodes)

    def _parts(self, at_ns: int, done: int) -> Iterator[tuple[int, str, pl.DataFrame]]:
        """(place, stream, records): place 1 is the share, n + 1 the n-th part of the nodes by name."""
        with self._engine.connect() as connection:
            explained = _explained(connection, at_ns)
        if done < 1 and explained:
            yield 1, "gpu_explained", _frame(explained, GPU_EXPLAINED, at_ns)
        after, place = None, 1
        while True:
            with self._engine.connect() as connection:
                nodes = list_nodes(connection, limit=_AT_ONCE, after=after)
            if not nodes:
                return
            after, place = nodes[-1].node, place + 1
            if place > done:
                rows = [
                    {
                        "node": one.node,
                        "origin": origin,
                        "failures": one.failures,
                        "expected": one.expected,
                        "ratio": one.ratio,
                        "stands_out": int(one.stands_out),
                    }
                    for one in nodes
                    if (origin := _origin(one)) is not None
                ]
                yield place, "gpu_node_tests", _frame(rows, GPU_NODE_TESTS, at_ns)


def _found_after(connection: sa.Connection, position: int) -> Sequence[Any]:
    t = gpu_failures
    columns = t.c.id, t.c.failed_ns, t.c.category, t.c.reason, t.c.user, t.c.node, t.c.synthetic, t.c.lost_gpu_s
    return connection.execute(sa.select(*columns).where(t.c.id > position).order_by(t.c.id).limit(_AT_ONCE)).all()


def _origin(node: NodeRow) -> str | None:
    """None where that cannot be read: the next test says it anew."""
    try:
        synthetic = msgspec.json.decode(node.body, type=_NodeBody).synthetic
    except msgspec.MsgspecError as error:
        tell_damaged(f"node {node.node[:80]!r}", str(error))
        return None
    return SYNTHETIC if synthetic else MEASURED


def _record(row: Any, now_ns: int) -> dict[str, Any]:
    return {
        # A report may name an end that is still to come.
        "ts": min(row.failed_ns, now_ns),
        "category": row.category or _UNKNOWN,
        "reason": row.reason or _UNKNOWN,
        "user": row.user,
        "node": row.node,
        "origin": SYNTHETIC if row.synthetic else MEASURED,
        "failures": 1,
        "lost_gpu_s": row.lost_gpu_s,
    }


def _explained(connection: sa.Connection, at_ns: int) -> list[dict[str, Any]]:
    counts = failure_counts(connection, at_ns - _DAY_NS, at_ns + 1)
    rows = []
    for synthetic in (False, True):
        mine = [one for one in counts if one.synthetic == synthetic]
        failures = sum(one.failures for one in mine)
        unexplained = sum(one.failures for one in mine if one.status == "abstained")
        if failures:
            rows.append(
                {
                    "origin": SYNTHETIC if synthetic else MEASURED,
                    "failures": failures,
                    "unexplained": unexplained,
                    "unexplained_ratio": unexplained / failures,
                }
            )
    return rows


def _frame(rows: list[dict[str, Any]], schema: Schema, at_ns: int) -> pl.DataFrame:
    return pl.DataFrame([row | {"ts": at_ns} for row in rows], schema=_columns(schema), orient="row")


def _columns(schema: Schema) -> dict[str, pl.DataType]:
    return dict(polars_schema(schema))


def _any(engine: sa.Engine, table: sa.Table) -> bool:
    first = next(iter(table.primary_key.columns))
    with engine.connect() as connection:
        return connection.execute(sa.select(first).limit(1)).one_or_none() is not None
