"""The agent loads this package on every server, so it must not bring anything heavy along."""

import subprocess
import sys

HEAVY = ("pyarrow", "pandas", "numba", "sqlalchemy", "fastapi", "xgboost", "alembic")


def test_running_a_query_loads_nothing_heavy():
    program = f"""
import sys
import polars as pl
from pipeline.sql import compile_query
from pipeline.chain import Chain
from pipeline.manifest import Manifest
from pipeline.partial import Partial
sql = "SELECT host, sketch(late_ns) AS late_ns FROM hiccups GROUP BY TUMBLE(ts, INTERVAL '1' SECOND), host"
plan = compile_query("q", sql, {{"hiccups": {{"late_ns": "int64"}}}}, {{}})
partial = Chain(plan, {{}}).finish(pl.DataFrame({{"ts": [1, 2], "host": ["a", "a"], "late_ns": [3, 4]}}), 0)
assert Partial.from_frame(plan, partial.to_frame()).states["late_ns"].to_bodies()
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
