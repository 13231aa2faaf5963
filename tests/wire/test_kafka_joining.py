"""Members that are hardly ever inside the library's `poll` get what the group decides meanwhile; real brokers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaAdminClient

from tests.counterparts.broker import noida
from tests.wire.kafka_world import PARTITIONS, made_topic, until
from wire.kafka_settings import KafkaConfig
from wire.kafka_subscriber import KafkaSubscriber


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer of the group comes between two polls."""
    monkeypatch.setattr("wire.kafka_subscriber._REBALANCE_WAIT_S", 0.0)
    monkeypatch.setattr("wire.kafka_subscriber._METADATA_AGE_MS", 500)
    monkeypatch.setattr("wire.kafka_subscriber._CLOSE_MS", 10_000)


@contextmanager
def members(config: KafkaConfig, count: int) -> Iterator[Callable[[], list[int]]]:
    """Members that poll in turn and for no time at all; gives who holds how many partitions after a round of that."""
    found = [KafkaSubscriber(config) for _ in range(count)]
    for one in found:
        one.connect(30.0)
        one.subscribe(lambda _: None, lambda _: None)

    def shares() -> list[int]:
        for one in found:
            one.poll(0.0, 10)
        time.sleep(0.05)
        return sorted(len(one.assigned()) for one in found)

    try:
        yield shares
    finally:
        for one in found:
            one.close()


def test_what_the_group_decides_between_two_polls_is_taken_up_by_the_next(kafka_server: str) -> None:
    with members(made_topic(kafka_server), 2) as shares:
        until(lambda: shares() == [PARTITIONS // 2] * 2, "they share")


def test_who_shares_out_added_partitions_between_two_polls_takes_its_own() -> None:
    with noida() as broker:  # tansu refuses to add partitions
        config = made_topic(broker.address, session_timeout_s=6.0)
        with members(config, 2) as shares:
            until(lambda: shares() == [PARTITIONS // 2] * 2, "they share")
            admin = KafkaAdminClient(bootstrap_servers=list(config.servers))
            try:
                admin.create_partitions({config.topic: PARTITIONS + 2})
            finally:
                admin.close()
            until(lambda: shares() == [PARTITIONS // 2 + 1] * 2, "they share six")
