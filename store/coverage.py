"""Coverage: how complete an answer is, over agents and over records.

Over agents: each agent that serves the query is expected from its first window on, until 24 hours after it was last
seen or until it is retired; time it was away beyond those 24 hours is not expected either. Of the event time it is
expected for, it has covered what lies below its watermark and in no stretch in doubt (store/interruptions.py). An
agent that computes a version nobody registered is expected and has covered nothing. Over records: what arrived,
against what the agents' manifests say there was, agent by agent. The ratio is the smaller of the two. Data of a
version that was not valid at its window counts as missing; a stretch in doubt counts while its version is valid, and
while a query is retired nobody is expected.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store import tables
from store.interruptions import AWAY, WHOLE
from store.levels import Segment, load_floors, plan_read
from store.registry import BEGINNING_NS, END_NS, MetricRow, ValidRange, retired_stretches, valid_ranges
from store.upsert import smaller

EXPECTED_AFTER_LAST_SEEN_NS = 24 * 3600 * 10**9
# A live agent's watermark trails the clock by its checkpoint interval and the way to the database.
FRESHNESS_NS = 10 * 10**9


@dataclass(frozen=True, slots=True)
class Coverage:
    """How complete an answer is.

    Attributes:
        ratio: in [0, 1]; 1.0 when nobody was expected and nothing was said to exist.
        agents_reported: agents that covered all they were expected for.
        records_known: records that agents took in; records_merged: those that arrived or were filtered out.
        interrupted: whether some agent's stretch is in doubt after an unclean end or a lost frame.
    """

    ratio: float
    agents_reported: int
    agents_expected: int
    records_known: int
    records_merged: int
    interrupted: bool


@dataclass(frozen=True, slots=True)
class _Expected:
    """What one agent is expected for, and how far it came, in event time.

    `doubts` are stretches not covered; `absences` are stretches not expected.
    """

    first_ns: int
    watermark_ns: int
    last_seen_ns: int
    doubts: tuple[tuple[int, int], ...] = ()
    absences: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Window:
    start_ns: int
    valid: bool
    known: int
    merged: int
    certain: int


@dataclass(frozen=True, slots=True)
class CoverageFacts:
    """All that coverage depends on for one metric and a stretch, read once; `over` then costs no query.

    `windows` stand in order of time, and `starts` holds their starts: a day in 8,640 steps must not look at all
    windows for each step.
    """

    window_ns: int
    agents: tuple[_Expected, ...]
    windows: tuple[_Window, ...]
    starts: tuple[int, ...]

    def over(self, start_ns: int, end_ns: int, now_ns: int) -> Coverage:
        """Coverage of the windows in [start_ns, end_ns), which lies within the stretch that was read."""
        covered = wanted = reported = expected = 0
        interrupted = False
        for agent in self.agents:
            span, filled, doubt = _agent_share(agent, start_ns, min(end_ns, now_ns), self.window_ns, now_ns)
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
        over_agents = covered / wanted if wanted else 1.0
        over_records = certain / known if known else 1.0
        return Coverage(min(over_agents, over_records), reported, expected, known, merged, interrupted)


def coverage(connection: sa.Connection, row: MetricRow, start_ns: int, end_ns: int, now_ns: int) -> Coverage:
    """Coverage of one answer; see CoverageFacts.over."""
    return load_coverage(connection, row, start_ns, end_ns).over(start_ns, end_ns, now_ns)


def load_coverage(
    connection: sa.Connection, row: MetricRow, start_ns: int, end_ns: int, step_ns: int | None = None
) -> CoverageFacts:
    """What agents of the metric's query reported and sent in [start_ns, end_ns).

    `step_ns` is the width of the stretches that will be asked for, as in a Selection.
    """
    ranges = valid_ranges(connection, row.query_id)
    floors = load_floors(connection, {valid.version.version_id: valid.version.plan.window_ns for valid in ranges})
    windows = sorted(
        (
            # Above level 0, what arrived in windows of another version is left out already.
            _Window(start, segment.level.number > 0 or _is_valid(ranges, version_id, start), *counts)
            for version_id, known in floors.items()
            for segment in plan_read(connection, version_id, known, start_ns, end_ns, step_ns)
            for start, *counts in _arrived(connection, version_id, segment)
        ),
        key=lambda window: window.start_ns,
    )
    agents = tuple(_expected_agents(connection, row.query_id, ranges))
    return CoverageFacts(row.window_ns, agents, tuple(windows), tuple(window.start_ns for window in windows))


def _agent_share(agent: _Expected, start_ns: int, end_ns: int, window_ns: int, now_ns: int) -> tuple[int, int, bool]:
    """(ns expected, ns covered, in doubt) of one agent within [start_ns, end_ns)."""
    begin = max(start_ns, agent.first_ns // window_ns * window_ns)
    end = min(end_ns, agent.last_seen_ns + EXPECTED_AFTER_LAST_SEEN_NS)
    if end <= begin:
        return 0, 0, False
    fresh = agent.watermark_ns >= min(end, now_ns - FRESHNESS_NS)
    reach = end if fresh else max(begin, min(end, agent.watermark_ns))
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


def _expected_agents(connection: sa.Connection, query_id: int, ranges: Sequence[ValidRange]) -> Iterable[_Expected]:
    versions = list({valid.version.version_id for valid in ranges})
    doubts: dict[str, list[tuple[int, int]]] = {}
    retired = retired_stretches(connection, query_id)
    absences: dict[str, list[tuple[int, int]]] = {}
    table = tables.interruptions
    for row in connection.execute(sa.select(table).where(table.c.version_id.in_(versions))):
        stretch = (BEGINNING_NS, END_NS) if row.reason in WHOLE else (row.from_ns, row.to_ns)
        doubts.setdefault(row.agent, []).extend(_while_valid(ranges, row.version_id, *stretch))
        gone_ns = row.from_ns + EXPECTED_AFTER_LAST_SEEN_NS
        if row.reason == AWAY and row.to_ns > gone_ns:
            absences.setdefault(row.agent, []).extend(_while_valid(ranges, row.version_id, gone_ns, row.to_ns))
    strangers = tables.unregistered
    for row in connection.execute(
        sa.select(strangers)
        .join(tables.agents, tables.agents.c.agent == strangers.c.agent)
        .where(strangers.c.query_id == query_id, tables.agents.c.retired.is_(False))
    ):
        yield _Expected(row.first_ns, row.first_ns, row.last_seen_ns, absences=tuple(retired))
    progress = tables.progress
    rows = connection.execute(
        sa.select(
            progress.c.agent,
            sa.func.min(progress.c.first_ns).label("first_ns"),
            sa.func.max(progress.c.watermark_ns).label("watermark_ns"),
            sa.func.max(progress.c.last_seen_ns).label("last_seen_ns"),
        )
        .join(tables.agents, tables.agents.c.agent == progress.c.agent)
        .where(progress.c.version_id.in_(versions), tables.agents.c.retired.is_(False))
        .group_by(progress.c.agent)
    )
    for row in rows:
        yield _Expected(
            row.first_ns,
            row.watermark_ns,
            row.last_seen_ns,
            tuple(doubts.get(row.agent, ())),
            (*absences.get(row.agent, ()), *retired),
        )


def _while_valid(ranges: Sequence[ValidRange], version_id: int, from_ns: int, to_ns: int) -> Iterable[tuple[int, int]]:
    """The parts of a stretch in which the version was valid: what another version measured is not in doubt with it."""
    for valid in ranges:
        low, high = max(from_ns, valid.from_ns), min(to_ns, valid.to_ns)
        if valid.version.version_id == version_id and low < high:
            yield low, high


def _is_valid(ranges: Sequence[ValidRange], version_id: int, window_ns: int) -> bool:
    return any(r.version.version_id == version_id and r.from_ns <= window_ns < r.to_ns for r in ranges)


def _arrived(connection: sa.Connection, version_id: int, segment: Segment) -> Iterable[tuple[int, int, int, int]]:
    """(window, records known, merged, and certainly merged), summed over agents and partitions.

    Certain is the smaller of known and merged of each agent: one whose manifest has not arrived yet must not make up
    for another one's missing records.
    """
    t = tables.manifests
    got = t.c.n_filtered + t.c.got_local + t.c.got_drained
    by_agent = (
        sa.select(t.c.window_ns, sa.func.sum(t.c.n_in).label("known"), sa.func.sum(got).label("merged"))
        .where(
            t.c.version_id == version_id,
            t.c.level == segment.level.number,
            t.c.window_ns >= segment.from_ns,
            t.c.window_ns < segment.to_ns,
        )
        .group_by(t.c.window_ns, t.c.agent)
        .subquery()
    )
    for row in connection.execute(
        sa.select(
            by_agent.c.window_ns,
            sa.func.sum(by_agent.c.known).label("known"),
            sa.func.sum(by_agent.c.merged).label("merged"),
            sa.func.sum(smaller(by_agent.c.known, by_agent.c.merged)).label("certain"),
        ).group_by(by_agent.c.window_ns)
    ):
        yield row.window_ns, int(row.known), int(row.merged), int(row.certain)
