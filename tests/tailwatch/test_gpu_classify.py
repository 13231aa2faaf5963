"""`tailwatch gpu classify` and `gpu unknowns`: what they print, and what they refuse."""

import gzip
import io
import json
from pathlib import Path

import pytest

from tailwatch.cli import main

OOM = "RuntimeError: CUDA out of memory. Tried to allocate 20.00 GiB\n"
ODD = "zorble flange {n} decoupled from its sprocket\nexited with exit code 3\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two failed jobs, and a table of their labels."""
    (tmp_path / "a.log").write_text("step 1\n" + OOM)
    (tmp_path / "b.log").write_text("ModuleNotFoundError: No module named 'apex'\n")
    rows = ["file,category,reason,source", "a.log,ai_engine,gpu_oom,one", "b.log,infrastructure,gpu_ecc,two"]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_job_is_told_in_words(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "classify", str(logs / "a.log")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("gpu_oom: ")
    assert f"{logs / 'a.log'}:2" in said
    assert "what to do: " in said


def test_the_same_as_json_and_packed_and_from_standard_input(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "a.log.gz").write_bytes(gzip.compress(OOM.encode()))
    assert main(["gpu", "classify", "--output", "json", str(logs / "a.log.gz")]) == 0
    packed = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(OOM.encode())))
    assert main(["gpu", "classify", "--output", "json", "-"]) == 0
    piped = json.loads(capsys.readouterr().out)
    assert (packed["reason"], piped["reason"]) == ("gpu_oom", "gpu_oom")
    assert piped["evidence"][0]["file"] == "standard input"
    assert piped["confidence"] == packed["confidence"]


def test_labels_give_accuracy_and_what_was_taken_for_what(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "classify", "--labels", str(logs / "labels.csv"), str(logs)]) == 0
    said = capsys.readouterr().out
    assert "reason right: 50.0%" in said
    assert any(line.split()[:2] == ["gpu_ecc", "import_error"] for line in said.splitlines())
    assert main(["gpu", "classify", "--labels", str(logs / "labels.csv"), "--output", "json", str(logs)]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["logs"] == 2


def test_a_log_without_a_label_is_refused(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (logs / "c.log").write_text("x\n")
    assert main(["gpu", "classify", "--labels", str(logs / "labels.csv"), str(logs / "c.log")]) == 1
    assert "has no row for" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "told"), [("gone.log", "is no file"), (".", "without files")])
def test_what_cannot_be_read_is_refused(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gpu", "classify", str(tmp_path / name)]) == 1
    assert told in capsys.readouterr().err


def test_unknowns_are_listed_and_become_a_rule_that_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "failed").mkdir()
    (tmp_path / "passed").mkdir()
    for n in range(4):
        (tmp_path / "failed" / f"{n}.log").write_text(f"step {n}\n" + ODD.format(n=n))
        (tmp_path / "passed" / f"{n}.log").write_text(f"step {n}\n")
    (tmp_path / "failed" / "known.log").write_text(OOM)
    flags = ["gpu", "unknowns", str(tmp_path / "failed"), "--passed", str(tmp_path / "passed")]
    assert main(flags) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 of 5 jobs have no sure cause; compared with 4 that passed")
    assert main([*flags, "--output", "json", "--top", "9"]) == 0
    texts = [one["text"] for one in json.loads(capsys.readouterr().out)["templates"]]
    place = next(place for place, text in enumerate(texts, 1) if text.startswith("zorble"))
    assert main([*flags, "--draft", str(place), "--reason", "ib_network"]) == 0
    (tmp_path / "ours.yaml").write_text(capsys.readouterr().out)
    log = str(tmp_path / "failed" / "2.log")
    assert main(["gpu", "classify", "--rules", str(tmp_path / "ours.yaml"), "--output", "json", log]) == 0
    assert json.loads(capsys.readouterr().out)["guess"] == "ib_network"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--draft", "1"], "wanted together"),
        (["--draft", "1", "--reason", "gremlins"], "not in the taxonomy"),
    ],
)
def test_a_draft_wants_a_known_reason(
    flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.log").write_text("x\n")
    assert main(["gpu", "unknowns", str(tmp_path / "a.log"), *flags]) == 78
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("name", "packed"), [("a.log", True), ("a.log.1", True), ("a.log.gz", False)])
def test_what_is_packed_is_told_by_its_bytes_not_its_name(
    name: str, packed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / name
    log.write_bytes(gzip.compress(OOM.encode()) if packed else OOM.encode())
    assert main(["gpu", "classify", str(log)]) == 0
    assert capsys.readouterr().out.startswith("gpu_oom: ")


def test_a_packed_log_with_a_broken_middle_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = bytearray(gzip.compress("".join(f"step {place} loss 0.{place}\n" for place in range(9_000)).encode()))
    packed[12:900] = bytes(888)
    (tmp_path / "a.log.gz").write_bytes(packed)
    assert main(["gpu", "classify", str(tmp_path / "a.log.gz")]) == 1
    assert "a.log.gz cannot be read: " in capsys.readouterr().err


def test_a_label_of_no_known_reason_is_refused(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (logs / "labels.csv").write_text("file,category,reason,source\na.log,ai_engine,gpu_omm,one\n")
    assert main(["gpu", "classify", "--labels", str(logs / "labels.csv"), str(logs / "a.log")]) == 1
    assert "line 2: reason 'gpu_omm' is not in the taxonomy; known are " in capsys.readouterr().err
