"""A collector on a real database, SQLite and PostgreSQL in turn, and a real embedded log, driven step by step."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.plans import Plans
from collector.runner import Collector
from pipeline.partial import Partial
from pipeline.plan import Plan
from store.connect import open_engine
from store.fleet import totals
from tests.collector.timeless import timeless
from tests.fleet import TABLES, probe_plan
from tests.stored import stored_partial
from tests.wire.kafka_world import published
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber


@dataclass
class Bench:
    """One database and one log; collectors come and go."""

    folder: Path
    url: str
    engine: sa.Engine
    plan: Plan
    another_url: Callable[[], str] | None = None
    ends: ExitStack = field(default_factory=ExitStack)  # what must not run on behind a test that failed

    @property
    def log(self) -> Path:
        return self.folder / "log.db"

    def publish(self, frames: list[bytes], partition: int = 0) -> None:
        publisher = EmbeddedPublisher(self.log, partitions=2)
        published(publisher, [(partition, frame) for frame in frames])  # a collector may have the log locked just now
        publisher.close()

    def collector(self, *, register: bool = True, **settings: object) -> Collector:
        config = timeless(**{"flush_interval_s": 1e-9} | settings)
        plans = Plans(self.engine, TABLES)
        if register:
            plans.register([self.plan], 0, 0)
        return Collector(config, self.engine, plans, EmbeddedSubscriber(self.log, partitions=2))

    def drain(self, collector: Collector) -> None:
        for _ in range(6):
            collector.step(0.0)

    def totals(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return totals(connection)

    def stored(self) -> Partial | None:
        """Everything stored, as one partial of the plan; None when nothing is."""
        return stored_partial(self.engine, self.plan)

    def start_over(self) -> None:
        """Empty database and log again, for the next example of a law."""
        assert self.another_url
        self.engine.dispose()
        for path in self.folder.glob("*.db*"):
            path.unlink()
        self.url = self.another_url()
        self.engine = open_engine(self.url)


@pytest.fixture
def bench(tmp_path: Path, another_upgraded_url: Callable[[], str]) -> Iterator[Bench]:
    """An empty, upgraded database and no log yet."""
    url = another_upgraded_url()
    made = Bench(tmp_path, url, open_engine(url), probe_plan(), another_upgraded_url)
    with made.ends:
        yield made
    made.engine.dispose()
