"""Command line of the benchmarks of adaptive partitioning."""

import sys

from benchmarks.area import Area
from benchmarks.jarvis.goals import TARGETS
from benchmarks.jarvis.sizing import FULL, QUICK

TABLES = ("budgets", "free_draining", "throughput", "collectors", "steps", "overhead", "chain")
PACKAGES = ("matplotlib", "numpy", "polars", "zstandard")
main = Area(
    "jarvis", "Benchmarks of adaptive partitioning", TABLES, PACKAGES, TARGETS, FULL, QUICK, pictures="plots"
).main

if __name__ == "__main__":
    sys.exit(main())
