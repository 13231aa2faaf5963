"""The embedded transport keeps a broker's promises: order, durability on acknowledgement, offsets, honest errors."""

import sqlite3
import threading
from pathlib import Path

import pytest

from tests.promptness import promptly
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.errors import OffsetOutOfRangeError, TransportError, TransportFullError
from wire.transport import Record


def publish(path: Path, payloads: list[tuple[int, bytes]]) -> None:
    publisher = EmbeddedPublisher(path)
    for token, (partition, payload) in enumerate(payloads):
        publisher.publish(partition, token, payload)
    assert publisher.acknowledged(1.0) == list(range(len(payloads)))
    publisher.close()


def reader(path: Path, start: int = 0) -> EmbeddedSubscriber:
    subscriber = EmbeddedSubscriber(path)

    def seek_all(partitions: frozenset[int]) -> None:
        for partition in partitions:
            subscriber.seek(partition, start if partition == 0 else 0)

    subscriber.subscribe(seek_all, seek_all)
    return subscriber


def test_a_log_has_a_name_of_its_own_and_one_of_an_earlier_release_gets_one(tmp_path: Path) -> None:
    names = []
    for name in ("a.db", "b.db", "a.db"):
        reader = EmbeddedSubscriber(tmp_path / name)
        names.append(reader.log_id())
        reader.close()
    assert names[0] == names[2] != names[1]
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("DROP TABLE identity")
    database.close()
    reader = EmbeddedSubscriber(tmp_path / "a.db")
    assert len(reader.log_id()) == 32 != names[0]
    reader.close()


def test_records_come_back_in_order_per_partition_with_rising_offsets(tmp_path: Path) -> None:
    publish(tmp_path / "log.db", [(0, b"a"), (1, b"b"), (0, b"c")])
    publish(tmp_path / "log.db", [(0, b"d")])
    records = reader(tmp_path / "log.db").poll(0, 10)
    assert sorted(records, key=lambda record: record.partition) == [
        Record(0, 0, b"a"),
        Record(0, 1, b"c"),
        Record(0, 2, b"d"),
        Record(1, 0, b"b"),
    ]


def test_what_is_not_acknowledged_is_not_there(tmp_path: Path) -> None:
    publisher = EmbeddedPublisher(tmp_path / "log.db")
    publisher.publish(0, 1, b"lost with the process")
    publisher.close()
    assert reader(tmp_path / "log.db").poll(0, 10) == []


def test_reading_goes_on_where_seek_says(tmp_path: Path) -> None:
    publish(tmp_path / "log.db", [(2, bytes([n])) for n in range(5)])
    subscriber = reader(tmp_path / "log.db")
    assert [r.offset for r in subscriber.poll(0, 2)] == [0, 1]
    assert [r.offset for r in subscriber.poll(0, 10)] == [2, 3, 4]
    subscriber.seek(2, 1)
    assert [r.offset for r in subscriber.poll(0, 10)] == [1, 2, 3, 4]


def test_a_paused_partition_keeps_its_place(tmp_path: Path) -> None:
    publish(tmp_path / "log.db", [(0, b"a"), (1, b"b")])
    subscriber = reader(tmp_path / "log.db")
    subscriber.poll(0, 0)
    subscriber.pause(frozenset({0}))
    assert [r.payload for r in subscriber.poll(0, 10)] == [b"b"]
    subscriber.resume(frozenset({0}))
    assert [r.payload for r in subscriber.poll(0, 10)] == [b"a"]


def test_committed_records_go_and_asking_for_them_is_an_error_that_names_the_earliest(tmp_path: Path) -> None:
    publish(tmp_path / "log.db", [(0, bytes([n])) for n in range(4)])
    reader(tmp_path / "log.db").committed(0, 3)
    with pytest.raises(OffsetOutOfRangeError, match="holds offsets from 3 to before 4, not 0") as caught:
        reader(tmp_path / "log.db").poll(0, 10)
    assert (caught.value.earliest, caught.value.end) == (3, 4)
    publish(tmp_path / "log.db", [(0, b"next")])
    assert [r.offset for r in reader(tmp_path / "log.db", start=3).poll(0, 10)[:2]] == [3, 4]


def test_a_full_log_takes_nothing_and_takes_again_after_commits(tmp_path: Path) -> None:
    publisher = EmbeddedPublisher(tmp_path / "log.db", max_bytes=100)
    publisher.publish(0, 1, bytes(80))
    with pytest.raises(TransportFullError, match="is a collector reading it"):
        publisher.publish(0, 2, bytes(80))
    assert publisher.acknowledged(1.0) == [1]
    reader(tmp_path / "log.db").committed(0, 1)
    publisher.publish(0, 2, bytes(80))
    assert publisher.acknowledged(1.0) == [2]


def test_both_ends_may_open_a_new_log_at_the_same_moment(tmp_path: Path) -> None:
    for attempt in range(10):
        ready, failures = threading.Barrier(4), []

        def open_one(path: Path, ready: threading.Barrier, failures: list[Exception]) -> None:
            ready.wait()
            try:
                EmbeddedSubscriber(path).close()
            except TransportError as error:
                failures.append(error)

        arguments = (tmp_path / f"{attempt}.db", ready, failures)
        threads = [threading.Thread(target=open_one, args=arguments) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_errors_say_what_is_wrong_and_where(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="no partition 4; there are 4, from 0"):
        EmbeddedPublisher(tmp_path / "log.db").publish(4, 1, b"")
    with pytest.raises(TransportError, match="check that the folder is writable"):
        EmbeddedPublisher(tmp_path / "absent" / "log.db")
    with sqlite3.connect(tmp_path / "newer.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(TransportError, match="log format 99, this program knows 1"):
        EmbeddedSubscriber(tmp_path / "newer.db")
    db.close()


def test_a_commit_of_another_log_deletes_nothing(tmp_path: Path) -> None:
    publish(tmp_path / "log.db", [(0, b"a"), (0, b"b")])
    reader(tmp_path / "log.db").committed(0, 7)
    assert [r.offset for r in reader(tmp_path / "log.db").poll(0, 10)] == [0, 1]


def test_an_offset_out_of_range_loses_no_place_of_another_partition(tmp_path: Path) -> None:
    publish(tmp_path / "log.db", [(0, b"a"), (1, b"b")])
    subscriber = reader(tmp_path / "log.db")
    subscriber.poll(0, 0)
    subscriber.seek(1, 9)
    for _ in range(4):
        with pytest.raises(OffsetOutOfRangeError):
            subscriber.poll(0, 10)
    subscriber.seek(1, 0)
    assert sorted(r.payload for r in subscriber.poll(0, 10)) == [b"a", b"b"]


def test_a_long_backlog_on_one_partition_does_not_starve_the_others(tmp_path: Path) -> None:
    publish(tmp_path / "log.db", [(0, b"x")] * 50 + [(3, b"y")])
    subscriber = reader(tmp_path / "log.db")
    first = [record.partition for _ in range(4) for record in subscriber.poll(0, 5)]
    assert 3 in first


def test_a_locked_log_is_waited_for_no_longer_than_asked_and_loses_nothing(tmp_path: Path) -> None:
    publisher = EmbeddedPublisher(tmp_path / "log.db")
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    publisher.publish(0, 7, b"a")
    with promptly(1.0):
        assert publisher.acknowledged(0.0) == []
    publisher.publish(0, 7, b"a")  # sent again by one who waited in vain
    other.execute("ROLLBACK")
    other.close()
    assert publisher.acknowledged(0.0) == [7]
    publisher.close()
    assert [record.payload for record in reader(tmp_path / "log.db").poll(0, 10)] == [b"a"]
