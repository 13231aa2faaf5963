"""Prometheus over native histograms and DuckDB over raw values, holding what the databases hold."""

import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import which

import duckdb
import numpy as np

from benchmarks.api.serving import Connection
from benchmarks.api.telemetry import START_S, Content
from quantiles.converters.prometheus import to_prometheus
from quantiles.sketch_column import SketchColumn

SCHEMAS = (6, 3)
_SERIES_AT_ONCE = 50


@dataclass
class Prometheus:
    """A running server; metrics are called <metric>_schema<n>."""

    address: str

    def __post_init__(self) -> None:
        self._connection = Connection(int(self.address.rpartition(":")[2]))

    def write(self, content: Content, schema: int, first: int, last: int) -> None:
        """The windows from `first` up to `last` as a counter that begins at zero: a sample at each window's end."""
        from tests.counterparts.prometheus import WrittenSeries, write

        series = content.series
        running = SketchColumn.empty(content.sketches.scale, True, series)
        times_ms = [(START_S + window * content.window_s) * 1000 for window in range(first, last + 1)]
        columns = [running]
        for window in range(first, last):
            place = window % len(content.values) * series
            added = content.sketches.take(np.arange(place, place + series))
            running = SketchColumn.concat([running, added]).reduce(np.tile(np.arange(series), 2), series)
            columns.append(running)
        coarse = [column.downscale(schema) for column in columns]
        for begin in range(0, series, _SERIES_AT_ONCE):
            written = [
                WrittenSeries(
                    {"__name__": name_of(content, schema), "host": content.host(one)},
                    histograms=[
                        (time_ms, to_prometheus(column.sketch(one)))
                        for time_ms, column in zip(times_ms, coarse, strict=True)
                    ],
                )
                for one in range(begin, min(begin + _SERIES_AT_ONCE, series))
            ]
            write(self.address, written)

    def p99(self, content: Content, schema: int, seconds: int, end_s: int) -> float:
        """histogram_quantile over the increase of all series."""
        query = f"histogram_quantile(0.99, sum(increase({name_of(content, schema)}[{seconds}s])))"
        asked = urllib.parse.urlencode({"query": query, "time": end_s, "timeout": "100s"})
        answer = json.loads(self._connection.get(f"/api/v1/query?{asked}"))
        (one,) = answer["data"]["result"]
        return float(one["value"][1])


@contextmanager
def prometheus() -> Iterator[Prometheus]:
    """A server that holds nothing yet.

    Raises:
        FileNotFoundError: it is not installed.
    """
    from tests.counterparts.prometheus import running

    program = which("prometheus")
    if program is None:
        raise FileNotFoundError("Prometheus is not installed (make test-servers)")
    with running(program) as address:
        yield Prometheus(address)


class DuckDb:
    """Raw values in memory, one table a content; all cores, as it comes."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()

    def load(self, content: Content, first: int, last: int) -> None:
        """Every value of these windows, with its series and time."""
        _, series, values = content.values.shape
        drawn = content.values[[window % len(content.values) for window in range(first, last)]].reshape(-1)
        given = {
            "value": drawn,
            "host": np.tile(np.repeat(np.arange(series, dtype=np.int32), values), last - first),
            "ts": np.repeat(START_S + np.arange(first, last) * content.window_s, series * values),
        }
        self._connection.register("given", given)
        self._connection.execute(f"CREATE TABLE {content.name} AS SELECT value, host, ts FROM given")
        self._connection.unregister("given")

    def p99(self, content: Content, start_s: int, end_s: int) -> float:
        """approx_quantile, a t-digest made anew from all values."""
        asked = f"SELECT approx_quantile(value, 0.99) FROM {content.name} WHERE ts >= {start_s} AND ts < {end_s}"
        found = self._connection.execute(asked).fetchone()
        assert found is not None
        return float(found[0])


def name_of(content: Content, schema: int) -> str:
    """What Prometheus calls the metric."""
    return f"{content.metric}_schema{schema}"
