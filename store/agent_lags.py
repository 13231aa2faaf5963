"""How far behind each agent's data is: up to which event time the answer holds it all, query by query."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from store import tables


@dataclass(frozen=True, slots=True)
class AgentProgress:
    """One query version that an agent's newest heartbeat speaks of.

    All of the agent's records from first_ns up to watermark_ns are in the database. A replay has no say in how far
    behind an agent is: its event time is not the clock's.
    """

    query: str
    version: str
    first_ns: int
    watermark_ns: int
    replayable: bool


def progress_of_agents(connection: sa.Connection, agent: str | None = None) -> Mapping[str, list[AgentProgress]]:
    """Agent -> its progress by query, for all agents or one; versions that it no longer speaks of are left out."""
    progress, versions, queries, agents = tables.progress, tables.versions, tables.queries, tables.agents
    query = (
        sa.select(progress, versions.c.version, queries.c.name.label("query"))
        .join(agents, agents.c.agent == progress.c.agent)
        .join(versions, versions.c.id == progress.c.version_id)
        .join(queries, queries.c.id == versions.c.query_id)
        .where(progress.c.last_seen_ns >= agents.c.last_seen_ns)
        .order_by(progress.c.agent, queries.c.name, versions.c.id)
    )
    if agent is not None:
        query = query.where(progress.c.agent == agent)
    found: defaultdict[str, list[AgentProgress]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.agent].append(AgentProgress(row.query, row.version, row.first_ns, row.watermark_ns, row.replayable))
    return found
