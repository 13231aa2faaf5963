"""Command line of the benchmarks of drives."""

import os
import sys

# Before any library counts the cores: rates are per core, and waiting threads of OpenMP would count as work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.area import Area
from benchmarks.ssd.goals import TARGETS
from benchmarks.ssd.sizing import FULL, QUICK

TABLES = ("disks", "synthetic", "rates", "million")
PACKAGES = ("numpy", "polars", "scikit-learn", "xgboost-cpu")
main = Area("ssd", "Benchmarks of drives that will fail", TABLES, PACKAGES, TARGETS, FULL, QUICK).main

if __name__ == "__main__":
    sys.exit(main())
