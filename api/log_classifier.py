"""Uploaded logs on their way to a diagnosis: one scanner per process, few logs at a time, each within its time.

Making the signatures ready takes most of a second, so the first log does it, in the thread that reads it. Reading
holds the interpreter for some milliseconds at a time; other requests are answered in between.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends
from starlette.requests import Request

from analytics.errors import MissingLibraryError, SignatureFileError
from analytics.gpu.reported import rules_version
from api.config import GpuConfig
from api.errors import BusyError, NotInstalledError, QuestionTimeoutError, UnavailableError
from api.log_stream import LogStream
from api.own_metrics import OwnMetrics

if TYPE_CHECKING:
    from analytics.gpu.cleaning import Origin
    from analytics.gpu.diagnosis import Diagnosis
    from analytics.gpu.node_events import JobFacts
    from analytics.gpu.scanning import Scanner

#: How long a log waits for its turn.
TURN_WITHIN_S = 5.0
_Found = TypeVar("_Found")


class LogClassifier:
    """Reads logs for one API process; `max_concurrent` of them at a time."""

    def __init__(self, config: GpuConfig, metrics: OwnMetrics) -> None:
        """Nothing is loaded yet."""
        self.max_log_bytes = config.max_log_bytes
        self._config = config
        self._metrics = metrics
        self._turns = asyncio.Semaphore(config.max_concurrent)
        self._threads = anyio.CapacityLimiter(config.max_concurrent)  # not those that answer lists
        self._lock = threading.Lock()
        self._scanner: Scanner | None = None
        self._rules = ""

    @property
    def scanner(self) -> "Scanner":
        """The signatures made ready; for threads.

        Raises:
            NotInstalledError: the library that looks for patterns is missing.
            UnavailableError: the site's signatures cannot be used.
        """
        with self._lock:
            if self._scanner is None:
                self._scanner = _made_ready(self._config.rules_path)
                self._rules = rules_version(self._scanner.signatures)
            return self._scanner

    @property
    def rules(self) -> str:
        """Version of these signatures; "" before the first log."""
        return self._rules

    async def read(self, stream: LogStream, work: Callable[[], _Found]) -> _Found:
        """What `work` finds, in a thread, while the loop goes on and brings it the pieces of `stream`.

        Raises:
            BusyError: as many logs as may are being read.
            QuestionTimeoutError: it took longer than `api.gpu.timeout_s`.
            What `work` raises.
        """
        async with self._turn():
            try:
                with anyio.fail_after(self._config.timeout_s):
                    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
            except TimeoutError:
                self._metrics.questions_ended.labels("time").inc()
                raise QuestionTimeoutError(
                    f"the log was not read within {self._config.timeout_s:g} s; send its last part, raise "
                    "api.gpu.timeout_s, or use `tailwatch gpu classify` where it lies",
                    retry_after_s=max(1, round(self._config.timeout_s)),
                ) from None
            finally:
                stream.stop()

    def diagnose(self, logs: "list[tuple[Origin, Iterable[bytes]]]", facts: "JobFacts") -> "Diagnosis":
        """Why the job died; for threads. Raises what the logs raise, and what `scanner` does."""
        from analytics.gpu.classifier import diagnose_logs  # noqa: PLC0415  # as for the scanner

        found = diagnose_logs(logs, self.scanner, facts)
        self._metrics.logs_classified.labels(found.status).inc()
        self._metrics.log_bytes.inc(found.bytes)
        return found

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            with anyio.fail_after(TURN_WITHIN_S):
                await self._turns.acquire()
        except TimeoutError:
            self._metrics.questions_ended.labels("busy").inc()
            raise BusyError(
                f"{self._config.max_concurrent} other logs are being read; send this one again in a moment, or raise "
                "api.gpu.max_concurrent",
                retry_after_s=5,
            ) from None
        try:
            yield
        finally:
            self._turns.release()


def _made_ready(rules_path: str) -> "Scanner":
    # Numpy, re2 and 260 patterns: an API that is never sent a log need not hold them.
    from analytics.gpu.scanning import Scanner  # noqa: PLC0415
    from analytics.gpu.signature_files import with_site_file  # noqa: PLC0415

    try:
        return Scanner(with_site_file(rules_path or None))
    except MissingLibraryError as error:
        raise NotInstalledError(f"logs cannot be classified here: {error}") from error
    except SignatureFileError as error:
        told = f"{error.problems[0][:300]}" + (f" (and {len(error.problems) - 1} more)" if error.problems[1:] else "")
        raise UnavailableError(
            f"the site's signatures cannot be used: {told}; mend api.gpu.rules_path, which `tailwatch gpu rules "
            "check` reads, too",
            retry_after_s=60,
        ) from error


def _classifier(request: Request) -> LogClassifier:
    classifier: LogClassifier = request.app.state.log_classifier
    return classifier


Classifying = Annotated[LogClassifier, Depends(_classifier)]
