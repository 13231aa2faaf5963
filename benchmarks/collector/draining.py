"""One collector process that drains a backlog and says what that took: started by broker.py, not by people.

Time and CPU are taken between the first record that it is handed and the last commit that it is told of.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.collector.fleet import ANY_AGE_S, partial_load, probe_plan, sent
from benchmarks.collector.taking_in import intake
from collector.config import CollectorConfig
from collector.plans import Plans
from collector.runner import Collector
from quantiles._kernels.choice import use_kernels
from store.connect import open_engine
from wire.kafka_settings import KafkaConfig
from wire.kafka_subscriber import KafkaSubscriber
from wire.transport import Record


class Order(msgspec.Struct, frozen=True):
    """What to drain into which database, as the one argument of the process."""

    name: str
    url: str
    kernels: str
    kafka: KafkaConfig
    stop_file: str


class Watched(KafkaSubscriber):
    """Notes when records began to come and when the last commit was."""

    def __init__(self, config: KafkaConfig) -> None:
        super().__init__(config)
        self.began: tuple[float, float] | None = None
        self.ended: tuple[float, float] | None = None
        self.frames = 0

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """As the subscriber's."""
        before = time.time(), time.process_time()
        found = super().poll(timeout_s, max_records)
        if found and self.began is None:
            self.began = before
        self.frames += len(found)
        return found

    def committed(self, partition: int, next_offset: int) -> None:
        """As the subscriber's."""
        super().committed(partition, next_offset)
        self.ended = time.time(), time.process_time()

    def said(self) -> Mapping[str, object]:
        """Times as [wall, CPU]."""
        return {"began": self.began, "ended": self.ended, "frames": self.frames}


def _warm_up() -> None:
    """Load what is loaded at first use: a collector that runs for months has done it."""
    load = partial_load(probe_plan(), keys=10, groups=10, frames=2, spread=0.1)
    with intake(load.plan) as made:
        made.take([frame for frame, _ in sent(load.bodies, agents=2)])


def main() -> None:
    """Runs until the stop file appears."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    use_kernels(order.kernels)
    _warm_up()
    engine = open_engine(order.url)
    subscriber = Watched(order.kafka)
    subscriber.connect(10.0)
    config = CollectorConfig(id=order.name, topic=f"kafka:{order.kafka.topic}", spool_age_s=ANY_AGE_S)
    collector = Collector(config, engine, Plans(engine, {}), subscriber)
    stop = threading.Event()
    while not stop.is_set():
        collector.step(0.1)
        if Path(order.stop_file).exists():
            stop.set()
    subscriber.close()
    engine.dispose()
    print(json.dumps(subscriber.said()), flush=True)


if __name__ == "__main__":
    main()
