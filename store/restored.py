"""Spools restored from an older disk: which starts of agents read again what was sent already.

A start names the one before it in its spool, and the highest sequence of it that this spool can have handed over. When
a higher one has arrived, or another start has followed the same one, the spool is an older copy: its replayable sources
go on from where the copy left them, and what they read from there to where they really were comes a second time, under
a new incarnation whose sequences tell nothing. The starts that follow in such a spool go on from there, so they are
judged like it. Marks of a partition that lags behind are not known yet: a start is looked at again with every heartbeat
of its first minutes.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store import tables
from store.fleet import AgentReport, sane
from store.interruptions import SPOOL_RESTORED, Interruption, write_interruptions
from store.upsert import batched

log = logging.getLogger(__name__)

UNSETTLED_NS = 600 * 10**9
_STARTS_PER_QUERY = 300


@dataclass(frozen=True, slots=True)
class Following:
    """A start and what its spool knows of the one before."""

    agent: str
    incarnation: str
    started_ns: int
    previous: str
    previous_sequence: int


def restored_among(connection: sa.Connection, topic: str, starts: Sequence[Following]) -> set[tuple[str, str]]:
    """(agent, incarnation) of those whose spool is an older copy, as far as the database knows."""
    found: set[tuple[str, str]] = set()
    for some in batched([start for start in starts if start.previous], _STARTS_PER_QUERY):
        agents, before = {start.agent for start in some}, {start.previous for start in some}
        marks, known = tables.marks, tables.starts
        arrived = {
            (row.agent, row.incarnation): row.mark
            for row in connection.execute(
                sa.select(marks.c.agent, marks.c.incarnation, sa.func.max(marks.c.mark).label("mark"))
                .where(marks.c.topic == topic, marks.c.agent.in_(agents), marks.c.incarnation.in_(before))
                .group_by(marks.c.agent, marks.c.incarnation)
            )
        }
        rows = connection.execute(
            sa.select(known.c.agent, known.c.incarnation, known.c.previous, known.c.started_ns, known.c.restored).where(
                known.c.agent.in_(agents), sa.or_(known.c.previous.in_(before), known.c.incarnation.in_(before))
            )
        ).all()
        tainted = {(row.agent, row.incarnation) for row in rows if row.restored}
        first: dict[tuple[str, str], tuple[int, str]] = {}
        for row in rows:
            begun = row.started_ns, row.incarnation
            first[row.agent, row.previous] = min(first.get((row.agent, row.previous), begun), begun)
        for start in some:
            key = start.agent, start.previous
            later = key in first and first[key] < (start.started_ns, start.incarnation)
            if arrived.get(key, 0) > start.previous_sequence or key in tainted or later:
                found.add((start.agent, start.incarnation))
    return found


def note_restored(connection: sa.Connection, topic: str, reports: Sequence[AgentReport], now_ns: int) -> int:
    """Judge the starts that are not settled, write down who was found; returns how many are new, and logs each.

    The rows of these starts are written already in this transaction.
    """
    table = tables.starts
    of = {(report.agent, report.incarnation): report for report in reports if report.previous}
    rows = [
        row
        for some in batched(sorted(of), _STARTS_PER_QUERY)
        for row in connection.execute(
            sa.select(table.c.agent, table.c.incarnation, table.c.first_seen_ns, table.c.restored).where(
                table.c.agent.in_({agent for agent, _ in some}), table.c.incarnation.in_({start for _, start in some})
            )
        )
        if (row.agent, row.incarnation) in of
    ]
    known = {(row.agent, row.incarnation) for row in rows if row.restored}
    unsettled = [
        following(of[row.agent, row.incarnation])
        for row in rows
        if not row.restored and row.first_seen_ns > now_ns - UNSETTLED_NS
    ]
    new = restored_among(connection, topic, unsettled)
    new |= {key for key, report in of.items() if report.restored and key not in known}
    for agent, incarnation in sorted(new):
        report = of[agent, incarnation]
        connection.execute(
            sa.update(table).where(table.c.agent == agent, table.c.incarnation == incarnation).values(restored=True)
        )
        log.warning(
            "spool restored from an older disk agent=%s host=%s incarnation=%s follows=%s known_up_to=%d; what its "
            "replayable sources read is refused", agent, report.host, incarnation, report.previous,
            report.previous_sequence,
        )  # fmt: skip
    write_interruptions(connection, _doubts(of[key] for key in sorted(new | known)))
    return len(new)


def following(report: AgentReport) -> Following:
    """What a heartbeat says of the start before its own."""
    return Following(
        report.agent, report.incarnation, sane(report.started_ns), report.previous, report.previous_sequence
    )


def restored_starts(connection: sa.Connection) -> dict[tuple[str, str], set[int]]:
    """(agent, incarnation) of every such start -> the version ids that its agent computes from live sources."""
    starts, progress = tables.starts, tables.progress
    found: dict[tuple[str, str], set[int]] = {}
    for row in connection.execute(
        sa.select(starts.c.agent, starts.c.incarnation, progress.c.version_id)
        .outerjoin(progress, sa.and_(progress.c.agent == starts.c.agent, progress.c.replayable.is_(False)))
        .where(starts.c.restored)
    ):
        found.setdefault((row.agent, row.incarnation), set()).update(
            () if row.version_id is None else (row.version_id,)
        )
    return found


def _doubts(reports: Iterable[AgentReport]) -> list[Interruption]:
    """Of the replays, as a whole: where among them the refused records lie, nobody knows."""
    return [
        Interruption(
            report.agent, progress.version_id, sane(report.started_ns), sane(report.started_ns) + 1, SPOOL_RESTORED
        )
        for report in reports
        for progress in report.progress
        if progress.replayable
    ]
