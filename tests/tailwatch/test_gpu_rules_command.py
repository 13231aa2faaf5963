"""`tailwatch gpu rules`: what it says of a site's rules, and of those shipped."""

import json
from pathlib import Path

import pytest

from tailwatch.cli import main

GOOD = """
signatures:
  - id: licence
    reason: network_conn
    role: root
    pattern: 'licence server \\S+ timed out'
    weight: 80
    examples: ['E: licence server lic1 timed out']
    counterexamples: ['licence server lic1 is fine']
"""


def rules_at(folder: Path, text: str = GOOD) -> str:
    path = folder / "rules.yaml"
    path.write_text(text)
    return str(path)


def test_rules_that_can_be_used_are_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rules_at(tmp_path)
    assert main(["gpu", "rules", "check", path]) == 0
    assert capsys.readouterr().out == f"{path}: ok (1 rule, 2 examples tried)\n"


def test_faults_are_listed_with_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rules_at(tmp_path, GOOD.replace("\\S+", "(x+)+").replace("weight: 80", "weight: 800"))
    assert main(["gpu", "rules", "check", path]) == 1
    out = capsys.readouterr().out
    assert f"{path}:3 (licence): weight: 800; wanted 1 to 100\n" in out
    assert "repeats a repeat without end" in out
    assert out.endswith(f"{path}: 2 faults\n")


def test_examples_are_tried_beside_the_shipped_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rules_at(
        tmp_path, GOOD.replace("timed out", "gets: No space left on device").replace("weight: 80", "weight: 9")
    )
    assert main(["gpu", "rules", "check", path]) == 1
    assert "licence: its example is won by no-space (disk_full, weight 92 to 9)" in capsys.readouterr().out
    assert main(["gpu", "rules", "check", path, "--alone"]) == 0


def test_the_answer_may_be_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rules_at(tmp_path, "signatures: 7")
    assert main(["gpu", "rules", "check", path, "--output", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["rules"], len(told["problems"])) == (path, 0, 1)


def test_a_file_that_is_absent_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "rules", "check", str(tmp_path / "absent.yaml")]) == 1
    assert "absent.yaml: No such file or directory; wanted a YAML file of signatures" in capsys.readouterr().out


def test_rules_are_listed_by_reason_and_category(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "rules", "list", "--reason", "gpu_oom", "--category", "ai_engine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "REASON", "CATEGORY", "ROLE", "WEIGHT", "RETRY"]
    assert lines[1].split() == ["gpu-oom-torch", "gpu_oom", "ai_engine", "root", "94", "never"]
    assert {line.split()[1] for line in lines[1:-1]} == {"gpu_oom"}
    assert lines[-1].endswith(" rules of 1 reason")


def test_one_rule_is_told_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "rules", "list", "licence", "--rules", rules_at(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "pattern:        licence server \\S+ timed out\n" in out
    assert "examples:       E: licence server lic1 timed out\n" in out
    assert main(["gpu", "rules", "list", "licence", "--rules", rules_at(tmp_path), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["retry"] == "backoff"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-rule"], "no rule 'no-such-rule'; `tailwatch gpu rules list` shows all"),
        (["--reason", "gremlins"], "'gremlins' is no reason; known are gpu_ecc,"),
    ],
)
def test_what_is_unknown_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "rules", "list", *arguments]) == 1
    assert said in capsys.readouterr().err
