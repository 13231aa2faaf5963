"""Counters of what has changed, so that an answer from before is known to hold without reading what it was made of.

Whoever writes pages or manifests counts one up per query version and hour of the windows' starts, in the same
transaction; whoever makes series, per query. A reader adds up the counters of its stretch, in its own read transaction:
the same sum means the same pages, manifests and roll-up marks. Counters only grow. Each row has one writer at a time:
the partition's owner, or the jobs, so nobody waits here.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from store import tables
from store.levels import Int64Array
from store.rows import rows
from store.upsert import insert

HOUR_NS = 3600 * 10**9
#: What the jobs write instead of a partition.
BY_JOBS = -1


def note_page_changes(connection: sa.Connection, partition: int, touched: Mapping[int, Int64Array]) -> None:
    """Pages or manifests of these windows of each version have changed, at whatever level."""
    _count_up(
        connection,
        tables.page_changes,
        [
            {"version_id": version_id, "hour": hour, "partition": partition, "changes": 1}
            for version_id, windows in sorted(touched.items())
            for hour in np.unique(windows // HOUR_NS).tolist()
        ],
    )


def note_series_changes(connection: sa.Connection, partition: int, queries: Iterable[int]) -> None:
    """These queries may have got new series."""
    _count_up(
        connection,
        tables.series_changes,
        [{"query_id": query_id, "partition": partition, "changes": 1} for query_id in sorted(queries)],
    )


def forget_page_changes(connection: sa.Connection, version_id: int, floor_ns: int) -> None:
    """Drop the counters of hours of which nothing is kept any more; raising the floor has told readers already."""
    table = tables.page_changes
    connection.execute(sa.delete(table).where(table.c.version_id == version_id, table.c.hour < floor_ns // HOUR_NS))


def page_changes(connection: sa.Connection, versions: Sequence[int], start_ns: int, end_ns: int) -> int:
    """How often pages and manifests of the versions have changed, of windows that start in hours of the stretch."""
    ((changes,),) = rows(
        connection,
        "SELECT coalesce(sum(changes), 0) FROM page_changes "
        f"WHERE version_id IN ({', '.join(map(str, versions)) or 'NULL'}) AND hour >= ? AND hour <= ?",
        (start_ns // HOUR_NS, end_ns // HOUR_NS),
    )
    return int(changes)


def hour_changes(connection: sa.Connection, versions: Sequence[int], from_hour: int, to_hour: int) -> dict[int, int]:
    """Hour (since 1970) in [from_hour, to_hour] -> how often its pages and manifests have changed; 0 is left out."""
    if not versions:
        return {}
    found = rows(
        connection,
        "SELECT hour, sum(changes) FROM page_changes "
        f"WHERE version_id IN ({', '.join(map(str, versions))}) AND hour >= ? AND hour <= ? GROUP BY hour",
        (from_hour, to_hour),
    )
    return {int(hour): int(changes) for hour, changes in found}


def series_changes(connection: sa.Connection, query_id: int) -> int:
    """How often the query may have got new series."""
    ((changes,),) = rows(
        connection, "SELECT coalesce(sum(changes), 0) FROM series_changes WHERE query_id = ?", (query_id,)
    )
    return int(changes)


def _count_up(connection: sa.Connection, table: sa.Table, counted: list[dict[str, int]]) -> None:
    if not counted:
        return
    statement = insert(connection, table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key],
            set_={"changes": table.c.changes + statement.excluded.changes},
        ),
        counted,
    )
