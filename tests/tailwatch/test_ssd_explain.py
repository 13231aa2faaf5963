"""`tailwatch ssd explain`: from smartctl's answers to words, and what it says of files it cannot use."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics.ssd import model_file
from analytics.ssd.columns import DAYS
from tailwatch.cli import main
from tests.analytics.ssd.drive_tables import history
from tests.analytics.ssd.stand_in_model import Stand

FIRST = date(2026, 3, 1)


def nvme(day: int = 0, serial: str = "TN0001", **log: Any) -> dict[str, Any]:
    """An answer of smartctl about an invented NVMe drive on the day so many days after the first."""
    health = {"critical_warning": 0, "available_spare": 100, "available_spare_threshold": 10, "percentage_used": 3}
    health |= {"media_errors": 0, "num_err_log_entries": 8382, **log}
    warning = health["critical_warning"]
    return {
        "smartctl": {"version": [7, 3], "exit_status": 8 if warning else 0},
        "local_time": {"time_t": int(datetime.fromisoformat(f"{FIRST}T12:00:00+00:00").timestamp()) + 86_400 * day},
        "device": {"name": "/dev/nvme0", "type": "nvme", "protocol": "NVMe"},
        "model_name": "INTEL SSDPE000000",
        "serial_number": serial,
        "smart_status": {"passed": not warning},
        "nvme_smart_health_information_log": health,
        "power_on_time": {"hours": 5000 + 24 * day},
        "temperature": {"current": 31},
    }


def sata(day: int = 0, **raws: int) -> dict[str, Any]:
    rows = [(5, "Reallocated_Sector_Ct", raws.get("realloc", 4)), (199, "CRC_Error_Count", raws.get("crc", 0))]
    return nvme(day, "TS0001") | {
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
        "model_name": "INTEL SSDSC000000",
        "model_family": "Intel S4510/S4610/S4500/S4600 Series SSDs",
        "in_smartctl_database": True,
        "rotation_rate": 0,
        "ata_smart_attributes": {
            "table": [
                *({"id": i, "name": name, "value": 100, "raw": {"value": raw}} for i, name, raw in rows),
                {"id": 233, "name": "Media_Wearout_Indicator", "value": 55, "raw": {"value": 0}},
            ]
        },
    }


def written(folder: Path, *documents: Mapping[str, Any]) -> list[str]:
    paths = [folder / f"answer-{place}.json" for place in range(len(documents))]
    for path, document in zip(paths, documents, strict=True):
        path.write_text(json.dumps(document), encoding="utf-8")
    return [str(path) for path in paths]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["ssd", "explain", "--json", *arguments]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["ssd", "explain", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["ssd", "explain", *arguments]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_one_answer_is_told_with_where_each_figure_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = text(capsys, *written(tmp_path, sata()))
    assert "drive  TS0001 (INTEL SSDSC000000, Intel, Intel S4510/S4610/S4500/S4600 Series SSDs, ata)" in said
    assert "state  unknown: 1 day of history, 7 are wanted" in said
    assert "none: no model; 1 day of history, 7 are wanted" in said
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "reallocated sectors realloc_total 4 attribute 5 Reallocated_Sector_Ct: value 100, raw 4" in lines
    assert "rated life used wear_used_pct 45 attribute 233 Media_Wearout_Indicator: value 55, raw 0" in lines
    assert "hours powered on power_on_h 5000 power_on_time.hours = 5000" in lines
    assert "none fired" in lines
    assert any(line.startswith("used up on 2026-") for line in lines)
    assert any(line.startswith("not told: ") and "pending_count" in line for line in lines)


def test_a_warning_bit_is_as_grave_as_it_is_and_log_entries_are_no_media_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = told(capsys, *written(tmp_path, nvme(critical_warning=16)))
    assert backup["state"] == "watch"
    assert {rule["rule"] for rule in backup["rules"]} == {"nvme_warns_backup", "nvme_verdict_failed", "nvme_failing"}
    broken = told(capsys, *written(tmp_path, nvme(critical_warning=4)))
    assert broken["state"] == "replace"
    assert broken["rules"][-1]["do"] == "Copy the data away and replace the drive."
    assert broken["fields"]["critical_warning"] == {
        "value": 4,
        "origin": "nvme_smart_health_information_log.critical_warning = 4",
    }
    assert told(capsys, *written(tmp_path, nvme()))["rules"] == []


def test_answers_of_several_days_are_a_history_in_whatever_order_they_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = written(tmp_path, sata(7, realloc=61), *(sata(day, realloc=4) for day in range(7)))
    said = told(capsys, *paths)
    assert (said["day"], said["days"], said["state"]) == ("2026-03-08", 8, "watch")
    assert [rule["text"] for rule in said["rules"]] == ["sectors break: reallocated sectors 4 -> 61 in 7 days"]
    assert said["why_no_probability"] == "no model"
    assert said["probabilities"] == {}


def test_a_state_is_followed_over_the_days_of_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = [sata(day, crc=30 if day >= 10 else 0) for day in range(21)]
    said = told(capsys, *written(tmp_path, *days))
    assert said["rules"] == []  # the growth is 10 days ago
    assert (said["state"], said["since"], said["calm_days"]) == ("watch", "2026-03-11", 4)


def test_with_a_model_the_probability_and_its_reasons_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailwatch.drive_models.model_of", lambda path: Stand({"TS0001": 0.08}) if path else None)
    paths = written(tmp_path, sata(7, realloc=5), *(sata(day, realloc=4) for day in range(7)))
    said = text(capsys, *paths, "--model", "some.model")
    assert "4.0% within 7 days, 8.0% within 30 days, by model sha256:stand" in said
    assert "    reallocated sectors 4 -> 5 in 7 days" in said
    one = told(capsys, *paths[:1], "--model", "some.model")
    assert one["probabilities"] == {}
    assert one["why_no_probability"] == "1 day of history, 7 are wanted"


def test_a_virtual_disk_is_unknown_and_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    virtual = nvme() | {"device": {"name": "/dev/sdb", "type": "scsi", "protocol": "SCSI"}, "smart_status": None}
    del virtual["nvme_smart_health_information_log"], virtual["power_on_time"]
    said = told(capsys, *written(tmp_path, virtual))
    assert said["state"] == "unknown"
    assert said["why_unknown"].startswith("a virtual disk or RAID volume")


def test_a_drive_without_a_serial_number_is_named_by_its_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nameless = nvme()
    del nameless["serial_number"]
    assert told(capsys, *written(tmp_path, nameless))["drive"] == "this host:/dev/nvme0"


def test_what_a_table_says_does_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "drives.parquet"
    history("A", crc_total=[0] * 9, model=["FAST\x1b[2J"] * 9).write_parquet(table)
    assert text(capsys, str(table)).splitlines()[0] == "drive  A (FAST\\x1b[2J, ssd)"


def test_one_drive_of_a_table_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "drives.parquet"
    pl.concat([history("A", crc_total=[0] * 9), history("B", crc_total=[0] * 8 + [9])]).write_parquet(table)
    assert told(capsys, str(table), "--drive", "B")["state"] == "watch"
    assert told(capsys, str(table), "--drive", "A")["state"] == "good"
    assert "holds 2 drives (A, B); say which with --drive" in refused(capsys, str(table))
    assert "holds 2 drives (A, B); none is called C" in refused(capsys, str(table), "--drive", "C")
    assert "give it alone" in refused(capsys, str(table), str(table))


def test_a_drive_of_the_generator_is_called_synthetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "drives.parquet"
    history("A", crc_total=[0] * 9, family=["synthetic"] * 9).write_parquet(table)
    assert "this drive is synthetic" in text(capsys, str(table))
    assert told(capsys, str(table))["synthetic"] is True


def test_a_drive_that_has_failed_is_told_to_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Most fail without a symptom: of its own figures alone such a drive is good on the day it died."""
    table = tmp_path / "drives.parquet"
    history("A", crc_total=[0] * 9).with_columns(failure=pl.Series([0] * 8 + [1])).write_parquet(table)
    assert "note   this drive FAILED on 2026-03-01, as the table says" in text(capsys, str(table))
    assert told(capsys, str(table))["failed"] == "2026-03-01"
    history("A", crc_total=[0] * 9).write_parquet(table)
    assert "FAILED" not in text(capsys, str(table))
    assert told(capsys, str(table))["failed"] is None


def test_a_table_of_no_drives_is_told_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "drives.csv"
    table.write_text("drive,day,failure\n")
    assert f"{table} holds no drives" in refused(capsys, str(table))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"smartctl 7.2 2020-12-30 r5155 [x86_64-linux]\n=== START OF INFORMATION SECTION ===\n", "text output"),
        (b"smartctl 7.4\r\nUser Capacity: 7\xa0681 bytes\r\n", "wanted is its JSON: `smartctl --json -x DEVICE`"),
        (b"", "begins with nothing"),
        (b"hello", "is no JSON (it begins with 'hello')"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1]", "holds a JSON list, not an object"),
        (b'{"a": 1}', "no answer of smartctl"),
        (b'{"smartctl": {"exit_status": 2, "messages": [{"string": "Permission denied"}]}}', "run it as root"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wanted(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    shown = refused(capsys, str(path))
    assert says in shown
    assert str(path) in shown


@pytest.mark.parametrize("time", [None, "now", True, -5, 10**18, {}])
def test_an_answer_without_its_time_is_refused(time: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = written(tmp_path, nvme() | {"local_time": {"time_t": time}})
    assert f"{path}: local_time.time_t is {time!r}" in refused(capsys, path)


def test_answers_of_two_drives_are_no_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = written(tmp_path, nvme(), sata())
    shown = refused(capsys, *paths)
    assert f"{paths[0]} tells of drive TN0001, {paths[1]} of TS0001" in shown


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in refused(capsys, str(tmp_path / "none.json"))


def test_every_recorded_answer_can_be_explained(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = {}
    for path in sorted((real_data / "smartctl").glob("*.json")):
        said = told(capsys, str(path))
        states[path.stem] = said["state"]
        assert said["probabilities"] == {}
        assert said["why_no_probability"]
        assert set(said["fields"]) | set(said["not_told"]) <= set(DAYS)
        without = [name for name, field in said["fields"].items() if field["origin"] is None]
        assert without == []
    failed = "exporter_nvme-null-SAMSUNG_MZWLL3T2HAJQ-00005-nvme0"
    assert states.pop(failed) == "watch"
    assert "replace" not in states.values()


def test_every_recorded_text_output_is_told_to_be_one(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted((real_data / "smartctl").glob("*.txt")):
        assert "is smartctl's text output; wanted is its JSON" in refused(capsys, str(path))


def test_days_are_days_in_utc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = nvme() | {"local_time": {"time_t": int(datetime.fromisoformat("2026-03-01T23:59:59+00:00").timestamp())}}
    early = nvme() | {"local_time": {"time_t": int(datetime.fromisoformat("2026-03-02T00:00:00+00:00").timestamp())}}
    said = told(capsys, *written(tmp_path, late, early))
    assert (said["day"], said["days"]) == (str(FIRST + timedelta(days=1)), 2)


@pytest.mark.parametrize("content", [b"", b"# Card\n", b'{"booster": 1}'])
def test_a_file_that_is_no_model_is_named(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "card.md"
    model.write_bytes(content)
    assert f"{model}: no model of drives" in refused(capsys, *written(tmp_path, nvme()), "--model", str(model))


def test_of_a_file_without_an_end_no_more_is_read_than_one_of_the_kind_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "MOST_BYTES", 1_000)
    monkeypatch.setattr(model_file, "_FORM", replace(model_file._FORM, most_bytes=1_000))
    monkeypatch.setattr("tailwatch.drive_documents._LARGEST_BYTES", 100_000)

    def whole(path: Path) -> bytes:
        raise AssertionError(f"{path} is read to its end")

    answers = written(tmp_path, nvme())
    monkeypatch.setattr(Path, "read_bytes", whole)
    assert "/dev/zero has more than 100,000 bytes; wanted is an answer" in refused(capsys, "/dev/zero")
    said = refused(capsys, *answers, "--model", "/dev/zero")
    assert "/dev/zero: 1,001 bytes are no model of drives; want 1,000 at most" in said
