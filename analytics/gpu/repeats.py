"""What became of jobs that were run again: does a failure repeat, and what do retries cost.

An attempt that failed counts where the next one of its job is over, too; jobs that nobody ran again say nothing about
retries. Shares have intervals over users (clustered_shares.py).
"""

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from analytics.gpu.clustered_shares import Share, share_of
from analytics.gpu.outcome_shares import last_attempts

#: Failures of this attempt and any later one are one row: there are few of them.
_LAST_NUMBER: Final = 5


@dataclass(frozen=True, slots=True)
class Repeats:
    """What followed failures.

    Attributes:
        again: of attempts that failed and were followed by another, those whose next one failed, too.
        by_number: the same by the number of the attempt that failed; the last one stands for all later ones.
        same_nodes, other_nodes: the same, by whether the next attempt had a node of the failed one.
        by_reason: of those with a diagnosis: reason -> whose next attempt failed with the same reason.
        passed_later: of jobs with a failed attempt and a later one, those that passed in the end.
        jobs: all; retried: those with more than one attempt.
        retry_gpu_hours: what attempts after the first cost; wasted_gpu_hours: those of them in jobs that never passed.
    """

    jobs: int
    retried: int
    again: Share
    by_number: tuple[tuple[int, Share], ...]
    same_nodes: Share
    other_nodes: Share
    by_reason: tuple[tuple[str, Share], ...]
    passed_later: Share
    retry_gpu_hours: float
    wasted_gpu_hours: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "jobs": self.jobs,
            "retried": self.retried,
            "again": self.again.to_dict(),
            "by_number": [{"number": number} | share.to_dict() for number, share in self.by_number],
            "same_nodes": self.same_nodes.to_dict(),
            "other_nodes": self.other_nodes.to_dict(),
            "by_reason": [{"reason": reason} | share.to_dict() for reason, share in self.by_reason],
            "passed_later": self.passed_later.to_dict(),
            "retry_gpu_hours": self.retry_gpu_hours,
            "wasted_gpu_hours": self.wasted_gpu_hours,
        }


def repeats(attempts: pl.DataFrame) -> Repeats | None:
    """What followed failures; None where no job was run again.

    Args:
        attempts: columns.with_durations.
    """
    chains = attempts.sort("job", "number", maintain_order=True)
    following = {
        "next_number": "number",
        "next_outcome": "outcome",
        "next_failed": "failed",
        "next_reason": "reason",
        "next_nodes": "nodes",
    }
    chains = chains.with_columns(pl.col(column).shift(-1).over("job").alias(name) for name, column in following.items())
    many = chains.filter(pl.col("number").n_unique().over("job") > 1)
    if not many.height:
        return None
    follows = pl.col("next_number") == pl.col("number") + 1  # neither a gap nor the same attempt told twice
    retried = many.filter(pl.col("failed") & follows & (pl.col("next_outcome") != "running"))
    number = pl.col("number").clip(upper_bound=_LAST_NUMBER)
    again = pl.col("next_failed")
    placed = retried.filter((pl.col("nodes").list.len() > 0) & (pl.col("next_nodes").list.len() > 0)).with_columns(
        shared=pl.col("nodes").list.set_intersection("next_nodes").list.len() > 0
    )
    told = retried.filter(pl.col("reason").is_not_null())
    ends = last_attempts(many).filter(pl.col("job").is_in(retried["job"].unique().implode()))
    passed = last_attempts(attempts).filter(pl.col("outcome") == "passed")["job"]
    later = many.filter(pl.col("number") > 1)
    return Repeats(
        jobs=attempts["job"].n_unique(),
        retried=many["job"].n_unique(),
        again=share_of(retried, again),
        by_number=tuple(
            (place, share_of(retried.filter(number == place), again))
            for place in sorted(set(retried.select(number).to_series().to_list()))
        ),
        same_nodes=share_of(placed.filter("shared"), again),
        other_nodes=share_of(placed.filter(~pl.col("shared")), again),
        by_reason=_by_reason(told),
        passed_later=share_of(ends, pl.col("outcome") == "passed"),
        retry_gpu_hours=_gpu_hours(later),
        wasted_gpu_hours=_gpu_hours(later.filter(~pl.col("job").is_in(passed.implode()))),
    )


def _by_reason(told: pl.DataFrame) -> tuple[tuple[str, Share], ...]:
    same = pl.col("next_failed") & (pl.col("reason") == pl.col("next_reason"))
    found = [(str(key[0]), share_of(rows, same)) for key, rows in told.group_by("reason")]
    return tuple(sorted(found, key=lambda row: (-row[1].trials, row[0])))


def _gpu_hours(attempts: pl.DataFrame) -> float:
    return float(attempts["gpu_s"].sum() or 0.0) / 3600
