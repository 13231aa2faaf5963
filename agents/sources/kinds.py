"""Every kind of source: what it is for, which streams it feeds, what its entry must say, where its page is.

For people who ask which sources there are; what runs is made in configured.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from agents.sources.configs import (
    DatagramsConfig,
    GpuConfig,
    HiccupsConfig,
    HostConfig,
    LogsConfig,
    OtlpConfig,
    ProbesConfig,
    ReplayConfig,
    RequestsConfig,
    ScrapeConfig,
    SmartConfig,
    SourceConfig,
    StatsdConfig,
    TailwatchConfig,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    Attributes:
        streams: built-in ones that it feeds.
        any_stream: whether it feeds streams that the configuration declares, too.
        needs: settings that an entry cannot do without.
        extra: the extra of the package that brings its library; "" for none.
        page: where it is described, from the folder docs/.
    """

    name: str
    config: type[msgspec.Struct]
    about: str
    streams: tuple[str, ...]
    page: str
    any_stream: bool = False
    needs: tuple[str, ...] = ()
    extra: str = ""


_KINDS: Final = (
    Kind("hiccups", HiccupsConfig, "how late a 1 ms timer fires", ("hiccups",), "reference/agent.md"),
    Kind(
        "host",
        HostConfig,
        "CPU, memory, disks and network interfaces",
        ("host", "host_cpus", "host_disks", "host_nics"),
        "reference/agent.md",
    ),
    Kind(
        "replay",
        ReplayConfig,
        "a recorded CSV, Parquet or Arrow file",
        (),
        "reference/agent.md",
        any_stream=True,
        needs=("stream", "path"),
    ),
    Kind(
        "datagrams",
        DatagramsConfig,
        "rows that programs of this host send over a Unix socket",
        ("api_requests",),
        "reference/agent.md",
        any_stream=True,
        needs=("stream", "path"),
    ),
    Kind("statsd", StatsdConfig, "StatsD and DogStatsD lines", ("statsd",), "sources/statsd.md"),
    Kind("otlp", OtlpConfig, "OpenTelemetry metrics over HTTP", ("otlp",), "sources/otlp.md", extra="otlp"),
    Kind(
        "scrape",
        ScrapeConfig,
        "Prometheus and OpenMetrics pages",
        ("scrape",),
        "sources/scrape.md",
        needs=("targets or targets_path",),
    ),
    Kind(
        "tailwatch",
        TailwatchConfig,
        "Tailwatch's own metrics: the agent's, and those of collectors and APIs",
        ("tailwatch_metrics", "tailwatch_targets"),
        "sources/tailwatch.md",
    ),
    Kind("probes", ProbesConfig, "round trips to peers", ("peer_probes",), "sources/probes.md"),
    Kind(
        "logs",
        LogsConfig,
        "lines of log files",
        ("access_log", "syslog", "job_logs"),
        "sources/logs.md",
        any_stream=True,
        needs=("paths", "pattern"),
    ),
    Kind("smart", SmartConfig, "health of drives by smartctl", ("smart", "smart_attributes"), "sources/smart.md"),
    Kind(
        "gpu",
        GpuConfig,
        "NVIDIA GPUs, their processes and Xid events",
        ("gpu", "gpu_processes", "gpu_xids"),
        "sources/gpu.md",
        extra="gpu",
    ),
    Kind("requests", RequestsConfig, "request samples of services", ("requests",), "sources/requests.md"),
)
KINDS: Final = {kind.name: kind for kind in _KINDS}


def kind_of(entry: SourceConfig) -> Kind:
    """The kind of an entry."""
    return KINDS[str(entry.__struct_config__.tag)]


def bounds_of(entry: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """The settings of an entry that bound what it takes: names that begin with `max_`, and their values."""
    for field in msgspec.structs.fields(entry):
        if field.name.startswith("max_"):
            yield field.name, getattr(entry, field.name)
