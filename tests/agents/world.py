"""What the agent's tests share: a transport that outlives agents, a reader that adds frames up as a collector would."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from agents.config import AgentConfig
from agents.sources.configs import ReplayConfig
from pipeline.chain import Chain
from pipeline.manifest import MANIFEST_SCHEMA, Manifest
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.schema import polars_schema
from tests.fleet import TABLES, probe_plan, probe_records
from wire.columns import unpack_columns
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.errors import TransportError
from wire.frame import Header, decode_frame
from wire.heartbeat import Heartbeat, decode_heartbeat
from wire.status import Status, decode_status
from wire.transport import Record

MACHINE = "5" * 32
PLAN = probe_plan()
CHAIN = Chain(PLAN, TABLES)


def probe_file(folder: Path, rows: int, seed: int = 1) -> tuple[Path, pl.DataFrame]:
    """A CSV file of probe records in order of time, and the records."""
    records = probe_records(rows, seed).sort("ts")
    path = folder / "probes.csv"
    records.drop("host").write_csv(path)
    return path, records


def replay_config(folder: Path, path: Path, **changes: object) -> AgentConfig:
    """An agent that replays `path` and checkpoints only when a test says so."""
    values: dict[str, object] = {
        "id": "agent-1",
        "host": "h",
        "policy": "all-src",
        "checkpoint_s": 60.0,
        "epoch_s": 60.0,
        "spool_path": str(folder / "spool.db"),
        "sources": (ReplayConfig(stream="probes", path=str(path)),),
    }
    return AgentConfig(**(values | changes))  # type: ignore[arg-type]


@contextmanager
def publisher_to(path: Path) -> Iterator[EmbeddedPublisher]:
    """A publisher into the log at `path`, closed at the end."""
    publisher = EmbeddedPublisher(path)
    try:
        yield publisher
    finally:
        publisher.close()


class BrokenPublisher:
    """A transport that is out of reach."""

    def partitions(self) -> int:
        raise TransportError("no route")

    def publish(self, _partition: int, _token: int, _payload: bytes) -> None:
        raise TransportError("no route")

    def acknowledged(self, _timeout_s: float) -> list[int]:
        raise TransportError("no route")

    def close(self) -> None:
        pass


def records_in(log: Path) -> list[Record]:
    """Everything in the log, partition after partition."""
    subscriber = EmbeddedSubscriber(log)

    def from_the_start(new: frozenset[int]) -> None:
        for partition in new:
            subscriber.seek(partition, 0)

    subscriber.subscribe(from_the_start, lambda _: None)
    records: list[Record] = []
    while more := subscriber.poll(0.0, 10_000):
        records += more
    subscriber.close()
    return records


@dataclass
class Received:
    """What a collector makes of the frames: each counted once, whatever was sent twice."""

    partials: list[Partial] = field(default_factory=list)
    manifests: list[Manifest] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    headers: list[Header] = field(default_factory=list)
    duplicates: int = 0

    def merged(self) -> pl.DataFrame:
        """The answer over everything received."""
        return Partial.merge([*self.partials, Partial.empty(PLAN)]).sorted().to_frame()

    def manifest(self) -> Manifest:
        """All manifests added up."""
        return Manifest.merge(self.manifests)


def received(log: Path, chain: Chain = CHAIN) -> Received:
    """Decode and check what is in the log; add up what is of the chain's query, heartbeats included."""
    got = Received()
    seen: dict[tuple[str, int], tuple[int, bytes]] = {}
    for record in records_in(log):
        frame = decode_frame(record.payload)
        header = frame.header
        assert header.partition == record.partition
        key = (header.incarnation, header.sequence)
        if key in seen:
            assert seen[key] == (record.partition, record.payload), "a frame was sent again, but changed"
            got.duplicates += 1
            continue
        seen[key] = (record.partition, record.payload)
        got.headers.append(header)
        if header.version not in ("", chain.plan.version):
            continue
        _apply(frame.body, header, chain, got)
    for incarnation in {name for name, _ in seen}:
        sequences = sorted(sequence for name, sequence in seen if name == incarnation)
        assert sequences == list(range(1, len(sequences) + 1)), "sequences have a gap"
    return got


def truth(records: pl.DataFrame, chain: Chain = CHAIN) -> pl.DataFrame:
    """One pass over all records."""
    return chain.finish(chain.prepare(records), after=0).sorted().to_frame()


def assert_same_answer(answer: pl.DataFrame, wanted: pl.DataFrame) -> None:
    """Integers, text and sketches to the bit; sums of floats within the rounding that the design allows."""
    assert answer.schema == wanted.schema
    for name, dtype in wanted.schema.items():
        if dtype != pl.Float64:
            assert answer[name].equals(wanted[name]), name
        elif name.endswith(".hi"):  # a sum in two parts: the high one, and what it leaves over
            low = name.removesuffix("hi") + "lo"
            got, right = answer[name] + answer[low], wanted[name] + wanted[low]
            assert ((got - right).abs() <= 1e-12 * (right.abs().max() or 0)).all(), name  # type: ignore[operator]
        elif not name.endswith(".lo"):
            assert answer[name].equals(wanted[name]), name


def spool_rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Rows of a spool read by somebody else."""
    with sqlite3.connect(path) as db:
        rows = db.execute(sql).fetchall()
    db.close()
    return rows


def _apply(body: bytes, header: Header, chain: Chain, got: Received) -> None:
    plan: Plan = chain.plan
    if header.kind == "partial":
        got.partials.append(Partial.from_frame(plan, unpack_columns(body, Partial.schema(plan))))
    elif header.kind == "drained":
        rows = unpack_columns(body, polars_schema(chain.schema_at(header.cut)))
        got.partials.append(chain.finish(rows, after=header.cut))
    elif header.kind == "manifest":
        got.manifests.append(Manifest.from_frame(unpack_columns(body, MANIFEST_SCHEMA)))
    elif header.kind == "status":
        got.statuses.append(decode_status(body))
    else:
        got.heartbeats.append(decode_heartbeat(body))
