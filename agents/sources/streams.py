"""The streams an agent knows without being told: their columns and types, `ts` and `host` first.

`api_requests` is fed by the API through a `datagrams` source; the others by the source of their name.
Records of open streams bring names of their own (tags, attributes, labels): those that the configuration declares
under `streams` become columns of text, the others are left out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.errors import SchemaError
from pipeline.schema import Schema, is_column_name, stream_schema

HICCUPS: Final[Schema] = {"ts": "int64", "host": "string", "late_ns": "int64"}

HOST: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "cpu_busy_ratio": "float64",
    "cpu_iowait_ratio": "float64",
    "cpu_steal_ratio": "float64",
    "load1": "float64",
    "load5": "float64",
    "load15": "float64",
    "memory_total_bytes": "int64",
    "memory_available_bytes": "int64",
    "memory_used_ratio": "float64",
    "swap_total_bytes": "int64",
    "swap_used_bytes": "int64",
    "swap_used_ratio": "float64",
}

HOST_CPUS: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "cpu": "string",
    "busy_ratio": "float64",
    "iowait_ratio": "float64",
    "steal_ratio": "float64",
}

HOST_DISKS: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "disk": "string",
    "read_bytes_total": "int64",
    "written_bytes_total": "int64",
    "reads_total": "int64",
    "writes_total": "int64",
    "read_bytes_per_s": "float64",
    "written_bytes_per_s": "float64",
    "reads_per_s": "float64",
    "writes_per_s": "float64",
    "busy_ratio": "float64",
}

HOST_NICS: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "nic": "string",
    "received_bytes_total": "int64",
    "sent_bytes_total": "int64",
    "received_packets_total": "int64",
    "sent_packets_total": "int64",
    "errors_total": "int64",
    "drops_total": "int64",
    "received_bytes_per_s": "float64",
    "sent_bytes_per_s": "float64",
    "received_packets_per_s": "float64",
    "sent_packets_per_s": "float64",
    "errors_per_s": "float64",
    "drops_per_s": "float64",
}

API_REQUESTS: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "route": "string",
    "method": "string",
    "status": "int64",
    "api_request_us": "float64",
}

# `weight` is how many values a line stands for, 1 / its sample rate. Counters and gauges weigh 1: `value` of a counter
# is scaled by the rate instead, that of a gauge is where it stands.
STATSD: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "name": "string",
    "kind": "string",
    "value": "float64",
    "weight": "int64",
}

# `value` of a gauge is its reading, of a sum what was added since the point before; of histograms it is NULL and
# `distribution` holds the values, `count` how many there are.
OTLP: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "name": "string",
    "unit": "string",
    "kind": "string",
    "service": "string",
    "value": "float64",
    "count": "int64",
    "distribution": "sketch",
}

SCRAPE: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "name": "string",
    "kind": "string",
    "job": "string",
    "instance": "string",
    "value": "float64",
    "count": "int64",
    "distribution": "sketch",
}

# Labels on pages of Tailwatch's own parts that queries can read: those of `scrape` beside them are the same.
_OWN_LABELS: Final = (
    "query", "proxy", "operator", "state", "reason", "partition", "agent", "covered", "source", "event", "sensor",
    "stream", "route", "method", "status", "outcome", "quantile", "part", "policy", "result",
)  # fmt: skip
# An agent's own page, and those of collectors and APIs: an agent that scrapes none of these has no stream for the
# queries on them, so that it neither runs nor reports any.
TAILWATCH_METRICS: Final[Schema] = {**SCRAPE, **dict.fromkeys(_OWN_LABELS, "string")}
TAILWATCH_TARGETS: Final[Schema] = dict(TAILWATCH_METRICS)

# One row a probe, at the time its outcome was known; `outcome` says it in a word. What is not known is NULL.
PEER_PROBES: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "peer": "string",
    "peer_address": "string",
    "peer_rack": "string",
    "peer_tor": "string",
    "peer_dc": "string",
    "kind": "string",
    "outcome": "string",
    "ok": "int64",
    "failed": "int64",
    "latency_us": "float64",
    "connect_us": "float64",
    "rtt_us": "float64",
    "syn_retransmits": "int64",
    "http_status": "int64",
}

ACCESS_LOG: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "file": "string",
    "client": "string",
    "method": "string",
    "path": "string",
    "status": "int64",
    "sent_bytes": "int64",
    "referer": "string",
    "user_agent": "string",
    "request_s": "float64",
}

# `sender` is the host that the line names; `host` is where it was read.
SYSLOG: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "file": "string",
    "facility": "string",
    "severity": "string",
    "sender": "string",
    "program": "string",
    "pid": "int64",
    "message": "string",
}

# A line as it stands in the file, and the byte at which it begins there: lines of one time are in that order.
JOB_LOGS: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "file": "string",
    "place": "int64",
    "text": "string",
}

# One row a drive and reading; what the drive does not tell is NULL. Flags are 0 or 1. docs/sources/smart.md has units.
SMART: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "device": "string",
    "device_type": "string",
    "kind": "string",
    "model": "string",
    "family": "string",
    "serial": "string",
    "firmware": "string",
    "in_database": "int64",
    "capacity_bytes": "int64",
    "rotation_rpm": "int64",
    "state": "string",
    "read_s": "float64",
    "passed": "int64",
    "exit_status": "int64",
    "command_failed": "int64",
    "failing": "int64",
    "below_threshold": "int64",
    "was_below_threshold": "int64",
    "errors_logged": "int64",
    "self_tests_failed": "int64",
    "critical_warning": "int64",
    "warns_spare": "int64",
    "warns_temperature": "int64",
    "warns_reliability": "int64",
    "warns_read_only": "int64",
    "warns_backup": "int64",
    "uncorrectable_total": "int64",
    "uncorrectable_reads_total": "int64",
    "uncorrectable_writes_total": "int64",
    "uncorrectable_verifies_total": "int64",
    "media_errors_total": "int64",
    "crc_total": "int64",
    "realloc_total": "int64",
    "pending_count": "int64",
    "program_fail_total": "int64",
    "erase_fail_total": "int64",
    "downshift_total": "int64",
    "e2e_total": "int64",
    "err_log_entries_total": "int64",
    "spare_pct": "int64",
    "spare_threshold_pct": "int64",
    "wear_used_pct": "int64",
    "erases_avg": "int64",
    "erases_max": "int64",
    "host_written_bytes": "int64",
    "host_read_bytes": "int64",
    "nand_written_bytes": "int64",
    "power_on_h": "int64",
    "power_cycles_total": "int64",
    "unsafe_shutdowns_total": "int64",
    "temperature_c": "int64",
    "too_warm_min_total": "int64",
    "too_hot_min_total": "int64",
}

# The vendor attributes of SATA drives as they stand.
SMART_ATTRIBUTES: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "device": "string",
    "model": "string",
    "serial": "string",
    "id": "int64",
    "name": "string",
    "value": "int64",
    "worst": "int64",
    "threshold": "int64",
    "raw": "int64",
    "failed": "string",
}

# One row a GPU and reading; what it does not support is NULL. Flags are 0 or 1. docs/sources/gpu.md has units.
GPU: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "gpu": "string",
    "uuid": "string",
    "pci": "string",
    "model": "string",
    "driver": "string",
    "lost": "int64",
    "busy_ratio": "float64",
    "memory_busy_ratio": "float64",
    "encoder_ratio": "float64",
    "decoder_ratio": "float64",
    "memory_total_bytes": "int64",
    "memory_used_bytes": "int64",
    "memory_free_bytes": "int64",
    "memory_used_ratio": "float64",
    "bar1_used_bytes": "int64",
    "power_w": "float64",
    "power_limit_w": "float64",
    "energy_total_j": "float64",
    "temperature_c": "int64",
    "memory_temperature_c": "int64",
    "slowdown_temperature_c": "int64",
    "fan_ratio": "float64",
    "performance_state": "int64",
    "graphics_clock_mhz": "int64",
    "sm_clock_mhz": "int64",
    "sm_clock_max_mhz": "int64",
    "memory_clock_mhz": "int64",
    "video_clock_mhz": "int64",
    "throttle_reasons": "int64",
    "throttled_idle": "int64",
    "throttled_settings": "int64",
    "throttled_power_cap": "int64",
    "throttled_hw_slowdown": "int64",
    "throttled_sync_boost": "int64",
    "throttled_sw_thermal": "int64",
    "throttled_hw_thermal": "int64",
    "throttled_power_brake": "int64",
    "throttled_display": "int64",
    "ecc_enabled": "int64",
    "ecc_corrected_volatile_total": "int64",
    "ecc_uncorrected_volatile_total": "int64",
    "ecc_corrected_aggregate_total": "int64",
    "ecc_uncorrected_aggregate_total": "int64",
    "retired_pages_sbe_total": "int64",
    "retired_pages_dbe_total": "int64",
    "retired_pages_pending": "int64",
    "remapped_rows_corrected_total": "int64",
    "remapped_rows_uncorrected_total": "int64",
    "remapping_pending": "int64",
    "remapping_failed": "int64",
    "pcie_generation": "int64",
    "pcie_generation_max": "int64",
    "pcie_width": "int64",
    "pcie_width_max": "int64",
    "pcie_received_bytes_per_s": "float64",
    "pcie_sent_bytes_per_s": "float64",
    "pcie_replays_total": "int64",
    "nvlink_crc_flit_errors_total": "int64",
    "nvlink_crc_data_errors_total": "int64",
    "nvlink_replays_total": "int64",
    "nvlink_recoveries_total": "int64",
    "mig_enabled": "int64",
    "processes_count": "int64",
}

GPU_PROCESSES: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "gpu": "string",
    "uuid": "string",
    "pid": "int64",
    "process": "string",
    "kind": "string",
    "memory_used_bytes": "int64",
}

# `ts` is when the kernel wrote it; `gpu`, `uuid` and `model` are NULL where NVML does not know that address.
GPU_XIDS: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "kind": "string",
    "xid": "int64",
    "pci": "string",
    "gpu": "string",
    "uuid": "string",
    "model": "string",
    "pid": "int64",
    "process": "string",
    "message": "string",
    "details": "string",
}

# `ts` is when the request arrived; what was not told is NULL. `in_system`, `active_threads` and
# `long_threads` (of long requests) are what it met at its start; it first got more threads `raised_us` later;
# `explored` is 1 where the degree was drawn; `weight` is how many requests it stands for.
REQUESTS: Final[Schema] = {
    "ts": "int64",
    "host": "string",
    "service": "string",
    "wait_us": "float64",
    "service_us": "float64",
    "predicted_us": "float64",
    "cpu_us": "float64",
    "raised_us": "float64",
    "degree": "int64",
    "degree_final": "int64",
    "in_system": "int64",
    "active_threads": "int64",
    "long_threads": "int64",
    "explored": "int64",
    "weight": "int64",
}

BUILTIN_STREAMS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "hiccups": HICCUPS,
        "host": HOST,
        "host_cpus": HOST_CPUS,
        "host_disks": HOST_DISKS,
        "host_nics": HOST_NICS,
        "api_requests": API_REQUESTS,
        "statsd": STATSD,
        "otlp": OTLP,
        "scrape": SCRAPE,
        "tailwatch_metrics": TAILWATCH_METRICS,
        "tailwatch_targets": TAILWATCH_TARGETS,
        "peer_probes": PEER_PROBES,
        "access_log": ACCESS_LOG,
        "syslog": SYSLOG,
        "job_logs": JOB_LOGS,
        "smart": SMART,
        "smart_attributes": SMART_ATTRIBUTES,
        "gpu": GPU,
        "gpu_processes": GPU_PROCESSES,
        "gpu_xids": GPU_XIDS,
        "requests": REQUESTS,
    }
)
OPEN_STREAMS: Final = frozenset({"statsd", "otlp", "scrape"})


def declared_schema(stream: str, columns: Mapping[str, str]) -> Schema:
    """The schema of a stream for which the configuration declares these columns.

    Raises:
        SchemaError: a built-in stream that is not open, or a column that cannot be.
    """
    if stream not in BUILTIN_STREAMS:
        return stream_schema(dict(columns))
    if stream not in OPEN_STREAMS:
        raise SchemaError(f"{stream} is a built-in stream and keeps its schema; choose another name")
    own = BUILTIN_STREAMS[stream]
    for name, kind in columns.items():
        if name in own:
            raise SchemaError(f"column {name!r}: the stream {stream!r} has it already, as {own[name]}; leave it out")
        if kind != "string":
            raise SchemaError(f"column {name!r} of {stream!r} has type {kind!r}; what is taken from names is string")
        if not is_column_name(name):
            raise SchemaError(f"column name {name!r}: want letters, digits and _, not starting with a digit")
    return {**own, **columns}


def known_streams(declared: Mapping[str, Mapping[str, str]]) -> dict[str, Schema]:
    """All streams: the built-in ones and those that are declared.

    Raises:
        SchemaError: as `declared_schema`.
    """
    return {**BUILTIN_STREAMS, **{stream: declared_schema(stream, columns) for stream, columns in declared.items()}}
