"""Command line of the benchmarks of adaptive partitioning."""

import logging
import sys

from benchmarks.area import Area
from benchmarks.jarvis.goals import TARGETS
from benchmarks.jarvis.sizing import FULL, QUICK

TABLES = ("budgets", "free_draining", "throughput", "collectors", "steps", "overhead", "chain")
PACKAGES = ("matplotlib", "numpy", "polars", "zstandard")
main = Area(
    "jarvis", "Benchmarks of adaptive partitioning", TABLES, PACKAGES, TARGETS, FULL, QUICK, pictures="plots",
    findings="findings",
).main  # fmt: skip

if __name__ == "__main__":
    # Budgets that no split keeps are part of the benchmark; that the breaker opens there is no news.
    logging.getLogger("agents").setLevel(logging.ERROR)
    sys.exit(main())
