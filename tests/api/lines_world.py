"""Logs of two jobs, kept as lines in a database."""

import polars as pl
import sqlalchemy as sa

from pipeline.sql import compile_query
from store.registry import register_queries
from tests.api.world import BEGIN_NS, SECOND_NS, add

SQL = """SELECT host, job, first_lines(CASE WHEN text NOT LIKE '%fine%' THEN text END, place) AS job_first_lines,
last_lines(text, place) AS job_last_lines, count(*) AS job_lines_total, sketch(place) AS place_bytes
FROM job_logs GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), host, job"""
N = 600


def log_lines() -> pl.DataFrame:
    """Lines of two jobs over a minute, one of them fine; some are formulas to a spreadsheet, some hold odd signs."""
    texts = ["loss 0.1 fine", "=1+1 failed", "tab\there failed", 'a "quoted", failed', "é\x1b[31m\x00 failed"]
    return pl.DataFrame(
        {
            "ts": BEGIN_NS + pl.int_range(N, eager=True) * (60 * SECOND_NS // N),
            "host": ["host0"] * N,
            "job": [f"job-{k % 2}" for k in range(N)],
            "text": [f"{texts[k % 5]} {'x' * (k % 120)}" if k % 2 else "all fine" for k in range(N)],
            "place": [40 * k for k in range(N)],
        }
    )


def add_lines(engine: sa.Engine) -> None:
    """Put them into a database, as from two agents."""
    schema = {"job": "string", "text": "string", "place": "int64"}
    plan, rows = compile_query("job_logs", SQL, {"job_logs": schema}, {}), log_lines()
    with engine.begin() as connection:
        register_queries(connection, [plan], BEGIN_NS - SECOND_NS)
    for partition in (0, 1):
        add(engine, plan, rows[1::2] if partition else rows[::2], partition, f"agent-host{partition}")
