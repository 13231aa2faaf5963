"""Measured query times of search engines, spread over five agents: every quantile within the stated error."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from pipeline.sql import compile_query
from store.windows import Selection, merged
from tests.collector.conftest import Bench
from tests.fleet import START_NS, WINDOW_NS, FakeAgent
from tests.quantiles import reference

SQL = """SELECT engine, sketch(us) AS query_us, count(*) AS probes
FROM times GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), engine"""
SCHEMA = {"times": {"ts": "int64", "host": "string", "engine": "string", "us": "int64"}}
LEVELS = (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0)


def measured_times(folder: Path) -> pl.DataFrame:
    """One row per measured run of a query, its time stamp spread over three windows."""
    with gzip.open(folder / "service_times" / "searchbench_times.csv.gz") as file:
        table = pl.read_csv(file.read())
    runs = [column for column in table.columns if column.startswith("us_")]
    long = table.unpivot(runs, index=["engine"], value_name="us").drop_nulls("us")
    return long.select(
        (START_NS + pl.int_range(pl.len()) * (3 * WINDOW_NS) // pl.len()).alias("ts"),
        pl.lit("h").alias("host"),
        "engine",
        pl.col("us").cast(pl.Int64),
    )


def test_every_quantile_of_measured_query_times_is_within_the_stated_error(bench: Bench, real_data: Path) -> None:
    times = measured_times(real_data)
    assert times.height > 100_000
    bench.plan = compile_query("times", SQL, SCHEMA, {})
    for n in range(5):
        agent = FakeAgent(bench.plan, f"agent-{n}", partition=n % 2, incarnation=f"{n:032x}")
        part = times.gather_every(5, n)
        for at in range(0, part.height, 10_000):
            bench.publish(agent.send(part[at : at + 10_000], cut=99 if n % 2 else 0), agent.partition)
    collector = bench.collector()
    for _ in range(20):
        collector.step(0.0)
    with bench.engine.connect() as connection:
        answer = merged(connection, Selection("query_us", START_NS, START_NS + 3 * WINDOW_NS, by=("engine",)))
    assert len(answer.groups) == times["engine"].n_unique() > 1
    for group in answer.groups:
        exact = sorted(times.filter(engine=group.labels["engine"])["us"].cast(pl.Float64).to_list())
        column = group.state.column  # type: ignore[attr-defined]
        assert column.totals().tolist() == [len(exact)]
        for q, estimate in zip(LEVELS, column.quantiles(LEVELS)[0], strict=True):
            truth = exact[reference.rank(q, len(exact)) - 1]
            assert estimate == pytest.approx(truth, rel=column.error_bound * (1 + 1e-9))
