"""The fleet as the database knows it, as gauges for /metrics: an agent that scrapes this API gives them a history.

A scrape only shows what was read before, and never waits: reading is done by a thread, about every 5 s for as long as
somebody scrapes. What takes long is read less often, so that each part takes at most a twentieth of one core and of one
connection, however large the fleet is. What could not be read for a while is not shown any more: no value is repeated
as if it were a new one.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import sqlalchemy as sa
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from api.config import ApiConfig
from api.database import Database
from api.errors import DatabaseUnavailableError
from store.catalog import Catalog
from store.fleet_coverage import fleet_coverage
from store.fleet_signs import agent_signs, database_size, kept_counts, series_counts
from store.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Label values of one gauge: of more hosts or agents the worst ones, of more reasons the most frequent.
MOST_SHOWN: Final = 100
MOST_REASONS: Final = 20
OTHER_REASONS: Final = "others"
_EVERY_S: Final = 5.0
_TIMES_ITS_COST: Final = 20.0
_AFTER_FAILURE_S: Final = 30.0
# So long after the last scrape nobody seems to want to know.
_ASKED_S: Final = 600.0
_SHOWN_S: Final = 60.0
# Of an agent that is gone for longer nobody knows the clock: its last one would be said to be ahead for ever.
_CLOCK_KNOWN_S: Final = 300.0
_STOPS_WITHIN_S: Final = 0.2

_GAUGES: Final = {
    "tailwatch_api_fleet_coverage_ratio": (
        "Coverage of a query over the newest complete 5 minutes, of queries that some agent is expected for.",
        ("query",),
    ),
    "tailwatch_api_host_coverage_ratio": (
        "The lowest coverage of any query on a host over these minutes; hosts below 1, the 100 lowest.",
        ("covered",),
    ),
    "tailwatch_api_fleet_agents": ("Agents by state: alive, silent, retired.", ("state",)),
    "tailwatch_api_agent_silent_seconds": (
        "Time since the last heartbeat of agents that are silent; the 100 that fell silent last.",
        ("agent",),
    ),
    "tailwatch_api_agent_clock_ahead_seconds": (
        "How far clocks of agents heard of in 5 minutes are ahead of their collector's; the 50 most ahead and behind.",
        ("agent",),
    ),
    "tailwatch_api_dead_letters": ("Dead letters that are kept, by reason, its numbers written as #.", ("reason",)),
    "tailwatch_api_quarantined_frames": ("Frames that wait for their query's plan.", ()),
    "tailwatch_api_series_used_ratio": ("Series of a query, as a share of those that it may have.", ("query",)),
    "tailwatch_api_database_bytes": ("Size of the database.", ()),
    "tailwatch_api_database_max_bytes": (
        "Size that it may have: api.database_max_bytes, or else, of a SQLite file, what its disk allows.",
        (),
    ),
}

# (gauge, label value, number); the label value is None where the gauge has none.
Value: TypeAlias = tuple[str, str | None, float]


@dataclass(slots=True)
class _Part:
    """Gauges that are read together; times are those of the clock that was given."""

    name: str
    read: Callable[[sa.Connection, int], list[Value]]
    values: list[Value] = field(default_factory=list)
    due_s: float = 0.0
    read_s: float | None = None
    took_s: float = 0.0
    failures: int = 0

    def shown(self, now_s: float) -> bool:
        return self.read_s is not None and now_s - self.read_s <= _SHOWN_S + 2 * self.pause_s

    @property
    def pause_s(self) -> float:
        return max(_EVERY_S, _TIMES_ITS_COST * self.took_s)


class FleetGauges(Collector):
    """All of them; `collect` may be called from any thread."""

    def __init__(
        self,
        config: ApiConfig,
        database: Database,
        catalog: Catalog,
        now_ns: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read before the first scrape."""
        self._config, self._database, self._catalog = config, database, catalog
        self._now_ns, self._clock = now_ns, clock
        self._parts = [
            _Part("agents", self._agents),
            _Part("frames", self._frames),
            _Part("series", self._series),
            _Part("database", self._size),
            _Part("coverage", self._coverage),  # the one that may take long comes last
        ]
        self._lock = threading.Lock()
        self._asked_s = -_ASKED_S
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def collect(self) -> Iterator[Metric]:
        """What was read last; has the rest read soon."""
        self._ask()
        now_s = self._clock()
        families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in _GAUGES.items()}
        took = GaugeMetricFamily(
            "tailwatch_api_fleet_read_seconds", "How long the last read of these gauges took.", labels=["part"]
        )
        failed = CounterMetricFamily(
            "tailwatch_api_fleet_read_failures_total", "Reads of these gauges that failed.", labels=["part"]
        )
        with self._lock:
            for part in self._parts:
                failed.add_metric([part.name], part.failures)
                if not part.shown(now_s):
                    continue
                took.add_metric([part.name], part.took_s)
                for name, label, number in part.values:
                    families[name].add_metric([] if label is None else [label], number)
        yield from (family for family in (*families.values(), took, failed) if family.samples)

    def describe(self) -> list[Metric]:
        """Nothing: the registry must not read to know the names."""
        return []

    def close(self) -> None:
        """No more reads; one that runs is for `Database.interrupt` to end."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_STOPS_WITHIN_S)

    def step(self) -> float | None:
        """Read what is due; returns in how many seconds something will be, None once nobody asks any more."""
        if self._clock() - self._asked_s > _ASKED_S:
            return None
        for part in self._parts:
            if not self._closing and part.due_s <= self._clock():
                self._read(part)
        return max(0.0, min(part.due_s for part in self._parts) - self._clock())

    def _ask(self) -> None:
        with self._lock:
            self._asked_s = self._clock()
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="fleet-gauges", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            wait_s = self.step()
            self._wake.clear()
            if wait_s is None:
                if self._clock() - self._asked_s > _ASKED_S and not self._closing:
                    self._wake.wait()
            elif wait_s > 0 and not self._closing:
                # Scrapes wake it, too; it then finds nothing due and waits on.
                self._wake.wait(wait_s)

    def _read(self, part: _Part) -> None:
        began_s = self._clock()
        failed = True
        values: list[Value] = []
        try:
            with self._database.reading() as connection:
                values = part.read(connection, self._now_ns())
            failed = False
        except DatabaseUnavailableError:
            pass  # counted and told where it happened
        # Whatever a part breaks on, the others are read, and it is tried again.
        except Exception:
            log.exception("fleet gauges cannot be read part=%s", part.name)
        now_s = self._clock()
        with self._lock:
            part.took_s = now_s - began_s
            part.due_s = now_s + max(part.pause_s, _AFTER_FAILURE_S if failed else 0.0)
            part.failures += failed
            if not failed:
                part.values, part.read_s = values, now_s

    def _agents(self, connection: sa.Connection, now_ns: int) -> list[Value]:
        counts = {"alive": 0, "silent": 0, "retired": 0}
        silent: list[tuple[float, str]] = []
        clocks: list[tuple[float, str]] = []
        for one in agent_signs(connection):
            silent_s = max(0, now_ns - one.last_seen_ns) / 1e9
            if one.retired:
                counts["retired"] += 1
                continue
            if silent_s > self._config.agent_silent_after_s:
                counts["silent"] += 1
                silent.append((silent_s, one.agent))
            else:
                counts["alive"] += 1
            if one.clock_offset_ns is not None and silent_s <= _CLOCK_KNOWN_S:
                clocks.append((one.clock_offset_ns / 1e9, one.agent))
        clocks.sort()
        shown = clocks if len(clocks) <= MOST_SHOWN else clocks[: MOST_SHOWN // 2] + clocks[-MOST_SHOWN // 2 :]
        return [
            *(("tailwatch_api_fleet_agents", state, float(n)) for state, n in counts.items()),
            *(("tailwatch_api_agent_silent_seconds", agent, s) for s, agent in sorted(silent)[:MOST_SHOWN]),
            *(("tailwatch_api_agent_clock_ahead_seconds", agent, s) for s, agent in shown),
        ]

    def _frames(self, connection: sa.Connection, _now_ns: int) -> list[Value]:
        kept = kept_counts(connection)
        reasons = sorted(kept.dead_letters.items(), key=lambda one: (-one[1], one[0]))
        if len(reasons) > MOST_REASONS:
            others = sum(count for _, count in reasons[MOST_REASONS:])
            reasons = [*reasons[:MOST_REASONS], (OTHER_REASONS, others)]
        return [
            *(("tailwatch_api_dead_letters", reason, float(count)) for reason, count in reasons),
            ("tailwatch_api_quarantined_frames", None, float(kept.quarantined)),
        ]

    def _series(self, connection: sa.Connection, _now_ns: int) -> list[Value]:
        return [
            ("tailwatch_api_series_used_ratio", one.query, one.series / one.series_max)
            for one in series_counts(connection)
            if one.series_max
        ]

    def _size(self, connection: sa.Connection, _now_ns: int) -> list[Value]:
        size = database_size(connection, self._config.database_max_bytes)
        if size is None:
            return []
        found: list[Value] = [("tailwatch_api_database_bytes", None, float(size.used_bytes))]
        if size.max_bytes is not None:
            found.append(("tailwatch_api_database_max_bytes", None, float(size.max_bytes)))
        return found

    def _coverage(self, connection: sa.Connection, now_ns: int) -> list[Value]:
        # A pause lets questions have the interpreter: of a large fleet this is half a second of plain Python.
        found = fleet_coverage(Snapshot(connection, self._catalog), now_ns, lambda: time.sleep(0.001))
        low = sorted((ratio, host) for host, ratio in found.hosts.items() if ratio < 1)
        return [
            *(("tailwatch_api_fleet_coverage_ratio", query, ratio) for query, ratio in found.queries.items()),
            *(("tailwatch_api_host_coverage_ratio", host, ratio) for ratio, host in low[:MOST_SHOWN]),
        ]
