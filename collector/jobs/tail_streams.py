"""The streams that the job on services makes itself: minutes of their requests, causes of slow ones, alerts.

`origin` (job_streams.py) is "synthetic" where the service was said to be made up.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.schema import Schema

#: One row a service and minute, at its beginning, once it has settled. `slow`, `target_us` and `promise` are NULL where
#: the service has no objective; `load` is the work that came by what the hardware threads could do, `mean_share` what
#: part of a hardware thread a running thread had.
SERVICE_MINUTES: Final[Schema] = {
    "ts": "int64",
    "service": "string",
    "origin": "string",
    "requests": "int64",
    "slow": "int64",
    "corrected": "int64",
    "long": "int64",
    "long_missed": "int64",
    "latency_us": "float64",
    "p99_us": "float64",
    "load": "float64",
    "mean_share": "float64",
    "target_us": "float64",
    "promise": "float64",
}
#: One row a service, minute and cause of slow requests, where causes are known.
SERVICE_CAUSES: Final[Schema] = {
    "ts": "int64",
    "service": "string",
    "origin": "string",
    "cause": "string",
    "slow": "int64",
}
#: One row a service, alert and five minutes; `firing` is 0 or 1.
SERVICE_ALERTS: Final[Schema] = {
    "ts": "int64",
    "service": "string",
    "origin": "string",
    "alert": "string",
    "severity": "string",
    "firing": "int64",
}

TAIL_STREAMS: Final[Mapping[str, Schema]] = MappingProxyType(
    {"service_minutes": SERVICE_MINUTES, "service_causes": SERVICE_CAUSES, "service_alerts": SERVICE_ALERTS}
)
