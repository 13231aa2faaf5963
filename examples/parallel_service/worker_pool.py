"""A pool of threads that runs requests on one thread or several, and gives long ones more while they run.

Requests wait in one queue. Whenever a worker is idle, the first of them is asked for a degree, which is cut to the
workers that are idle, and begins at once. A request that is still running when its time is up gets more workers, idle
ones only. The same rules as Tailwatch's simulator has them, so that what it forecasts is this.
"""

import heapq
import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from examples.parallel_service.degree_table import Choice, Load
from examples.parallel_service.request_samples import RequestSample

log = logging.getLogger(__name__)


class Work(Protocol):
    """What a request does."""

    def run(self) -> None:
        """Does what is left of it, beside others that do; returns when nothing is left to begin."""

    def price(self) -> float:
        """The answer, once all have returned."""


Chooser = Callable[[float, Load, random.Random], Choice]


@dataclass(slots=True, eq=False)
class _Job:
    work: Work
    predicted_ms: float
    answer: "Future[float]"
    arrived_ns: int
    epoch_ns: int = 0
    started_ns: int = 0
    choice: Choice = field(default_factory=lambda: Choice(1))
    met: Load = field(default_factory=lambda: Load(0, 0, 0, 0))
    first_degree: int = 0
    degree: int = 0
    present: int = 0
    ending: bool = False
    long: bool = False
    raised_ns: int = -1
    cpu_ns: int = 0
    fault: BaseException | None = None


class WorkerPool:
    """Workers, a queue, and one thread that looks after requests whose time is up."""

    def __init__(
        self, workers: int, choose: Chooser, recorded: Callable[[RequestSample], None], *, seed: int | None = None
    ) -> None:
        """Args:
        choose: how a request is to run; called with the lock held, so it must not wait for anything.
        recorded: gets the sample of each request that is done; as quick.
        """
        if workers < 1:
            raise ValueError(f"{workers} workers; want 1 or more")
        self._workers, self._choose, self._recorded = workers, choose, recorded
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._wanted, self._due_changed, self._idle = (threading.Condition(self._lock) for _ in range(3))
        self._queue: deque[_Job] = deque()
        self._tickets: deque[_Job] = deque()  # one for every thread that a request was given
        self._due: list[tuple[int, int, _Job]] = []
        self._order = count()
        self._active = self._long_active = self._running = 0
        self._epoch_ns = _epoch_ns()
        self._stopping = False
        self._threads = [threading.Thread(target=self._serve, name=f"worker-{i}", daemon=True) for i in range(workers)]
        self._threads.append(threading.Thread(target=self._correct, name="correction", daemon=True))
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work, predicted_ms: float = math.nan) -> "Future[float]":
        """Queue a request; its answer comes in the future."""
        job = _Job(work, predicted_ms, Future(), time.monotonic_ns())
        with self._lock:
            if self._stopping:
                raise RuntimeError("the pool was stopped; start another one")
            if not self._running and not self._queue:
                self._epoch_ns = _epoch_ns()  # requests that overlap are told by one clock
            job.epoch_ns = self._epoch_ns
            self._queue.append(job)
            self._dispatch()
        return job.answer

    def load(self) -> Load:
        """What a request would meet now."""
        with self._lock:
            return Load(self._active, self._long_active, self._running, len(self._queue))

    def stop(self) -> None:
        """Ends what runs and waits, then the threads."""
        with self._lock:
            self._stopping = True
            while self._queue or self._running:
                self._idle.wait()
            self._wanted.notify_all()
            self._due_changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _dispatch(self) -> None:
        now = time.monotonic_ns()
        while self._queue and self._active < self._workers:
            job = self._queue.popleft()
            job.met = Load(self._active, self._long_active, self._running, len(self._queue))
            try:
                job.choice = self._choose(job.predicted_ms, job.met, self._rng)
            except Exception:
                log.exception("no degree chosen; the request runs on one thread")
                job.choice = Choice(1)
            job.started_ns, job.long = now, job.choice.long
            self._running += 1
            self._give(job, max(1, job.choice.degree))
            job.first_degree = job.degree
            if job.choice.check_after_ms is not None and job.degree < job.choice.most:
                self._check_at(now + int(job.choice.check_after_ms * 1e6), job)

    def _give(self, job: _Job, threads: int) -> int:
        """As many as are idle; returns how many."""
        more = min(threads, self._workers - self._active)
        job.degree += more
        job.present += more
        self._active += more
        if job.long:
            self._long_active += more
        self._tickets.extend([job] * more)
        self._wanted.notify(more)
        return more

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            before = time.thread_time_ns()
            fault: BaseException | None = None
            try:
                job.work.run()
            except BaseException as error:  # noqa: BLE001  # the request's fault; it goes to whoever asked
                fault = error
            self._left(job, time.thread_time_ns() - before, fault)

    def _next(self) -> _Job | None:
        with self._lock:
            while not self._tickets:
                if self._stopping and not self._queue and not self._running:
                    return None
                self._wanted.wait()
            return self._tickets.popleft()

    def _left(self, job: _Job, cpu_ns: int, fault: BaseException | None) -> None:
        """A worker is idle again, and the last one of a request ends it."""
        with self._lock:
            job.present -= 1
            job.cpu_ns += cpu_ns
            job.ending = True  # nothing is left to begin: more workers would find nothing to do
            job.fault = job.fault or fault
            self._active -= 1
            if job.long:
                self._long_active -= 1
            done = job.present == 0
            if done:
                self._running -= 1
                ended_ns = time.monotonic_ns()
            self._dispatch()
            if done and not self._running and not self._queue:
                self._idle.notify_all()
        if done:
            self._end(job, ended_ns)

    def _end(self, job: _Job, ended_ns: int) -> None:
        if job.fault is not None:
            job.answer.set_exception(job.fault)
            return
        self._recorded(_sample(job, ended_ns))
        job.answer.set_result(job.work.price())

    def _check_at(self, due_ns: int, job: _Job) -> None:
        heapq.heappush(self._due, (due_ns, next(self._order), job))
        if self._due[0][2] is job:
            self._due_changed.notify()

    def _correct(self) -> None:
        """Requests that run longer than was hoped for are long: they get more workers, idle ones only."""
        with self._lock:
            while not self._stopping or self._running or self._queue:
                now = time.monotonic_ns()
                while self._due and (self._due[0][0] <= now or self._due[0][2].ending):
                    self._raise(heapq.heappop(self._due)[2], now)
                self._due_changed.wait((self._due[0][0] - now) * 1e-9 if self._due else None)

    def _raise(self, job: _Job, now: int) -> None:
        if job.ending:
            return
        if not job.long:
            job.long = True
            self._long_active += job.present
        more = job.choice.most - job.degree if job.choice.full else 1
        if self._give(job, more) and job.raised_ns < 0:
            job.raised_ns = now
        if job.degree < job.choice.most:
            self._check_at(now + int(job.choice.every_ms * 1e6), job)


def _epoch_ns() -> int:
    """What the clock of the day is ahead of the monotonic one; of several readings that which took the least time."""
    readings = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(5)]
    before, day, after = min(readings, key=lambda one: one[2] - one[0])
    return day - (before + after) // 2


def _sample(job: _Job, ended_ns: int) -> RequestSample:
    return RequestSample(
        arrival_ns=job.epoch_ns + job.arrived_ns,
        wait_us=(job.started_ns - job.arrived_ns) / 1e3,
        service_us=(ended_ns - job.started_ns) / 1e3,
        predicted_us=job.predicted_ms * 1e3,
        cpu_us=job.cpu_ns / 1e3,
        raised_us=(job.raised_ns - job.started_ns) / 1e3 if job.raised_ns >= 0 else math.nan,
        degree=job.first_degree,
        degree_final=job.degree,
        in_system=job.met.running + job.met.waiting,
        active_threads=job.met.active_threads,
        long_threads=job.met.long_threads,
        table_version=job.choice.table_version,
        explored=int(job.choice.explored),
    )
