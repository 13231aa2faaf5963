"""Which nodes failed jobs lately, and with what: a failure that follows the node is not the job's.

Only the cluster's own reasons and those of GPUs count against a node; a syntax error fails everywhere. Bounded: the
newest failures of a node, the nodes that failed last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_features import known_reason

#: How long a failure counts against a node: a week, within which most faults are found and mended.
WINDOW_NS: Final = 7 * 86_400 * 10**9
#: Failures with one reason, of different jobs, from which on a node stands out.
EXCLUDED_FROM: Final = 2
MOST_PER_NODE: Final = 16
MOST_NODES: Final = 20_000


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """An attempt of a job failed here."""

    time_ns: int
    reason: str
    job: str


class NodeHistory:
    """Failures by node, the newest last."""

    def __init__(self, failures: Mapping[str, Sequence[NodeFailure]] | None = None) -> None:
        self._nodes: dict[str, list[NodeFailure]] = {
            node: list(them)[-MOST_PER_NODE:] for node, them in (failures or {}).items()
        }

    def add(self, attempt: Attempt) -> None:
        """Note where an attempt failed; one whose reason or end is unknown tells nothing about a node."""
        reason = known_reason(attempt)
        if not reason or attempt.end_ns is None:
            return
        found = NodeFailure(attempt.end_ns, reason, attempt.job)
        for node in attempt.nodes:
            before = self._nodes.pop(node, [])
            if found not in before:
                before = sorted([*before, found], key=lambda failure: failure.time_ns)[-MOST_PER_NODE:]
            self._nodes[node] = before  # at the end: the node that failed last is forgotten last
        while len(self._nodes) > MOST_NODES:
            del self._nodes[next(iter(self._nodes))]

    def failures_of_others(self, attempt: Attempt) -> int:
        """How many other jobs failed on these nodes with the attempt's reason in the week before it ended."""
        if attempt.end_ns is None:
            return 0
        jobs = {
            failure.job
            for node in attempt.nodes
            for failure in self._nodes.get(node, ())
            if failure.reason == known_reason(attempt)
            and failure.job != attempt.job
            and attempt.end_ns - WINDOW_NS < failure.time_ns <= attempt.end_ns
        }
        return len(jobs)

    def to_avoid(self, reasons: frozenset[str], now_ns: int) -> tuple[str, ...]:
        """Nodes on which at least two jobs failed with one of these reasons within the week, the worst first."""
        found = []
        for node, failures in self._nodes.items():
            jobs: dict[str, set[str]] = {}
            for failure in failures:
                if failure.reason in reasons and now_ns - WINDOW_NS < failure.time_ns <= now_ns:
                    jobs.setdefault(failure.reason, set()).add(failure.job)
            most = max((len(them) for them in jobs.values()), default=0)
            if most >= EXCLUDED_FROM:
                found.append((-most, node))
        return tuple(node for _, node in sorted(found))

    def items(self) -> Iterator[tuple[str, tuple[NodeFailure, ...]]]:
        """Everything, the node that failed last at the end."""
        return ((node, tuple(failures)) for node, failures in self._nodes.items())
