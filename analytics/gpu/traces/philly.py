"""Microsoft's Philly trace: `cluster_job_log`, a JSON array of jobs with all their attempts.

Attempts before a job's last have no outcome of their own: the scheduler started the job again, so they count as
failed. The last one ends as the job did, unless it has no end: then it still ran when the log was taken.
Times are in the zone of the cluster's own utilisation log, which writes PDT and PST beside them.
Source: schema and notes in the trace's README (msr-fiddle/philly-traces).
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import polars as pl

from analytics.errors import DataError
from analytics.gpu.traces.cells import COUNTED_FROM_TO
from analytics.gpu.traces.columns import ATTEMPTS
from analytics.gpu.traces.json_objects import decoded, json_objects
from analytics.gpu.traces.opened_file import opened

ZONE: Final = "America/Los_Angeles"
NOTES: Final = (
    "attempts before a job's last one count as failed: the trace does not tell preempted ones apart",
    f"times are read as {ZONE}, the zone of the trace's utilisation log",
)
_OUTCOMES: Final = {"pass": "passed", "killed": "killed", "failed": "failed"}
_NO_TIME: Final = ("", "None")
_JOBS_AT_ONCE: Final = 20_000
#: `devices`: node and GPU of every GPU it held, what utilisation.py looks samples up by.
PHILLY: Final = ATTEMPTS | {"devices": pl.List(pl.String)}


class _Server(msgspec.Struct):
    ip: str
    gpus: list[str] = []


class _Run(msgspec.Struct):
    start_time: str | None = None
    end_time: str | None = None
    detail: list[_Server] = []


class _Job(msgspec.Struct):
    status: str
    jobid: str
    attempts: list[_Run]
    vc: str | None = None
    user: str | None = None
    submitted_time: str | None = None


def read_philly(path: Path) -> pl.DataFrame:
    """All attempts, as PHILLY; a job that was never scheduled is one attempt without a start.

    Raises:
        DataError: no such file, or a job that cannot be used; the message names job and field.
    Memory: that of the attempts, and some blocks of text.
    """
    parts = []
    with opened(path) as stream:
        jobs = _jobs(json_objects(stream, str(path)), str(path))
        first = 1
        while some := list(islice(jobs, _JOBS_AT_ONCE)):
            parts.append(_frame(some, str(path), first))
            first += len(some)
    return pl.concat(parts) if parts else pl.DataFrame(schema=PHILLY)


def _jobs(texts: Iterator[bytes], file: str) -> Iterator[_Job]:
    decoder = msgspec.json.Decoder(_Job)
    for number, text in enumerate(texts, 1):
        job = decoded(decoder, text, f"{file}, job {number}", "a job of Philly's cluster_job_log")
        if not job.jobid.strip():
            raise DataError(f"{file}, job {number}, field jobid: nothing; a name is wanted")
        if job.status.lower() not in _OUTCOMES:
            raise DataError(
                f"{file}, job {number} ({job.jobid}), field status: {job.status[:80]!r}; "
                "Pass, Killed or Failed is wanted"
            )
        yield job


def _frame(jobs: list[_Job], file: str, first: int) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for place, job in enumerate(jobs, first):
        for number, run in enumerate(job.attempts or [_Run()], 1):
            rows.append(_row(job, number, run) | {"place": place})
    texts = ("submitted_ns", "start_ns", "end_ns")
    schema = PHILLY | dict.fromkeys(texts, pl.String) | {"place": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema)
    submitted = _times(frame, "submitted_ns", "submitted_time", file, "earliest")
    start = _times(frame, "start_ns", "start_time", file, "earliest")
    end = _times(frame, "end_ns", "end_time", file, "earliest")
    # In the hour that the clock shows twice, an end before the start is the second time that the clock showed it.
    end = end.zip_with((end >= start).fill_null(True), _times(frame, "end_ns", "end_time", file, "latest"))
    return frame.with_columns(submitted, start, end).select(list(PHILLY))


def _row(job: _Job, number: int, run: _Run) -> dict[str, Any]:
    held: dict[str, int] = {}
    for server in run.detail:
        held[server.ip] = held.get(server.ip, 0) + len(server.gpus)
    last = number == max(len(job.attempts), 1)
    running = last and _told(run.start_time) is not None and _told(run.end_time) is None
    return {
        "job": job.jobid,
        "number": number,
        "user": _told(job.user),
        "queue": _told(job.vc),
        "nodes": list(held),
        "node_gpus": [float(count) for count in held.values()],
        "node_count": len(held) or None,
        "gpus": float(sum(held.values())) if held else None,
        "submitted_ns": _told(job.submitted_time),
        "start_ns": _told(run.start_time),
        "end_ns": _told(run.end_time),
        "outcome": "running" if running else _OUTCOMES[job.status.lower()] if last else "failed",
        "devices": [f"{server.ip}/{gpu}" for server in run.detail for gpu in server.gpus],
    }


def _told(text: str | None) -> str | None:
    return None if text is None or text.strip() in _NO_TIME else text.strip()


def _times(
    frame: pl.DataFrame, column: str, field: str, file: str, ambiguous: Literal["earliest", "latest"]
) -> pl.Series:
    told = frame[column]
    naive = told.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
    zoned = naive.dt.replace_time_zone(ZONE, ambiguous=ambiguous, non_existent="null").dt.convert_time_zone("UTC")
    wrong = told.is_not_null() & ~zoned.is_between(*COUNTED_FROM_TO).fill_null(False)
    if wrong.any():
        row = frame.row(int(wrong.arg_max() or 0), named=True)
        raise DataError(
            f"{file}, job {row['place']} ({row['job']}), attempt {row['number']}, field {field}: {row[column][:80]!r}; "
            f"a time such as 2017-10-07 01:12:09 is wanted, one that clocks in {ZONE} showed"
        )
    return zoned.dt.epoch("ns").alias(column)
