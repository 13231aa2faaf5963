"""`tailwatch agent plan`: what it says, and how it fails."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.shares import POLICIES
from tailwatch.cli import main
from tailwatch.parsers import build_parser
from tests.agents.live import until
from tests.agents.world import probe_file
from tests.fleet import HOSTS, SCHEMA, SQL

HOME = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path, _ = probe_file(tmp_path, 5_000)
    HOSTS.frame.write_csv(tmp_path / "hosts.csv")
    return written(tmp_path, sources=[{"kind": "replay", "stream": "probes", "path": str(path)}])


def written(folder: Path, **agent: object) -> Path:
    settings = {
        "data_dir": str(folder / "data"),
        "builtin_queries": False,
        "streams": {"probes": {name: kind for name, kind in SCHEMA.items() if name not in ("ts", "host")}},
        "tables": {"hosts": str(folder / "hosts.csv")},
        "queries": [{"name": "probes", "sql": SQL}],
        "agent": {"id": "a", "host": "h", "budget": {"cores": 1.0}} | agent,
    }
    path = folder / "tailwatch.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def planned(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["agent", "plan", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_json_holds_what_the_reference_says(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "--config", str(config))
    assert (found["agent"], found["policy"], found["epoch_s"]) == ("a", "adaptive", 1.0)
    assert found["budget"]["cores"] == 1.0
    assert found["budget"]["refused"] is None
    assert 0 < found["budget"]["idle_cores"] <= found["budget"]["fixed_cores"] < 1
    (source,) = found["sources"]
    assert (source["records"], source["streams"], source["not_read"]) == (5_000, ["probes"], None)
    (query,) = found["queries"]
    assert query["operators"] == ["filter", "join hosts", "project", "aggregate"]
    assert query["can_wait"] is True
    assert query["shares"] == [1.0, 1.0, 1.0, 1.0]
    assert [cut["cut"] for cut in query["costs"]["cuts"]] == [0, 1, 2, 3]
    assert len(query["costs"]["operators"]) == 4
    assert query["predicted"]["wire_bytes_per_s"] > 0
    assert [one["policy"] for one in found["policies"]] == list(POLICIES)
    assert {len(shares) for one in found["policies"] for shares in one["shares"].values()} == {4}
    assert not (config.parent / "data").exists(), "nothing is written"
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    section = page.partition("## tailwatch agent plan")[2].partition("\n## ")[0]
    assert [key for key in sorted(keys(found)) if f"`{key}`" not in section] == []


def keys(value: object) -> set[str]:
    """Every name in the document; the versions of queries are none."""
    if isinstance(value, dict):
        own = {key for key in value if not re.fullmatch("[0-9a-f]{16}", key)}
        return own.union(*(keys(child) for child in value.values()))
    return set().union(*(keys(child) for child in value)) if isinstance(value, list) else set()


def test_the_text_shows_operators_policies_and_what_to_doubt(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "plan", "--config", str(config), "--budget", "0.5", "--policy", "all-sp"]) == 0
    said = capsys.readouterr().out
    assert "budget   0.500 cores, from agent.budget.cores" in said
    assert re.search(r"^2 join hosts +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +0\.000$", said, re.MULTILINE)
    assert re.search(r"^all-sp \* +[\d.]+ +[\d.]+ +[\d,]+ +[\d,]+$", said, re.MULTILINE)
    assert "cores for queries  cores in all  bytes/s  records/s of files without a pace" in re.sub(" {3,}", "  ", said)
    assert all(re.search(rf"^{policy}\b", said, re.MULTILINE) for policy in POLICIES)
    assert "note: query probes reads files without rows_per_s" in said


def test_a_file_without_records_and_a_missing_one_are_told_from_a_silent_source(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = (tmp_path / "probes.csv").read_text().partition("\n")[0]
    (tmp_path / "probes.csv").write_text(header + "\n")
    notes = planned(capsys, "--config", str(config))["notes"]
    assert [note for note in notes if "gave no records: the file has none" in note] == notes[:1]
    assert "met no records of stream probes" in notes[1]
    live = written(tmp_path, sources=[{"kind": "datagrams", "stream": "probes", "path": str(tmp_path / "rows.sock")}])
    (first, *_) = planned(capsys, "--config", str(live), "--seconds", "1")["notes"]
    assert re.search(r"gave no records in \d+\.\d", first)


def test_cores_that_were_not_measured_as_an_agent_are_told_to_be_too_low(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"kind": "replay", "stream": "probes", "path": str(tmp_path / "probes.csv"), "rows_per_s": 500}
    short = planned(capsys, "--config", str(written(tmp_path, sources=[source])), "--seconds", "1")
    assert short["budget"]["handling_cores"] is None
    assert any("too short to see what handling batches takes" in note for note in short["notes"])
    for seconds in ("1", "4", "16"):  # a busy machine has fewer epochs of its own in them
        enough = planned(
            capsys, "--config", str(written(tmp_path, sources=[source], epoch_s=0.2)), "--seconds", seconds
        )
        if enough["budget"]["handling_cores"] is not None:
            break
    parts = (enough["budget"][f"{part}_cores"] for part in ("idle", "reading", "handling"))
    assert enough["budget"]["fixed_cores"] == pytest.approx(sum(parts))
    assert not any("too short" in note for note in enough["notes"])


def test_a_budget_below_what_an_idle_agent_takes_ends_with_one(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = planned(capsys, "--config", str(config), "--budget", "0.000001", code=1)
    assert "agent.budget.cores is 1e-06" in found["budget"]["refused"]
    assert found["notes"][0].startswith("the agent would not start: agent.budget.cores")


def test_an_api_that_does_not_answer_is_a_note_and_can_be_left_out(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = ("--set", "agent.plan_url=http://127.0.0.1:9")
    assert "the API's plan is not known" in planned(capsys, "--config", str(config), *away)["notes"][0]
    assert "is not asked" in planned(capsys, "--config", str(config), *away, "--no-api")["notes"][0]


@pytest.mark.parametrize(
    ("agent", "code", "said"),
    [
        ({"sources": []}, 1, "agent.sources is empty"),
        ({"sources": [{"kind": "replay", "stream": "probes", "path": "missing.csv"}]}, 1, "missing.csv"),
        ({"polizy": "adaptive"}, 78, "did you mean policy?"),
    ],
)
def test_mistakes_are_one_message_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], agent: dict[str, object], code: int, said: str
) -> None:
    HOSTS.frame.write_csv(tmp_path / "hosts.csv")
    assert main(["agent", "plan", "--config", str(written(tmp_path, **agent))]) == code
    output = capsys.readouterr()
    assert said in output.err
    assert output.out == ""


@pytest.mark.parametrize("flags", [["--budget", "0"], ["--budget", "nan"], ["--rows", "0"], ["--seconds", "x"]])
def test_flags_that_cannot_be_are_wrong_usage(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["agent", "plan", *flags])
    assert ended.value.code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    temporary, socket = tmp_path / "temporary", tmp_path / "rows.sock"
    temporary.mkdir()
    HOSTS.frame.write_csv(tmp_path / "hosts.csv")
    config = written(tmp_path, sources=[{"kind": "datagrams", "stream": "probes", "path": str(socket)}])
    command = [sys.executable, "-m", "tailwatch.cli", "agent", "plan", "--config", str(config), "--seconds", "600"]
    with subprocess.Popen(command, env=os.environ | {"TMPDIR": str(temporary)}, cwd=HOME) as process:
        assert until(lambda: any(temporary.glob("tailwatch-plan-*/*")), 30)
        process.send_signal(number)
        assert process.wait(20) == 128 + number
    assert list(temporary.iterdir()) == []
