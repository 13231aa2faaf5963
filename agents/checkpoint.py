"""The checkpoint: everything gathered since the last one goes to disk together with the place to go on from.

One transaction holds the deltas of all open windows, drained rows, manifests, the sources' positions, what each query
has seen of them, and the heartbeat. A kill before its commit leaves the last checkpoint and the positions that belong
to it; a kill after it leaves the new ones: either way each record of a replayable source counts exactly once.
A heartbeat vouches for what its own incarnation sent before it, and for nothing that may still wait in the backlog.
What could not be stored is kept unchanged under its number and stored first the next time.
Now and then a status stands behind the heartbeat (status_times.py): it vouches for nothing, and is in no manifest.
"""

from collections.abc import Callable, Sequence

from agents.bounds import ALWAYS, Bounds
from agents.errors import SpoolWriteError
from agents.executor import Executor
from agents.file_readers import FileReaders
from agents.frames import frames_of, heartbeat_frame
from agents.progress import SourceProgress, live_watermarks, query_progress
from agents.spool import Checkpoint, Incarnation, Spool, StoredPosition
from agents.spool_room import SpoolRoom
from agents.status_times import StatusSource, StatusTimes, nothing_to_say
from agents.waiting import SpoolFrame
from pipeline.plan import Plan
from wire.heartbeat import Heartbeat


class Checkpointer:
    """Takes the checkpoints of one incarnation."""

    def __init__(
        self,
        spool: Spool,
        incarnation: Incarnation,
        executor: Executor,
        sources: Sequence[SourceProgress],
        *,
        host: str,
        machine: str,
        counters: Callable[[], dict[str, int]],
        status: StatusSource = nothing_to_say,
        readers: FileReaders | None = None,
    ) -> None:
        """`counters` gives what the heartbeat reports of the agent itself, `status` what its runtime decided."""
        self.stored = 0
        self.failures = 0
        self._spool = spool
        self.incarnation = incarnation
        self._executor = executor
        self._sources = sources
        self._host = host
        self._machine = machine
        self._counters = counters
        self._statuses = StatusTimes(status)
        self._readers = readers or FileReaders({})
        self._number = 0
        self._pending: Checkpoint | None = None
        self.room = SpoolRoom(())
        self.note_runs()

    def note_runs(self) -> None:
        """Queries or sources were added, or queries have gone."""
        replayed = {stream for one in self._sources if one.source.replayable for stream in one.source.streams}
        self.room.know([run.chain for run in self._executor.runs], replayed)

    @property
    def failing(self) -> bool:
        """Whether the last checkpoint is still in memory because the spool refused it."""
        return self._pending is not None

    def positions(self) -> dict[str, StoredPosition]:
        """Where each source goes on: as stored, or as the checkpoint that still waits will store it."""
        stored = self._spool.positions()
        return stored if self._pending is None else stored | self._pending.positions

    def take(self, now_ns: int, *, clean: bool = False) -> None:
        """Store what was gathered; `clean` marks the last checkpoint of this incarnation.

        Raises:
            SpoolWriteError: nothing was lost; the call may be repeated.
        """
        self._store()
        frames: list[SpoolFrame] = []
        for delta in self._executor.take():
            frames += frames_of(delta, now_ns, self._executor.shipping)
        frames.append(heartbeat_frame(self._heartbeat(now_ns, clean=clean)))
        status = self._statuses.due(now_ns)
        frames += [] if status is None else [status]
        kept = {one.source.name: one.to_store() for one in self._sources}
        positions = {name: position for name, position in kept.items() if position is not None}
        self._number += 1
        watermarks = live_watermarks(self._plans(), self._sources, self._bounds())
        seen = self._readers.to_store()
        self._pending = Checkpoint(self._number, frames, positions, now_ns, clean, watermarks, seen)
        self._store()

    def go_on_anew(self, now_ns: int) -> None:
        """Let what was stored so far be the backlog, and go on as a new incarnation that misses nothing in between.

        Raises:
            SpoolWriteError: nothing was lost; either all is as before, or the new one's first checkpoint waits here.
        """
        self.take(now_ns)
        self.incarnation = self._spool.successor(self.incarnation, now_ns)
        self._number = 0
        self._statuses.go_on_anew()
        for one in self._sources:
            one.go_on_anew()
        self.take(now_ns)

    def _store(self) -> None:
        if self._pending is None:
            return
        try:
            shipping = self._executor.shipping
            begun_s = shipping.clock()
            self._spool.store(self.incarnation, self._pending, self.room.make)
            shipping.stored(sum(len(frame.body) for frame in self._pending.frames), shipping.clock() - begun_s)
        except SpoolWriteError:
            self.failures += 1
            raise
        self._pending = None
        self.room.settle()
        self.stored += 1

    def _heartbeat(self, now_ns: int, *, clean: bool) -> Heartbeat:
        incarnation = self.incarnation
        return Heartbeat(
            agent=incarnation.agent,
            host=self._host,
            machine_id=self._machine,
            started_ns=incarnation.started_ns,
            sent_ns=now_ns,
            clean=clean,
            queries=query_progress(
                self._plans(),
                self._sources,
                incarnation,
                backlog=self._spool.holds_earlier_than(incarnation),
                bounds=self._bounds(),
                missed=self._readers.missed(),
            ),
            counters=self._counters(),
            previous_incarnation=incarnation.previous,
            previous_sequence=incarnation.previous_sequence,
        )

    def _bounds(self) -> dict[str, Bounds]:
        return {run.chain.plan.version: run.bounds for run in self._executor.runs if run.bounds != ALWAYS}

    def _plans(self) -> list[Plan]:
        return [run.chain.plan for run in self._executor.runs]
