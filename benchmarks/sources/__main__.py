"""Command line of the sources' benchmarks. Each module in TABLES is one source."""

import sys

from benchmarks.area import Area
from benchmarks.sources.goals import TARGETS
from benchmarks.sources.sizing import FULL, QUICK

TABLES = ("logs", "statsd", "otlp", "scrape")
PACKAGES = ("duckdb", "msgspec", "numpy", "opentelemetry-proto", "polars", "prometheus-client", "pygtail")
main = Area("sources", "Benchmarks of sources", TABLES, PACKAGES, TARGETS, FULL, QUICK).main

if __name__ == "__main__":
    sys.exit(main())
