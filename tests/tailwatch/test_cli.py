"""The command line as a whole: exit codes, help, what goes to which stream."""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailwatch.cli import main
from tailwatch.parsers import build_parser

COMMAND = (sys.executable, "-P", "-m", "tailwatch.cli")


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


def leaf_parsers() -> list[argparse.ArgumentParser]:
    return [parser for parser in parsers(build_parser()) if parser.get_default("command_module")]


def test_every_command_of_the_issue_is_there() -> None:
    assert {parser.prog for parser in leaf_parsers()} == {
        "tailwatch demo",
        "tailwatch topic create",
        "tailwatch topic check",
        "tailwatch agent run",
        "tailwatch agent plan",
        "tailwatch agent sources",
        "tailwatch collector run",
        "tailwatch api run",
        "tailwatch db upgrade",
        "tailwatch db backup",
        "tailwatch key create",
        "tailwatch key list",
        "tailwatch key revoke",
        "tailwatch doctor",
        "tailwatch grafana apply",
        "tailwatch grafana diff",
        "tailwatch grafana export",
        "tailwatch gpu report",
        "tailwatch gpu retry-advice",
        "tailwatch gpu simulate",
        "tailwatch tail simulate",
        "tailwatch tail learn",
        "tailwatch tail whatif",
        "tailwatch tail attribute",
        "tailwatch tail services",
        "tailwatch tail services objective",
        "tailwatch tail services alerts",
        "tailwatch tail services alert-history",
        "tailwatch tail services learn",
        "tailwatch tail services what-if",
        "tailwatch tail services search",
        "tailwatch tail services runs",
        "tailwatch tail services cancel",
        "tailwatch tail services tables",
        "tailwatch tail services activate",
        "tailwatch tail services roll-back",
        "tailwatch ssd train",
        "tailwatch ssd evaluate",
        "tailwatch ssd export",
        "tailwatch ssd install",
        "tailwatch ssd models",
        "tailwatch ssd promote",
        "tailwatch gpu classify",
        "tailwatch gpu unknowns",
        "tailwatch gpu rules check",
        "tailwatch gpu rules list",
        "tailwatch gpu rules query",
        "tailwatch gpu attempts",
        "tailwatch gpu failures",
        "tailwatch query",
        "tailwatch hosts",
        "tailwatch drives",
        "tailwatch drives show",
        "tailwatch drives acknowledge",
        "tailwatch drives unacknowledge",
        "tailwatch drives mute",
        "tailwatch drives unmute",
        "tailwatch drives mutes",
        "tailwatch drives outcome",
        "tailwatch config check",
        "tailwatch config show",
        "tailwatch ssd explain",
        "tailwatch ssd score",
    }


@pytest.mark.parametrize("parser", leaf_parsers(), ids=lambda parser: parser.prog)
def test_every_command_shows_an_example_that_its_own_parser_takes(parser: argparse.ArgumentParser) -> None:
    lines = re.findall(r"tailwatch [a-z][^&\n]*", parser.format_help().partition("examples:")[2])
    assert lines
    for line in lines:
        words = shlex.split(line.partition("  ")[0])[1:]
        # --start -5m is joined by main(), which is what this test walks around
        args = build_parser().parse_args([*_joined(words)])
        assert args.command_module == parser.get_default("command_module")


def _joined(words: list[str]) -> Iterator[str]:
    waiting = iter(words)
    for word in waiting:
        yield f"{word}={next(waiting)}" if word in ("--start", "--end") else word


@pytest.mark.parametrize("parser", leaf_parsers(), ids=lambda parser: parser.prog)
def test_every_flag_has_help(parser: argparse.ArgumentParser) -> None:
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["demmo"],
        ["demo", "--port", "0"],
        ["demo", "--port", "70000"],
        ["demo", "--port", "eighty"],
        ["demo", "--seconds", "0"],
        ["demo", "--seconds", "nan"],
        ["demo", "--por", "80"],
        ["query"],
        ["query", "m", "-q", "many"],
        ["query", "m", "--output", "xml"],
        ["agent", "run", "--policy", "elsewhere"],
        ["config"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: tailwatch" in captured.err


def test_the_release_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert re.fullmatch(r"tailwatch \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_wrong_configuration_exits_with_78_and_names_every_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("api:\n  prot: 1\nagent: {checkpoint_s: soon}\n", encoding="utf-8")
    assert main(["config", "check", str(file)]) == 78
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"error: {file}:2:3: api.prot: unknown key; did you mean port?",
        f"error: {file}:3:23: agent.checkpoint_s: expected float, got str: 'soon'",
    ]


def test_a_bad_query_exits_with_78_and_points_into_its_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("queries:\n  - name: q\n    sql: SELECT sketch(late) AS x_us FROM hiccups\n", encoding="utf-8")
    assert main(["config", "check", str(file)]) == 78
    error = capsys.readouterr().err
    assert f"{file}:3:10: queries[0].sql: query 'q', line 1, column" in error
    assert "^" in error


def test_an_agent_with_a_bad_query_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("queries:\n  - name: q\n    sql: SELECT sketch(late) AS x_us FROM hiccups\n", encoding="utf-8")
    said = [
        subprocess.run([*COMMAND, *words, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
        for words in (["agent", "run", "--config"], ["config", "check"])
    ]
    assert [done.returncode for done in said] == [78, 78]
    assert said[0].stderr == said[1].stderr != ""


def test_a_sound_file_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hosts.csv").write_text("ip,rack\n10.0.0.1,r1\n", encoding="utf-8")
    file = tmp_path / "c.yaml"
    file.write_text(
        "builtin_queries: false\nstreams: {probes: {src: string, rtt_us: int64}}\ntables: {hosts: hosts.csv}\n"
        "queries:\n  - name: probes\n    sql: |\n"
        "      SELECT h.rack AS rack, sketch(rtt_us) AS probe_rtt_us FROM probes JOIN hosts AS h ON probes.src = h.ip\n"
        "      GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), h.rack\n",
        encoding="utf-8",
    )
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: ok (1 queries, 1 metrics, 1 tables)\n"


def test_settings_are_shown_with_their_source_and_without_passwords(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILWATCH_DATABASE__URL", "postgresql+psycopg://tw:hunter2@db.example/tw")
    file = tmp_path / "c.yaml"
    file.write_text("log_level: warning\n", encoding="utf-8")
    assert main(["config", "show", "--config", str(file), "--set", "api.port=9000"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    found = {line.split(" = ")[0]: line.rsplit("# ", 1)[1] for line in out.splitlines()}
    assert found["log_level"] == f"{file}:1:12"
    assert found["api.port"] == "flag --set api.port=9000"
    assert found["database.url"] == "environment TAILWATCH_DATABASE__URL"
    assert found["agent.checkpoint_s"] == "default"


def test_the_database_is_made_and_made_again_without_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["db", "upgrade", "--data", str(tmp_path / "d")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == out[1]
    assert out[0].startswith(f"sqlite:///{tmp_path}/d/tailwatch.db: revision ")


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["db", "upgrade", "--data", str(tmp_path / "file" / "d")]) == 1
    error = capsys.readouterr().err
    assert "cannot be used: Not a directory; choose another with --data" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "url", ["sqlite:////dev/null/x.db", "nosuch://x:secret@h", "no address", "postgresql://u:secret@127.0.0.1:1/n"]
)
def test_a_database_that_cannot_be_used_is_one_line(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", "upgrade", "--data", str(tmp_path), "--set", f"database.url={url}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "database.url" in line
    assert "secret" not in line


def test_a_file_of_another_program_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tailwatch.db").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    assert main(["db", "upgrade", "--data", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_command_whose_extra_is_not_installed_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")

    monkeypatch.setattr("tailwatch.commands.db.run", run)
    assert main(["db", "upgrade"]) == 1
    assert "needs the package sqlalchemy, which is not installed; install tailwatch[all]" in capsys.readouterr().err


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailwatch.commands.config_show.run", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["config", "show"])


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    shown = subprocess.Popen(
        [*COMMAND, "config", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, text=True
    )
    assert shown.stdout is not None
    assert shown.stderr is not None
    shown.stdout.close()
    errors = shown.stderr.read()
    shown.stderr.close()
    assert shown.wait(30) == 0
    assert errors == ""


def test_colours_stay_out_where_nobody_sees_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "config", "check", "absent.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert done.stderr.startswith("error: ")
