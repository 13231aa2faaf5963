"""Recorded requests for tests, and columns as they come back."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from store.tail_batches import RecordedColumns, add_batch, read_columns

SECOND_NS = 10**9
NOW_NS = 1_795_330_800 * SECOND_NS
Columns = dict[str, npt.NDArray[Any]]


def requests(n: int, seed: int = 1, begin_ns: int = NOW_NS, gap_us: float = 2_000.0) -> Columns:
    """n synthetic requests in order of arrival, whole microseconds, every column told."""
    source = np.random.default_rng(seed)
    service = np.maximum(1, source.lognormal(8.5, 1.2, n)).round()
    degree = source.integers(1, 4, n)
    return {
        "arrival_ns": begin_ns + np.cumsum(source.exponential(gap_us, n).astype(np.int64) + 1) * 1_000,
        "wait_us": source.exponential(300, n).round(),
        "service_us": service,
        "predicted_us": (service * source.lognormal(0, 0.25, n)).round(),
        "cpu_us": (service * degree).round(),
        "raised_us": np.where(source.random(n) < 0.1, (service / 2).round(), np.nan),
        "degree": degree,
        "degree_final": degree + source.integers(0, 2, n),
        "in_system": source.integers(0, 40, n),
        "active_threads": source.integers(0, 24, n),
        "long_threads": source.integers(0, 9, n),
        "table_version": np.full(n, 3),
        "explored": (source.random(n) < 0.01).astype(np.int64),
        "weight": np.ones(n, np.int64),
    }


def add(
    engine: sa.Engine, columns: Columns, batch: str | None = None, service: str = "search", instance: str = "a"
) -> bool:
    with engine.begin() as connection:
        return add_batch(connection, service, instance, batch, columns, NOW_NS)


def read(
    engine: sa.Engine, since_ns: int = 0, until_ns: int = 2**62, most: int = 10**6, **more: Any
) -> RecordedColumns:
    with engine.connect() as connection:
        return read_columns(connection, more.pop("service", "search"), since_ns, until_ns, most, **more)


@dataclass(frozen=True)
class Alert:
    """An alert as analytics finds it."""

    name: str
    firing: bool = True
    severity: str = "page"
    cause: str | None = "queueing"
    since_ns: int = NOW_NS
    text: str = "slow"
    figures: dict[str, Any] = field(default_factory=dict)
