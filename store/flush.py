"""The flush: everything a collector learned from one partition, in one transaction.

First the fence (claims.advance), then pages, manifests, marks, fleet, quarantine and dead letters. Each window goes to
the level that still keeps it, and the next level's window is marked for its roll-up. Either all of it is
there afterwards, together with the new position, or none: so a collector may die at any statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipeline.partial import Partial
from store import tables
from store.agent_status import AgentStatus, write_statuses
from store.changes import note_page_changes, note_series_changes
from store.claims import Claim, Counts, MarkRow, advance, count, delete_idle_marks, write_marks
from store.days import make_days_for
from store.fleet import AgentReport, write_reports
from store.interruptions import Interruption, MissingFrames, write_interruptions, write_missing
from store.levels import TOO_OLD, Floors, Int64Array, load_floors
from store.page_writes import PagePlace, merge_into_pages
from store.registry import RegisteredVersion, is_valid
from store.restored import note_restored
from store.rollup import AMOUNTS, mark_dirty
from store.series import SeriesIds
from store.series_limit import Refusal, write_refusals
from store.starts import note_shared_ids, note_starts
from store.tables import LEVEL_OWN_WINDOW
from store.upsert import batched, insert

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
    statuses: Sequence[AgentStatus] = ()
    interruptions: Sequence[Interruption] = ()
    missing: Sequence[MissingFrames] = ()
    arrived_late: Sequence[MissingFrames] = ()
    refusals: Sequence[Refusal] = ()
    quarantined: Sequence[Quarantined] = ()
    released: Sequence[int] = ()
    dead_letters: Sequence[DeadLetter] = ()
    dead_letters_max_bytes: int = 64 * 2**20


def write_flush(
    engine: sa.Engine, held: Claim, flush: Flush, versions: Mapping[str, RegisteredVersion], series: SeriesIds
) -> Counts:
    """Write one partition's flush in one transaction; returns what only turned out in it: too old, dropped.

    Raises:
        FencedError: the partition is no longer ours; nothing was written.
        sqlalchemy.exc.SQLAlchemyError: the database failed; nothing was written and the flush may be tried again.
    """
    by_id = {version.version_id: version for version in versions.values()}
    touched = _touched(flush, versions)
    # A window that only a manifest speaks of has no page: an agent's wrong clock must not make a partition.
    make_days_for(engine, _touched(replace(flush, arrivals=()), versions), flush.now_ns)
    try:
        with engine.begin() as connection:
            advance(connection, held, flush.next_offset, flush.counts, flush.now_ns)
            floors = load_floors(connection, {v: by_id[v].plan.window_ns for v in touched}, lock="share")
            too_old = sum(
                _merge_partial(
                    connection, held.partition, versions[version], partial, series,
                    floors[versions[version].version_id],
                )
                for version, partial in sorted(flush.partials.items())
            )  # fmt: skip
            _write_arrivals(connection, held.partition, flush.arrivals, by_id, floors)
            mark_dirty(connection, held.partition, touched, floors)
            note_page_changes(connection, held.partition, touched)
            note_series_changes(connection, held.partition, series.met())
            write_marks(connection, held, flush.marks)
            if flush.idle_marks_before_ns is not None:
                delete_idle_marks(connection, held, flush.idle_marks_before_ns)
            shared, restored = _write_fleet(connection, held.topic, flush)
            write_statuses(connection, flush.statuses, flush.now_ns)
            write_interruptions(connection, flush.interruptions)
            write_missing(connection, flush.missing, flush.arrived_late)
            write_refusals(connection, held.partition, flush.refusals, flush.now_ns)
            dropped = _write_kept(connection, held, flush)
            turned_out = Counts(
                too_old=too_old, dead_letters_dropped=dropped, shared_ids=shared, restored_spools=restored
            )
            count(connection, held, turned_out)
    except BaseException:
        series.rolled_back()
        raise
    series.committed()
    return turned_out


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


def _merge_partial(
    connection: sa.Connection,
    partition: int,
    version: RegisteredVersion,
    partial: Partial,
    series: SeriesIds,
    floors: Floors,
) -> int:
    """Merge the groups of `partial` with the level's pages that keep each; returns how many records are too old."""
    ids = series.resolve(connection, version.query_id, partial.keys.select(version.plan.labels), len(partial))
    own_windows = partial.keys["window"].to_numpy()
    levels, windows = floors.place(own_windows)
    for level in np.unique(levels[levels != TOO_OLD]).tolist():
        here = np.flatnonzero(levels == level)
        if level != LEVEL_OWN_WINDOW:
            # A coarser window is only made of windows in which the version was valid.
            here = here[is_valid(connection, version, own_windows[here])]
        if not here.size:
            continue
        for metric in version.plan.metrics:
            place = PagePlace(version.version_id, version.metric_ids[metric.name], level, partition)
            state = partial.states[metric.name].take(here) if here.size < len(partial) else partial.states[metric.name]
            merge_into_pages(connection, place, metric, windows[here], ids[here], state)
    return int(partial.keys["rows"].to_numpy()[levels == TOO_OLD].sum())


def _write_arrivals(
    connection: sa.Connection,
    partition: int,
    arrivals: Sequence[Arrival],
    versions: Mapping[int, RegisteredVersion],
    floors: Mapping[int, Floors],
) -> None:
    table = tables.manifests
    rows: dict[tuple[int, int, int, str], dict[str, Any]] = {}
    for version_id in sorted({arrival.version_id for arrival in arrivals}):
        of_version = [arrival for arrival in arrivals if arrival.version_id == version_id]
        own_windows = np.array([arrival.window_ns for arrival in of_version], np.int64)
        levels, windows = floors[version_id].place(own_windows)
        counts = np.ones(own_windows.size, bool)
        coarse = np.flatnonzero(levels > LEVEL_OWN_WINDOW)
        if coarse.size:
            counts[coarse] = is_valid(connection, versions[version_id], own_windows[coarse])
        for arrival, level, window, counted in zip(of_version, levels.tolist(), windows.tolist(), counts, strict=True):
            if level == TOO_OLD:
                continue
            row = rows.setdefault(
                (version_id, level, window, arrival.agent),
                {"version_id": version_id, "level": level, "window_ns": window, "agent": arrival.agent}
                | {"partition": partition}
                | dict.fromkeys(AMOUNTS, 0),
            )
            for name in AMOUNTS if counted else ("n_in",):
                row[name] += getattr(arrival, name)
    if not rows:
        return
    statement = insert(connection, table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["version_id", "level", "window_ns", "agent", "partition"],
            set_={name: table.c[name] + statement.excluded[name] for name in AMOUNTS},
        ),
        [rows[key] for key in sorted(rows)],
    )


def _write_fleet(connection: sa.Connection, topic: str, flush: Flush) -> tuple[int, int]:
    """Heartbeats; returns how many agent ids turned out to be used twice, and how many spools to be older copies."""
    if not flush.reports:
        return 0, 0
    orders = note_starts(connection, flush.reports, flush.now_ns, flush.idle_marks_before_ns or 0)
    write_reports(connection, flush.reports, orders, flush.now_ns)
    restored = note_restored(connection, topic, flush.reports, flush.now_ns)
    return note_shared_ids(connection, flush.reports), restored


def _touched(flush: Flush, versions: Mapping[str, RegisteredVersion]) -> dict[int, Int64Array]:
    """Version id -> the own windows that the flush adds to."""
    found: dict[int, list[Int64Array]] = {}
    for version, partial in flush.partials.items():
        found.setdefault(versions[version].version_id, []).append(partial.keys["window"].to_numpy())
    for arrival in flush.arrivals:
        found.setdefault(arrival.version_id, []).append(np.array([arrival.window_ns], np.int64))
    return {version_id: np.unique(np.concatenate(windows)) for version_id, windows in found.items()}


def _write_kept(connection: sa.Connection, held: Claim, flush: Flush) -> int:
    """Quarantine and dead letters; returns how many old dead letters had to go."""
    place = {"topic": held.topic, "partition": held.partition, "received_ns": flush.now_ns}
    if flush.quarantined:
        connection.execute(
            sa.insert(tables.quarantine),
            [place | {name: getattr(frame, name) for name in Quarantined.__slots__} for frame in flush.quarantined],
        )
    for chunk in batched(flush.released, _IDS_PER_QUERY):
        connection.execute(sa.delete(tables.quarantine).where(tables.quarantine.c.id.in_(chunk)))
    if not flush.dead_letters:
        return 0
    connection.execute(
        sa.insert(tables.dead_letters),
        [place | {name: getattr(letter, name) for name in DeadLetter.__slots__} for letter in flush.dead_letters],
    )
    return _drop_dead_letters(connection, held, flush.dead_letters_max_bytes)


def _drop_dead_letters(connection: sa.Connection, held: Claim, max_bytes: int) -> int:
    """Delete the partition's oldest dead letters until the rest fits; returns how many. The newest always stays."""
    table = tables.dead_letters
    mine = table.c.topic == held.topic, table.c.partition == held.partition
    sizes = connection.execute(
        sa.select(table.c.id, sa.func.length(table.c.payload).label("size")).where(*mine).order_by(table.c.id.desc())
    ).all()
    total, keep_from = 0, sizes[0].id
    for row in sizes:
        total += row.size
        if total > max_bytes and row.id != sizes[0].id:
            break
        keep_from = row.id
    return int(connection.execute(sa.delete(table).where(*mine, table.c.id < keep_from)).rowcount)
