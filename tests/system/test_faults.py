"""The fault run: each fault strikes a running system once; afterwards stored counts equal the truth, group by group.

One seed decides the order, the victims and the moments; SEED in the environment changes it. The parts live on from
fault to fault, so that each also finds what the ones before have left behind.
"""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.fault_round import play_round
from tests.system.fault_table import FaultTable
from tests.system.fault_world import Servers, World, open_world, running_servers, skip_unless
from tests.system.faults import FAULTS, Fault

pytestmark = pytest.mark.system
SEED = int(os.environ.get("SEED") or "4")
# Those on another database come last: a change of worlds costs seconds.
ORDER = sorted(random.Random(SEED).sample(FAULTS, len(FAULTS)), key=lambda fault: fault.on == "sqlite")


class Worlds:
    """The world that faults strike now; another one where the last one is of the wrong kind or has been spoilt."""

    def __init__(self, servers: Servers, folder: Path, table: FaultTable) -> None:
        self._servers = servers
        self._folder = folder
        self._table = table
        self._rng = random.Random(SEED)
        self._opened = ExitStack()
        self._count = 0
        self.now: World | None = None

    def play(self, fault: Fault) -> None:
        """A round with this fault; what it spoils is not used again."""
        on_sqlite = fault.on == "sqlite"
        if self.now is not None and self.now.on_sqlite != on_sqlite:
            self.close()
        if self.now is None:
            self._count += 1
            folder = self._folder / f"world-{self._count}"
            self.now = self._opened.enter_context(open_world(self._servers, folder, self._rng, on_sqlite=on_sqlite))
        why_not = fault.impossible(self.now)
        skip_unless(not why_not, why_not)
        try:
            play_round(self.now, [fault], self._table)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the world."""
        self.now = None
        self._opened.close()


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, fault_table: FaultTable) -> Iterator[Worlds]:
    fault_table.seed = SEED
    with running_servers() as servers:
        made = Worlds(servers, tmp_path_factory.mktemp("faults"), fault_table)
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize("fault", ORDER, ids=lambda fault: fault.name.replace(" ", "-").replace(":", ""))
def test_after_a_fault_everything_is_stored_once_and_explained(fault: Fault, worlds: Worlds) -> None:
    worlds.play(fault)
