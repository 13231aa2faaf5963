"""The script of faults: each strikes the running world, waits until that is felt, and heals it again.

What a fault is called stands in the table. Two faults strike at once only when their targets differ.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from tests.counterparts.broker import BATCH
from tests.system.altered_frames import Alteration, corrupted, duplicated, reordered, truncated
from tests.system.fault_world import COLLECTORS, UNLIMITED, Load, World, is_stopped
from tests.wire.kafka_world import PARTITIONS

Target = Literal["agent", "collector", "broker", "database", "frames"]
Strike = Callable[[World, Load], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: a strike that heals when its block ends, or an alteration of all frames of a round."""

    name: str
    target: Target
    strike: Strike | None = None
    alter: Alteration | None = None
    on: Literal["postgresql", "sqlite", "any"] = "any"
    #: For how long the agents' replay goes on: beyond the strike, so that it finds frames under way.
    load_s: float = 2.0

    def impossible(self, world: World) -> str:
        """Why it cannot strike this world; empty when it can."""
        if self.on not in ("any", "sqlite" if world.on_sqlite else "postgresql"):
            return f"strikes {self.on} only"
        if self.target == "broker" and world.servers.broker is None:
            return "the environment names the broker, and tests do not strike what is not theirs"
        of_server = self.target == "database" and self.strike in (database_killed, database_restarted, database_paused)
        if of_server and world.servers.database is None:
            return "the environment names the database, and tests do not strike what is not theirs"
        return ""


@contextmanager
def agent_killed(world: World, load: Load) -> Iterator[None]:
    """kill -9 of one agent."""
    victim = world.rng.choice(load.agents)
    world.stack.kill(victim)
    yield
    world.stack.start(victim)


@contextmanager
def agent_restarted(world: World, load: Load) -> Iterator[None]:
    """One agent is asked to end, and started again."""
    victim = world.rng.choice(load.agents)
    assert world.stack.stop(victim) == 0
    yield
    world.stack.start(victim)


@contextmanager
def agent_paused(world: World, load: Load) -> Iterator[None]:
    """One agent does nothing for a second."""
    with _stopped(world.stack.parts[world.rng.choice(load.agents)]):
        time.sleep(1.0)
        yield


@contextmanager
def spool_full(world: World, load: Load) -> Iterator[None]:
    """No file of one agent can grow any more."""
    victim = world.rng.choice(load.agents)
    refused = world.says([victim], "spool cannot be written")
    world.limit_files(victim, 8_192)
    try:
        world.felt(refused, "the spool is refused")
        time.sleep(world.rng.uniform(0.0, 1.0))
        yield
    finally:
        world.limit_files(victim, UNLIMITED)


@contextmanager
def collector_killed(world: World, load: Load) -> Iterator[None]:
    """kill -9 of one collector; now and then it stays away until the other has taken over."""
    victim, other = load.busy, load.idle
    taken_over = world.says([other], "claimed partition")
    world.stack.kill(victim)
    if world.rng.random() < 0.5:
        world.felt(taken_over, "the other collector takes over")
    yield
    world.start_collector(victim)


@contextmanager
def collector_restarted(world: World, load: Load) -> Iterator[None]:
    """One collector is asked to end, and started again."""
    victim = load.busy
    part = world.stack.parts[victim]
    part.terminate()
    try:
        code = part.wait(10)
    except subprocess.TimeoutExpired:
        assert world.combined, f"{victim} does not end"  # in a statement of a database that stands still, it waits
    else:
        assert code == 0, f"{victim} ended with {code}"
    world.stack.kill(victim)
    yield
    world.start_collector(victim)


@contextmanager
def collector_paused(world: World, load: Load) -> Iterator[None]:
    """A collector does nothing from just before a flush until the other has its partitions; then it goes on with it."""
    victim, other = load.busy, load.idle
    taken_over = world.says([other], "claimed partition", times=PARTITIONS)
    fenced = world.says([victim], "fenced partition")
    part = world.stack.parts[victim]
    world.strike_file(victim).write_text("STOP 0")
    try:
        world.felt(lambda: is_stopped(part), "the collector stops before a flush")
        world.felt(taken_over, "the other collector takes over")
        yield
    finally:
        world.strike_file(victim).unlink(missing_ok=True)
        part.send_signal(signal.SIGCONT)
    world.felt(fenced, "the flush is refused")


@contextmanager
def rebalanced_in_flush(world: World, load: Load) -> Iterator[None]:
    """A collector stands still inside a flush's transaction while the other is given its partitions."""
    victim, other = load.busy, load.idle
    claims = world.says([other], "claimed partition", "claim failed")
    world.strike_file(victim).write_text(f"STOP {world.rng.randint(1, 8)}")
    part = world.stack.parts[victim]
    try:
        world.felt(lambda: is_stopped(part), "the collector stops in a flush")
        if not world.combined:
            assert _inside_a_transaction(world) >= 1
        world.felt(claims, "the other collector takes over")
        yield
    finally:
        world.strike_file(victim).unlink(missing_ok=True)
        part.send_signal(signal.SIGCONT)


@contextmanager
def killed_in_flush(world: World, load: Load) -> Iterator[None]:
    """kill -9 of a collector inside a flush's transaction."""
    victim = load.busy
    world.strike_file(victim).write_text(f"KILL {world.rng.randint(1, 8)}")
    part = world.stack.parts[victim]
    world.felt(lambda: part.poll() is not None, "the collector dies in a flush")
    world.strike_file(victim).unlink(missing_ok=True)
    world.stack.kill(victim)
    yield
    world.start_collector(victim)


@contextmanager
def broker_killed(world: World, load: Load) -> Iterator[None]:
    """kill -9 of the broker; it comes back when the agents have noticed."""
    assert world.servers.broker is not None
    down = world.says(load.agents, "uplink down")
    world.holes = True
    world.servers.broker.kill()
    try:
        _while_noticed(world, load, down)
        yield
    finally:
        world.servers.broker.start()


@contextmanager
def broker_killed_in_write(world: World, load: Load) -> Iterator[None]:
    """kill -9 of the broker when it has given frames their offsets and has not stored them yet."""
    broker, lost = world.servers.broker, world.servers.lost_writes
    assert broker is not None
    world.holes = True
    before = len(lost.keys)
    lost.suffix = BATCH
    try:
        world.felt(lambda: len(lost.keys) > before, "frames are not stored")
        broker.kill()
        lost.suffix = ""
        yield
    finally:
        lost.suffix = ""
        broker.kill()
        broker.start()


@contextmanager
def broker_restarted(world: World, load: Load) -> Iterator[None]:
    """The broker is asked to end, which tansu takes 5 s for while it has clients, and started again at once."""
    assert world.servers.broker is not None
    world.holes = True
    world.servers.broker.stop()
    try:
        yield
    finally:
        world.servers.broker.start()


@contextmanager
def broker_paused(world: World, load: Load) -> Iterator[None]:
    """The broker keeps its connections and answers nothing until the agents have noticed."""
    assert world.servers.broker is not None
    down = world.says(load.agents, "uplink down")
    world.servers.broker.pause()
    try:
        _while_noticed(world, load, down)
        yield
    finally:
        world.servers.broker.resume()


@contextmanager
def database_killed(world: World, load: Load) -> Iterator[None]:
    """kill -9 of the database; it comes back when a collector has noticed."""
    assert world.servers.database is not None
    refused = world.says(list(COLLECTORS), "flush failed", "claim failed")
    world.servers.database.kill()
    try:
        world.felt(refused, "a flush fails")
        yield
    finally:
        world.servers.database.start()


@contextmanager
def database_restarted(world: World, load: Load) -> Iterator[None]:
    """The database is asked to end (its sessions are ended), and started again at once."""
    assert world.servers.database is not None
    world.servers.database.stop()
    try:
        yield
    finally:
        world.servers.database.start()


@contextmanager
def database_paused(world: World, load: Load) -> Iterator[None]:
    """No process of the database does anything for two seconds."""
    assert world.servers.database is not None
    world.servers.database.pause()
    try:
        time.sleep(2.0)
        yield
    finally:
        world.servers.database.resume()


@contextmanager
def sqlite_full(world: World, load: Load) -> Iterator[None]:
    """No file of the collectors can grow any more, that of the database included."""
    refused = world.says(list(COLLECTORS), "flush failed")
    for name in COLLECTORS:
        log = world.stack.folder / f"{name}.log"
        world.limit_files(name, log.stat().st_size + 4_096)  # so that it can say so
    try:
        world.felt(refused, "a flush fails")
        time.sleep(world.rng.uniform(0.0, 1.0))
        yield
    finally:
        for name in COLLECTORS:
            world.limit_files(name, UNLIMITED)


@contextmanager
def postgresql_full(world: World, load: Load) -> Iterator[None]:
    """PostgreSQL says in mid-flush what it says when its disk is full; no disk has to be."""
    refused = world.says(list(COLLECTORS), "flush failed")
    _execute(
        world,
        """CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file: No space left on device';
        END $$""",
        "CREATE TRIGGER disk_is_full BEFORE INSERT ON marks FOR EACH ROW EXECUTE FUNCTION disk_is_full()",
    )
    try:
        world.felt(refused, "a flush fails")
        time.sleep(world.rng.uniform(0.0, 1.0))
        yield
    finally:
        _execute(world, "DROP TRIGGER disk_is_full ON marks", "DROP FUNCTION disk_is_full")


FAULTS = (
    Fault("kill agent", "agent", agent_killed),
    Fault("kill collector", "collector", collector_killed),
    Fault("kill broker", "broker", broker_killed),
    Fault("kill database", "database", database_killed, on="postgresql"),
    Fault("pause agent", "agent", agent_paused),
    Fault("pause collector", "collector", collector_paused, on="postgresql", load_s=4.0),
    Fault("pause broker", "broker", broker_paused),
    Fault("pause database", "database", database_paused, on="postgresql"),
    Fault("restart agent", "agent", agent_restarted),
    Fault("restart collector", "collector", collector_restarted),
    Fault("restart broker", "broker", broker_restarted, load_s=7.0),
    Fault("restart database", "database", database_restarted, on="postgresql"),
    Fault("duplicate frames", "frames", alter=duplicated),
    Fault("reorder frames", "frames", alter=reordered),
    Fault("truncate frames", "frames", alter=truncated),
    Fault("corrupt frames", "frames", alter=corrupted),
    Fault("rebalance in mid-flush", "collector", rebalanced_in_flush, on="postgresql", load_s=4.0),
    Fault("kill broker in mid-write", "broker", broker_killed_in_write),
    Fault("kill in mid-flush", "collector", killed_in_flush, on="postgresql", load_s=4.0),
    Fault("disk full: spool", "agent", spool_full),
    Fault("disk full: SQLite database", "database", sqlite_full, on="sqlite"),
    Fault("disk full: as PostgreSQL reports it", "database", postgresql_full, on="postgresql"),
)


@contextmanager
def _stopped(part: Any) -> Iterator[None]:
    part.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        part.send_signal(signal.SIGCONT)


def _while_noticed(world: World, load: Load, down: Callable[[], bool]) -> None:
    world.felt(down, "an agent notices")
    time.sleep(world.rng.uniform(0.0, 1.0))


def _inside_a_transaction(world: World) -> int:
    with world.stack.engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        return int(connection.execute(sa.text(query)).scalar_one())


def _execute(world: World, *statements: str) -> None:
    with world.stack.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
