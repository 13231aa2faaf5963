"""Rounds over services whose requests are recorded: their minutes, alerts and series, and runs beside them.

Done by the collector that holds the lease `tail` (leased_rounds.py). A round takes in what is new and asks what is due;
runs, which may take minutes, are worked on between rounds, and let due rounds pass. A collector without the libraries
that analyses are compiled with says so and leaves the lease to others.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from collector import own_metrics
from collector.config import CollectorConfig
from collector.jobs.job_lag import JobLag
from collector.jobs.leased_rounds import JobMetrics, LeasedRounds
from collector.jobs.pace import Pace
from collector.jobs.tail_alerting import Alerting
from collector.jobs.tail_asking import ask
from collector.jobs.tail_forgetting import forget_old
from collector.jobs.tail_lag import NOTED
from collector.jobs.tail_minute_shelf import MinuteShelf
from collector.jobs.tail_minutes import MinuteMaker, still_waits_before
from collector.jobs.tail_news import take_in
from collector.jobs.tail_runs import Beside, TailRuns
from collector.jobs.tail_series import ServiceMinutes, ServiceWindows
from collector.jobs.tail_waiting import MINUTE_NS, PROGRESS, read_waiting
from store.errors import LeaseLostError
from store.job_progress import Progress
from store.tail_runs import LEASE

#: Under key 0, who worked last.
WORKER_SCOPE: Final = "tail worker"
#: What analyses are compiled with.
LIBRARIES: Final = ("numba",)


class TailRounds(LeasedRounds):
    """The work on services of one collector."""

    def __init__(self, config: CollectorConfig, engine: sa.Engine, owner: str) -> None:
        """`owner` names the collector in the lease; two of the same name are told apart."""
        self._config = config.jobs.tail
        shown = JobMetrics(
            own_metrics.tail_lag_seconds,
            own_metrics.tail_round_seconds,
            own_metrics.tail_failures,
            own_metrics.tail_lease_held,
        )
        super().__init__(engine, self._config, "working on services", LEASE, owner, shown, JobLag(NOTED))
        self._shelf = MinuteShelf()
        self._maker = MinuteMaker(engine, self._config.most_requests)
        self._alerting = Alerting(engine, self._shelf)
        self._runs = TailRuns(engine, self._lease.owner, self._config.most_requests)
        self._minutes = ServiceMinutes(config.series_max, engine, self._lease.owner)
        self._windows = ServiceWindows(config.series_max, engine, self._lease.owner)

    def _libraries(self) -> Sequence[str]:
        return LIBRARIES

    def tick(self, now_ns: int) -> bool:
        """What is due, then runs that wait, with the rounds that become due meanwhile."""
        done = super().tick(now_ns)
        if not self._lease.held:
            return False
        began_s = time.monotonic()
        self._rested = began_s

        def clock() -> int:
            return now_ns + round((time.monotonic() - began_s) * 1e9)

        def between() -> None:
            if time.monotonic() >= self._next_s:
                super(TailRounds, self).tick(clock())
                self._rested = time.monotonic()
                if not self._lease.held:
                    raise LeaseLostError("the lease of tail was lost between two steps of a run")

        beside = Beside(clock, between, self._stop.is_set)
        answered = self._do("run", lambda: self._runs.work(beside, self._pace))
        return answered is not None and done

    def _work(self, trusted_ns: int, now_ns: int, pace: Pace) -> None:
        del now_ns  # by a clock that is ahead, minutes would be over that are not
        self._note_worker(trusted_ns, pace)
        waiting = take_in(self._engine, round(self._config.look_back_s * 1e9), trusted_ns, pace)
        changed = set()
        for made in self._maker.make(waiting, trusted_ns, pace):
            changed.add(made.service.name)
            self._shelf.put(made.service.name, made.service.settings, made.minutes)
        self._alerting.look(changed, trusted_ns, pace)
        self._part("asking what is due", lambda: ask(self._engine, self._config, trusted_ns, pace), pace)

    def _note_worker(self, now_ns: int, pace: Pace) -> None:
        """Note that it is we who work; what is remembered is of no use where somebody else has worked meanwhile."""
        with self._engine.begin() as connection:
            pace.hold(connection)
            last = PROGRESS.read(connection, WORKER_SCOPE).get(0)
            if last is None or last.body != self._lease.owner:
                self._shelf.clear()
                PROGRESS.write(connection, WORKER_SCOPE, {0: Progress(0, self._lease.owner)}, now_ns)

    def _forget(self, trusted_ns: int, pace: Pace) -> None:
        forget_old(self._engine, self._config, trusted_ns, pace)

    def _write(self, now_ns: int, rest: Callable[[], None]) -> int:
        if not self._config.series:
            return 0
        with self._engine.connect() as connection:
            waits = still_waits_before(read_waiting(connection), now_ns)
        settled = (now_ns - round(self._config.settle_s * 1e9)) // MINUTE_NS
        until = settled if waits is None else min(settled, waits)
        return self._minutes.write(until, now_ns, rest) + self._windows.write(now_ns, rest)
