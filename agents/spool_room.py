"""What gives way when the spool has reached its cap, in the order of what it costs.

Only frames that were never handed over are touched: of one that was, the collector may already hold a copy.
First what says nothing new goes (statuses and heartbeats that a later one replaces), then manifests and partials of
one query become one, oldest first, which loses nothing because they are sums; last, drained rows of live sources are
dropped, oldest first, and the manifest that counts them is changed to say so. Those of a file are never dropped:
the position stored with them says that they need not be read again. They may exceed the cap by what one checkpoint
holds; the agent reads no further then. Merged partials take the oldest place and merged manifests the
newest, which keeps every partial and every drained row before the manifest that counts it. All of this happens within
one incarnation: its heartbeats vouch for its own frames, and a backlog may go slower than what is live.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agents.frames import MAX_BODY_BYTES, manifest_frames, moved, partial_frame, pieces
from agents.waiting import SpoolFrame, Waiting, WaitingFrames
from pipeline.chain import Chain
from pipeline.errors import PipelineError
from pipeline.manifest import MANIFEST_SCHEMA, Manifest, drained, dropped, window_counts
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.schema import polars_schema
from wire.columns import unpack_columns, unpack_ragged
from wire.errors import CorruptFrameError

log = logging.getLogger(__name__)

SPOOL_FULL: Final = "spool_full"
# A merge reads this much at most, so that the merged frame fits and one pass over a backlog stays linear.
MERGED_BYTES: Final = MAX_BODY_BYTES // 2


@dataclass(slots=True)
class GivenUp:
    """What making room cost."""

    dropped_rows: int = 0
    merged_frames: int = 0


class SpoolRoom:
    """Makes room for the queries it knows; frames of others stay as they are.

    What it gave up counts only once the transaction is known to be on disk: `settle` says so, and a call of `make`
    without one forgets what a transaction before it that was rolled back had given up.
    """

    def __init__(self, chains: Iterable[Chain], replayed: Collection[str] = ()) -> None:
        """`chains` are those of the running queries; `replayed` the streams that a replayable source feeds."""
        self._chains: Mapping[str, Chain] = {chain.plan.version: chain for chain in chains}
        self._replayed = frozenset(replayed)
        self._total = GivenUp()
        self._now = GivenUp()

    def know(self, chains: Iterable[Chain], replayed: Collection[str]) -> None:
        """These queries run from now on."""
        self._chains = {chain.plan.version: chain for chain in chains}
        self._replayed = frozenset(replayed)

    @property
    def dropped_rows(self) -> int:
        """Rows dropped in transactions that reached the disk."""
        return self._total.dropped_rows

    @property
    def merged_frames(self) -> int:
        """Frames merged into others in such transactions."""
        return self._total.merged_frames

    def settle(self) -> None:
        """The transaction of the last `make`, if there was one, is on disk."""
        self._total.dropped_rows += self._now.dropped_rows
        self._total.merged_frames += self._now.merged_frames
        self._now = GivenUp()

    def make(self, frames: WaitingFrames, excess_bytes: int) -> None:
        """Free `excess_bytes` or as much as may be given up, within the caller's transaction."""
        self._now = GivenUp()
        if excess_bytes <= 0:
            return
        goal = frames.bytes_added - excess_bytes
        for step in (
            self._drop_replaced_statuses,
            self._drop_replaced_heartbeats,
            self._merge_manifests,
            self._merge_partials,
            self._drop_drained,
        ):
            if frames.bytes_added <= goal:
                return
            try:
                step(frames, goal)
            except (CorruptFrameError, PipelineError) as error:  # raised before the step touches the frame
                log.error("a spooled frame cannot be read, it stays as it is error=%s", error)  # noqa: TRY400

    def _drop_replaced_statuses(self, frames: WaitingFrames, goal: int) -> None:
        del goal
        for waiting in [one for one in frames if one.kind == "status"][:-1]:
            frames.remove(waiting)

    def _drop_replaced_heartbeats(self, frames: WaitingFrames, goal: int) -> None:
        del goal
        beats: dict[int, list[Waiting]] = {}
        for waiting in frames:
            if waiting.kind == "heartbeat":
                beats.setdefault(waiting.incarnation, []).append(waiting)
        for ordinal, of_one in beats.items():
            # The very first one announces the incarnation and says whom it follows. Any other would vouch for
            # manifests that are about to be merged into later ones.
            first = 1 if frames.nothing_sent_of(ordinal) else 0
            for waiting in of_one[first:-1]:
                frames.remove(waiting)

    def _merge_manifests(self, frames: WaitingFrames, goal: int) -> None:
        del goal
        for (_, version), waiting in self._by_version(frames, "manifest").items():
            for run in _runs(reversed(waiting)):
                merged = Manifest.merge(_manifest(frames, one) for one in run)
                fitting = manifest_frames(self._plan(version), merged, run[0].created_ns)
                if len(fitting) == 1:
                    self._replace_by(frames, run, fitting[0])

    def _merge_partials(self, frames: WaitingFrames, goal: int) -> None:
        for (_, version), waiting in self._by_version(frames, "partial").items():
            plan = self._plan(version)
            for run in _runs(waiting):
                if frames.bytes_added <= goal:
                    return
                schema = Partial.schema(plan)
                parts = [Partial.from_columns(plan, unpack_ragged(frames.body(one.id), schema)) for one in run]
                fitting = list(pieces(Partial.merge(parts).sorted().to_columns()))
                if len(fitting) == 1 and fitting[0].body is not None:
                    sampled = _sampled(
                        (one.sampled, int(part.keys["rows"].sum())) for one, part in zip(run, parts, strict=True)
                    )
                    merged = partial_frame(
                        plan, fitting[0].integers("window"), fitting[0].body, run[0].created_ns, sampled
                    )
                    self._replace_by(frames, run, merged)

    def _drop_drained(self, frames: WaitingFrames, goal: int) -> None:
        for waiting in list(frames):
            if frames.bytes_added <= goal:
                return
            if waiting.kind == "drained" and self._may_drop(waiting.version):
                self._drop(frames, waiting)

    def _may_drop(self, version: str) -> bool:
        return version in self._chains and self._plan(version).source not in self._replayed

    def _drop(self, frames: WaitingFrames, waiting: Waiting) -> None:
        chain = self._chains[waiting.version]
        rows = unpack_columns(frames.body(waiting.id), polars_schema(chain.schema_at(waiting.cut)))
        windows, counts = window_counts(rows, chain.plan.window_ns)
        missing = dict(zip(windows.tolist(), counts.tolist(), strict=True))
        changes: list[tuple[Waiting, SpoolFrame]] = []
        for holder in self._by_version(frames, "manifest").get((waiting.incarnation, waiting.version), []):
            if missing and holder.id > waiting.id:
                changed, missing = moved(_manifest(frames, holder), drained(waiting.cut), dropped(SPOOL_FULL), missing)
                fitting = manifest_frames(chain.plan, changed, holder.created_ns)
                if len(fitting) != 1:
                    return
                changes.append((holder, fitting[0]))
        if missing:  # cannot be, by the order of frames; dropping rows nobody accounts for would be worse
            log.error("no manifest counts a drained frame, it stays id=%d", waiting.id)
            return
        for holder, frame in changes:
            frames.replace(holder, frame)
        frames.remove(waiting)
        self._now.dropped_rows += rows.height

    def _replace_by(self, frames: WaitingFrames, run: list[Waiting], frame: SpoolFrame) -> None:
        """`frame` in the place of the first of `run`; the others go."""
        frames.replace(run[0], frame)
        for waiting in run[1:]:
            frames.remove(waiting)
        self._now.merged_frames += len(run) - 1

    def _by_version(self, frames: WaitingFrames, kind: str) -> dict[tuple[int, str], list[Waiting]]:
        """By incarnation and version, oldest first."""
        found: dict[tuple[int, str], list[Waiting]] = {}
        for waiting in frames:
            if waiting.kind == kind and waiting.version in self._chains:
                found.setdefault((waiting.incarnation, waiting.version), []).append(waiting)
        return found

    def _plan(self, version: str) -> Plan:
        return self._chains[version].plan


def _manifest(frames: WaitingFrames, waiting: Waiting) -> Manifest:
    return Manifest.from_frame(unpack_columns(frames.body(waiting.id), MANIFEST_SCHEMA))


def _sampled(parts: Iterable[tuple[float, int]]) -> float:
    """The share taken in of all together, from (share, records taken in) of each."""
    taken, offered = 0, 0.0
    for share, records in parts:
        taken += records
        offered += records / share if share else records
    return min(1.0, taken / offered) if taken else 1.0


def _runs(waiting: Iterable[Waiting]) -> list[list[Waiting]]:
    """Neighbours that are worth merging: at least two, together no larger than MERGED_BYTES."""
    runs: list[list[Waiting]] = [[]]
    held = 0
    for frame in waiting:
        if runs[-1] and held + frame.bytes > MERGED_BYTES:
            runs.append([])
            held = 0
        runs[-1].append(frame)
        held += frame.bytes
    return [run for run in runs if len(run) > 1]
