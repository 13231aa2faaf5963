"""How attempts and jobs ended, and how much GPU time went into each end."""

import polars as pl

from analytics.gpu.traces.columns import OUTCOMES


def outcome_shares(attempts: pl.DataFrame) -> pl.DataFrame:
    """One row an outcome that occurs, in the order of OUTCOMES.

    Args:
        attempts: columns.with_durations.
    Returns:
        outcome, attempts, attempt_share, jobs (by their last attempt), job_share, gpu_hours, gpu_hours_share. What
        still runs has no GPU time yet.
    """
    last = last_attempts(attempts)
    by_attempt = attempts.group_by("outcome").agg(attempts=pl.len(), gpu_hours=pl.col("gpu_s").sum() / 3600)
    by_job = last.group_by("outcome").agg(jobs=pl.len())
    hours = float(attempts["gpu_s"].sum() or 0.0) / 3600
    return (
        pl.DataFrame({"outcome": OUTCOMES}, schema={"outcome": pl.Enum(OUTCOMES)})
        .join(by_attempt, on="outcome", maintain_order="left")
        .join(by_job, on="outcome", how="left", maintain_order="left")
        .select(
            pl.col("outcome").cast(pl.String),
            "attempts",
            attempt_share=pl.col("attempts") / attempts.height,
            jobs=pl.col("jobs").fill_null(0),
            job_share=pl.col("jobs").fill_null(0) / last.height,
            gpu_hours="gpu_hours",
            gpu_hours_share=pl.col("gpu_hours") / hours if hours > 0 else pl.lit(None, dtype=pl.Float64),
        )
    )


def last_attempts(attempts: pl.DataFrame) -> pl.DataFrame:
    """The attempt of each job with the highest number."""
    return attempts.sort("number", maintain_order=True).unique("job", keep="last", maintain_order=True)
