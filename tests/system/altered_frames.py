"""Frames altered on their way: a relay between the topic that agents write and the one that collectors read.

Every frame arrives, but not only as it was sent: twice, in another order, or behind a copy of itself that is cut short
or has one bit flipped. What must end as a dead letter is kept, so that each dead letter can be explained.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from wire.errors import TransportError
from wire.kafka_client import open_client
from wire.kafka_publisher import KafkaPublisher
from wire.kafka_settings import KafkaConfig, client_options
from wire.transport import Record

# Fewer than a collector keeps gaps open for, also when two blocks meet.
_BLOCK = 30
# Long enough for blocks worth shuffling to gather.
_GATHER_S = 0.4
_SHARE = 0.25


@dataclass(slots=True)
class Altered:
    """What to publish in place of some frames, in this order, and how much of it no collector may add.

    `bad` are payloads that are no frames; `copies` is how many frames are there once more.
    """

    payloads: list[bytes] = field(default_factory=list)
    bad: list[bytes] = field(default_factory=list)
    copies: int = 0


Alteration = Callable[[list[bytes], random.Random], Altered]


def duplicated(frames: list[bytes], rng: random.Random) -> Altered:
    """Some frames again, right behind themselves or behind all others."""
    altered = Altered()
    again: list[bytes] = []
    for frame in frames:
        altered.payloads.append(frame)
        if rng.random() < _SHARE:
            (altered.payloads if rng.random() < 0.5 else again).append(frame)
            altered.copies += 1
    altered.payloads += again
    return altered


def reordered(frames: list[bytes], rng: random.Random) -> Altered:
    """Any order within blocks that are smaller than the number of gaps a collector keeps open."""
    altered = Altered()
    for at in range(0, len(frames), _BLOCK):
        block = frames[at : at + _BLOCK]
        altered.payloads += rng.sample(block, len(block))
    return altered


def truncated(frames: list[bytes], rng: random.Random) -> Altered:
    """In front of some frames the beginning of it, which may be empty."""
    return _behind_bad_copies(frames, rng, lambda frame: frame[: rng.randrange(len(frame))])


def corrupted(frames: list[bytes], rng: random.Random) -> Altered:
    """In front of some frames a copy with one bit flipped, anywhere in it."""

    def flipped(frame: bytes) -> bytes:
        place = rng.randrange(len(frame))
        return frame[:place] + bytes([frame[place] ^ 1 << rng.randrange(8)]) + frame[place + 1 :]

    return _behind_bad_copies(frames, rng, flipped)


def _behind_bad_copies(frames: list[bytes], rng: random.Random, spoilt: Callable[[bytes], bytes]) -> Altered:
    altered = Altered()
    for frame in frames:
        if rng.random() < _SHARE:
            altered.bad.append(spoilt(frame))
            altered.payloads.append(altered.bad[-1])
        altered.payloads.append(frame)
    return altered


class Relay:
    """Carries every frame from one topic to the same partition of another, altered on the way, until `finish`.

    Attributes:
        bad: payloads that no collector can read, each with how often it was handed to a producer.
        copies: frames put there once more.
        altered: how many times what went out was not what had come in.
        resent: whether a failure made it publish something again, so that there may be more of everything.
    """

    def __init__(self, source: KafkaConfig, target: KafkaConfig, alter: Alteration, rng: random.Random) -> None:
        """Begin with the source's first frame."""
        self.bad: Counter[bytes] = Counter()
        self.copies = 0
        self.altered = 0
        self.resent = False
        self.failure: BaseException | None = None
        self._source, self._target, self._alter, self._rng = source, target, alter, rng
        self._next = dict.fromkeys(range(_partitions(source)), 0)
        self._consumer: Any = None
        self._publisher = KafkaPublisher(target)
        self._unacknowledged: dict[int, tuple[int, bytes]] = {}
        self._token = 0
        self._handed: set[int] = set()
        self._spoilt: set[bytes] = set()
        self._finishing = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """End when everything that was read is durable."""
        self._finishing.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the relay does not end"
        if self.failure is not None:
            raise self.failure

    def abandon(self) -> None:
        """End at once."""
        self._abandoned = True
        self._finishing.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            while not self._abandoned and (self._unacknowledged or not self._finishing.is_set()):
                self._finishing.wait(_GATHER_S)
                for partition, frames in sorted(self._read().items()):
                    altered = self._alter(frames, self._rng)
                    self._spoilt.update(altered.bad)
                    self.copies += altered.copies
                    self.altered += altered.payloads != frames
                    for payload in altered.payloads:
                        self._unacknowledged[self._token] = partition, payload
                        self._token += 1
                self._deliver()
        except BaseException as error:  # noqa: BLE001 - `finish` raises it
            self.failure = error
        finally:
            self._publisher.close()
            self._forget()

    def _read(self) -> dict[int, list[bytes]]:
        """What has come since the last time, by partition."""
        found: list[Record] = []
        try:
            if self._consumer is None:
                self._consumer = _consumer(self._source, self._next)
            polled = self._consumer.poll(timeout_ms=100, max_records=1_000)
        except (TransportError, KafkaError, RuntimeError, OSError):
            self._forget()
            return {}
        for place, records in polled.items():
            found += [Record(place.partition, record.offset, record.value or b"") for record in records]
        frames: dict[int, list[bytes]] = {}
        for record in found:
            if record.offset >= self._next[record.partition]:
                frames.setdefault(record.partition, []).append(record.payload)
                self._next[record.partition] = record.offset + 1
        return frames

    def _deliver(self) -> None:
        """Publish what is not durable yet, in order, and wait for it; after a failure the next round tries again."""
        with suppress(TransportError):
            for token, (partition, payload) in self._unacknowledged.items():
                self.resent = self.resent or token in self._handed
                self._handed.add(token)
                if payload in self._spoilt:
                    self.bad[payload] += 1
                self._publisher.publish(partition, token, payload)
            while self._unacknowledged:
                for token in self._publisher.acknowledged(0.5):
                    del self._unacknowledged[token]

    def _forget(self) -> None:
        if self._consumer is not None:
            with suppress(KafkaError, RuntimeError, OSError):
                self._consumer.close(timeout_ms=200)
            self._consumer = None


def _partitions(config: KafkaConfig) -> int:
    publisher = KafkaPublisher(config)
    try:
        publisher.connect(10.0)
        return publisher.partitions()
    finally:
        publisher.close()


def _consumer(config: KafkaConfig, positions: dict[int, int]) -> Any:
    options = client_options(config, "relay") | {"group_id": None, "auto_offset_reset": "earliest"}
    consumer = open_client(KafkaConsumer, config, options)
    places = {TopicPartition(config.topic, number): offset for number, offset in positions.items()}
    consumer.assign(list(places))
    for place, offset in places.items():
        consumer.seek(place, offset)
    return consumer
