"""What a cluster's jobs failed of and what that cost: all tables of the report, from the attempts of a trace.

What a trace does not tell is not in it, and `missing` says so: no reasons without diagnoses, no nodes where the trace
names none. GPU time of failed attempts is counted whole; work that a checkpoint saved is in it, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from analytics.errors import DataError
from analytics.gpu.busy_gpus import busy_by
from analytics.gpu.failure_tables import KEYS, failures_by, quantiles_of
from analytics.gpu.node_outliers import ALPHA, NodeTest, node_test
from analytics.gpu.outcome_shares import outcome_shares
from analytics.gpu.queueing import waits_by_gpus, waits_by_locality
from analytics.gpu.repeats import Repeats, repeats
from analytics.gpu.traces.columns import with_durations
from analytics.gpu.traces.trace import Trace

SYNTHETIC_WARNING: Final = "SYNTHETIC: made-up jobs; the figures say nothing about any data centre."


@dataclass(frozen=True, slots=True)
class Overview:
    """How much the report is about.

    Attributes:
        without_gpus: attempts that asked for none, left out of everything.
        first_ns, last_ns: the earliest and the latest time of any attempt, None where none is told.
        gpu_hours: of all attempts that are over. lost_gpu_hours: of those that failed.
        preempted_gpu_hours: of those that were preempted; killed ones are their users' own business.
    """

    attempts: int
    jobs: int
    users: int
    nodes: int
    without_gpus: int
    first_ns: int | None
    last_ns: int | None
    gpu_hours: float
    lost_gpu_hours: float
    preempted_gpu_hours: float

    @property
    def lost_share(self) -> float | None:
        """Of the GPU time, what failed attempts took."""
        return self.lost_gpu_hours / self.gpu_hours if self.gpu_hours > 0 else None


@dataclass(frozen=True, slots=True)
class Report:
    """All tables. Those of things that the trace does not tell are empty or None, and `missing` says why.

    Attributes:
        to_failure: p50, p90, p95 of the minutes that failed attempts ran; None where none did.
        failures: failure_tables.failures_by for each of its KEYS that the trace tells.
        busy: busy_gpus.busy_by for gpus, nodes and outcome.
    """

    form: str
    synthetic: bool
    notes: tuple[str, ...]
    oddities: tuple[str, ...]
    missing: tuple[str, ...]
    overview: Overview
    outcomes: pl.DataFrame
    to_failure: dict[str, float | None]
    failures: dict[str, pl.DataFrame]
    repeats: Repeats | None
    nodes: NodeTest | None
    waits: pl.DataFrame
    waits_by_locality: pl.DataFrame
    busy: dict[str, pl.DataFrame]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        overview = {name: getattr(self.overview, name) for name in Overview.__slots__}
        return {
            "form": self.form,
            "synthetic": self.synthetic,
            "notes": list(self.notes),
            "oddities": list(self.oddities),
            "missing": list(self.missing),
            "overview": overview | {"lost_share": self.overview.lost_share},
            "outcomes": self.outcomes.to_dicts(),
            "minutes_to_failure": self.to_failure,
            "failures_by": {key: table.to_dicts() for key, table in self.failures.items()},
            "repeats": None if self.repeats is None else self.repeats.to_dict(),
            "node_test": None if self.nodes is None else self.nodes.to_dict(),
            "wait_minutes_by_gpus": self.waits.to_dicts(),
            "wait_minutes_by_locality": self.waits_by_locality.to_dicts(),
            "busy_by": {key: table.to_dicts() for key, table in self.busy.items()},
        }


def counted_attempts(trace: Trace) -> pl.DataFrame:
    """The attempts that reports are about, columns.with_durations: those with GPUs, or with an unknown number."""
    return with_durations(trace.attempts.filter(pl.col("gpus").is_null() | (pl.col("gpus") > 0)))


def report(trace: Trace, *, alpha: float = ALPHA) -> Report:
    """All tables of a trace.

    Args:
        alpha: how many false names among the nodes that stand out are accepted, as a share.
    Raises:
        DataError: no attempt has a GPU.
    """
    attempts = counted_attempts(trace)
    if not attempts.height:
        raise DataError(
            f"none of the {trace.attempts.height:,} attempts asked for a GPU; there is nothing to report on"
        )
    failed = attempts.filter("failed")
    keys = [key for key in KEYS if _tells(failed, key)]
    minutes = failed.select(quantiles_of("runtime_s", unit=60.0)).row(0, named=True)
    measured = bool(attempts["busy"].is_not_null().any())
    chains, nodes = repeats(attempts), node_test(attempts, alpha=alpha)
    return Report(
        form=trace.form,
        synthetic=trace.synthetic,
        notes=trace.notes,
        oddities=tuple(str(oddity) for oddity in trace.oddities),
        missing=tuple(_missing(attempts, keys, chains, nodes, measured)),
        overview=_overview(attempts, trace.attempts.height - attempts.height),
        outcomes=outcome_shares(attempts),
        to_failure=minutes,
        failures={key: failures_by(attempts, key) for key in keys},
        repeats=chains,
        nodes=nodes,
        waits=waits_by_gpus(attempts),
        waits_by_locality=waits_by_locality(attempts),
        busy={key: busy_by(attempts, key) for key in ("gpus", "nodes", "outcome")} if measured else {},
    )


def _tells(failed: pl.DataFrame, key: str) -> bool:
    told = {"node": pl.col("nodes").list.len() > 0, "gpus": pl.col("gpus").is_not_null()}
    return failed.height > 0 and bool(
        failed.select((told[key] if key in told else pl.col(key).is_not_null()).any()).item()
    )


def _missing(
    attempts: pl.DataFrame, keys: list[str], chains: Repeats | None, nodes: NodeTest | None, measured: bool
) -> Iterator[str]:
    if not attempts["failed"].any():
        yield "no attempt failed: there are no failures to break down"
    elif "reason" not in keys:
        yield "no reasons: the trace brings no logs and no attempt carries a diagnosis"
    if nodes is None:
        yield "no test of nodes: fewer than two nodes are named"
    if chains is None:
        yield "no repeat rates: no job has more than one attempt"
    if attempts["queued_s"].is_null().all():
        yield "no waits: of no job both submission and start are known"
    if attempts["node_count"].is_null().all():
        yield "no locality: of no job it is known on how many nodes it ran"
    if not measured:
        yield "no utilisation: it was not read, or the trace does not measure it"


def _overview(attempts: pl.DataFrame, without_gpus: int) -> Overview:
    times = attempts.select(
        first=pl.min_horizontal("submitted_ns", "start_ns", "end_ns").min(),
        last=pl.max_horizontal("submitted_ns", "start_ns", "end_ns").max(),
    ).row(0)
    return Overview(
        attempts=attempts.height,
        jobs=attempts["job"].n_unique(),
        users=attempts["user"].drop_nulls().n_unique(),
        nodes=attempts["nodes"].explode(keep_nulls=False, empty_as_null=False).n_unique(),
        without_gpus=without_gpus,
        first_ns=times[0],
        last_ns=times[1],
        gpu_hours=_gpu_hours(attempts),
        lost_gpu_hours=_gpu_hours(attempts.filter("failed")),
        preempted_gpu_hours=_gpu_hours(attempts.filter(pl.col("outcome") == "preempted")),
    )


def _gpu_hours(attempts: pl.DataFrame) -> float:
    return float(attempts["gpu_s"].sum() or 0.0) / 3600
