"""A fleet in memory for tests: records with a known truth, a query over them, and the frames that agents would send."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import polars as pl

from pipeline.chain import Chain
from pipeline.manifest import Manifest, drained, window_counts
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.sql import compile_query
from pipeline.tables import StaticTable
from wire.columns import pack_columns
from wire.frame import Header, encode_frame
from wire.heartbeat import FINISHED_NS, Heartbeat, QueryProgress, encode_heartbeat
from wire.status import ProxyStatus, QueryStatus, Status, encode_status

SECOND_NS = 10**9
START_NS = 1_795_000_000 * SECOND_NS
WINDOW_NS = 10 * SECOND_NS
SCHEMA = {"ts": "int64", "host": "string", "src": "string", "rtt_us": "int64", "load": "float64", "err": "int64"}
SQL = """
SELECT s.tor AS tor, sketch(rtt_us) AS rtt_us, sketch(load * 2.0) AS load_ratio, count(*) AS probes_total,
       sum(rtt_us) AS rtt_sum_us, sum(load) AS load_sum_ratio, min(rtt_us) AS rtt_min_us, max(load) AS load_max_ratio,
       avg(rtt_us) AS rtt_avg_us
FROM probes JOIN hosts AS s ON probes.src = s.ip
WHERE err = 0
GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), s.tor
"""
HOSTS = StaticTable("hosts", pl.DataFrame({"ip": ["a", "b", "c"], "tor": ["t1", "t1", "t2"]}))
TABLES: Mapping[str, StaticTable] = {"hosts": HOSTS}


def probe_plan(sql: str = SQL, name: str = "probes") -> Plan:
    """The query of these tests, compiled."""
    return compile_query(name, sql, {"probes": SCHEMA}, TABLES)


def probe_records(n: int, seed: int, *, windows: int = 4) -> pl.DataFrame:
    """n records over a few windows; some are filtered, some have no match in the static table."""
    rng = random.Random(seed)
    return pl.DataFrame(
        {
            "ts": [START_NS + rng.randrange(windows * WINDOW_NS) for _ in range(n)],
            "host": ["h"] * n,
            "src": [rng.choice(["a", "b", "c", "unknown"]) for _ in range(n)],
            "rtt_us": [round(rng.lognormvariate(6, 1)) * rng.choice([1, 1, 1, -1]) for _ in range(n)],
            "load": [rng.choice([0.0, 1e-3, 1.0, 1e6]) * rng.random() for _ in range(n)],
            "err": [int(rng.random() < 0.1) for _ in range(n)],
        },
        schema={
            "ts": pl.Int64,
            "host": pl.String,
            "src": pl.String,
            "rtt_us": pl.Int64,
            "load": pl.Float64,
            "err": pl.Int64,
        },
    )


@dataclass
class FakeAgent:
    """Makes the frames of an agent: sequence numbers, partials, drained rows, manifests, heartbeats."""

    plan: Plan
    name: str = "agent-1"
    partition: int = 0
    incarnation: str = "0" * 31 + "1"
    now_ns: int = START_NS
    sequence: int = 0
    started_ns: int | None = None
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        self.chain = Chain(self.plan, TABLES)

    def frame(self, kind: str, body: bytes, *, cut: int = 0, rows: int = 0, version: str | None = None) -> bytes:
        """The next frame of this incarnation."""
        self.sequence += 1
        named = kind not in ("heartbeat", "status")
        header = Header(
            agent=self.name,
            incarnation=self.incarnation,
            started_ns=self._started_ns(),
            partition=self.partition,
            sequence=self.sequence,
            kind=kind,  # type: ignore[arg-type]
            query=self.plan.query if named else "",
            version=(version or self.plan.version) if named else "",
            cut=cut,
            window_first_ns=START_NS,
            window_last_ns=START_NS,
            created_ns=self.now_ns,
            rows=rows,
        )
        return encode_frame(header, body)

    def send(self, rows: pl.DataFrame, cut: int) -> list[bytes]:
        """One batch cut after stage `cut` (the number of the last stage: aggregated here), with its manifest."""
        taken = self.chain.prepare(rows)
        manifest = Manifest()
        manifest.add("in", *window_counts(taken, self.plan.window_ns))
        current = taken
        for stage in range(1, min(cut, self.chain.row_stages) + 1):
            before = current
            current = self.chain.apply(stage, before)
            kept = dict(zip(*(part.tolist() for part in window_counts(current, self.plan.window_ns)), strict=True))
            windows, counts = window_counts(before, self.plan.window_ns)
            gone = {w: c - kept.get(w, 0) for w, c in zip(windows.tolist(), counts.tolist(), strict=True)}
            manifest.add_counts("filtered", gone)
        if cut > self.chain.row_stages:
            partial = self.chain.aggregate(current)
            manifest.add_counts("local", partial.record_counts())
            body = self.frame("partial", pack_columns(partial.to_frame()), cut=cut, rows=len(partial))
        else:
            manifest.add(drained(cut), *window_counts(current, self.plan.window_ns))
            body = self.frame("drained", pack_columns(current), cut=cut, rows=current.height)
        assert manifest.conserved()
        return [body, self.frame("manifest", pack_columns(manifest.to_frame()))]

    def status(self, **changes: object) -> bytes:
        """What its runtime decided; `changes` are fields of the status."""
        proxies = [
            ProxyStatus("filter", 1.0, 1_000, 1_000, 0),
            ProxyStatus("aggregate", 0.75, 900, 600, 75),
        ]
        status = Status(
            agent=self.name,
            sent_ns=self.now_ns,
            policy="adaptive",
            state="adapt",
            epochs_in_state=4,
            epoch_s=1.0,
            budget_cores=0.5,
            budget_from="cores",
            cpu_cores=0.48,
            breaker="closed",
            sampled=1.0,
            queries=[QueryStatus(self.plan.query, self.plan.version, proxies, 12_000.0, 11_500.0)],
        )
        return self.frame("status", encode_status(msgspec.structs.replace(status, **changes)))

    def heartbeat(self, watermark_ns: int = FINISHED_NS) -> bytes:
        """A heartbeat that says everything up to the watermark is sent."""
        done = watermark_ns == FINISHED_NS
        progress = QueryProgress(
            self.plan.query, self.plan.version, START_NS, watermark_ns, replayable=True, finished=done
        )
        beat = Heartbeat(self.name, "h", "m", self._started_ns(), self.now_ns, False, [progress], {})
        return self.frame("heartbeat", encode_heartbeat(beat))

    def _started_ns(self) -> int:
        return self.now_ns if self.started_ns is None else self.started_ns


def truth(plan: Plan, records: pl.DataFrame) -> Partial:
    """One pass over all records."""
    chain = Chain(plan, TABLES)
    return chain.finish(chain.prepare(records), after=0).sorted()
