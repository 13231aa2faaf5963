"""A Kafka topic of a test's own, and members of its group that run in threads as collectors run in processes."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from tests.counterparts.broker import VARIABLE, new_topic_name
from wire.errors import TransportError
from wire.kafka_publisher import KafkaPublisher
from wire.kafka_settings import KafkaConfig
from wire.kafka_subscriber import KafkaSubscriber
from wire.kafka_topics import create_topic
from wire.transport import Publisher, Record, Subscriber

PARTITIONS = 4


def topic_settings(server: str, **settings: object) -> KafkaConfig:
    """Settings for a new name of a topic and group; short times, as far as the broker allows them."""
    name = new_topic_name()
    # tansu lets a group wait for half a session before its first generation; other brokers refuse less than 6 s.
    ours = server.startswith("127.0.0.1:") and not os.environ.get(VARIABLE)
    session_s = 2.0 if ours else 6.0
    common = {"servers": (server,), "topic": name, "group": name, "request_timeout_s": 2.0, "delivery_timeout_s": 3.0}
    times = {"session_timeout_s": session_s, "heartbeat_s": session_s / 4}
    return msgspec.convert(common | times | settings, KafkaConfig)


def made_topic(server: str, **settings: object) -> KafkaConfig:
    """As `topic_settings`, with the topic made; a broker that is slow to answer is asked again."""
    config = topic_settings(server, **settings)

    def made() -> bool:
        with suppress(TransportError):
            return create_topic(config, PARTITIONS)[0].partitions == PARTITIONS
        return False

    until(made, "the topic is made")
    return config


@contextmanager
def publisher(config: KafkaConfig) -> Iterator[KafkaPublisher]:
    """A connected publisher."""
    made = KafkaPublisher(config)
    try:
        made.connect(10.0)
        yield made
    finally:
        made.close()


def published(one: Publisher, payloads: list[tuple[int, bytes]], first_token: int = 0) -> list[int]:
    """Publish and wait until all is durable; gives the tokens in the order of their acknowledgement."""
    for token, (partition, payload) in enumerate(payloads, first_token):
        one.publish(partition, token, payload)
    durable: list[int] = []
    deadline = time.monotonic() + 60
    while len(durable) < len(payloads):
        durable += one.acknowledged(0.5)
        assert time.monotonic() < deadline, f"only {durable} of {len(payloads)} were acknowledged"
    return durable


@dataclass
class Member:
    """A subscriber that polls in a thread of its own, from `starts` (else 0), and keeps what it is handed."""

    subscriber: Subscriber
    starts: dict[int, int] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    errors: list[TransportError] = field(default_factory=list)
    events: list[tuple[str, frozenset[int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.subscriber.subscribe(self._assigned, self._revoked)
        self._thread.start()

    def stop(self) -> None:
        """Leave the group."""
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "a member does not end"

    @property
    def payloads(self) -> list[bytes]:
        return [record.payload for record in self.records]

    def _assigned(self, new: frozenset[int]) -> None:
        self.events.append(("assigned", new))
        for partition in new:
            self.subscriber.seek(partition, self.starts.get(partition, 0))

    def _revoked(self, gone: frozenset[int]) -> None:
        self.events.append(("revoked", gone))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.records += self.subscriber.poll(0.1, 100)
            except TransportError as error:
                self.errors.append(error)
                self._stop.wait(0.1)
        self.subscriber.close()


def kafka_member(config: KafkaConfig, starts: dict[int, int] | None = None) -> Member:
    """A running member of the group."""
    return Member(KafkaSubscriber(config), starts or {})


def until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Wait for a condition; a test fails with `what` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.01)
