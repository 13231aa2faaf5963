"""The stream, tables and queries that this folder's tests share."""

import numpy as np
import polars as pl

from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import polars_schema, stream_schema
from pipeline.sketch_cells import cells_of
from pipeline.sql import compile_query
from pipeline.tables import StaticTable
from quantiles.dense_bodies import Runs
from quantiles.histogram_bodies import Said, exponential_bodies

SCHEMAS = {
    "probes": {
        "src": "string",
        "dst": "string",
        "rtt_us": "int64",
        "size_b": "int64",
        "load": "float64",
        "loss": "float64",
        "err": "int64",
        "ok": "bool",
        "dist": "sketch",
    }
}
HOSTS = StaticTable(
    "hosts",
    pl.DataFrame(
        {
            "ip": ["10.0.0.1", "10.0.0.2", "10.0.0.3", None, ""],
            "tor": ["tor-1", "tor-2", None, "tor-x", ""],
            "rack": [1, 2, 2, 9, None],
            "weight": [0.5, float("nan"), None, 1.0, -0.0],
        }
    ),
)
RACKS = StaticTable("racks", pl.DataFrame({"id": [1, 2, 3], "room": ["north", "south", "south"]}))
TABLES = {"hosts": HOSTS, "racks": RACKS}
TUMBLE = "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)"
T2T = f"""
SELECT s.tor AS src_tor, d.tor AS dst_tor, sketch(rtt_us) AS probe_rtt_us, count(*) AS probes
FROM probes
JOIN hosts AS s ON probes.src = s.ip
JOIN hosts AS d ON probes.dst = d.ip
WHERE err = 0
{TUMBLE}, s.tor, d.tor
"""


def compiled(sql: str, name: str = "probe_rtt") -> Plan:
    """The plan of a query over the stream and tables above."""
    return compile_query(name, sql, SCHEMAS, TABLES)


def chain_of(sql: str) -> Chain:
    """The chain of a query over the stream and tables above."""
    return Chain(compiled(sql), TABLES)


def records(**columns: list[object]) -> pl.DataFrame:
    """Rows of `probes` with these columns; the others are NULL, ts counts up from 0 and host is "h"."""
    n = len(next(iter(columns.values())))
    full = {"ts": list(range(n)), "host": ["h"] * n}
    for name in SCHEMAS["probes"]:
        full[name] = [None] * n
    return pl.DataFrame(full | columns, schema=polars_schema(stream_schema(SCHEMAS["probes"])))


def histograms(counts: list[list[int]], scale: int = 6, first: int = 100) -> list[bytes | None]:
    """A cell of a column of sketches for each list of counts, whose bins begin at `first`."""
    n = len(counts)
    offsets = np.cumsum([0, *map(len, counts)])
    runs = Runs(np.full(n, first), offsets, np.array([count for row in counts for count in row], np.int64))
    bodies = exponential_bodies(np.full(n, scale), Runs.none(n), runs, np.zeros(n, np.int64), Said.nothing(n))
    return cells_of(bodies, "dist").to_list()
