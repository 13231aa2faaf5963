"""What an attempt is as a row: the columns that every importer fills and every report reads.

NULL is unknown, never 0. `Attempt` (attempts.py) is the same for one of them; both ways are here.
"""

from collections.abc import Iterable
from typing import Any, Final, get_args

import polars as pl

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt, Outcome

OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
#: What counts as a failure. `killed` is somebody's wish, `preempted` the scheduler's; both have figures of their own.
FAILED: Final = ("failed", "timeout", "node_failure")

#: `nodes` and `node_gpus` belong together: how many GPUs of which node it held. `node_count` is known for traces, too,
#: that name no nodes. `busy` is the mean utilisation of its GPUs, 0 to 1. `exit_code` and `signal` are as the scheduler
#: tells them; 0 of both is a good end, NULL is not told.
ATTEMPTS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "job": pl.String,
    "number": pl.Int32,
    "user": pl.String,
    "queue": pl.String,
    "nodes": pl.List(pl.String),
    "node_gpus": pl.List(pl.Float64),
    "node_count": pl.Int32,
    "gpus": pl.Float64,
    "submitted_ns": pl.Int64,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "outcome": pl.Enum(OUTCOMES),
    "reason": pl.String,
    "category": pl.String,
    "template": pl.String,
    "busy": pl.Float64,
    "exit_code": pl.Int32,
    "signal": pl.Int32,
}
#: What an `Attempt` has no field for.
_NOT_OF_ATTEMPTS: Final = ("node_gpus", "node_count", "busy", "exit_code", "signal")


def frame_of(attempts: Iterable[Attempt]) -> pl.DataFrame:
    """Attempts as a frame of ATTEMPTS; GPUs are dealt evenly over the nodes."""
    given = list(attempts)
    columns: dict[str, list[Any]] = {
        name: [getattr(attempt, name) or None for attempt in given]
        for name in ("user", "queue", "reason", "category", "template")
    }
    for name in ("job", "number", "gpus", "submitted_ns", "start_ns", "end_ns", "outcome"):
        columns[name] = [getattr(attempt, name) for attempt in given]
    columns["nodes"] = [list(attempt.nodes) for attempt in given]
    columns["node_gpus"] = [
        [attempt.gpus / len(attempt.nodes)] * len(attempt.nodes) if attempt.nodes else [] for attempt in given
    ]
    columns["node_count"] = [len(attempt.nodes) or None for attempt in given]
    return completed(pl.DataFrame(columns, schema={name: ATTEMPTS[name] for name in columns}))


def attempts_of(frame: pl.DataFrame) -> list[Attempt]:
    """The rows of a frame of ATTEMPTS. A job whose submission nobody tells counts as submitted when it started.

    Raises:
        DataError: neither is known of a row.
    """
    lost = frame.filter(pl.col("submitted_ns").is_null() & pl.col("start_ns").is_null())
    if lost.height:
        raise DataError(
            f"{lost.height} attempts have neither a time of submission nor a start, the first of job {lost['job'][0]}; "
            "leave them out"
        )
    columns = [name for name in ATTEMPTS if name not in _NOT_OF_ATTEMPTS]
    texts = ("user", "queue", "reason", "category", "template")
    plain = frame.select(columns).with_columns(
        pl.col(texts).fill_null(""),
        pl.col("gpus").fill_null(0.0),
        pl.col("submitted_ns").fill_null(pl.col("start_ns")),
        pl.col("nodes").fill_null([]),
    )
    return [Attempt(**(row | {"nodes": tuple(row["nodes"])})) for row in plain.iter_rows(named=True)]


def completed(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the columns of ATTEMPTS; those it lacks are unknown."""
    empty = ("nodes", "node_gpus")
    return frame.select(
        pl.col(name).cast(kind)
        if name in frame.columns
        else pl.lit([] if name in empty else None, dtype=kind).alias(name)
        for name, kind in ATTEMPTS.items()
    )


def seconds_between(first: str, last: str) -> pl.Expr:
    """From one column of ns to another; whole seconds come out whole."""
    between = pl.col(last) - pl.col(first)
    return between // 1_000_000_000 + (between % 1_000_000_000) / 1e9


def with_durations(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with what reports count.

    Adds `runtime_s` and `queued_s` (NULL where a time is missing or the clock went backwards, never below 0), `gpu_s`
    (GPUs held times run time) and `failed`.
    """
    runtime, queued = seconds_between("start_ns", "end_ns"), seconds_between("submitted_ns", "start_ns")
    return frame.with_columns(
        runtime_s=pl.when(runtime >= 0).then(runtime),
        queued_s=pl.when((queued >= 0) & (pl.col("number") == 1)).then(queued),
        failed=pl.col("outcome").is_in(FAILED),
    ).with_columns(gpu_s=pl.col("gpus") * pl.col("runtime_s"))
