"""Shares with intervals that know that one user's jobs resemble each other: users are drawn, never single jobs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

LEVEL = 0.9
_DRAWS = 400
#: The quantile of a normal variable that LEVEL leaves above itself half of the rest.
_Z = 1.6449
_MOST_DRAWN = 2_000

Float64Array = npt.NDArray[np.float64]


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
    low, high = _drawn(hits, trials, seed) if grouped.height <= _MOST_DRAWN else _normal(hits, trials)
    return Share(int(hits.sum()), int(trials.sum()), low, high)


def _drawn(hits: Float64Array, trials: Float64Array, seed: int) -> tuple[float, float]:
    times = np.random.default_rng(seed).multinomial(hits.size, np.full(hits.size, 1 / hits.size), _DRAWS)
    low, high = np.quantile((times @ hits) / (times @ trials), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _normal(hits: Float64Array, trials: Float64Array) -> tuple[float, float]:
    """What the bootstrap of so many groups comes to, without drawing them."""
    share = float(hits.sum() / trials.sum())
    spread = _Z * float(np.sqrt(((hits - share * trials) ** 2).sum()) / trials.sum())
    return max(0.0, share - spread), min(1.0, share + spread)
