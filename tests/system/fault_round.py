"""One round of the fault run: new load, a strike in mid-flight, healing, and the proof that nothing was lost.

Everything is counted from what the database holds. At no moment may a record be there twice.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

import sqlalchemy as sa
from kafka.errors import KafkaError

from tests.system.fault_table import FaultTable, Outcome
from tests.system.fault_world import PATIENCE_S, Load, World, wrong
from tests.system.faults import Fault
from wire.errors import TransportError

T = TypeVar("T")
_POLL_S = 0.1


def play_round(world: World, faults: Sequence[Fault], table: FaultTable) -> None:
    """Strike with all of these faults at once; the outcome goes into the table, also that of a round that fails.

    Raises:
        AssertionError: with the seed, the faults and the ends of the logs.
    """
    round_ = _Round(world, faults)
    try:
        round_.play()
    except Exception as error:
        table.outcomes.append(round_.outcome())
        struck = f"seed {table.seed}, round {world.rounds}, {round_.name}"
        raise AssertionError(f"{struck}: {error}\n{world.logs()}") from error
    table.outcomes.append(round_.outcome())


class _Round:
    """What is known of a round while it is played."""

    def __init__(self, world: World, faults: Sequence[Fault]) -> None:
        self.name = " + ".join(fault.name for fault in faults)
        self._world = world
        self._faults = faults
        self._flushing_s: float | None = None
        self._whole_s: float | None = None

    def play(self) -> None:
        world = self._world
        world.combined = len(self._faults) > 1
        duplicates = self._answer(lambda: world.total("duplicates"))
        load = world.begin_load(
            next((fault.alter for fault in self._faults if fault.alter), None),
            max(fault.load_s for fault in self._faults),
        )
        started = world.says(load.agents, "agent started", times=len(load.agents))
        self._until(started, "the agents start")
        records = {number: int(row.records) for number, row in world.offsets().items()}
        self._until(lambda: bool(world.busy_owner(records)), "frames of this round are flushed")
        load.busy = world.busy_owner(records)
        with ExitStack() as struck:
            for fault in self._faults:
                if fault.strike is not None:
                    struck.enter_context(fault.strike(world, load))
            if load.relay is not None:
                relay = load.relay
                world.felt(lambda: relay.altered > 0, "frames are altered")
        self._recover()
        self._explain(load, duplicates)
        world.end_load(load)

    def outcome(self) -> Outcome:
        """The round's line for the table; what is lost or duplicated is counted now."""
        stored = self._world.stored()
        lost, duplicated = (None, None) if stored is None else wrong(stored, self._world.expected)
        names = tuple(fault.name for fault in self._faults)
        return Outcome(names, self._flushing_s, self._whole_s, lost, duplicated)

    def _recover(self) -> None:
        """From the moment that everything runs again until all is stored and coverage says so."""
        world, healed = self._world, time.monotonic()
        probes = self._answer(world.put_probes)
        stuck, why = list(probes), "nobody has looked"
        while stuck or why:
            time.sleep(_POLL_S)
            stuck = stuck and self._answer(lambda: world.stuck(probes))
            why = why and self._answer(world.not_whole)
            passed_s = time.monotonic() - healed
            if not stuck and self._flushing_s is None:
                self._flushing_s = passed_s
            if not why and self._whole_s is None:
                self._whole_s = passed_s
            assert passed_s < PATIENCE_S, f"not whole: partitions {stuck} stand still; {why}"

    def _explain(self, load: Load, duplicates: int) -> None:
        """Every partition moves, every dead letter and every duplicate is accounted for."""
        world = self._world
        if load.relay is not None:
            load.relay.finish()
        probes = self._answer(world.put_probes)
        self._until(lambda: not self._answer(lambda: world.stuck(probes)), "every partition moves")
        world.check_explained()
        if load.relay is not None and load.relay.copies:
            seen = world.total("duplicates") - duplicates
            alone = not world.combined and not load.relay.resent
            assert seen == load.relay.copies if alone else seen >= load.relay.copies, f"{seen} duplicates were seen"

    def _answer(self, question: Callable[[], T]) -> T:
        """The answer of a server that may just have come back."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return question()
            except (sa.exc.OperationalError, TransportError, KafkaError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s"
            time.sleep(_POLL_S)
