"""What both transports promise: order, durability on acknowledgement, places that are kept, errors that say enough."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.promptness import promptly
from tests.wire.kafka_world import PARTITIONS, kafka_member, made_topic, published, publisher, until
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.errors import OffsetOutOfRangeError, TransportError
from wire.kafka_subscriber import KafkaSubscriber
from wire.transport import Publisher, Record, Subscriber


class Transport(Protocol):
    """One new log or topic with PARTITIONS partitions."""

    def publisher(self) -> Publisher: ...

    def subscriber(self) -> Subscriber: ...


class Embedded:
    def __init__(self, path: Path) -> None:
        self._path = path

    def publisher(self) -> Publisher:
        return EmbeddedPublisher(self._path, partitions=PARTITIONS)

    def subscriber(self) -> Subscriber:
        return EmbeddedSubscriber(self._path, partitions=PARTITIONS)


class Kafka:
    def __init__(self, server: str, opened: ExitStack) -> None:
        self._config = made_topic(server)
        self._opened = opened

    def publisher(self) -> Publisher:
        return self._opened.enter_context(publisher(self._config))

    def subscriber(self) -> Subscriber:
        return KafkaSubscriber(self._config)


@pytest.fixture(params=["embedded", "kafka"])
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    with ExitStack() as opened:
        if request.param == "embedded":
            yield Embedded(tmp_path / "log.db")
        else:
            yield Kafka(request.getfixturevalue("kafka_server"), opened)


@contextmanager
def reading(transport: Transport, starts: dict[int, int] | None = None) -> Iterator[Subscriber]:
    """A subscriber that holds every partition, at `starts` or at the beginning."""
    subscriber = transport.subscriber()
    told: list[tuple[str, frozenset[int]]] = []

    def assigned(new: frozenset[int]) -> None:
        told.append(("assigned", new))
        for partition in new:
            subscriber.seek(partition, (starts or {}).get(partition, 0))
        subscriber.pause(new)  # nothing is lost before the test looks

    subscriber.subscribe(assigned, lambda gone: told.append(("revoked", gone)))
    until(lambda: subscriber.poll(0.05, 100) == [] and len(subscriber.assigned()) == PARTITIONS, "all are assigned")
    assert told == [("assigned", frozenset(range(PARTITIONS)))]
    subscriber.resume(frozenset(range(PARTITIONS)))
    try:
        yield subscriber
    finally:
        subscriber.close()


def read(subscriber: Subscriber, count: int, max_records: int = 100) -> list[Record]:
    """Exactly the next `count` records; waits a moment for ones too many."""
    records: list[Record] = []
    until(lambda: bool(records.extend(subscriber.poll(0.1, max_records))) or len(records) >= count, f"{count} records")
    records += subscriber.poll(0.3, max_records)
    assert len(records) == count, records
    return records


def of(records: list[Record], partition: int) -> list[tuple[int, bytes]]:
    return [(record.offset, record.payload) for record in records if record.partition == partition]


def test_records_keep_their_order_per_partition_and_count_up_from_zero(transport: Transport) -> None:
    payloads = [(n % 3, b"%d" % n) for n in range(300)]
    sender = transport.publisher()
    assert sender.partitions() == PARTITIONS
    assert sorted(published(sender, payloads)) == list(range(300))
    with reading(transport) as subscriber:
        records = read(subscriber, 300)
    for partition in range(3):
        wanted = [payload for at, payload in payloads if at == partition]
        assert of(records, partition) == list(enumerate(wanted))


def test_what_was_acknowledged_is_there_for_everybody_and_from_any_offset(transport: Transport) -> None:
    published(transport.publisher(), [(2, b"%d" % n) for n in range(10)])
    with reading(transport, {2: 7}) as subscriber:
        assert of(read(subscriber, 3), 2) == [(7, b"7"), (8, b"8"), (9, b"9")]
        subscriber.seek(2, 4)
        assert of(read(subscriber, 6), 2)[0] == (4, b"4")
        subscriber.seek(2, 0)
        assert of(read(subscriber, 10, max_records=3), 2)[-1] == (9, b"9")


def test_a_paused_partition_keeps_its_place_and_the_others_go_on(transport: Transport) -> None:
    sender = transport.publisher()
    published(sender, [(0, b"a"), (1, b"b")])
    with reading(transport) as subscriber:
        subscriber.pause(frozenset({0}))
        assert [record.payload for record in read(subscriber, 1)] == [b"b"]
        published(sender, [(0, b"c"), (1, b"d")], first_token=10)
        assert [record.payload for record in read(subscriber, 1)] == [b"d"]
        subscriber.resume(frozenset({0}))
        assert of(read(subscriber, 2), 0) == [(0, b"a"), (1, b"c")]
        subscriber.pause(frozenset({0}))
        subscriber.seek(0, 1)
        assert subscriber.poll(0.3, 10) == [], "a seek must not undo the pause"
        subscriber.resume(frozenset({0}))
        assert of(read(subscriber, 1), 0) == [(1, b"c")]


def test_a_position_beyond_the_end_is_an_error_that_names_what_there_is(transport: Transport) -> None:
    published(transport.publisher(), [(1, b"%d" % n) for n in range(5)])
    with reading(transport, {1: 50}) as subscriber:
        with pytest.raises(OffsetOutOfRangeError) as caught:
            until(lambda: bool(subscriber.poll(0.1, 10)), "an error")
        assert (caught.value.partition, caught.value.wanted, caught.value.earliest) == (1, 50, 0)
        assert caught.value.end == 5
        subscriber.seek(1, caught.value.earliest)
        assert len(read(subscriber, 5)) == 5


def test_the_ends_count_every_record_also_those_of_one_batch(transport: Transport) -> None:
    published(transport.publisher(), [(3, b"x")] * 70)
    with reading(transport) as subscriber:
        read(subscriber, 70)
        assert subscriber.ends()[3] == 70


def test_the_end_of_a_paused_partition_moves_on(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.kafka_subscriber._ASK_ENDS_S", 0.0)
    sender = transport.publisher()
    published(sender, [(2, b"a")])
    with reading(transport) as subscriber:
        read(subscriber, 1)
        assert subscriber.ends()[2] == 1
        subscriber.pause(frozenset({2}))
        for token in range(1, 4):
            published(sender, [(2, b"b")], first_token=token)
        found: list[Record] = []
        until(lambda: bool(found.extend(subscriber.poll(0.1, 10))) or subscriber.ends()[2] == 4, "the end moves on")
        assert found == []
        subscriber.resume(frozenset({2}))
        assert of(read(subscriber, 3), 2)[-1] == (3, b"b")
        assert subscriber.ends()[2] == 4


def test_a_token_that_is_under_way_is_not_sent_twice_and_a_wrong_partition_is_refused(transport: Transport) -> None:
    sender = transport.publisher()
    for _ in range(3):
        sender.publish(1, 7, b"once")
    with pytest.raises(TransportError, match=f"no partition {PARTITIONS}; there are {PARTITIONS}, from 0"):
        sender.publish(PARTITIONS, 8, b"nowhere")
    durable: list[int] = []
    until(lambda: bool(durable.extend(sender.acknowledged(0.2))) or bool(durable), "acknowledged")
    assert durable == [7]
    with reading(transport) as subscriber:
        assert len(read(subscriber, 1)) == 1


def test_an_acknowledgement_is_waited_for_no_longer_than_asked(transport: Transport) -> None:
    sender = transport.publisher()
    with promptly(3.0):
        assert sender.acknowledged(5.0) == [], "nothing is outstanding"


def test_two_members_share_the_partitions_and_every_record_goes_to_an_owner(kafka_server: str) -> None:
    config = made_topic(kafka_server)
    with publisher(config) as sender:
        first = kafka_member(config)
        until(lambda: len(first.subscriber.assigned()) == PARTITIONS, "the first holds all")
        published(sender, [(n % PARTITIONS, b"1-%d" % n) for n in range(40)])
        until(lambda: len(first.records) == 40, "the first reads all")
        second = kafka_member(config, starts=dict.fromkeys(range(PARTITIONS), 10))
        first.starts.update(dict.fromkeys(range(PARTITIONS), 10))
        until(lambda: len(first.subscriber.assigned()) == len(second.subscriber.assigned()) == 2, "they share")
        assert first.subscriber.assigned() | second.subscriber.assigned() == frozenset(range(PARTITIONS))
        published(sender, [(n % PARTITIONS, b"2-%d" % n) for n in range(40)], first_token=100)
        until(lambda: len(first.records) + len(second.records) == 80, "they read all")
        for member, others in ((first, second), (second, first)):
            late = [record for record in member.records if record.payload.startswith(b"2-")]
            assert {record.partition for record in late} == member.subscriber.assigned()
            assert not {record.payload for record in late} & set(others.payloads)
        first.stop()
        until(lambda: len(second.subscriber.assigned()) == PARTITIONS, "who stays holds all")
        assert ("revoked", frozenset(range(PARTITIONS))) in first.events
        second.stop()
    assert first.errors == second.errors == []
