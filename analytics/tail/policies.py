"""What decides on how many threads a request runs: the published policies, and the target table of TPC.

A policy is data. `code` is what the compiled simulator (simulation_kernel.py) branches on.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from analytics.errors import DataError
from analytics.tail.slowdown import checked

Metric: TypeAlias = Literal["long_threads", "threads_and_queue", "in_system"]

#: What a target table is read by, and how wide its buckets are where nobody says.
METRICS: Final[dict[Metric, int]] = {"long_threads": 0, "threads_and_queue": 1, "in_system": 2}
DEFAULT_WIDTHS: Final[dict[Metric, float]] = {"long_threads": 3.0, "threads_and_queue": 4.0, "in_system": 3.0}


@dataclass(frozen=True, slots=True)
class Sequential:
    """One thread each."""

    code: ClassVar[int] = 0
    name: ClassVar[str] = "sequential"


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same degree for each, as far as workers are idle."""

    degree: int

    code: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"fixed d={self.degree}"


@dataclass(frozen=True, slots=True)
class Predictive:
    """Only what is predicted to be long runs in parallel (SIGIR'14)."""

    degree: int
    long_ms: float = 80.0

    code: ClassVar[int] = 2

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"predictive d={self.degree}"


@dataclass(frozen=True, slots=True)
class Adaptive:
    """The degree that costs least in all, from the number waiting and running (EuroSys'13)."""

    code: ClassVar[int] = 3
    name: ClassVar[str] = "adaptive"


@dataclass(frozen=True, slots=True)
class WqLinear:
    """The degree falls in a line with the number waiting and running (WQ-Linear of DoPE, PLDI'11)."""

    most_waiting: float = 12.0

    code: ClassVar[int] = 4
    name: ClassVar[str] = "wq-linear"


@dataclass(frozen=True, slots=True)
class RampUp:
    """Each begins on one thread and gets another every interval, while workers are idle."""

    interval_ms: float

    code: ClassVar[int] = 5

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"ramp-up {self.interval_ms:g} ms"


@dataclass(frozen=True, slots=True)
class TargetTable:
    """Which time a request is to be done in, by the load met at its dispatch.

    Attributes:
        metric: `long_threads`: threads that run long requests; `threads_and_queue`: active threads and requests
            waiting; `in_system`: requests running and waiting.
        width: of a bucket of it. The last bucket has no end.
        targets_ms: one for each bucket.
        full: a correction raises to the largest degree; else by one at a time.
    """

    metric: Metric
    width: float
    targets_ms: tuple[float, ...]
    full: bool = False

    def __post_init__(self) -> None:
        """Refuses what no table looks like."""
        if self.metric not in METRICS:
            raise DataError(f"a target table by {self.metric!r}; want one of {', '.join(METRICS)}")
        if not self.width > 0 or not self.targets_ms or not all(0 < target < 1e9 for target in self.targets_ms):
            raise DataError(f"targets {self.targets_ms} in buckets of {self.width}; want at least one, all above 0")


@dataclass(frozen=True, slots=True)
class Tpc:
    """Prediction, a target by load, and correction of what was mispredicted (TPC, ASPLOS'16).

    Attributes:
        correction: without it, a request keeps the degree that it began with.
        prediction: without it, all are taken for short, and only correction raises them.
    """

    table: TargetTable
    correction: bool = True
    prediction: bool = True
    correct_every_ms: float = 5.0

    code: ClassVar[int] = 6

    @property
    def name(self) -> str:
        """As tables show it."""
        if not self.correction:
            return "tpc without correction"
        return "tpc" if self.prediction else "tpc without prediction"


Policy: TypeAlias = Sequential | Fixed | Predictive | Adaptive | WqLinear | RampUp | Tpc


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests run.

    Attributes:
        threads: of the hardware. workers: of the pool, which may be more; active ones then share the hardware evenly.
        max_degree: the most threads of one request.
        slowdown: how much longer work takes with all hardware threads busy than with one (slowdown.py).
    """

    threads: int = 12
    workers: int = 24
    max_degree: int = 6
    slowdown: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what cannot run."""
        for name in ("threads", "workers", "max_degree"):
            if not 1 <= getattr(self, name) <= 4096:
                raise DataError(f"a server with {getattr(self, name)} {name}; want 1 to 4096")
        checked(self.slowdown)


def server_as_told(
    threads: int, workers: int | None = None, max_degree: int | None = None, known_degree: int | None = None
) -> Server:
    """What one instance of a service runs on, from what somebody has said of it; None: nobody has.

    Workers are as many as hardware threads, and requests run on no more threads than there are workers.

    Args:
        known_degree: up to which speed-ups are known; requests run on no more threads; None: nothing is learned.
    Raises:
        DataError: fewer than one of any, or more than 4096.
    """
    workers = workers or threads
    return Server(threads, workers, min(one for one in (max_degree, known_degree, workers) if one is not None))


@dataclass(frozen=True, slots=True)
class KernelPolicy:
    """A policy as the numbers that the compiled simulator takes."""

    code: int
    degree: int = 1
    number: float = 0.0
    metric: int = 0
    width: float = 1.0
    full: bool = False
    corrects: bool = False
    targets_ms: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones(1))


def kernel_policy(policy: Policy) -> KernelPolicy:
    """The numbers of a policy.

    Raises:
        DataError: a degree, interval or threshold that cannot be meant.
    """
    if isinstance(policy, Fixed | Predictive) and policy.degree < 1:
        raise DataError(f"{policy.name}: want a degree of 1 or more")
    match policy:
        case Fixed():
            return KernelPolicy(policy.code, policy.degree)
        case Predictive():
            return KernelPolicy(policy.code, policy.degree, _positive(policy.name, policy.long_ms))
        case WqLinear():
            return KernelPolicy(policy.code, number=_positive(policy.name, policy.most_waiting))
        case RampUp():
            return KernelPolicy(policy.code, number=_positive(policy.name, policy.interval_ms))
        case Tpc():
            table = policy.table
            return KernelPolicy(
                policy.code,
                number=_positive(policy.name, policy.correct_every_ms),
                metric=METRICS[table.metric],
                width=table.width,
                full=table.full,
                corrects=policy.correction,
                targets_ms=np.array(table.targets_ms, np.float64),
            )
        case _:
            return KernelPolicy(policy.code)


def _positive(name: str, number: float) -> float:
    if not 1e-3 <= number < 1e12:  # also refuses NaN; a shorter pause might not move the clock
        raise DataError(f"{name} with {number}; want 0.001 or more")
    return number
