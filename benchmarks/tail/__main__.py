"""Command line of the benchmarks of adaptive parallelism."""

import sys

from benchmarks.area import Area
from benchmarks.tail.goals import TARGETS
from benchmarks.tail.sizing import FULL, QUICK

TABLES = ("policies", "simulating", "asking", "telling", "serving")
PACKAGES = ("numpy", "numba", "scipy", "simpy")
main = Area("tail", "Benchmarks of adaptive parallelism", TABLES, PACKAGES, TARGETS, FULL, QUICK).main

if __name__ == "__main__":
    sys.exit(main())
