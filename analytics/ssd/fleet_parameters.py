"""What a made-up fleet is like: the frozen numbers of the generator in fleet.py.

Changing one of them changes every figure that was ever measured on such fleets, so a test pins their digest, and a
change needs new baselines. What is ASSUMED here was not learned from any data: the healthy side of the fleet, how long
before the end symptoms begin, how much is written, how often drives fail.
"""

import hashlib
from dataclasses import dataclass, fields
from datetime import date

#: Columns in which a drive may show symptoms, in the order of every array of the generator.
SYMPTOM_COLUMNS = (
    "realloc_total",
    "uncorrectable_total",
    "crc_total",
    "program_fail_total",
    "erase_fail_total",
    "downshift_total",
    "e2e_total",
    "pending_count",
)


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's part of the fleet.

    Attributes:
        share: of the drives.
        yearly_failures: ASSUMED rate of a drive of average write load and more than `infant_days` old.
    """

    name: str
    share: float
    yearly_failures: float


@dataclass(frozen=True, slots=True)
class FleetParameters:
    """Size and calendar may be changed freely; everything else is frozen.

    Attributes:
        drives: of the whole fleet; run_days: its length, day 0 is `start`.
        first_snapshot, snapshot_every: days on which drives are read: 1 for daily ones.
        missing: share of the readings that are lost.
        write_spread: sigma of the lognormal write load, median 1.
        oldest_days: ages on day 0 are even between 0 and this.
        wear_pct_per_day: at a write load of 1; wear_most_pct: on day 0.
        nand_bytes_per_day: ASSUMED, at a write load of 1; host bytes are fewer by a factor of a lognormal with
            median `amplification` and sigma `amplification_spread`, at least 1.
        hazard_base, hazard_writes: hazard is the vendor's rate times (base + writes * write load).
        infant_days, infant_factor: a drive younger than this on day 0 fails this many times as often.
        background: ASSUMED share of drives that show a symptom and stay well, by SYMPTOM_COLUMNS.
        onset_from_days: symptoms of those begin evenly between this day and the end.
        background_skew: the final value is the real one at the quantile u ** skew.
        growing: share of those symptoms that grow, over `growth_days`; others jump within `jump_days`.
        lead_median_days, lead_spread: ASSUMED lognormal time between first symptom and failure.
        lead_jitter: sigma of the lognormal by which the columns of one drive differ in it.
        growth_powers: symptoms of failing drives grow as a power of time; one of these each.
        drives_per_node, nodes_per_rack: failures of neighbours are independent of each other.
    """

    drives: int = 20_000
    run_days: int = 420
    start: date = date(2024, 1, 1)
    first_snapshot: int = 30
    snapshot_every: int = 7
    missing: float = 0.02
    vendors: tuple[Vendor, ...] = (Vendor("A", 0.35, 0.008), Vendor("B", 0.20, 0.015), Vendor("C", 0.45, 0.025))
    write_spread: float = 0.8
    oldest_days: float = 3 * 365.0
    wear_pct_per_day: float = 0.01
    wear_most_pct: float = 95.0
    nand_bytes_per_day: float = 288e9  # .01 % of the life of 960 GB that may be erased 3,000 times
    amplification: float = 2.0
    amplification_spread: float = 0.3
    hazard_base: float = 0.6
    hazard_writes: float = 0.25
    infant_days: float = 90.0
    infant_factor: float = 2.0
    background: tuple[float, ...] = (0.05, 0.01, 0.015, 0.015, 0.002, 0.02, 0.002, 0.002)
    onset_from_days: float = -900.0
    background_skew: float = 2.0
    growing: float = 0.25
    growth_days: tuple[float, float] = (60.0, 600.0)
    jump_days: float = 0.5
    lead_median_days: float = 12.0
    lead_spread: float = 1.2
    lead_jitter: float = 0.3
    growth_powers: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0)
    drives_per_node: int = 8
    nodes_per_rack: int = 20

    def digest(self) -> str:
        """sha256 over names and values: the same for the same fleet on every machine."""
        text = "\n".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        return hashlib.sha256(text.encode()).hexdigest()

    def snapshot_days(self) -> list[int]:
        """The days on which drives are read, counted from `start`."""
        return list(range(self.first_snapshot, self.run_days, self.snapshot_every))
