"""ClickHouse inside the process (chdb): quantilesDD at 1 %. Half a gigabyte, so it runs only where somebody has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from chdb import session

from benchmarks.quantiles.peers.method import Method
from quantiles.array_types import FloatArray

NUMBERS = count()  # of tables


def methods() -> list[Method]:
    """One query over the whole column."""
    return [
        Method(
            name="chdb quantilesDD 1%", package="chdb", kind="engine", guarantee="value error",
            promise="1 % of the value", takes="whole column", load=_load, ask=_ask,
        )
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Column:
    """A table of the one database that a process has; it goes with the object."""

    database: Any
    table: str

    def __del__(self) -> None:
        self.database.query(f"DROP TABLE IF EXISTS {self.table}")


def _load(values: FloatArray) -> _Column:
    column = _Column(_database(), f"samples_{next(NUMBERS)}")
    column.database.query(f"CREATE TABLE {column.table} (x Float64) ENGINE = Memory")
    for start in range(0, len(values), 100_000):
        rows = ",".join(f"({x!r})" for x in values[start : start + 100_000].tolist())
        column.database.query(f"INSERT INTO {column.table} VALUES {rows}")
    return column


@cache
def _database() -> Any:
    return session.Session()


def _ask(column: _Column, levels: Sequence[float]) -> list[float]:
    wanted = ", ".join(str(q) for q in levels)
    query = f"SELECT arrayJoin(quantilesDD(0.01, {wanted})(x)) FROM {column.table} SETTINGS max_threads = 1"
    return [float(line) for line in str(column.database.query(query, "CSV")).split()]
