"""The API's benchmarks: the quick run as a user starts it, and the parts that decide what its numbers mean."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import documented
from benchmarks.api.__main__ import TABLES
from benchmarks.api.goals import TARGETS
from benchmarks.api.sizing import QUICK
from benchmarks.api.telemetry import grid_content, large_content
from benchmarks.api.turns import Times, in_turns

ROOT = Path(__file__).resolve().parents[2]
TARGET_LINE = re.compile(r"TARGET ((?:api|promql)\.\w+) (reached|missed) (nan|[0-9.]+) goal(>=|<=)([0-9.e+]+)")

WANTED = {
    "api.p99_30000_sketches_ms": "<=60",
    "api.vs_prometheus_schema6": ">=20",
    "api.vs_prometheus_schema3": ">=5",
    "api.one_series_1h_ms": "<=6",
    "api.cached_ms": "<=1.5",
    "api.small_queries_per_s": ">=1500",
    "promql.differential_agreement": ">=0.98",
}
# Whether these are measured depends on what is installed.
OF_OTHERS = ("api.vs_prometheus", "promql.")


@pytest.mark.system
def test_the_quick_run_gives_every_target_once_and_a_result_file(tmp_path: Path) -> None:
    out = tmp_path / "api.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.api", "--out", str(out)],
        cwd=ROOT, env=os.environ | {"QUICK": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("TARGET")]
    matches = [TARGET_LINE.fullmatch(line) for line in lines]
    assert None not in matches, lines
    assert {m[1]: f"{m[4]}{m[5]}" for m in matches if m} == WANTED
    assert len(lines) == len(WANTED)
    ours = [line for line in lines if not line.split()[1].startswith(OF_OTHERS)]
    assert "nan" not in "".join(ours), done.stdout[-3000:]
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["quick"] is True
    assert [target["line"] for target in content["targets"]] == lines
    rows = [row for table in content["tables"] for row in table["rows"] if "SQLite" in str(row.get("who"))]
    errors = [row["error"] for row in rows if row.get("error") is not None]
    assert len(errors) > 4
    assert max(errors) <= 0.5416


def test_the_targets_are_those_of_the_issue() -> None:
    assert {target.id: f"{target.sense}{target.goal:g}" for target in TARGETS} == WANTED


def test_the_exact_p99_is_the_value_at_the_nearest_rank_of_all_values() -> None:
    content = large_content(QUICK)
    windows = range(2, 7)
    values = np.sort(content.values[2:7].reshape(-1))
    assert content.exact(0.99, windows) == values[int(np.ceil(0.99 * values.size)) - 1]


def test_a_grid_repeats_one_hour_of_minutes() -> None:
    content = grid_content(QUICK, 2)
    assert content.values.shape == (60, 2, 100)
    assert content.windows == 60 * QUICK.grid_hours + 30
    assert content.exact(0.5, range(60, 120)) == content.exact(0.5, range(60))


def test_whoever_is_slow_leaves_after_three_rounds() -> None:
    asked = {"slow": 0, "fast": 0}

    def ask(name: str) -> float:
        asked[name] += 1
        return 1.0

    clock = iter(float(at) for at in range(1000))
    found = in_turns({"slow": lambda: ask("slow"), "fast": lambda: ask("fast")}, 2, lambda: next(clock))
    assert (len(found["slow"].ms), len(found["fast"].ms)) == (2, 2)
    found = in_turns({"slow": lambda: ask("slow")}, 9, lambda: next(clock) * 2)
    assert len(found["slow"].ms) == 3


def test_the_p99_of_few_times_is_the_slowest() -> None:
    assert Times([3.0, 1.0, 2.0]).p99 == 3.0
    assert Times([float(n) for n in range(1, 201)]).p99 == 198.0


def test_the_page_names_every_table_and_target() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = documented.marks("api")
    written = text.partition(begin)[0] + text.partition(end)[2]  # by hand, not by the last run
    for name in (*TABLES, *WANTED):
        assert f"`{name}`" in written, name
