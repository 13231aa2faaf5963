"""How far agents' clocks are ahead of this collector's, as far as heartbeats can prove it.

A heartbeat says when it was made by the agent's clock; it is read later by ours. The way takes time, so made - read is
never more than how far the agent's clock is ahead: over several heartbeats, the largest is the best lower bound, off by
the quickest way among them. A positive bound proves a clock ahead. A negative one proves nothing: the clock may be
behind by at most that much, or all heartbeats waited, in a spool or in the transport.
"""

import logging

log = logging.getLogger(__name__)

# A bound rests on the last WINDOW to 2 * WINDOW heartbeats: about a minute at the agents' usual 2 s.
WINDOW = 16
AHEAD_NS = 5 * 10**9
_FAR_NS = 2**62


class AgentClocks:
    """The incarnations of one partition's agents; kept as long as the partition is held."""

    def __init__(self) -> None:
        self._agents: dict[tuple[str, str], _Clock] = {}

    def heard(self, agent: str, incarnation: str, made_ns: int, read_ns: int) -> None:
        """A heartbeat came, for the first time; one that goes beyond AHEAD_NS is said once."""
        clock = self._agents.setdefault((agent, incarnation), _Clock())
        clock.heard(max(-_FAR_NS, min(made_ns - read_ns, _FAR_NS)))
        ahead = clock.ahead_ns > AHEAD_NS
        if ahead and not clock.told:
            log.warning(
                "clock ahead agent=%s ahead_s=%.1f; set the clocks of agent and collector by one time service",
                agent, clock.ahead_ns / 1e9,
            )  # fmt: skip
        clock.told = ahead

    def ahead_ns(self, agent: str, incarnation: str) -> int | None:
        """At least how far the clock is ahead; None when no heartbeat was heard."""
        clock = self._agents.get((agent, incarnation))
        return None if clock is None else clock.ahead_ns

    def forget(self, agent: str, incarnation: str) -> None:
        """The incarnation has not been heard of for long."""
        self._agents.pop((agent, incarnation), None)


class _Clock:
    """The largest of the last heartbeats, without keeping them: of the current stretch and of the one before."""

    __slots__ = ("_before", "_heard", "_now", "told")

    def __init__(self) -> None:
        self._before = self._now = -_FAR_NS
        self._heard = 0
        self.told = False

    @property
    def ahead_ns(self) -> int:
        return max(self._before, self._now)

    def heard(self, ahead_ns: int) -> None:
        if self._heard == WINDOW:
            self._before, self._now, self._heard = self._now, -_FAR_NS, 0
        self._now = max(self._now, ahead_ns)
        self._heard += 1
