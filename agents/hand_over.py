"""Which frames go to the transport next, and the numbers they get: committed just before they are first handed over.

Frames of one incarnation go in the order of their ids and are numbered in that order, so a frame that was not handed
over proves that no later one of its incarnation was. Incarnations owe each other no order: each has a partition and
numbers of its own. So the running one, the live lane, may go ahead of those that have ended, the backlog
(docs/decisions/0005-catch-up.md). Only the first frame of each, a heartbeat, goes before any later incarnation: it
tells collectors from when on the agent is expected, which a later start cannot.
"""

import enum
import logging
import secrets
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from agents.spool_file import transaction
from agents.waiting import COLUMNS, body_of
from wire.errors import FrameTooLargeError
from wire.frame import MAX_FRAME_BYTES, Header, Kind, encode_frame

log = logging.getLogger(__name__)

_UNLIMITED: Final = float("inf")


class Lane(enum.Enum):
    """Which frames may be handed over: all, oldest first, or only those of one lane."""

    BOTH = "both"
    LIVE = "live"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class HandedFrame:
    """An encoded frame whose sequence is on disk: ready for the transport, under `id` as its token.

    `backlog` says that it is of an incarnation that has ended.
    """

    id: int
    partition: int
    payload: bytes
    backlog: bool
    kind: Kind


@dataclass(frozen=True, slots=True)
class Stuck:
    """Frames that cannot be handed over, as far as `hand_over` has found out; they stay in the spool.

    `stranded` ones belong to an incarnation whose partition, one of `partitions`, the transport does not have (any
    more); `unsendable` ones are larger than a frame may be.
    """

    stranded: int = 0
    partitions: tuple[int, ...] = ()
    unsendable: int = 0

    def __str__(self) -> str:
        """Empty when there are none."""
        where = ", ".join(str(partition) for partition in self.partitions)
        told = [f"{self.stranded} frames are numbered for partition {where}, which the transport lacks"]
        told += [f"{self.unsendable} frames are larger than the wire takes"]
        return "; ".join(text for text, count in zip(told, (self.stranded, self.unsendable), strict=True) if count)


class _Next(NamedTuple):
    id: int
    incarnation: int
    sequence: int | None
    bytes: int


class HandOver:
    """Chooses, numbers and encodes; `stuck` says what cannot be sent, as far as it was found out."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Of the spool's file."""
        self._db = db
        self._unsendable: set[int] = set()
        self.stuck = Stuck()

    def take(
        self,
        limit: int,
        under_way: Collection[int],
        partitions: Callable[[], int],
        *,
        running: int,
        lane: Lane = Lane.BOTH,
        max_bytes: float = _UNLIMITED,
    ) -> list[HandedFrame]:
        """As Spool.hand_over; `running` is the ordinal of the live lane's incarnation."""
        stranded = self._stranded(partitions())
        chosen = self._choose(limit, self._unsendable.union(under_way), stranded, running, lane)
        fitting = _fitting(chosen, max_bytes)
        if any(one.sequence is None for one in fitting):
            with transaction(self._db):
                self._number(fitting, partitions)
        handed = [frame for one in fitting if (frame := self._encoded(one.id, one.incarnation < running)) is not None]
        self._note_stuck(stranded)
        return handed

    def _stranded(self, partitions: int) -> dict[int, int]:
        """Partition by ordinal of the incarnations that have one which does not exist."""
        rows = self._db.execute("SELECT ordinal, partition FROM incarnations WHERE partition >= ?", (partitions,))
        return dict(rows.fetchall())

    def _note_stuck(self, stranded: dict[int, int]) -> None:
        frames = 0
        for ordinal in stranded:
            for numbered in ("IS NULL", "IS NOT NULL"):  # one index each
                sql = f"SELECT count(*) FROM frames WHERE incarnation = ? AND sequence {numbered}"
                frames += int(self._db.execute(sql, (ordinal,)).fetchone()[0])
        where = tuple(sorted(set(stranded.values()))) if frames else ()
        before, self.stuck = self.stuck, Stuck(frames, where, len(self._unsendable))
        if where and where != before.partitions:
            log.error("frames cannot be sent, others go on: %s", self.stuck)

    def _choose(
        self, limit: int, held_back: Collection[int], stranded: Collection[int], running: int, lane: Lane
    ) -> list[_Next]:
        """In the order of sending, at most `limit`."""
        chosen: list[_Next] = []
        incarnations = self._db.execute("SELECT ordinal, next_sequence FROM incarnations ORDER BY ordinal").fetchall()
        for ordinal, next_sequence in incarnations:
            if ordinal in stranded or (lane is Lane.BACKLOG and ordinal >= running):
                continue
            if lane is Lane.LIVE and ordinal < running:  # only the frame that announces it
                first = self._of(ordinal, 1, held_back)
                chosen += [one for one in first if (one.sequence or next_sequence) == 1]
            else:
                chosen += self._of(ordinal, limit - len(chosen), held_back)
            if len(chosen) >= limit:
                break
        return chosen

    def _of(self, ordinal: int, limit: int, held_back: Collection[int]) -> list[_Next]:
        """The next frames of one incarnation: those to be sent again, then those never sent."""
        numbered = self._db.execute(
            "SELECT id, incarnation, sequence, bytes FROM frames WHERE incarnation = ? AND sequence IS NOT NULL "
            "ORDER BY sequence",
            (ordinal,),
        ).fetchall()
        found = [_Next(*row) for row in numbered if row[0] not in held_back]
        if len(found) < limit:
            new = self._db.execute(
                "SELECT id, incarnation, NULL, bytes FROM frames WHERE incarnation = ? AND sequence IS NULL "
                "ORDER BY id LIMIT ?",
                (ordinal, limit - len(found)),
            )
            found += [_Next(*row) for row in new.fetchall()]
        return found[:limit]

    def _number(self, chosen: list[_Next], partitions: Callable[[], int]) -> None:
        for frame_id, ordinal, sequence, _ in chosen:
            if sequence is not None:
                continue
            partition, following = self._db.execute(
                "SELECT partition, next_sequence FROM incarnations WHERE ordinal = ?", (ordinal,)
            ).fetchone()
            if partition is None:
                partition = secrets.randbelow(partitions())
            self._db.execute("UPDATE frames SET sequence = ? WHERE id = ?", (following, frame_id))
            self._db.execute(
                "UPDATE incarnations SET partition = ?, next_sequence = ? WHERE ordinal = ?",
                (partition, following + 1, ordinal),
            )

    def _encoded(self, frame_id: int, backlog: bool) -> HandedFrame | None:
        """Ready for the transport; None, noted and logged once, when it is no frame that the wire takes."""
        row = self._db.execute(
            f"SELECT i.agent, i.id, i.started_ns, i.partition, f.sequence, {COLUMNS} "
            "FROM frames f JOIN incarnations i ON i.ordinal = f.incarnation WHERE f.id = ?",
            (frame_id,),
        ).fetchone()
        header = Header(*row)
        try:
            payload = encode_frame(header, body_of(self._db, frame_id))
        except FrameTooLargeError as error:
            self._unsendable.add(frame_id)
            log.error("a frame cannot be sent, it stays id=%d error=%s", frame_id, error)  # noqa: TRY400
            return None
        return HandedFrame(frame_id, header.partition, payload, backlog, header.kind)


def _fitting(chosen: list[_Next], max_bytes: float) -> list[_Next]:
    """The first ones, up to `max_bytes`; none is skipped for being large.

    One that is too large for the wire counts as a frame that is not, or it would wait for an allowance for ever.
    """
    fitting: list[_Next] = []
    left = max_bytes
    for one in chosen:
        left -= min(one.bytes, MAX_FRAME_BYTES)
        if left < 0:
            break
        fitting.append(one)
    return fitting
