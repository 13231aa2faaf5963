"""Made-up GPU jobs for the demo: their logs are written where the agent reads them, their attempts told to the API.

Everything goes the way that it goes on a cluster: lines through the agent's query, reports through the API, diagnoses
by the collector's job. Each job is called synthetic where it stands: by its name, its nodes, and in its reports.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tailwatch.commands.gpu_attempts import PATH
from tailwatch.errors import AnswerError, UnreachableError
from tailwatch.http_client import post

if TYPE_CHECKING:
    from analytics.gpu.made_up_jobs import MadeUpAttempt

log = logging.getLogger(__name__)

FOLDER: Final = "gpu-jobs"
_SEED: Final = 5
#: So that half a minute shows some failures and nobody's eyes are flooded.
_A_JOB_EVERY_S: Final = 1.5
_QUEUED_S: Final = 240
_TIMEOUT_S: Final = 2.0
_SAY_AGAIN_S: Final = 1.0
_ENDS_WITHIN_S: Final = 0.5

_What = Literal["begins", "writes", "ended"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens `at_s` after the beginning; `line` is which of the attempt's lines is written."""

    at_s: float
    what: _What
    attempt: "MadeUpAttempt"
    line: int = 0


def timeline(attempts: "Sequence[MadeUpAttempt]") -> list[Event]:
    """All that happens, in order."""
    return sorted(_events(attempts), key=lambda event: event.at_s)


def path_of(folder: Path, attempt: "MadeUpAttempt", line: int) -> Path:
    """The log that a line belongs to: a rank's of the job, or its node's kernel's."""
    said = attempt.lines[line]
    node = folder / said.node
    return node / "kernel.log" if said.rank is None else node / f"job-{attempt.job}" / f"rank{said.rank}.log"


def report(attempt: "MadeUpAttempt", begun_ns: int, *, ended: bool) -> dict[str, Any]:
    """What a scheduler would tell of it: at first that it runs, in the end how that ended."""
    from api.times import rfc_3339

    ends_ns = begun_ns + int(attempt.ends_s * 1e9)
    start_ns = ends_ns - int(attempt.ran_s * 1e9)
    told: dict[str, Any] = {
        "job": attempt.job,
        "number": attempt.number,
        "user": attempt.user,
        "queue": attempt.queue,
        "nodes": list(attempt.nodes),
        "gpus": attempt.gpus,
        "submitted": rfc_3339(start_ns - _QUEUED_S * 10**9),
        "started": rfc_3339(start_ns),
        "outcome": attempt.outcome if ended else "running",
        "synthetic": True,
    }
    if ended:
        told |= {"ended": rfc_3339(ends_ns), "exit_code": attempt.exit_code, "signal": attempt.signal}
    return told


class GpuJobs:
    """Lets so many jobs run, from `start` to `stop`, in a thread of its own.

    Nothing here may end the demo: an API that is away is told later, one that refuses is logged.
    """

    def __init__(self, data_dir: Path, jobs: int, url: str) -> None:
        self._folder = data_dir / FOLDER
        self._jobs = jobs
        self._url = url
        self._ended = threading.Event()
        self._unsaid: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._run, name="made-up GPU jobs", daemon=True)

    def clear(self) -> None:
        """Remove what earlier jobs wrote; before an agent reads there."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Begin, where that has not been done yet."""
        if self._thread.ident is None and not self._ended.is_set():
            self._thread.start()

    def stop(self) -> None:
        """No more lines and reports."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_ENDS_WITHIN_S)

    def play(self, events: Sequence[Event], begun_ns: int, wait: Callable[[float], bool]) -> None:
        """Do it all.

        Args:
            wait: until so many seconds after the beginning; True where it is over.
        """
        for event in events:
            if wait(event.at_s):
                return
            if event.what == "writes":
                self._write(event)
            else:
                self._unsaid.append(report(event.attempt, begun_ns, ended=event.what == "ended"))
                self._say()
        again_s = events[-1].at_s if events else 0.0
        while self._unsaid:
            again_s += _SAY_AGAIN_S
            if wait(again_s):
                return
            self._say()

    def _run(self) -> None:
        from analytics.gpu.made_up_jobs import made_up_attempts

        begun, begun_ns = time.monotonic(), time.time_ns()
        # Another name with each start: a job that ended yesterday does not run again today.
        attempts = made_up_attempts(self._jobs, _SEED, _A_JOB_EVERY_S, prefix=f"synthetic-{begun_ns // 10**9:x}")

        def wait(at_s: float) -> bool:
            return self._ended.wait(max(0.0, begun + at_s - time.monotonic()))

        try:
            self.play(timeline(attempts), begun_ns, wait)
        except OSError as error:
            log.warning("made-up GPU jobs end: their logs cannot be written error=%s", error)

    def _write(self, event: Event) -> None:
        path = path_of(self._folder, event.attempt, event.line)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(event.attempt.lines[event.line].text + "\n")

    def _say(self) -> None:
        try:
            post(self._url, PATH, {"attempts": self._unsaid}, timeout_s=_TIMEOUT_S)
        except UnreachableError:
            return  # it is started again, and told then
        except AnswerError as error:
            log.warning("the API refuses reports of made-up GPU jobs reports=%d error=%s", len(self._unsaid), error)
        self._unsaid = []


def _events(attempts: "Sequence[MadeUpAttempt]") -> Iterator[Event]:
    for attempt in attempts:
        yield Event(attempt.begins_s, "begins", attempt)
        for place, line in enumerate(attempt.lines):
            yield Event(line.at_s, "writes", attempt, place)
        yield Event(attempt.ends_s, "ended", attempt)
