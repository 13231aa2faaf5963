"""Table 9: a collector killed with kill -9; how long until the other one has committed a flush of its partitions."""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from benchmarks.collector.brokers import PARTITIONS, broker, session, topic
from benchmarks.collector.fleet import SPREADS, partial_load, probe_plan, sent
from benchmarks.collector.goals import RECOVERY
from benchmarks.collector.processes import Processes
from benchmarks.collector.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from store import tables
from store.connect import open_engine
from store.registry import register_queries
from wire.kafka_publisher import KafkaPublisher

SEND_EVERY_S = 0.2
SHARED_WITHIN_S = 90.0
COLUMNS = [
    Column("kill", "kill"), Column("session", "session s", 1), Column("claimed", "s to the claim", 2),
    Column("flushed", "s to the first flush", 2), Column("beyond", "s beyond the session", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Kills in turns; the target takes the slowest."""
    kills = 1 if size.quick else 3
    table = Table("recovery", "9. Recovery: kill -9 of a collector to the first flush by the other one", COLUMNS)
    table.notes = [
        f"Two collectors with default settings share {PARTITIONS} partitions of tansu.",
        f"A frame comes to each every {SEND_EVERY_S:g} s. The broker drops a dead member after its session.",
        "tansu then lets the group wait for half a session more before it shares anew, which is within these figures.",
    ]
    beyond: list[float] = []
    try:
        with broker() as address, TemporaryDirectory(prefix="tailwatch-bench-") as folder:
            config = topic(address, f"recovery-{time.time_ns()}", **session(size.session_s))
            processes = Processes(Path(folder), config)
            try:
                beyond += [_killed(processes, kill, table) for kill in range(kills)]
            finally:
                processes.close()
    except RuntimeError as error:
        board.fail(RECOVERY, f"no broker: {error}")
        table.notes.append(f"Nothing was measured: {error}")
        return [table]
    board.score(RECOVERY, max(beyond), f"slowest of {kills}, session timeout {config.session_timeout_s:g} s subtracted")
    return [table]


def _killed(processes: Processes, kill: int, table: Table) -> float:
    """One kill; seconds beyond the session timeout."""
    engine = open_engine(processes.url)
    feed = _Feed(processes, engine, first=kill * 100_000)
    victim, heir = f"collector-{kill}", f"collector-{kill + 1}"
    try:
        for name in (victim, heir):
            if name not in processes.parts:
                processes.start(name)
        processes.wait(lambda: feed.step(_owners(engine)) == {victim, heir}, "both collectors own", SHARED_WITHIN_S)
        before = {number: row for number, row in _rows(engine).items() if row[0] == victim}
        killed = time.monotonic()
        processes.kill(victim)
        claimed = flushed = 0.0
        deadline = killed + SHARED_WITHIN_S
        while not flushed:
            now_rows = _rows(engine)
            mine = [now_rows[number] for number in before]
            if not claimed and all(owner == heir for owner, _, _ in mine):
                claimed = time.monotonic() - killed
            # A claim counts up the epoch, a flush the flushes: those of the dead do not count.
            if claimed and all(now_rows[number][1] > before[number][1] for number in before):
                flushed = time.monotonic() - killed
            if time.monotonic() > deadline:
                raise TimeoutError(f"not taken over within {SHARED_WITHIN_S:g} s: {now_rows}")
            feed.step(None)
            time.sleep(0.02)
    finally:
        feed.close()
        engine.dispose()
    session_s = processes.kafka.session_timeout_s
    table.rows.append({
        "kill": kill + 1, "session": session_s, "claimed": claimed, "flushed": flushed, "beyond": flushed - session_s,
    })  # fmt: skip
    return flushed - session_s


class _Feed:
    """Sends a small frame to each partition now and then."""

    def __init__(self, processes: Processes, engine: sa.Engine, first: int) -> None:
        load = partial_load(probe_plan(), keys=100, groups=10, frames=1, spread=SPREADS[3])
        with engine.begin() as connection:
            register_queries(connection, [load.plan], 0)
        self._load = load
        self._sequence = first
        self._due = 0.0
        self._publisher = KafkaPublisher(processes.kafka)
        self._publisher.connect(10.0)

    def step(self, owners: set[str] | None) -> set[str] | None:
        """Send when it is time; gives back what it was given."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + SEND_EVERY_S
            for partition in range(PARTITIONS):
                for frame, _ in sent(self._load.bodies, agents=1, partition=partition, first=self._sequence):
                    self._publisher.publish(partition, self._sequence * PARTITIONS + partition, frame)
            self._sequence += 1
            self._publisher.acknowledged(0.0)
        return owners

    def close(self) -> None:
        """Let go of the broker."""
        self._publisher.close()


def _rows(engine: sa.Engine) -> Mapping[int, tuple[str, int, int]]:
    """Partition -> owner, flushes, position."""
    table = tables.offsets
    with engine.connect() as connection:
        found = connection.execute(sa.select(table.c.partition, table.c.owner, table.c.flushes, table.c.next_offset))
        return {row.partition: (row.owner, row.flushes, row.next_offset) for row in found}


def _owners(engine: sa.Engine) -> set[str]:
    return {owner for owner, _, _ in _rows(engine).values()}
