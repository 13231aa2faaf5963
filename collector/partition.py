"""One claimed partition: takes frames in order, keeps what they add, and flushes it with the new position.

Every frame ends in exactly one place: its additions, a duplicate count, quarantine, or the dead letters with a reason.
All memory here belongs to one claim; the runner throws the whole object away on revoke, on a fence failure and before
every new claim.
"""

import logging
from dataclasses import replace

import sqlalchemy as sa

from collector.config import CollectorConfig
from collector.errors import UnusableFrameError
from collector.marks import Mark
from collector.pending import Pending
from collector.plans import Plans
from pipeline.errors import PipelineError
from pipeline.manifest import MANIFEST_SCHEMA, Manifest, window_counts
from pipeline.partial import Partial
from pipeline.schema import polars_schema
from store.claims import Claim
from store.fleet import AgentReport, Interruption, VersionProgress
from store.flush import DeadLetter, Flush, Quarantined, quarantine_size, quarantined_frames, write_flush
from store.series import SeriesIds
from wire.columns import unpack_columns
from wire.errors import CorruptFrameError, NewerFrameError
from wire.frame import WIRE_VERSION, Frame, Header, decode_frame
from wire.heartbeat import decode_heartbeat
from wire.transport import Record

log = logging.getLogger(__name__)


class Partition:
    """A partition under one claim."""

    def __init__(
        self, config: CollectorConfig, engine: sa.Engine, held: Claim, plans: Plans, series: SeriesIds
    ) -> None:
        """Start from what the last flush left; the caller seeks to `position`."""
        self._config = config
        self._engine = engine
        self._claim = held
        self._plans = plans
        self._series = series
        self._marks = {(row.agent, row.incarnation): Mark.from_row(row) for row in held.marks}
        self._moved: set[tuple[str, str]] = set()
        self._pending = Pending()
        self._spool_age_ns = round(config.spool_age_s * 1e9)
        self.position = held.next_offset
        with engine.connect() as connection:
            self._kept_frames = quarantine_size(connection, held.topic, held.partition)

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames whose additions are in memory."""
        return self._pending.bytes

    def take(self, record: Record, now_ns: int) -> bool:
        """Take one record in; False when it must wait because the quarantine is full (nothing was changed).

        The record must be the one at `position`.
        """
        pending = self._pending
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
        pending.count("frames")
        pending.count("bytes", len(record.payload))
        pending.bytes += len(record.payload)
        self.position = record.offset + 1
        return True

    def skip_to(self, offset: int) -> None:
        """Go on at `offset`: what lies between is gone from the transport. Counted, and seen in coverage as gaps."""
        self._pending.count("skipped_offsets", max(0, offset - self.position))
        self.position = offset

    def release(self, now_ns: int) -> int:
        """Take in quarantined frames whose version is usable by now; returns how many."""
        versions = self._plans.usable() + [f"wire:{version}" for version in range(1, WIRE_VERSION + 1)]
        with self._engine.connect() as connection:
            kept = quarantined_frames(connection, self._claim.topic, self._claim.partition, versions)
        kept = [row for row in kept if row[0] not in self._pending.released]
        for row_id, offset, marked, payload in kept:
            record = Record(self._claim.partition, offset, payload)
            try:
                frame = decode_frame(payload)
            except CorruptFrameError as error:
                self._bury(record, str(error))
            else:
                header = frame.header
                if marked or self._mark(header).accept(header.sequence, header.created_ns, now_ns):
                    self._apply_or_bury(frame, record)
            self._pending.released.append(row_id)
            self._kept_frames -= 1
        return len(kept)

    def flush(self, now_ns: int) -> int:
        """Write everything since the last flush in one transaction; returns the position it reached.

        Raises:
            FencedError: the partition is somebody else's; throw this object away.
            sqlalchemy.exc.SQLAlchemyError: nothing was written; call again later.
        """
        self._close_gaps(now_ns)
        pending = self._pending
        flush = Flush(
            next_offset=self.position,
            now_ns=now_ns,
            counts=pending.counts(),
            partials=pending.partials(),
            arrivals=pending.arrivals(),
            marks=[self._marks[key].row() for key in sorted(self._moved)],
            idle_marks_before_ns=now_ns - self._spool_age_ns,
            reports=list(pending.reports()),
            interruptions=pending.interruptions,
            quarantined=pending.quarantined,
            released=pending.released,
            dead_letters=pending.dead_letters,
        )
        if self._is_empty(flush):
            return self.position
        write_flush(self._engine, self._claim, flush, self._plans.versions, self._series)
        self._claim = replace(self._claim, next_offset=flush.next_offset)
        self._pending = Pending()
        self._moved.clear()
        old = [key for key, mark in self._marks.items() if mark.updated_ns < now_ns - self._spool_age_ns]
        for key in old:
            del self._marks[key]
        return self.position

    def _is_empty(self, flush: Flush) -> bool:
        return flush.next_offset == self._claim.next_offset and not (flush.marks or flush.released)

    def _take_frame(self, frame: Frame, record: Record, now_ns: int) -> bool:
        header = frame.header
        reason = self._plans.unusable(header.version) if header.version else None
        if reason is not None and self._quarantine_full():
            return False
        mark = self._mark(header)
        if not mark.accept(header.sequence, header.created_ns, now_ns):
            self._pending.count("duplicates")
        elif reason is not None:
            self._quarantine(record, header.version, reason, marked=True)
        else:
            self._apply_or_bury(frame, record)
        return True

    def _check_place(self, header: Header, record: Record, now_ns: int) -> None:
        if header.partition != record.partition:
            raise UnusableFrameError(
                f"frame of {header.agent} was made for partition {header.partition} and came on {record.partition}"
            )
        known = (header.agent, header.incarnation) in self._marks
        if not known and header.created_ns < now_ns - self._spool_age_ns:
            age_s = (now_ns - header.created_ns) / 1e9
            raise UnusableFrameError(
                f"frame of {header.agent} is {age_s:.0f} s old and its incarnation is forgotten after "
                f"{self._config.spool_age_s:g} s (collector.spool_age_s); it may have been counted before"
            )

    def _mark(self, header: Header) -> Mark:
        key = (header.agent, header.incarnation)
        if key not in self._marks:
            self._marks[key] = Mark(header.agent, header.incarnation, header.started_ns)
        self._moved.add(key)
        return self._marks[key]

    def _apply_or_bury(self, frame: Frame, record: Record) -> None:
        try:
            self._apply(frame)
        except (CorruptFrameError, UnusableFrameError, PipelineError) as error:
            self._bury(record, str(error))

    def _apply(self, frame: Frame) -> None:
        header = frame.header
        if header.kind == "heartbeat":
            self._apply_heartbeat(frame)
        elif header.kind == "status":
            return
        elif not header.version:
            raise UnusableFrameError(f"a {header.kind} frame of {header.agent} names no query version")
        elif header.kind == "partial":
            self._apply_partial(frame)
        elif header.kind == "drained":
            self._apply_drained(frame)
        else:
            manifest = Manifest.from_frame(unpack_columns(frame.body, MANIFEST_SCHEMA))
            version_id = self._plans.versions[header.version].version_id
            self._pending.add_manifest(version_id, header.agent, manifest)

    def _apply_partial(self, frame: Frame) -> None:
        header = frame.header
        version = self._plans.versions[header.version]
        partial = Partial.from_frame(version.plan, unpack_columns(frame.body, Partial.schema(version.plan)))
        self._pending.add_partial(header.version, partial)
        records = 0
        for window_ns, rows in partial.record_counts().items():
            self._pending.arrived(version.version_id, window_ns, header.agent, got_local=rows)
            records += rows
        self._pending.count("records", records)

    def _apply_drained(self, frame: Frame) -> None:
        header = frame.header
        version = self._plans.versions[header.version]
        chain = self._plans.chain(header.version)
        rows = unpack_columns(frame.body, polars_schema(chain.schema_at(header.cut)))
        windows, counts = window_counts(rows, version.plan.window_ns)
        self._pending.add_partial(header.version, chain.finish(rows, after=header.cut))
        for window_ns, count in zip(windows.tolist(), counts.tolist(), strict=True):
            self._pending.arrived(version.version_id, window_ns, header.agent, got_drained=count)
        self._pending.count("records", rows.height)

    def _apply_heartbeat(self, frame: Frame) -> None:
        header, beat = frame.header, decode_heartbeat(frame.body)
        if beat.agent != header.agent:
            raise UnusableFrameError(f"heartbeat of {beat.agent} in a frame of {header.agent}")
        known = [
            (self._plans.versions[q.version].version_id, q) for q in beat.queries if q.version in self._plans.versions
        ]
        self._pending.add_report(
            AgentReport(
                agent=beat.agent,
                host=beat.host,
                machine_id=beat.machine_id,
                incarnation=header.incarnation,
                started_ns=beat.started_ns,
                sent_ns=beat.sent_ns,
                counters=beat.counters,
                progress=[VersionProgress(version_id, q.first_ns, q.watermark_ns) for version_id, q in known],
            )
        )
        self._pending.interruptions.extend(
            Interruption(beat.agent, version_id, q.interrupted_from_ns, q.interrupted_to_ns, "unclean end")
            for version_id, q in known
            if q.interrupted_from_ns is not None and q.interrupted_to_ns is not None
        )

    def _close_gaps(self, now_ns: int) -> None:
        for key, mark in self._marks.items():
            for gap in mark.close_gaps(now_ns - self._spool_age_ns):
                lost = gap.high - gap.low + 1
                log.warning(
                    "frames lost agent=%s incarnation=%s sequences=%d-%d",
                    mark.agent,
                    mark.incarnation,
                    gap.low,
                    gap.high,
                )
                self._pending.count("lost_frames", lost)
                self._moved.add(key)
                self._pending.interruptions.extend(
                    Interruption(mark.agent, version.version_id, gap.from_ns, gap.to_ns, "lost frames")
                    for version in self._plans.versions.values()
                )

    def _quarantine_full(self) -> bool:
        return self._kept_frames >= self._config.quarantine_max_frames

    def _quarantine(self, record: Record, version: str, reason: str, *, marked: bool) -> None:
        log.warning("frame quarantined partition=%d offset=%d reason=%s", record.partition, record.offset, reason)
        self._pending.quarantined.append(Quarantined(record.offset, version, reason, marked, record.payload))
        self._pending.count("quarantined")
        self._kept_frames += 1

    def _bury(self, record: Record, reason: str) -> None:
        log.warning("dead letter partition=%d offset=%d reason=%s", record.partition, record.offset, reason)
        self._pending.dead_letters.append(DeadLetter(record.offset, reason, record.payload))
        self._pending.count("dead_letters")
