"""Rounds of scoring drives: what is new taken in, drives judged, and every five minutes their series written.

Done by the collector that holds the lease `drives`, in a thread beside the flushes and the other jobs. Each round is
cut into transactions of one chunk of drives, each of which first proves that the lease is still held; between two of
them the thread rests, so that flushes get the database and a fair share of the processor. Whatever is cut short, the
next round, here or elsewhere, goes on with what is not done (docs/decisions/0008).
"""

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from collector import own_metrics
from collector.config import CollectorConfig
from collector.jobs.drive_forgetting import forget_old
from collector.jobs.drive_intake import DriveIntake, Pace
from collector.jobs.drive_lag import DriveLag, note_due, note_round, server_ns
from collector.jobs.drive_scoring import DriveScoring
from collector.jobs.drive_series import DriveSeries
from collector.jobs.held_lease import HeldLease
from store.errors import FencedError, LeaseLostError, StoreError
from store.leases import shared_now_ns
from store.refusals import in_short

log = logging.getLogger(__name__)

LEASE = "drives"
DAY_NS = 86_400 * 10**9
_WAKE_S = 10.0
_LEASE_S = 120.0
# A stop, and the other threads, are never waited for longer than this in one rest.
_REST_AT_MOST_S = 5.0


class DriveRounds:
    """The scoring of one collector."""

    def __init__(self, config: CollectorConfig, engine: sa.Engine, owner: str) -> None:
        """`owner` names the collector in the lease; two of the same name are told apart."""
        self._config = config.jobs.drives
        self._engine = engine
        self._stop = threading.Event()
        self._lease = HeldLease(engine, LEASE, owner, _LEASE_S, own_metrics.drives_lease_held)
        self._rested = time.monotonic()
        self._next_s = 0.0
        self._lag = DriveLag()
        self._spared = 0
        self._intake = DriveIntake(engine, self._config.keep_days)
        self._scoring = DriveScoring(engine, self._config)
        self._series = DriveSeries(self._config, config.series_max, engine, self._lease.owner)
        own_metrics.drives_lag_seconds.set_function(self.lag_s)

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop`, then the lease is given back; not enabled, only how far the others are is looked at."""
        self._stop = stop
        while not stop.wait(min(_WAKE_S, self._config.interval_s)):
            try:
                if self._config.enabled:
                    self.tick(time.time_ns())
                else:
                    self.look(time.time_ns())
            except _StopError:
                break
            except Exception:
                # A fault of ours must not end a collector that takes in everybody's data; nor this thread.
                own_metrics.drives_failures.labels("fault").inc()
                log.exception("scoring drives failed; it is tried again in %.0f s", self._config.interval_s)
                self._next_s = time.monotonic() + self._config.interval_s
        self.leave()

    def tick(self, now_ns: int) -> bool:
        """What is due: a round, and the series of a window not written yet; False when it failed, or is another's.

        A round is due every interval, and as soon as an operator said something or another model was installed.
        """
        if not self.take(now_ns):
            return False
        done = True
        if time.monotonic() >= self._next_s or self._do("database", self._news) is True:
            self._next_s = time.monotonic() + self._config.interval_s
            done = self.round(now_ns)
        # Whoever has taken the lease meanwhile writes them.
        return self._lease.held and self.write_series(now_ns) and done

    def round(self, now_ns: int) -> bool:
        """Take in, score and forget, whatever is due; False when it failed. The caller has the lease."""
        self._rested = time.monotonic()
        self._spared = 0

        def work() -> bool:
            with own_metrics.drives_round_seconds.time():
                with self._engine.connect() as connection:
                    # By a clock that is ahead, no drive would have been heard of for days.
                    today = shared_now_ns(connection, now_ns) // DAY_NS
                    began_ns = server_ns(connection, now_ns)
                self._intake.take_in(today, now_ns, self._pace)
                self._scoring.score(today, now_ns, self._pace)
                with self._engine.begin() as connection:
                    self._lease.hold(connection)
                    if not self._spared:
                        note_round(connection, began_ns, now_ns)
                    note_due(connection, now_ns)
                    self._lag.look(connection, now_ns)
                forget_old(self._engine, self._config, today, self._pace)
            return not self._spared

        return self._do("round", work) is True

    def write_series(self, now_ns: int) -> bool:
        """Write the five minutes that ended last, where they are not written; False when it failed."""
        return self._do("series", lambda: self._series.write(now_ns, self._rest)) is not None

    def look(self, now_ns: int) -> bool:
        """See how far scoring is, whoever does it; False when the database failed."""

        def work() -> bool:
            with self._engine.connect() as connection:
                self._lag.look(connection, now_ns)
            return True

        return self._do("lag", work) is True

    def take(self, now_ns: int) -> bool:
        """Take the lease, or keep it; False when it is another collector's, or the database failed."""

        def beside(connection: sa.Connection, held: bool) -> None:
            if held:
                note_due(connection, now_ns)
            self._lag.look(connection, now_ns)

        return self._do("lease", lambda: self._lease.take(beside)) is True

    def lag_s(self) -> float:
        """For how long drives have not been scored, as was last seen in the database; 0 without drives."""
        return self._lag.seconds()

    def leave(self) -> None:
        """Give the lease back, so that another collector need not wait for it to run out."""
        self._lease.leave()

    @property
    def _pace(self) -> Pace:
        return Pace(self._lease.hold, self._rest, self._spare)

    def _spare(self, what: str, error: Exception) -> None:
        self._spared += 1
        if isinstance(error, StoreError):
            self._failed("damaged", f"{what}: {error}")
            return
        own_metrics.drives_failures.labels("fault").inc()
        log.error("scoring drives failed, the others go on: %s", what, exc_info=error)

    def _news(self) -> bool:
        with self._engine.connect() as connection:
            return self._scoring.has_news(connection)

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
        own_metrics.drives_failures.labels(reason).inc()
        log.warning("scoring drives failed reason=%s error=%s", reason, text)

    def _rest(self) -> None:
        """As long as keeps the work since the last rest at its share of a core."""
        worked_s = time.monotonic() - self._rested
        rest_s = worked_s * (1 / self._config.cpu_share - 1)
        if self._stop.wait(min(rest_s, _REST_AT_MOST_S)):
            raise _StopError
        self._rested = time.monotonic()


class _StopError(Exception):
    """The collector ends; what is not done is done by the next round."""
