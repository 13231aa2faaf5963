"""Alibaba's PAI trace of 2020 (cluster-trace-gpu-v2020): tables of jobs, tasks and instances without headers.

A job has tasks of several roles, a task instances on machines; GPUs are asked for in percent of one, per instance. A
row here is a job: its GPUs are those of all its instances, it starts with its first instance (or task, where the table
of instances is missing) and ends as the job does. Jobs are not retried in it. A time of 0 is one that was left out.
Source: the trace's README and .header files (alibaba/clusterdata).
"""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from analytics.errors import DataError
from analytics.gpu.traces.cells import Cells
from analytics.gpu.traces.columns import completed, seconds_between
from analytics.gpu.traces.csv_blocks import csv_blocks

JOBS: Final = ("job_name", "inst_id", "user", "status", "start_time", "end_time")
TASKS: Final = (
    "job_name", "task_name", "inst_num", "status", "start_time", "end_time",
    "plan_cpu", "plan_mem", "plan_gpu", "gpu_type",
)  # fmt: skip
INSTANCES: Final = (
    "job_name", "task_name", "inst_name", "worker_name", "inst_id", "status", "start_time", "end_time", "machine",
)  # fmt: skip
STATUSES: Final = {"Terminated": "passed", "Failed": "failed", "Running": "running", "Waiting": "running"}
NOTES: Final = (
    "jobs are single: the trace has no retries; one whose status is Waiting or Running counts as running",
    "all times are shifted by the publisher; days and months mean nothing, differences do",
    "the queue is the kind of GPU",
)


def table(folder: Path, name: str) -> Path | None:
    """The file of a table in a folder, packed or not; None where there is none."""
    return next((path for ending in ("", ".gz") if (path := folder / f"{name}.csv{ending}").is_file()), None)


def read_alibaba(folder: Path) -> pl.DataFrame:
    """All jobs as attempts (columns.ATTEMPTS), those without GPUs too.

    Args:
        folder: holds pai_job_table.csv, pai_task_table.csv and, where nodes are wanted, pai_instance_table.csv.
    Raises:
        DataError: a table is missing, or a cell cannot be used.
    Memory: columns of jobs and tasks, some 20 bytes an instance, and some blocks of text.
    """
    jobs = _jobs(_needed(folder, "pai_job_table"))
    tasks = read_tasks(folder)
    per_job = tasks.group_by("job_name").agg(
        gpus=(pl.col("inst_num") * pl.col("plan")).sum(),
        task_start_ns=pl.col("start_ns").min(),
        queue=pl.col("gpu_type").filter(pl.col("plan") > 0).drop_nulls().first(),
    )
    frame = jobs.join(per_job, left_on="job", right_on="job_name", how="left", maintain_order="left")
    instances = table(folder, "pai_instance_table")
    if instances is None:
        return completed(frame.with_columns(start_ns=pl.col("task_start_ns")))
    first, held = _instances(instances, frame, tasks)
    frame = frame.with_columns(start_ns=pl.coalesce(first, pl.col("task_start_ns"))).with_row_index("place")
    runtime_s = seconds_between("start_ns", "end_ns")
    nodes = (
        held.join(frame.select("place", runtime_s=runtime_s), on="place")
        # Instances come and go: what counts for a node is how many GPUs it gave on average over the run.
        .with_columns(
            node_gpus=pl.when(pl.col("runtime_s") > 0)
            .then(pl.col("gpu_s") / pl.col("runtime_s"))
            .fill_null(pl.col("planned"))
        )
        .sort("place", "machine")
        .group_by("place", maintain_order=True)
        .agg(nodes=pl.col("machine"), node_gpus=pl.col("node_gpus"), node_count=pl.len())
    )
    return completed(
        frame.join(nodes, on="place", how="left", maintain_order="left").with_columns(
            pl.col("nodes", "node_gpus").fill_null([])
        )
    )


def read_tasks(folder: Path) -> pl.DataFrame:
    """job_name, task_name, inst_num, plan (GPUs an instance), gpu_type and start_ns of each task."""
    wanted = ("job_name", "task_name", "inst_num", "start_time", "plan_gpu", "gpu_type")
    parts = [
        pl.DataFrame(
            {
                "job_name": cells.names("job_name"),
                "task_name": cells.texts("task_name").fill_null(""),
                "inst_num": cells.numbers("inst_num").fill_null(0.0),
                "plan": cells.numbers("plan_gpu").fill_null(0.0) / 100,
                "gpu_type": cells.texts("gpu_type"),
                "start_ns": cells.shifted_seconds("start_time"),
            }
        )
        for cells in csv_blocks(_needed(folder, "pai_task_table"), wanted, TASKS)
    ]
    if not parts:
        raise DataError(f"{folder}: pai_task_table.csv is empty; without it nobody knows how many GPUs jobs had")
    return pl.concat(parts)


def _needed(folder: Path, name: str) -> Path:
    path = table(folder, name)
    if path is None:
        raise DataError(f"{folder} has no {name}.csv; wanted are pai_job_table.csv and pai_task_table.csv, unpacked")
    return path


def _jobs(path: Path) -> pl.DataFrame:
    wanted = ("job_name", "user", "status", "start_time", "end_time")
    parts = [
        pl.DataFrame(
            {
                "job": cells.names("job_name"),
                "number": pl.repeat(1, cells.frame.height, dtype=pl.Int32, eager=True),
                "user": cells.texts("user"),
                "submitted_ns": cells.shifted_seconds("start_time"),
                "end_ns": cells.shifted_seconds("end_time"),
                "outcome": cells.one_of("status", STATUSES),
            }
        )
        for cells in csv_blocks(path, wanted, JOBS)
    ]
    if not parts:
        raise DataError(f"{path} is empty; rows of {', '.join(JOBS)} are wanted")
    return pl.concat(parts)


def _instances(path: Path, jobs: pl.DataFrame, tasks: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """When each job's first instance started, and what its jobs held of each machine.

    Returns:
        Int64 ns in the order of `jobs`, and place, machine, planned (GPUs), gpu_s (NULL where a time is missing).
    """
    places = jobs.select("job").with_row_index("place").unique("job", keep="first")
    plans = (
        tasks.unique(["job_name", "task_name"], keep="first")
        .join(places, left_on="job_name", right_on="job")
        .select("job_name", "task_name", "place", "plan")
    )
    never = np.iinfo(np.int64).max
    first = np.full(jobs.height, never, dtype=np.int64)
    parts = [
        _part(cells, plans, first)
        for cells in csv_blocks(path, ("job_name", "task_name", "start_time", "end_time", "machine"), INSTANCES)
    ]
    starts = pl.Series("start_ns", first)
    starts = starts.set(starts == never, None)
    if not parts:
        return starts, pl.DataFrame(
            schema={"place": pl.UInt32, "machine": pl.String, "planned": pl.Float64, "gpu_s": pl.Float64}
        )
    held = (
        pl.concat(parts)
        .group_by("place", "machine")
        .agg(
            planned=pl.col("plan").sum(),
            gpu_s=pl.when(pl.col("seconds").is_not_null().all()).then((pl.col("plan") * pl.col("seconds")).sum()),
        )
    )
    return starts, held.with_columns(pl.col("machine").cast(pl.String))


def _part(cells: Cells, plans: pl.DataFrame, first: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "job_name": cells.names("job_name"),
            "task_name": cells.texts("task_name").fill_null(""),
            "start_ns": cells.shifted_seconds("start_time"),
            "end_ns": cells.shifted_seconds("end_time"),
            "machine": cells.texts("machine"),
        }
    ).join(plans, on=["job_name", "task_name"])
    started = rows.filter(pl.col("start_ns").is_not_null())
    np.minimum.at(first, started["place"].to_numpy(), started["start_ns"].to_numpy())
    seconds = seconds_between("start_ns", "end_ns")
    return rows.filter((pl.col("plan") > 0) & pl.col("machine").is_not_null()).select(
        "place", pl.col("machine").cast(pl.Categorical), "plan", seconds=pl.when(seconds >= 0).then(seconds)
    )
