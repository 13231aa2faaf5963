"""A simulated cluster: a pool of GPUs, a queue, and a policy that is asked whenever a job has failed.

Jobs start in order of arrival; one that does not fit lets others pass until it has waited for `passing_h`, then it is
kept room for. A job that is retried starts anew, keeps its place by the time of its failure, and fails after the same
run time again if it fails. A job that is handed back comes again after a while, with what stayed mended; what is chance
stays chance. So every job passes in the end under every policy, with the same useful work: policies differ in GPU time
spent in vain and in how long jobs take.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt, Outcome
from analytics.gpu.simulation.jobs import SimulatedJob
from analytics.gpu.simulation.parameters import ClusterParameters
from analytics.gpu.simulation.policies import Policy

_NS: Final = 10**9
_OUTCOMES: Final[dict[str | None, Outcome]] = {"job_preempted": "preempted"}


@dataclass(slots=True)
class PolicyResult:
    """What a policy did to simulated jobs; times in hours. Jobs that never fail count in `all_...` only.

    Attributes:
        gpu_h: of all attempts of jobs that failed at least once; failed_gpu_h: of their failed ones.
        all_gpu_h: of all jobs.
        mean_jct_h, median_jct_h: from first arrival to passing, of jobs that failed at least once.
        all_mean_jct_h: of all jobs. mean_wait_h: in the queue, of all starts.
        retries, retries_in_vain: how many, and how many of them failed again.
        handed_back: how often.
    """

    gpu_h: float = 0.0
    failed_gpu_h: float = 0.0
    all_gpu_h: float = 0.0
    mean_jct_h: float = 0.0
    median_jct_h: float = 0.0
    all_mean_jct_h: float = 0.0
    mean_wait_h: float = 0.0
    retries: int = 0
    retries_in_vain: int = 0
    handed_back: int = 0


@dataclass(slots=True)
class _Course:
    """How far a job has come. `chain`: attempts since it was last submitted."""

    job: SimulatedJob
    runs: int = 0
    handed_back: int = 0
    submitted_s: float = 0.0
    queued_s: float = 0.0
    started_s: float = 0.0
    chain: list[Attempt] = field(default_factory=list)


def simulate(jobs: Sequence[SimulatedJob], parameters: ClusterParameters, policy: Policy) -> PolicyResult:
    """Run all jobs to their end under a policy. Cost: some 10 microseconds a run, and what the policy takes."""
    return _Cluster(jobs, parameters, policy).run()


class _Cluster:
    """Events in order of time; of equal times in the order in which they were made."""

    def __init__(self, jobs: Sequence[SimulatedJob], parameters: ClusterParameters, policy: Policy) -> None:
        self._events: list[tuple[float, int, bool, _Course]] = []
        self._made = 0
        self._free = parameters.gpus
        self._passing_s = parameters.passing_h * 3600
        self._policy = policy
        self._waiting: dict[int, deque[_Course]] = {size: deque() for size in sorted({job.gpus for job in jobs})}
        self._result = PolicyResult()
        self._jct_s: list[float] = []
        self._all_jct_s: list[float] = []
        self._waited_s = 0.0
        self._starts = 0
        for job in jobs:
            if job.gpus > parameters.gpus:
                raise DataError(f"{job.name} wants {job.gpus} GPUs of {parameters.gpus}; want a cluster that has them")
            self._at(job.arrival_s, ends=False, course=_Course(job, submitted_s=job.arrival_s))

    def run(self) -> PolicyResult:
        """All events."""
        while self._events:
            now, _, ends, course = heapq.heappop(self._events)
            if ends:
                self._free += course.job.gpus
                self._end(course, now)
            else:
                course.queued_s = now
                self._waiting[course.job.gpus].append(course)
            self._start_waiting(now)
        found = self._result
        found.mean_jct_h = float(np.mean(self._jct_s)) / 3600 if self._jct_s else 0.0
        found.median_jct_h = float(np.median(self._jct_s)) / 3600 if self._jct_s else 0.0
        found.all_mean_jct_h = float(np.mean(self._all_jct_s)) / 3600 if self._all_jct_s else 0.0
        found.mean_wait_h = self._waited_s / 3600 / max(1, self._starts)
        return found

    def _at(self, time_s: float, *, ends: bool, course: _Course) -> None:
        self._made += 1
        heapq.heappush(self._events, (time_s, self._made, ends, course))

    def _start_waiting(self, now: float) -> None:
        """One queue a size, so that a release costs the number of sizes and not that of waiting jobs."""
        while self._free > 0:
            oldest_s = first_s = math.inf
            oldest = first = 0
            for size, queue in self._waiting.items():
                if queue:
                    queued_s = queue[0].queued_s
                    if queued_s < oldest_s:
                        oldest_s, oldest = queued_s, size
                    if size <= self._free and queued_s < first_s:
                        first_s, first = queued_s, size
            kept_room_for = oldest > self._free and now - oldest_s > self._passing_s
            if not first or kept_room_for:
                return
            self._start(self._waiting[first].popleft(), now)

    def _start(self, course: _Course, now: float) -> None:
        job = course.job
        self._free -= job.gpus
        self._waited_s += now - course.queued_s
        self._starts += 1
        course.started_s = now
        takes_s = job.fails_after_s if job.run_fails(course.runs, course.handed_back > 0) else job.needs_s
        self._at(now + takes_s, ends=True, course=course)

    def _end(self, course: _Course, now: float) -> None:
        job, found = course.job, self._result
        fails = job.run_fails(course.runs, course.handed_back > 0)
        gpu_h = (now - course.started_s) * job.gpus / 3600
        found.all_gpu_h += gpu_h
        course.runs += 1
        if job.reason is None:
            self._all_jct_s.append(now - job.arrival_s)
            return
        found.gpu_h += gpu_h
        retried = bool(course.chain)
        course.chain.append(self._attempt(course, now, fails))
        self._policy.ended(course.chain)
        if not fails:
            self._jct_s.append(now - job.arrival_s)
            self._all_jct_s.append(now - job.arrival_s)
            return
        found.failed_gpu_h += gpu_h
        found.retries_in_vain += retried
        wait_s = self._policy.wait_s(course.chain)
        if wait_s is None:
            self._hand_back(course, now)
        else:
            found.retries += 1
            self._at(now + wait_s, ends=False, course=course)

    def _hand_back(self, course: _Course, now: float) -> None:
        self._result.handed_back += 1
        back_s = course.job.handback_s[min(course.handed_back, len(course.job.handback_s) - 1)]
        course.handed_back += 1
        course.chain = []
        course.submitted_s = now + back_s
        self._at(course.submitted_s, ends=False, course=course)

    def _attempt(self, course: _Course, now: float, fails: bool) -> Attempt:
        job = course.job
        return Attempt(
            job=job.name if not course.handed_back else f"{job.name}+{course.handed_back}",
            number=len(course.chain) + 1,
            user=job.user,
            queue="",
            nodes=(),
            gpus=float(job.gpus),
            submitted_ns=round(course.submitted_s * _NS),
            start_ns=round(course.started_s * _NS),
            end_ns=round(now * _NS),
            outcome=_OUTCOMES.get(job.reason, "failed") if fails else "passed",
            reason=(job.reason or "") if fails else "",
        )
