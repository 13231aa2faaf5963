"""How much is measured: a full run, or a quick one that touches everything."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        healthy: one in so many of the real disks that did not fail is taken.
        disk_seeds: of the protocol on them, of 5 folds each; draws: of its bootstrap.
        fleet_seeds: synthetic fleets, of `fleet_drives` each; with_peers: of them that the rule
            and the other library get as well.
        rate_drives: a made-up fleet of 30 days for rates; slow_drives: the part of it that a loop in Python gets.
        million: drives of 30 days that go through in parts of `part`.
    """

    quick: bool
    rounds: int
    healthy: int
    disk_seeds: int
    draws: int
    fleet_seeds: tuple[int, ...]
    with_peers: int
    fleet_drives: int
    rate_drives: int
    slow_drives: int
    million: int
    part: int


FULL = Sizing(
    quick=False,
    rounds=5,
    healthy=1,
    disk_seeds=10,
    draws=500,
    fleet_seeds=tuple(range(1, 11)),
    with_peers=3,
    fleet_drives=20_000,
    rate_drives=20_000,
    slow_drives=1_000,
    million=1_000_000,
    part=10_000,
)
QUICK = Sizing(
    quick=True,
    rounds=1,
    healthy=8,
    disk_seeds=1,
    draws=50,
    fleet_seeds=(1,),
    with_peers=1,
    fleet_drives=4_000,
    rate_drives=2_000,
    slow_drives=200,
    million=10_000,
    part=5_000,
)
