"""The benchmarks of sources: the quick run as a user starts it, and the parts that decide what its numbers mean."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.sources.streams import ACCESS_LOG
from benchmarks import documented
from benchmarks.sources import statsd
from benchmarks.sources.__main__ import TABLES
from benchmarks.sources.goals import TARGETS
from benchmarks.sources.logs import OURS, _candidate, _exact, _written, access_lines, access_plan, ours
from benchmarks.sources.scrape import _by_their_openmetrics, _by_their_text, _page, _parsed

ROOT = Path(__file__).resolve().parents[2]
TARGET_LINE = re.compile(r"TARGET (sources\.\w+) (reached|missed) (nan|[0-9.]+) goal(>=|<=)([0-9.e+]+)")

# As the issue names them.
WANTED = {
    "sources.log_mb_per_s": ">=100",
    "sources.dogstatsd_lines_per_s": ">=150000",
    "sources.otlp_points_per_s": ">=60000",
}


@pytest.mark.system
def test_the_quick_run_gives_every_target_once_and_a_result_file(tmp_path: Path) -> None:
    out = tmp_path / "sources.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sources", "--out", str(out)],
        cwd=ROOT, env=os.environ | {"QUICK": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("TARGET")]
    matches = [TARGET_LINE.fullmatch(line) for line in lines]
    assert {m[1]: f"{m[4]}{m[5]}" for m in matches if m} == WANTED
    assert len(lines) == len(WANTED)
    assert "nan" not in "".join(lines), done.stdout[-3000:]
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["quick"] is True
    for name, ours_is in (("logs", OURS), ("statsd", statsd.OURS)):
        (table,) = (table for table in content["tables"] if table["name"] == name)
        peers = {row["who"]: row["state"] for row in table["rows"]}
        assert peers.pop(ours_is) == ""
        assert {who: state for who, state in peers.items() if state and "not installed" not in state} == {}


def test_the_targets_are_those_of_the_issue() -> None:
    assert {target.id: f"{target.sense}{target.goal:g}" for target in TARGETS} == WANTED


def test_whoever_gives_another_p99_than_the_file_has_no_number(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.log", list(access_lines(500)))
    exact = _exact(path)
    answer, source = ours(path, access_plan(), ACCESS_LOG, pattern="access")
    assert {status: count for status, (count, _) in answer.items()} == {s: count for s, (count, _) in exact.items()}
    assert source.counters()["records"] == 500
    _candidate(path, lambda _: answer).run(None)
    wrong = {status: (count, p99 * 1.01) for status, (count, p99) in answer.items()}
    for false in (wrong, dict(list(answer.items())[1:])):
        with pytest.raises(AssertionError, match="wanted"):
            _candidate(path, lambda _, false=false: false).run(None)


def test_whoever_misses_a_line_of_statsd_or_has_another_p99_has_no_number(tmp_path: Path) -> None:
    lines = list(statsd.statsd_lines(500))
    work = statsd.Work.of(tmp_path / "lines", lines)
    assert (tmp_path / "lines").read_text().splitlines() == lines
    assert sum(count for count, _ in work.exact.values()) == work.count == 500
    work.check(work.exact)
    first, *rest = work.exact.items()
    for wrong in ((first[0], (first[1][0], first[1][1] * 1.01)), (first[0], (first[1][0] - 1, first[1][1]))):
        with pytest.raises(AssertionError, match="wanted"):
            work.check(dict([wrong, *rest]))
    with pytest.raises(AssertionError, match="services"):
        work.check(dict(rest))


@pytest.mark.parametrize("openmetrics", [False, True])
def test_pages_of_metrics_are_such_as_the_library_for_python_reads(openmetrics: bool) -> None:
    data = _page(480, 1, openmetrics=openmetrics)
    read = _by_their_openmetrics if openmetrics else _by_their_text
    read(data, 480)
    _parsed(_page(480, 1, openmetrics=False), 480)
    with pytest.raises(AssertionError, match="480 samples, wanted 481"):
        read(data, 481)


def test_the_page_names_every_table_and_target() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = documented.marks("sources")
    written = text.partition(begin)[0] + text.partition(end)[2]  # by hand, not by the last run
    for name in (*TABLES, *WANTED):
        assert f"`{name}`" in written, name
