"""What retention has left of each query: from when on each width of windows is kept, and the oldest one there is."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store import tables
from store.levels import BEGINNING_NS, load_floors
from store.registry import RegisteredVersion, load_versions


@dataclass(frozen=True, slots=True)
class KeptLevel:
    """One width of a query's windows.

    Nothing that starts before `kept_from_ns` is left in this width (None: nothing was deleted yet); `oldest_ns` is the
    start of the oldest window with data, None where there is none.
    """

    width_ns: int
    kept_from_ns: int | None
    oldest_ns: int | None


@dataclass(frozen=True, slots=True)
class KeptQuery:
    """A query's widths, finest first; as its newest version has them, whose data may be of any version."""

    query: str
    levels: tuple[KeptLevel, ...]


def kept_queries(connection: sa.Connection) -> list[KeptQuery]:
    """All queries that have a version, by name."""
    by_query: dict[int, list[RegisteredVersion]] = {}
    for version in load_versions(connection).values():
        by_query.setdefault(version.query_id, []).append(version)
    found = [_kept(connection, versions) for versions in by_query.values()]
    return sorted(found, key=lambda one: one.query)


def _kept(connection: sa.Connection, versions: Sequence[RegisteredVersion]) -> KeptQuery:
    newest = max(versions, key=lambda version: version.version_id)
    floors = load_floors(connection, {version.version_id: version.plan.window_ns for version in versions})
    levels = []
    for level in floors[newest.version_id].levels:
        alike = [v for v in versions if level in floors[v.version_id].levels]
        lowest = min(floors[v.version_id].floor_ns(level.number) for v in alike)
        oldest = [at for v in alike if (at := _oldest(connection, v, level.number)) is not None]
        kept_from_ns = None if lowest == BEGINNING_NS else lowest
        levels.append(KeptLevel(level.width_ns, kept_from_ns, min(oldest, default=None)))
    return KeptQuery(newest.plan.query, tuple(levels))


def _oldest(connection: sa.Connection, version: RegisteredVersion, level: int) -> int | None:
    """The oldest window of the level with data; every metric of a version has the same windows."""
    table = tables.pages
    query = sa.select(sa.func.min(table.c.window_ns)).where(
        table.c.version_id == version.version_id,
        table.c.metric_id == min(version.metric_ids.values()),
        table.c.level == level,
    )
    found = connection.execute(query).scalar_one()
    return None if found is None else int(found)
