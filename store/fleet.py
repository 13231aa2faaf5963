"""The fleet: which agents there are, how far each has come, and what the collectors counted.

Agents report with heartbeats. An agent's newest report wins; within one start its progress only moves forward.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from store import tables
from store.claims import COUNTERS, JOBS_TOPICS
from store.errors import UnknownAgentError
from store.interruptions import AWAY, Interruption, shorten_absence, write_interruptions
from store.tables import LEVEL_OWN_WINDOW
from store.upsert import batched, insert, larger, smaller

CLOCK_LEAD_NS = 60 * 10**9
# Sums and differences of what agents say are times stay within 64 bits.
_SANE_NS = 2**62
_AGENTS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class VersionProgress:
    """How far an agent's answer for one query version is complete, in event time."""

    version_id: int
    query_id: int
    first_ns: int
    watermark_ns: int
    replayable: bool


@dataclass(frozen=True, slots=True)
class AgentReport:
    """An agent's newest heartbeat, as the collector read it.

    `unregistered` holds (query name, first_ns) of queries that it computes in a version which is not registered;
    `previous` is the incarnation before this one in the agent's spool, which has handed over nothing of it above
    `previous_sequence`; `restored` says that the collector knows better (store/restored.py).
    `clock_offset_ns` is how far the agent's clock is ahead of the collector's at least (collector/agent_clocks.py).
    """

    agent: str
    host: str
    machine_id: str
    incarnation: str
    started_ns: int
    sent_ns: int
    counters: Mapping[str, int]
    progress: Sequence[VersionProgress]
    unregistered: Sequence[tuple[str, int]] = ()
    previous: str = ""
    previous_sequence: int = 0
    restored: bool = False
    clock_offset_ns: int | None = None


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
    clock_offset_ns: int | None = None


def sane(time_ns: int) -> int:
    """A time that somebody else's clock gave, within what can be calculated with."""
    return max(-_SANE_NS, min(time_ns, _SANE_NS))


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
            row.clock_offset_ns,
        )
        for row in rows
    ]


def retire_agent(connection: sa.Connection, agent: str, now_ns: int) -> None:
    """Expect nothing of the agent any more, from the past either; what it sent stays.

    It comes back by itself with a heartbeat that it made after now, or with a new start.

    Raises:
        UnknownAgentError: there is no such agent; `.nearest` holds the closest id.
    """
    table = tables.agents
    known = connection.execute(sa.select(table.c.agent)).scalars().all()
    if agent not in known:
        raise UnknownAgentError("agent", agent, known)
    connection.execute(sa.update(table).where(table.c.agent == agent).values(retired=True, retired_ns=now_ns))
    connection.execute(sa.delete(tables.agent_status).where(tables.agent_status.c.agent == agent))


def totals(connection: sa.Connection) -> dict[str, int]:
    """Cumulative counters over all partitions, and `windows`: how many (query version, own window) are kept."""
    table = tables.offsets
    sums = connection.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(table.c[name]), 0).label(name) for name in COUNTERS))
    ).one()
    found = {name: int(value) for name, value in sums._mapping.items()}
    t = tables.manifests
    seen = sa.select(t.c.version_id, t.c.window_ns).where(t.c.level == LEVEL_OWN_WINDOW).distinct().subquery()
    found["windows"] = int(connection.execute(sa.select(sa.func.count()).select_from(seen)).scalar_one())
    return found


@dataclass(frozen=True, slots=True)
class CollectorRow:
    """One collector by the partitions it claimed last; `flushed_ns` is its newest flush, None before the first."""

    collector: str
    partitions: int
    flushed_ns: int | None


def collectors(connection: sa.Connection) -> list[CollectorRow]:
    """Who claimed partitions last, by name; a partition that nobody else has claimed stays a dead collector's.

    What jobs write windows under is no partition of a transport, and not counted.
    """
    table = tables.offsets
    rows = connection.execute(
        sa.select(table.c.owner, sa.func.count().label("n"), sa.func.max(table.c.flushed_ns).label("flushed_ns"))
        .where(table.c.topic.not_in(JOBS_TOPICS))
        .group_by(table.c.owner)
        .order_by(table.c.owner)
    )
    return [CollectorRow(row.owner, row.n, row.flushed_ns) for row in rows]


def write_reports(
    connection: sa.Connection, reports: Sequence[AgentReport], orders: Mapping[tuple[str, str], int], now_ns: int
) -> None:
    """Take in heartbeats, one per agent and start. Only an agent's newest start may move its progress.

    A clock that runs ahead of the collector's by more than a minute counts as a minute ahead: it must not vouch for
    time that has not come. `orders` tells by (agent, incarnation) when each start counts as begun (store/starts.py).
    """
    if not reports:
        return
    sobered = [_sobered(report, now_ns + CLOCK_LEAD_NS) for report in reports]
    ordered = sorted(
        (replace(report, started_ns=orders[report.agent, report.incarnation]) for report in sobered),
        key=lambda report: (report.agent, report.started_ns),
    )
    _write_agents(connection, sorted(sobered, key=lambda report: (report.agent, report.sent_ns, report.started_ns)))
    _note_absences(connection, ordered)
    _write_progress(connection, ordered)
    _write_unregistered(connection, ordered)


def _sobered(report: AgentReport, latest_ns: int) -> AgentReport:
    progress = [
        p
        if p.replayable
        else replace(p, first_ns=min(p.first_ns, latest_ns), watermark_ns=min(p.watermark_ns, latest_ns))
        for p in report.progress
    ]
    return replace(report, sent_ns=min(report.sent_ns, latest_ns), progress=progress)


def _note_absences(connection: sa.Connection, reports: Sequence[AgentReport]) -> None:
    """Between the watermark of one start of a live query and the first record of the next, nobody measured.

    Frames of the earlier start may come after those of the later one: then the absence turns out to be shorter, or
    that there was an earlier start only now. The agents' rows are written already: no other flush does this meanwhile.
    """
    table = tables.progress
    known: dict[tuple[str, int], tuple[int, int, int]] = {}
    for agents_of in batched(sorted({report.agent for report in reports}), _AGENTS_PER_QUERY):
        for row in connection.execute(sa.select(table).where(table.c.agent.in_(agents_of))):
            known[row.agent, row.version_id] = row.started_ns, row.watermark_ns, row.first_ns
    for report in reports:
        for p in report.progress:
            key = (report.agent, p.version_id)
            started_ns, watermark_ns, first_ns = known.get(key, (report.started_ns, p.watermark_ns, p.first_ns))
            if p.replayable:
                continue
            if report.started_ns > started_ns:
                write_interruptions(
                    connection, [Interruption(report.agent, p.version_id, watermark_ns, p.first_ns, AWAY)]
                )
                known[key] = report.started_ns, p.watermark_ns, min(first_ns, p.first_ns)
            elif report.started_ns == started_ns:
                known[key] = started_ns, max(watermark_ns, p.watermark_ns), min(first_ns, p.first_ns)
            elif p.first_ns < first_ns:
                write_interruptions(
                    connection, [Interruption(report.agent, p.version_id, p.watermark_ns, first_ns, AWAY)]
                )
                known[key] = started_ns, watermark_ns, p.first_ns
                mine = table.c.agent == report.agent, table.c.version_id == p.version_id
                connection.execute(sa.update(table).where(*mine).values(first_ns=p.first_ns))
            else:
                shorten_absence(connection, report.agent, p.version_id, p.first_ns, p.watermark_ns)


def _write_progress(connection: sa.Connection, reports: Sequence[AgentReport]) -> None:
    rows = [
        {
            "agent": report.agent,
            "version_id": progress.version_id,
            "started_ns": report.started_ns,
            "first_ns": progress.first_ns,
            "watermark_ns": progress.watermark_ns,
            "last_seen_ns": report.sent_ns,
            "replayable": progress.replayable,
        }
        for report in reports
        for progress in sorted(report.progress, key=lambda progress: progress.version_id)
    ]
    if not rows:
        return
    table = tables.progress
    statement = insert(connection, table)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["agent", "version_id"],
            set_={
                "started_ns": new.started_ns,
                "first_ns": smaller(table.c.first_ns, new.first_ns),
                "watermark_ns": sa.case(
                    (new.started_ns > table.c.started_ns, new.watermark_ns),
                    else_=larger(table.c.watermark_ns, new.watermark_ns),
                ),
                "last_seen_ns": larger(table.c.last_seen_ns, new.last_seen_ns),
                "replayable": new.replayable,
            },
            where=new.started_ns >= table.c.started_ns,
        ),
        rows,
    )


def _write_unregistered(connection: sa.Connection, reports: Sequence[AgentReport]) -> None:
    table = tables.unregistered
    registered = {(report.agent, progress.query_id) for report in reports for progress in report.progress}
    for agents_of in batched(sorted({report.agent for report in reports}), _AGENTS_PER_QUERY):
        for row in connection.execute(sa.select(table).where(table.c.agent.in_(agents_of))).all():
            if (row.agent, row.query_id) in registered:
                known = table.c.agent == row.agent, table.c.query_id == row.query_id
                connection.execute(sa.delete(table).where(*known))
    strangers = {
        (name, report.agent): (first, report.sent_ns) for report in reports for name, first in report.unregistered
    }
    if not strangers:
        return
    queries = dict(connection.execute(sa.select(tables.queries.c.name, tables.queries.c.id)).all())
    statement = insert(connection, table)
    rows = [
        {"agent": agent, "query_id": queries[name], "first_ns": first_ns, "last_seen_ns": seen_ns}
        for (name, agent), (first_ns, seen_ns) in sorted(strangers.items())
        if name in queries
    ]
    if rows:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["agent", "query_id"], set_={"last_seen_ns": statement.excluded.last_seen_ns}
            ),
            rows,
        )


def _write_agents(connection: sa.Connection, reports: Sequence[AgentReport]) -> None:
    table = tables.agents
    statement = insert(connection, table)
    newest = ("host", "machine_id", "incarnation", "started_ns", "last_seen_ns", "counters", "clock_offset_ns")
    # A heartbeat that was still on its way when the agent was retired does not bring it back.
    came_back = sa.or_(
        statement.excluded.incarnation != table.c.incarnation,
        statement.excluded.last_seen_ns > sa.func.coalesce(table.c.retired_ns, 0),
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["agent"],
            set_={name: statement.excluded[name] for name in newest}
            | {"retired": sa.case((came_back, sa.false()), else_=table.c.retired)},
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
                "clock_offset_ns": report.clock_offset_ns,
            }
            for report in reports
        ],
    )
