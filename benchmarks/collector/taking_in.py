"""The collector's own path without a transport: frames in memory -> Partition.take -> flush into a fresh SQLite file.

A flush comes when a second's work or the configured bytes are pending, which is when the collector's loop flushes.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from benchmarks.collector.fleet import ANY_AGE_S, METRIC, START_NS, WINDOW_NS, Load
from collector.config import CollectorConfig
from collector.partition import Partition
from collector.plans import Plans
from collector.series_limit import SeriesLimit
from pipeline.plan import Plan
from quantiles.sketch_column import SketchColumn
from store.claims import claim
from store.connect import open_engine, upgrade
from store.fleet import totals
from store.series import SeriesIds
from store.windows import Selection, merged
from wire.transport import Record

TOPIC = "bench"
CONFIG = CollectorConfig(spool_age_s=ANY_AGE_S)
# The collector's loop looks at its clock once per read, of up to 500 frames; a fetch from a broker has about so many.
FRAMES_A_READ = 16


@dataclass
class Intake:
    """One partition of a collector on a database of its own."""

    engine: sa.Engine
    plan: Plan
    partition: Partition = field(init=False)
    flushes: int = 0
    offset: int = 0

    def __post_init__(self) -> None:
        plans = Plans(self.engine, {})
        plans.register([self.plan], 0, 0)
        with self.engine.begin() as connection:
            held = claim(connection, TOPIC, 0, "bench")
        series = SeriesIds()
        limit = SeriesLimit(self.engine, CONFIG.series_max, series, lambda: self.partition.gathered())  # noqa: PLW0108  # it is not there yet
        self.partition = Partition(CONFIG, self.engine, held, plans, series, limit, {})

    def take(self, payloads: Sequence[bytes]) -> None:
        """Take all in and flush as the collector's loop would; the last flush included."""
        now_ns = time.time_ns()
        due = time.process_time() + CONFIG.flush_interval_s
        for n, payload in enumerate(payloads, 1):
            self.partition.take(Record(0, self.offset, payload), now_ns)
            self.offset += 1
            if n % FRAMES_A_READ and self.partition.pending_bytes < CONFIG.max_pending_bytes:
                continue
            if time.process_time() >= due or self.partition.pending_bytes >= CONFIG.max_pending_bytes:
                self.flush()
                due = time.process_time() + CONFIG.flush_interval_s
        self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        self.partition.flush(time.time_ns())
        self.flushes += 1

    def check(self, load: Load, times: int, frames: int) -> None:
        """Compare everything stored with the truth.

        Raises:
            AssertionError: a frame was refused, or a stored sketch is not what the records give.
        """
        with self.engine.connect() as connection:
            counted = totals(connection)
        refused = {name: counted[name] for name in ("duplicates", "quarantined", "dead_letters", "too_old")}
        assert counted["frames"] == frames, f"{counted['frames']} frames taken in, {frames} sent"
        assert not any(refused.values()), f"frames were refused: {refused}"
        found = stored(self.engine, self.plan)
        wanted = load.expected(times)
        assert found == wanted, f"the {len(found)} stored sketches differ from the {len(wanted)} true ones"


def stored(engine: sa.Engine, plan: Plan) -> SketchColumn:
    """Every stored sketch of the window, in order of the labels."""
    selection = Selection(METRIC, START_NS, START_NS + WINDOW_NS, by=tuple(plan.labels), step_ns=WINDOW_NS)
    with engine.connect() as connection:
        groups = merged(connection, selection).groups
    in_order = sorted(groups, key=lambda group: tuple(group.labels[name] for name in plan.labels))
    return SketchColumn.concat([group.state.column for group in in_order])  # type: ignore[attr-defined]


@contextmanager
def intake(plan: Plan) -> Iterator[Intake]:
    """A partition on an empty database, which is gone afterwards."""
    with TemporaryDirectory(prefix="tailwatch-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'tailwatch.db'}"
        upgrade(url)
        engine = open_engine(url)
        try:
            yield Intake(engine, plan)
        finally:
            engine.dispose()
