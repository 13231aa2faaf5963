"""Nodes on which more fails than on the others: by a test with correction, not by a list of the ten highest.

Counted are jobs, not attempts, once per node: a job that fails five times in a row on one node is one fact. Where
diagnoses tell them apart only those infrastructure failures count that a node can cause, against the GPU hours that
nodes gave. Otherwise all failures do, and a node has to stand out twice, against its GPU hours and against its jobs:
else a node that gets many short jobs would look broken. An exposure that explains failures much worse than the other,
which shows in how nodes scatter around it, is not used: failures that come with the start of a job have nothing to do
with its hours. Scatter that is left widens the test.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from analytics.gpu.exact_tests import Float64Array, benjamini_hochberg, dispersion_of, rate_tail

ALPHA = 0.05
_MUCH_MORE = 2.0
#: Infrastructure failures that no node is to blame for.
_NO_NODES = ("time_limit", "job_preempted", "k8s_admission")


@dataclass(frozen=True, slots=True)
class Node:
    """What fails on a node.

    Attributes:
        failures: jobs that failed there. expected: as many, had it failed like the others, by the exposure that
            expects more.
        users: whose jobs failed there. one_user: without the user with most failures it would not stand out.
        p_value: of the test; of both, the larger. q_value: corrected over all nodes.
    """

    name: str
    failures: int
    expected: float
    jobs: int
    gpu_hours: float
    users: int
    p_value: float
    q_value: float
    stands_out: bool
    one_user: bool

    @property
    def ratio(self) -> float | None:
        """How many times as many as expected."""
        return self.failures / self.expected if self.expected > 0 else None


@dataclass(frozen=True, slots=True)
class NodeTest:
    """The test of all nodes.

    Attributes:
        counted: whether only infrastructure failures count, or all.
        exposures: what was tested against: gpu_hours, jobs.
        dispersion: how many times a binomial's variance failures scatter by between nodes; the largest of these.
        nodes: the most improbable first.
    """

    counted: Literal["all", "infrastructure"]
    exposures: tuple[str, ...]
    dispersion: float
    alpha: float
    nodes: tuple[Node, ...]

    @property
    def outliers(self) -> tuple[Node, ...]:
        """The nodes that stand out."""
        return tuple(node for node in self.nodes if node.stands_out)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        nodes = [asdict(node) | {"ratio": node.ratio} for node in self.nodes]
        return {
            "counted": self.counted,
            "exposures": list(self.exposures),
            "dispersion": self.dispersion,
            "alpha": self.alpha,
            "nodes": nodes,
        }


def node_test(attempts: pl.DataFrame, *, alpha: float = ALPHA) -> NodeTest | None:
    """Test every node that attempts ran on; None where fewer than two nodes are named.

    Args:
        attempts: columns.with_durations.
        alpha: the share of false names among those that stand out is at most this, on average.
    """
    blamed = (pl.col("category") == "infrastructure") & ~pl.col("reason").is_in(_NO_NODES).fill_null(False)
    infrastructure = pl.col("failed") & blamed.fill_null(False)
    told = attempts.filter(infrastructure).height > 0
    counted = infrastructure if told else pl.col("failed")
    held = (
        attempts.filter((pl.col("outcome") != "running") & (pl.col("nodes").list.len() > 0))
        .with_columns(counted=counted, user=pl.coalesce("user", "job"))
        .explode("nodes", "node_gpus")
        .with_columns(gpu_hours=(pl.col("node_gpus") * _held_s() / 3600).fill_null(0.0))
    )
    # First what each job did to each node, then what each user's jobs did: leaving a user out is then cheap.
    jobs = held.group_by("nodes", "job", "user").agg(pl.col("counted").any(), pl.col("gpu_hours").sum())
    by_user = jobs.group_by("nodes", "user").agg(
        pl.col("gpu_hours").sum(), failures=pl.col("counted").sum().cast(pl.Int64), jobs=pl.len().cast(pl.Int64)
    )
    table = _by_node(by_user)
    if table.height < 2:
        return None
    dispersion = _useful_exposures(table, ("gpu_hours",) if told else ("gpu_hours", "jobs"))
    p_values = _p_values(table, dispersion)
    q_values = benjamini_hochberg(p_values)
    order = np.lexsort((table["nodes"].to_numpy(), -table["failures"].to_numpy(), p_values))
    rows = table.with_columns(p=pl.Series(p_values), q=pl.Series(q_values))[order.tolist()]
    found = [_node(row, table, by_user, dispersion, alpha) for row in rows.iter_rows(named=True)]
    counted_as: Literal["all", "infrastructure"] = "infrastructure" if told else "all"
    return NodeTest(counted_as, tuple(dispersion), max(dispersion.values()), alpha, tuple(found))


def _held_s() -> pl.Expr:
    """At least the second that schedulers' clocks tell: a node on which everything dies at once has exposure, too."""
    return pl.col("runtime_s").clip(lower_bound=1.0)


def _by_node(by_user: pl.DataFrame) -> pl.DataFrame:
    return (
        by_user.group_by("nodes")
        .agg(pl.col("failures", "jobs", "gpu_hours").sum(), users=(pl.col("failures") > 0).sum())
        .sort("nodes")
    )


def _useful_exposures(table: pl.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Those by which nodes do not scatter much more than by the best, each with its dispersion."""
    found = {name: dispersion_of(table["failures"].to_numpy(), _column(table, name)) for name in names}
    return {name: scatter for name, scatter in found.items() if scatter <= _MUCH_MORE * min(found.values())}


def _p_values(table: pl.DataFrame, dispersion: dict[str, float]) -> Float64Array:
    counts = table["failures"].to_numpy()
    tails = [rate_tail(counts, _column(table, name), scatter) for name, scatter in dispersion.items()]
    return np.asarray(np.max(np.stack(tails), axis=0), dtype=np.float64)


def _node(
    row: dict[str, Any], table: pl.DataFrame, by_user: pl.DataFrame, dispersion: dict[str, float], alpha: float
) -> Node:
    stands_out = row["q"] <= alpha
    return Node(
        name=row["nodes"],
        failures=row["failures"],
        expected=max(_expected(row, table, name) for name in dispersion),
        jobs=row["jobs"],
        gpu_hours=row["gpu_hours"],
        users=row["users"],
        p_value=row["p"],
        q_value=row["q"],
        stands_out=stands_out,
        one_user=stands_out and not _holds_without_most(row["nodes"], by_user, dispersion, alpha),
    )


def _expected(row: dict[str, Any], table: pl.DataFrame, exposure: str) -> float:
    others = float(table[exposure].sum()) - row[exposure]
    return float((int(table["failures"].sum()) - row["failures"]) * row[exposure] / others) if others > 0 else 0.0


def _holds_without_most(node: str, by_user: pl.DataFrame, dispersion: dict[str, float], alpha: float) -> bool:
    """Whether the node's count is still improbable once the user with most failures there is left out everywhere."""
    there = by_user.filter(pl.col("nodes") == node).sort(["failures", "user"], descending=[True, False])
    rest = _by_node(by_user.filter(pl.col("user") != there["user"][0]))
    place = rest["nodes"].index_of(node)
    return place is not None and bool(_p_values(rest, dispersion)[place] <= alpha)


def _column(table: pl.DataFrame, name: str) -> Float64Array:
    return table[name].cast(pl.Float64).to_numpy()
