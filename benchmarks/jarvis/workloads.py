"""The workloads: server-to-server probes, probes between racks with two joins, logs parsed by regex; and one more.

The fourth is a variant of the second: a relay takes in the probes of ten racks to a whole data centre, so that the
table is too large for the processor's caches and the local chain costs more than draining.

Synthetic, from fixed seeds; shapes as in Pingmesh and in the paper's evaluation as far as they are known. A record of
the probes has about 86 bytes: time, both addresses, both clusters, round-trip time and error; one server probes
20,000 peers, 14 % of its probes fail and are filtered out. A line of the logs has about 120.
Records are made before anything is measured and given out of memory, over and over, each time with later times.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import polars as pl

from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import Schema
from pipeline.sql import compile_query
from pipeline.tables import StaticTable

SECOND_NS: Final = 10**9
START_NS: Final = 1_795_000_000 * SECOND_NS
PEERS: Final = 20_000
HOSTS_IN_RACK: Final = 40
FAILED: Final = 0.14
TENANTS, STATS, BUCKETS = 60, 12, 10
#: The relay's: servers that send it their probes, and hosts that these probe.
RELAYED_SERVERS: Final = 400
RELAYED_HOSTS: Final = 400_000
#: Of the lines, how many carry a statistic at all.
MATCHING: Final = 0.7

PROBES: Final[Schema] = {
    "src": "string", "dst": "string", "src_cluster": "string", "dst_cluster": "string", "rtt_us": "int64",
    "err": "int64",
}  # fmt: skip
LOGS: Final[Schema] = {"line": "string"}
STREAMS: Final = {"probes": PROBES, "logs": LOGS}

SERVER_TO_SERVER: Final = """
SELECT src, dst, avg(rtt_us) AS s2s_rtt_avg_us, max(rtt_us) AS s2s_rtt_max_us, min(rtt_us) AS s2s_rtt_min_us
FROM probes WHERE err = 0
GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src, dst
"""
RACK_TO_RACK: Final = """
SELECT s.tor AS src_tor, d.tor AS dst_tor, sketch(rtt_us) AS t2t_rtt_us, count(*) AS t2t_probes
FROM probes JOIN hosts AS s ON probes.src = s.ip JOIN hosts AS d ON probes.dst = d.ip
WHERE err = 0
GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), s.tor, d.tor
"""
RELAYED_RACKS: Final = RACK_TO_RACK.replace("t2t_", "relayed_")
# One expression for the whole line, as log shippers are given them.
LINE: Final = (
    r"^\s*(\S+) (\w+) (\w+)\[(\d+)\]: Tenant=(\S+) job=(\d+) Stat=(\w+) value=([\d.]+) node=(\S+) state=(\w+)\s*$"
)
LOG_ANALYTICS: Final = f"""
SELECT LOWER(REGEXP_EXTRACT(line, '{LINE}', 5)) AS tenant, REGEXP_EXTRACT(line, '{LINE}', 7) AS stat,
       CAST(FLOOR(CAST(REGEXP_EXTRACT(line, '{LINE}', 8) AS DOUBLE) / 10) AS BIGINT) AS bucket, count(*) AS log_stats
FROM logs WHERE line LIKE '%Stat=%'
GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), tenant, stat, bucket
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """One query and its load.

    Attributes:
        records: (how many, seed) -> that many of them in one second from START_NS, in order of time.
        record_bytes: of a record as its source would write it, on average.
        chain: the plan bound to its tables; it holds no rows, so agents share it.
    """

    name: str
    stream: str
    plan: Plan
    tables: Mapping[str, StaticTable]
    records: Callable[[int, int], pl.DataFrame]
    record_bytes: float
    chain: Chain


@cache
def server_to_server() -> Workload:
    """Probes by pair of servers: one filter, wide text keys, 20,000 groups."""
    plan = compile_query("s2s", SERVER_TO_SERVER, STREAMS, {})
    return _workload("server to server", plan, {}, probes)


@cache
def rack_to_rack(table_rows: int = PEERS) -> Workload:
    """Probes by pair of racks: two look-ups in a table of hosts, whose size is what the operators cost."""
    tables = {"hosts": hosts(table_rows)}
    plan = compile_query("t2t", RACK_TO_RACK, STREAMS, tables)
    return _workload("rack to rack", plan, tables, probes)


@cache
def relay_of_racks(table_rows: int = RELAYED_HOSTS) -> Workload:
    """The query between racks for ten racks' servers at once, each probing 400,000 hosts; 100,000 groups."""
    tables = {"hosts": hosts(table_rows)}
    plan = compile_query("relayed", RELAYED_RACKS, STREAMS, tables)
    return _workload("relay of racks", plan, tables, relayed)


@cache
def log_analytics() -> Workload:
    """Lines filtered by LIKE, parsed by one expression for the whole line, counted by tenant, statistic and bucket."""
    plan = compile_query("logs", LOG_ANALYTICS, STREAMS, {})
    return _workload("log analytics", plan, {}, logs)


def _workload(
    name: str, plan: Plan, tables: Mapping[str, StaticTable], records: Callable[[int, int], pl.DataFrame]
) -> Workload:
    return Workload(name, plan.source, plan, tables, records, _bytes_of(records(2_000, 0)), Chain(plan, tables))


@cache
def addresses(count: int) -> pl.Series:
    """`count` IPv4 addresses of servers, 40 to a rack."""
    rack, host = np.divmod(np.arange(count), HOSTS_IN_RACK)
    parts = [np.full(count, 10), rack // 256, rack % 256, host + 1]
    texts = pl.DataFrame([pl.Series(str(i), part) for i, part in enumerate(parts)])
    return texts.select(pl.concat_str(pl.all(), separator=".")).to_series().alias("ip")


@cache
def hosts(rows: int) -> StaticTable:
    """The table of servers: address, rack, cluster; at least all peers."""
    ips = addresses(max(rows, PEERS))
    tors = (pl.int_range(ips.len(), eager=True) // HOSTS_IN_RACK).cast(pl.String).str.zfill(5)
    return StaticTable("hosts", pl.DataFrame({"ip": ips, "tor": "tor-" + tors}))


def probes(count: int, seed: int) -> pl.DataFrame:
    """Probes of one server to its peers, each once in a turn but as answers come: in no order.

    Round-trip times are lognormal, one in a thousand is slow.
    """
    rng = np.random.default_rng([seed, count, 1])
    peers = np.concatenate([rng.permutation(PEERS) for _ in range(-(-count // PEERS))])[:count]
    rtt = 250 * np.exp(0.35 * rng.standard_normal(count)) * np.where(rng.random(count) < 1e-3, 40, 1)
    failed = rng.random(count) < FAILED
    clusters = "dc-07.cluster-prod-" + (pl.int_range(PEERS, eager=True) // 2_000).cast(pl.String).str.zfill(3)
    return pl.DataFrame({
        "ts": _times(count, rng),
        "host": pl.Series([addresses(PEERS)[0]]).new_from_index(0, count),
        "src": pl.Series([addresses(PEERS)[0]]).new_from_index(0, count),
        "dst": addresses(PEERS).gather(peers),
        "src_cluster": pl.Series([clusters[0]]).new_from_index(0, count),
        "dst_cluster": clusters.gather(peers),
        "rtt_us": np.where(failed, 21_000_000, rtt).astype(np.int64),
        "err": np.where(failed, rng.integers(1, 6, count), 0),
    })  # fmt: skip


def relayed(count: int, seed: int) -> pl.DataFrame:
    """Probes of ten racks' servers to all hosts of a data centre, in no order."""
    rng = np.random.default_rng([seed, count, 3])
    ips = addresses(RELAYED_HOSTS)
    return probes(count, seed).with_columns(
        ips.gather(rng.integers(0, RELAYED_SERVERS, count)).alias("src"),
        ips.gather(rng.integers(0, RELAYED_HOSTS, count)).alias("dst"),
    )


def logs(count: int, seed: int) -> pl.DataFrame:
    """Lines of a scheduler's log; 30 % of them carry no statistic."""
    rng = np.random.default_rng([seed, count, 2])
    stats = ["cpu_util", "mem_util", "disk_read", "disk_write", "net_in", "net_out", "job_time", "queue_len",
             "gpu_util", "gpu_mem", "cache_hit", "retries"]  # fmt: skip
    levels = pl.Series(["INFO", "INFO", "INFO", "DEBUG", "WARN"])
    texts = pl.Series(["heartbeat from peer", "task accepted", "lease renewed by owner", "checkpoint written"])
    times = _times(count, rng)
    # Tenants differ in size: a tenth of them writes half of the lines.
    tenants = np.minimum((TENANTS * rng.random(count) ** 2).astype(np.int64), TENANTS - 1)
    frame = pl.DataFrame({
        "ts": times,
        "ms": (times // 10**6 % 1000).astype(np.int64),
        "level": levels.gather(rng.integers(0, levels.len(), count)),
        "pid": rng.integers(1000, 32768, count),
        "tenant": tenants,
        "job": rng.integers(10**6, 10**7, count),
        "stat": pl.Series(stats[:STATS]).gather(rng.integers(0, STATS, count)),
        "value": np.round(100 * rng.beta(2, 3, count), 2),
        "text": texts.gather(rng.integers(0, texts.len(), count)),
        "node": rng.integers(0, 4000, count),
        "has": rng.random(count) < MATCHING,
    })  # fmt: skip
    head = pl.format("  2026-11-22T20:14:03.{}Z {} sched[{}]: Tenant=Team-{} job={} ", "ms", "level", "pid", "tenant",
                     "job")  # fmt: skip
    stat = pl.format("Stat={} value={} node=worker-{} state=COMPLETED  ", "stat", "value", "node")
    other = pl.format("{}, node=worker-{}, will look again in 30 s  ", "text", "node")
    line = pl.concat_str(head, pl.when("has").then(stat).otherwise(other)).alias("line")
    host = pl.lit("worker-0001").alias("host")
    return frame.select("ts", host, line)


def _times(count: int, rng: np.random.Generator) -> np.ndarray:
    """One second, evenly but for some jitter, in order."""
    step = SECOND_NS / max(1, count)
    return START_NS + np.sort(((np.arange(count) + rng.random(count)) * step).astype(np.int64))


def _bytes_of(rows: pl.DataFrame) -> float:
    """What a record takes: text as it is, a number 8 bytes; the host is added by the agent."""
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String and name != "host"]
    numbers = sum(dtype != pl.String for dtype in rows.dtypes)
    text_bytes = rows.select(pl.sum_horizontal(pl.col(texts).str.len_bytes())).to_series().mean()
    assert isinstance(text_bytes, float)
    return 8 * numbers + text_bytes
