"""Speed-up profiles: how much faster a request of a class runs on d threads than on one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.errors import DataError

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SpeedupProfile:
    """Speed-ups by class of work and degree.

    Attributes:
        edges_ms: where the next class begins, ascending; one class more than edges. Work of edges_ms[i] belongs to
            class i + 1.
        table: float64[classes, degrees]; table[c, d - 1] is the speed-up on d threads. Column 0 is 1, rows never fall.
    Raises:
        DataError: the table is none of these.
    """

    edges_ms: tuple[float, ...]
    table: Float64Array

    def __post_init__(self) -> None:
        """Refuses what no profile looks like."""
        table, edges = self.table, np.asarray(self.edges_ms, np.float64)
        if table.ndim != 2 or table.shape[0] != edges.size + 1 or table.shape[1] < 1:
            raise DataError(f"speed-ups of shape {table.shape} for {edges.size} edges; want a row more than edges")
        if not np.all(np.isfinite(edges)) or np.any(edges <= 0) or np.any(np.diff(edges) <= 0):
            raise DataError(f"edges of classes {self.edges_ms}; want milliseconds above 0, ascending")
        if not np.all(np.isfinite(table)) or np.any(table[:, 0] != 1) or np.any(np.diff(table, axis=1) < 0):
            raise DataError("a row of speed-ups does not begin at 1, or falls; learn or write it anew")

    @property
    def max_degree(self) -> int:
        """The largest degree it knows."""
        return int(self.table.shape[1])

    def classes(self, work_ms: Float64Array) -> Int64Array:
        """The class of each work, int64[n]."""
        return np.searchsorted(np.asarray(self.edges_ms), work_ms, side="right").astype(np.int64)

    def average(self, work_ms: Float64Array) -> Float64Array:
        """By degree, how much less time all of this work takes than on one thread: sum(w) / sum(w / S)."""
        by_class = np.bincount(self.classes(work_ms), weights=work_ms, minlength=self.table.shape[0])
        return np.asarray(by_class.sum() / (by_class[:, None] / self.table).sum(axis=0))

    @cached_property
    def flat(self) -> Float64Array:
        """The table in one piece, as the simulator reads it."""
        return np.ascontiguousarray(self.table, np.float64)


#: Web search: short, middle and long requests (below 30 ms, from 80 ms on). The end points are those of the Bing study
#: (SIGIR'14), as far as they are remembered; those between are ours.
WEB_SEARCH: Final = SpeedupProfile(
    (30.0, 80.0),
    np.array(
        [
            [1.0, 1.06, 1.10, 1.13, 1.15, 1.16],
            [1.0, 1.45, 1.72, 1.88, 1.98, 2.05],
            [1.0, 1.85, 2.60, 3.20, 3.70, 4.10],
        ]
    ),
)
