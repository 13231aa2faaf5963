"""Coverage: how complete an answer is, over agents and over records.

Over agents: each agent that serves the query is expected from its first window on, until 24 hours after it was last
seen or until it is retired; time it was away beyond those 24 hours is not expected either. Of the event time it is
expected for, it has covered what lies below its watermark and in no stretch in doubt (store/interruptions.py). An
agent that computes a version nobody registered is expected and has covered nothing. Over records: what arrived,
against what the agents' manifests say there was, agent by agent: what they dropped or sampled out is missing too. The
ratio is the smaller of the two. Data of a version that was not valid at its window counts as missing; a stretch in
doubt counts while its version is valid, and while a query is retired nobody is expected.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store.interruptions import AWAY, WHOLE
from store.levels import Segment
from store.registry import BEGINNING_NS, END_NS, MetricRow, ValidRange
from store.rows import rows
from store.snapshot import Snapshot

EXPECTED_AFTER_LAST_SEEN_NS = 24 * 3600 * 10**9
# A live agent's watermark trails the clock by its checkpoint interval and the way to the database.
FRESHNESS_NS = 10 * 10**9
_ARRIVED = (
    "SELECT window_ns, sum(known), sum(merged), sum(CASE WHEN known <= merged THEN known ELSE merged END), "
    "sum(sampled_out) FROM (SELECT window_ns, sum(n_in) AS known, sum(n_filtered + got_local + got_drained) AS merged, "
    "sum(n_sampled_out) AS sampled_out FROM manifests "
    "WHERE version_id = ? AND level = ? AND window_ns >= ? AND window_ns < ? GROUP BY window_ns, agent"
    ") AS by_agent GROUP BY window_ns"
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How complete an answer is.

    Attributes:
        ratio: in [0, 1]; 1.0 when nobody was expected and nothing was said to exist.
        agents_reported: agents that covered all they were expected for.
        records_known: records that agents took in; records_merged: those that arrived or were filtered out.
        interrupted: whether some agent's stretch is in doubt after an unclean end or a lost frame.
        sampled_out: of the records known, those that agents left out on purpose, evenly, to stay in their CPU budget.
    """

    ratio: float
    agents_reported: int
    agents_expected: int
    records_known: int
    records_merged: int
    interrupted: bool
    sampled_out: int = 0

    @property
    def sampled_share(self) -> float:
        """The share of the records known that sampling let through: 1.0 where none was sampled out.

        Of counts and sums over records, it is what is left; quantiles of what is left are those of an even sample.
        """
        return max(0, self.records_known - self.sampled_out) / self.records_known if self.records_known else 1.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What one agent is expected for, and how far it came, in event time.

    `doubts` are stretches not covered; `absences` are stretches not expected. `live` says that it is fed by a source
    that goes with the clock, as far as is known.
    """

    first_ns: int
    watermark_ns: int
    last_seen_ns: int
    doubts: tuple[tuple[int, int], ...] = ()
    absences: tuple[tuple[int, int], ...] = ()
    agent: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class _Window:
    start_ns: int
    valid: bool
    known: int
    merged: int
    certain: int
    sampled_out: int


@dataclass(frozen=True, slots=True)
class CoverageFacts:
    """All that coverage depends on for one metric and a stretch, read once; `over` then costs no query.

    `windows` stand in order of time, and `starts` holds their starts: a day in 8,640 steps must not look at all
    windows for each step.
    """

    window_ns: int
    agents: tuple[Expected, ...]
    windows: tuple[_Window, ...]
    starts: tuple[int, ...]

    def over(self, start_ns: int, end_ns: int, now_ns: int) -> Coverage:
        """Coverage of the windows in [start_ns, end_ns), which lies within the stretch that was read."""
        covered = wanted = reported = expected = 0
        interrupted = False
        for agent in self.agents:
            span, filled, doubt = agent_share(agent, start_ns, min(end_ns, now_ns), self.window_ns, now_ns)
            if span > 0:
                expected += 1
                reported += filled == span
                covered += filled
                wanted += span
                interrupted = interrupted or doubt
        inside = self.windows[bisect_left(self.starts, start_ns) : bisect_left(self.starts, end_ns)]
        known = sum(window.known for window in inside)
        merged = sum(window.merged for window in inside if window.valid)
        certain = sum(window.certain for window in inside if window.valid)
        # Above level 0 nothing is known of this in windows of another version, so below neither.
        sampled_out = sum(window.sampled_out for window in inside if window.valid)
        over_agents = covered / wanted if wanted else 1.0
        over_records = certain / known if known else 1.0
        ratio = min(over_agents, over_records)
        return Coverage(ratio, reported, expected, known, merged, interrupted, sampled_out)


def coverage(connection: sa.Connection, row: MetricRow, start_ns: int, end_ns: int, now_ns: int) -> Coverage:
    """Coverage of one answer; see CoverageFacts.over."""
    return load_coverage(connection, row, start_ns, end_ns).over(start_ns, end_ns, now_ns)


def load_coverage(
    connection: sa.Connection,
    row: MetricRow,
    start_ns: int,
    end_ns: int,
    step_ns: int | None = None,
    snapshot: Snapshot | None = None,
) -> CoverageFacts:
    """What agents of the metric's query reported and sent in [start_ns, end_ns).

    Args:
        step_ns: the width of the stretches that will be asked for, as in a Selection.
        snapshot: of this connection's transaction.
    """
    seen = snapshot or Snapshot(connection)
    ranges = seen.view.ranges(row.query_id)
    windows = sorted(
        (
            # Above level 0, what arrived in windows of another version is left out already.
            _Window(start, segment.level.number > 0 or _is_valid(ranges, version_id, start), *counts)
            for version_id in dict.fromkeys(valid.version.version_id for valid in ranges)
            for segment in seen.segments(version_id, start_ns, end_ns, step_ns)
            for start, *counts in _arrived(connection, version_id, segment)
        ),
        key=lambda window: window.start_ns,
    )
    agents = expected_agents(seen, row.query_id)
    return CoverageFacts(row.window_ns, agents, tuple(windows), tuple(window.start_ns for window in windows))


def expected_agents(seen: Snapshot, query_id: int) -> tuple[Expected, ...]:
    """What the agents of the query are expected for: the part of the facts that no stretch limits."""
    return seen.view.remembered(("agents", query_id), lambda: tuple(_expected_agents(seen, query_id)))


def agent_share(agent: Expected, start_ns: int, end_ns: int, window_ns: int, now_ns: int) -> tuple[int, int, bool]:
    """(ns expected, ns covered, in doubt) of one agent within [start_ns, end_ns)."""
    begin = max(start_ns, agent.first_ns // window_ns * window_ns)
    end = min(end_ns, agent.last_seen_ns + EXPECTED_AFTER_LAST_SEEN_NS)
    if end <= begin:
        return 0, 0, False
    fresh = agent.watermark_ns >= min(end, now_ns - FRESHNESS_NS)
    reach = end if fresh else max(begin, min(end, agent.watermark_ns))
    if not agent.absences and not agent.doubts:
        return end - begin, reach - begin, False
    absent = [(max(begin, low), min(end, high)) for low, high in agent.absences]
    doubts = [(max(begin, low), min(reach, high)) for low, high in agent.doubts]
    unexpected = _union_length(absent)
    uncovered = _union_length([*doubts, *absent, (reach, end)])
    in_doubt = _union_length([*doubts, *absent]) > unexpected
    return end - begin - unexpected, end - begin - uncovered, in_doubt


def _union_length(spans: Sequence[tuple[int, int]]) -> int:
    total, reached = 0, -END_NS
    for low, high in sorted(spans):
        total += max(0, high - max(low, reached))
        reached = max(reached, high)
    return total


def _expected_agents(seen: Snapshot, query_id: int) -> Iterable[Expected]:
    connection, ranges, retired = seen.connection, seen.view.ranges(query_id), seen.view.retired(query_id)
    doubts: dict[str, list[tuple[int, int]]] = {}
    absences: dict[str, list[tuple[int, int]]] = {}
    versions = dict.fromkeys(valid.version.version_id for valid in ranges)
    of_versions = f"IN ({', '.join(map(str, versions)) or 'NULL'})"
    for agent, version_id, from_ns, to_ns, reason in rows(
        connection,
        f"SELECT agent, version_id, from_ns, to_ns, reason FROM interruptions WHERE version_id {of_versions}",
    ):
        stretch = (BEGINNING_NS, END_NS) if reason in WHOLE else (from_ns, to_ns)
        doubts.setdefault(agent, []).extend(_while_valid(ranges, version_id, *stretch))
        gone_ns = from_ns + EXPECTED_AFTER_LAST_SEEN_NS
        if reason == AWAY and to_ns > gone_ns:
            absences.setdefault(agent, []).extend(_while_valid(ranges, version_id, gone_ns, to_ns))
    for agent, first_ns, last_seen_ns in rows(
        connection,
        "SELECT u.agent, u.first_ns, u.last_seen_ns FROM unregistered AS u JOIN agents AS a ON a.agent = u.agent "
        "WHERE u.query_id = ? AND NOT a.retired ORDER BY u.agent",
        (query_id,),
    ):
        yield Expected(first_ns, first_ns, last_seen_ns, absences=retired, agent=agent)
    for agent, first_ns, watermark_ns, last_seen_ns, replayed in rows(
        connection,
        "SELECT p.agent, min(p.first_ns), max(p.watermark_ns), max(p.last_seen_ns), "
        "min(CASE WHEN p.replayable THEN 1 ELSE 0 END) FROM progress AS p "
        f"JOIN agents AS a ON a.agent = p.agent WHERE p.version_id {of_versions} AND NOT a.retired "
        "GROUP BY p.agent ORDER BY p.agent",
    ):
        yield Expected(
            first_ns,
            watermark_ns,
            last_seen_ns,
            tuple(doubts.get(agent, ())),
            (*absences.get(agent, ()), *retired),
            agent,
            not replayed,
        )


def _while_valid(ranges: Sequence[ValidRange], version_id: int, from_ns: int, to_ns: int) -> Iterable[tuple[int, int]]:
    """The parts of a stretch in which the version was valid: what another version measured is not in doubt with it."""
    for valid in ranges:
        low, high = max(from_ns, valid.from_ns), min(to_ns, valid.to_ns)
        if valid.version.version_id == version_id and low < high:
            yield low, high


def _is_valid(ranges: Sequence[ValidRange], version_id: int, window_ns: int) -> bool:
    return any(r.version.version_id == version_id and r.from_ns <= window_ns < r.to_ns for r in ranges)


def _arrived(connection: sa.Connection, version_id: int, segment: Segment) -> Iterable[tuple[int, ...]]:
    """(window, records known, merged, certainly merged, sampled out), summed over agents and partitions.

    Certain is the smaller of known and merged of each agent: one whose manifest has not arrived yet must not make up
    for another one's missing records.
    """
    for row in rows(connection, _ARRIVED, (version_id, segment.level.number, segment.from_ns, segment.to_ns)):
        yield tuple(map(int, row))
