"""A Kafka-protocol broker for the benchmarks: the one that the tests use, on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from wire.kafka_settings import KafkaConfig

PARTITIONS = 2


@contextmanager
def broker() -> Iterator[str]:
    """HOST:PORT of a running broker that keeps records in memory.

    Raises:
        RuntimeError: there is none to start; says what to install.
    """
    from tests.counterparts.broker import tansu

    with tansu() as started:
        yield started.address


def topic(address: str, name: str, **settings: object) -> KafkaConfig:
    """Settings for a topic, which is made, and a group of the same name."""
    from wire.kafka_topics import create_topic

    given = {"servers": (address,), "topic": name, "group": name} | settings
    config = msgspec.convert(given, KafkaConfig)
    create_topic(config, PARTITIONS)
    return config


def session(seconds: float | None) -> dict[str, float]:
    """Settings of the group's session; none of them where the default is to be used."""
    return {} if seconds is None else {"session_timeout_s": seconds, "heartbeat_s": seconds / 4}
