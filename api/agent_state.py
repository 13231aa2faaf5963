"""Is an agent alive: the one rule that the agent list and the status share."""

from typing import Literal

from api.config import ApiConfig
from store.fleet import AgentRow

#: What agents call the age of the oldest frame that waits in their spool, among the counters of their heartbeats.
SPOOL_AGE = "spool_oldest_age_s"
AgentState = Literal["alive", "silent", "retired"]


def state_of(row: AgentRow, now_ns: int, config: ApiConfig) -> AgentState:
    """Alive while heard of within `agent_silent_after_s`; a heartbeat from a fast clock counts as just now."""
    if row.retired:
        return "retired"
    return "alive" if silent_s(row, now_ns) <= config.agent_silent_after_s else "silent"


def silent_s(row: AgentRow, now_ns: int) -> float:
    """Seconds since the last heartbeat, never negative."""
    return max(0, now_ns - row.last_seen_ns) / 1e9
