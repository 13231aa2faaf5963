"""How much is measured: a full run, or a quick one that touches everything in under a minute."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        large: (series, windows, values in each) of the large question.
        rounds: of the large question beside its peers; more_rounds: of ours alone, for its p99.
        grid_series: how many series each metric of the grid has.
        grid_hours: of which the databases hold windows of a minute; the peers hold the last one.
        grid_rounds: in turns.
        seconds: of each measurement of throughput, of which there are `rounds`.
        expressions: compared with Prometheus; 0 means as many as the tests.
    """

    quick: bool
    large: tuple[int, int, int]
    rounds: int
    more_rounds: int
    grid_series: tuple[int, ...]
    grid_hours: int
    grid_rounds: int
    seconds: float
    expressions: int


FULL = Sizing(
    quick=False, large=(300, 100, 1_000), rounds=5, more_rounds=200, grid_series=(1, 100, 1_000), grid_hours=25,
    grid_rounds=30, seconds=3.0, expressions=0,
)  # fmt: skip
QUICK = Sizing(
    quick=True, large=(10, 10, 100), rounds=1, more_rounds=5, grid_series=(1, 10), grid_hours=2, grid_rounds=3,
    seconds=0.3, expressions=20,
)  # fmt: skip
