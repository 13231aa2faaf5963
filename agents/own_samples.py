"""What the agent's own metrics are at this moment, read off its parts."""

import time
from collections.abc import Iterable, Mapping

import psutil

from agents.own_metrics import Sample
from agents.progress import SourceProgress
from agents.sources.series_limit import SeriesLimit
from agents.sources.source import Behind, Limited
from agents.spool import Incarnation, Spool
from agents.uplink import Uplink

_NAME = "tailwatch_agents_"
_LONGEST_NAME = 80


def process_samples(incarnation: Incarnation, process: psutil.Process, children_s: float) -> list[Sample]:
    """Who this is, and what it takes of its host."""
    memory, cpu = process.memory_info(), process.cpu_times()
    return [
        Sample(_NAME + "info", 1, (("agent", incarnation.agent), ("incarnation", incarnation.id))),
        Sample(_NAME + "resident_bytes", memory.rss),
        Sample(_NAME + "cpu_seconds_total", cpu.user + cpu.system),
        Sample(_NAME + "children_cpu_seconds_total", children_s),
    ]


def shipping_samples(spool: Spool, uplink: Uplink) -> list[Sample]:
    """The spool and the way out of it."""
    return [
        Sample(_NAME + "frames_total", uplink.frames_published),
        *(Sample(_NAME + "wire_bytes_total", n, (("kind", kind),)) for kind, n in sorted(uplink.bytes_by_kind.items())),
        Sample(_NAME + "spool_bytes", spool.bytes),
        Sample(_NAME + "spool_max_bytes", spool.max_bytes),
        Sample(_NAME + "spool_frames", spool.frames),
        Sample(_NAME + "backlog_frames", spool.backlog_frames),
        Sample(_NAME + "spool_oldest_age_seconds", spool.oldest_age_s(time.time_ns())),
        Sample(_NAME + "spool_stuck_frames", spool.stuck.stranded, (("reason", "no_partition"),)),
        Sample(_NAME + "spool_stuck_frames", spool.stuck.unsendable, (("reason", "too_large"),)),
        Sample(_NAME + "uplink_up", uplink.up),
        Sample(_NAME + "uplink_failures_total", uplink.failures),
    ]


def source_samples(
    sources: Iterable[SourceProgress], records_in: Mapping[str, int], dropped: Mapping[str, int]
) -> list[Sample]:
    """What came in, what did not, and how the sources are."""
    found = [Sample(_NAME + "records_in_total", rows, (("stream", stream),)) for stream, rows in records_in.items()]
    found += [Sample(_NAME + "samples_dropped_total", n, (("reason", reason),)) for reason, n in dropped.items()]
    for one in sources:
        label = ("source", one.source.name)
        found.append(Sample(_NAME + "source_up", one.failure is None, (label,)))
        if one.source.lag_rows is not None:
            found.append(Sample(_NAME + "source_lag_rows", one.source.lag_rows, (label,)))
        if isinstance(one.source, Behind):
            found.append(Sample(_NAME + "source_lag_bytes", one.source.lag_bytes, (label,)))
        if isinstance(one.source, Limited):
            found += _series_samples(one.source.series_limit, label)
        events, sensors = one.source.counters(), one.source.missing()
        found += [Sample(_NAME + "source_events_total", n, (label, ("event", event))) for event, n in events.items()]
        found += [Sample(_NAME + "sensor_missing", 1, (label, ("sensor", sensor))) for sensor in sensors]
    return found


def _series_samples(limit: SeriesLimit, label: tuple[str, str]) -> list[Sample]:
    """A few names at most, and short ones: they come from outside."""
    offenders = {_shortened(name): rows for name, rows in limit.offenders()}
    return [
        Sample(_NAME + "series", len(limit), (label,)),
        Sample(_NAME + "series_max", limit.most, (label,)),
        Sample(_NAME + "series_refused_total", limit.refused, (label,)),
        *(Sample(_NAME + "series_offender_rows", n, (label, ("name", name))) for name, n in offenders.items()),
    ]


def _shortened(name: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in str(name)[:_LONGEST_NAME])
