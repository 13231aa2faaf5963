"""How much is stored: a full hour of windows, or a quick look."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts.

    Attributes:
        series: of one sketch metric.
        agents: that send them, each as many.
        cases: (values a window and series, partitions).
        hours: of windows; roll-ups need whole ones.
        flushes: of each window, as it fills.
    """

    series: int
    agents: int
    cases: tuple[tuple[int, int], ...]
    hours: int
    flushes: int


FULL = Sizing(series=192, agents=24, cases=((10, 1), (100, 1), (1_000, 1), (10, 6)), hours=1, flushes=3)
QUICK = Sizing(series=64, agents=8, cases=((10, 1),), hours=1, flushes=1)
