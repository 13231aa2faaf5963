"""Runs a question in a thread, and ends it when its client goes or its time is up.

Whoever answers asks the database and merges in turns. To end it, the statement that runs is interrupted, and the next
`check` between two pieces of work raises. A client is looked after only once an answer takes longer than most do.
"""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from api.errors import ClientGoneError, QuestionTimeoutError, UnavailableError
from api.reads import Reads

log = logging.getLogger(__name__)

_LOOK_AFTER_S = 0.05
Reason = Literal["time", "client_gone"]
_current: contextvars.ContextVar["Run | None"] = contextvars.ContextVar("run", default=None)


class Run:
    """One question under way. `end` comes from another thread than everything else."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._driver: Any = None
        self._ended: Reason | None = None

    @staticmethod
    def current() -> "Run | None":
        """The question that this thread answers."""
        return _current.get()

    def end(self, reason: Reason) -> None:
        """Interrupt the statement that runs, and have the next check raise. May wait for the database's server."""
        with self._lock:
            if self._ended is None:
                self._ended = reason
            if self._driver is not None:
                interrupt(self._driver)

    def check(self) -> None:
        """Return when the question is still wanted.

        Raises:
            QuestionTimeoutError, ClientGoneError: it is not.
        """
        if self._ended is not None:
            raise self.error()

    def error(self) -> UnavailableError:
        """Why it was ended."""
        if self._ended == "client_gone":
            return ClientGoneError("the client went away before its answer was there")
        return QuestionTimeoutError(
            f"no answer within {self._timeout_s:g} s, the longest that a question may take; ask for a shorter range, a "
            "longer step or more in where",
            retry_after_s=max(1, round(self._timeout_s)),
        )

    @property
    def ended(self) -> Reason | None:
        """Why it was ended, or None."""
        return self._ended

    def reads_from(self, driver: Any) -> None:
        """From now on this is the connection to interrupt; None: none is."""
        with self._lock:
            self._driver = driver


def interrupt(driver: Any) -> None:
    """End the statement that runs on a connection, from another thread."""
    # sqlite3 calls it interrupt, psycopg cancel; both are made for calls from another thread.
    end = getattr(driver, "interrupt", None) or getattr(driver, "cancel", None)
    if end is not None:
        with contextlib.suppress(Exception):
            end()


async def run_question(request: Request, reads: Reads, work: Callable[[], Response]) -> Response:
    """The answer that `work` gives, computed in one of the threads for questions.

    Raises:
        QuestionTimeoutError, ClientGoneError: it was ended before there was one.
        What `work` raises.
    """
    loop = asyncio.get_running_loop()
    run = Run(reads.timeout_s)
    watching: list[asyncio.Task[None]] = []

    def within() -> Response:
        _current.set(run)
        return work()

    def end(reason: Reason) -> None:
        # In a thread: the server of the database may take its time, and nobody else must wait for it.
        loop.run_in_executor(None, run.end, reason)

    answer = loop.run_in_executor(reads.threads, contextvars.copy_context().run, within)
    timers = (
        loop.call_later(reads.timeout_s, end, "time"),
        loop.call_later(_LOOK_AFTER_S, lambda: watching.append(loop.create_task(_look_after(request, end)))),
    )
    try:
        return await answer
    except asyncio.CancelledError:
        end("client_gone")
        raise
    finally:
        for timer in timers:
            timer.cancel()
        for task in watching:
            task.cancel()
        if run.ended is not None:
            reads.metrics.questions_ended.labels(run.ended).inc()


async def _look_after(request: Request, end: Callable[[Reason], None]) -> None:
    """Wait until the client goes."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            log.info("client gone, question ended path=%s", request.url.path)
            end("client_gone")
            return
