"""The stream, tables and queries that this folder's tests share."""

import polars as pl

from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.sql import compile_query
from pipeline.tables import StaticTable

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
    kinds = {"int64": pl.Int64, "float64": pl.Float64, "string": pl.String, "bool": pl.Boolean}
    full = {"ts": list(range(n)), "host": ["h"] * n}
    schema: dict[str, type[pl.DataType]] = {"ts": pl.Int64, "host": pl.String}
    for name, kind in SCHEMAS["probes"].items():
        full[name] = [None] * n
        schema[name] = kinds[kind]
    return pl.DataFrame(full | columns, schema=schema)
