"""Policies, targets and classes of work for service times that are not those of a web search.

The published constants (classes at 30 and 80 ms, targets of 15 to 220 ms, threads added every 5 to 20 ms) go with a
service whose p99 is 198 ms. For measured times, classes begin at their p85 and p95, and all else is scaled by their
p99 to that. How much faster a class runs on more threads stays that of web search: it cannot be seen in times alone.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.errors import DataError
from analytics.tail.policies import Adaptive, Fixed, Policy, Predictive, RampUp, Sequential, WqLinear
from analytics.tail.speedup import WEB_SEARCH, Float64Array, SpeedupProfile
from analytics.tail.table_search import GRID_MS

#: Of the synthetic web search that the constants were chosen for.
_WEB_P99_MS: Final = 198.0
_WEB_LONG_MS: Final = 80.0
_CORRECT_EVERY_MS: Final = 5.0
_RAMPS_MS: Final = (5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class TimeScale:
    """What goes with a service's own times.

    Attributes:
        profile: speed-ups of web search, by classes of these times.
        grid_ms: targets that a search tries. long_ms: from there on the predictive policy runs requests in parallel.
        ramps_ms: pauses of the ramp-up policies. correct_every_ms: of further corrections by TPC.
    """

    profile: SpeedupProfile
    grid_ms: tuple[float, ...]
    long_ms: float
    ramps_ms: tuple[float, ...]
    correct_every_ms: float

    @property
    def baselines(self) -> tuple[Policy, ...]:
        """Everything but TPC and its variants."""
        return (
            Sequential(), Fixed(3), Adaptive(), Predictive(3, self.long_ms), Predictive(6, self.long_ms), WqLinear(),
            *(RampUp(pause_ms) for pause_ms in self.ramps_ms),
        )  # fmt: skip


WEB_SCALE: Final = TimeScale(WEB_SEARCH, GRID_MS, _WEB_LONG_MS, _RAMPS_MS, _CORRECT_EVERY_MS)


def scale_of(
    measured_ms: Float64Array, edges_ms: tuple[float, ...] | None = None, long_ms: float | None = None
) -> TimeScale:
    """The scale of measured service times, rounded to two digits.

    Args:
        edges_ms: where the two longer classes begin; None: at the p85 and p95.
        long_ms: None: where the longest class begins.
    Raises:
        DataError: no times, times that are none, or edges that are not two.
    """
    if not measured_ms.size or not np.all(np.isfinite(measured_ms)) or np.any(measured_ms <= 0):
        raise DataError("service times to go by are none, or not all above 0 milliseconds")
    edges = _edges(measured_ms) if edges_ms is None else edges_ms
    if len(edges) != len(WEB_SEARCH.edges_ms):
        raise DataError(
            f"edges of classes {edges}; want two, as web search has: its speed-ups are those of three classes"
        )
    factor = float(np.quantile(measured_ms, 0.99)) / _WEB_P99_MS
    return TimeScale(
        SpeedupProfile(edges, WEB_SEARCH.table),
        _scaled(GRID_MS, factor),
        edges[-1] if long_ms is None else long_ms,
        _scaled(_RAMPS_MS, factor),
        _scaled((_CORRECT_EVERY_MS,), factor)[0],
    )


def _edges(measured_ms: Float64Array) -> tuple[float, ...]:
    """p85 and p95; where nearly all take the same time, the second one stands just above."""
    low, high = (_rounded(float(edge)) for edge in np.quantile(measured_ms, (0.85, 0.95)))
    return (low, high if high > low else low * 1.1)


def _scaled(values_ms: tuple[float, ...], factor: float) -> tuple[float, ...]:
    # Nothing shorter than a microsecond: that is as fine as the simulator's clock is trusted.
    return tuple(max(_rounded(value * factor), 1e-3) for value in values_ms)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
