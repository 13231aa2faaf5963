"""How busy the GPUs were that attempts held, where a trace measured it."""

import polars as pl

from analytics.gpu.failure_tables import quantiles_of
from analytics.gpu.gpu_buckets import gpu_bucket, node_bucket


def busy_by(attempts: pl.DataFrame, key: str) -> pl.DataFrame:
    """The key, attempts, mean (over GPU time: an hour of 8 GPUs counts eight times), p10, p50 and p90 of attempts.

    Args:
        attempts: columns.with_durations.
        key: gpus, nodes (of attempts with more than one GPU) or outcome.
    """
    keys = {"gpus": gpu_bucket(), "nodes": node_bucket(), "outcome": pl.col("outcome")}
    rows = attempts.filter(pl.col("gpus") > 1) if key == "nodes" else attempts
    known = rows.filter(pl.col("busy").is_not_null() & (pl.col("gpu_s") > 0)).with_columns(key=keys[key])
    return (
        known.drop_nulls("key")
        .group_by("key")
        .agg(
            pl.len().alias("attempts"),
            ((pl.col("busy") * pl.col("gpu_s")).sum() / pl.col("gpu_s").sum()).alias("mean"),
            *quantiles_of("busy", (0.1, 0.5, 0.9)),
        )
        .sort("key")
        .rename({"key": key})
        .with_columns(pl.col(key).cast(pl.String))
    )
