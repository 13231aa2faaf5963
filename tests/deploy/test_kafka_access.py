"""deploy/kafka/allow: which rights it asks Kafka's tools for, and that a password never becomes an argument."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.deployed import DEPLOY

_TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
for word in "$@"; do case $word in /tmp/*) cat "$word" >>"$CALLS.file" ;; esac; done
"""


def allowed(folder: Path, *words: str, password: str = "") -> tuple[int, list[str], str]:
    """Exit code, the calls of Kafka's tools, and the file that one of them was given."""
    for name in ("kafka-acls.sh", "kafka-configs.sh"):
        (folder / name).write_text(_TOOL)
        (folder / name).chmod(0o755)
    calls = folder / "calls"
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls), "SERVERS": "b:9093", "ADMIN": "admin.properties",
        "TMPDIR": "/tmp",
    }  # fmt: skip
    command = [str(DEPLOY / "kafka/allow"), *words]
    done = subprocess.run(command, input=password, text=True, capture_output=True, env=environment, check=False)
    given = Path(f"{calls}.file")
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done.returncode, lines, given.read_text() if given.exists() else ""


def test_an_agent_may_write_and_nothing_else(tmp_path: Path) -> None:
    code, calls, _ = allowed(tmp_path, "agent", "web-7")
    assert code == 0
    (call,) = calls
    assert call.startswith("kafka-acls.sh --bootstrap-server b:9093 --command-config admin.properties --add ")
    assert call.endswith("--allow-principal User:web-7 --operation Write --operation Describe --topic tailwatch")


def test_a_collector_may_read_topic_and_group(tmp_path: Path) -> None:
    code, calls, _ = allowed(tmp_path, "collector", "collectors")
    assert code == 0
    assert [call.partition("User:collectors ")[2] for call in calls] == [
        "--operation Read --operation Describe --topic tailwatch",
        "--operation Read --group tailwatch",
    ]


def test_a_password_comes_by_stdin_and_goes_by_a_file_that_is_gone_afterwards(tmp_path: Path) -> None:
    code, calls, given = allowed(tmp_path, "agent", "web-7", password="hunter2\n")
    assert code == 0
    assert (
        given == "SCRAM-SHA-512=password=hunter2\n"
    )  # as kafka-configs.sh reads it, which takes no brackets in a file
    assert "hunter2" not in "".join(calls)
    file = calls[0].rpartition(" ")[2]
    assert not Path(file).exists()


def test_a_password_arrives_as_it_was_given(tmp_path: Path) -> None:
    code, _, given = allowed(tmp_path, "agent", "web-7", password="a\\b[c]=d,e:#! f \n")
    assert code == 0
    assert given == "SCRAM-SHA-512=password=a\\\\b[c]=d,e:#! f \n"


def test_a_password_that_kafka_s_tools_would_misread_is_refused(tmp_path: Path) -> None:
    code, calls, _ = allowed(tmp_path, "agent", "web-7", password="gr\u00fcn\n")
    assert code == 2
    assert calls == []


@pytest.mark.parametrize("words", [("agent",), ("grafana", "x")])
def test_what_is_no_part_changes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, calls, _ = allowed(tmp_path, *words, password="hunter2\n")
    assert code == 2
    assert calls == []
