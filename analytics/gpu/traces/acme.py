"""Shanghai AI Lab's Acme traces (trace_seren.csv, trace_kalos.csv): one row a job, Slurm's states.

The columns `duration` and `gpu_time` are not read: in the published rows of Kalos they begin with the submission, not
with the start as described. Run time and GPU time come from the times themselves.
Source: schema in the trace's README (InternLM/AcmeTrace).
"""

from pathlib import Path
from typing import Final

import polars as pl

from analytics.gpu.traces.cells import Cells
from analytics.gpu.traces.columns import ATTEMPTS, completed
from analytics.gpu.traces.csv_blocks import csv_blocks

COLUMNS: Final = ("job_id", "user", "node_num", "gpu_num", "type", "state", "submit_time", "start_time", "end_time")
NOTES: Final = (
    "jobs are single: the trace does not tell which job retries which, nor on which nodes one ran",
    "the queue is the kind of work that the trace names (`type`)",
)
#: Slurm's states, as far as they can stand in a job's record.
STATES: Final = {
    "COMPLETED": "passed",
    "FAILED": "failed",
    "CANCELLED": "killed",
    "TIMEOUT": "timeout",
    "NODE_FAIL": "node_failure",
    "REVOKED": "killed",
    "RUNNING": "running",
    "PENDING": "running",
    "SUSPENDED": "running",
    "RESIZING": "running",
    "PREEMPTED": "preempted",
    "REQUEUED": "preempted",
    "OUT_OF_MEMORY": "failed",
    "BOOT_FAIL": "node_failure",
    "DEADLINE": "timeout",
}


def read_acme(path: Path) -> pl.DataFrame:
    """All jobs as attempts (columns.ATTEMPTS), those without GPUs too.

    Raises:
        DataError: no such file, or a cell that cannot be used.
    """
    parts = [_frame(cells) for cells in csv_blocks(path, COLUMNS)]
    return pl.concat(parts) if parts else pl.DataFrame(schema=ATTEMPTS)


def _frame(cells: Cells) -> pl.DataFrame:
    rows = cells.frame.height
    known = pl.DataFrame(
        {
            "job": cells.names("job_id"),
            "number": pl.repeat(1, rows, eager=True),
            "user": cells.texts("user"),
            "queue": cells.texts("type"),
            "node_count": cells.whole_numbers("node_num"),
            "gpus": cells.numbers("gpu_num"),
            "submitted_ns": cells.times_with_offset("submit_time"),
            "start_ns": cells.times_with_offset("start_time"),
            "end_ns": cells.times_with_offset("end_time"),
            "outcome": cells.one_of("state", STATES),
        }
    )
    return completed(known)
