"""`tailwatch gpu classify` and `gpu unknowns`: what they print, and what they refuse."""

import gzip
import io
import json
import random
from pathlib import Path

import pytest

from analytics.gpu.node_events import JobFacts
from tailwatch.cli import main
from tailwatch.gpu_job_facts import facts_of
from tailwatch.parsers import build_parser

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


def cut_gzip() -> bytes:
    """A packed log of a job that died while it was written: OOM stands near its beginning."""
    rng = random.Random(7)
    lines = "".join(f"step {place} loss {rng.random()}\n" for place in range(20_000))
    return gzip.compress((OOM + lines).encode())[:-100_000]


def test_a_packed_log_without_its_end_is_read_as_far_as_it_goes(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = logs / "job"
    job.mkdir()
    (job / "rank0.log.gz").write_bytes(cut_gzip())
    (job / "rank1.log").write_text("step 1\n")
    for named in (job, job / "rank0.log.gz"):
        assert main(["gpu", "classify", "--output", "json", str(named)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["reason"], told["evidence"][0]["number"]) == ("gpu_oom", 1)
        (note,) = [note for note in told["notes"] if "can be read no further than its first " in note]
        assert note.startswith(f"{job / 'rank0.log.gz'} ")
        read = int(note.partition("first ")[2].partition(" bytes")[0].replace(",", ""))
        assert read > 100_000
        assert told["bytes"] == read + (7 if named == job else 0)


def test_of_a_folder_what_cannot_be_read_at_all_is_a_note(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (logs / "old.gz").write_bytes(gzip.compress(OOM.encode())[:5])
    (logs / "labels.csv").unlink()
    (logs / "b.log").unlink()
    assert main(["gpu", "classify", str(logs)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("gpu_oom: ")
    assert f"note: {logs / 'old.gz'} cannot be read: " in said
    assert main(["gpu", "classify", str(logs / "a.log"), str(logs / "old.gz")]) == 1
    assert "old.gz cannot be read: " in capsys.readouterr().err


def test_labelled_logs_have_to_be_whole(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (logs / "a.log").write_bytes(cut_gzip())
    assert main(["gpu", "classify", "--labels", str(logs / "labels.csv"), str(logs)]) == 1
    assert "a.log can be read no further than its first " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a\0b", "x" * 5_000])
def test_names_that_no_file_can_have_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "classify", name]) == 1
    assert "is no file; name logs" in capsys.readouterr().err


def test_unknowns_leave_out_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("failed", "passed"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "core").write_bytes(b"\x7fELF\x02\x01\x01" + random.Random(3).randbytes(9_000))
        (tmp_path / folder / "a.log").write_text(f"step {folder}\n" + ODD.format(n=1) * (folder == "failed"))
    (tmp_path / "failed" / "b.log.gz").write_bytes(cut_gzip())
    flags = ["gpu", "unknowns", str(tmp_path / "failed"), "--passed", str(tmp_path / "passed")]
    assert main([*flags, "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["failed"], told["unexplained"], told["passed"]) == (2, 1, 1)
    assert {one["job"] for one in told["templates"]} == {str(tmp_path / "failed" / "a.log")}
    assert [note.partition(": ")[0].split("its first")[0] for note in told["notes"]] == [
        f"{tmp_path / 'failed' / 'b.log.gz'} can be read no further than ",
        f"{tmp_path / 'failed' / 'core'} is left out, for it is an ELF program or core",
        f"{tmp_path / 'passed' / 'core'} is left out, for it is an ELF program or core",
    ]
    assert main(flags) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 of 2 jobs have no sure cause; compared with 1 that passed")
    assert f"note: {tmp_path / 'failed' / 'core'} is left out" in said


KERNEL = "2025-01-02T12:{minute}:00Z {node} kernel: NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--nodes", "gpu-8"], None),
        (["--start", "2025-01-02T11:50:00Z", "--end", "2025-01-02T12:00:00Z"], None),
        (
            ["--start", "2025-01-02T13:20:00+01:00", "--end", "2025-01-02 12:31", "--nodes", "gpu-[6-8],login1"],
            "gpu_fell_off_bus",
        ),
    ],
)
def test_events_of_other_nodes_and_times_are_left_out(
    flags: list[str], reason: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "messages").write_text(KERNEL.format(minute=30, node="gpu-7"))
    assert main(["gpu", "classify", "--output", "json", *flags, str(tmp_path / "messages")]) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == reason


@pytest.mark.parametrize(
    ("flags", "text", "status"),
    [(["--signal", "SIGKILL"], "step 1\n", "abstained"), (["--exit-code", "0"], OOM, "no_failure")],
)
def test_how_a_job_ended_is_believed_before_its_logs(
    flags: list[str], text: str, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.log").write_text(text)
    assert main(["gpu", "classify", "--output", "json", *flags, str(tmp_path / "a.log")]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == status


@pytest.mark.parametrize(
    ("flags", "failed"),
    [
        ([], None),
        (["--exit-code", "0"], False),
        (["--exit-code", "1"], True),
        (["--signal", "9", "--exit-code", "0"], True),
        (["--signal", "sigterm"], True),
        (["--signal", "TERM"], True),
    ],
)
def test_a_job_failed_by_its_exit_code_or_its_signal(flags: list[str], failed: bool | None) -> None:
    args = build_parser().parse_args(["gpu", "classify", "a.log", *flags])
    assert facts_of(args) == JobFacts(failed=failed)
    assert args.signal in (None, 9, 15)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--nodes", "gpu[1-"], "--nodes: "),
        (["--start", "2025-01-02T12:00:00", "--end", "2025-01-02T11:00:00"], "--end lies before --start"),
        (["--labels", "labels.csv", "--signal", "15"], "--labels takes each file for a job of its own; --signal is"),
    ],
)
def test_facts_that_do_not_fit_are_refused(
    flags: list[str], told: str, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gpu", "classify", *flags, str(logs / "a.log")]) == 78
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [
        ("--exit-code", "256", "want 0 to 255"),
        ("--exit-code", "-1", "want 0 to 255"),
        ("--signal", "SIGOOM", "a name such as SIGKILL"),
        ("--signal", "0", "want 1 to 64"),
        ("--start", "noon", "want ISO 8601"),
        ("--end", "1600-01-01", "want ISO 8601"),
    ],
)
def test_facts_that_are_none_are_refused(
    flag: str, value: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gpu", "classify", f"{flag}={value}", "a.log"])
    assert ended.value.code == 2
    assert wanted in capsys.readouterr().err
