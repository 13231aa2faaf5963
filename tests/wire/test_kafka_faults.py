"""Brokers that are away, forget, or refuse: nothing acknowledged is lost, nothing hangs, the error says what to do."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient, TopicPartition

from tests.counterparts.broker import BATCH, Broker, durable_tansu, noida, tansu
from tests.counterparts.choice import free_port
from tests.counterparts.object_store import LostWrites
from tests.promptness import promptly
from tests.wire.kafka_world import (
    PARTITIONS,
    Member,
    kafka_member,
    made_topic,
    published,
    publisher,
    topic_settings,
    until,
)
from wire.errors import FrameTooLargeError, OffsetOutOfRangeError, TopicMissingError, TransportError
from wire.frame import MAX_FRAME_BYTES
from wire.kafka_publisher import KafkaPublisher
from wire.kafka_settings import KafkaConfig
from wire.kafka_subscriber import KafkaSubscriber
from wire.kafka_topics import create_topic, describe_topic


@pytest.fixture
def memory() -> Iterator[Broker]:
    with tansu() as broker:
        yield broker


def published_in_the_end(
    sender: KafkaPublisher,
    payloads: list[bytes],
    partition: int,
    at_failure: Callable[[], None] | None = None,
    first_token: int = 0,
) -> int:
    """Publish as an uplink does, again and again until all is acknowledged; gives the number of failures."""
    waiting = dict(enumerate(payloads, first_token))
    failures = 0
    deadline = time.monotonic() + 60
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} are still not acknowledged"
        try:
            for token, payload in waiting.items():
                sender.publish(partition, token, payload)
            for token in sender.acknowledged(0.2):
                del waiting[token]
        except TransportError:
            failures += 1
            if failures == 1 and at_failure is not None:
                at_failure()
            time.sleep(0.05)
    return failures


def says_why(attempt: Callable[[], object]) -> bool:
    """Whether an attempt in vain tells the reason; at once it tells one, be it that nobody has answered yet."""
    with promptly(1.0), pytest.raises(TransportError) as caught:
        attempt()
    said = str(caught.value)
    reason = "connection refused; is the broker running, and on this port" in said
    assert reason or said.endswith(" yet; still trying"), said
    return reason


def test_no_broker_is_said_at_once_and_found_when_it_comes() -> None:
    config = topic_settings(f"127.0.0.1:{free_port()}")
    sender = KafkaPublisher(config)
    for attempt in (lambda: sender.connect(10), sender.partitions, lambda: sender.publish(0, 1, b"")):
        until(lambda attempt=attempt: says_why(attempt), "it says why")  # type: ignore[misc]
    with pytest.raises(TransportError, match="connection refused"):
        describe_topic(config)
    sender.close()


def test_an_unknown_name_and_a_silent_address_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransportError, match=r"no-such-host\.invalid:9092: the name is not known"):
        describe_topic(KafkaConfig(servers=("no-such-host.invalid:9092",)))
    monkeypatch.setattr("wire.kafka_reach.socket.create_connection", lambda *_: (_ for _ in ()).throw(TimeoutError))
    with pytest.raises(TransportError, match=r"a\.example:9: no answer within 2 s; .*; b\.example:9: no answer"):
        describe_topic(KafkaConfig(servers=("a.example:9", "b.example:9")))


def test_a_topic_that_is_missing_is_named_on_both_sides_and_never_made_by_accident(kafka_server: str) -> None:
    config = topic_settings(kafka_server)
    sender, reader = KafkaPublisher(config), KafkaSubscriber(config)
    for connect in (sender.connect, reader.connect):
        with pytest.raises(TopicMissingError, match="create it with `tailwatch topic create`"):
            connect(10.0)
    sender.close()
    reader.close()
    with pytest.raises(TopicMissingError):
        describe_topic(config)


def test_a_topic_is_made_once_and_with_another_number_of_partitions_refused(kafka_server: str) -> None:
    config = topic_settings(kafka_server)
    assert create_topic(config, 3)[1]
    topic, made = create_topic(config, 3)
    assert (topic.name, topic.partitions, topic.replication, made) == (config.topic, 3, 1, False)
    with pytest.raises(TransportError, match="has 3 partitions, wanted 5; add partitions with your broker's tools"):
        create_topic(config, 5)


def test_a_frame_of_the_largest_size_passes_and_a_larger_one_is_refused(kafka_server: str) -> None:
    config = made_topic(kafka_server)
    with publisher(config) as sender:
        largest = bytes(range(256)) * (MAX_FRAME_BYTES // 256)
        published(sender, [(1, largest), (1, b"next")])
        with pytest.raises(FrameTooLargeError, match=f"a frame of {MAX_FRAME_BYTES + 1} bytes"):
            sender.publish(1, 9, bytes(MAX_FRAME_BYTES + 1))
    member = kafka_member(config)
    until(lambda: len(member.records) == 2, "both are read")
    member.stop()
    assert member.payloads == [largest, b"next"]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_every_compression_comes_back_as_it_was_sent(kafka_server: str, compression: str) -> None:
    config = made_topic(kafka_server, compression=compression)
    payloads = [b"%d " % n * n for n in range(200)]
    with publisher(config) as sender:
        published(sender, [(2, payload) for payload in payloads])
    member = kafka_member(config)
    until(lambda: len(member.records) == 200, "all are read")
    member.stop()
    assert member.payloads == payloads


def test_what_a_dead_broker_did_not_acknowledge_arrives_after_its_return() -> None:
    with durable_tansu() as broker:
        config = made_topic(broker.address)
        member = kafka_member(config)
        with publisher(config) as sender:
            published(sender, [(1, b"before-%d" % n) for n in range(20)], first_token=1_000)
            broker.kill()
            payloads = [b"during-%d" % n for n in range(20)]
            assert published_in_the_end(sender, payloads, 1, at_failure=broker.start) > 0
            wanted = {*payloads, *(b"before-%d" % n for n in range(20))}
            until(lambda: set(member.payloads) == wanted, "every record is read")
        member.stop()
        assert [record.offset for record in member.records] == list(range(len(member.records))), "none is read twice"
        assert any("no broker answers" in str(error) for error in member.errors) or not member.errors


def test_a_broker_that_remembers_a_batch_it_never_stored_gets_it_again() -> None:
    lost = LostWrites()
    with durable_tansu(lost) as broker:
        config = made_topic(broker.address, delivery_timeout_s=20.0)
        member = kafka_member(config)
        with publisher(config) as sender:
            published(sender, [(1, b"before")], first_token=100)
            lost.suffix = BATCH
            sender.publish(1, 7, b"under way")
            until(lambda: bool(lost.keys), "the broker writes the batch")
            broker.kill()
            lost.suffix = ""
            broker.start()
            published_in_the_end(sender, [b"under way"], 1, first_token=7)
            published(sender, [(1, b"after")], first_token=200)
        until(lambda: b"after" in member.payloads, "the last is read")
        member.stop()
        assert list(dict.fromkeys(member.payloads)) == [b"before", b"under way", b"after"]


def test_a_broker_that_forgot_its_producers_gets_a_new_one(memory: Broker) -> None:
    config = made_topic(memory.address)
    with publisher(config) as sender:
        published(sender, [(0, b"%d" % n) for n in range(5)], first_token=100)
        memory.kill()
        memory.start()
        create_topic(config, PARTITIONS)
        published_in_the_end(sender, [b"after"], 0)
    member = kafka_member(config)
    until(lambda: b"after" in member.payloads, "it is read")
    member.stop()


def test_a_broker_that_stops_answering_costs_no_call_its_patience(memory: Broker) -> None:
    config = made_topic(memory.address)
    with publisher(config) as sender:
        published(sender, [(0, b"x")])
        memory.pause()
        try:
            with promptly(10.0):
                with promptly(1.0):
                    sender.publish(0, 7, b"y")
                    assert sender.acknowledged(0.1) == []
                with pytest.raises(TransportError):
                    until(lambda: bool(sender.acknowledged(0.2)), "the frame is given up")
        finally:
            memory.resume()
        published_in_the_end(sender, [b"y"], 0)


def test_closing_with_frames_under_way_is_quick_and_leaves_no_thread(memory: Broker) -> None:
    config = made_topic(memory.address)
    before = threading.active_count()
    sender = KafkaPublisher(config)
    sender.connect(10.0)
    published(sender, [(0, b"x")])
    memory.kill()
    sender.publish(0, 7, b"never delivered")
    with promptly(1.0):
        sender.close()
    until(lambda: threading.active_count() <= before, "the library's threads are gone")


def test_a_collector_ends_in_time_though_the_broker_does_not_answer(memory: Broker) -> None:
    member = kafka_member(made_topic(memory.address))
    until(lambda: len(member.subscriber.assigned()) == PARTITIONS, "it holds all")
    member.subscriber.committed(0, 0)
    memory.pause()
    try:
        time.sleep(0.5)
        with promptly(1.4):
            member.stop()
    finally:
        memory.resume()


def test_attempts_in_vain_leave_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(5):
        reader = KafkaSubscriber(topic_settings(f"127.0.0.1:{free_port()}"))
        for _ in range(3):
            with pytest.raises(TransportError):
                reader.poll(1.0, 10)
        reader.close()
    until(lambda: threading.active_count() <= before, "the threads are gone")


def test_a_silent_collector_notices_that_the_broker_is_gone_and_goes_on_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wire.kafka_subscriber._SILENCE_S", 0.5)
    with durable_tansu() as broker:
        config = made_topic(broker.address)
        member = kafka_member(config)
        until(lambda: len(member.subscriber.assigned()) == PARTITIONS, "it holds all")
        broker.kill()
        until(lambda: bool(member.errors), "it says so")
        assert "connection refused" in str(member.errors[0])
        broker.start()
        with publisher(config) as sender:
            published(sender, [(3, b"after")])
        until(lambda: member.payloads == [b"after"], "it reads on")
        member.stop()


def test_retention_that_passed_is_an_error_that_names_the_earliest_record() -> None:
    with noida() as broker:
        config = made_topic(broker.address, session_timeout_s=6.0)
        with publisher(config) as sender:
            published(sender, [(1, b"%d" % n) for n in range(10)])
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        admin.delete_records({TopicPartition(config.topic, 1): 4})
        admin.close()
        member = kafka_member(config)
        until(lambda: bool(member.errors), "the error")
        error = member.errors[0]
        assert isinstance(error, OffsetOutOfRangeError)
        assert (error.partition, error.wanted, error.earliest, error.end) == (1, 0, 4, 10)
        member.subscriber.seek(1, error.earliest)
        until(lambda: len(member.records) == 6, "the rest")
        member.stop()


def test_what_a_callback_raises_comes_out_of_poll(kafka_server: str) -> None:
    config = made_topic(kafka_server)
    reader = KafkaSubscriber(config)

    def refuse(_: frozenset[int]) -> None:
        raise LookupError("the database says no")

    reader.subscribe(refuse, refuse)
    with pytest.raises(LookupError, match="the database says no"):
        until(lambda: bool(reader.poll(0.2, 10)), "an error")
    reader.close()


def test_a_partition_is_not_read_before_it_was_placed(kafka_server: str) -> None:
    config = made_topic(kafka_server)
    with publisher(config) as sender:
        published(sender, [(0, b"a"), (1, b"b")])
    reader = KafkaSubscriber(config)
    reader.subscribe(lambda _: None, lambda _: None)
    found: list[bytes] = []

    def read_on() -> bool:
        found.extend(record.payload for record in reader.poll(0.2, 10))
        return len(reader.assigned()) == PARTITIONS

    until(read_on, "all are held")
    reader.resume(frozenset({0, 1}))
    for _ in range(5):
        read_on()
    assert found == [], "neither assignment nor resume is a place to begin"
    reader.seek(1, 0)
    until(lambda: read_on() and bool(found), "a record")
    assert found == [b"b"]
    reader.close()


def test_a_slow_callback_does_not_cost_the_membership(kafka_server: str) -> None:
    config = made_topic(kafka_server)
    slow_s = 1.5 * config.session_timeout_s
    first = SlowMember(KafkaSubscriber(config), pause_s=slow_s)
    until(lambda: len(first.subscriber.assigned()) == PARTITIONS, "the first holds all")
    second = kafka_member(config)
    until(lambda: len(first.subscriber.assigned()) == len(second.subscriber.assigned()) == 2, "they share", 60)
    assert ("revoked", frozenset(range(PARTITIONS))) in first.events
    first.stop()
    second.stop()


class SlowMember(Member):
    """A member that takes its time to flush."""

    def __init__(self, subscriber: KafkaSubscriber, pause_s: float) -> None:
        self._pause_s = pause_s
        super().__init__(subscriber)

    def _revoked(self, gone: frozenset[int]) -> None:
        time.sleep(self._pause_s)
        super()._revoked(gone)


def test_the_librarys_debug_lines_do_not_reach_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    from tailwatch.settings_flags import set_up_logging

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        set_up_logging("debug")
        with pytest.raises(TransportError):
            describe_topic(
                topic_settings(f"127.0.0.1:{free_port()}", sasl="plain", sasl_user="u", sasl_password="s3cret")
            )
        logging.getLogger("kafka.admin").debug("configuration: %s", {"sasl_plain_password": "s3cret"})
        assert not logging.getLogger("kafka").isEnabledFor(logging.DEBUG)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("kafka").setLevel(logging.NOTSET)
    assert "s3cret" not in capfd.readouterr().err
