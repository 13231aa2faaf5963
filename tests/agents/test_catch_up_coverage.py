"""What users see of an agent that catches up: it is there, now is fresh, and the backlog is missing until it has come.

The real agent, log, collector and database in one process; only the uplink's clock is the test's.
"""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from agents import catch_up, uplink
from agents.uplink import Uplink
from collector.plans import Plans
from collector.runner import Collector
from store import tables
from store.connect import open_engine, upgrade
from store.coverage import Coverage, coverage
from store.fleet import agents
from store.registry import metric
from tests.agents.live import REQUESTS, requests_agent, send_requests
from tests.agents.transports import Clock
from tests.collector.timeless import timeless
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.errors import TransportError

RATE = 2_000


class Switched(EmbeddedPublisher):
    """A log that can be out of reach."""

    away = False

    def publish(self, partition: int, token: int, payload: bytes) -> None:
        if self.away:
            raise TransportError("away")
        super().publish(partition, token, payload)


@pytest.mark.parametrize("heard_before", [True, False], ids=["known", "never heard of"])
def test_while_it_catches_up_an_agent_is_seen_and_only_the_backlog_lowers_coverage(
    tmp_path: Path, heard_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (catch_up, uplink):
        monkeypatch.setattr(module, "AT_ONCE_BYTES", 4_000)
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    engine = open_engine(url)
    plans = Plans(engine, {})
    plans.register([REQUESTS], 0, 0)
    publisher, subscriber, clock = Switched(tmp_path / "log.db"), EmbeddedSubscriber(tmp_path / "log.db"), Clock()
    collector = Collector(timeless(flush_interval_s=1e-9), engine, plans, subscriber)
    agent = requests_agent(tmp_path, publisher, policy="all-sp")
    agent.uplink = Uplink(agent.spool, publisher, clock, catch_up_bytes_per_s=RATE)
    began_ns = agent.incarnation.started_ns

    def measure(times: int) -> None:
        for _ in range(times):
            send_requests(str(tmp_path / "rows.sock"), 10)
            agent.turn()
            agent.checkpoint()
            agent.turn()

    def collected(since_ns: int = began_ns) -> Coverage:
        for _ in range(6):
            collector.step(0.0)
        now_ns = time.time_ns()
        with engine.connect() as connection:
            return coverage(connection, metric(connection, "status_total"), since_ns, now_ns, now_ns)

    if heard_before:
        measure(2)
        assert collected().ratio == 1.0
    publisher.away = True
    measure(20)
    publisher.away = False
    clock.now_s += 60
    agent.turn()
    agent.turn()
    back_ns = agent.incarnation.started_ns
    assert back_ns > began_ns
    ratios = []
    while agent.spool.backlog_frames:
        measure(1)
        ratios.append(collected().ratio)
        assert collected(back_ns).ratio == 1.0, "now is not fresh"
        with engine.connect() as connection:
            (seen,) = agents(connection)
        assert seen.last_seen_ns > back_ns, "it is silent"
        assert seen.incarnation == agent.incarnation.id
        clock.now_s += 1
    assert ratios[0] < 1.0  # by how much depends on how long the machine took for the rest
    assert ratios == sorted(ratios)
    measure(1)
    assert collected().ratio == 1.0
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.interruptions)).all() == []
    agent.close()
    publisher.close()
    subscriber.close()
    engine.dispose()
