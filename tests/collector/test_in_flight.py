"""What goes wrong between an agent's hand-over and the collector's commit: nothing is lost, nothing counts twice."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from kafka import KafkaAdminClient, TopicPartition

from collector import partition as partition_module
from tests.collector.conftest import Bench
from tests.collector.test_exactly_once import coverage_of
from tests.collector.test_kafka_rebalance import Running
from tests.collector.test_wrong_clocks import live_beat
from tests.counterparts.broker import noida, tansu
from tests.counterparts.choice import free_port
from tests.fleet import START_NS, WINDOW_NS, FakeAgent, probe_records, truth
from tests.stored import assert_same
from tests.wire.kafka_world import made_topic, published, publisher, until
from wire.errors import TransportError

RECORDS = probe_records(120, seed=101)


def test_one_batch_failed_in_mid_flight_while_the_next_succeeds_and_both_are_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "MISSED_AFTER_NS", 0)
    agent = FakeAgent(bench.plan)
    first, second, third = (
        agent.send(RECORDS[at : at + 20], 99) + agent.send(RECORDS[at + 20 : at + 40], 0) for at in (0, 40, 80)
    )
    bench.publish([*second, agent.heartbeat()])
    collector = bench.collector()
    bench.drain(collector)
    collector._next_flush = 0.0
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS[40:80]))
    assert coverage_of(bench).ratio < 1.0, "the first batch is missing, and that is known"
    bench.publish([*first, *second, *third])
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    counted = bench.totals()
    assert (counted["duplicates"], counted["lost_frames"], counted["dead_letters"]) == (len(second), 0, 0)
    assert coverage_of(bench).ratio == 1.0


class Relay:
    """Lets bytes through to a broker, and no answer back while `deaf`."""

    def __init__(self, port: int, broker: str) -> None:
        self.deaf = False
        host, _, number = broker.rpartition(":")
        self._broker = host, int(number)
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._let_through, args=(client,), daemon=True).start()

    def _let_through(self, client: socket.socket) -> None:
        with suppress(OSError, ValueError), client, socket.create_connection(self._broker) as broker:
            self._open += [client, broker]
            while True:
                for source in select.select([client, broker], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        broker.sendall(data)
                    elif not self.deaf:
                        client.sendall(data)


@contextmanager
def relayed() -> Iterator[tuple[str, Relay]]:
    """The address of a relay in front of a broker of its own."""
    port = free_port()
    with tansu(advertised=port) as broker:
        relay = Relay(port, broker.address)
        try:
            yield f"127.0.0.1:{port}", relay
        finally:
            relay.close()


def test_an_ack_that_is_lost_makes_the_agent_send_again_and_nothing_counts_twice(bench: Bench) -> None:
    agent = FakeAgent(bench.plan, partition=3)
    frames = [
        (3, frame) for at in range(0, 120, 20) for frame in agent.send(RECORDS[at : at + 20], 99 if at % 40 else 0)
    ]
    with relayed() as (address, relay):
        kafka = made_topic(address)
        with publisher(kafka) as sender:
            published(sender, frames[:4])
            relay.deaf = True
            for token, (partition, frame) in enumerate(frames[4:8], 4):
                sender.publish(partition, token, frame)

            def given_up() -> bool:
                try:
                    assert sender.acknowledged(0.2) == []
                except TransportError:
                    return True
                return False

            until(given_up, "the agent hears that they are not known to be durable")
            relay.deaf = False
        with publisher(kafka) as sender:
            published(sender, [*frames[4:], (3, agent.heartbeat())], 4)
        collector = Running("one", bench, kafka)
        wanted = len(frames) + 4 + 1
        until(lambda: bench.totals()["frames"] == wanted, "what came twice is read twice")
        collector.stop()
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    counted = bench.totals()
    assert (counted["duplicates"], counted["lost_frames"], counted["dead_letters"]) == (4, 0, 0)
    assert coverage_of(bench).ratio == 1.0


def test_two_incarnations_in_flight_count_the_truth_and_the_time_between_them_is_what_is_missing(bench: Bench) -> None:
    """The first one's frames are still on their way, in another partition, when the second one's come."""
    old = FakeAgent(bench.plan, partition=0, incarnation="a" * 32, now_ns=START_NS)
    new = FakeAgent(bench.plan, partition=1, incarnation="b" * 32, now_ns=START_NS + 3 * WINDOW_NS)
    begun_ns, ended_ns = START_NS + 3 * WINDOW_NS, START_NS + 2 * WINDOW_NS
    backlog: list[list[bytes]] = []
    for at in range(0, 60, 20):
        old.now_ns = START_NS + (at + 20) * 2 * WINDOW_NS // 60
        backlog.append([*old.send(RECORDS[at : at + 20], 99 if at % 40 else 0), live_beat(old, START_NS, old.now_ns)])
    assert old.now_ns == ended_ns
    live: list[list[bytes]] = []
    for at in range(60, 120, 20):
        new.now_ns = begun_ns + (at - 40) * WINDOW_NS // 60
        live.append([*new.send(RECORDS[at : at + 20], 0 if at % 40 else 99), live_beat(new, begun_ns, new.now_ns)])
    one, other = bench.collector(), bench.collector()
    one._subscriber.reassign(frozenset({0}))
    other._subscriber.reassign(frozenset({1}))
    ratios = []
    for early, late in zip([[], *backlog], [*live, []], strict=True):
        for frames, partition in ((late, 1), (early, 0)):
            if frames:
                bench.publish(frames, partition)
        for collector in (other, one, other):
            collector._next_flush = 0.0
            bench.drain(collector)
        ratios.append(round(coverage_of(bench).ratio, 3))
    bench.publish([live_beat(new, begun_ns, START_NS + 9 * WINDOW_NS), *live[0]], 1)
    bench.drain(other)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    counted = bench.totals()
    assert (counted["frames"], counted["duplicates"], counted["dead_letters"]) == (22, 3, 0)
    whole = coverage_of(bench)
    assert (whole.records_known, whole.records_merged, whole.interrupted) == (120, 120, True)
    assert whole.ratio == pytest.approx(0.75), "only the window between the two starts is uncovered"
    assert ratios == sorted(ratios)
    assert ratios[-1] <= 0.75


def test_retention_that_passed_while_the_collector_was_down_is_counted_and_seen_in_coverage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "MISSED_AFTER_NS", 0)
    agent = FakeAgent(bench.plan, partition=2)
    with noida() as broker:
        kafka = made_topic(broker.address, session_timeout_s=6.0)
        kept, gone, left = (agent.send(RECORDS[at : at + 40], 99) for at in (0, 40, 80))
        with publisher(kafka) as sender:
            published(sender, [(2, frame) for frame in kept])
            collector = Running("one", bench, kafka)
            until(lambda: bench.totals()["frames"] == 2, "the first are read")
            collector.stop()
            published(sender, [(2, frame) for frame in [*gone, *left, agent.heartbeat()]], 10)
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        admin.delete_records({TopicPartition(kafka.topic, 2): 4})
        admin.close()
        collector = Running("two", bench, kafka)
        until(lambda: bench.totals()["frames"] == 5, "the rest is read")
        until(lambda: coverage_of(bench).interrupted, "coverage knows what is missing")
        collector.stop()
    assert_same(bench.stored(), truth(bench.plan, RECORDS[:40].vstack(RECORDS[80:])))
    assert bench.totals()["skipped_offsets"] == 2
    assert coverage_of(bench).ratio < 1.0
