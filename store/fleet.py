"""The fleet: which agents there are, how far each has come, and what the collectors counted.

Agents report with heartbeats. An agent's newest report wins; its progress per query version only ever moves forward.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store import tables
from store.claims import COUNTERS
from store.upsert import insert, insert_missing, larger, smaller


@dataclass(frozen=True, slots=True)
class VersionProgress:
    """How far an agent's answer for one query version is complete, in event time."""

    version_id: int
    first_ns: int
    watermark_ns: int


@dataclass(frozen=True, slots=True)
class AgentReport:
    """An agent's newest heartbeat, as the collector read it."""

    agent: str
    host: str
    machine_id: str
    incarnation: str
    started_ns: int
    sent_ns: int
    counters: Mapping[str, int]
    progress: Sequence[VersionProgress]


@dataclass(frozen=True, slots=True)
class Interruption:
    """A stretch of event time [from_ns, to_ns) in which an agent's records may be missing."""

    agent: str
    version_id: int
    from_ns: int
    to_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent as the database knows it."""

    agent: str
    host: str
    machine_id: str
    incarnation: str
    started_ns: int
    first_seen_ns: int
    last_seen_ns: int
    counters: dict[str, int]
    retired: bool


def agents(connection: sa.Connection) -> list[AgentRow]:
    """All agents by name, retired ones included."""
    rows = connection.execute(sa.select(tables.agents).order_by(tables.agents.c.agent))
    return [
        AgentRow(
            row.agent,
            row.host,
            row.machine_id,
            row.incarnation,
            row.started_ns,
            row.first_seen_ns,
            row.last_seen_ns,
            json.loads(row.counters),
            row.retired,
        )
        for row in rows
    ]


def totals(connection: sa.Connection) -> dict[str, int]:
    """Cumulative counters over all partitions, and `windows`: how many (query version, window) have data."""
    table = tables.offsets
    sums = connection.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(table.c[name]), 0).label(name) for name in COUNTERS))
    ).one()
    found = {name: int(value) for name, value in sums._mapping.items()}
    seen = sa.select(tables.manifests.c.version_id, tables.manifests.c.window_ns).distinct().subquery()
    found["windows"] = int(connection.execute(sa.select(sa.func.count()).select_from(seen)).scalar_one())
    return found


def write_reports(connection: sa.Connection, reports: Sequence[AgentReport]) -> None:
    """Take in heartbeats; one per agent, an older one than stored changes nothing but the progress."""
    if not reports:
        return
    _write_agents(connection, sorted(reports, key=lambda report: report.agent))
    rows = [
        {
            "agent": report.agent,
            "version_id": progress.version_id,
            "first_ns": progress.first_ns,
            "watermark_ns": progress.watermark_ns,
            "last_seen_ns": report.sent_ns,
        }
        for report in sorted(reports, key=lambda report: report.agent)
        for progress in sorted(report.progress, key=lambda progress: progress.version_id)
    ]
    if rows:
        table = tables.progress
        statement = insert(connection, table)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["agent", "version_id"],
                set_={
                    "first_ns": smaller(table.c.first_ns, statement.excluded.first_ns),
                    "watermark_ns": larger(table.c.watermark_ns, statement.excluded.watermark_ns),
                    "last_seen_ns": larger(table.c.last_seen_ns, statement.excluded.last_seen_ns),
                },
            ),
            rows,
        )


def write_interruptions(connection: sa.Connection, interruptions: Sequence[Interruption]) -> None:
    """Note stretches in doubt; one that is known already changes nothing."""
    insert_missing(
        connection,
        tables.interruptions,
        [{name: getattr(interruption, name) for name in Interruption.__slots__} for interruption in interruptions],
    )


def _write_agents(connection: sa.Connection, reports: Sequence[AgentReport]) -> None:
    table = tables.agents
    statement = insert(connection, table)
    newest = ("host", "machine_id", "incarnation", "started_ns", "last_seen_ns", "counters")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["agent"],
            set_={name: statement.excluded[name] for name in newest},
            where=statement.excluded.last_seen_ns >= table.c.last_seen_ns,
        ),
        [
            {
                "agent": report.agent,
                "host": report.host,
                "machine_id": report.machine_id,
                "incarnation": report.incarnation,
                "started_ns": report.started_ns,
                "first_seen_ns": report.sent_ns,
                "last_seen_ns": report.sent_ns,
                "counters": json.dumps(dict(report.counters), sort_keys=True),
            }
            for report in reports
        ],
    )
