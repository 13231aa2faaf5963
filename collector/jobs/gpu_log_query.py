"""The query that keeps lines of job logs, as the database knows it, and which of its series are whose.

Any query is it that has the three metrics, with the label `job`; `tailwatch gpu rules query` prints one. Its series say
who wrote a line: a job, or, without one, a node's kernel or its part of the scheduler (label `source`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from analytics.gpu.cleaning import Origin
from analytics.gpu.log_lines import Source
from analytics.gpu.node_events import short_name
from collector.errors import UnusableQueryError
from store.changes import HOUR_NS
from store.registry import MetricRow
from store.snapshot import Snapshot

FIRST: Final = "job_log_first_lines"
LAST: Final = "job_log_last_lines"
TOTAL: Final = "job_log_lines_total"
SAMPLED: Final = "job_log_sampled_lines"
_FUNCTIONS: Final = {FIRST: "first_lines", LAST: "last_lines", TOTAL: "count"}
_SOURCES: Final[Mapping[str, Source]] = {
    "stdout": "stdout",
    "stderr": "stderr",
    "kernel": "kernel",
    "scheduler": "scheduler",
    "events": "events",
}
#: Sources of a node's own series; lines of all but the kernel have to name the job that they tell of.
KERNEL: Final = "kernel"
_OF_NODES: Final = (KERNEL, "scheduler", "events")
#: As long as a job's name may be in the database.
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The query and its three metrics; `sampled` holds ordinary lines, where the query keeps some."""

    name: str
    query_id: int
    versions: tuple[int, ...]
    window_ns: int
    first: MetricRow
    last: MetricRow
    total: MetricRow
    sampled: MetricRow | None = None


@dataclass(frozen=True, slots=True)
class LogSeries:
    """Whose the series are.

    Attributes:
        of_job: job -> its series. of_node: short name of a node -> series of its kernel and its scheduler.
        beside: short name of a node -> series of jobs that wrote there.
        labels: of each series. unusable: an example of a job's name that cannot be kept, None where there is none.
    """

    of_job: Mapping[str, Sequence[int]]
    of_node: Mapping[str, Sequence[int]]
    beside: Mapping[str, Sequence[int]]
    labels: Mapping[int, Mapping[str, str]]
    unusable: str | None

    def owner(self, series: int) -> tuple[Literal["job", "node"], str] | None:
        """The job or node that a series tells of; None where it names neither."""
        return _owner(self.labels[series])

    def nodes_of(self, job: str) -> frozenset[str]:
        """The nodes that its lines came from, as labels name them."""
        return frozenset(node for one in self.of_job.get(job, ()) if (node := self.labels[one].get("node")))

    def origin(self, series: int) -> Origin:
        """Where lines of a series come from, for the scanner."""
        labels = self.labels[series]
        rank = labels.get("rank", "")
        return Origin(
            file=labels.get("file") or labels.get("source") or "log",
            source=_SOURCES.get(labels.get("source", "")),
            rank=int(rank) if rank.isdecimal() and len(rank) <= 6 else None,
            node=labels.get("node") or None,
        )


def log_query(seen: Snapshot) -> LogQuery | None:
    """The query, or None where nobody asks for lines of jobs.

    Raises:
        UnusableQueryError: a query has the name of the first metric, and cannot be read as one on job logs.
    """
    first = seen.view.metrics.get(FIRST)
    if first is None:
        return None
    rows = {}
    for name, function in _FUNCTIONS.items():
        row = seen.view.metrics.get(name)
        if row is None or row.query_id != first.query_id or row.function != function:
            how = "is of no query" if row is None else f"is {row.function} of the query {row.query}"
            raise UnusableQueryError(
                f"jobs on GPUs cannot be diagnosed: {name} {how}; want {function} in the query {first.query}, as "
                "`tailwatch gpu rules query` prints it"
            )
        rows[name] = row
    if "job" not in first.labels:
        raise UnusableQueryError(
            f"jobs on GPUs cannot be diagnosed: the query {first.query} has the labels {', '.join(first.labels)}; "
            "want a label job, as `tailwatch gpu rules query` prints it"
        )
    if first.window_ns > HOUR_NS:
        raise UnusableQueryError(
            f"jobs on GPUs cannot be diagnosed: the query {first.query} has windows of {first.window_ns // 10**9} s; "
            "want an hour at most"
        )
    versions = {valid.version.version_id for valid in seen.view.ranges(first.query_id)}
    ordered = tuple(sorted(versions))
    sampled = seen.view.metrics.get(SAMPLED)
    if sampled is not None and (sampled.query_id != first.query_id or sampled.function != _FUNCTIONS[LAST]):
        sampled = None
    return LogQuery(
        first.query, first.query_id, ordered, first.window_ns, rows[FIRST], rows[LAST], rows[TOTAL], sampled
    )


def log_series(labels: Sequence[tuple[int, Mapping[str, str]]]) -> LogSeries:
    """Series by whose they are."""
    of_job: dict[str, list[int]] = {}
    of_node: dict[str, list[int]] = {}
    beside: dict[str, list[int]] = {}
    unusable = None
    for series, said in labels:
        owner = _owner(said)
        if owner is None:
            if said.get("job"):
                unusable = unusable or said["job"]
            continue
        kind, name = owner
        (of_job if kind == "job" else of_node).setdefault(name, []).append(series)
        if kind == "job" and said.get("node"):
            beside.setdefault(short_name(said["node"]), []).append(series)
    return LogSeries(of_job, of_node, beside, dict(labels), unusable)


def _owner(labels: Mapping[str, str]) -> tuple[Literal["job", "node"], str] | None:
    job, node = labels.get("job", ""), labels.get("node", "")
    if job:
        return ("job", job) if len(job) <= _LONGEST_NAME and "\x00" not in job else None
    return ("node", short_name(node)) if node and labels.get("source") in _OF_NODES else None
