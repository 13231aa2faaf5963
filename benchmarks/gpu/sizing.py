"""How much is measured: a full run, or a quick one that touches everything."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        jobs: made-up logs of passed jobs that the text to read is made of; it is read `times` over in one go.
        round_bytes, slow_bytes: of that text that a round of ours reads, and a round of the slow peers.
        passed: made-up passed jobs that are diagnosed; seeds of them.
        simulated: failing jobs on the simulated cluster. seeds: of the simulation.
    """

    quick: bool
    rounds: int
    jobs: int
    times: int
    round_bytes: int
    slow_bytes: int
    passed: int
    simulated: int
    seeds: tuple[int, ...]


FULL = Sizing(
    quick=False,
    rounds=5,
    jobs=1_500,
    times=64,
    round_bytes=16_000_000,
    slow_bytes=200_000,
    passed=1_000,
    simulated=4_000,
    seeds=(0, 7, 13),
)
QUICK = Sizing(
    quick=True,
    rounds=1,
    jobs=60,
    times=2,
    round_bytes=500_000,
    slow_bytes=20_000,
    passed=20,
    simulated=100,
    seeds=(0,),
)
