"""The streams that the job on GPU failures makes itself: what failed and why, nodes, and how much stays unexplained.

`origin` (job_streams.py) is "synthetic" where the attempts were reported as made up.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.schema import Schema

#: One row a failed attempt, at the time of its failure. `category` and `reason` are "unknown" where none was sure
#: enough, `lost_gpu_s` is NULL where nobody told how many GPUs it had and since when. `failures` is 1.
GPU_FAILURES: Final[Schema] = {
    "ts": "int64",
    "category": "string",
    "reason": "string",
    "user": "string",
    "node": "string",
    "origin": "string",
    "failures": "int64",
    "lost_gpu_s": "float64",
}
#: One row a node and five minutes: what the newest test of all nodes said of it. `stands_out` is 0 or 1.
GPU_NODE_TESTS: Final[Schema] = {
    "ts": "int64",
    "node": "string",
    "origin": "string",
    "failures": "int64",
    "expected": "float64",
    "ratio": "float64",
    "stands_out": "int64",
}
#: One row an origin and five minutes: attempts that failed in the 24 hours before, and those whose cause is not known.
GPU_EXPLAINED: Final[Schema] = {
    "ts": "int64",
    "origin": "string",
    "failures": "int64",
    "unexplained": "int64",
    "unexplained_ratio": "float64",
}

GPU_STREAMS: Final[Mapping[str, Schema]] = MappingProxyType(
    {"gpu_failures": GPU_FAILURES, "gpu_node_tests": GPU_NODE_TESTS, "gpu_explained": GPU_EXPLAINED}
)
