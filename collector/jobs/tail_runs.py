"""Runs: questions that take long, answered one at a time by who holds the lease, with progress and cancelling.

A run is taken, worked on and ended in transactions of their own. A collector that dies leaves it running; who has the
lease next finds nobody at work on it and begins it anew, three times at most. Between two steps of a run the job rests,
and does the rounds that are due meanwhile: minutes and alerts wait for no run.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from analytics.errors import AnalyticsError
from collector import own_metrics
from collector.jobs.pace import Pace
from collector.jobs.tail_questions import Answer, answer
from store.errors import LeaseLostError, StoreError
from store.tail_runs import Outcome, RunRow, end_run, next_run, note_progress, release_run, take_back_runs
from store.tail_tables import tail_runs

log = logging.getLogger(__name__)

#: A run that so many collectors died of is not begun again.
MOST_ATTEMPTS: Final = 3
_NOTED_EVERY_S: Final = 1.0


class _CancelledError(Exception):
    """Nobody wants the answer any more."""


class _UnwantedError(Exception):
    """A run that ends is nobody's any more: what is written with it is not."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What else goes on while a run is worked on.

    Attributes:
        clock: the time in ns.
        between: called between two steps of a run; may raise to end it there.
        stopping: whether the collector ends, so that what is begun is left to the next.
    """

    clock: Callable[[], int]
    between: Callable[[], None]
    stopping: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a run ended; without an answer where it failed."""

    state: Outcome
    error: str | None
    answer: Answer | None


class TailRuns:
    """Takes and answers them; used by one thread."""

    def __init__(self, engine: sa.Engine, owner: str, most_requests: int) -> None:
        self._engine = engine
        self._owner = owner
        self._most = most_requests

    def work(self, beside: Beside, pace: Pace) -> int:
        """Answer all that wait; returns how many runs ended.

        Raises:
            LeaseLostError, sqlalchemy.exc.SQLAlchemyError: a run that was begun is taken back by whoever works next.
        """
        ended = 0
        while self._is_asked():
            with self._engine.begin() as connection:
                pace.hold(connection)
                # One that runs is being worked on by nobody: it is we who hold the lease.
                take_back_runs(connection, MOST_ATTEMPTS, beside.clock())
                run = next_run(connection, self._owner, beside.clock())
            if run is None:
                return ended
            self._answer(run, beside, pace)
            ended += 1
            pace.rest()
        return ended

    def _is_asked(self) -> bool:
        """Whether any run waits or is left by the dead: read without making anybody wait."""
        table = tail_runs
        with self._engine.connect() as connection:
            query = sa.select(table.c.id).where(table.c.state.in_(["waiting", "running"])).limit(1)
            return connection.execute(query).one_or_none() is not None

    def _answer(self, run: RunRow, beside: Beside, pace: Pace) -> None:
        progress = self._progress(run, beside.between, pace)
        state: Outcome = "failed"
        error, found = None, None
        try:
            found = answer(self._engine, run, self._most, progress)
            state, error = found.state, found.error
        except (LeaseLostError, sa.exc.SQLAlchemyError):
            raise
        except _CancelledError:
            own_metrics.tail_runs.labels(run.kind, "cancelled").inc()
            return
        except AnalyticsError as refusal:
            state, error = "refused", str(refusal)
        except StoreError as damage:
            own_metrics.tail_failures.labels("damaged").inc()
            error = str(damage)
        # A fault of ours ends this run, and no other.
        except Exception as fault:
            own_metrics.tail_failures.labels("fault").inc()
            log.exception("run failed service=%s kind=%s run=%s", run.service, run.kind, run.id)
            error = f"{type(fault).__name__}: {fault}; this is a fault of the collector, whose log says more"
        except BaseException:
            if beside.stopping():
                self._release(run, pace)
            raise
        self._end(run, _Ended(state, error, found), beside.clock(), pace)

    def _progress(self, run: RunRow, between: Callable[[], None], pace: Pace) -> Callable[[float, str], None]:
        noted_s = time.monotonic()

        def progress(share: float, text: str) -> None:
            nonlocal noted_s
            pace.rest()
            between()
            if time.monotonic() - noted_s < _NOTED_EVERY_S:
                return
            noted_s = time.monotonic()
            with self._engine.begin() as connection:
                pace.hold(connection)
                wanted = note_progress(connection, run.id, self._owner, share, text)
            if not wanted:
                raise _CancelledError

        return progress

    def _end(self, run: RunRow, ended: _Ended, now_ns: int, pace: Pace) -> None:
        state: str = ended.state
        try:
            with self._engine.begin() as connection:
                pace.hold(connection)
                self._write(connection, run, ended, now_ns)
        except _UnwantedError:
            state = "cancelled"
        own_metrics.tail_runs.labels(run.kind, state).inc()
        log.info("run ended service=%s kind=%s run=%s state=%s", run.service, run.kind, run.id, state)

    def _write(self, connection: sa.Connection, run: RunRow, ended: _Ended, now_ns: int) -> None:
        """The answer, and what is to be kept with it."""
        document = None if ended.answer is None else ended.answer.document
        if ended.answer is not None and ended.answer.write is not None:
            document = ended.answer.document | ended.answer.write(connection, now_ns)
        if not end_run(connection, run.id, self._owner, ended.state, now_ns, answer=document, error=ended.error):
            raise _UnwantedError

    def _release(self, run: RunRow, pace: Pace) -> None:
        """The collector stops politely: nobody died of this run."""
        try:
            with self._engine.begin() as connection:
                pace.hold(connection)
                release_run(connection, run.id, self._owner)
        except (LeaseLostError, sa.exc.SQLAlchemyError):
            log.warning("run left as it is run=%s; the next collector takes it back", run.id)
