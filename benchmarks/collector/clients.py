"""Table 7: what a frame costs in the two client libraries: kafka-python, which Tailwatch uses, and confluent-kafka."""

import time
from collections.abc import Callable
from itertools import count

from benchmarks.collector.brokers import broker, topic
from benchmarks.collector.sizing import Sizing
from benchmarks.rounds import Candidate, interleaved
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from wire.kafka_publisher import KafkaPublisher
from wire.kafka_settings import KafkaConfig

SIZES = (2_000, 90_000)  # bytes: a small frame, and one of 2,000 groups
OURS, PEER = "kafka-python", "confluent-kafka"
WAIT_S = 30.0
COLUMNS = [
    Column("way", "way"), Column("bytes", "bytes a frame"), Column("library", "library"),
    Column("cost", "CPU us a frame", 1), Column("low", "lowest", 1), Column("high", "highest", 1),
    Column("ratio", "kafka-python x", 2),
]  # fmt: skip
_names = count()


def run(size: Sizing, _: Scoreboard) -> list[Table]:
    """Publishing until acknowledged by all replicas, and reading the same frames; no target of its own."""
    table = Table("clients", "7. Cost of a frame in the client libraries", COLUMNS)
    table.notes = [
        f"{size.kafka_frames:,} frames of random bytes, acks=all, lz4, one request at a time; ours as in wire/.",
        f"CPU time of the process, all threads. Median of {size.rounds} rounds in turns.",
        "kafka-python x = its cost / the library's cost.",
    ]
    try:
        import confluent_kafka  # noqa: F401
    except ImportError as error:
        table.notes.append(f"{PEER} is absent: {error}")
    try:
        with broker() as address:
            for frame_bytes in SIZES:
                _measure(table, address, frame_bytes, size)
    except RuntimeError as error:
        table.notes.append(f"Nothing was measured: {error}")
    return [table]


def _measure(table: Table, address: str, frame_bytes: int, size: Sizing) -> None:
    import random

    noise = random.Random(frame_bytes)
    frames = [noise.randbytes(frame_bytes) for _ in range(size.kafka_frames)]
    filled = topic(address, f"clients-{time.time_ns()}")
    _publish_ours(filled, frames)
    ways: dict[str, dict[str, Callable[[object], None]]] = {
        "publish": {OURS: lambda _: _publish_ours(_new(address), frames)},
        "read": {OURS: lambda _: _read_ours(filled, len(frames))},
    }
    if not any("absent" in note for note in table.notes):
        ways["publish"][PEER] = lambda _: _publish_peer(_new(address), frames)
        ways["read"][PEER] = lambda _: _read_peer(filled, len(frames))
    for way, libraries in ways.items():
        candidates = {name: Candidate(call, per_run=len(frames)) for name, call in libraries.items()}
        found = interleaved(candidates, size.rounds)
        table.notes += [f"{way} with {name} failed: {why}" for name, why in found.failed.items()]
        for name in found.seconds:
            spread = found.time_s(name)
            table.rows.append({
                "way": way, "bytes": frame_bytes, "library": name, "cost": spread.median * 1e6,
                "low": spread.lowest * 1e6, "high": spread.highest * 1e6,
                "ratio": found.speedup(name, OURS).median if OURS in found.seconds else None,
            })  # fmt: skip


def _new(address: str) -> KafkaConfig:
    return topic(address, f"clients-{time.time_ns()}-{next(_names)}")


def _publish_ours(config: KafkaConfig, frames: list[bytes]) -> None:
    publisher = KafkaPublisher(config)
    publisher.connect(10.0)
    waiting = 0
    for token, frame in enumerate(frames):
        publisher.publish(0, token, frame)
        waiting += 1
        while waiting >= 64:
            waiting -= len(publisher.acknowledged(5.0))
    while waiting:
        waiting -= len(publisher.acknowledged(5.0))
    publisher.close()


def _publish_peer(config: KafkaConfig, frames: list[bytes]) -> None:
    from confluent_kafka import Producer

    settings = {"bootstrap.servers": config.where, "max.in.flight": 1, "acks": "all", "linger.ms": 5}
    producer = Producer(settings | {"compression.type": "lz4", "batch.size": 128 * 1024})
    done: list[object] = []
    for handed, frame in enumerate(frames, 1):
        producer.produce(config.topic, frame, partition=0, on_delivery=lambda error, _: done.append(error))
        while handed - len(done) >= 64:
            producer.poll(1.0)
    producer.flush(WAIT_S)
    assert len(done) == len(frames), f"{len(done)} of {len(frames)} frames acknowledged"
    assert not any(done), f"a frame failed: {next(filter(None, done))}"


def _read_ours(config: KafkaConfig, n: int) -> None:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=list(config.servers), enable_auto_commit=False,
                             fetch_max_bytes=16 * 2**20, auto_offset_reset="none")  # fmt: skip
    place = TopicPartition(config.topic, 0)
    consumer.assign([place])
    consumer.seek(place, 0)
    found, deadline = 0, time.monotonic() + WAIT_S
    while found < n and time.monotonic() < deadline:
        found += sum(len(records) for records in consumer.poll(timeout_ms=200, max_records=500).values())
    consumer.close()
    assert found == n, f"{found} of {n} frames read"


def _read_peer(config: KafkaConfig, n: int) -> None:
    from confluent_kafka import Consumer, TopicPartition

    settings = {"bootstrap.servers": config.where, "group.id": "reader", "enable.auto.commit": False}
    consumer = Consumer(settings | {"fetch.max.bytes": 16 * 2**20})
    consumer.assign([TopicPartition(config.topic, 0, 0)])
    found, deadline = 0, time.monotonic() + WAIT_S
    while found < n and time.monotonic() < deadline:
        found += sum(record.error() is None for record in consumer.consume(500, timeout=0.2))
    consumer.close()
    assert found == n, f"{found} of {n} frames read"
