"""docs/reference/queries.md names everything a query may use, and its examples are queries."""

import re
from pathlib import Path

import pytest

from pipeline.plan import FUNCTIONS, UNIT_SUFFIXES
from pipeline.sql import compile_query
from pipeline.sql_functions import FUNCTION_NAMES
from pipeline.sql_groups import RESERVED_LABELS
from tests.pipeline.probes import SCHEMAS, TABLES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "queries.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [*FUNCTION_NAMES, *FUNCTIONS, *(f"_{unit}" for unit in UNIT_SUFFIXES), *RESERVED_LABELS]
)
def test_the_reference_names_everything_a_query_may_use(name):
    assert re.search(rf"`[^`]*(?<![A-Za-z]){re.escape(name)}\b[^`]*`", PAGE), f"{name} is missing from the reference"


def test_the_examples_of_the_reference_compile():
    schemas = {**SCHEMAS, "logs": {"line": "string", "place": "int64"}}
    plans = [compile_query("x", sql, schemas, TABLES) for sql in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)]
    assert [metric.name for plan in plans for metric in plan.metrics] == [
        "probe_rtt_us", "probes", "app_error_lines", "app_last_lines", "app_lines_total", "stat_ms",
    ]  # fmt: skip
