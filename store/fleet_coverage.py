"""Coverage of everything at once: of each query and of each host, over the newest complete minutes.

The rule is coverage's own (store/coverage.py); only the records are added up by agent instead of by window. It is meant
to be looked at all the time, so one thing is left out: of a query that is fed by files, an agent counts only while it
reads what is new. A replay of last year's records is no gap of the last five minutes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from store.coverage import Expected, agent_share, expected_agents
from store.registry import ValidRange
from store.rows import rows
from store.snapshot import Check, Snapshot
from store.tables import LEVEL_OWN_WINDOW

LENGTH_NS = 300 * 10**9
# Agents with slow checkpoints and a flush that waits for a lock have handed over what is older than this.
SETTLED_NS = 30 * 10**9
_BY_AGENT = (
    "SELECT agent, sum(known), sum(CASE WHEN known <= merged THEN known ELSE merged END) FROM ("
    "SELECT agent, sum(n_in) AS known, sum(n_filtered + got_local + got_drained) AS merged FROM manifests "
    "WHERE version_id = ? AND level = ? AND window_ns >= ? AND window_ns < ? GROUP BY window_ns, agent"
    ") AS by_window GROUP BY agent"
)


@dataclass(frozen=True, slots=True)
class FleetCoverage:
    """Ratios in [0, 1].

    Attributes:
        queries: by name, of those that some agent is expected for.
        hosts: the lowest of any query, by host.
    """

    queries: Mapping[str, float]
    hosts: Mapping[str, float]


@dataclass(slots=True)
class _Agent:
    """Of one query: ns it was expected for and covered, records that it knew of and that certainly arrived."""

    wanted: int = 0
    covered: int = 0
    known: int = 0
    certain: int = 0

    @property
    def ratio(self) -> float:
        return min(self.covered / self.wanted if self.wanted else 1.0, self.certain / self.known if self.known else 1.0)


@dataclass(slots=True)
class _Found:
    queries: dict[str, float] = field(default_factory=dict)
    hosts: dict[str, float] = field(default_factory=dict)


def fleet_coverage(seen: Snapshot, now_ns: int, pause: Check = lambda: None) -> FleetCoverage:
    """Of the windows that ended 30 s ago or earlier, those of five minutes, of a wider window the newest one.

    Args:
        pause: called between queries; may raise to end the read.
    Cost: reads the progress of all agents and the manifests of five minutes.
    """
    found = _Found()
    host_of: dict[str, str] = dict(rows(seen.connection, "SELECT agent, host FROM agents"))
    queries = {row.query_id: (row.query, row.window_ns) for row in seen.view.metrics.values()}
    for query_id, (query, window_ns) in sorted(queries.items()):
        pause()
        end_ns = (now_ns - SETTLED_NS) // window_ns * window_ns
        start_ns = end_ns - max(1, LENGTH_NS // window_ns) * window_ns
        agents = _agents(seen, query_id, start_ns, end_ns, window_ns, now_ns)
        if not agents:
            continue
        together = _Agent(
            sum(one.wanted for one in agents.values()),
            sum(one.covered for one in agents.values()),
            sum(one.known for one in agents.values()),
            sum(one.certain for one in agents.values()),
        )
        found.queries[query] = together.ratio
        for agent, one in agents.items():
            host = host_of.get(agent, agent)
            found.hosts[host] = min(found.hosts.get(host, 1.0), one.ratio)
    return FleetCoverage(found.queries, found.hosts)


def _agents(
    seen: Snapshot, query_id: int, start_ns: int, end_ns: int, window_ns: int, now_ns: int
) -> Mapping[str, _Agent]:
    """What each agent was expected for in the stretch and what there is; those without either are left out."""
    found: defaultdict[str, _Agent] = defaultdict(_Agent)
    for expected in expected_agents(seen, query_id):
        if not expected.live and not _follows(expected, start_ns, now_ns):
            continue
        wanted, covered, _ = agent_share(expected, start_ns, end_ns, window_ns, now_ns)
        if wanted > 0:
            one = found[expected.agent]
            one.wanted += wanted
            one.covered += covered
    for agent, known, certain in _records(seen.connection, seen.view.ranges(query_id), start_ns, end_ns):
        one = found[agent]
        one.known += known
        one.certain += certain
    return found


def _follows(expected: Expected, start_ns: int, now_ns: int) -> bool:
    """Whether a file's records are those of the clock: one that is read through vouches for all time to come."""
    return start_ns <= expected.watermark_ns <= now_ns + LENGTH_NS


def _records(
    connection: sa.Connection, ranges: Sequence[ValidRange], start_ns: int, end_ns: int
) -> Iterator[tuple[str, int, int]]:
    """(agent, records known, certainly merged); what came of a version outside its time is known and not merged."""
    for version_id in dict.fromkeys(valid.version.version_id for valid in ranges):
        for low, high, is_valid in _pieces(ranges, version_id, start_ns, end_ns):
            for agent, known, certain in rows(connection, _BY_AGENT, (version_id, LEVEL_OWN_WINDOW, low, high)):
                yield agent, int(known), int(certain) if is_valid else 0


def _pieces(
    ranges: Iterable[ValidRange], version_id: int, start_ns: int, end_ns: int
) -> Iterator[tuple[int, int, bool]]:
    """[from, to) and whether the version is valid there, one behind the other over the whole stretch."""
    at = start_ns
    for valid in ranges:
        low, high = max(at, valid.from_ns), min(end_ns, valid.to_ns)
        if valid.version.version_id != version_id or low >= high:
            continue
        if at < low:
            yield at, low, False
        yield low, high, True
        at = high
    if at < end_ns:
        yield at, end_ns, False
