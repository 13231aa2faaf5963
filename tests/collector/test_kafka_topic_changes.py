"""What becomes of a topic under running collectors: made anew, or given more partitions. Real brokers."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaAdminClient

from collector import own_metrics
from tests.collector.conftest import Bench
from tests.collector.test_kafka_rebalance import Running, stored_count
from tests.counterparts.broker import noida, tansu
from tests.fleet import FakeAgent, probe_records, truth
from tests.stored import assert_same
from tests.wire.kafka_world import PARTITIONS, made_topic, published, publisher, until
from wire.kafka_settings import KafkaConfig
from wire.kafka_topics import create_topic

RECORDS = probe_records(400, seed=81)


@contextmanager
def administrator(config: KafkaConfig) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=list(config.servers))
    try:
        yield admin
    finally:
        admin.close()


def made_anew(config: KafkaConfig) -> None:
    """Delete the topic and make one of the same name."""
    with administrator(config) as admin:
        admin.delete_topics([config.topic])
    until(lambda: create_topic(config, PARTITIONS)[1], "the topic is gone and made again")


def resets() -> float:
    return own_metrics.REGISTRY.get_sample_value("tailwatch_collector_offset_resets_total") or 0.0


@pytest.fixture
def kafka() -> Iterator[KafkaConfig]:
    """A topic whose id the broker tells, on a broker that nobody else uses."""
    with tansu() as broker:
        yield made_topic(broker.address)


def test_a_topic_made_anew_while_no_collector_ran_is_read_from_its_beginning(
    bench: Bench, kafka: KafkaConfig, caplog: pytest.LogCaptureFixture
) -> None:
    agent = FakeAgent(bench.plan, partition=1)
    old = agent.send(RECORDS[:50], 99)
    with publisher(kafka) as sender:
        published(sender, [(1, frame) for frame in old])
    collector = Running("one", bench, kafka)
    until(lambda: bench.totals()["frames"] == len(old), "the first topic is read")
    collector.stop()
    made_anew(kafka)
    # More than the stored position: it lies inside the new topic, and a frame that stood in the old one is sent again.
    new = [frame for at in range(50, 400, 50) for frame in agent.send(RECORDS[at : at + 50], 99 if at % 100 else 0)]
    with publisher(kafka) as sender:
        published(sender, [(1, frame) for frame in [old[-1], *new]])
    before = resets()
    collector = Running("two", bench, kafka)
    wanted = len(old) + 1 + len(new)
    until(lambda: bench.totals()["frames"] == wanted, "the second topic is read")
    collector.stop()
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    counted = bench.totals()
    assert (counted["duplicates"], counted["dead_letters"], counted["skipped_offsets"]) == (1, 0, 0)
    assert resets() - before == 1
    assert caplog.text.count("another log in place of the one read before") == 1


def test_a_topic_made_anew_under_a_running_collector_is_read_from_its_beginning(
    bench: Bench, kafka: KafkaConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.kafka_subscriber._METADATA_AGE_MS", 500)
    agent = FakeAgent(bench.plan, partition=2)
    with publisher(kafka) as sender:
        published(sender, [(2, frame) for frame in agent.send(RECORDS[:50], 99)])
    collector = Running("one", bench, kafka)
    until(lambda: bench.totals()["frames"] == 2, "the first topic is read")
    made_anew(kafka)
    new = [frame for at in range(50, 400, 10) for frame in agent.send(RECORDS[at : at + 10], 99 if at % 20 else 0)]
    with publisher(kafka) as sender:
        published(sender, [(2, frame) for frame in new])
    wanted = sum(truth(bench.plan, RECORDS).record_counts().values())
    until(lambda: stored_count(bench) == wanted, "the second topic is read", 40)
    collector.stop()
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert bench.totals()["dead_letters"] == 0


def test_partitions_added_to_a_topic_are_shared_and_read_without_a_restart(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.kafka_subscriber._METADATA_AGE_MS", 500)
    # This broker waits for ever for a member that went without leaving: one that is thrown away has time to leave.
    monkeypatch.setattr("wire.kafka_subscriber._CLOSE_MS", 10_000)
    with noida() as broker:  # tansu refuses to add partitions
        # Nobody dies here: no time limit is to end a connection or a session of threads that wait for a core.
        patient = {"session_timeout_s": 60.0, "heartbeat_s": 0.5, "request_timeout_s": 10.0, "delivery_timeout_s": 20.0}
        kafka = made_topic(broker.address, **patient)
        collectors = [Running(name, bench, kafka) for name in ("one", "two")]

        def shares() -> list[int]:
            return sorted(len(collector.subscriber.assigned()) for collector in collectors)

        until(lambda: shares() == [PARTITIONS // 2] * 2, "they share")
        old = FakeAgent(bench.plan, "old", 1, "a" * 32)
        with publisher(kafka) as sender:
            published(sender, [(1, frame) for frame in old.send(RECORDS[:100], 99)])
            with administrator(kafka) as admin:
                admin.create_partitions({kafka.topic: PARTITIONS + 2})
            until(lambda: shares() == [PARTITIONS // 2 + 1] * 2, "they share six")
            # An agent that runs keeps its partition, one that starts may take a new one.
            published(sender, [(1, frame) for frame in old.send(RECORDS[100:200], 0)], 10)
        with publisher(kafka) as sender:
            assert sender.partitions() == PARTITIONS + 2
            for number in (PARTITIONS, PARTITIONS + 1):
                new = FakeAgent(bench.plan, f"new-{number}", number, f"{number:032x}")
                at = 200 + 100 * (number - PARTITIONS)
                published(sender, [(number, frame) for frame in new.send(RECORDS[at : at + 100], 99)], 20 * number)
        wanted = sum(truth(bench.plan, RECORDS).record_counts().values())
        until(lambda: stored_count(bench) == wanted, "all is stored")
        for collector in collectors:
            collector.stop()
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    counted = bench.totals()
    assert (counted["frames"], counted["duplicates"], counted["dead_letters"]) == (8, 0, 0)
