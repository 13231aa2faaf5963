"""Shares with intervals that know that one user's jobs resemble each other: users are drawn, never single jobs."""

from dataclasses import dataclass

import numpy as np
import polars as pl

LEVEL = 0.9
_DRAWS = 400


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `trials`. `low`, `high`: the interval of 90 %; None where a single user makes up everything."""

    hits: int
    trials: int
    low: float | None
    high: float | None

    @property
    def value(self) -> float | None:
        """None of nothing."""
        return self.hits / self.trials if self.trials else None

    def to_dict(self) -> dict[str, float | int | None]:
        """As plain values."""
        return {"value": self.value, "low": self.low, "high": self.high, "hits": self.hits, "trials": self.trials}


def share_of(frame: pl.DataFrame, hit: pl.Expr, *, seed: int = 0) -> Share:
    """The share of rows for which `hit` holds, with its bootstrap over users; a job without a user is its own.

    Args:
        frame: with `user` and `job`.
    """
    grouped = (
        frame.select(who=pl.coalesce("user", "job"), hit=hit.fill_null(False))
        .group_by("who")
        .agg(hits=pl.col("hit").sum(), trials=pl.len())
        .sort("who")
    )
    hits, trials = (grouped[name].cast(pl.Float64).to_numpy() for name in ("hits", "trials"))
    if grouped.height < 2:
        return Share(int(hits.sum()), int(trials.sum()), None, None)
    times = np.random.default_rng(seed).multinomial(grouped.height, np.full(grouped.height, 1 / grouped.height), _DRAWS)
    drawn = (times @ hits) / (times @ trials)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Share(int(hits.sum()), int(trials.sum()), float(low), float(high))
