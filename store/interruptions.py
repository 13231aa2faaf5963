"""Stretches of event time in which records of an agent may be missing, and why; coverage reads them.

Six causes. An agent says itself that it ended uncleanly, or that a query came when a file was half read. An agent was
away: the stretch between the watermark of one start and the first record of the next. Frames are missing: their
sequence numbers were skipped; a live query is in doubt for the time in which they were made, a replayed one as a whole,
because its event time is not the clock's. An agent id is used by two: likewise. A spool was restored from an older
disk: what a replay read since is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store import tables
from store.upsert import insert_missing

UNCLEAN_END = "unclean end"
NOT_SEEN = "read before the query came"
AWAY = "away"
FRAMES_MISSING = "frames missing"
FRAMES_OF_REPLAY_MISSING = "frames of a replay missing"
ID_SHARED = "agent id used twice"
ID_SHARED_BY_REPLAYS = "agent id used twice, by replays"
SPOOL_RESTORED = "spool restored from an older disk"
# Reasons that put all of a replay in doubt.
WHOLE = (FRAMES_OF_REPLAY_MISSING, ID_SHARED_BY_REPLAYS, SPOOL_RESTORED)


@dataclass(frozen=True, slots=True)
class Interruption:
    """A stretch of event time [from_ns, to_ns) in which an agent's records may be missing."""

    agent: str
    version_id: int
    from_ns: int
    to_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class MissingFrames:
    """Frames of an agent that were made between two times and have not arrived."""

    agent: str
    from_ns: int
    to_ns: int


def write_interruptions(connection: sa.Connection, interruptions: Sequence[Interruption]) -> None:
    """Note stretches in doubt; one that is known already changes nothing."""
    insert_missing(
        connection,
        tables.interruptions,
        [
            {name: getattr(interruption, name) for name in Interruption.__slots__}
            for interruption in interruptions
            if interruption.from_ns < interruption.to_ns
        ],
    )


def stretch_interruption(connection: sa.Connection, interruption: Interruption) -> None:
    """Note a stretch that may be known already, from the same begin and for the same reason, but not as long."""
    table = tables.interruptions
    connection.execute(
        sa.delete(table).where(
            table.c.agent == interruption.agent,
            table.c.version_id == interruption.version_id,
            table.c.from_ns == interruption.from_ns,
            table.c.to_ns < interruption.to_ns,
            table.c.reason == interruption.reason,
        )
    )
    write_interruptions(connection, [interruption])


def write_missing(
    connection: sa.Connection, missing: Sequence[MissingFrames], arrived_late: Sequence[MissingFrames]
) -> None:
    """Note frames that are missing, and take back those that arrived after all."""
    for frames in missing:
        write_interruptions(connection, _stretches(connection, frames))
    table = tables.interruptions
    for frames in arrived_late:
        connection.execute(
            sa.delete(table).where(
                table.c.agent == frames.agent,
                table.c.from_ns == frames.from_ns,
                table.c.to_ns == frames.to_ns,
                table.c.reason.in_((FRAMES_MISSING, FRAMES_OF_REPLAY_MISSING)),
            )
        )


def shorten_absence(connection: sa.Connection, agent: str, version_id: int, first_ns: int, watermark_ns: int) -> None:
    """A start that is not the newest has covered [first_ns, watermark_ns): what is left of absences lies around it."""
    table = tables.interruptions
    mine = table.c.agent == agent, table.c.version_id == version_id, table.c.reason == AWAY
    absences = connection.execute(
        sa.select(table.c.from_ns, table.c.to_ns).where(*mine, table.c.from_ns < watermark_ns, table.c.to_ns > first_ns)
    ).all()
    for low, high in absences:
        connection.execute(sa.delete(table).where(*mine, table.c.from_ns == low, table.c.to_ns == high))
    left = [part for low, high in absences for part in ((low, first_ns), (watermark_ns, high))]
    write_interruptions(connection, [Interruption(agent, version_id, low, high, AWAY) for low, high in left])


def _stretches(connection: sa.Connection, frames: MissingFrames) -> list[Interruption]:
    """One per version that the agent serves."""
    table = tables.progress
    rows = connection.execute(sa.select(table.c.version_id, table.c.replayable).where(table.c.agent == frames.agent))
    return [
        Interruption(
            frames.agent,
            row.version_id,
            frames.from_ns,
            frames.to_ns,
            FRAMES_OF_REPLAY_MISSING if row.replayable else FRAMES_MISSING,
        )
        for row in rows
    ]
