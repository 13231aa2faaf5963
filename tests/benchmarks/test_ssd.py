"""The benchmarks of drives: the quick run as a user starts it, and the parts that decide what its numbers mean."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analytics.ssd.features import features
from analytics.ssd.fleet import simulate
from analytics.ssd.fleet_parameters import FleetParameters
from benchmarks import documented
from benchmarks.ssd import rates, synthetic
from benchmarks.ssd.__main__ import TABLES
from benchmarks.ssd.data import REAL_VARIABLE, real_disks, real_symptoms
from benchmarks.ssd.goals import TARGETS

ROOT = Path(__file__).resolve().parents[2]
TARGET_LINE = re.compile(r"TARGET (ssd\.\w+) (reached|missed) (nan|-?[0-9.]+) goal(>=|<=)([0-9.e+]+)")

# As the issue names them; "above 0" is a thousandth at least, "inside the interval" is 1.
WANTED = {
    "ssd.hdd10_aucpr": ">=0.22",
    "ssd.recall_over_rule_at_equal_fpr": ">=0.001",
    "ssd.synthetic30_aucpr": ">=0.3",
    "ssd.calibration": ">=1",
    "ssd.features_rows_per_s": ">=500000",
    "ssd.scoring_drives_per_s": ">=1e+06",
}
OF_REAL_DATA = {"ssd.hdd10_aucpr", "ssd.recall_over_rule_at_equal_fpr", "ssd.synthetic30_aucpr"}


@pytest.mark.system
def test_the_quick_run_gives_every_target_once_and_a_result_file(tmp_path: Path) -> None:
    out = tmp_path / "ssd.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ssd", "--out", str(out)],
        cwd=ROOT, env=os.environ | {"QUICK": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("TARGET")]
    matches = {m[1]: m for line in lines if (m := TARGET_LINE.fullmatch(line))}
    assert {name: f"{m[4]}{m[5]}" for name, m in matches.items()} == WANTED
    assert len(lines) == len(WANTED)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["quick"] is True
    assert {table["name"] for table in content["tables"]} == set(TABLES)
    without = {target["id"]: target["remark"] for target in content["targets"] if target["value"] is None}
    assert set(without) <= OF_REAL_DATA
    assert all(f"skipped: {REAL_VARIABLE} names no folder with" in remark for remark in without.values())
    (table,) = (table for table in content["tables"] if table["name"] == "rates")
    assert {row["who"]: row["state"] for row in table["rows"] if row.get("state")} == {}


def test_the_targets_are_those_of_the_issue() -> None:
    assert {target.id: f"{target.sense}{target.goal:g}" for target in TARGETS} == WANTED


def test_without_real_data_the_reason_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(REAL_VARIABLE, str(tmp_path))
    disks, why = real_disks(1)
    assert disks is None
    assert why == f"skipped: {REAL_VARIABLE} names no folder with ssd/backblaze_2013-04-10_2013-05-19.parquet"
    symptoms, why = real_symptoms()
    assert not symptoms.real
    assert why.endswith("ssd/ssd_failure_tag.csv.gz")


def test_both_peers_find_our_growth_and_another_growth_has_no_number() -> None:
    fleet = simulate(replace(FleetParameters(), drives=80), 2)
    wanted = features(fleet.days)
    for peer in (rates.by_loop, rates.by_joins):
        found = peer(fleet.days)
        rates._same(found, wanted)
        assert (found["realloc_growth_30d"] > 0).any()
        wrong = found.with_columns(realloc_growth_7d=pl.col("realloc_growth_7d") + 0.1)
        with pytest.raises(AssertionError, match="realloc_growth_7d"):
            rates._same(wrong, wanted)


def test_drives_of_the_test_are_scored_by_models_that_saw_neither_them_nor_their_days(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parameters = replace(FleetParameters(), drives=400)
    fleet = simulate(parameters, 6)
    material = synthetic._examples(fleet)
    start = int(material.day.min()) - parameters.first_snapshot
    scored: list[int] = []

    def spied(given: synthetic.Examples, training: synthetic.Rows, seed: int) -> object:
        assert given.day[training].max() - start <= 222
        seen = set(given.keys["node"].gather(training))

        def score(rows: synthetic.Rows) -> np.ndarray:
            assert seen.isdisjoint(given.keys["node"].gather(rows))
            days = given.day[rows] - start
            assert days.min() > 252
            assert days.max() <= 390
            scored.extend(rows.tolist())
            return given.positive[rows].astype(float)  # who knows everything

        return score

    monkeypatch.setattr(synthetic, "_ours", spied)
    found = synthetic._measured(synthetic.OURS, material, parameters, 1)
    assert found["aucpr"] == pytest.approx(1.0)
    days = material.day - start
    assert len(scored) == len(set(scored)) == ((days > 252) & (days <= 390)).sum()
    assert 0 < synthetic._measured(synthetic.RULE, material, parameters, 1)["aucpr"] < 0.6


def test_the_page_names_every_table_and_target() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = documented.marks("ssd")
    written = text.partition(begin)[0] + text.partition(end)[2]  # by hand, not by the last run
    for name in (*TABLES, *WANTED):
        assert f"`{name}`" in written, name
