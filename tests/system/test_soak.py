"""The long fault run, `make soak MINUTES=30 SEED=7`: faults at random, often two at once, until the time is up.

Its rounds are those of the short run. Now and then everything starts anew with an empty database, on SQLite every
fourth time, so that no round depends on what hours have piled up.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.system.fault_round import play_round
from tests.system.fault_table import FaultTable
from tests.system.fault_world import World, open_world, running_servers
from tests.system.faults import FAULTS, Fault

pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.timeout(0)]
ROUNDS_PER_WORLD = 12


def test_random_faults_lose_nothing_and_count_nothing_twice_until_the_time_is_up(
    tmp_path: Path, fault_table: FaultTable, capsys: pytest.CaptureFixture[str]
) -> None:
    minutes = os.environ.get("MINUTES", "")
    if not minutes:
        pytest.skip("MINUTES says for how long; make soak MINUTES=30")
    seed = fault_table.seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    rng = random.Random(seed)
    deadline = time.monotonic() + 60 * float(minutes)
    say(capsys, f"soak: {minutes} minutes, SEED={seed}")
    worlds = 0
    while time.monotonic() < deadline:
        worlds += 1
        # Servers as well: the broker's store is memory of this process.
        with (
            running_servers() as servers,
            open_world(servers, tmp_path / f"world-{worlds}", rng, on_sqlite=worlds % 4 == 0) as world,
        ):
            while world.rounds < ROUNDS_PER_WORLD and time.monotonic() < deadline:
                play_round(world, chosen(world, rng), fault_table)
                last = fault_table.outcomes[-1]
                what = f"{' + '.join(last.faults)}: whole in {last.whole_s:.1f} s"
                say(capsys, f"soak: world {worlds}, round {world.rounds}: {what}")


def chosen(world: World, rng: random.Random) -> list[Fault]:
    """One fault, or two with different targets."""
    possible = [fault for fault in FAULTS if not fault.impossible(world)]
    first = rng.choice(possible)
    others = [fault for fault in possible if fault.target != first.target]
    return [first] if rng.random() < 0.4 else [first, rng.choice(others)]


def say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """A line for who watches, past pytest's capturing."""
    with capsys.disabled():
        print(line, flush=True)
