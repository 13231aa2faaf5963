"""Failures of attempts by whatever they have in common: how many, how soon, and what GPU time they cost."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from analytics.gpu.gpu_buckets import gpu_bucket

#: Of the run time to failure; nearest rank, as everywhere in Tailwatch.
LEVELS: Final = (0.5, 0.9, 0.95)
KEYS: Final = ("category", "reason", "user", "queue", "node", "gpus")
NONE: Final = "(none)"


def quantiles_of(column: str, levels: Sequence[float] = LEVELS, unit: float = 1.0) -> list[pl.Expr]:
    """Nearest-rank quantiles of a column over `unit`, named p50, p90 ...; NULL of nothing."""
    return [
        (pl.col(column).drop_nulls().quantile(level, interpolation="equiprobable") / unit).alias(f"p{level * 100:g}")
        for level in levels
    ]


def failures_by(attempts: pl.DataFrame, key: str) -> pl.DataFrame:
    """One row a value of `key` that something failed with, the most GPU time lost first.

    Args:
        attempts: columns.with_durations.
        key: of KEYS. An attempt on several nodes counts on each of them, with the GPU time that it held there.
    Returns:
        the key, failures, jobs, users, share (of all failures), gpu_hours_lost, lost_share (of all lost), ended
        (attempts that are over), failed_share (of these), and p50, p90, p95 of minutes to failure.
    """
    rows = _with_key(attempts.filter(pl.col("outcome") != "running"), key)
    failed = rows.filter("failed")
    table = failed.group_by("key").agg(
        failures=pl.len(),
        jobs=pl.col("job").n_unique(),
        users=pl.col("user").drop_nulls().n_unique(),
        gpu_hours_lost=pl.col("gpu_s").sum() / 3600,
    )
    minutes = failed.group_by("key").agg(quantiles_of("runtime_s", unit=60.0))
    ended = rows.group_by("key").agg(ended=pl.len())
    failures, lost = attempts.filter("failed").height, float(attempts.filter("failed")["gpu_s"].sum() or 0.0) / 3600
    named = table.join(ended, on="key").join(minutes, on="key")
    told = key in ("category", "reason")
    return named.select(
        pl.col("key").cast(pl.String).alias(key),
        "failures",
        "jobs",
        "users",
        share=pl.col("failures") / failures,
        gpu_hours_lost=pl.col("gpu_hours_lost"),
        lost_share=pl.col("gpu_hours_lost") / lost if lost > 0 else pl.lit(None, dtype=pl.Float64),
        # What did not fail has no reason: a share of the failures with one would always be all.
        ended=pl.lit(None, dtype=pl.UInt32) if told else pl.col("ended"),
        failed_share=pl.lit(None, dtype=pl.Float64) if told else pl.col("failures") / pl.col("ended"),
        p50="p50",
        p90="p90",
        p95="p95",
    ).sort(["gpu_hours_lost", "failures", key], descending=[True, True, False])


def _with_key(attempts: pl.DataFrame, key: str) -> pl.DataFrame:
    if key == "gpus":
        return attempts.with_columns(key=gpu_bucket().cast(pl.String).fill_null(NONE))
    if key == "node":
        held = attempts.filter(pl.col("nodes").list.len() > 0).explode("nodes", "node_gpus")
        return held.with_columns(key=pl.col("nodes"), gpu_s=pl.col("node_gpus") * pl.col("runtime_s"))
    return attempts.with_columns(key=pl.col(key).fill_null(NONE))
