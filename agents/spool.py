"""The spool: what the agent has accepted and the transport has not acknowledged, on disk, with who sends it.

One transaction stores a checkpoint: frames, positions of the sources, the heartbeat's time. A frame has no sequence
until the transaction just before it is first handed over; from then on it is only ever sent again, unchanged, until
it is acknowledged. Each start is an incarnation with its own sequence and partition; frames of an earlier one keep
theirs. Invariant: within an incarnation, sequences follow the order of ids, so a frame that was not handed over
proves that no later one was. What may be done to frames not handed over when space is short is in spool_room.py.
"""

import logging
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.errors import SpoolWriteError
from agents.spool_file import SpoolFile, transaction, writing
from wire.errors import FrameTooLargeError
from wire.frame import Header, Kind, encode_frame

log = logging.getLogger(__name__)

FRAME_OVERHEAD_BYTES: Final = 256  # row, two index entries, share of a page
_FREE_PAGES: Final = 1024  # 4 MiB: more than this is given back to the file system
_VACUUMED_PAGES: Final = 2048
_COLUMNS: Final = "kind, query, version, cut, window_first_ns, window_last_ns, created_ns, rows"


@dataclass(frozen=True, slots=True)
class SpoolFrame:
    """A frame's content; who sends it and its sequence are added at hand-over."""

    kind: Kind
    query: str
    version: str
    cut: int
    window_first_ns: int
    window_last_ns: int
    created_ns: int
    rows: int
    body: bytes

    @property
    def bytes(self) -> int:
        """What it counts against the cap."""
        return len(self.body) + FRAME_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stored frame that was not handed over, without its body."""

    id: int
    kind: Kind
    query: str
    version: str
    cut: int
    created_ns: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """How far a replayable source was read, and the times of what it gave."""

    position: bytes
    first_ns: int | None
    watermark_ns: int | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one checkpoint stores. `number` counts from 1 in each incarnation: storing one twice changes nothing.

    `watermarks` says by query version up to where the live records are vouched for by this checkpoint.
    """

    number: int
    frames: Sequence[SpoolFrame]
    positions: dict[str, StoredPosition]
    time_ns: int
    clean: bool
    watermarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One start of the agent.

    After an unclean end, live records may be missing from `interrupted_from_ns` on until this start, and for a query
    version in `watermarks` from that time on already: what was under way inside a source is older than the checkpoint.
    """

    ordinal: int
    id: str
    agent: str
    started_ns: int
    interrupted_from_ns: int | None
    watermarks: Mapping[str, int] = field(default_factory=dict)

    def in_doubt_from(self, version: str) -> int | None:
        """From when on live records of this query version may be missing; None after a clean end."""
        if self.interrupted_from_ns is None:
            return None
        return min(self.watermarks.get(version, self.interrupted_from_ns), self.interrupted_from_ns)


@dataclass(frozen=True, slots=True)
class HandedFrame:
    """An encoded frame whose sequence is on disk: ready for the transport, under `id` as its token."""

    id: int
    partition: int
    payload: bytes


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


MakeRoom = Callable[["WaitingFrames", int], None]


class Spool:
    """The spool of one agent; used by one thread."""

    def __init__(
        self,
        path: Path,
        machine: str,
        max_bytes: int,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        """Open or create it; errors as SpoolFile."""
        self._file = SpoolFile(path, machine, connection)
        self._db = self._file.db
        self.path = path
        self.max_bytes = max_bytes
        self.frames = 0
        self.bytes = 0
        self.stuck = Stuck()
        self._unsendable: set[int] = set()
        self._measure()

    def begin(self, agent: str, now_ns: int) -> Incarnation:
        """Start a new incarnation. Earlier ones stay as long as frames of theirs do."""
        name = secrets.token_hex(16)
        with writing(self.path), transaction(self._db):
            last = self._db.execute(
                "SELECT clean, heartbeat_ns, interrupted_from_ns, started_ns FROM incarnations "
                "ORDER BY ordinal DESC LIMIT 1"
            ).fetchone()
            interrupted = None
            if last is not None and not last[0]:
                interrupted = next(int(time_ns) for time_ns in last[1:] if time_ns is not None)
            watermarks = dict(self._db.execute("SELECT version, watermark_ns FROM watermarks").fetchall())
            self._db.execute(
                "DELETE FROM incarnations WHERE NOT EXISTS "
                "(SELECT 1 FROM frames WHERE frames.incarnation = incarnations.ordinal)"
            )
            ordinal = self._db.execute(
                "INSERT INTO incarnations (id, agent, started_ns, interrupted_from_ns) VALUES (?, ?, ?, ?)",
                (name, agent, now_ns, interrupted),
            ).lastrowid
        return Incarnation(int(ordinal or 0), name, agent, now_ns, interrupted, watermarks)

    def positions(self) -> dict[str, StoredPosition]:
        """By source name, as the last checkpoint stored them."""
        with writing(self.path):
            rows = self._db.execute("SELECT source, position, first_ns, watermark_ns FROM positions").fetchall()
        return {source: StoredPosition(position, first, last) for source, position, first, last in rows}

    def store(self, incarnation: Incarnation, checkpoint: Checkpoint, make_room: MakeRoom | None = None) -> None:
        """Commit a checkpoint; within the transaction `make_room` is called with the bytes above the cap, if any.

        `make_room` is called whenever the checkpoint is not on disk yet, also when there is nothing above the cap.
        After an error the same checkpoint may be stored again, whether or not it reached the disk.
        """
        with writing(self.path), self._measured_if_failing(), transaction(self._db):
            fresh = self._db.execute(
                "UPDATE incarnations SET checkpoints = ?, heartbeat_ns = ?, clean = ? "
                "WHERE ordinal = ? AND checkpoints = ? - 1",
                (checkpoint.number, checkpoint.time_ns, checkpoint.clean, incarnation.ordinal, checkpoint.number),
            ).rowcount
            if fresh:
                frames = WaitingFrames(self._db, incarnation.ordinal)
                for frame in checkpoint.frames:
                    frames.add(frame)
                self._db.executemany(
                    "INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET "
                    "position = excluded.position, first_ns = excluded.first_ns, watermark_ns = excluded.watermark_ns",
                    [(name, at.position, at.first_ns, at.watermark_ns) for name, at in checkpoint.positions.items()],
                )
                self._db.execute("DELETE FROM watermarks")
                if not checkpoint.clean:
                    self._db.executemany("INSERT INTO watermarks VALUES (?, ?)", list(checkpoint.watermarks.items()))
                if make_room is not None:
                    make_room(frames, self.bytes + frames.bytes_added - self.max_bytes)
        if fresh:
            self.frames += frames.frames_added
            self.bytes += frames.bytes_added
        else:  # an earlier attempt had reached the disk, but could perhaps not be measured
            self._measure()

    def hand_over(self, limit: int, under_way: Collection[int], partitions: Callable[[], int]) -> list[HandedFrame]:
        """At most `limit` frames to publish next, oldest incarnation first, without those `under_way`.

        Their sequences, and the partition of an incarnation that has none yet, are on disk when this returns.
        Frames that cannot be sent hold up no others; `stuck` says how many there are.
        """
        with writing(self.path):
            stranded = self._stranded(partitions())
            chosen = self._choose(limit, self._unsendable.union(under_way), stranded)
            if any(sequence is None for _, _, sequence in chosen):
                with transaction(self._db):
                    self._number(chosen, partitions)
            handed = [frame for frame_id, _, _ in chosen if (frame := self._encoded(frame_id)) is not None]
            self._note_stuck(stranded)
        return handed

    def acknowledge(self, ids: Iterable[int]) -> None:
        """Remove frames that the transport holds durably."""
        with writing(self.path), self._measured_if_failing():
            removed = [(frame_id,) for frame_id in ids]
            if not removed:
                return
            with transaction(self._db):
                gone = [
                    row[0]
                    for key in removed
                    for row in self._db.execute("DELETE FROM frames WHERE id = ? RETURNING bytes", key).fetchall()
                ]
            self.frames -= len(gone)
            self.bytes -= sum(gone)
            if len(gone) < len(removed):  # an earlier attempt had removed them, but could perhaps not be measured
                self._measure()
            if self._db.execute("PRAGMA freelist_count").fetchone()[0] > _FREE_PAGES:
                # `execute` would step this statement only once and free a single page.
                self._db.executescript(f"PRAGMA incremental_vacuum({_VACUUMED_PAGES})")

    def close(self) -> None:
        """Let go of the file; everything stored stays."""
        self._file.close()

    @contextmanager
    def _measured_if_failing(self) -> Iterator[None]:
        """After an error nobody knows whether the commit reached the disk; ask the file, if it answers."""
        try:
            yield
        except sqlite3.Error:
            with suppress(SpoolWriteError):
                self._measure()
            raise

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
        self, limit: int, under_way: Collection[int], stranded: Collection[int]
    ) -> list[tuple[int, int, int | None]]:
        """(id, incarnation, sequence or None) in the order of sending."""
        chosen: list[tuple[int, int, int | None]] = []
        for (ordinal,) in self._db.execute("SELECT ordinal FROM incarnations ORDER BY ordinal").fetchall():
            if ordinal in stranded:
                continue
            again = self._db.execute(
                "SELECT id, incarnation, sequence FROM frames WHERE incarnation = ? AND sequence IS NOT NULL "
                "ORDER BY sequence",
                (ordinal,),
            ).fetchall()
            chosen += [row for row in again if row[0] not in under_way]
            if len(chosen) < limit:
                chosen += self._db.execute(
                    "SELECT id, incarnation, NULL FROM frames WHERE incarnation = ? AND sequence IS NULL "
                    "ORDER BY id LIMIT ?",
                    (ordinal, limit - len(chosen)),
                ).fetchall()
            if len(chosen) >= limit:
                break
        return chosen[:limit]

    def _number(self, chosen: list[tuple[int, int, int | None]], partitions: Callable[[], int]) -> None:
        for frame_id, ordinal, sequence in chosen:
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

    def _encoded(self, frame_id: int) -> HandedFrame | None:
        """Ready for the transport; None, noted and logged once, when it is no frame that the wire takes."""
        row = self._db.execute(
            f"SELECT i.agent, i.id, i.started_ns, i.partition, f.sequence, {_COLUMNS} "
            "FROM frames f JOIN incarnations i ON i.ordinal = f.incarnation WHERE f.id = ?",
            (frame_id,),
        ).fetchone()
        (body,) = self._db.execute("SELECT body FROM frames WHERE id = ?", (frame_id,)).fetchone()
        try:
            payload = encode_frame(Header(*row), body)
        except FrameTooLargeError as error:
            self._unsendable.add(frame_id)
            log.error("a frame cannot be sent, it stays id=%d error=%s", frame_id, error)  # noqa: TRY400
            return None
        return HandedFrame(frame_id, int(row[3]), payload)

    def _measure(self) -> None:
        with writing(self.path):
            self.frames, self.bytes = self._db.execute(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM frames"
            ).fetchone()


class WaitingFrames:
    """The frames of one incarnation that were not handed over, within the transaction of a checkpoint."""

    def __init__(self, db: sqlite3.Connection, ordinal: int) -> None:
        """For the incarnation `ordinal`; keeps count of what it adds and takes away."""
        self._db = db
        self._ordinal = ordinal
        self.frames_added = 0
        self.bytes_added = 0

    def __iter__(self) -> Iterator[Waiting]:
        """Oldest first."""
        rows = self._db.execute(
            "SELECT id, kind, query, version, cut, created_ns, rows, bytes FROM frames "
            "WHERE incarnation = ? AND sequence IS NULL ORDER BY id",
            (self._ordinal,),
        ).fetchall()
        return iter([Waiting(*row) for row in rows])

    def body(self, frame_id: int) -> bytes:
        """The body of one of them."""
        (body,) = self._db.execute("SELECT body FROM frames WHERE id = ?", (frame_id,)).fetchone()
        return bytes(body)

    def add(self, frame: SpoolFrame) -> None:
        """Append a frame."""
        self._db.execute(
            f"INSERT INTO frames (incarnation, {_COLUMNS}, bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._ordinal, *_values(frame), frame.bytes, frame.body),
        )
        self.frames_added += 1
        self.bytes_added += frame.bytes

    def replace(self, waiting: Waiting, frame: SpoolFrame) -> None:
        """Another content in the same place of the order."""
        self._db.execute(
            f"UPDATE frames SET ({_COLUMNS}, bytes, body) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?",
            (*_values(frame), frame.bytes, frame.body, waiting.id),
        )
        self.bytes_added += frame.bytes - waiting.bytes

    def remove(self, waiting: Waiting) -> None:
        """Take a frame out; nobody but this agent has ever seen it."""
        self._db.execute("DELETE FROM frames WHERE id = ?", (waiting.id,))
        self.frames_added -= 1
        self.bytes_added -= waiting.bytes


def _values(frame: SpoolFrame) -> tuple[object, ...]:
    """In the order of _COLUMNS."""
    windows = (frame.window_first_ns, frame.window_last_ns)
    return (frame.kind, frame.query, frame.version, frame.cut, *windows, frame.created_ns, frame.rows)
