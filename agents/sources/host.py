"""How busy this host is: CPU, memory, swap, disks and network interfaces, by psutil.

Rates are taken over the time since the last reading, so the first rows come one interval after the start. What a
host or container does not show (no disks, no load average) is a state that is reported, never an error.
"""

import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import polars as pl
import psutil

from agents.sources.source import Batch
from agents.sources.streams import HOST, HOST_CPUS, HOST_DISKS, HOST_NICS
from pipeline.schema import Schema, polars_schema

log = logging.getLogger(__name__)

_SKIPPED_DISKS: Final = ("loop", "ram", "zram")
Row = dict[str, object]
Sensed = TypeVar("Sensed")


@dataclass(frozen=True, slots=True)
class Reading:
    """What psutil gave at one moment; a sensor that is missing left its part empty."""

    ts_ns: int
    monotonic_s: float
    cpus: list[Any] = field(default_factory=list)
    disks: dict[str, Any] = field(default_factory=dict)
    nics: dict[str, Any] = field(default_factory=dict)


class HostSource:
    """The streams host, host_cpus, host_disks and host_nics, one set of rows per interval."""

    name: Final = "host"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(self, interval_s: float = 1.0) -> None:
        """Rows every `interval_s`."""
        self._interval_s = interval_s
        self._last: Reading | None = None
        self._due_s = 0.0
        self._missing: dict[str, str] = {}

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The four streams."""
        return {"host": HOST, "host_cpus": HOST_CPUS, "host_disks": HOST_DISKS, "host_nics": HOST_NICS}

    def open(self, position: bytes | None) -> None:
        """Take the first reading, which rates start from; `position` has no meaning here."""
        del position
        self._last = self._take()
        self._due_s = self._last.monotonic_s + self._interval_s

    def poll(self) -> list[Batch]:
        """One batch per stream when the interval has passed, else nothing."""
        before = self._last
        if before is None or time.monotonic() < self._due_s:
            return []
        now = self._last = self._take()
        self._due_s += self._interval_s * max(1, int((now.monotonic_s - self._due_s) / self._interval_s) + 1)
        whole: Row = {"ts": now.ts_ns} | _cpu_ratios("cpu_", _total(before.cpus), _total(now.cpus))
        nothing: Row = {}
        for sensor, read in (("load", _load), ("memory", _memory), ("swap", _swap)):
            whole |= self._sense(sensor, read, nothing)
        batches = [
            _batch("host", HOST, [whole]),
            _batch("host_cpus", HOST_CPUS, _cpu_rows(before, now)),
            _batch("host_disks", HOST_DISKS, _disk_rows(before, now)),
            _batch("host_nics", HOST_NICS, _nic_rows(before, now)),
        ]
        return [batch for batch in batches if batch.rows.height]

    def position(self) -> bytes | None:
        """None: the past cannot be read again."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll, which itself is what measures."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Nothing goes wrong here that is counted."""
        return {}

    def missing(self) -> Mapping[str, str]:
        """Sensors that this host does not have, with psutil's reason."""
        return self._missing

    def close(self) -> None:
        """There is nothing to let go of."""

    def _take(self) -> Reading:
        return Reading(
            time.time_ns(),
            time.monotonic(),
            self._sense("cpu", lambda: psutil.cpu_times(percpu=True), []),
            self._sense("disks", lambda: psutil.disk_io_counters(perdisk=True) or {}, {}),
            self._sense("nics", lambda: psutil.net_io_counters(pernic=True) or {}, {}),
        )

    def _sense(self, sensor: str, read: Callable[[], Sensed], otherwise: Sensed) -> Sensed:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # psutil warns of figures it has to guess
                value = read()
        except (OSError, RuntimeError, NotImplementedError, AttributeError, psutil.Error) as error:
            if sensor not in self._missing:
                log.warning("host sensor missing sensor=%s reason=%s", sensor, error)
            self._missing[sensor] = f"{type(error).__name__}: {error}"
            return otherwise
        if self._missing.pop(sensor, None) is not None:
            log.info("host sensor is back sensor=%s", sensor)
        return value


def _batch(stream: str, schema: Schema, rows: list[Row]) -> Batch:
    types = polars_schema({name: kind for name, kind in schema.items() if name != "host"})
    return Batch(stream, pl.DataFrame(rows, schema=types, orient="row"))


def _load() -> Row:
    return dict(zip(("load1", "load5", "load15"), psutil.getloadavg(), strict=True))


def _memory() -> Row:
    memory = psutil.virtual_memory()
    return {
        "memory_total_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "memory_used_ratio": 1.0 - memory.available / memory.total,
    }


def _swap() -> Row:
    swap = psutil.swap_memory()
    return {
        "swap_total_bytes": swap.total,
        "swap_used_bytes": swap.used,
        "swap_used_ratio": swap.used / swap.total if swap.total else 0.0,
    }


def _total(cpus: list[Any]) -> dict[str, float]:
    names = cpus[0]._fields if cpus else ()
    return {name: sum(getattr(cpu, name) for cpu in cpus) for name in names}


def _cpu_ratios(prefix: str, before: dict[str, float], now: dict[str, float]) -> Row:
    """Shares of the time between two readings; empty when no time passed or CPUs came or went."""
    spent = {name: now[name] - before.get(name, 0.0) for name in now if name not in ("guest", "guest_nice")}
    whole = sum(spent.values())
    if not before or whole <= 0 or min(spent.values()) < -1.0:  # one tick of idle going backwards is known to happen
        return {}
    idle = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
    ratios = {"busy": whole - idle, "iowait": spent.get("iowait", 0.0), "steal": spent.get("steal", 0.0)}
    return {f"{prefix}{name}_ratio": min(max(value / whole, 0.0), 1.0) for name, value in ratios.items()}


def _cpu_rows(before: Reading, now: Reading) -> list[Row]:
    if len(before.cpus) != len(now.cpus):
        return []
    pairs = zip(before.cpus, now.cpus, strict=True)
    ratios = [_cpu_ratios("", _total([old]), _total([new])) for old, new in pairs]
    return [{"ts": now.ts_ns, "cpu": str(number)} | row for number, row in enumerate(ratios) if row]


def _disk_rows(before: Reading, now: Reading) -> list[Row]:
    rows: list[Row] = []
    for disk, counters in now.disks.items():
        if disk.startswith(_SKIPPED_DISKS):
            continue
        totals = {
            "read_bytes": counters.read_bytes,
            "written_bytes": counters.write_bytes,
            "reads": counters.read_count,
            "writes": counters.write_count,
        }
        old = before.disks.get(disk)
        was = None if old is None else (old.read_bytes, old.write_bytes, old.read_count, old.write_count)
        row = {"ts": now.ts_ns, "disk": disk} | _rates(totals, was, now.monotonic_s - before.monotonic_s)
        busy_ms = None if old is None else getattr(counters, "busy_time", 0) - getattr(old, "busy_time", 0)
        if busy_ms is not None and busy_ms >= 0 and hasattr(counters, "busy_time"):
            row["busy_ratio"] = min(busy_ms * 1e-3 / (now.monotonic_s - before.monotonic_s), 1.0)
        rows.append(row)
    return rows


def _nic_rows(before: Reading, now: Reading) -> list[Row]:
    rows: list[Row] = []
    for nic, counters in now.nics.items():
        old = before.nics.get(nic)
        was = None if old is None else tuple(_nic_totals(old).values())
        row = _rates(_nic_totals(counters), was, now.monotonic_s - before.monotonic_s)
        rows.append({"ts": now.ts_ns, "nic": nic} | row)
    return rows


def _nic_totals(counters: Any) -> dict[str, int]:
    return {
        "received_bytes": counters.bytes_recv,
        "sent_bytes": counters.bytes_sent,
        "received_packets": counters.packets_recv,
        "sent_packets": counters.packets_sent,
        "errors": counters.errin + counters.errout,
        "drops": counters.dropin + counters.dropout,
    }


def _rates(totals: dict[str, int], was: tuple[int, ...] | None, elapsed_s: float) -> Row:
    """Each counter and its rate; no rate for a device that is new or whose counter began again."""
    row: Row = {f"{name}_total": value for name, value in totals.items()}
    if was is not None and elapsed_s > 0:
        for (name, value), old in zip(totals.items(), was, strict=True):
            if value >= old:
                row[f"{name}_per_s"] = (value - old) / elapsed_s
    return row
