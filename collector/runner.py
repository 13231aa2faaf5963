"""The collector's loop: claim, read, take in, flush; and what to do when any of these fails.

The database is the authority: a partition is read only under a claim, and whatever goes wrong, the partition's memory
is thrown away and reading starts again from the position of the last flush. A database that is out of reach makes the
collector keep its place and wait; frames stay in the transport. When the database refuses what a flush says, the
partition is read again record by record, and the one that is refused becomes a dead letter.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial

import sqlalchemy as sa

from collector import own_metrics
from collector.config import CollectorConfig
from collector.jobs.drives import DriveRounds
from collector.jobs.gpu_jobs import GpuRounds
from collector.jobs.rounds import Rounds
from collector.jobs.tail_jobs import TailRounds
from collector.partition import Partition
from collector.plans import Plans
from collector.series_limit import SeriesLimit
from pipeline.gathering import Gathering
from pipeline.plan import Plan
from pipeline.tables import StaticTable
from store.claims import claim
from store.connect import check_schema, cut_off, lose_patience, open_engine
from store.errors import FencedError, StoreError
from store.refusals import in_short, may_pass
from store.series import SeriesIds
from store.series_limit import note_series_max
from wire.errors import OffsetOutOfRangeError, TransportError
from wire.transport import Record, Subscriber

log = logging.getLogger(__name__)

_POLL_S = 0.1
_RETRY_S = 1.0
# Together with a last flush that has to wait for a lock, less than the 1.5 s in which a collector ends.
_LAST_READ_S = 0.5
# Long enough for a broker to hand over what the agent that stopped before us has just sent.
_LAST_POLL_S = 0.05
_LAST_WAIT_S = 0.3
# How often the collector looks for versions posted meanwhile: frames of those it does not know go through quarantine.
_REFRESH_S = 1.0
_JOBS_END_S = 0.5
# So long after the stop, a database that has not answered for _SILENT_S is waited for no more.
_CUT_OFF_S = 1.0
_SILENT_S = 0.4
_WATCH_S = 0.05


def run_collector(
    config: CollectorConfig,
    database_url: str,
    plans: Sequence[Plan],
    tables: Mapping[str, StaticTable],
    subscriber: Subscriber,
    stop: threading.Event,
) -> None:
    """Run until `stop` is set, then take in and flush what can be had within about a second.

    Raises:
        SchemaError: the database has not this program's schema.
        MetricTakenError, MetricChangedError: the plans contradict what the database knows.
    """
    engine, beside = open_engine(database_url), open_engine(database_url)
    try:
        with _ending_in_time(stop, engine, beside):
            check_schema(engine)
            known = Plans(engine, tables)
            known.register(plans, time.time_ns(), round(config.valid_from_lead_s * 1e9))
            note_series_max(engine, config.series_max)
            if config.metrics_port:
                patience_s = max(own_metrics.UNWELL_AFTER_S, 3 * config.flush_interval_s)
                own_metrics.serve(config.metrics_host, config.metrics_port, patience_s)
            with _jobs_beside(config, beside, stop):
                Collector(config, engine, known, subscriber).run(stop)
    finally:
        engine.dispose()
        beside.dispose()


@contextmanager
def _ending_in_time(stop: threading.Event, *engines: sa.Engine) -> Iterator[None]:
    """For as long as the block runs: a database that does not answer does not keep it from ending after `stop`."""
    ended = threading.Event()

    def watch() -> None:
        while not stop.wait(_WATCH_S):
            if ended.is_set():
                return
        silent = set(engines)
        ended.wait(_CUT_OFF_S)
        while silent and not ended.wait(_WATCH_S):
            cut = {engine for engine in silent if cut_off(engine, _SILENT_S)}
            if cut:
                log.warning("database does not answer, waiting for it no more; what is not stored stays in transport")
            silent -= cut

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def _jobs_beside(config: CollectorConfig, engine: sa.Engine, stop: threading.Event) -> Iterator[None]:
    """The scheduled jobs in threads with connections of their own, for as long as the block runs."""
    owner = owner_name(config)
    kinds = Rounds, DriveRounds, GpuRounds, TailRounds
    rounds = [kind(config, engine, owner) for kind in kinds]
    threads = [threading.Thread(target=one.run, args=(stop,), daemon=True) for one in rounds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        # Cut short in the middle of a transaction, one has written nothing; its lease runs out.
        until_s = time.monotonic() + _JOBS_END_S
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))


def owner_name(config: CollectorConfig) -> str:
    """What this collector is called in claims and leases."""
    return config.id or f"{socket.gethostname()}-{os.getpid()}"


class Collector:
    """One member of the group that shares the partitions."""

    def __init__(self, config: CollectorConfig, engine: sa.Engine, plans: Plans, subscriber: Subscriber) -> None:
        """Subscribe; partitions are claimed by `step` as the transport assigns them."""
        self._config = config
        self._engine = engine
        self._plans = plans
        self._subscriber = subscriber
        self._owner = owner_name(config)
        self._series = SeriesIds()
        self._limit = SeriesLimit(engine, config.series_max, self._series, self._gathered)
        self._held: dict[int, Partition] = {}
        self._unclaimed: dict[int, float] = {}
        self._waiting: set[int] = set()
        self._told: dict[int, int] = {}
        # When all that was read of a partition was last in the database; kept while memory comes and goes.
        self._flushed_s: dict[int, float] = {}
        # Partitions read record by record: up to which offset, and which record turned out to be unwritable and why.
        self._careful_until: dict[int, int] = {}
        self._unwritable: dict[int, tuple[int, str]] = {}
        self._next_flush = time.monotonic() + config.flush_interval_s
        self._next_refresh = 0.0
        self._failing = False
        self._readable = True
        self._read_after = 0.0
        # Partitions whose lag is shown; one that went to another collector must not stand still here.
        self._lagging: Set[int] = frozenset()
        subscriber.subscribe(self._assigned, self._revoked)

    def run(self, stop: threading.Event) -> None:
        """Steps until `stop`, then one last read and flush."""
        while not stop.is_set():
            self.step(_POLL_S)
        self.finish()

    def step(self, poll_s: float) -> None:
        """Claim what waits to be claimed, read once, flush when it is time."""
        self._claim_waiting()
        self._read(poll_s)
        if (self._full() and not self._failing) or time.monotonic() >= self._next_flush:
            self._next_flush = time.monotonic() + self._config.flush_interval_s
            self._refresh_plans()
            self.flush()

    def flush(self) -> bool:
        """Flush every held partition; True when all went through."""
        self._failing = False
        results = [self._flush_one(number) for number in sorted(self._held)]
        own_metrics.pending_bytes.set(self._pending_bytes())
        self._show_lag()
        return all(results)

    def finish(self) -> None:
        """Take in what is there now and flush it; what cannot be flushed stays in the transport."""
        deadline = time.monotonic() + _LAST_READ_S
        while self._read(_LAST_POLL_S) and time.monotonic() < deadline:
            pass
        try:
            lose_patience(self._engine, _LAST_WAIT_S)
        except sa.exc.SQLAlchemyError as error:
            log.warning("last flush not possible error=%s", in_short(error))
            return
        for number in sorted(self._held):
            if not self._flush_one(number):
                return

    def _read(self, poll_s: float) -> int:
        wait_s = self._read_after - time.monotonic()
        if wait_s > 0:
            time.sleep(min(wait_s, poll_s))
            return 0
        try:
            records = self._subscriber.poll(poll_s, self._config.poll_records)
        except OffsetOutOfRangeError as error:
            self._out_of_range(error)
            return 0
        except TransportError as error:
            self._unreadable(error)
            return 0
        if records and not self._readable:
            log.info("transport readable again")
            self._readable = True
        now_ns = time.time_ns()
        for record in records:
            self._take(record, now_ns)
        return len(records)

    def _unreadable(self, error: TransportError) -> None:
        own_metrics.transport_failures.inc()
        if self._readable:
            log.warning("transport not readable, still trying error=%s", error)
        self._readable = False
        self._read_after = time.monotonic() + _RETRY_S

    def _take(self, record: Record, now_ns: int) -> None:
        partition = self._held.get(record.partition)
        # A record handed out before the partition was lost, blocked or moved: it will come again.
        if partition is None or record.partition in self._waiting or record.offset < partition.position:
            return
        if self._unwritable.get(record.partition, (None, ""))[0] == record.offset:
            partition.bury(record, self._unwritable[record.partition][1])
        elif not self._taken(partition, record, now_ns):
            return
        own_metrics.frames.inc()
        own_metrics.frame_bytes.inc(len(record.payload))
        if record.partition in self._careful_until:
            self._take_carefully(record, partition)

    def _taken(self, partition: Partition, record: Record, now_ns: int) -> bool:
        try:
            taken = partition.take(record, now_ns)
        except sa.exc.SQLAlchemyError as error:
            log.warning("database not readable partition=%d error=%s", record.partition, in_short(error))
            self._drop(frozenset({record.partition}), retry_s=_RETRY_S)
            return False
        if not taken:
            log.warning("partition waits partition=%d reason=quarantine full", record.partition)
            self._waiting.add(record.partition)
            self._subscriber.pause(frozenset({record.partition}))
            self._subscriber.seek(record.partition, record.offset)
        return taken

    def _take_carefully(self, record: Record, partition: Partition) -> None:
        number = record.partition
        if self._flush_one(number) and partition.position >= self._careful_until[number]:
            log.info("partition read record by record again partition=%d position=%d", number, partition.position)
            del self._careful_until[number]
            self._unwritable.pop(number, None)

    def _flush_one(self, number: int) -> bool:
        try:
            with own_metrics.flush_seconds.time():
                reached = self._held[number].flush(time.time_ns())
        except FencedError as error:
            own_metrics.flush_failures.labels("fenced").inc()
            log.warning("fenced partition=%d error=%s", number, error)
            self._drop(frozenset({number}), retry_s=_RETRY_S)
            return False
        except StoreError:
            raise
        except Exception as error:
            if isinstance(error, sa.exc.SQLAlchemyError) and may_pass(error):
                own_metrics.flush_failures.labels("database").inc()
                log.warning("flush failed partition=%d error=%s", number, in_short(error))
                self._hold_back(number)
                return False
            # The database is there and refuses what this flush says: one of its frames must be the reason.
            own_metrics.flush_failures.labels("refused").inc()
            log.exception("flush refused partition=%d", number)
            self._isolate(number, error)
            return False
        self._flushed_s[number] = time.monotonic()
        if number not in self._waiting:
            self._subscriber.resume(frozenset({number}))
        self._tell_transport(number, reached)
        return True

    def _isolate(self, number: int, error: Exception) -> None:
        """Read the partition again, record by record; in the second round the last record taken is to blame."""
        last_taken = self._held[number].position - 1
        if number not in self._careful_until:
            self._careful_until[number] = last_taken + 1
        elif self._unwritable.get(number, (None, ""))[0] == last_taken:
            raise error  # not even its dead letter can be written: nothing that reading on could help
        else:
            self._unwritable[number] = last_taken, f"the database refuses it: {in_short(error)}"
        self._drop(frozenset({number}), retry_s=0.0)

    def _tell_transport(self, number: int, reached: int) -> None:
        if self._told.get(number) == reached:
            return
        try:
            self._subscriber.committed(number, reached)
            self._told[number] = reached
        except TransportError as error:
            # Advice only: the records are in the database, the transport keeps them a little longer.
            log.warning("transport not told of commit partition=%d error=%s", number, error)

    def _hold_back(self, number: int) -> None:
        """Stop reading while nothing can be written and memory is full; the place is kept."""
        self._failing = True
        self._next_flush = time.monotonic() + _RETRY_S
        if self._full():
            self._subscriber.pause(frozenset({number}))

    def _show_lag(self) -> None:
        """Records in the transport that are not in the database yet, per partition that is ours."""
        ends = self._subscriber.ends()
        lags = {number: max(0, ends[number] - reached) for number, reached in self._told.items() if number in ends}
        for number, lag in lags.items():
            own_metrics.lag_records.labels(str(number)).set(lag)
        for number in self._lagging - lags.keys():
            own_metrics.lag_records.remove(str(number))
        self._lagging = lags.keys()

    def _pending_bytes(self) -> int:
        return sum(partition.pending_bytes for partition in self._held.values())

    def _gathered(self) -> Iterable[Gathering]:
        return (groups for held in self._held.values() for groups in held.gathered())

    def _full(self) -> bool:
        return self._pending_bytes() >= self._config.max_pending_bytes

    def _refresh_plans(self) -> None:
        """Now and then, look for new versions and take in what waits for them."""
        if time.monotonic() < self._next_refresh:
            return
        self._next_refresh = time.monotonic() + _REFRESH_S
        try:
            self._plans.refresh()
            for number in sorted(self._held):
                self._release(number)
        except sa.exc.SQLAlchemyError as error:
            log.warning("plans not readable error=%s", in_short(error))

    def _release(self, number: int) -> None:
        partition = self._held[number]
        while partition.kept_frames:
            try:
                released = partition.release(time.time_ns())
            except sa.exc.SQLAlchemyError as error:
                log.warning("quarantine not readable partition=%d error=%s", number, in_short(error))
                self._drop(frozenset({number}), retry_s=_RETRY_S)
                return
            if released:
                log.info("quarantine released partition=%d frames=%d", number, released)
            if not released or not self._flush_one(number):
                break
        if number in self._waiting and partition.kept_frames < self._config.quarantine_max_frames:
            self._waiting.discard(number)
            self._subscriber.resume(frozenset({number}))

    def _out_of_range(self, error: OffsetOutOfRangeError) -> None:
        log.warning("offset out of range, going on at the earliest record error=%s", error)
        own_metrics.offset_resets.inc()
        if error.partition in self._held:
            self._held[error.partition].skip_to(error.earliest)
        self._subscriber.seek(error.partition, error.earliest)

    def _assigned(self, partitions: frozenset[int]) -> None:
        for number in partitions:
            self._flushed_s[number] = time.monotonic()
            # Asked for when it is scraped: it must grow also while this thread waits for the database.
            own_metrics.flush_age_seconds.labels(str(number)).set_function(partial(self._flush_age_s, number))
        self._drop(partitions, retry_s=0.0)

    def _revoked(self, partitions: frozenset[int]) -> None:
        for number in partitions & self._held.keys():
            self._flush_one(number)
        for number in partitions:
            for memory in (self._held, self._unclaimed, self._told, self._careful_until, self._unwritable):
                memory.pop(number, None)
            self._waiting.discard(number)
            if self._flushed_s.pop(number, None) is not None:
                own_metrics.flush_age_seconds.remove(str(number))

    def _flush_age_s(self, number: int) -> float:
        now_s = time.monotonic()
        return now_s - self._flushed_s.get(number, now_s)

    def _drop(self, partitions: frozenset[int], retry_s: float) -> None:
        """Forget all memory of these partitions and claim them (again) in `retry_s`."""
        self._subscriber.pause(partitions)
        for number in partitions:
            self._held.pop(number, None)
            self._told.pop(number, None)
            self._waiting.discard(number)
            self._unclaimed[number] = time.monotonic() + retry_s

    def _claim_waiting(self) -> None:
        due = [number for number, at in self._unclaimed.items() if time.monotonic() >= at]
        for number in due:
            try:
                log_id = self._subscriber.log_id()
                with self._engine.begin() as connection:
                    held = claim(connection, self._config.topic, number, self._owner, log_id)
                partition = Partition(
                    self._config, self._engine, held, self._plans, self._series, self._limit, self._held
                )
            except (sa.exc.SQLAlchemyError, TransportError) as error:
                log.warning("claim failed partition=%d error=%s", number, in_short(error))
                self._unclaimed[number] = time.monotonic() + _RETRY_S
                continue
            log.info("claimed partition=%d epoch=%d next_offset=%d", number, held.epoch, held.next_offset)
            if held.left_log:
                own_metrics.offset_resets.inc()
                log.warning(
                    "another log in place of the one read before, going on at its beginning partition=%d was=%s is=%s",
                    number, held.left_log, log_id,
                )  # fmt: skip
            self._held[number] = partition
            del self._unclaimed[number]
            if partition.kept_frames:
                self._next_refresh = 0.0
            self._subscriber.seek(number, partition.position)
            self._subscriber.resume(frozenset({number}))
        own_metrics.partitions_held.set(len(self._held))
