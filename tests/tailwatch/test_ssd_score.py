"""`tailwatch ssd score`: the ranked list of a table's drives, as a table, JSON and CSV."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tailwatch.cli import main
from tests.analytics.ssd.drive_tables import history
from tests.analytics.ssd.stand_in_model import Stand


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    """Five drives: quiet, failing, growing, new, and one whose name a spreadsheet would run."""
    quiet = {"crc_total": [0] * 9}
    parts = [
        history("=QUIET()", **quiet),
        history("BAD", crc_total=[0] * 9, failing=[0] * 8 + [1]),
        history("GROWS", crc_total=[0] * 9, realloc_total=[4] * 8 + [61]),
        history("LIKELY", **quiet),
        history("NEW", crc_total=[0] * 2),
    ]
    path = tmp_path / "drives.parquet"
    pl.concat(parts).sort("drive", "day").write_parquet(path)
    return str(path)


@pytest.fixture
def _model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Stand({"LIKELY": 0.7, "GROWS": 0.3, "BAD": 0.05})
    monkeypatch.setattr("tailwatch.drive_models.model_of", lambda path: model if path else None)


def scored(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["ssd", "score", "--json", *arguments]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_without_a_model_rules_and_wear_rank_and_that_is_said(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ssd", "score", fleet, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{fleet}, 2026-03-01: 5 drives: 1 replace, 1 watch, 2 good, 1 unknown"
    assert lines[1] == "no model: rules and wear alone, no probabilities"
    assert [line.split()[:3] for line in lines[3:]] == [
        ["rank", "drive", "state"],
        ["1", "BAD", "replace"],
        ["2", "GROWS", "watch"],
        ["3", "=QUIET()", "good"],
    ]
    assert lines[5].endswith("sectors break: reallocated sectors 4 -> 61 in 7 days")


@pytest.mark.usefixtures("_model")
def test_with_a_model_the_likely_ones_come_first_with_their_reasons(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = scored(capsys, fleet, "--model", "m", "--top", "0")
    assert [row["drive"] for row in found["ranked"]] == ["LIKELY", "BAD", "GROWS", "=QUIET()", "NEW"]
    likely, bad, _, quiet, new = found["ranked"]
    assert likely["probabilities"] == {"7": 0.35, "30": 0.7}
    assert bad["why"][0] == "smartctl says that the drive is failing"
    assert quiet["probabilities"] == {"7": 0.005, "30": 0.01}
    assert (new["probabilities"], new["why"]) == ({}, ["2 days of history, 7 are wanted"])
    assert found["states"] == {"replace": 2, "watch": 1, "good": 1, "unknown": 1}
    assert found["scored_by"] == {"digest": "sha256:stand", "synthetic": False}
    assert main(["ssd", "score", fleet, "--model", "m", "--top", "1"]) == 0
    shown = capsys.readouterr().out
    assert "35.0%  70.0%" in shown
    assert "by model sha256:stand" in shown


@pytest.mark.usefixtures("_model")
def test_csv_holds_nothing_that_a_spreadsheet_runs(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ssd", "score", fleet, "--model", "m", "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["drive"] for row in rows] == ["LIKELY", "BAD", "GROWS", "'=QUIET()", "NEW"]
    assert (rows[0]["p7"], rows[0]["p30"], rows[4]["p30"]) == ("0.35", "0.7", "")


def test_drives_that_have_failed_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stats.csv"
    rows = ["date,serial_number,model,failure,smart_5_raw"]
    rows += [f"2026-01-{day:02},Z1,ST4000,0,0" for day in range(1, 10)]
    rows += [f"2026-01-{day:02},Z2,ST4000,{int(day == 4)},9" for day in range(1, 5)]
    path.write_text("\n".join(rows), encoding="utf-8")
    found = scored(capsys, str(path))
    assert [row["drive"] for row in found["ranked"]] == ["Z1"]
    assert (found["drives"], found["failed_before"], found["day"]) == (1, 1, "2026-01-09")


def test_made_up_drives_are_called_synthetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drives.parquet"
    history("A", crc_total=[0] * 9, family=["synthetic"] * 9).write_parquet(path)
    assert main(["ssd", "score", str(path)]) == 0
    assert "1 synthetic drive: " in capsys.readouterr().out


def test_a_table_without_rows_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drives.csv"
    path.write_text("drive,day,crc_total\n", encoding="utf-8")
    found = scored(capsys, str(path))
    assert (found["ranked"], found["drives"], found["day"]) == ([], 0, None)


def test_a_table_of_another_form_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert main(["ssd", "score", str(path)]) == 1
    assert "the table has the columns a, b" in capsys.readouterr().err


def test_hard_disks_of_2013_are_ranked_without_crying_wolf(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scored(capsys, str(real_data / "ssd" / "backblaze_2013-04-10_2013-05-19.parquet"), "--top", "50")
    assert found["drives"] == 22_772
    assert found["failed_before"] == 120
    assert found["states"]["replace"] + found["states"]["watch"] < found["drives"] / 50
    assert {row["state"] for row in found["ranked"]} == {"watch"}


def test_failed_drives_count_among_the_neighbours_of_those_that_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[pl.DataFrame] = []

    class Watching(Stand):
        def probabilities(self, features: pl.DataFrame) -> dict[int, Any]:
            seen.append(features)
            return super().probabilities(features)

    monkeypatch.setattr("tailwatch.drive_models.model_of", lambda _: Watching())
    path = tmp_path / "drives.parquet"
    parts = [history(name, crc_total=[0] * 9, node=["rack1-a"] * 9) for name in ("DEAD", "NEIGHBOUR")]
    failure = pl.Series("failure", [0] * 4 + [1] + [0] * 13)  # four days before the newest
    pl.concat(parts).with_columns(failure).write_parquet(path)
    scored(capsys, str(path), "--model", "m")
    assert [(row["drive"], row["failures_on_node_30d"]) for row in seen[0].to_dicts()] == [("NEIGHBOUR", 1.0)]


def test_firmware_stands_beside_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Failures that have a firmware in common are found by it."""
    path = tmp_path / "drives.parquet"
    history("A", crc_total=[0] * 9, firmware=["EXM02B6Q"] * 9).write_parquet(path)
    assert main(["ssd", "score", str(path)]) == 0
    header, line = capsys.readouterr().out.splitlines()[3:]
    assert line[header.index("firmware") :].split()[0] == "EXM02B6Q"
    assert scored(capsys, str(path))["ranked"][0]["firmware"] == "EXM02B6Q"
    assert main(["ssd", "score", str(path), "--csv"]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["firmware"] == "EXM02B6Q"
