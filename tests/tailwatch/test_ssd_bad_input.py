"""Whatever is odd about a table of drives: the drive is unknown and says why, or an error names row and column.

The cases are those that fleets really have; each goes through the command, as an operator's file would.
"""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tailwatch.cli import main
from tests.analytics.ssd.stand_in_model import Stand

COLUMNS = ("drive", "day", "model", "kind", "node", "no_smart", "realloc_total", "power_on_h")
FIRST = date(2026, 2, 1)
Row = dict[str, Any]


def rows(days: int = 20, **changed: Callable[[int], Any]) -> list[Row]:
    """A quiet drive, day by day, but for what is changed; each change takes the number of the day."""
    return [
        {
            "drive": "D1", "day": FIRST + timedelta(days=n), "model": "M", "kind": "ata", "node": "n1", "no_smart": 0,
            "realloc_total": 4, "power_on_h": 1000 + 24 * n,
            **{name: change(n) for name, change in changed.items()},
        }
        for n in range(days)
    ]  # fmt: skip


def written(folder: Path, table: list[Row]) -> str:
    path = folder / "drives.csv"
    lines = [",".join(COLUMNS), *(",".join(str(row[name]) for name in COLUMNS) for row in table)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def scored(capsys: pytest.CaptureFixture[str], file: str, *flags: str) -> Any:
    assert main(["ssd", "score", file, "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)["ranked"]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (rows(6), "6 days of history, 7 are wanted"),
        (rows(no_smart=lambda _: 1), "a virtual disk or RAID volume"),
        (rows(node=lambda n: "n1" if n < 17 else "n2"), "seen on another host on 2026-02-18"),
        (rows() + rows(node=lambda _: "n2"), "seen on another host on 2026-02-20"),
        (rows(power_on_h=lambda n: 1000 + 24 * n if n < 18 else 7), "its hours powered on fell on 2026-02-19"),
        (rows(realloc_total=lambda n: -4 if n == 15 else 4), "a count was below zero on 2026-02-16"),
        (
            [*rows(9), *rows(2, day=lambda n: FIRST + timedelta(days=60 + n))],
            "heard of again on 2026-04-02 after more than 30 days of silence: 2 days of history since",
        ),
    ],
)  # fmt: skip
def test_an_odd_drive_is_unknown_and_says_why(
    table: list[Row], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (drive,) = scored(capsys, written(tmp_path, table))
    assert (drive["state"], drive["why"][0][: len(why)]) == ("unknown", why)
    assert drive["probabilities"] == {}


@pytest.mark.parametrize("command", [["train", "--out", "m"], ["evaluate"], ["explain"]])
def test_a_table_without_rows_has_no_drives_and_is_no_crash(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that no agent has written to yet is exported as such a table."""
    file = written(tmp_path, [])
    action, *flags = command
    assert main(["ssd", action, file, *flags]) == 1
    assert capsys.readouterr().err == f"error: {file} holds no drives: it has columns and no rows\n"


def test_a_drive_that_fell_silent_is_unknown_beside_those_that_speak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speaks, silent = scored(capsys, written(tmp_path, [*rows(12), *rows(drive=lambda _: "D2")]))
    assert (speaks["drive"], speaks["state"]) == ("D2", "good")
    assert (silent["state"], silent["why"]) == ("unknown", ["not seen for 8 days, last on 2026-02-12"])


def test_a_drive_of_a_kind_that_no_model_knows_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailwatch.drive_models.model_of", lambda _: Stand(strangers=["D1"]))
    (drive,) = scored(capsys, written(tmp_path, rows()), "--model", "m")
    assert drive["state"] == "unknown"
    assert drive["why"][0] == "the model was not trained on drives like it (kind ata, vendor not told)"


def test_days_that_come_twice_or_in_any_order_say_what_they_say_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = scored(capsys, written(tmp_path, rows()))
    assert once[0]["state"] == "good"
    for table in (rows() + rows(), rows()[::-1], rows() + rows()[5:9][::-1]):
        assert scored(capsys, written(tmp_path, table)) == once
    # Of two values for a day the larger counts: what has been seen once is not unseen.
    worse = [*rows(), *rows(realloc_total=lambda n: 60 if n == 19 else 4)]
    assert scored(capsys, written(tmp_path, worse))[0]["state"] == "watch"


@pytest.mark.parametrize("command", ["score", "explain", "evaluate"])
@pytest.mark.parametrize(
    ("table", "says"),
    [
        (rows(realloc_total=lambda n: "many" if n == 3 else 4), "column realloc_total, row 4 "),
        (rows(power_on_h=lambda n: 2**70 if n == 5 else n), "column power_on_h, row 6 "),
        (rows(day=lambda n: "9999-12-31" if n == 2 else FIRST + timedelta(days=n)), "column day, row 3 "),
        (rows(day=lambda n: "02/17/2026" if n == 2 else FIRST + timedelta(days=n)), "column day, row 3 "),
        (rows(drive=lambda n: "" if n == 7 else "D1"), "column drive, row 8 "),
        (rows(no_smart=lambda n: "maybe" if n == 1 else ""), "column no_smart, row 2 "),
    ],
)
def test_a_cell_that_cannot_be_is_an_error_that_names_file_row_and_column(
    command: str, table: list[Row], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, table)
    assert main(["ssd", command, file]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {file}: {says}")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
