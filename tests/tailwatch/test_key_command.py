"""`tailwatch key`: made, listed, revoked; the key is shown once and never logged."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from store.api_keys import api_keys, digest_of
from store.connect import open_engine
from tailwatch.cli import main

KEY = r"tw_[a-z2-7]{8}_[a-z2-7]{52}"


@pytest.fixture
def database(upgraded_url: str) -> list[str]:
    return ["--set", f"database.url={upgraded_url}"]


def stored(database: list[str]) -> list[Any]:
    engine = open_engine(database[1].partition("=")[2])
    with engine.connect() as connection:
        found = api_keys(connection)
    engine.dispose()
    return found


def test_a_key_goes_to_stdout_alone_and_what_is_said_of_it_to_stderr(
    database: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--scope", "admin", "--scope", "read", "--expires", "90d", "--log-level", "debug"]
    assert main(["key", "create", "operator", *words, *database]) == 0
    said = capsys.readouterr()
    assert re.fullmatch(KEY + "\n", said.out)
    assert re.search(r"key 1 'operator' with scope read, admin, until 20\d\d-.*Z; it is shown this once", said.err)
    assert not re.search(KEY, said.err)
    (row,) = stored(database)
    assert row.digest == digest_of(said.out.strip())
    assert abs(row.expires_ns - row.created_ns - 90 * 86_400 * 10**9) < 10**9
    assert abs(row.created_ns - time.time_ns()) < 60 * 10**9


def test_keys_are_listed_without_their_secrets_and_revoked_by_name(
    database: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "list", *database]) == 0
    assert "no keys; make one with `tailwatch key create" in capsys.readouterr().out
    main(["key", "create", "grafana", *database])
    main(["key", "create", "rack7", "--scope", "agent", *database])
    secret = capsys.readouterr().out.splitlines()[0].rpartition("_")[2]
    assert main(["key", "revoke", "grafana", *database]) == 0
    assert capsys.readouterr().out == "key 1 'grafana' is revoked; running APIs refuse it within 5 s\n"
    assert main(["key", "revoke", "1", *database]) == 0
    assert "was revoked already, at 20" in capsys.readouterr().out
    assert main(["key", "list", *database]) == 0
    table = capsys.readouterr().out
    assert re.search(r"^ 1  grafana  tw_\w{8}  read    revoked  20.*Z  -        -$", table, re.MULTILINE)
    assert re.search(r"^ 2  rack7    tw_\w{8}  agent   active   20.*Z  -        -$", table, re.MULTILINE)
    assert secret not in table
    assert main(["key", "list", "--output", "json", *database]) == 0
    listed = json.loads(capsys.readouterr().out)["keys"]
    assert [(key["name"], key["scopes"], key["state"]) for key in listed] == [
        ("grafana", ["read"], "revoked"),
        ("rack7", ["agent"], "active"),
    ]
    assert listed[1]["last_used"] is None


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["create", "a b"], 1, "'a b' cannot name a key; want a letter"),
        (["create", "x", "--expires", "99999999w"], 1, "want a time to come"),
        (["revoke", "nobody"], 1, "unknown key 'nobody'"),
        (["create", "x", "--scope", "write"], 2, "invalid choice: 'write'"),
        (["create", "x", "--expires", "soon"], 2, "'soon' is no duration; want a number and s, m, h, d or w"),
        (["create", "x", "--expires", "0d"], 2, "'0d' is no duration"),
        (["create"], 2, "NAME"),
        (["revoke"], 2, "KEY"),
    ],
)
def test_wrong_input_is_one_clear_message(
    database: list[str], capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    try:
        got: Any = main(["key", *words, *database])
    except SystemExit as ended:
        got = ended.code
    said = capsys.readouterr()
    assert (got, said.out) == (code, "")
    assert text in said.err
    assert "Traceback" not in said.err
    assert stored(database) == []


def test_a_database_that_is_not_there_is_not_made_by_looking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "create", "x", "--data", str(tmp_path / "d")]) == 1
    assert "there is no database at" in (said := capsys.readouterr().err)
    assert "tailwatch db upgrade" in said
    assert not (tmp_path / "d").exists()


def test_a_database_of_another_release_is_refused(database: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    engine = open_engine(database[1].partition("=")[2])
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    engine.dispose()
    assert main(["key", "create", "x", *database]) == 1
    said = capsys.readouterr()
    assert (said.out, "tailwatch db upgrade" in said.err) == ("", True)


GIVEN = f"tw_abcdefgh_{'abcd2345' * 6}wxyz"


def test_a_key_that_a_file_holds_is_kept_once_and_not_said(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(GIVEN + "\n")
    words = ["key", "create", "grafana", "--key-path", str(tmp_path / "key"), *database]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "key 1 'grafana' with scope read is kept now\n"
    assert main(words) == 0, "as at every start of a deployment"
    assert capsys.readouterr().err == "key 1 'grafana' with scope read is there already\n"
    (row,) = stored(database)
    assert (row.digest, row.prefix) == (digest_of(GIVEN), "tw_abcdefgh")


@pytest.mark.parametrize(
    ("text", "words", "reason"),
    [
        ("hunter2", [], "has not the shape of one"),
        (GIVEN[:-1] + "q", [], "another key named 'grafana', number 1"),
        (GIVEN.replace("tw_abc", "tw_xyz"), [], "another key named 'grafana', number 1"),
        (GIVEN, ["--scope", "admin"], "number 1 already: 'grafana' with scope read, active; draw another one"),
    ],
)
def test_a_key_of_a_file_that_is_another_one_is_refused(
    text: str, words: list[str], reason: str, database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(GIVEN)
    assert main(["key", "create", "grafana", "--key-path", str(tmp_path / "key"), *database]) == 0
    (tmp_path / "other").write_text(text)
    capsys.readouterr()
    assert main(["key", "create", "grafana", "--key-path", str(tmp_path / "other"), *words, *database]) == 1
    said = capsys.readouterr()
    assert reason in said.err
    assert text not in said.err, "a secret is not repeated"
    assert len(stored(database)) == 1


def test_a_file_that_is_no_text_is_no_key(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    assert main(["key", "create", "grafana", "--key-path", str(tmp_path / "key"), *database]) == 1
    assert "has not the shape of one" in capsys.readouterr().err


def test_a_revoked_key_does_not_come_back_from_its_file(
    database: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(GIVEN)
    words = ["key", "create", "grafana", "--key-path", str(tmp_path / "key"), *database]
    main(words)
    main(["key", "revoke", "grafana", *database])
    assert main(words) == 1
    assert "revoked; draw another one" in capsys.readouterr().err
