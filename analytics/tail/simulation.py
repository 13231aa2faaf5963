"""Requests through a server under a policy: when each began and ended, on how many threads, and what it met.

`simulate` is exact for the model, with no sampling of its own: the same requests give the same answer. Progress uses
the class of the true work, policies the class of what is predicted. That threads slow each other is one number of the
server (slowdown.py). What it leaves out: which requests share a cache, the cost of adding a thread, time limits, cores
shared with others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.errors import DataError, MissingLibraryError
from analytics.tail.policies import Policy, Server, Tpc, kernel_policy
from analytics.tail.slowdown import own, rate
from analytics.tail.speedup import Float64Array, Int64Array, SpeedupProfile

Int32Array = npt.NDArray[np.int32]

# A queue whose waits at the end are so many times the longest request grows without end.
_COLLAPSED: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """n requests in order of arrival; all arrays of n, milliseconds.

    Attributes:
        arrivals_ms: never falling.
        works_ms: time that each takes alone on one thread, above 0.
        predictions_ms: what was predicted of that, above 0.
        forced: int32, a degree that exploration gives whatever the policy says, 0: none. None: no exploration.
    """

    arrivals_ms: Float64Array
    works_ms: Float64Array
    predictions_ms: Float64Array
    forced: Int32Array | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot run."""
        n = self.arrivals_ms.size
        for name in ("arrivals_ms", "works_ms", "predictions_ms"):
            values = getattr(self, name)
            if values.ndim != 1 or values.size != n:
                raise DataError(f"{name} has shape {values.shape}; want one number for each of {n} requests")
            if not np.all(np.isfinite(values)):
                place = int(np.argmin(np.isfinite(values)))
                raise DataError(f"{name} of request {place} is {values[place]}; want a finite number")
        for name in ("works_ms", "predictions_ms"):
            values = getattr(self, name)
            if np.any(values <= 0):
                place = int(np.argmax(values <= 0))
                raise DataError(f"{name} of request {place} is {values[place]}; want more than 0 milliseconds")
        falls = np.diff(self.arrivals_ms) < 0
        if falls.any():
            raise DataError(
                f"request {int(np.argmax(falls)) + 1} arrives before the one in front; sort them by arrival"
            )
        if self.forced is not None and (self.forced.shape != (n,) or np.any(self.forced < 0)):
            raise DataError("forced degrees are not one number of 0 or more for each request")

    def __len__(self) -> int:
        """How many."""
        return int(self.arrivals_ms.size)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What became of each request; all arrays of n in the order of arrival.

    Attributes:
        starts_ms, ends_ms: of its run; what was before the start is waiting.
        effective_ms: of its run with what others beside it took away left out.
        first_degrees, last_degrees: threads at the start and at the end.
        raised_ms: when it got more threads for the first time, NaN: never.
        queued, active, long_active: behind it in the queue, active threads and those of long requests, when it started.
        raises: how often a running request got more threads. corrected: how many requests.
        utilization: of the hardware threads from the first arrival to the last end, in [0, 1].
    """

    requests: Requests
    starts_ms: Float64Array
    ends_ms: Float64Array
    effective_ms: Float64Array
    first_degrees: Int32Array
    last_degrees: Int32Array
    raised_ms: Float64Array
    queued: Int32Array
    active: Int32Array
    long_active: Int32Array
    raises: int
    corrected: int
    utilization: float

    @property
    def latencies_ms(self) -> Float64Array:
        """From arrival to end."""
        return self.ends_ms - self.requests.arrivals_ms

    @property
    def waits_ms(self) -> Float64Array:
        """From arrival to start."""
        return self.starts_ms - self.requests.arrivals_ms

    @property
    def collapsed(self) -> bool:
        """The queue grew without end: the last twentieth waited ten times as long as the longest request takes."""
        if not len(self.requests):
            return False
        last = self.waits_ms[-max(1, len(self.requests) // 20) :]
        return bool(last.mean() > _COLLAPSED * self.requests.works_ms.max())


def simulate(requests: Requests, server: Server, profile: SpeedupProfile, policy: Policy) -> Run:
    """Run the requests; cost is a few hundred nanoseconds each, memory some 100 bytes each.

    Raises:
        DataError: the server allows larger degrees than the profile knows, or the policy cannot be meant.
        MissingLibraryError: numba is not installed.
    """
    kernel = _kernel()
    if server.max_degree > profile.max_degree:
        raise DataError(
            f"degrees up to {server.max_degree}, and speed-ups are known up to {profile.max_degree}; "
            "allow no larger ones, or learn them"
        )
    given = kernel_policy(policy)
    n = len(requests)
    predictions = requests.predictions_ms
    if isinstance(policy, Tpc) and not policy.prediction:
        predictions = np.full(n, min(1.0, float(requests.works_ms.min(initial=1.0))))
    classes, predicted = profile.classes(requests.works_ms), profile.classes(predictions)
    own_by_degree = own(np.arange(1, profile.max_degree + 1), server.threads, server.slowdown)
    rates = rate(np.arange(server.workers + 1), server.threads, server.slowdown)
    floats = [np.empty(n) for _ in range(4)]
    numbers = [np.empty(n, np.int32) for _ in range(5)]
    starts, ends, effective, raised_at = floats
    first_degrees, last_degrees, queued, active, long_active = numbers
    mean_ms = float(requests.works_ms.mean()) if n else 0.0
    average = profile.average(requests.works_ms) if n else np.ones(profile.max_degree)
    raises, corrected, busy_ms = kernel(
        np.ascontiguousarray(requests.arrivals_ms, np.float64), np.ascontiguousarray(requests.works_ms, np.float64),
        np.ascontiguousarray(predictions, np.float64), classes, predicted, _forced(requests), profile.flat,
        profile.flat * own_by_degree, own_by_degree, rates, average, mean_ms, server.threads, server.workers,
        server.max_degree, given.code, given.degree, given.number, given.metric, given.width, given.full,
        given.corrects, given.targets_ms,
        starts, ends, effective, first_degrees, last_degrees, raised_at, queued, active, long_active,
    )  # fmt: skip
    span_ms = float(ends.max() - requests.arrivals_ms[0]) if n else 0.0
    return Run(
        requests, starts, ends, effective, first_degrees, last_degrees, raised_at, queued, active, long_active,
        int(raises), int(corrected), busy_ms / (span_ms * server.threads) if span_ms else 0.0,
    )  # fmt: skip


def _forced(requests: Requests) -> Int64Array:
    if requests.forced is None:
        return np.zeros(len(requests), np.int64)
    return requests.forced.astype(np.int64)


def _kernel() -> Callable[..., tuple[int, int, float]]:
    try:
        from analytics.tail.simulation_kernel import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingLibraryError("numba", "analytics") from error
    return run
