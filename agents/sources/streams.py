"""The streams an agent knows without being told: their columns and types, `ts` and `host` first.

`api_requests` is fed by the API through a `datagrams` source; the others by the source of their name.
"""

from types import MappingProxyType
from typing import Final

from pipeline.schema import Schema

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

BUILTIN_STREAMS: Final = MappingProxyType(
    {
        "hiccups": HICCUPS,
        "host": HOST,
        "host_cpus": HOST_CPUS,
        "host_disks": HOST_DISKS,
        "host_nics": HOST_NICS,
        "api_requests": API_REQUESTS,
    }
)
