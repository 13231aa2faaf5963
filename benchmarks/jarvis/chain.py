"""Table 10: the local chain on one core, beside Polars' own group-by of the same keys doing the same work.

Ours: one query with `sketch(rtt_us)`, its chain from the source's columns to the partial result: count, exact sum,
minimum, maximum and the counts of the buckets of every group. Polars: the same filter and joins, the bucket as a
logarithm, count, sum, minimum and maximum of every group, and the counts of (keys, bucket). It is given two ways to get
there, eager as lazy frames gain nothing here, of which the faster one counts; its tables have their labels as Enum
already. Both run with one thread on the same frames, in turns. Neither encodes anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

from benchmarks.rounds import Candidate, Rounds, interleaved
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard, Target
from pipeline.chain import Chain
from pipeline.partial import Partial
from pipeline.sql import compile_query
from pipeline.tables import StaticTable

RATE, VS_POLARS = "jarvis.chain_records_per_s", "jarvis.chain_vs_polars"
VS_POLARS_1M, VS_POLARS_TEXT = "jarvis.chain_vs_polars_1m", "jarvis.chain_vs_polars_text_keys"
CHAIN_TARGETS: Final = (
    Target(RATE, 10_000_000, ">="),
    Target(VS_POLARS, 1.0, ">="),
    Target(VS_POLARS_1M, 0.7, ">="),
    Target(VS_POLARS_TEXT, 0.7, ">="),
)
#: Records of an epoch in the paper's experiments.
EPOCH: Final = 38_000
WINDOW_NS: Final = 10 * 10**9
HOSTS, HOSTS_IN_RACK, FAILED = 20_000, 40, 0.14
PER_OCTAVE: Final = 64
COLUMNS = [
    Column("case", "workload"), Column("records", "records"), Column("groups", "groups"),
    Column("ms", "ms", 2), Column("rate", "M records/s"), Column("peer_ms", "Polars, ms", 2),
    Column("way", "its faster way"), Column("ratio", "ours / Polars", 2), Column("lowest", "lowest", 2),
    Column("highest", "highest", 2),
]  # fmt: skip
_WHERE: Final = "WHERE err = 0 GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)"
_STREAM: Final = {"probes": {"src": "string", "dst": "string", "rtt_us": "int64", "err": "int64", "flow": "int64"}}


class _Sized(Protocol):
    @property
    def quick(self) -> bool: ...

    @property
    def chain_rounds(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class Case:
    """One query.

    Attributes:
        joins: column -> label of its rack.
        sources: servers whose probes these are.
        dense: the keys have a dense code, from static tables.
        scored: an agent's own workload, whose rate is a target.
    """

    name: str
    sql: str
    keys: tuple[str, ...]
    joins: Mapping[str, str]
    sources: int
    dense: bool
    scored: bool


def cases() -> list[Case]:
    """The probes of one server by pair of servers and by pair of racks, and keys without order or end."""
    racks = (
        "SELECT s.tor AS src_tor, d.tor AS dst_tor, sketch(rtt_us) AS rtt_us FROM probes JOIN hosts AS s ON src = s.ip "
        f"JOIN hosts AS d ON dst = d.ip {_WHERE}, s.tor, d.tor"
    )
    servers = f"SELECT src, dst, sketch(rtt_us) AS rtt_us FROM probes {_WHERE}, src, dst"
    tors = {"src": "src_tor", "dst": "dst_tor"}
    return [
        Case("server to server", servers, ("src", "dst"), {}, 1, dense=False, scored=True),
        Case("rack to rack", racks, ("src_tor", "dst_tor"), tors, 1, dense=True, scored=True),
        Case("rack to rack, all servers", racks, ("src_tor", "dst_tor"), tors, HOSTS, dense=True, scored=False),
        Case("server to server, 1,000 servers", servers, ("src", "dst"), {}, 1_000, dense=False, scored=False),
        Case(
            "flow numbers", f"SELECT flow, sketch(rtt_us) AS rtt_us FROM probes {_WHERE}, flow", ("flow",), {}, 1,
            dense=False, scored=True,
        ),
    ]  # fmt: skip


def run(size: _Sized, board: Scoreboard) -> list[Table]:
    """As every table of the area."""
    table, found = measure(size.quick, size.chain_rounds)
    for target, (value, remark) in found.items():
        board.score(target, value, remark)
    return [table]


def measure(quick: bool, rounds: tuple[int, int]) -> tuple[Table, dict[str, tuple[float, str]]]:
    """The table, and for each of CHAIN_TARGETS its value and what it is of."""
    table = Table("chain", "10. The local chain on one core, beside Polars' group-by doing the same work", COLUMNS)
    large = 100_000 if quick else 1_000_000
    table.notes = [
        (
            f"{EPOCH:,} records as in an epoch of the paper, and {large:,}; 14 % are filtered out; {HOSTS:,} hosts in "
            f"racks of {HOSTS_IN_RACK}; NumPy kernels, one thread of Polars, CPU time."
        ),
        (
            "Same work: count, sum, minimum, maximum and bucket counts per group. Polars' ways: two group-bys of the "
            "rows, or one by (keys, bucket) and one of its result."
        ),
        "'1,000 servers' and 'all servers' are what a relay would see, not one agent; their rate is no target.",
    ]
    rates: dict[str, float] = {}
    ratios: dict[tuple[str, bool, int], float] = {}
    for case in cases():
        for n in (EPOCH, large):
            row, rate, ratio = _row(case, n, rounds[n != EPOCH])
            table.rows.append(row)
            ratios[case.name, case.dense, n] = ratio
            if case.scored and n == EPOCH:
                rates[case.name] = rate
    picked = {
        RATE: rates,
        VS_POLARS: {name: ratio for (name, dense, n), ratio in ratios.items() if dense and n == EPOCH},
        VS_POLARS_1M: {name: ratio for (name, _, n), ratio in ratios.items() if n == large},
        VS_POLARS_TEXT: {name: ratio for (name, dense, n), ratio in ratios.items() if not dense and n == EPOCH},
    }
    return table, {target: _lowest(found) for target, found in picked.items()}


def _lowest(found: Mapping[str, float]) -> tuple[float, str]:
    worst = min(found, key=lambda name: found[name])
    return found[worst], "lowest: " + worst + "; " + ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def _row(case: Case, n: int, rounds: int) -> tuple[dict[str, str | float | int | None], float, float]:
    rows = probes(n, case.sources)
    ours, peers = _ours(case), _peers(case)
    groups = _agree(ours(rows), peers["two group-bys"](rows), case)
    candidates = {"ours": Candidate(ours, lambda: rows, per_run=n)}
    candidates |= {way: Candidate(peer, lambda: rows, per_run=n) for way, peer in peers.items()}
    result: Rounds = interleaved(candidates, rounds, least_s=0.05)
    way = min(peers, key=lambda name: result.time_s(name).median)
    ratio, rate = result.speedup("ours", way), result.rate("ours").median
    row: dict[str, str | float | int | None] = {
        "case": case.name, "records": n, "groups": groups, "ms": result.time_s("ours").median * n * 1e3,
        "rate": rate / 1e6, "peer_ms": result.time_s(way).median * n * 1e3, "way": way, "ratio": ratio.median,
        "lowest": ratio.lowest, "highest": ratio.highest,
    }  # fmt: skip
    return row, rate, ratio.median


def probes(n: int, sources: int) -> pl.DataFrame:
    """Probes to all hosts in one second, with lognormal round-trip times."""
    random = np.random.default_rng([n, sources])
    ips = _hosts()["ip"]
    return pl.DataFrame({
        "ts": np.sort(random.integers(0, 10**9, n)), "host": pl.Series(["agent"]).new_from_index(0, n),
        "src": ips.gather(random.integers(0, sources, n)), "dst": ips.gather(random.integers(0, HOSTS, n)),
        "rtt_us": (250 * np.exp(0.35 * random.standard_normal(n))).astype(np.int64) + 20,
        "err": (random.random(n) < FAILED).astype(np.int64), "flow": random.integers(0, HOSTS, n) * 7_919_000_017,
    })  # fmt: skip


def _hosts() -> pl.DataFrame:
    numbers = np.arange(HOSTS)
    return pl.DataFrame({
        "ip": [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in numbers.tolist()],
        "tor": [f"tor-{i // HOSTS_IN_RACK:05}" for i in numbers.tolist()],
    })  # fmt: skip


def _ours(case: Case) -> Callable[[pl.DataFrame], Partial]:
    tables = {"hosts": StaticTable("hosts", _hosts())}
    chain = Chain(compile_query("chain", case.sql, _STREAM, tables), tables)

    def local(rows: pl.DataFrame) -> Partial:
        rows = chain.prepare(rows)
        for stage in range(1, chain.row_stages + 1):
            rows = chain.local(stage, rows)
        return chain.aggregate(rows)

    return local


def _peers(case: Case) -> dict[str, Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]]:
    hosts = _hosts()
    hosts = hosts.with_columns(pl.col("tor").cast(pl.Enum(hosts["tor"].unique(maintain_order=True))))
    keys = ["window", *case.keys]
    value = pl.col("rtt_us")
    states = [pl.len().alias("n"), value.sum().alias("sum"), value.min().alias("min"), value.max().alias("max")]
    together = [pl.col("n", "sum").sum(), pl.col("min").min(), pl.col("max").max()]

    def ready(rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.filter(pl.col("err") == 0)
        for column, label in case.joins.items():
            rows = rows.join(hosts.rename({"tor": label}), left_on=column, right_on="ip")
        window = (pl.col("ts") // WINDOW_NS * WINDOW_NS).alias("window")
        bucket = (value.log(2) * PER_OCTAVE).ceil().cast(pl.Int32).alias("bucket")
        return rows.select(window, *case.keys, "rtt_us", bucket)

    def twice(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        found = ready(rows)
        return found.group_by(keys).agg(states), found.group_by([*keys, "bucket"]).agg(pl.len().alias("n"))

    def again(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        buckets = ready(rows).group_by([*keys, "bucket"]).agg(states)
        return buckets.group_by(keys).agg(together), buckets

    return {"two group-bys": twice, "buckets, then groups": again}


def _agree(ours: Partial, peer: tuple[pl.DataFrame, pl.DataFrame], case: Case) -> int:
    """The number of groups; both sides have the same groups with the same counts, or nothing was compared."""
    mine = ours.keys.select(*case.keys, "rows").sort(case.keys)
    theirs = peer[0].select(
        *(pl.col(key).cast(pl.String) for key in case.keys), pl.col("n").cast(pl.Int64).alias("rows")
    )
    if not mine.equals(theirs.sort(case.keys)) or int(peer[1]["n"].sum()) != int(mine["rows"].sum()):
        raise AssertionError(f"{case.name}: ours and Polars' groups differ; the benchmark compares two things")
    return len(ours)
