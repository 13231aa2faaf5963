"""The streams that the scoring job makes itself: what it says of drives, as records that queries read like any others.

`origin` (job_streams.py) is "synthetic" where a generator made the drive up, or the model learned from such drives.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.schema import Schema

#: One row a drive. `state` as analytics.ssd.verdicts.State numbers it; what is not known is NULL.
DRIVE_VERDICTS: Final[Schema] = {
    "ts": "int64",
    "drive": "string",
    "node": "string",
    "rack": "string",
    "model": "string",
    "kind": "string",
    "origin": "string",
    "state": "int64",
    "probability_7d": "float64",
    "probability_30d": "float64",
    "wear_used_ratio": "float64",
}
#: One row a state and model: how many drives are in it. `state` in words.
DRIVE_COUNTS: Final[Schema] = {
    "ts": "int64",
    "state": "string",
    "model": "string",
    "origin": "string",
    "drives": "int64",
}

DRIVE_STREAMS: Final[Mapping[str, Schema]] = MappingProxyType(
    {"drive_verdicts": DRIVE_VERDICTS, "drive_counts": DRIVE_COUNTS}
)
