"""`tailwatch ssd install|models|promote|export`: through the gate, or past it with a reason that stays."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from analytics.ssd import promotion
from analytics.ssd.calibration import Calibration
from analytics.ssd.card import Card
from analytics.ssd.columns import DAYS
from analytics.ssd.drift import BINS, Profile
from analytics.ssd.feature_names import FEATURES, FEATURES_VERSION
from analytics.ssd.forest import Forest
from analytics.ssd.matrix import Encoding
from analytics.ssd.model import Model
from analytics.ssd.model_file import dump_model, load_model
from analytics.ssd.promotion import Criterion, Verdict
from analytics.ssd.tables import read_file
from store.connect import open_engine, upgrade
from store.drive_actions import record_outcome
from store.drive_days import put_days
from store.drive_models import ModelRow, models
from store.drive_tables import drive_days
from store.drives import DriveSeen, note_drives
from tailwatch.cli import main
from tests.store.drives_world import DAY, DAY_NUMBER, NOW_NS, healthy_fleet

MET, NOT_MET = Criterion(30, "AUCPR not worse", True, "as good"), Criterion(30, "alerts", False, "alarms 9 drives")


@pytest.fixture
def database(database_url: str) -> list[str]:
    upgrade(database_url)
    return ["--set", f"database.url={database_url}"]


def stored(database: list[str]) -> list[ModelRow]:
    engine = open_engine(database[1].partition("=")[2])
    with engine.connect() as connection:
        found = models(connection)
    engine.dispose()
    return found


def model_file(folder: Path, name: str, *, synthetic: bool = False, last_day: str = "2026-06-30") -> str:
    """A model of one leaf, told apart by its name."""
    zero = np.zeros(1, np.int32)
    leaf = {"sizes": zero + 1, "left": zero - 1, "right": zero - 1, "column": zero, "value": np.zeros(1, np.float32)}
    rest = {"unknown_left": np.zeros(1, np.uint8), "cover": np.ones(1, np.float32)}
    n = len(FEATURES)
    model = Model(
        (30,),
        FEATURES_VERSION,
        Encoding(FEATURES, dict.fromkeys(("kind", "vendor", "model"), ())),
        {30: Forest(n + 3, 0.01, **leaf, **rest)},
        {30: Calibration(np.zeros(1), np.full(1, 0.01), "platt")},
        {30: (0.1, 0.5)},
        frozenset({("ata", "Intel")}),
        Profile(FEATURES, np.zeros((n, BINS - 2), np.float32), (), (), np.zeros((0, n, BINS), np.float32)),
        Card("2026-07-01", name, synthetic, "2026-01-01", last_day, 5_000, 900_000, 41, (30,), {}, {}, {}),
    )
    path = folder / f"{name}.model"
    path.write_bytes(dump_model(model))
    return str(path)


def test_models_go_through_the_shadow_and_the_gate(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = model_file(tmp_path, "first"), model_file(tmp_path, "second", last_day="2026-11-05", synthetic=True)
    digests = [load_model(Path(path).read_bytes()).digest for path in (first, second)]
    assert main(["ssd", "models", *database]) == 0
    assert "no models; train one" in capsys.readouterr().out
    assert main(["ssd", "install", first, *database]) == 0
    said = capsys.readouterr().out
    assert f"{digests[0]} is installed as the active model" in said
    assert said.startswith("note: it foretells 30 days; drives, series and alerts show 7 and 30 days, of which 7 days")
    assert main(["ssd", "install", first, *database]) == 0
    assert "is there already as the active model" in capsys.readouterr().out
    assert main(["ssd", "install", second, *database]) == 1
    assert "is active; install this one with --shadow" in capsys.readouterr().err
    assert main(["ssd", "promote", "--on", "x.parquet", *database]) == 1
    assert "no model is in the shadow" in capsys.readouterr().err
    assert main(["ssd", "install", second, "--shadow", *database]) == 0
    assert "\nSYNTHETIC: trained on a generated fleet" in f"\n{capsys.readouterr().out}"
    assert main(["ssd", "promote", *database]) == 1
    assert "days that neither model has seen: give them with --on FILE" in capsys.readouterr().err

    days = tmp_path / "days.parquet"
    pl.concat([healthy_fleet(3, dt.date(2026, 11, number)) for number in (4, 5, 6, 7)]).write_parquet(days)
    asked: list[Any] = []

    def gate(*given: Any) -> Verdict:
        asked.append(given)
        return Verdict((MET,) if len(asked) > 1 else (MET, NOT_MET))

    monkeypatch.setattr(promotion, "judge", gate)
    assert main(["ssd", "promote", "--on", str(days), *database]) == 1
    said = capsys.readouterr()
    assert said.out == "met      30 days  AUCPR not worse: as good\nNOT met  30 days  alerts: alarms 9 drives\n"
    assert said.err == "not promoted: 30 days: alarms 9 drives\n"
    assert [row.role for row in stored(database)] == ["active", "shadow"]
    candidate, current, all_days, features, failures = asked[0]
    assert (candidate.digest, current.digest, all_days.height, failures.height) == (digests[1], digests[0], 12, 0)
    assert features["day"].unique().to_list() == [dt.date(2026, 11, 6), dt.date(2026, 11, 7)], "after both trainings"
    assert main(["ssd", "promote", "--on", str(days), *database]) == 0
    assert f"{digests[1]} is the active model now; {digests[0]} is retired" in capsys.readouterr().out
    active, retired = stored(database)
    assert (active.digest, active.note) == (digests[1], "the gate's 1 criteria are met on days.parquet")
    assert (retired.digest, retired.role) == (digests[0], "retired")
    assert main(["ssd", "models", *database]) == 0
    assert "second (synthetic), to 2026-11-05" in capsys.readouterr().out
    assert main(["ssd", "models", "--output", "json", *database]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert [(one["role"], one["synthetic"], one["card"]["failures"]) for one in listed] == [
        ("active", True, 41),
        ("retired", False, 41),
    ]


def test_whoever_goes_past_the_gate_says_why_and_it_stays(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["ssd", "install", model_file(tmp_path, "first"), "--shadow", *database])
    assert main(["ssd", "promote", "--force", *database]) == 1
    assert "say why, with --because TEXT" in capsys.readouterr().err
    assert main(["ssd", "promote", "--force", "--because", "the only one", *database]) == 0
    assert [(row.role, row.note) for row in stored(database)] == [("active", "forced without the gate: the only one")]
    main(["ssd", "install", model_file(tmp_path, "second"), "--shadow", *database])
    monkeypatch.setattr(promotion, "judge", lambda *_: Verdict((NOT_MET,)))
    days = tmp_path / "days.parquet"
    healthy_fleet(3, DAY).write_parquet(days)
    assert main(["ssd", "promote", "--on", str(days), "--force", "--because", "audit", *database]) == 0
    assert stored(database)[0].note == "forced past the gate: audit (on days.parquet: 30 days: alarms 9 drives)"


def test_a_shadow_judged_beside_a_model_that_is_no_longer_active_is_not_promoted(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = tmp_path / "days.parquet"
    healthy_fleet(3, DAY).write_parquet(days)
    main(["ssd", "install", model_file(tmp_path, "first"), "--shadow", *database])

    def gate_while_somebody_else_promotes(*_: Any) -> Verdict:
        assert main(["ssd", "promote", "--force", "--because", "in a hurry", *database]) == 0
        main(["ssd", "install", model_file(tmp_path, "second"), "--shadow", *database])
        return Verdict((MET,))

    monkeypatch.setattr(promotion, "judge", gate_while_somebody_else_promotes)
    assert main(["ssd", "promote", "--on", str(days), *database]) == 1
    assert "another model became active meanwhile" in capsys.readouterr().err
    assert [(row.role, row.card["origin"]) for row in stored(database)] == [("active", "first"), ("shadow", "second")]


def test_the_gate_itself_refuses_what_is_not_enough_to_judge_by(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["ssd", "install", model_file(tmp_path, "first"), "--shadow", *database])
    days = tmp_path / "days.parquet"
    fleet = [healthy_fleet(3, dt.date(2026, 6, 30) + dt.timedelta(days=number)) for number in range(40)]
    fleet[0].write_parquet(days)
    assert main(["ssd", "promote", "--on", str(days), *database]) == 1
    assert "has no day after 2026-06-30" in capsys.readouterr().err
    pl.concat(fleet).write_parquet(days)
    assert main(["ssd", "promote", "--on", str(days), *database]) == 1
    assert "0 failed drives in" in capsys.readouterr().err
    assert [row.role for row in stored(database)] == ["shadow"]


def test_bytes_that_are_no_model_are_not_installed(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.model"
    path.write_bytes(b"PICKLE")
    assert main(["ssd", "install", str(path), *database]) == 1
    assert f"{path}: no model of drives: it begins with" in capsys.readouterr().err
    assert main(["ssd", "install", str(tmp_path / "none.model"), *database]) == 1
    assert stored(database) == []


def test_what_is_exported_is_what_training_reads(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = healthy_fleet(1_100, DAY)
    by_family, by_row = fleet["drive"][8], fleet["drive"][1_095]  # made up, as the family or only the database says
    fleet = fleet.with_columns(family=pl.when(pl.col("drive") == by_family).then(pl.lit("synthetic")))
    days = pl.concat([fleet, fleet[1_090:].with_columns(day=pl.lit(DAY + dt.timedelta(days=1)))])
    engine = open_engine(database[1].partition("=")[2], immediate=True)
    with engine.begin() as connection:
        seen = [DriveSeen(name, DAY_NUMBER, "n", model="A1", synthetic=name == by_row) for name in fleet["drive"]]
        numbers = note_drives(connection, seen)
        put_days(connection, days, numbers)
        record_outcome(connection, numbers[fleet["drive"][3]], "failed", DAY_NUMBER, "me", NOW_NS)
        record_outcome(connection, numbers[fleet["drive"][1_099]], "failed", DAY_NUMBER + 9, "me", NOW_NS)
        record_outcome(connection, numbers[fleet["drive"][5]], "replaced_healthy", DAY_NUMBER, "me", NOW_NS)
    engine.dispose()
    path = tmp_path / "drives.parquet"
    path.write_bytes(b"an older one")
    assert main(["ssd", "export", str(path), *database]) == 0
    assert capsys.readouterr().out == (
        f"wrote {path}: 1,110 drive-days of 1,100 drives, 2 failed; 2 drives are SYNTHETIC: made up by a generator\n"
    )
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []
    found, failures = read_file(path)
    dead = (pl.col("drive") == fleet["drive"][1_099]) & (pl.col("readings") == 0)
    made_up = pl.when(pl.col("drive") == by_row).then(pl.lit("synthetic")).otherwise("family")
    assert found.filter(~dead).equals(days.select(DAYS.keys()).with_columns(family=made_up).sort("drive", "day"))
    marked = pl.read_parquet(path).filter("synthetic")
    assert marked["drive"].unique().sort().to_list() == sorted([by_family, by_row])
    assert found.filter(dead).select("day", "node", "model", "temperature_c").rows() == [
        (DAY + dt.timedelta(days=9), "n", "A1", None)
    ]
    assert failures.rows() == [(fleet["drive"][3], DAY), (fleet["drive"][1_099], DAY + dt.timedelta(days=9))]
    assert main(["ssd", "export", str(tmp_path / "drives.csv"), *database]) == 1
    assert "its name ends in .csv; .parquet is wanted" in capsys.readouterr().err
    assert main(["ssd", "export", str(tmp_path / "none" / "drives.parquet"), *database]) == 1
    assert "none/drives.parquet cannot be written: No such file" in capsys.readouterr().err
    engine = open_engine(database[1].partition("=")[2])
    with engine.begin() as connection:
        connection.execute(sa.update(drive_days).where(drive_days.c.chunk == 1).values(data=b"damaged"))
    engine.dispose()
    written = path.read_bytes()
    assert main(["ssd", "export", str(path), *database]) == 1
    assert "a blob of drives starts with '64'" in capsys.readouterr().err
    assert path.read_bytes() == written, "what stood there is whole"
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []
