"""What a database tells of the pipeline's health, read all the time: agents' last signs, frames kept apart, its size.

Everything here is a scan of small columns; nothing reads a page or a payload.
"""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from store import tables
from store.kept_frames import numbers_left_out
from store.rows import rows

_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class AgentSign:
    """When an agent was last heard of, and how far its clock is ahead of its collector's; None: not known."""

    agent: str
    last_seen_ns: int
    retired: bool
    clock_offset_ns: int | None


@dataclass(frozen=True, slots=True)
class KeptCounts:
    """Frames that were not taken in: dead letters by reason, its numbers written as #, and how many are quarantined."""

    dead_letters: dict[str, int]
    quarantined: int


@dataclass(frozen=True, slots=True)
class SeriesCount:
    """A query's series, and how many it may have; None while no collector has said so."""

    query: str
    series: int
    series_max: int | None


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """Bytes; `max_bytes` is None where nothing says how much there may be."""

    used_bytes: int
    max_bytes: int | None


def agent_signs(connection: sa.Connection) -> list[AgentSign]:
    """All agents, in no order; without their counters, which take longer to read than the rest."""
    found = rows(connection, "SELECT agent, last_seen_ns, retired, clock_offset_ns FROM agents")
    return [AgentSign(agent, seen_ns, bool(retired), offset_ns) for agent, seen_ns, retired, offset_ns in found]


def kept_counts(connection: sa.Connection) -> KeptCounts:
    """Cost: one pass over the dead letters' reasons."""
    by_reason: Counter[str] = Counter()
    for reason, count in rows(connection, "SELECT reason, count(*) FROM dead_letters GROUP BY reason"):
        by_reason[numbers_left_out(reason)[:_LONGEST_REASON]] += int(count)
    ((quarantined,),) = rows(connection, "SELECT count(*) FROM quarantine")
    return KeptCounts(dict(by_reason), int(quarantined))


def series_counts(connection: sa.Connection) -> list[SeriesCount]:
    """Of each query, by name; counted in an index, 25 ns a series on SQLite."""
    counted: dict[int, int] = dict(rows(connection, "SELECT query_id, count(*) FROM series GROUP BY query_id"))
    table = tables.queries
    named = connection.execute(sa.select(table.c.id, table.c.name, table.c.series_max).order_by(table.c.name))
    return [SeriesCount(row.name, int(counted.get(row.id, 0)), row.series_max) for row in named]


def database_size(connection: sa.Connection, max_bytes: int = 0) -> DatabaseSize | None:
    """How large the database is, and how large it may become: `max_bytes` where that is above 0.

    A SQLite file may at most become as large as its disk lets it. None of one that lies in memory.
    """
    if connection.dialect.name == "sqlite":
        path = connection.engine.url.database
        return None if not path or path == ":memory:" else _file_size(Path(path), max_bytes)
    ((used,),) = rows(connection, "SELECT pg_database_size(current_database())")
    return DatabaseSize(int(used), max_bytes or None)


def _file_size(path: Path, max_bytes: int) -> DatabaseSize:
    """The file, and the log of what is not yet in it."""
    used = sum(_size(part) for part in (path, Path(f"{path}-wal")))
    room = used + shutil.disk_usage(path.parent).free
    return DatabaseSize(used, min(max_bytes, room) if max_bytes else room)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # there is no log just now
        return 0
