"""One claimed partition: takes frames in order, keeps what they add, and flushes it with the new position.

Every frame ends in exactly one place: its additions, a duplicate count, quarantine, or the dead letters with a reason.
Only one that is partly too far ahead ends in two: what can be used is added, and all of it is kept as a dead letter.
All memory here belongs to one claim; the runner throws the whole object away on revoke, on a fence failure and before
every new claim.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from collector import own_metrics
from collector.additions import add_frame, add_heartbeat
from collector.agent_clocks import AgentClocks
from collector.clock import ClockBounds, utc
from collector.config import CollectorConfig
from collector.errors import UnusableFrameError
from collector.marks import Gap, Mark
from collector.pending import Pending
from collector.plans import Plans
from collector.series_limit import SeriesLimit
from collector.spool_copies import SpoolCopies
from pipeline.gathering import Gathering
from store.claims import Claim
from store.flush import DeadLetter, Flush, Quarantined, quarantine_size, quarantined_frames, write_flush
from store.interruptions import MissingFrames
from store.leases import known_clocks_ns
from store.series import SeriesIds
from store.texts import storable_text
from wire.errors import CorruptFrameError, NewerFrameError, WireError
from wire.frame import WIRE_VERSION, Frame, Header, decode_frame
from wire.heartbeat import decode_heartbeat
from wire.transport import Record

log = logging.getLogger(__name__)

# Frames come in order but for a resend after a failure, which takes a second or two. Not later: until then an answer
# counts as complete.
MISSED_AFTER_NS = 10 * 10**9
RELEASED_AT_ONCE = 256
_REASON_MAX = 2_000


class Partition:
    """A partition under one claim."""

    def __init__(
        self,
        config: CollectorConfig,
        engine: sa.Engine,
        held: Claim,
        plans: Plans,
        series: SeriesIds,
        limit: SeriesLimit,
        beside: Mapping[int, "Partition"],
    ) -> None:
        """Start from what the last flush left; the caller seeks to `position`.

        `beside` are the partitions held here, by number: their marks are newer than the database's.
        """
        self._config = config
        self._engine = engine
        self._claim = held
        self._plans = plans
        self._series = series
        self._limit = limit
        self._clocks = AgentClocks()
        self._marks = {(row.agent, row.incarnation): Mark.from_row(row) for row in held.marks}
        self._moved: set[tuple[str, str]] = set()
        self._pending = Pending()
        self._beside = beside
        self._copies = SpoolCopies(engine, held.topic, plans, self._marks)
        self._spool_age_ns = round(config.spool_age_s * 1e9)
        self._future_max_ns = round(config.future_max_s * 1e9)
        self.position = held.next_offset
        with engine.connect() as connection:
            self.kept_frames = quarantine_size(connection, held.topic, held.partition)
            clocks_ns = known_clocks_ns(connection, time.time_ns())
        self._clock = ClockBounds(clocks_ns, max((row.updated_ns for row in held.marks), default=0))

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames whose additions are in memory, and of the lines in them."""
        return self._pending.bytes

    def gathered(self) -> Iterable[Gathering]:
        """Groups that the next flush writes."""
        return self._pending.gathered()

    def sequence_of(self, agent: str, incarnation: str) -> int:
        """The highest sequence of a start that was taken in, flushed or not; 0 where it is not known."""
        mark = self._marks.get((agent, incarnation))
        return 0 if mark is None else mark.sequence

    def take(self, record: Record, now_ns: int) -> bool:
        """Take one record in; False when it must wait because the quarantine is full (nothing was changed).

        The record is the one at `position`, or lies behind a hole in the transport.
        """
        if record.offset > self.position:
            hole = self._claim.partition, self.position, record.offset - 1
            log.warning("hole in the transport partition=%d offsets=%d-%d", *hole)
            self.skip_to(record.offset)
        try:
            frame = decode_frame(record.payload)
            self._check_place(frame.header, record, now_ns)
        except NewerFrameError as error:
            if self._quarantine_full():
                return False
            self._quarantine(record, f"wire:{error.seen}", str(error), marked=False)
        except (CorruptFrameError, UnusableFrameError) as error:
            self._bury(record, str(error))
        else:
            if not self._take_frame(frame, record, now_ns):
                return False
        self._passed(record)
        return True

    def bury(self, record: Record, reason: str) -> None:
        """Take a record in as a dead letter, unread: flushing what it says was tried and cannot be done."""
        self._bury(record, reason)
        self._passed(record)

    def skip_to(self, offset: int) -> None:
        """Go on at `offset`: what lies between is gone from the transport. Counted, and seen in coverage as gaps."""
        self._pending.count("skipped_offsets", max(0, offset - self.position))
        self.position = offset

    def release(self, now_ns: int) -> int:
        """Take in quarantined frames whose version is usable by now, oldest first; returns how many.

        When it returns RELEASED_AT_ONCE, there may be more: flush, then call again.
        """
        if not self.kept_frames:
            return 0
        versions = self._plans.usable() + [f"wire:{version}" for version in range(1, WIRE_VERSION + 1)]
        after_id = max(self._pending.released, default=0)
        with self._engine.connect() as connection:
            kept = quarantined_frames(
                connection, self._claim.topic, self._claim.partition, versions, after_id, RELEASED_AT_ONCE
            )
        for row_id, offset, marked, payload in kept:
            self._pending.released.append(row_id)
            self.kept_frames -= 1
            self._take_released(Record(self._claim.partition, offset, payload), marked=marked, now_ns=now_ns)
        return len(kept)

    def flush(self, now_ns: int) -> int:
        """Write everything since the last flush in one transaction; returns the position it reached.

        Raises:
            FencedError: the partition is somebody else's; throw this object away.
            sqlalchemy.exc.SQLAlchemyError: nothing was written; call again later.
        """
        forget_before_ns = self._clock.earliest(now_ns) - self._spool_age_ns
        self._look_at_gaps(now_ns)
        pending = self._pending
        flush = Flush(
            next_offset=self.position,
            now_ns=self._clock.latest(now_ns),
            counts=pending.counts(),
            partials=pending.partials(),
            arrivals=pending.arrivals(),
            marks=[self._marks[key].row() for key in sorted(self._moved)],
            idle_marks_before_ns=forget_before_ns,
            reports=[
                replace(report, clock_offset_ns=self._clocks.ahead_ns(report.agent, report.incarnation))
                for report in pending.reports()
            ],
            statuses=pending.statuses(),
            interruptions=pending.interruptions,
            missing=pending.missing,
            arrived_late=pending.arrived_late,
            refusals=pending.refusals(),
            quarantined=pending.quarantined,
            released=pending.released,
            dead_letters=pending.dead_letters,
            dead_letters_max_bytes=self._config.dead_letters_max_bytes,
        )
        if flush.next_offset == self._claim.next_offset and not (flush.marks or flush.released):
            return self.position
        turned_out = write_flush(self._engine, self._claim, flush, self._plans.versions, self._series)
        own_metrics.records_too_old.inc(turned_out.too_old)
        own_metrics.records_too_new.inc(flush.counts.too_new)
        own_metrics.skipped_offsets.inc(flush.counts.skipped_offsets)
        own_metrics.missing_frames.inc(pending.missing_frames)
        own_metrics.lost_frames.inc(flush.counts.lost_frames)
        own_metrics.shared_ids.inc(turned_out.shared_ids)
        own_metrics.restored_spools.inc(turned_out.restored_spools)
        if turned_out.restored_spools:
            self._copies.load()
        own_metrics.dead_letters.inc(flush.counts.dead_letters)
        own_metrics.dead_letters_dropped.inc(turned_out.dead_letters_dropped)
        for refusal in flush.refusals:
            own_metrics.records_over_series_max.labels(refusal.query).inc(refusal.records)
        self._claim = replace(self._claim, next_offset=flush.next_offset, flushes=self._claim.flushes + 1)
        self._pending = Pending()
        self._moved.clear()
        idle = [key for key, mark in self._marks.items() if mark.updated_ns < forget_before_ns]
        for key in idle:
            del self._marks[key]
            self._clocks.forget(*key)
        return self.position

    def _take_frame(self, frame: Frame, record: Record, now_ns: int) -> bool:
        header = frame.header
        reason = self._plans.unusable(header.version) if header.version else None
        if reason is not None and self._quarantine_full():
            return False
        if not self._accept(header, now_ns):
            self._pending.count("duplicates")
        elif reason is not None:
            self._quarantine(record, header.version, reason, marked=True)
        else:
            if header.kind == "heartbeat":
                self._clocks.heard(header.agent, header.incarnation, header.created_ns, now_ns)
            self._add_or_bury(frame, record, now_ns)
        return True

    def _take_released(self, record: Record, *, marked: bool, now_ns: int) -> None:
        try:
            frame = decode_frame(record.payload)
        except WireError as error:
            self._bury(record, str(error))
            return
        header = frame.header
        reason = self._plans.unusable(header.version) if header.version else None
        if not marked and not self._accept(header, now_ns):
            self._pending.count("duplicates")
        elif reason is not None:
            self._quarantine(record, header.version, reason, marked=True)
        else:
            self._add_or_bury(frame, record, now_ns)

    def _check_place(self, header: Header, record: Record, now_ns: int) -> None:
        if header.partition != record.partition:
            raise UnusableFrameError(
                f"frame of {header.agent} was made for partition {header.partition} and came on {record.partition}"
            )
        known = (header.agent, header.incarnation) in self._marks
        age_s = (self._clock.earliest(now_ns) - header.created_ns) / 1e9
        if not known and age_s > self._config.spool_age_s:
            raise UnusableFrameError(
                f"frame of {header.agent} is {age_s:.0f} s old and its incarnation is forgotten after "
                f"{self._config.spool_age_s:g} s (collector.spool_age_s); it may have been counted before"
            )

    def _accept(self, header: Header, now_ns: int) -> bool:
        """Whether the frame is new, noted in its incarnation's mark."""
        now_ns = self._clock.earliest(now_ns)
        key = (header.agent, header.incarnation)
        mark = self._marks.get(key)
        if mark is None:
            mark = self._marks[key] = Mark(header.agent, header.incarnation, header.started_ns)
            if header.started_ns < now_ns - self._spool_age_ns:
                # Its mark may have been forgotten while it was silent: what came before may have been counted.
                mark.begin_at(header.sequence)
                self._pending.missing.append(MissingFrames(header.agent, header.started_ns, header.created_ns))
        self._moved.add(key)
        missed = mark.stretches_missed()
        accepted = mark.accept(header.sequence, header.created_ns, now_ns)
        for stretch in missed - mark.stretches_missed():
            self._pending.arrived_late.append(MissingFrames(header.agent, *stretch))
        return accepted

    def _add_or_bury(self, frame: Frame, record: Record, now_ns: int) -> None:
        latest_ns = self._clock.latest(now_ns)
        left_out = None
        try:
            if frame.header.kind == "heartbeat":
                beat = decode_heartbeat(frame.body)
                restored = self._copies.judge(frame.header, beat, self._highest_mark)
                add_heartbeat(frame.header, beat, self._plans, self._pending, restored=restored)
            else:
                self._copies.check(frame.header)
                newest_ns = latest_ns + self._future_max_ns
                left_out = add_frame(frame, self._plans, self._pending, self._limit, newest_ns)
        except (MemoryError, SQLAlchemyError):
            raise
        # One frame must never end the collector, again on every restart: whatever is wrong with it is the reason of
        # its dead letter. Polars' panics are no Exceptions.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001
            self._bury(record, str(error) or type(error).__name__)
        else:
            if left_out is not None:
                self._bury(
                    record,
                    f"{left_out}; that is more than {self._config.future_max_s:g} s (collector.future_max_s) ahead of "
                    f"{utc(latest_ns)}, the clock here: these records are left out and counted in too_new, the others "
                    "are stored; set the agent's clock right",
                )

    def _highest_mark(self, agent: str, incarnation: str) -> int:
        held = [self, *self._beside.values()]
        return max(partition.sequence_of(agent, incarnation) for partition in held)

    def _look_at_gaps(self, now_ns: int) -> None:
        now_ns = self._clock.earliest(now_ns)
        for key, mark in self._marks.items():
            missed = mark.miss_gaps(now_ns - MISSED_AFTER_NS)
            lost = mark.close_gaps(now_ns - self._spool_age_ns)
            if missed or lost:
                self._moved.add(key)
            for gap in missed:
                log.warning("frames missing %s", _place(mark, gap))
                self._pending.missing_frames += gap.high - gap.low + 1
            for gap in lost:
                log.warning("frames lost %s", _place(mark, gap))
                self._pending.count("lost_frames", gap.high - gap.low + 1)
            news = [*missed, *(gap for gap in lost if not gap.missed)]
            self._pending.missing.extend(MissingFrames(mark.agent, *gap.stretch) for gap in news)

    def _passed(self, record: Record) -> None:
        self._pending.count("frames")
        self._pending.count("bytes", len(record.payload))
        self._pending.bytes += len(record.payload)
        self.position = record.offset + 1

    def _quarantine_full(self) -> bool:
        return self.kept_frames >= self._config.quarantine_max_frames

    def _quarantine(self, record: Record, version: str, reason: str, *, marked: bool) -> None:
        log.warning("frame quarantined partition=%d offset=%d reason=%s", record.partition, record.offset, reason)
        kept = Quarantined(record.offset, version, storable_text(reason, _REASON_MAX), marked, record.payload)
        self._pending.quarantined.append(kept)
        self._pending.count("quarantined")
        self.kept_frames += 1

    def _bury(self, record: Record, reason: str) -> None:
        log.warning("dead letter partition=%d offset=%d reason=%s", record.partition, record.offset, reason)
        self._pending.dead_letters.append(DeadLetter(record.offset, storable_text(reason, _REASON_MAX), record.payload))
        self._pending.count("dead_letters")


def _place(mark: Mark, gap: Gap) -> str:
    return f"agent={mark.agent} incarnation={mark.incarnation} sequences={gap.low}-{gap.high}"
