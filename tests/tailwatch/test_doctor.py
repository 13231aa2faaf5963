"""`tailwatch doctor`: every fault it knows is found on the real thing, said in a line, and never waited for."""

import datetime as dt
import json
import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from agents.spool import Spool
from api.config import ApiConfig
from store.connect import open_engine, upgrade
from tailwatch import checkup
from tailwatch.checks import databases, disks
from tailwatch.cli import main
from tailwatch.commands import doctor
from tests.api.test_server import serving
from tests.api.world import fill, probe_records
from tests.counterparts.choice import free_port, missing
from tests.counterparts.postgres import programs, running
from tests.promptness import promptly
from tests.tailwatch.stand_in import StandIn
from tests.wire.kafka_world import made_topic, topic_settings
from wire import kafka_settings
from wire.embedded import EmbeddedPublisher

S = 10**9


class Doctor:
    """Runs the doctor on a data folder of the test's own; `said` maps checks to (state, detail, todo)."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/tailwatch.db"
        self._capsys = capsys

    def __call__(self, *settings: str, part: str = "") -> tuple[int, dict[str, tuple[str, str, str]]]:
        words = [word for setting in (f"api.port={free_port()}", *settings) for word in ("--set", setting)]
        words += ["--part", part] if part else []
        code = main(["doctor", "--data", str(self.folder), "--output", "json", *words])
        captured = self._capsys.readouterr()
        said = json.loads(captured.out)
        assert said["ok"] == (code == 0)
        assert captured.err == ""
        assert all(entry["todo"] for entry in said["checks"] if entry["state"] in ("warn", "fail"))
        return code, {entry["check"]: (entry["state"], entry["detail"], entry["todo"]) for entry in said["checks"]}


@pytest.fixture
def examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """A folder with an empty database of this release."""
    upgrade(f"sqlite:///{tmp_path}/tailwatch.db")
    return Doctor(tmp_path, capsys)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fill(tmp_path_factory.mktemp("doctor") / "tailwatch.db", probe_records(n=60))


def wait_for_check(name: str) -> None:
    """A check that was left behind must not go on into other tests."""
    for thread in threading.enumerate():
        if thread.name == f"check-{name}":
            thread.join(20)


class Patient(threading.Event):
    """Begins to count when all checks but that of the database have ended, however busy the machine is."""

    def wait(self, timeout: float | None = None) -> bool:
        for thread in threading.enumerate():
            if thread.name.startswith("check-") and thread.name != "check-database":
                thread.join(20)
        return super().wait(timeout)


def changed(url: str, statement: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_sound_place_is_ok_and_says_what_it_did_not_look_at(examined: Doctor) -> None:
    code, said = examined()
    assert code == 0
    states = {check: state for check, (state, _, _) in said.items()}
    assert states == {
        "config": "ok", "database": "ok", "schema": "ok", "clock": "skip", "agents' clocks": "skip", "keys": "ok",
        "transport": "skip", "disk of data_dir": "ok", "spool": "skip", "api": "skip",
    }  # fmt: skip
    assert all(detail.startswith("not checked: ") for state, detail, _ in said.values() if state == "skip")
    assert "SQLite has no clock but this machine's" in said["clock"][1]


def test_a_part_is_examined_for_what_it_needs(examined: Doctor) -> None:
    assert set(examined(part="agent")[1]) == {"config", "transport", "disk of data_dir", "spool"}
    assert set(examined(part="api")[1]) == {
        "config", "database", "schema", "clock", "agents' clocks", "keys", "disk of data_dir", "api",
    }  # fmt: skip
    collector = set(examined(part="collector")[1])
    assert collector == {
        "config", "database", "schema", "clock", "agents' clocks", "transport", "disk of data_dir",
    }  # fmt: skip


def test_people_get_a_line_each_and_what_to_do_below(examined: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", f"database.url=sqlite:///{examined.folder}/none.db", "--set", "api.port=0"]
    assert main(["doctor", "--data", str(examined.folder), *words]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = lines.index(f"fail  database          there is no database at {examined.folder}/none.db")
    assert lines[at + 1] == "                        -> run `tailwatch db upgrade`"
    assert lines[-1] == "1 failed, 0 to look at, of 6 checks"
    assert not (examined.folder / "none.db").exists()


def test_mistakes_in_the_configuration_are_named_and_nothing_else_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("api: {prot: 1}\nagent: {checkpoint_s: soon}\n", encoding="utf-8")
    assert main(["doctor", "--config", str(file), "--output", "json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [(entry["check"], entry["state"]) for entry in checks] == [
        ("config", "fail"), ("config", "fail"), ("everything else", "skip"),
    ]  # fmt: skip
    assert "did you mean port?" in checks[0]["detail"]
    file.write_text("queries: [{name: q, sql: SELECT 1}]\n", encoding="utf-8")
    assert main(["doctor", "--config", str(file), "--data", str(tmp_path), "--output", "json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert checks[0]["state"] == "fail"
    assert "queries[0].sql" in checks[0]["detail"]


@pytest.mark.parametrize(
    ("statement", "check", "words", "todo"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "schema", "has schema 0001", "tailwatch db upgrade"),
        ("UPDATE alembic_version SET version_num = '9999'", "schema", "has schema 9999", "install the release"),
        ("DROP TABLE alembic_version", "schema", "tables of another program", "point database.url"),
    ],
)
def test_a_database_of_another_kind_is_found(
    database_url: str, examined: Doctor, statement: str, check: str, words: str, todo: str
) -> None:
    upgrade(database_url)
    changed(database_url, statement)
    code, said = examined(f"database.url={database_url}")
    assert (code, said["database"][0]) == (1, "ok")
    assert said[check][0] == "fail"
    assert words in said[check][1]
    assert todo in said[check][2]
    assert "keys" not in said


def test_a_file_that_is_no_database_is_found(examined: Doctor) -> None:
    path = examined.folder / "x.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 40)
    code, said = examined(f"database.url=sqlite:///{path}")
    assert (code, said["database"][0]) == (1, "fail")
    assert "not a database" in said["database"][1]
    assert "restore a copy" in said["database"][2]
    assert examined("database.url=nosuch://x:secret@h")[1]["database"][0] == "fail"


def test_a_database_server_is_asked_for_its_clock_and_its_password_is_not_shown(
    postgres_url: str, examined: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(postgres_url)
    url = f"database.url={postgres_url.replace('postgres@', 'postgres:hunter2@')}"
    code, said = examined(url)
    assert (code, said["database"][0], said["clock"][0]) == (0, "ok", "ok")
    assert "hunter2" not in str(said)
    for ahead_s, state in ((-10, "warn"), (60, "fail")):
        read_ns: list[int] = []

        def read(read_ns: list[int] = read_ns, ahead_s: int = ahead_s) -> int:
            read_ns.append(time.time_ns() + ahead_s * S)
            return read_ns[-1]

        monkeypatch.setattr(databases, "time", SimpleNamespace(time_ns=read, perf_counter=time.perf_counter))
        code, said = examined(url)
        assert (code, said["clock"][0]) == (int(state == "fail"), state)
        way = "ahead of" if ahead_s > 0 else "behind"
        found = re.search(rf"is ([\d.]+) s {way} the database server", said["clock"][1])
        assert found
        # The server looked at its clock at some time between our first two looks, seconds apart on a busy machine.
        assert abs(float(found[1]) - abs(ahead_s)) <= 0.01 + (read_ns[1] - read_ns[0]) / 2 / S


def test_a_server_that_is_gone_is_found_and_one_that_stands_still_is_not_waited_for(
    examined: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not programs():
        missing("no PostgreSQL program to stop")
    with running(programs()[0]) as server:
        upgrade(server.url)
        url = f"database.url={server.url}"
        server.pause()
        try:
            monkeypatch.setattr(doctor, "_WITHIN_S", 1.0)
            with promptly(5), monkeypatch.context() as patched:
                patched.setattr(checkup, "threading", SimpleNamespace(Thread=threading.Thread, Event=Patient))
                code, said = examined(url)
        finally:
            server.resume()
            wait_for_check("database")
        assert (code, said["database"][:2]) == (1, ("fail", "no answer within 1 s"))
        assert said["disk of data_dir"][0] == "ok"
        monkeypatch.setattr(doctor, "_WITHIN_S", 10.0)
        server.kill()
        code, said = examined(url)
        assert (code, said["database"][0]) == (1, "fail")
        assert "check database.url, and that the server is running" in said["database"][2]


def test_agents_whose_clocks_are_ahead_are_named(
    filled: Any, examined: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_RECENT_S", 10**9)
    changed(filled.url, "UPDATE agents SET clock_offset_ns = -100000000")
    url = f"database.url={filled.url}"
    assert examined(url)[1]["agents' clocks"][:2] == ("ok", "none of 2 agents is ahead of its collector")
    changed(filled.url, "UPDATE agents SET clock_offset_ns = 9000000000 WHERE agent = 'agent-host1'")
    code, said = examined(url)
    assert (code, said["agents' clocks"][0]) == (0, "warn")
    assert said["agents' clocks"][1].endswith("ahead of their collector: agent-host1")


def test_a_missing_key_is_found_before_somebody_is_locked_out(
    examined: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = examined("api.host=0.0.0.0")
    assert (code, said["keys"][0]) == (1, "fail")
    assert "tailwatch key create" in said["keys"][2]
    main(["key", "create", "soon", "--expires", "3d", "--data", str(examined.folder)])
    capsys.readouterr()
    code, said = examined("api.auth=on")
    assert (code, said["keys"][:2]) == (0, ("warn", "1 good keys; expiring within 14 days: soon"))
    main(["key", "create", "later", "--data", str(examined.folder)])
    main(["key", "revoke", "soon", "--data", str(examined.folder)])
    capsys.readouterr()
    assert examined("api.auth=on")[1]["keys"][:2] == ("ok", "1 good keys")
    code, said = examined("api.host=0.0.0.0", "api.allow_unauthenticated=true")
    assert (code, said["keys"][0]) == (0, "warn")


def over(config: Any) -> list[str]:
    return [
        "transport.kind=kafka",
        f"transport.kafka.servers=[{config.servers[0]}]",
        f"transport.kafka.topic={config.topic}",
        "transport.kafka.request_timeout_s=2",
    ]


def test_a_broker_is_reached_and_its_topic_looked_at(kafka_server: str, examined: Doctor) -> None:
    code, said = examined(*over(made_topic(kafka_server)), part="agent")
    assert (code, said["broker"][0], said["broker clock"][0]) == (0, "ok", "skip")
    assert "4 partitions, 1 copies of each" in said["broker"][1]
    code, said = examined(*over(topic_settings(kafka_server)), part="agent")
    assert (code, said["broker"][0]) == (1, "fail")
    assert "there is no topic" in said["broker"][1]
    assert said["broker"][2] == "run `tailwatch topic create`"


def test_a_broker_that_is_gone_is_found_and_one_that_says_nothing_is_not_waited_for(
    examined: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = examined(*over(topic_settings(f"127.0.0.1:{free_port()}")), part="agent")
    assert (code, said["broker"][0]) == (1, "fail")
    assert "connection refused" in said["broker"][1]
    monkeypatch.setattr(doctor, "_WITHIN_S", 0.5)
    monkeypatch.setattr(kafka_settings, "BOOTSTRAP_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with promptly(4):
            code, said = examined(*over(topic_settings(f"127.0.0.1:{silent.getsockname()[1]}")), part="agent")
        wait_for_check("transport")
    assert (code, said["transport"][:2]) == (1, ("fail", "no answer within 0.5 s"))


def test_an_embedded_log_that_fills_up_or_is_none_is_found(examined: Doctor) -> None:
    path = examined.folder / "log.db"
    EmbeddedPublisher(path).close()
    assert examined(part="agent")[1]["transport"][0] == "ok"
    with closing(sqlite3.connect(path)) as log, log:
        log.execute("UPDATE partitions SET held_bytes = 60000000")
    code, said = examined(part="agent")
    assert (code, said["transport"][0]) == (0, "warn")
    assert "228.9 of at most 256 MiB" in said["transport"][1]
    path.write_bytes(b"x" * 5_000)
    for leftover in examined.folder.glob("log.db-*"):
        leftover.unlink()
    code, said = examined(part="agent")
    assert (code, said["transport"][0]) == (1, "fail")


@pytest.mark.parametrize(
    ("free", "files", "state", "words"),
    [
        (50 * 2**20, 10**6, "fail", "free space now"),
        (600 * 2**20, 10**6, "warn", "free space, or shorten"),
        (4 * 2**30, 10**6, "warn", "free space, or shorten"),
        (50 * 2**30, 10, "warn", "remove files"),
        (50 * 2**30, 0, "ok", ""),
    ],
)
def test_a_disk_that_fills_up_is_found(
    examined: Doctor, monkeypatch: pytest.MonkeyPatch, free: int, files: int, state: str, words: str
) -> None:
    disk = SimpleNamespace(
        f_bavail=free, f_frsize=1, f_blocks=100 * 2**30, f_favail=files, f_files=10**6 if files else 0
    )
    # Only in that module: what other tests left running looks at disks, too.
    monkeypatch.setattr(
        disks, "os", SimpleNamespace(access=os.access, W_OK=os.W_OK, X_OK=os.X_OK, statvfs=lambda _: disk)
    )
    code, said = examined(part="agent")
    assert (code, said["disk of data_dir"][0]) == (int(state == "fail"), state)
    assert words in said["disk of data_dir"][2]


def test_a_folder_that_cannot_be_used_is_found(examined: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    (examined.folder / "file").write_text("", encoding="utf-8")
    code, said = examined(f"agent.spool_path={examined.folder}/file/spool.db", part="agent")
    assert (code, said["disk of the spool"][:2]) == (1, ("fail", f"{examined.folder}/file is no folder"))
    access = os.access
    monkeypatch.setattr(disks.os, "access", lambda path, mode: path != examined.folder and access(path, mode))
    code, said = examined(part="agent")
    assert (code, said["disk of data_dir"][0]) == (1, "fail")
    assert "cannot be written by this user" in said["disk of data_dir"][1]


@pytest.fixture
def spool(examined: Doctor) -> Iterator[sqlite3.Connection]:
    """A spool that an agent of this machine has begun, to be changed by hand."""
    path = examined.folder / "spool.db"
    made = Spool(path, "m" * 32, 2**26)
    made.begin("agent-1", time.time_ns())
    made.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


FRAME = (
    "INSERT INTO frames (incarnation, kind, query, version, cut, window_first_ns, window_last_ns, created_ns, rows, "
    "bytes, body) VALUES (1, 'partial', 'q', 'v', 0, 0, 0, ?, 1, ?, x'00')"
)


def test_a_spool_that_waits_or_fills_up_is_found(examined: Doctor, spool: sqlite3.Connection) -> None:
    assert examined(part="agent")[1]["spool"][0] == "ok"
    spool.execute(FRAME, (time.time_ns() - S, 1_000))
    assert examined(part="agent")[1]["spool"][0] == "ok"
    spool.execute(FRAME, (time.time_ns() - 300 * S, 1_000))
    code, said = examined(part="agent")
    assert (code, said["spool"][0]) == (0, "warn")
    assert "2 frames wait" in said["spool"][1]
    assert "the oldest for 30" in said["spool"][1]
    spool.execute(FRAME, (time.time_ns(), 250 * 2**20))
    code, said = examined(part="agent")
    assert (code, said["spool"][0]) == (0, "warn")
    assert "rows of live sources are dropped, counted" in said["spool"][2]


def test_a_spool_of_a_newer_release_or_of_another_program_is_found(examined: Doctor, spool: sqlite3.Connection) -> None:
    spool.execute("PRAGMA user_version = 99")
    code, said = examined(part="agent")
    assert (code, said["spool"][0]) == (1, "fail")
    assert "run the newer release" in said["spool"][2]
    (examined.folder / "other.db").write_bytes(b"x" * 5_000)
    code, said = examined(f"agent.spool_path={examined.folder}/other.db", part="agent")
    assert (code, said["spool"][0]) == (1, "fail")


def test_a_running_api_is_asked_whether_it_is_ready(filled: Any, examined: Doctor) -> None:
    with serving(filled) as (url, _, _):
        port = f"api.port={url.rpartition(':')[2]}"
        code, said = examined(port)
        assert (code, said["api"][:2]) == (0, ("ok", f"{url} runs and is ready"))
        assert examined(port, "api.host=0.0.0.0")[1]["api"][0] == "ok"
        changed(filled.url, "UPDATE alembic_version SET version_num = 'was ' || version_num")
        code, said = examined(port)
        changed(filled.url, "UPDATE alembic_version SET version_num = substr(version_num, 5)")
    assert (code, said["api"][0]) == (1, "fail")
    assert "runs and is not ready: schema: the database has schema was " in said["api"][1]


def test_another_program_at_the_apis_port_is_found(api: StandIn, examined: Doctor) -> None:
    api.put("/readyz", b"<html>")
    code, said = examined(f"api.port={api.url.rpartition(':')[2]}")
    assert (code, said["api"][0]) == (1, "fail")
    assert "not as a Tailwatch API does (status 200)" in said["api"][1]


@pytest.mark.parametrize(("days", "state"), [(200, "ok"), (5, "warn"), (-1, "fail")])
def test_a_certificate_that_expires_is_found(
    filled: Any, examined: Doctor, tmp_path: Path, days: int, state: str
) -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    begun = until - dt.timedelta(days=300)
    issued = trustme.CA().issue_cert("localhost", not_before=begun, not_after=until)
    files = {"tls_certificate_path": str(tmp_path / "c.pem"), "tls_key_path": str(tmp_path / "k.pem")}
    issued.cert_chain_pems[0].write_to_path(files["tls_certificate_path"])
    issued.private_key_pem.write_to_path(files["tls_key_path"])
    with serving(filled, ApiConfig(port=0, **files)) as (url, _, _):
        settings = [f"api.{name}={path}" for name, path in files.items()]
        code, said = examined(f"api.port={url.rpartition(':')[2]}", *settings)
    assert code == int(state == "fail")
    if state == "fail":
        assert said["api"][0] == "fail"
        assert "certificate has expired" in said["api"][1]
    else:
        assert (said["api"][0], said["certificate"][0]) == ("ok", state)


def test_a_check_that_breaks_leaves_the_others_their_say() -> None:
    def broken() -> list[checkup.Finding]:
        raise RuntimeError("oh")

    def not_installed() -> list[checkup.Finding]:
        raise ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")

    fine = checkup.Finding("c", "ok", "fine")
    found = checkup.findings_of({"a": broken, "b": not_installed, "c": lambda: [fine]}, 5.0)
    assert [(finding.check, finding.state) for finding in found] == [("a", "fail"), ("b", "skip"), ("c", "ok")]
    assert "RuntimeError: oh" in found[0].detail
    assert "the package sqlalchemy is not installed" in found[1].detail
