"""How much is measured: a full run, or a quick one that touches everything in under a minute."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        shapes: (keys, cells) of the partials table; the first one is the target's.
        distinct_groups: groups of distinct content per shape.
        times: how many agents send each of them in a measured run.
        drained_rows: rows in each of `drained_frames` frames.
        pages: written at once.
        series, windows: of the sketches that one read merges.
        memory_keys: open at once.
        kafka_groups: groups of the backlog that collectors drain.
        kafka_frames: of each size, for the two client libraries.
        events: sent one by one for the freshness.
        session_s: after which the broker gives a dead collector's partitions away; None is the default.
    """

    quick: bool
    rounds: int
    shapes: tuple[tuple[int, int], ...]
    distinct_groups: int
    times: int
    drained_rows: int
    drained_frames: int
    pages: int
    series: int
    windows: int
    memory_keys: int
    kafka_groups: int
    kafka_frames: int
    events: int
    event_gap_s: float
    session_s: float | None


FULL = Sizing(
    quick=False, rounds=5, shapes=((10_000, 46), (10_000, 3), (1_000, 46), (1_000, 3), (100_000, 46), (100_000, 3)),
    distinct_groups=100_000, times=10, drained_rows=30_000, drained_frames=40, pages=2_000, series=300, windows=100,
    memory_keys=50_000, kafka_groups=1_000_000, kafka_frames=2_000, events=150, event_gap_s=0.3, session_s=None,
)  # fmt: skip
QUICK = Sizing(
    quick=True, rounds=1, shapes=((10_000, 46), (1_000, 3)), distinct_groups=4_000, times=2, drained_rows=5_000,
    drained_frames=2, pages=50, series=30, windows=10, memory_keys=2_000, kafka_groups=8_000, kafka_frames=50,
    events=5, event_gap_s=0.1, session_s=2.0,
)  # fmt: skip
