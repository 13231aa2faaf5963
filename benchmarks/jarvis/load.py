"""What an agent is offered, epoch by epoch, out of memory: making it takes no CPU of the measurement.

A pool of records is made once; each epoch gives it again with later times. Batches have the size that sources give.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import polars as pl

from agents.sources.source import Batch
from benchmarks.jarvis.workloads import SECOND_NS, START_NS, Workload

BATCH_ROWS: Final = 2**14


class Clock:
    """CPU seconds of this process, all threads, but for what `excluded` leaves out."""

    def __init__(self) -> None:
        self._left_out_s = 0.0
        self._began_s: float | None = None

    def __call__(self) -> float:
        """Seconds since some moment."""
        return (time.process_time() if self._began_s is None else self._began_s) - self._left_out_s

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """What happens in here is the benchmark's own doing; the clock stands."""
        if self._began_s is not None:
            raise RuntimeError("the clock stands already")
        self._began_s = time.process_time()
        try:
            yield
        finally:
            self._left_out_s += time.process_time() - self._began_s
            self._began_s = None


class Load:
    """Records of one workload at a rate."""

    def __init__(self, workload: Workload, records_per_epoch: int, epoch_s: float, seed: int = 1) -> None:
        """Makes the pool: one epoch's records."""
        self.workload = workload
        self.epoch_s = epoch_s
        made = workload.records(records_per_epoch, seed)
        # Records come in one second; an epoch may be shorter.
        squeezed = START_NS + ((pl.col("ts") - START_NS) * epoch_s).cast(pl.Int64)
        self._pool = made.with_columns(squeezed.alias("ts")).rechunk()

    @property
    def records(self) -> int:
        """In each epoch."""
        return self._pool.height

    def epoch(self, number: int) -> list[Batch]:
        """The batches of epoch 0, 1, ..."""
        shift = int(number * self.epoch_s * SECOND_NS)
        rows = self._pool.with_columns(pl.col("ts") + shift)
        return [Batch(self.workload.stream, rows.slice(at, BATCH_ROWS)) for at in range(0, rows.height, BATCH_ROWS)]

    def of(self, workload: Workload) -> "Load":
        """The same records for another query over the same stream."""
        changed = Load.__new__(Load)
        changed.workload, changed.epoch_s, changed._pool = workload, self.epoch_s, self._pool
        return changed

    def at_rate(self, factor: float) -> "Load":
        """The same load with so many times the records; the pool is shared where that is possible."""
        wanted = max(1, round(self.records * factor))
        changed = Load.__new__(Load)
        changed.workload, changed.epoch_s = self.workload, self.epoch_s
        if wanted <= self.records:
            # Every k-th record, evenly: the same mixture, the same stretch of time.
            changed._pool = self._pool[_evenly(wanted, self.records)]
        else:
            copies = -(-wanted // self.records)
            many = pl.concat([self._pool] * copies).sort("ts", maintain_order=True)
            changed._pool = many[_evenly(wanted, many.height)]
        return changed


def _evenly(wanted: int, of: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The places of so many rows, evenly."""
    return np.arange(wanted) * of // wanted
