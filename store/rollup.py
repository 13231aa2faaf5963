"""Roll-ups: coarser windows computed anew from the finer ones they are made of.

A flush marks every coarser window it has touched a part of. A roll-up takes some marks away, reads the finer pages and
writes the coarser ones, all in one transaction, and marks the level above. A mark is taken away before the pages are
read: a flush that adds to them meanwhile either is seen, or finds the mark gone and sets it again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipeline.plan import LINE_FUNCTIONS, Metric
from store import tables
from store.changes import BY_JOBS, note_page_changes
from store.levels import TOO_OLD, Floors, Int64Array, Level, load_floors
from store.page_writes import PagePlace, cut_into_pages, page_groups, stored_pages, upsert_pages
from store.pages import merged_states, read_pages
from store.registry import RegisteredVersion, ValidRange, valid_ranges
from store.tables import LEVEL_OWN_WINDOW
from store.upsert import insert, insert_missing

AMOUNTS = (
    "n_in",
    "n_filtered",
    "n_local",
    "n_drained",
    "n_sampled_out",
    "n_dropped",
    "got_local",
    "got_drained",
)


def mark_dirty(
    connection: sa.Connection, partition: int, touched: Mapping[int, Int64Array], floors: Mapping[int, Floors]
) -> None:
    """Note that these own windows of each version have changed at the level that keeps them.

    The row is written even where it exists: that is what makes a roll-up that is about to take it away wait.
    """
    marks: set[tuple[int, int, int]] = set()
    for version_id, own_windows in touched.items():
        known = floors[version_id]
        for number, window in zip(*(part.tolist() for part in known.place(own_windows)), strict=True):
            above = None if number == TOO_OLD else known.above(number)
            if above is not None:
                marks.add((version_id, above.number, above.start_of(window)))
    _write_marks(connection, partition, marks)


def waiting(connection: sa.Connection) -> list[tuple[int, int]]:
    """(version id, level) of all coarser windows that wait for their roll-up, finer levels first."""
    table = tables.rollup_dirty
    rows = connection.execute(sa.select(table.c.version_id, table.c.level).distinct())
    return sorted(((row.version_id, row.level) for row in rows), key=lambda pair: (pair[1], pair[0]))


def roll_up(
    connection: sa.Connection,
    version: RegisteredVersion,
    number: int,
    ended_before_ns: int,
    limit: int,
) -> int:
    """Compute up to `limit` of the version's waiting windows of this level that ended before a time; returns how many.

    The caller holds the jobs' lease in this transaction, and commits.
    """
    floors = load_floors(connection, {version.version_id: version.plan.window_ns}, lock="share")[version.version_id]
    target = floors.level(number)
    source = next(level for level in reversed(floors.levels) if level.number < number)
    table = tables.rollup_dirty
    due = connection.execute(
        sa.select(table.c.window_ns, table.c.partition)
        .where(
            table.c.version_id == version.version_id,
            table.c.level == number,
            table.c.window_ns <= ended_before_ns - target.width_ns,
        )
        .order_by(table.c.window_ns, table.c.partition)
        .limit(limit)
        .with_for_update()
    ).all()
    for row in due:
        mark = (
            table.c.version_id == version.version_id,
            table.c.level == number,
            table.c.window_ns == row.window_ns,
            table.c.partition == row.partition,
        )
        connection.execute(sa.delete(table).where(*mark))
    ranges = [known for known in valid_ranges(connection, version.query_id) if known.version == version]
    # A mark that is taken away changes which level a read uses, also where nothing is computed.
    changed = {row.window_ns for row in due}
    for partition in sorted({row.partition for row in due}):
        # Nothing finer is left below the floor: what stands there is not to be computed again.
        windows = [
            r.window_ns for r in due if r.partition == partition and r.window_ns >= floors.floor_ns(source.number)
        ]
        _recompute(connection, version, ranges, source, target, partition, windows)
        above = floors.above(number)
        if above is not None:
            marks = {(version.version_id, above.number, above.start_of(window)) for window in windows}
            _write_marks(connection, partition, marks)
    note_page_changes(connection, BY_JOBS, {version.version_id: np.array(sorted(changed), np.int64)})
    return len(due)


def _recompute(
    connection: sa.Connection,
    version: RegisteredVersion,
    ranges: Sequence[ValidRange],
    source: Level,
    target: Level,
    partition: int,
    windows: Sequence[int],
) -> None:
    for metric in version.plan.metrics:
        place = PagePlace(version.version_id, version.metric_ids[metric.name], source.number, partition)
        rows = [row for window in windows for row in _merged_pages(connection, place, metric, ranges, target, window)]
        upsert_pages(connection, PagePlace(place.version_id, place.metric_id, target.number, partition), rows)
    for window in windows:
        _sum_manifests(connection, version, ranges, source, target, partition, window)


def _merged_pages(
    connection: sa.Connection,
    place: PagePlace,
    metric: Metric,
    ranges: Sequence[ValidRange],
    target: Level,
    window: int,
) -> list[tuple[int, int, int, bytes]]:
    """(window, series group, version, data) of one coarser window's pages; of text one group of series at a time.

    A page's version is one more than the sum of those it is made of, so that it grows whenever one of them does.
    """
    column = tables.pages.c.window_ns
    finer = (column >= window) & (column < window + target.width_ns)
    if metric.function not in LINE_FUNCTIONS:
        return _merged_groups(connection, place, metric, ranges, (finer, window), None)
    groups = page_groups(connection, place, finer)
    return [
        page
        for group in groups
        for page in _merged_groups(connection, place, metric, ranges, (finer, window), (group, group))
    ]


def _merged_groups(
    connection: sa.Connection,
    place: PagePlace,
    metric: Metric,
    ranges: Sequence[ValidRange],
    windows: tuple[sa.ColumnElement[bool], int],
    groups: tuple[int, int] | None,
) -> list[tuple[int, int, int, bytes]]:
    finer, window = windows
    stored = stored_pages(connection, place, finer, groups)
    if place.level == LEVEL_OWN_WINDOW:
        stored = [page for page in stored if any(r.from_ns <= page.window_ns < r.to_ns for r in ranges)]
    if not stored:
        return []
    contents = read_pages([(page.series_group, page.data) for page in stored])
    series, codes = np.unique(contents.series, return_inverse=True)
    state = merged_states(metric.function, metric, contents, codes.reshape(-1).astype(np.int64), series.size)
    versions: dict[int, int] = {}
    for page in stored:
        versions[page.series_group] = versions.get(page.series_group, 1) + page.page_version
    pages = cut_into_pages(np.full(series.size, window, np.int64), series, state)
    return [(at, group, versions[group], data) for at, group, data in pages]


def _sum_manifests(
    connection: sa.Connection,
    version: RegisteredVersion,
    ranges: Sequence[ValidRange],
    source: Level,
    target: Level,
    partition: int,
    window: int,
) -> None:
    t = tables.manifests
    if source.number == LEVEL_OWN_WINDOW:
        valid = sa.or_(sa.false(), *(sa.and_(t.c.window_ns >= r.from_ns, t.c.window_ns < r.to_ns) for r in ranges))
    else:
        valid = sa.true()
    sums: list[sa.ColumnElement[Any]] = [
        sa.cast(sa.func.sum(t.c[name] if name == "n_in" else sa.case((valid, t.c[name]), else_=0)), sa.BigInteger)
        for name in AMOUNTS
    ]
    rows = connection.execute(
        sa.select(t.c.agent, *(amount.label(name) for name, amount in zip(AMOUNTS, sums, strict=True)))
        .where(
            t.c.version_id == version.version_id,
            t.c.level == source.number,
            t.c.window_ns >= window,
            t.c.window_ns < window + target.width_ns,
            t.c.partition == partition,
        )
        .group_by(t.c.agent)
        .order_by(t.c.agent)
    ).all()
    if not rows:
        return
    place = {"version_id": version.version_id, "level": target.number, "window_ns": window, "partition": partition}
    statement = insert(connection, t)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["version_id", "level", "window_ns", "agent", "partition"],
            set_={name: statement.excluded[name] for name in AMOUNTS},
        ),
        [place | dict(row._mapping) for row in rows],
    )


def _write_marks(connection: sa.Connection, partition: int, marks: set[tuple[int, int, int]]) -> None:
    if not marks:
        return
    table = tables.rollup_dirty
    rows = [
        {"version_id": version_id, "level": level, "window_ns": window, "partition": partition}
        for version_id, level, window in sorted(marks)
    ]
    if connection.dialect.name != "postgresql":
        insert_missing(connection, table, rows)
        return
    statement = insert(connection, table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["version_id", "level", "window_ns", "partition"],
            set_={"partition": statement.excluded.partition},
        ),
        rows,
    )
