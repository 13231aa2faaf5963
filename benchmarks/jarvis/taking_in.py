"""One collector that takes in what agents sent: their very frames, under the headers of several agents."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.jarvis.workloads import Workload
from collector.config import CollectorConfig
from collector.partition import Partition
from collector.plans import Plans
from collector.series_limit import SeriesLimit
from store.claims import claim
from store.connect import open_engine, upgrade
from store.fleet import totals
from store.series import SeriesIds
from wire.frame import decode_frame, encode_frame
from wire.transport import Record

CONFIG = CollectorConfig(series_max=1_000_000)
FRAMES_A_READ = 16


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What the collector's core was busy with."""

    cpu_s: float
    frames: int
    flushes: int


def take_in(workload: Workload, payloads: Sequence[bytes], agents: int) -> TakenIn:
    """CPU for the frames of one agent's stretch of epochs, sent by so many agents, on an empty SQLite database.

    A flush comes with each second of work, as in the collector's loop, and at the end. What the first agent sends makes
    the series and is not counted: a collector that runs for months knows them.

    Raises:
        AssertionError: the collector refused a frame.
    """
    with TemporaryDirectory(prefix="tailwatch-bench-") as folder:
        path = Path(folder) / "tailwatch.db"
        path.write_bytes(_empty_database())
        engine = open_engine(f"sqlite:///{path}")
        try:
            plans = Plans(engine, workload.tables)
            plans.register([workload.plan], 0, 0)
            with engine.begin() as connection:
                held = claim(connection, "bench", 0, "bench")
            series = SeriesIds()
            parts: list[Partition] = []
            limit = SeriesLimit(engine, CONFIG.series_max, series, lambda: parts[0].gathered())  # noqa: PLW0108  # it is not there yet
            parts.append(partition := Partition(CONFIG, engine, held, plans, series, limit, {}))
            sent = [_by_agent(payloads, agent) for agent in range(agents + 1)]
            offset = _take(partition, sent[0], 0)[0]
            rest = [frame for frames in zip(*sent[1:], strict=True) for frame in frames]
            before_s = time.process_time()
            _, flushes = _take(partition, rest, offset)
            cpu_s = time.process_time() - before_s
            with engine.connect() as connection:
                counted = totals(connection)
            refused = {name: counted[name] for name in ("duplicates", "quarantined", "dead_letters", "too_old")}
            assert not any(refused.values()), f"the collector refused frames: {refused}"
            return TakenIn(cpu_s, len(rest), flushes)
        finally:
            engine.dispose()


@cache
def _empty_database() -> bytes:
    """With all tables; migrations take longer than a small benchmark."""
    with TemporaryDirectory(prefix="tailwatch-bench-") as folder:
        path = Path(folder) / "tailwatch.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def _by_agent(payloads: Sequence[bytes], agent: int) -> list[bytes]:
    """The frames as another agent's; without heartbeats and status, which name their agent inside and cost little."""
    frames = [decode_frame(payload) for payload in payloads]
    kept = [frame for frame in frames if frame.header.kind in ("partial", "drained", "manifest")]
    name, incarnation = f"agent-{agent:03d}", f"{agent + 1:032x}"
    return [
        encode_frame(
            msgspec.structs.replace(frame.header, agent=name, incarnation=incarnation, partition=0, sequence=sequence),
            frame.body,
        )
        for sequence, frame in enumerate(kept, 1)
    ]


def _take(partition: Partition, payloads: Sequence[bytes], offset: int) -> tuple[int, int]:
    """Take all in and flush as the collector's loop would; the next offset and the number of flushes."""
    now_ns, flushes = time.time_ns(), 0
    due_s = time.process_time() + CONFIG.flush_interval_s
    for n, payload in enumerate(payloads, 1):
        partition.take(Record(0, offset, payload), now_ns)
        offset += 1
        if n % FRAMES_A_READ and partition.pending_bytes < CONFIG.max_pending_bytes:
            continue
        if time.process_time() >= due_s or partition.pending_bytes >= CONFIG.max_pending_bytes:
            partition.flush(time.time_ns())
            flushes += 1
            due_s = time.process_time() + CONFIG.flush_interval_s
    partition.flush(time.time_ns())
    return offset, flushes + 1
