"""One run of a job on the cluster, and how it ended: what retry advice learns from and what reports count."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "killed", "preempted", "timeout", "node_failure", "running"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    Attributes:
        job: the same for all attempts of a chain of retries.
        number: from 1.
        user, queue: "" where unknown.
        nodes: names, empty where unknown. gpus: over all nodes, at least 0; Alibaba's traces have fractions.
        submitted_ns, start_ns, end_ns: UTC; start_ns is None for what never ran, end_ns for what still runs.
        outcome: as the scheduler tells. `killed` is the user's or an operator's doing, not a failure.
        reason, category: of the diagnosis, "" where there is none.
        template: masked text of the error, "" where there is none.
    """

    job: str
    number: int
    user: str
    queue: str
    nodes: tuple[str, ...]
    gpus: float
    submitted_ns: int
    start_ns: int | None
    end_ns: int | None
    outcome: Outcome
    reason: str = ""
    category: str = ""
    template: str = ""

    def runtime_s(self) -> float:
        """Seconds between start and end; 0 for what never ran or still runs, and where the clock went backwards."""
        if self.start_ns is None or self.end_ns is None:
            return 0.0
        return max(0, self.end_ns - self.start_ns) / 1e9

    def runtime_unknown(self) -> bool:
        """Whether it ran, and nobody knows how long: it has no end, or one before its start."""
        return self.start_ns is not None and (self.end_ns is None or self.end_ns < self.start_ns)
