"""How long each route takes, as quantiles from our own sketches over the last five minutes: what /metrics shows.

Each route has one sliding window of sketches. A request only appends two numbers; they join the window when a few
thousand have gathered, or when somebody looks. Memory is bounded by the number of routes, which are templates.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.registry import Collector

from quantiles.windows import SlidingWindow

LEVELS = (0.5, 0.9, 0.99, 0.999)
WINDOW_S = 300
_PANE_S = 30
_GATHERED = 4_096
_S = 1_000_000_000
_NAME = "tailwatch_api_request_duration_seconds"
_HELP = (
    "Time from a request's arrival to the last byte of its answer: quantiles of the last 5 minutes, within 0.55 % of "
    "the exact ones; sum and count since the start."
)


@dataclass(slots=True)
class _Route:
    window: SlidingWindow = field(default_factory=lambda: SlidingWindow(WINDOW_S * _S, _PANE_S * _S))
    durations_s: list[float] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    count: int = 0
    total_s: float = 0.0


class RequestQuantiles(Collector):
    """A summary per route; safe to use from any thread."""

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._routes: dict[str, _Route] = {}
        self._lock = threading.Lock()

    def observe(self, route: str, duration_s: float) -> None:
        """Take in one request."""
        with self._lock:
            known = self._routes.get(route)
            if known is None:
                known = self._routes[route] = _Route()
            known.durations_s.append(duration_s)
            known.times_ns.append(self._now_ns())
            known.count += 1
            known.total_s += duration_s
            if len(known.durations_s) >= _GATHERED:
                _gather(known)

    def collect(self) -> Iterator[Metric]:
        """One summary; a route without requests in the window has no quantiles (NaN, as Prometheus' libraries say)."""
        metric = Metric(_NAME, _HELP, "summary")
        with self._lock:
            now_ns = self._now_ns()
            for route, known in sorted(self._routes.items()):
                _gather(known)
                known.window.advance(now_ns)
                values = known.window.quantiles(LEVELS) if known.window.count else [float("nan")] * len(LEVELS)
                for level, value in zip(LEVELS, values, strict=True):
                    metric.add_sample(_NAME, {"route": route, "quantile": f"{level:g}"}, float(value))
                metric.add_sample(f"{_NAME}_count", {"route": route}, known.count)
                metric.add_sample(f"{_NAME}_sum", {"route": route}, known.total_s)
        yield metric


def _gather(route: _Route) -> None:
    route.window.add(route.durations_s, route.times_ns)
    route.durations_s, route.times_ns = [], []
