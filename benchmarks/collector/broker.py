"""Table 6: a backlog in a broker drained into SQLite by one and by two collectors, as after an outage."""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import sqlalchemy as sa

from benchmarks.collector.brokers import PARTITIONS, broker, session, topic
from benchmarks.collector.draining import Order
from benchmarks.collector.fleet import SPREADS, Load, partial_load, probe_plan, sent
from benchmarks.collector.goals import END_TO_END
from benchmarks.collector.sizing import Sizing
from benchmarks.collector.taking_in import stored
from benchmarks.results import ROOT
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from quantiles._kernels.choice import use_kernels
from store.connect import open_engine, upgrade
from store.fleet import totals
from store.registry import register_queries
from wire.kafka_publisher import KafkaPublisher
from wire.kafka_settings import KafkaConfig

KEYS, CELLS, GROUPS = 10_000, 46, 2_000
SESSION_S = 2.0  # the broker lets a new group wait for half a session; draining itself is not timed by it
PATIENCE_S = 300.0
COLUMNS = [
    Column("collectors", "collectors"), Column("kernels", "kernels"), Column("groups", "groups"),
    Column("cpu", "K groups/s of CPU", 0), Column("wall", "K groups/s", 0), Column("took", "s to drain", 1),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """One and two collectors, each round into a new database; the target takes one with numba."""
    table = Table("broker", "6. A backlog drained from a broker into SQLite", COLUMNS)
    table.notes = [
        f"{KEYS:,} keys, {CELLS} cells, {GROUPS:,} groups a frame, {PARTITIONS} partitions, lz4; an empty database.",
        "From the first record handed out to the last commit; CPU of the collectors, client library included.",
        "The broker is tansu, on the same two cores. What is stored is compared with the truth.",
    ]
    frames = max(4, size.kafka_groups // GROUPS // 20)
    times = max(1, size.kafka_groups // GROUPS // frames)
    load = partial_load(probe_plan(), keys=KEYS, groups=GROUPS, frames=frames, spread=SPREADS[CELLS])
    try:
        with broker() as address:
            for n, kernels in ((1, "numba"), (2, "numba"), (1, "numpy"))[: 2 if size.quick else None]:
                rates = [_drained(address, load, times, n, kernels, table) for _ in range(1 if size.quick else 3)]
                if (n, kernels) == (1, "numba"):
                    board.score(END_TO_END, sorted(rates)[len(rates) // 2], "one collector, per CPU second, numba")
    except RuntimeError as error:
        board.fail(END_TO_END, f"no broker: {error}")
        table.notes.append(f"Nothing was measured: {error}")
    return [table]


def _drained(address: str, load: Load, times: int, n: int, kernels: str, table: Table) -> float:
    """One row; gives groups per CPU second of all collectors together."""
    config = topic(address, f"bench-{time.time_ns()}", **session(SESSION_S))
    groups, frames = _publish(config, load, times)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="tailwatch-bench-")))
        url = f"sqlite:///{folder / 'tailwatch.db'}"
        upgrade(url)
        engine = open_engine(url)
        opened.callback(engine.dispose)
        with engine.begin() as connection:
            register_queries(connection, [load.plan], 0)
        stop = folder / "stop"
        orders = [Order(f"collector-{i}", url, kernels, config, str(stop)) for i in range(n)]
        started = [opened.enter_context(_process(order)) for order in orders]
        _wait(engine, frames, started)
        stop.touch()
        said = [json.loads(process.communicate(timeout=30)[0]) for process in started]
        use_kernels(kernels)
        assert stored(engine, load.plan) == load.expected(times), "what was drained differs from the truth"
    worked = [one for one in said if one["began"]]
    cpu: float = sum(one["ended"][1] - one["began"][1] for one in worked)
    wall = max(one["ended"][0] for one in worked) - min(one["began"][0] for one in worked)
    table.rows.append({
        "collectors": n, "kernels": kernels, "groups": groups, "cpu": groups / cpu / 1e3, "wall": groups / wall / 1e3,
        "took": wall,
    })  # fmt: skip
    return groups / cpu


def _publish(config: KafkaConfig, load: Load, times: int) -> tuple[int, int]:
    """Every body from `times` agents, spread over the partitions; how many groups and frames that is."""
    publisher, groups, token = KafkaPublisher(config), 0, 0
    publisher.connect(10.0)
    waiting = 0
    for partition in range(PARTITIONS):
        agents = times // PARTITIONS + (partition < times % PARTITIONS)
        for frame, n in sent(load.bodies, agents=agents, partition=partition):
            publisher.publish(partition, token, frame)
            groups, token, waiting = groups + n, token + 1, waiting + 1
            while waiting >= 64:
                waiting -= len(publisher.acknowledged(5.0))
    while waiting:
        waiting -= len(publisher.acknowledged(5.0))
    publisher.close()
    return groups, token


def _process(order: Order) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.collector.draining", msgspec.json.encode(order).decode()]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _wait(engine: sa.Engine, frames: int, started: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with engine.connect() as connection:
            taken = totals(connection)["frames"]
        if taken >= frames:
            return
        if time.monotonic() > deadline or any(process.poll() is not None for process in started):
            for process in started:
                process.kill()
            raise AssertionError(f"collectors took in {taken} of {frames} frames")
        time.sleep(0.2)
