"""Rounds of a job that one collector at a time does, whatever the job is about: lease, rests, failures and lag.

The job runs in a thread beside the flushes and the other jobs, where the collector holds its lease. Each round is cut
into transactions, each of which first proves that the lease is still held; between two of them the thread rests, so
that flushes get the database and a fair share of the processor. Whatever is cut short, the next round, here or
elsewhere, goes on with what is not done.
"""

import importlib.util
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa
from prometheus_client import Counter, Gauge, Histogram

from collector.jobs.held_lease import HeldLease
from collector.jobs.job_lag import JobLag, server_ns
from collector.jobs.pace import Pace
from store.errors import FencedError, LeaseLostError, StoreError
from store.leases import shared_now_ns
from store.refusals import in_short

log = logging.getLogger(__name__)

_WAKE_S = 10.0
_LEASE_S = 120.0
# A stop, and the other threads, are never waited for longer than this in one rest.
_REST_AT_MOST_S = 5.0


class JobSettings(Protocol):
    """What the settings of every such job have."""

    @property
    def enabled(self) -> bool:
        """Whether this collector takes part."""

    @property
    def interval_s(self) -> float:
        """Seconds between two rounds."""

    @property
    def cpu_share(self) -> float:
        """Of one core, at most, on average over a round."""


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """What the collector shows of the job; `failures` is counted by `reason`."""

    lag_seconds: Gauge
    round_seconds: Histogram
    failures: Counter
    lease_held: Gauge


class LeasedRounds(ABC):
    """One job of one collector; its parts are what a subclass says."""

    def __init__(
        self,
        engine: sa.Engine,
        settings: JobSettings,
        work: str,
        lease: str,
        owner: str,
        shown: JobMetrics,
        lag: JobLag,
    ) -> None:
        """`work` is what the log calls it, "scoring drives", `lease` the settings; `owner` names the collector."""
        self._settings = settings
        self._engine = engine
        self._name = work
        self._job = lease
        self._shown = shown
        self._stop = threading.Event()
        self._lease = HeldLease(engine, lease, owner, _LEASE_S, shown.lease_held)
        self._rested = time.monotonic()
        self._next_s = 0.0
        self._lag = lag
        self._spared = 0
        self._missing_told = False
        shown.lag_seconds.set_function(self.lag_s)

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop`, then the lease is given back; not enabled, only how far the others are is looked at."""
        self._stop = stop
        while not stop.wait(min(_WAKE_S, self._settings.interval_s)):
            try:
                if not self._settings.enabled:
                    self.look(time.time_ns())
                elif self.is_able():
                    self.tick(time.time_ns())
                elif self.take(time.time_ns()):
                    # What is due is noted, so that the lag tells of it, and the lease left to who can do the work.
                    self.leave()
            except _StopError:
                break
            except Exception:
                # A fault of ours must not end a collector that takes in everybody's data; nor this thread.
                self._shown.failures.labels("fault").inc()
                log.exception("%s failed; it is tried again in %.0f s", self._name, self._settings.interval_s)
                self._next_s = time.monotonic() + self._settings.interval_s
        self.leave()

    def tick(self, now_ns: int) -> bool:
        """What is due: a round, and the series of a window not written yet; False when it failed, or is another's.

        A round is due every interval, and as soon as there is news that cannot wait.
        """
        if not self.take(now_ns):
            return False
        done = True
        if time.monotonic() >= self._next_s or self._do("database", self._news) is True:
            self._next_s = time.monotonic() + self._settings.interval_s
            done = self.round(now_ns)
        # Whoever has taken the lease meanwhile writes them.
        return self._lease.held and self.write_series(now_ns) and done

    def round(self, now_ns: int) -> bool:
        """All that is due; False when it failed. The caller has the lease."""
        self._rested = time.monotonic()
        self._spared = 0

        def work() -> bool:
            with self._shown.round_seconds.time():
                with self._engine.connect() as connection:
                    # By a clock that is ahead, everything would be long past.
                    trusted_ns = shared_now_ns(connection, now_ns)
                    began_ns = server_ns(connection, now_ns)
                self._work(trusted_ns, now_ns, self._pace)
                with self._engine.begin() as connection:
                    self._lease.hold(connection)
                    if not self._spared:
                        self._lag.note_round(connection, began_ns, now_ns)
                    self._lag.note_due(connection, now_ns)
                    self._lag.look(connection, now_ns)
                self._forget(trusted_ns, self._pace)
            return not self._spared

        return self._do("round", work) is True

    def write_series(self, now_ns: int) -> bool:
        """Write the series of the window that ended last, where it is not written; False when it failed."""
        return self._do("series", lambda: self._write(now_ns, self._rest)) is not None

    def look(self, now_ns: int) -> bool:
        """See how far the job is, whoever does it; False when the database failed."""

        def work() -> bool:
            with self._engine.connect() as connection:
                self._lag.look(connection, now_ns)
            return True

        return self._do("lag", work) is True

    def take(self, now_ns: int) -> bool:
        """Take the lease, or keep it; False when it is another collector's, or the database failed."""

        def beside(connection: sa.Connection, held: bool) -> None:
            if held:
                self._lag.note_due(connection, now_ns)
            self._lag.look(connection, now_ns)

        return self._do("lease", lambda: self._lease.take(beside)) is True

    def lag_s(self) -> float:
        """For how long the work has not been done, as was last seen in the database; 0 where there is none."""
        return self._lag.seconds()

    def leave(self) -> None:
        """Give the lease back, so that another collector need not wait for it to run out."""
        self._lease.leave()

    def is_able(self) -> bool:
        """Whether the libraries are there that the work needs; said once where they are not, and counted.

        Another one's lease is not taken where they are not.
        """
        missing = [name for name in self._libraries() if importlib.util.find_spec(name) is None]
        if missing and self.lag_s() > 0:
            self._shown.failures.labels("library").inc()
            if not self._missing_told:
                self._missing_told = True
                log.warning(
                    "%s cannot be done here: %s not installed; install tailwatch[collector], or set "
                    "collector.jobs.%s.enabled to false",
                    self._name,
                    " and ".join(missing),
                    self._job,
                )
        return not missing

    @abstractmethod
    def _work(self, trusted_ns: int, now_ns: int, pace: Pace) -> None:
        """All that is due, but for deleting; `trusted_ns` is by a clock that is not ahead."""

    @abstractmethod
    def _forget(self, trusted_ns: int, pace: Pace) -> None:
        """Delete what the settings keep no longer."""

    @abstractmethod
    def _write(self, now_ns: int, rest: Callable[[], None]) -> int:
        """Write series, as write_series; returns how many parts were written."""

    def _libraries(self) -> Sequence[str]:
        """What the work needs beside what every collector loads anyway; looked for without being loaded."""
        return ()

    def _news(self) -> bool:
        """Whether there is something that must not wait for the next interval."""
        return False

    @property
    def _pace(self) -> Pace:
        return Pace(self._lease.hold, self._rest, self._spare)

    def _part(self, what: str, work: Callable[[], object], pace: Pace) -> None:
        """A part of a round that fails keeps the others from nothing."""
        try:
            work()
        except (LeaseLostError, sa.exc.SQLAlchemyError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it is said and counted
            pace.spare(what, error)

    def _spare(self, what: str, error: Exception) -> None:
        self._spared += 1
        if isinstance(error, StoreError):
            self._failed("damaged", f"{what}: {error}")
            return
        self._shown.failures.labels("fault").inc()
        log.error("%s failed, the others go on: %s", self._name, what, exc_info=error)

    def _do(self, what: str, work: Callable[[], object]) -> object:
        """What `work` returns; None when it failed, for a reason that is counted and said."""
        try:
            return work()
        except LeaseLostError as error:
            self._lease.lost()
            self._failed("lease", str(error))
        except FencedError as error:
            self._failed("fenced", str(error))
        except sa.exc.SQLAlchemyError as error:
            self._failed("database", in_short(error))
        except StoreError as error:
            self._failed("damaged", f"{what}: {error}")
        return None

    def _failed(self, reason: str, text: str) -> None:
        self._shown.failures.labels(reason).inc()
        log.warning("%s failed reason=%s error=%s", self._name, reason, text)

    def _rest(self) -> None:
        """As long as keeps the work since the last rest at its share of a core."""
        worked_s = time.monotonic() - self._rested
        rest_s = worked_s * (1 / self._settings.cpu_share - 1)
        if self._stop.wait(min(rest_s, _REST_AT_MOST_S)):
            raise _StopError
        self._rested = time.monotonic()


class _StopError(BaseException):
    """The collector ends; what is not done is done by the next round. No fault, so what spares faults lets it pass."""
