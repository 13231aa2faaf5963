"""How long jobs waited for their GPUs, by how many they wanted and over how many nodes they were spread."""

from typing import Final

import polars as pl

from analytics.gpu.failure_tables import quantiles_of
from analytics.gpu.gpu_buckets import gpu_bucket, node_bucket

LEVELS: Final = (0.5, 0.9, 0.95, 0.99)


def waits_by_gpus(attempts: pl.DataFrame) -> pl.DataFrame:
    """gpus, jobs, mean, p50, p90, p95 and p99 of minutes between submission and first start.

    Args:
        attempts: columns.with_durations; waits are known of first attempts only.
    """
    return _waits(attempts, {"gpus": gpu_bucket()})


def waits_by_locality(attempts: pl.DataFrame) -> pl.DataFrame:
    """The same by gpus and nodes, of jobs with more than one GPU: only they can be spread."""
    return _waits(attempts.filter(pl.col("gpus") > 1), {"gpus": gpu_bucket(), "nodes": node_bucket()})


def _waits(attempts: pl.DataFrame, keys: dict[str, pl.Expr]) -> pl.DataFrame:
    known = attempts.filter(pl.col("queued_s").is_not_null()).select("queued_s", **keys).drop_nulls()
    figures = [pl.len().alias("jobs"), (pl.col("queued_s").mean() / 60).alias("mean")]
    waits = known.group_by(*keys).agg(*figures, *quantiles_of("queued_s", LEVELS, 60.0)).sort(*keys)
    return waits.with_columns(pl.col(*keys).cast(pl.String))
