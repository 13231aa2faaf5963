"""The demo's made-up drives: there when the job looks, called synthetic everywhere, and the same ones tomorrow."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.config import CollectorConfig
from collector.jobs.config import DrivesConfig, JobsConfig
from collector.jobs.drives import DriveRounds
from store.connect import open_engine, upgrade
from store.drive_models import in_role
from tailwatch import demo_drives
from tailwatch.cli import main
from tailwatch.demo_drives import drives_line, plant_drives
from tailwatch.demo_report import Summary, summary_text

DAY_NS = 86_400 * 10**9


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    found = open_engine(url)
    yield found
    found.dispose()


def score(engine: sa.Engine, now_ns: int) -> None:
    rounds = DriveRounds(CollectorConfig(jobs=JobsConfig(drives=DrivesConfig(cpu_share=1))), engine, "tester")
    assert rounds.tick(now_ns)
    rounds.leave()


def all_of(engine: sa.Engine, columns: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(f"SELECT {columns} FROM drives ORDER BY drive"))]


def test_made_up_drives_are_judged_by_a_made_up_model_and_all_of_it_says_so(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_drives, "_TRAINING_DRIVES", 3_000)
    said: list[str] = []
    now_ns = time.time_ns()
    plant_drives(engine, 60, now_ns, said.append)
    assert len(said) == 2
    assert all("synthetic" in text for text in said)
    with engine.connect() as connection:
        model = in_role(connection, "active")
    assert model is not None
    assert model.card["synthetic"] is True
    score(engine, now_ns)
    found = all_of(engine, "drive, node, rack, family, synthetic, model_synthetic, p30, state")
    assert 50 < len(found) <= 60
    assert all(str(text).startswith("synthetic") for row in found for text in row[:4])
    assert all(row[4] for row in found)
    assert [row for row in found if row[6] is not None and row[5]]
    with engine.connect() as connection:
        origins = connection.execute(sa.text("SELECT labels FROM series WHERE labels LIKE '%origin%'")).scalars()
        assert all('"origin":"synthetic"' in labels for labels in origins)
    assert drives_line(engine).startswith(f"{len(found)} synthetic: ")
    # Started again two days later: the same drives, heard of today, and no second model.
    plant_drives(engine, 60, now_ns + 2 * DAY_NS, said.append)
    assert len(said) == 3
    score(engine, now_ns + 2 * DAY_NS)
    assert {row[0] for row in found} <= {row[0] for row in all_of(engine, "drive")}
    assert any(row[0] != -1 for row in all_of(engine, "state"))


def test_without_the_libraries_there_are_drives_and_no_model(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_drives, "_TRAINING_DRIVES", 200)
    monkeypatch.setitem(sys.modules, "xgboost", None)
    said: list[str] = []
    now_ns = time.time_ns()
    plant_drives(engine, 100, now_ns, said.append)
    assert said[0] == (
        "making 100 synthetic drives, which fail 20 times as often as drives do, so that there is something to see"
    )
    assert said[-1].startswith("no model: ")
    score(engine, now_ns)
    found = all_of(engine, "state, last_day")
    assert {row[0] for row in found} == {-1, 0, 1, 2}, "even a small demo shows every state"
    assert len(found) == 100
    assert max(row[1] for row in found) == now_ns // DAY_NS, "what is to come is not told"
    with engine.connect() as connection:
        assert in_role(connection, "active") is None


def test_a_database_without_drives_has_no_line(engine: sa.Engine) -> None:
    assert drives_line(engine) == ""
    summary = Summary({"records": 1, "windows": 1, "bytes": 1}, None, 2.0)
    assert "drives" not in summary_text(summary)
    assert "3 synthetic: 3 good" in summary_text(summary, "3 synthetic: 3 good")


@pytest.mark.parametrize("number", ["-1", "20001", "many"])
def test_a_number_of_drives_that_no_demo_has_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--drives", number])
    assert ended.value.code == 2
    assert "whole number from 0 to 20000" in capsys.readouterr().err
