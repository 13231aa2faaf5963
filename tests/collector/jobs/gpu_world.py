"""A database, jobs whose log lines and reports are in it, and the job that looks into them, driven step by step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from collector.config import CollectorConfig
from collector.jobs.config import GpuConfig, JobsConfig
from collector.jobs.gpu_jobs import GpuRounds
from collector.jobs.job_streams import COLLECTOR_STREAMS
from pipeline.chain import Chain
from pipeline.schema import polars_schema
from pipeline.sql import compile_query
from store.claims import claim
from store.flush import Flush, write_flush
from store.gpu_attempts import AttemptRow, put_attempts
from store.gpu_failures import FailureRow, failures_of
from store.registry import load_versions, register_queries
from store.series import SeriesIds
from tailwatch.query_set import builtin_queries

S_NS = 10**9
MINUTE_NS = 60 * S_NS
HOUR_NS = 3600 * S_NS
DAY_NS = 24 * HOUR_NS
#: 2024-11-20 13:30: a day in the past of every machine, for the job trusts no clock that is ahead of the server's.
NOW = 20_047 * DAY_NS + 13 * HOUR_NS + 30 * MINUTE_NS

LINES = {
    "ts": "int64", "job": "string", "node": "string", "file": "string", "rank": "string", "source": "string",
    "text": "string", "told": "string", "place": "int64",
}  # fmt: skip
LOG_SQL = """
    SELECT job, node, file, rank, source, first_lines(told, place) AS job_log_first_lines,
           last_lines(text, place) AS job_log_last_lines, count(*) AS job_log_lines_total
    FROM job_logs GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), job, node, file, rank, source"""
LOGS = compile_query("job_logs", LOG_SQL, {"job_logs": LINES}, {})
QUERIES = ("gpu_job_failures", "gpu_nodes", "gpu_explained")
PLANS = {
    one.name: compile_query(one.name, one.sql, dict(COLLECTOR_STREAMS), {})
    for one in builtin_queries()
    if one.name in QUERIES
}

OUT_OF_MEMORY = (
    "step 100 loss 2.71",
    "Traceback (most recent call last):",
    '  File "train.py", line 31, in <module>',
    "    loss = model(batch)",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB",
)
FINE = ("step 100 loss 2.71", "step 200 loss 2.65", "training done, model saved")
XID = "NVRM: Xid (PCI:0000:07:00): 79, pid=1234, name=python, GPU has fallen off the bus."
#: What a filter on the agents would let through to first_lines.
TELLING = ("Error", "Xid", "Traceback", "error")


def lines(job: str, texts: Sequence[str], at_ns: int = NOW - HOUR_NS, **labels: Any) -> list[dict[str, Any]]:
    """Rows of a log, a second apart, the last one at `at_ns`."""
    said = {"node": "n1", "file": "out.log", "rank": "", "source": "stderr"} | labels
    return [
        {
            "ts": at_ns - (len(texts) - 1 - number) * S_NS,
            "job": job,
            "text": text,
            "told": text if any(word in text for word in TELLING) else None,
            "place": number,
        }
        | said
        for number, text in enumerate(texts)
    ]


def attempt(job: str, number: int = 1, **known: Any) -> AttemptRow:
    """A report: it ran for an hour until an hour ago, on n1, and failed."""
    about = {
        "user": "anna",
        "queue": "train",
        "nodes": ("n1",),
        "gpus": 8.0,
        "submitted_ns": NOW - 2 * HOUR_NS - MINUTE_NS,
        "start_ns": NOW - 2 * HOUR_NS,
        "end_ns": NOW - HOUR_NS,
        "outcome": "failed",
        "reported_ns": NOW - HOUR_NS + S_NS,
    }
    return AttemptRow(job=job, number=number, **(about | known))


@dataclass
class GpuWorld:
    """Lines go in as an agent's would, through the plan into flushes of a partition; reports as the API's."""

    engine: sa.Engine

    @staticmethod
    def made(engine: sa.Engine) -> "GpuWorld":
        """A world whose database is upgraded and knows no query yet."""
        with engine.begin() as connection:
            register_queries(connection, [LOGS, *PLANS.values()], 0)
        return GpuWorld(engine)

    def take(self, rows: Iterable[Mapping[str, Any]], partition: int = 0) -> None:
        """Flush these lines."""
        chain = Chain(LOGS, {})
        frame = pl.DataFrame(list(rows), schema=polars_schema(LINES), orient="row")
        partial = chain.finish(chain.prepare(frame), after=0)
        with self.engine.begin() as connection:
            held = claim(connection, "tailwatch", partition, "tester")
            versions = load_versions(connection)
        flush = Flush(held.next_offset + 1, NOW, partials={chain.plan.version: partial})
        write_flush(self.engine, held, flush, versions, SeriesIds())

    def report(self, *rows: AttemptRow) -> None:
        """What a scheduler tells."""
        with self.engine.begin() as connection:
            put_attempts(connection, rows)

    def rounds(self, owner: str = "tester", **settings: Any) -> GpuRounds:
        """The job as a collector has it; it rests for nobody, and does a round at every tick."""
        gpu = GpuConfig(**{"cpu_share": 1.0, "interval_s": 1e-9, **settings})
        return GpuRounds(CollectorConfig(jobs=JobsConfig(gpu=gpu)), self.engine, owner)

    def failures(self, job: str) -> list[FailureRow]:
        """What was found of a job."""
        with self.engine.connect() as connection:
            return failures_of(connection, job)

    def reasons(self, job: str) -> dict[int, str | None]:
        """Number of each attempt that failed -> the reason found."""
        return {row.number: row.reason for row in self.failures(job)}

    def table(self, name: str, *left_out: str) -> list[tuple[Any, ...]]:
        """All rows of a table, in order, without columns that say when."""
        table = sa.Table(name, sa.MetaData(), autoload_with=self.engine)
        columns = [column for column in table.c if column.name not in left_out]
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(*columns)).all()
        return sorted((tuple(row) for row in found), key=repr)
