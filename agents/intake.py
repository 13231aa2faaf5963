"""Takes in what the sources have, and decides when a file waits and which live records cannot be kept.

Live sources cannot wait. Files can: they wait while the spool has no room, and while the epoch's CPU is used up. A file
without a pace is read only as far as the allowance lasts. One with a pace is like live load, which overflows to the
drain path when the allowance ends; it waits, and lags, when even that takes more than the budget.
Room is judged with what has gathered since the last checkpoint, for that will want room as well.
"""

import time
from typing import Final

from agents.checkpoint import Checkpointer
from agents.epochs import EpochLoop
from agents.executor import Executor
from agents.progress import SourceProgress
from agents.sources import replay
from agents.sources.source import Behind
from agents.spool import Spool
from agents.spool_room import SPOOL_FULL

SPOOL_UNWRITABLE: Final = "spool_unwritable"


class Intake:
    """The way from the sources to the queries."""

    def __init__(
        self,
        executor: Executor,
        spool: Spool,
        checkpointer: Checkpointer,
        sources: list[SourceProgress],
        loop: EpochLoop,
        *,
        held_bytes: int,
    ) -> None:
        """`held_bytes` may gather in memory while the spool cannot be written."""
        self.held_bytes = held_bytes
        self.records_in: dict[str, int] = {}
        self._executor = executor
        self._spool = spool
        self._checkpointer = checkpointer
        self._sources = sources
        self._loop = loop

    def poll(self) -> bool:
        """Poll all sources; whether one of them has more to give at once."""
        busy = False
        for one in self._sources:
            if one.source.replayable:
                busy = self._read_on(one) or busy
            else:
                self.take_in(one)
        return busy

    def poll_live(self) -> None:
        """Poll the sources that cannot wait."""
        for one in self._sources:
            if not one.source.replayable:
                self.take_in(one)

    def take_in(self, one: SourceProgress) -> int:
        """Poll one source and give what it has to the queries; returns the number of rows."""
        reason = self._no_room()
        rows = 0
        for batch in one.poll(time.time_ns()):
            if batch.stream not in self._executor.by_stream:
                continue
            rows += batch.rows.height
            self.records_in[batch.stream] = self.records_in.get(batch.stream, 0) + batch.rows.height
            if reason and not one.source.replayable:
                self._executor.drop(batch, reason)
            else:
                self._executor.add(batch, live=not one.source.replayable)
        return rows

    def _read_on(self, one: SourceProgress) -> bool:
        """Read a file on if it may be; whether it has more to give at once.

        With a pace, a few rows are due at any moment: only a poll as large as can be tells that more wait. Of files
        that grow, what is unread tells. Else the loop would turn without a pause, and a turn costs CPU.
        """
        paced = one.source.lag_rows is not None
        if not self._roomy() or not self._loop.may_read(paced=paced):
            return False
        left_s = self._loop.allowance.left_s()
        rows = self.take_in(one)
        self._loop.note_file(rows, left_s - self._loop.allowance.left_s())
        if isinstance(one.source, Behind):
            return one.source.lag_bytes > 0
        return rows >= (replay.BATCH_ROWS if paced else 1)

    def _roomy(self) -> bool:
        """Whether files may be read on: with less than half the cap in use, counting what the next checkpoint adds."""
        used_bytes = self._spool.bytes + self._executor.held_bytes
        return used_bytes < self._spool.max_bytes // 2 and not self._checkpointer.failing

    def _no_room(self) -> str:
        """Why live records cannot be kept now; empty when they can."""
        if self._checkpointer.failing:
            return SPOOL_UNWRITABLE if self._executor.held_bytes > self.held_bytes else ""
        return SPOOL_FULL if self._spool.bytes >= self._spool.max_bytes else ""
