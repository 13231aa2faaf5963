"""Real agents and collectors over a real broker: shares move, a broker comes late, the counts equal the truth.

What happens when a broker dies, hangs or restarts is in test_faults.py.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from tests.counterparts.broker import tansu
from tests.fleet import probe_records, truth
from tests.system.stack import PLAN, Stack, kafka_transport, until
from tests.system.test_kill import PATIENCE_S, assert_whole
from tests.wire.kafka_world import PARTITIONS, made_topic, topic_settings
from wire.kafka_settings import KafkaConfig
from wire.kafka_topics import create_topic

pytestmark = pytest.mark.system


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def stack_over(config: KafkaConfig, folder: Path, opened: ExitStack) -> Stack:
    """A stack whose frames go over the topic."""
    stack = Stack(folder, transport=kafka_transport(config))
    opened.callback(stack.close)
    return stack


def add_agents(stack: Stack, records: pl.DataFrame, rows_per_s: float | None) -> list[str]:
    """Three agents that share the records, two of them computing, one sending rows."""
    plans = [("agent-1", "all-src"), ("agent-2", "all-sp"), ("agent-3", "all-src")]
    for n, (name, policy) in enumerate(plans):
        stack.add_agent(name, records[n :: len(plans)], policy=policy, rows_per_s=rows_per_s)
    return [name for name, _ in plans]


def owners(stack: Stack) -> dict[int, str]:
    """Who claimed each partition last."""
    with stack.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT partition, owner FROM offsets WHERE topic LIKE 'kafka:%'")).all()
    return {int(partition): str(owner) for partition, owner in rows}


def all_stored(stack: Stack, records: pl.DataFrame, agents: int) -> None:
    wanted = sum(truth(PLAN, records).record_counts().values())
    deadline = time.monotonic() + PATIENCE_S
    while stack.finished_agents() < agents or stack.stored_records() < wanted:
        assert time.monotonic() < deadline, f"{stack.stored_records()} of {wanted} stored\n{stack.logs()}"
        time.sleep(0.1)
    assert_whole(stack, records, agents)


def events(stack: Stack, what: str) -> dict[str, int]:
    """How often each part's log says something."""
    return {path.stem: path.read_text().count(what) for path in stack.folder.glob("*.log")}


def test_collectors_join_leave_and_die_while_frames_flow_and_the_counts_equal_the_truth(
    kafka_server: str, tmp_path: Path, opened: ExitStack
) -> None:
    stack = stack_over(made_topic(kafka_server), tmp_path, opened)
    records = probe_records(9_000, seed=41).sort("ts")
    agents = add_agents(stack, records, rows_per_s=250)
    stack.add_collector("collector-2")
    stack.start("collector")
    for name in agents:
        stack.start(name)
    until(lambda: stack.stored_records() > 0, PATIENCE_S, "the first collector stores")
    stack.start("collector-2")
    until(lambda: set(owners(stack).values()) == {"collector", "collector-2"}, PATIENCE_S, "they share")
    assert len(owners(stack)) == PARTITIONS
    stack.kill("collector")
    until(lambda: set(owners(stack).values()) == {"collector-2"}, PATIENCE_S, "the other one takes over")
    stack.start("collector")
    until(lambda: len(set(owners(stack).values())) == 2, PATIENCE_S, "they share again")
    assert stack.stop("collector-2") == 0
    until(lambda: set(owners(stack).values()) == {"collector"}, PATIENCE_S, "who stays holds all")
    all_stored(stack, records, len(agents))
    assert sum(events(stack, "Traceback").values()) == 0, stack.logs()


def test_agents_and_collectors_that_are_there_before_the_broker_wait_for_it(tmp_path: Path, opened: ExitStack) -> None:
    broker = opened.enter_context(tansu())
    config = topic_settings(broker.address)
    broker.kill()
    stack = stack_over(config, tmp_path, opened)
    records = probe_records(1_500, seed=43).sort("ts")
    agents = add_agents(stack, records, rows_per_s=None)
    for name in ["collector", *agents]:
        stack.start(name)
    until(lambda: all(spooled(stack, name) > 3 for name in agents), PATIENCE_S, "they spool")
    everybody = [*agents, "collector"]
    until(lambda: all(stack.said(name, "connection refused") for name in everybody), PATIENCE_S, "all have tried")
    said = events(stack, "connection refused")
    assert all(1 <= said[name] <= 3 for name in everybody), said
    broker.start()
    create_topic(config, PARTITIONS)
    all_stored(stack, records, len(agents))


def spooled(stack: Stack, name: str) -> int:
    path = stack.folder / f"{name}-spool.db"
    if not path.exists():
        return 0
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.text("SELECT count(*) FROM frames")).scalar_one())
    except sa.exc.OperationalError:
        return 0
    finally:
        engine.dispose()
