"""Two real collectors of one group in one process: shares move while frames flow, stored counts equal the truth."""

import threading
import time
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from collector import own_metrics
from collector.plans import Plans
from collector.runner import Collector
from store.connect import open_engine
from tests.collector.conftest import Bench
from tests.collector.timeless import timeless
from tests.fleet import TABLES, FakeAgent, probe_records, truth
from tests.stored import assert_same
from tests.wire.kafka_world import PARTITIONS, made_topic, published, publisher, until
from wire.kafka_settings import KafkaConfig
from wire.kafka_subscriber import KafkaSubscriber


@dataclass
class Running:
    """A collector in a thread, with a connection pool of its own."""

    name: str
    bench: Bench
    kafka: KafkaConfig
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stopping = threading.Event()
        self.subscriber = KafkaSubscriber(self.kafka)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()
        self.bench.ends.callback(self._end)

    def stop(self) -> None:
        """As SIGTERM does."""
        self._end()
        assert not self._thread.is_alive(), f"{self.name} does not end"
        assert self.failures == []

    def _end(self) -> None:
        self.stopping.set()
        self._thread.join(20)

    def _run(self) -> None:
        engine = open_engine(self.bench.url)
        try:
            plans = Plans(engine, TABLES)
            plans.register([self.bench.plan], 0, 0)
            config = timeless(id=self.name, topic="kafka:test", flush_interval_s=0.05, poll_records=3)
            Collector(config, engine, plans, self.subscriber).run(self.stopping)
        except BaseException as error:  # noqa: BLE001  # `stop` fails the test with it
            self.failures.append(error)
        finally:
            self.subscriber.close()
            engine.dispose()


def lag(partition: int) -> float | None:
    return own_metrics.REGISTRY.get_sample_value("tailwatch_collector_lag_records", {"partition": str(partition)})


@pytest.mark.parametrize("cut", [0, 99])
def test_partitions_move_between_two_collectors_in_mid_flight(bench: Bench, kafka_server: str, cut: int) -> None:
    kafka = made_topic(kafka_server)
    records = probe_records(900, seed=31)
    agents = [FakeAgent(bench.plan, f"agent-{n}", n, f"{n:032x}") for n in range(PARTITIONS)]
    token = 0
    with publisher(kafka) as sender:

        def send(first: int, last: int) -> None:
            nonlocal token
            for at in range(first, last, 10):
                agent = agents[at // 10 % PARTITIONS]
                frames = agent.send(records[at : at + 10], cut)
                published(sender, [(agent.partition, frame) for frame in frames], token)
                token += len(frames)

        one = Running("one", bench, kafka)
        until(lambda: len(one.subscriber.assigned()) == PARTITIONS, "the first holds all")
        send(0, 300)
        two = Running("two", bench, kafka)
        at = 300
        deadline = time.monotonic() + 60
        while len(two.subscriber.assigned()) != PARTITIONS // 2:
            assert time.monotonic() < deadline, "they do not share"
            if at < 600:
                send(at, at + 10)
                at += 10
            time.sleep(0.05)
        send(at, 700)
        one.stop()
        send(700, 900)
        published(sender, [(agent.partition, agent.heartbeat()) for agent in agents], token)
        until(lambda: len(two.subscriber.assigned()) == PARTITIONS, "the second holds all")
        wanted = sum(truth(bench.plan, records).record_counts().values())
        until(lambda: stored_count(bench) == wanted, "all is stored")
        until(lambda: [lag(n) for n in range(PARTITIONS)] == [0.0] * PARTITIONS, "the lag is shown and nothing")
        two.stop()
    assert_same(bench.stored(), truth(bench.plan, records))
    counted = bench.totals()
    assert (counted["frames"], counted["duplicates"], counted["dead_letters"]) == (token + PARTITIONS, 0, 0)
    with bench.engine.connect() as connection:
        claims = connection.execute(sa.text("SELECT partition, epoch FROM offsets WHERE topic = 'kafka:test'")).all()
    assert {partition for partition, _ in claims} == set(range(PARTITIONS))
    assert all(epoch >= 3 for _, epoch in claims), "every partition was claimed again at each change"


def stored_count(bench: Bench) -> int:
    partial = bench.stored()
    return 0 if partial is None else sum(partial.record_counts().values())
