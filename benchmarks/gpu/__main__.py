"""Command line of the benchmarks of GPU jobs."""

import sys

from benchmarks.area import Area
from benchmarks.gpu.goals import TARGETS
from benchmarks.gpu.sizing import FULL, QUICK

TABLES = ("reading", "telling", "passing", "retrying", "keeping")
PACKAGES = ("numpy", "google-re2", "drain3", "scikit-learn")
main = Area("gpu", "Benchmarks of GPU jobs' failures", TABLES, PACKAGES, TARGETS, FULL, QUICK).main

if __name__ == "__main__":
    sys.exit(main())
