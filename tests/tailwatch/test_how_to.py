"""The how-to pages, run as they stand: their files are written out and their commands answer what they show."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tailwatch.parsers import build_parser
from tests.architecture.project import page
from tests.counterparts.choice import free_port, missing
from tests.counterparts.postgres import programs, running

ACTIONS = next(action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
COMMAND = (sys.executable, "-P", "-m", "tailwatch.cli")


def blocks(name: str) -> list[tuple[str, str]]:
    """(kind, text) of the fenced blocks of a how-to page."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page(f"how-to/{name}"), re.MULTILINE | re.DOTALL)


@pytest.mark.system
def test_querying_your_own_records_answers_what_the_page_shows(tmp_path: Path) -> None:
    text = page("how-to/query-your-own-records.md")
    names = re.findall(r"^File `([\w.]+)`", text, re.MULTILINE)
    assert names == ["probes.csv", "hosts.csv", "tailwatch.yaml"]
    for name, (_, content) in zip(names, blocks("query-your-own-records.md"), strict=True):
        (tmp_path / name).write_text(content, encoding="utf-8")
    shown = re.search(r"^    (probe_rtt_us in us.*?agents)$", text, re.MULTILINE | re.DOTALL)
    assert shown
    wanted = [line.strip() for line in shown[1].splitlines()]

    def run(*words: str) -> str:
        done = subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert run("config", "check", "tailwatch.yaml").startswith("tailwatch.yaml: ok")
    assert "revision" in run("db", "upgrade", "--config", "tailwatch.yaml")
    port = str(free_port())
    ports = {"agent": [], "collector": [], "api": ["--port", port]}
    parts = [
        subprocess.Popen(
            [*COMMAND, part, "run", "--config", "tailwatch.yaml", "--log-level", "error", *more], cwd=tmp_path
        )
        for part, more in ports.items()
    ]
    try:
        words = [word for word in _asked(text) if word != "\\"]
        deadline = time.monotonic() + 60
        while (
            got := [line.strip() for line in run(*words, "--url", f"http://127.0.0.1:{port}").splitlines()]
        ) != wanted:
            assert time.monotonic() < deadline, got
            time.sleep(0.3)
    finally:
        for part in parts:
            part.terminate()
        codes = [part.wait(30) for part in parts]
    assert codes == [0, 0, 0]


def _asked(text: str) -> list[str]:
    command = re.search(r"^    \$ tailwatch (query .*?\\\n.*?)$", text, re.MULTILINE)
    assert command
    return command[1].split()


def test_the_configuration_for_separate_parts_is_sound(tmp_path: Path) -> None:
    ((_, content),) = blocks("run-the-parts-apart.md")
    file = tmp_path / "tailwatch.yaml"
    file.write_text(content, encoding="utf-8")
    done = subprocess.run([*COMMAND, "config", "check", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_on_drives_has_a_sound_configuration_and_commands_and_routes_that_exist(tmp_path: Path) -> None:
    ((kind, content),) = blocks("find-failing-drives.md")
    assert kind == "yaml"
    file = tmp_path / "tailwatch.yaml"
    file.write_text(content, encoding="utf-8")
    done = subprocess.run([*COMMAND, "config", "check", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = page("how-to/find-failing-drives.md")
    lines = [shlex.split(line)[1:] for line in re.findall(r"^    (tailwatch .*)$", text, re.MULTILINE)]
    assert len(lines) >= 12
    for words in lines:
        if words[0] in ACTIONS:
            assert build_parser().parse_args(words).command_module
    assert {words[0] for words in lines} - set(ACTIONS) <= {"ssd"}
    asked = re.findall(r"localhost:8080(/api/[^\s']*)", text)
    assert len(asked) >= 2
    for path in asked:
        assert f"{path}`" in page("reference/api.md")


def test_the_page_on_tails_has_a_sound_configuration_and_commands_and_routes_that_exist(tmp_path: Path) -> None:
    ((kind, content),) = blocks("tail-latency.md")
    assert kind == "yaml"
    file = tmp_path / "tailwatch.yaml"
    file.write_text(content, encoding="utf-8")
    done = subprocess.run([*COMMAND, "config", "check", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = page("how-to/tail-latency.md")
    lines = [shlex.split(line)[1:] for line in re.findall(r"^    (tailwatch .*)$", text, re.MULTILINE)]
    assert len(lines) >= 14
    for words in lines:
        joined = re.sub("(--start|--end)\n", r"\1=", "\n".join(words)).split("\n")  # which main() does
        assert build_parser().parse_args(joined).command_module
    asked = re.findall(r"127\.0\.0\.1:8080(/api/[^\s'?]*)", text)
    assert len(asked) >= 4
    for path in asked:
        assert f"{path.replace('/search', '/{service}')}`" in page("reference/api.md")


def test_the_page_on_keys_has_sound_configurations_and_its_command_says_what_it_shows(tmp_path: Path) -> None:
    found = [content for kind, content in blocks("secure-the-api.md") if kind == "yaml"]
    assert len(found) == 2
    for content in found:
        file = tmp_path / "tailwatch.yaml"
        file.write_text(content, encoding="utf-8")
        done = subprocess.run([*COMMAND, "config", "check", str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    shown = re.search(
        r"^    \$ tailwatch (key create .*)\n    (key 1 .*)\n    (tw_\w+_)\.\.\.$",
        page("how-to/secure-the-api.md"),
        re.M,
    )
    assert shown
    words = shown[1].replace("/etc/tailwatch/tailwatch.yaml", str(file)).split()
    subprocess.run([*COMMAND, "db", "upgrade", "--config", str(file)], check=True, capture_output=True, cwd=tmp_path)
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == shown[2] + "\n"
    assert re.fullmatch(r"tw_[a-z2-7]{8}_[a-z2-7]{52}\n", done.stdout)


def test_the_page_on_postgresql_makes_a_database_that_works(tmp_path: Path) -> None:
    if not programs():
        missing("no PostgreSQL program to follow the page with")
    found = re.findall(
        r"^ *```(\w+)\n(.*?)^ *```$", page("how-to/keep-windows-in-postgresql.md"), re.MULTILINE | re.DOTALL
    )
    assert [kind for kind, _ in found] == ["sql", "sh", "sh"]
    address = re.search(r"URL='(.*)'", found[1][1])
    assert address
    with running(programs()[0]) as server:
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
            for statement in found[0][1].split(";"):
                if statement.strip():
                    connection.execute(statement)
        url = address[1].replace("db.example:5432", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            [*COMMAND, *found[2][1].split("\n")[0].split()[1:]],
            cwd=tmp_path, env={**os.environ, "TAILWATCH_DATABASE__URL": url},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "revision" in done.stdout
    assert "choose" not in done.stdout


def test_the_agent_that_is_watched_can_be_started_and_its_budget_cut_as_the_page_says(tmp_path: Path) -> None:
    made = dict(zip(("lines.py", "tailwatch.yaml"), blocks("change-a-running-agent.md")[1:], strict=True))
    text = page("how-to/change-a-running-agent.md")
    assert re.findall(r"^File `([\w.]+)`", text, re.MULTILINE) == list(made)
    assert [kind for kind, _ in made.values()] == ["python", "yaml"]
    fewer = made["lines.py"][1].replace("6_000_000", "6_000")
    subprocess.run([sys.executable, "-c", fewer], cwd=tmp_path, check=True)
    (tmp_path / "tailwatch.yaml").write_text(made["tailwatch.yaml"][1], encoding="utf-8")
    (cut,) = re.findall(r"^    (sed -i .*)$", text, re.MULTILINE)

    def run(*words: str) -> str:
        done = subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "ok (1 queries, 1 metrics" in run("config", "check", "tailwatch.yaml")
    subprocess.run(["sh", "-c", cut], cwd=tmp_path, check=True)
    plan = json.loads(run("agent", "plan", "--config", "tailwatch.yaml", "--json", "--seconds", "60"))
    assert plan["budget"]["cores"] == 0.045
    assert plan["queries"][0]["operators"] == ["extract", "project", "aggregate"]
    assert plan["sources"][0]["records"] == 6_000
