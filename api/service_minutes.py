"""A service's stored minutes added up: by time, by load, or all together, with quantiles of the merged sketches.

Sums are added, and sketches merged, group by group while minutes are read, so memory hangs on the number of groups and
not on the length of the stretch. A quantile has the sketches' error; counts are exact.

A minute was made by what was known then. Without a target nothing of it is slow, and without the number of hardware
threads its load is not known: such minutes count for latencies, and not for the figures that they lack.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from analytics.errors import DataError
from analytics.tail.load_levels import LEVEL_EDGES
from analytics.tail.minutes import Minute, minute_from
from api.answers import span
from api.errors import LimitError, UnavailableError
from api.service_tail_params import TailQuestion
from quantiles.array_types import FloatArray
from quantiles.levels import nearest_ranks
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from store.tail_minutes import MinuteRow
from store.tail_services import ServiceSettings

_COUNTS: Final = ("requests", "corrected", "long", "long_missed")
_HARDWARE: Final = ("service_ms", "effective_ms", "work_ms", "thread_ms", "capacity_ms")
# Decoded one by one, they take ten times as long; so many are some megabytes.
_SKETCHES_AT_ONCE: Final = 1_024
#: The level of load of a group that has none.
_NO_LEVEL: Final = -1


@dataclass(frozen=True, slots=True)
class StoredMinute:
    """A minute, and what was known when it was made: the service's target, and its hardware threads."""

    minute: Minute
    promised: bool
    measured: bool

    @property
    def level(self) -> int:
        """Of its load, from 0; below 0 where that is not known."""
        return int(np.searchsorted(LEVEL_EDGES, self.minute.load, side="right")) if self.measured else _NO_LEVEL


@dataclass(slots=True)
class _Sum:
    """What minutes of one group come to so far."""

    minutes: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    latency_ms: float = 0.0
    promised: int = 0
    slow: int = 0
    hardware: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_HARDWARE, 0.0))
    causes: dict[str, int] = field(default_factory=dict)
    sketch: Sketch = field(default_factory=Sketch)

    def add(self, stored: StoredMinute) -> None:
        """Count one more; its sketch comes later."""
        minute = stored.minute
        self.minutes += 1
        for name in _COUNTS:
            self.counts[name] += getattr(minute, name)
        self.latency_ms += minute.latency_ms
        if stored.promised:
            self.promised += minute.requests
            self.slow += minute.slow
            for cause, n in minute.causes.items():
                self.causes[cause] = self.causes.get(cause, 0) + n
        if stored.measured:
            for name in _HARDWARE:
                self.hardware[name] += getattr(minute, name)


@dataclass(slots=True)
class MinuteSums:
    """Groups by (window, level of load), and how many minutes were seen on the way that lack something."""

    groups: dict[tuple[int, int], _Sum] = field(default_factory=dict)
    minutes: int = 0
    unprofiled: int = 0
    unpromised: int = 0
    unmeasured: int = 0
    _waiting: list[tuple[tuple[int, int], bytes]] = field(default_factory=list)

    def add(self, key: tuple[int, int], stored: StoredMinute) -> None:
        """Count one more minute in the group of this key, which is there."""
        self.groups[key].add(stored)
        self.minutes += 1
        self.unprofiled += not stored.minute.profiled
        self.unpromised += not stored.promised
        self.unmeasured += not stored.measured
        self._waiting.append((key, stored.minute.latencies))
        if len(self._waiting) >= _SKETCHES_AT_ONCE:
            self.merge_sketches()

    def merge_sketches(self) -> None:
        """Merge the sketches that wait into those of their groups."""
        if not self._waiting:
            return
        keys = list(dict.fromkeys(key for key, _ in self._waiting))
        place = {key: i for i, key in enumerate(keys)}
        bodies = [body for _, body in self._waiting]
        column = SketchColumn.from_bodies(b"".join(bodies), [len(body) for body in bodies])
        reduced = column.reduce([place[key] for key, _ in self._waiting], len(keys))
        for i, key in enumerate(keys):
            self.groups[key].sketch.merge(reduced.sketch(i))
        self._waiting.clear()


def stored_minute(row: MinuteRow) -> StoredMinute:
    """The minute of a row.

    Raises:
        UnavailableError: another release wrote it.
    """
    try:
        minute = minute_from(row.document)
    except DataError as error:
        raise UnavailableError(f"a minute of service {row.service[:200]!r} cannot be read: {error}") from error
    told: Mapping[str, Any] = row.document
    return StoredMinute(minute, told.get("target_ms") is not None, told.get("threads") is not None)


def level_range(level: int) -> dict[str, float | None] | None:
    """Where a level of load begins and ends; None for no level."""
    if level < 0:
        return None
    return {
        "at_least": LEVEL_EDGES[level - 1] if level else 0.0,
        "below": LEVEL_EDGES[level] if level < len(LEVEL_EDGES) else None,
    }


def add_up(
    minutes: Iterable[StoredMinute], question: TailQuestion, max_groups: int, check: Callable[[], None] = lambda: None
) -> MinuteSums:
    """Minutes of one service in groups.

    Args:
        check: called with each minute; raises to end it.
    Raises:
        LimitError: more groups than one answer may hold.
    """
    found = MinuteSums()
    for stored in minutes:
        check()
        window = 0 if question.step_ns is None else stored.minute.start_ns // question.step_ns
        key = (window, stored.level if question.by_load else _NO_LEVEL)
        if key not in found.groups:
            if len(found.groups) >= max_groups:
                raise LimitError(
                    f"the answer has more than {max_groups} groups; ask for a longer step, a shorter range, or without "
                    "by",
                    parameter="step",
                    limit=max_groups,
                )
            found.groups[key] = _Sum()
        found.add(key, stored)
    found.merge_sketches()
    return found


def group_entries(found: MinuteSums, question: TailQuestion, settings: ServiceSettings) -> Iterator[dict[str, object]]:
    """The groups as answers show them, by time, then by load."""
    for (window, level), group in sorted(found.groups.items()):
        start_ns, end_ns = question.start_ns, question.end_ns
        if question.step_ns is not None:
            start_ns, end_ns = window * question.step_ns, (window + 1) * question.step_ns
        yield {
            **span(start_ns, end_ns),
            "load_level": level_range(level),
            **_latencies(group, question.levels, settings),
            **_kept(group, settings),
            **_hardware(group.hardware),
        }


def error_bound() -> float:
    """The largest relative error of the quantiles."""
    return Sketch().error_bound


def _latencies(group: _Sum, levels: tuple[float, ...], settings: ServiceSettings) -> dict[str, Any]:
    fan_out = settings.fan_out
    return {
        "minutes": group.minutes,
        **group.counts,
        "mean_ms": group.latency_ms / group.counts["requests"],
        "quantiles": _quantiles(group.sketch, levels),
        "fan_out_ms": group.sketch.quantile(settings.percentile ** (1 / fan_out)) if fan_out > 1 else None,
    }


def _kept(group: _Sum, settings: ServiceSettings) -> dict[str, Any]:
    """How the promise was kept; nothing where there was none."""
    if not group.promised:
        return dict.fromkeys(("slow", "slow_ratio", "promise_kept", "causes"))
    ratio = group.slow / group.promised
    return {
        "slow": group.slow,
        "slow_ratio": ratio,
        # What a percentile leaves is no round number in binary: 1 - 0.99 is a little above 0.01, others are below.
        "promise_kept": ratio <= 1 - settings.percentile + 1e-12,
        "causes": group.causes or None,
    }


def _hardware(sums: Mapping[str, float]) -> dict[str, float | None]:
    if not sums["capacity_ms"]:
        return dict.fromkeys(("load", "mean_share", "mean_degree"))
    return {
        "load": sums["work_ms"] / sums["capacity_ms"],
        "mean_share": sums["effective_ms"] / sums["service_ms"],
        "mean_degree": sums["thread_ms"] / sums["effective_ms"],
    }


def _quantiles(sketch: Sketch, levels: tuple[float, ...]) -> list[dict[str, float]]:
    array: FloatArray = np.asarray(levels)
    ranks = nearest_ranks(array, np.array([sketch.count]))[0]
    values = sketch.quantiles(array)
    return [
        {"q": q, "ms": float(value), "beyond": int(sketch.count - rank)}
        for q, value, rank in zip(levels, values, ranks, strict=True)
    ]
