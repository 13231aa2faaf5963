"""The streams that jobs of collectors make themselves, as records that queries read like any others.

No agent has them: an agent leaves out the queries on streams that none of its sources feeds. Read by whoever compiles
queries, agents too, so nothing of the store may be imported here. Every stream has `origin`: "measured", or "synthetic"
where a generator made up what the record is about (the demo): nobody shall take one for the other.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from collector.jobs.drive_streams import DRIVE_STREAMS
from collector.jobs.gpu_streams import GPU_STREAMS
from collector.jobs.tail_streams import TAIL_STREAMS
from pipeline.schema import Schema

MEASURED: Final = "measured"
SYNTHETIC: Final = "synthetic"

COLLECTOR_STREAMS: Final[Mapping[str, Schema]] = MappingProxyType({**DRIVE_STREAMS, **GPU_STREAMS, **TAIL_STREAMS})
