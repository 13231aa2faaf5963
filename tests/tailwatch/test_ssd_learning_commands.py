"""`tailwatch ssd train` and `tailwatch ssd evaluate`."""

import argparse
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analytics.ssd import evaluation, fitting, training
from analytics.ssd.model_file import load_model
from tailwatch.cli import main
from tailwatch.commands import ssd_train

pytest.importorskip("xgboost")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small trees and few draws: what is tested here are the commands."""
    recipe = training.Recipe(trees=8, side_by_side=1, keep_1_in=2, least_child_weight=1.0, learning_rate=0.3)
    monkeypatch.setattr(evaluation, "ROW_DRAWS", 5)
    monkeypatch.setattr(fitting.train, "__kwdefaults__", {**fitting.train.__kwdefaults__, "recipe": recipe})
    monkeypatch.setattr(
        evaluation.Protocol,
        "__init__",
        lambda self, seeds=1, folds=3, *_: [
            object.__setattr__(self, name, value)
            for name, value in {
                "seeds": seeds, "folds": folds, "recipe": recipe, "drive_draws": 10, "row_draws": 5
            }.items()
        ]
        and None,
    )  # fmt: skip


def _statistics(drives: int = 240, family: str | None = None) -> pl.DataFrame:
    """Drive-days over seven weeks, some of whose drives reallocate sectors and then fail."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(drives):
        fails = int(rng.integers(3, 49)) if number % 3 == 0 else None
        for day in range(0, 49 if fails is None else fails + 1, 2):
            left = 99 if fails is None else fails - day
            rows.append(
                {
                    "drive": f"D{number}",
                    "day": date(2026, 1, 1) + timedelta(days=day),
                    "node": f"n{number}",
                    "model": f"M{number % 2}",
                    "family": family,
                    "kind": "ata",
                    "realloc_total": max(0, 12 - left) * 4 if number % 2 else 0,
                    "power_on_h": 5_000 + 24 * day,
                    "failure": int(fails is not None and day >= fails - 1),
                }
            )
    return pl.DataFrame(rows, schema_overrides={"family": pl.String})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "drives.parquet"
    _statistics().write_parquet(path)
    return path


def test_evaluate_prints_days_figures_the_rule_and_the_checks(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ssd", "evaluate", str(file), "--horizon", "5", "--seeds", "1", "--folds", "3"]) == 0
    out = capsys.readouterr().out
    assert "drives that fail within 5 days" in out
    assert "Data: 2026-01-01 to 2026-02-18, 49 days" in out
    for word in ("train", "validate", "test"):
        assert f"\n  {word} " in out
    for text in ("AUCPR", "TPR at FPR 0.1 %", "replace, by drive", "rule, by drive", "rule, by row", "lead days"):
        assert text in out
    assert 'Beside the rule "any symptom grew in 30 days"' in out
    assert "top decile:" in out
    assert "shuffled labels:" in out
    assert "ynthetic" not in out


def test_evaluate_gives_the_same_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ssd", "evaluate", str(file), "--horizon", "5", "--seeds", "1", "--folds", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["horizon_d"] == 5
    assert 0 < found["drive"]["figures"]["aucpr"]["value"] <= 1
    assert found["leakage"]["shuffled"]["passed"] is True
    assert found["synthetic"] is False


def test_train_writes_a_model_and_its_card(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "drives.model"
    assert main(["ssd", "train", str(file), "--out", str(out), "--horizons", "10,5", "--seeds", "1"]) == 0
    model = load_model(out.read_bytes())
    # How long the data are is no property of a drive.
    assert {"realloc_growth_7d", "age_d"} <= set(model.features)
    assert not {"gap_d", "samples_30d", "history_d"} & set(model.features)
    assert model.horizons == (5, 10)
    card = (tmp_path / "drives.model.md").read_text()
    assert card == model.card.markdown()
    assert "| AUCPR |" in card
    assert "drives.parquet" in card
    shown = capsys.readouterr().out
    assert card in shown
    assert model.digest in shown


def test_a_model_that_cannot_be_written_whole_leaves_the_one_that_was_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "drives.model"
    out.write_bytes(b"the model in use")
    write = Path.write_bytes

    def cut(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", cut)
    with pytest.raises(KeyboardInterrupt):
        ssd_train.run(argparse.Namespace(file=str(file), out=str(out), horizons=(5,), seeds=0, seed=0, origin=None))
    assert out.read_bytes() == b"the model in use"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_model_is_evaluated_on_a_file_with_drift_and_a_warning_where_it_knows_the_days(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "drives.model"
    main(["ssd", "train", str(file), "--out", str(out), "--horizons", "5", "--seeds", "0"])
    capsys.readouterr()
    assert main(["ssd", "evaluate", str(file), "--horizon", "5", "--model", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "Drift (PSI" in shown
    assert "WARNING: the model was trained on some of these days" in shown
    assert main(["ssd", "evaluate", str(file), "--horizon", "30", "--model", str(out)]) == 1
    assert "the model foretells 5 days, not 30" in capsys.readouterr().err


def test_figures_of_made_up_drives_are_called_synthetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "made-up.parquet"
    _statistics(family="synthetic").write_parquet(path)
    assert main(["ssd", "evaluate", str(path), "--horizon", "5", "--seeds", "1", "--folds", "3"]) == 0
    assert "[synthetic]" in capsys.readouterr().out.splitlines()[0]
    out = tmp_path / "m.model"
    main(["ssd", "train", str(path), "--out", str(out), "--horizons", "5", "--seeds", "0"])
    assert load_model(out.read_bytes()).synthetic
    assert "SYNTHETIC" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.with_columns(failure=0), "0 failed drives"),
        (lambda frame: frame.filter(pl.col("day") < date(2026, 1, 9)), "days of data for a horizon of 5"),
        (lambda frame: frame.drop("drive"), "wanted are drive-days"),
    ],
)
def test_too_little_or_wrong_data_are_refused_in_words(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[pl.DataFrame], pl.DataFrame],
    said: str,
) -> None:
    path = tmp_path / "drives.parquet"
    change(_statistics()).write_parquet(path)
    assert main(["ssd", "evaluate", str(path), "--horizon", "5"]) == 1
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_model_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ssd", "evaluate", str(file), "--model", str(file)]) == 1
    assert "no model of drives" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["evaluate", "x", "--horizon", "0"], "'0' is no horizon; want days, 1 to 365"),
        (["evaluate", "x", "--folds", "2"], "'2' is no number here; want 3 to 20"),
        (["train", "x", "--out", "y", "--horizons", "7,x"], "'x' is no horizon"),
        (["train", "x", "--out", "y", "--horizons", "1,2,3,4,5"], "names 5 horizons; want 4 at most"),
    ],
)
def test_flags_that_mean_nothing_are_refused(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ssd", *flags])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_model_is_not_trained_for_a_folder_that_is_not_there(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ssd", "train", str(file), "--out", str(tmp_path / "none" / "m")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
