"""What each agent's runtime decided last, as the agent said it: for lists, not for answers.

One row per agent, of its newest start; within a start the highest sequence counts, whatever the agent's clock did
meanwhile. The body is the agent's own text (wire/status.py); a key added there needs no migration here. An agent that
nobody knows, or that was retired, has no row: statuses that were still on their way are left out.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store import tables
from store.fleet import CLOCK_LEAD_NS, sane
from store.upsert import batched, insert

_AGENTS_PER_QUERY = 300
_T = tables.agent_status


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """An agent's newest status, as the collector read it; `sequence` and `started_ns` are those of its frame."""

    agent: str
    incarnation: str
    started_ns: int
    sequence: int
    sent_ns: int
    body: str


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One agent's status as the database knows it."""

    incarnation: str
    sent_ns: int
    body: str


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One agent of the fleet, where it runs, and its newest status."""

    agent: str
    machine_id: str
    body: str


def write_statuses(connection: sa.Connection, statuses: Sequence[AgentStatus], now_ns: int) -> None:
    """Keep the newest of each agent. Heartbeats of this transaction are written already.

    As in heartbeats, a clock that runs ahead of the collector's by more than a minute counts as a minute ahead.
    """
    for some in batched(sorted(statuses, key=lambda one: (one.agent, one.incarnation)), _AGENTS_PER_QUERY):
        rows = _rows(connection, some, now_ns)
        if rows:
            _write(connection, rows)


def statuses_of(connection: sa.Connection, agents: Collection[str]) -> Mapping[str, StatusRow]:
    """Agent -> its newest status, of those of these agents that have one."""
    found: dict[str, StatusRow] = {}
    for some in batched(sorted(agents), _AGENTS_PER_QUERY):
        query = sa.select(_T.c.agent, _T.c.incarnation, _T.c.sent_ns, _T.c.body).where(_T.c.agent.in_(some))
        found |= {row.agent: StatusRow(row.incarnation, row.sent_ns, row.body) for row in connection.execute(query)}
    return found


def fleet_statuses(connection: sa.Connection, seen_since_ns: int) -> Iterator[FleetRow]:
    """Of every agent that is expected and was heard of since then, by name."""
    agents = tables.agents
    query = (
        sa.select(_T.c.agent, agents.c.machine_id, _T.c.body)
        .join(agents, agents.c.agent == _T.c.agent)
        .where(~agents.c.retired, agents.c.last_seen_ns >= seen_since_ns)
        .order_by(_T.c.agent)
    )
    for row in connection.execute(query):
        yield FleetRow(row.agent, row.machine_id, row.body)


def _rows(connection: sa.Connection, statuses: Sequence[AgentStatus], now_ns: int) -> list[dict[str, Any]]:
    """In the order in which the starts came, by agent; the later one of two replaces the earlier."""
    names, starts = {one.agent for one in statuses}, tables.starts
    known = connection.execute(
        sa.select(tables.agents.c.agent).where(tables.agents.c.agent.in_(names), ~tables.agents.c.retired)
    )
    expected = set(known.scalars())
    begun = connection.execute(
        sa.select(starts.c.agent, starts.c.incarnation, starts.c.order_ns).where(
            starts.c.agent.in_(names), starts.c.incarnation.in_({one.incarnation for one in statuses})
        )
    )
    orders = {(row.agent, row.incarnation): row.order_ns for row in begun}
    rows = [
        {
            "agent": one.agent,
            "incarnation": one.incarnation,
            # Of a start whose heartbeats could not be used nothing better is known.
            "order_ns": orders.get((one.agent, one.incarnation), min(sane(one.started_ns), now_ns)),
            "sequence": one.sequence,
            "sent_ns": min(sane(one.sent_ns), now_ns + CLOCK_LEAD_NS),
            "body": one.body,
        }
        for one in statuses
        if one.agent in expected
    ]
    return sorted(rows, key=lambda row: (row["agent"], row["order_ns"], row["incarnation"]))


def _write(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    statement = insert(connection, _T)
    new = statement.excluded
    newer = sa.or_(
        new.order_ns > _T.c.order_ns,
        sa.and_(new.order_ns == _T.c.order_ns, new.incarnation > _T.c.incarnation),
        sa.and_(new.incarnation == _T.c.incarnation, new.sequence >= _T.c.sequence),
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["agent"],
            set_={name: new[name] for name in ("incarnation", "order_ns", "sequence", "sent_ns", "body")},
            where=newer,
        ),
        rows,
    )
