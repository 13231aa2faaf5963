"""Rounds of scheduled work: partitions ahead, roll-ups, retention, old partitions dropped.

A round is done by the collector that holds the lease. It is cut into transactions of a fraction of a second, each of
which first proves that the lease is still held: the flushes of this and other collectors wait for none of them long,
and a round that is cut short at any statement is simply continued by the next one.
"""

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from collector import own_metrics
from collector.config import CollectorConfig
from collector.jobs.config import RetentionConfig
from collector.jobs.held_lease import HeldLease
from store.days import Day, drop_old_day, make_days_ahead, old_days
from store.errors import LeaseLostError, StoreError
from store.leases import shared_now_ns
from store.levels import levels_of
from store.refusals import in_short
from store.registry import RegisteredVersion, load_versions
from store.retention import Retention, raise_floor
from store.rollup import roll_up, waiting

log = logging.getLogger(__name__)

LEASE = "jobs"
# A read that has seen a floor before it rose may still want what lies below. Deleted rows it goes on seeing, a dropped
# partition it does not; no read lasts longer than this (store/postgresql.py).
READS_END_S = 300.0
_LEASE_ROUNDS = 3
_LEASE_AT_LEAST_S = 30.0
# A job that finds ever more to do gives way to the others after an interval, or this.
_JOB_AT_LEAST_S = 10.0
_FOR_EVER_NS = 2**62
_CLOCK_AHEAD_NS = 60 * 10**9
# A flush on SQLite waits for the transaction of a job: this is what it may cost in freshness.
_STEP_S = 0.2
_MOST_WINDOWS = 64


class Rounds:
    """The scheduled work of one collector."""

    def __init__(
        self, config: CollectorConfig, engine: sa.Engine, owner: str, *, drop_after_s: float = READS_END_S
    ) -> None:
        """`owner` names the collector in the lease; two of the same name are told apart.

        A partition is dropped when it has been old for `drop_after_s`.
        """
        self._drop_after_s = drop_after_s
        self._old_since: dict[Day, float] = {}
        self._config = config
        self._engine = engine
        self._retention = _retention(config.retention)
        self._stop = threading.Event()
        lasts_s = max(_LEASE_AT_LEAST_S, _LEASE_ROUNDS * config.jobs.interval_s)
        self._lease = HeldLease(engine, LEASE, owner, lasts_s, own_metrics.jobs_lease_held)
        self._ends = 0.0

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop`, then the lease is given back."""
        self._stop = stop
        while not stop.wait(self._config.jobs.interval_s):
            self.round(time.time_ns())
        self.leave()

    def round(self, now_ns: int) -> bool:
        """One round; False when another collector holds the lease, or the database failed."""
        versions: dict[int, RegisteredVersion] = {}

        def load(connection: sa.Connection, held: bool) -> None:
            del held
            versions.update((one.version_id, one) for one in load_versions(connection).values())

        try:
            if not self._lease.take(load):
                return False
        except sa.exc.SQLAlchemyError as error:
            self._failed("lease", "database", in_short(error))
            return False
        works: tuple[tuple[str, Callable[[int, dict[int, RegisteredVersion]], None]], ...] = (
            ("partitions", self._make_days),
            ("rollup", self._roll_up),
            ("retention", self._raise_floors),
            ("drop", self._drop_days),
        )
        # Each is tried, whatever became of the one before.
        done = [self._do(name, work, now_ns, versions) for name, work in works]
        return all(done)

    def leave(self) -> None:
        """Give the lease back, so that another collector need not wait for it to run out."""
        self._lease.leave()

    def _do(
        self,
        name: str,
        work: Callable[[int, dict[int, RegisteredVersion]], None],
        now_ns: int,
        versions: dict[int, RegisteredVersion],
    ) -> bool:
        if not self._lease.held:
            return False
        self._ends = time.monotonic() + max(_JOB_AT_LEAST_S, self._config.jobs.interval_s)
        try:
            with own_metrics.job_seconds.labels(name).time():
                work(now_ns, versions)
        except LeaseLostError as error:
            self._lease.lost()
            self._failed(name, "lease", str(error))
            return False
        except sa.exc.SQLAlchemyError as error:
            self._failed(name, "database", in_short(error))
            return False
        except StoreError as error:
            # A damaged page: the flush that meets it stops the collector, this only must not go on over it.
            self._failed(name, "damaged", str(error))
            return False
        return True

    def _failed(self, name: str, reason: str, text: str) -> None:
        own_metrics.job_failures.labels(name, reason).inc()
        log.warning("job failed job=%s reason=%s error=%s", name, reason, text)

    def _make_days(self, now_ns: int, versions: dict[int, RegisteredVersion]) -> None:
        del versions
        make_days_ahead(self._engine, now_ns)

    def _roll_up(self, now_ns: int, versions: dict[int, RegisteredVersion]) -> None:
        ended_before_ns = now_ns - round(self._config.jobs.settle_s * 1e9)
        with self._engine.connect() as connection:
            pairs = waiting(connection)
        # The finer level's roll-up marks the coarser one: both are looked at, in this order.
        for version_id, level in sorted({(v, n) for v, low in pairs for n in (low, 2)}, key=lambda pair: pair[::-1]):
            version = versions.get(version_id)
            if version is None:
                continue

            pace = _Pace()

            def step(
                connection: sa.Connection,
                version: RegisteredVersion = version,
                level: int = level,
                pace: _Pace = pace,
            ) -> bool:
                with pace:
                    done = roll_up(connection, version, level, ended_before_ns, pace.windows)
                own_metrics.rolled_up.inc(done)
                return done > 0

            self._repeat(step)

    def _raise_floors(self, now_ns: int, versions: dict[int, RegisteredVersion]) -> None:
        with self._engine.connect() as connection:
            trusted_ns = shared_now_ns(connection, now_ns)
        if trusted_ns < now_ns - _CLOCK_AHEAD_NS:
            log.warning(
                "clock ahead of the database's ahead_s=%.0f; retention goes by the latter", (now_ns - trusted_ns) / 1e9
            )
        for version in versions.values():
            for known in levels_of(version.plan.window_ns):

                def step(
                    connection: sa.Connection, version: RegisteredVersion = version, level: int = known.number
                ) -> bool:
                    return raise_floor(connection, version, level, self._retention, trusted_ns)

                self._repeat(step)

    def _drop_days(self, now_ns: int, versions: dict[int, RegisteredVersion]) -> None:
        del now_ns, versions
        with self._engine.connect() as connection:
            old = old_days(connection)
        now_s = time.monotonic()
        self._old_since = {day: self._old_since.get(day, now_s) for day in old}
        for day, since_s in self._old_since.items():
            if now_s - since_s < self._drop_after_s:
                continue
            with self._engine.begin() as connection:
                self._lease.hold(connection)
                if drop_old_day(connection, day):
                    log.info("partition dropped name=%s", day.name)

    def _repeat(self, step: Callable[[sa.Connection], bool]) -> None:
        """Transactions of one step each, until it finds nothing to do, the round's time is over, or a stop."""
        while not self._stop.is_set() and time.monotonic() < self._ends:
            with self._engine.begin() as connection:
                self._lease.hold(connection)
                if not step(connection):
                    return


class _Pace:
    """How many windows one transaction computes: so many that it takes a fraction of a second."""

    def __init__(self) -> None:
        self.windows = 4
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        took_s = time.monotonic() - self._begun
        self.windows = max(1, self.windows // 2) if took_s > _STEP_S else min(_MOST_WINDOWS, self.windows * 2)


def _retention(config: RetentionConfig) -> Retention:
    own, minutes, hours = (
        min(round(seconds * 1e9), _FOR_EVER_NS) for seconds in (config.own_windows_s, config.minutes_s, config.hours_s)
    )
    return Retention((own, minutes, hours))
