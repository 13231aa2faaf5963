"""The flush: everything a collector learned from one partition, in one transaction.

First the fence (claims.advance), then pages, marks, manifests, fleet, quarantine and dead letters. Either all of it is
there afterwards, together with the new position, or none: so a collector may die at any statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa

from pipeline.partial import Partial
from pipeline.states import State
from store import tables
from store.claims import Claim, Counts, MarkRow, advance, delete_idle_marks, write_marks
from store.fleet import AgentReport, write_reports
from store.interruptions import Interruption, MissingFrames, write_interruptions, write_missing
from store.pages import decode_states, read_pages, write_page
from store.registry import RegisteredVersion
from store.series import SeriesIds
from store.tables import LEVEL_OWN_WINDOW, SERIES_PER_PAGE
from store.upsert import batched, insert

_WINDOWS_PER_QUERY = 500
_IDS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one agent said of a window (n_*) and what of it arrived here (got_*), as additions."""

    version_id: int
    window_ns: int
    agent: str
    n_in: int = 0
    n_filtered: int = 0
    n_local: int = 0
    n_drained: int = 0
    n_sampled_out: int = 0
    n_dropped: int = 0
    got_local: int = 0
    got_drained: int = 0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A frame kept for later: its plan or its wire version is not known yet."""

    offset: int
    version: str
    reason: str
    marked: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A payload that can never be used, kept with the reason."""

    offset: int
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """What to write; every part is an addition to what is stored."""

    next_offset: int
    now_ns: int
    counts: Counts = field(default_factory=Counts)
    partials: Mapping[str, Partial] = field(default_factory=dict)
    arrivals: Sequence[Arrival] = ()
    marks: Sequence[MarkRow] = ()
    idle_marks_before_ns: int | None = None
    reports: Sequence[AgentReport] = ()
    interruptions: Sequence[Interruption] = ()
    missing: Sequence[MissingFrames] = ()
    arrived_late: Sequence[MissingFrames] = ()
    quarantined: Sequence[Quarantined] = ()
    released: Sequence[int] = ()
    dead_letters: Sequence[DeadLetter] = ()


def write_flush(
    engine: sa.Engine, held: Claim, flush: Flush, versions: Mapping[str, RegisteredVersion], series: SeriesIds
) -> None:
    """Write one partition's flush in one transaction.

    Raises:
        FencedError: the partition is no longer ours; nothing was written.
        sqlalchemy.exc.SQLAlchemyError: the database failed; nothing was written and the flush may be tried again.
    """
    try:
        with engine.begin() as connection:
            advance(connection, held, flush.next_offset, flush.counts)
            for version, partial in sorted(flush.partials.items()):
                _merge_into_pages(connection, held.partition, versions[version], partial, series)
            _write_arrivals(connection, held.partition, flush.arrivals)
            write_marks(connection, held, flush.marks)
            if flush.idle_marks_before_ns is not None:
                delete_idle_marks(connection, held, flush.idle_marks_before_ns)
            write_reports(connection, flush.reports, flush.now_ns)
            write_interruptions(connection, flush.interruptions)
            write_missing(connection, flush.missing, flush.arrived_late)
            _write_kept(connection, held, flush)
    except BaseException:
        series.rolled_back()
        raise
    series.committed()


def quarantined_frames(
    connection: sa.Connection, topic: str, partition: int, versions: Sequence[str], after_id: int, limit: int
) -> list[tuple[int, int, bool, bytes]]:
    """(id, offset, marked, payload) of the partition's next quarantined frames of these versions, in order."""
    table = tables.quarantine
    rows = connection.execute(
        sa.select(table.c.id, table.c.offset, table.c.marked, table.c.payload)
        .where(
            table.c.topic == topic,
            table.c.partition == partition,
            table.c.version.in_(versions),
            table.c.id > after_id,
        )
        .order_by(table.c.id)
        .limit(limit)
    )
    return [(row.id, row.offset, row.marked, row.payload) for row in rows]


def quarantine_size(connection: sa.Connection, topic: str, partition: int) -> int:
    """How many frames of the partition are in quarantine."""
    table = tables.quarantine
    query = sa.select(sa.func.count()).where(table.c.topic == topic, table.c.partition == partition)
    return int(connection.execute(query).scalar_one())


def _merge_into_pages(
    connection: sa.Connection, partition: int, version: RegisteredVersion, partial: Partial, series: SeriesIds
) -> None:
    """Merge the groups of `partial` with the pages they belong to, one metric after another."""
    labels = partial.keys.select(version.plan.labels)
    ids = series.resolve(connection, version.query_id, labels, len(partial))
    windows = partial.keys["window"].to_numpy()
    for metric in version.plan.metrics:
        metric_id = version.metric_ids[metric.name]
        where = {
            "version_id": version.version_id,
            "metric_id": metric_id,
            "level": LEVEL_OWN_WINDOW,
            "partition": partition,
        }
        stored = _stored_pages(connection, where, windows, ids // SERIES_PER_PAGE)
        contents = read_pages([(group, data) for _, group, data in stored])
        held = decode_states(metric.function, metric, contents)
        held_windows = np.array([window for window, _, _ in stored], np.int64)[contents.page]
        rows = _pages(
            np.concatenate([held_windows, windows]),
            np.concatenate([contents.series, ids]),
            type(held).concat([held, partial.states[metric.name]]),
        )
        statement = insert(connection, tables.pages)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["version_id", "metric_id", "level", "window_ns", "series_group", "partition"],
                set_={"data": statement.excluded.data, "page_version": tables.pages.c.page_version + 1},
            ),
            [{**where, **row, "page_version": 1} for row in rows],
        )


def _stored_pages(
    connection: sa.Connection, where: Mapping[str, int], windows: np.ndarray, groups: np.ndarray
) -> list[tuple[int, int, bytes]]:
    """(window, series group, data) of the stored pages that the given groups touch."""
    table = tables.pages
    touched = set(zip(windows.tolist(), groups.tolist(), strict=True))
    found: list[tuple[int, int, bytes]] = []
    # Only the windows touched: one late record must not load everything between its window and now.
    for chunk in batched(sorted({window for window, _ in touched}), _WINDOWS_PER_QUERY):
        rows = connection.execute(
            sa.select(table.c.window_ns, table.c.series_group, table.c.data).where(
                *(table.c[name] == value for name, value in where.items()),
                table.c.window_ns.in_(chunk),
                table.c.series_group.between(int(groups.min()), int(groups.max())),
            )
        )
        found += [(row.window_ns, row.series_group, row.data) for row in rows]
    return [page for page in found if page[:2] in touched]


def _pages(windows: np.ndarray, series: np.ndarray, state: State) -> list[dict[str, int | bytes]]:
    """The pages that hold these entries, entries of one window and series merged."""
    order = np.lexsort((series, windows))
    windows, series = windows[order], series[order]
    first = np.ones(order.size, bool)
    first[1:] = (np.diff(windows) != 0) | (np.diff(series) != 0)
    code = np.empty(order.size, np.int64)
    code[order] = np.cumsum(first) - 1
    merged = state.reduce(code, int(first.sum()))
    windows, series = windows[first], series[first]
    buffer, lengths = merged.to_bodies()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    groups = series // SERIES_PER_PAGE
    starts = np.flatnonzero(np.concatenate([[True], (np.diff(windows) != 0) | (np.diff(groups) != 0)]))
    rows: list[dict[str, int | bytes]] = []
    for start, stop in zip(starts, [*starts[1:], series.size], strict=True):
        body = buffer[ends[start] : ends[stop]]
        rows.append(
            {
                "window_ns": int(windows[start]),
                "series_group": int(groups[start]),
                "data": write_page(series[start:stop], lengths[start:stop], body),
            }
        )
    return rows


def _write_arrivals(connection: sa.Connection, partition: int, arrivals: Sequence[Arrival]) -> None:
    if not arrivals:
        return
    table = tables.manifests
    amounts = [name for name in Arrival.__slots__ if name.startswith(("n_", "got_"))]
    rows = [
        {"partition": partition} | {name: getattr(arrival, name) for name in Arrival.__slots__} for arrival in arrivals
    ]
    statement = insert(connection, table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["version_id", "window_ns", "agent", "partition"],
            set_={name: table.c[name] + statement.excluded[name] for name in amounts},
        ),
        rows,
    )


def _write_kept(connection: sa.Connection, held: Claim, flush: Flush) -> None:
    place = {"topic": held.topic, "partition": held.partition, "received_ns": flush.now_ns}
    if flush.quarantined:
        connection.execute(
            sa.insert(tables.quarantine),
            [place | {name: getattr(frame, name) for name in Quarantined.__slots__} for frame in flush.quarantined],
        )
    for chunk in batched(flush.released, _IDS_PER_QUERY):
        connection.execute(sa.delete(tables.quarantine).where(tables.quarantine.c.id.in_(chunk)))
    if flush.dead_letters:
        connection.execute(
            sa.insert(tables.dead_letters),
            [place | {name: getattr(letter, name) for name in DeadLetter.__slots__} for letter in flush.dead_letters],
        )
