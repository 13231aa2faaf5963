"""DuckDB's approx_quantile, a t-digest inside an SQL engine: one thread, column in its own memory, no state to keep."""

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np

from benchmarks.quantiles.peers.method import Method
from quantiles.array_types import FloatArray, IntArray


def methods() -> list[Method]:
    """One query over the whole column."""
    return [
        Method(
            name="duckdb approx_quantile", package="duckdb", kind="engine", guarantee="empirical",
            promise="none proven", takes="whole column", load=_load, ask=_ask, load_groups=_load_groups,
            ask_groups=_ask_groups,
        )
    ]  # fmt: skip


def _load(values: FloatArray) -> Any:
    return _load_groups(values, np.zeros(len(values), np.int64))


def _load_groups(values: FloatArray, codes: IntArray) -> Any:
    connection = duckdb.connect(config={"threads": 1})
    connection.register("given", {"x": values, "series": codes})
    connection.execute("CREATE TABLE samples AS SELECT x, series FROM given")
    connection.unregister("given")
    return connection


def _ask(connection: Any, levels: Sequence[float]) -> list[float]:
    answer = connection.execute(f"SELECT approx_quantile(x, {list(levels)}) FROM samples").fetchone()
    return [float(x) for x in answer[0]]


def _ask_groups(connection: Any, levels: Sequence[float]) -> object:
    query = f"SELECT series, approx_quantile(x, {list(levels)}) FROM samples GROUP BY series"
    return connection.execute(query).fetchnumpy()
