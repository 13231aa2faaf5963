"""Counterparts: what is chosen in which order, what a missing one does to a test, and that servers end."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.counterparts import choice
from tests.counterparts.choice import Counterparts, Wanted
from tests.counterparts.postgres import Program, empty_database, programs, running

NO_ENGINE = "no Docker engine answers"


def wanted(events: list[str], *, program: bool = True, container_starts: bool = True) -> Wanted:
    @contextmanager
    def server(name: str) -> Iterator[str]:
        if name == "container" and not container_starts:
            raise RuntimeError("image cannot be had")
        events.append(f"{name} starts")
        yield f"{name}:1"
        events.append(f"{name} stops")

    return Wanted(
        "broker",
        "STAND_IN_BROKER",
        lambda: server("container"),
        lambda: ("a program", lambda: server("program")) if program else "no program is installed",
    )


@pytest.fixture
def engine_says(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    said: dict[str, str | None] = {"": NO_ENGINE}
    monkeypatch.setattr(choice, "docker_engine", lambda: said[""])
    monkeypatch.delenv("STAND_IN_BROKER", raising=False)
    monkeypatch.delenv("STRICT", raising=False)
    return said


def test_an_address_in_the_environment_comes_first_and_nothing_is_started(
    engine_says: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_says[""] = None
    monkeypatch.setenv("STAND_IN_BROKER", "there:9")
    events: list[str] = []
    made = Counterparts(wanted(events))
    assert made.header() == ["counterpart broker: the one that STAND_IN_BROKER names"]
    assert made.address("broker") == "there:9"
    made.close()
    assert events == []


def test_a_container_is_taken_where_an_engine_answers_and_runs_once_for_all_tests(
    engine_says: dict[str, str | None],
) -> None:
    engine_says[""] = None
    events: list[str] = []
    made = Counterparts(wanted(events))
    assert events == []
    assert [made.address("broker") for _ in range(3)] == ["container:1"] * 3
    made.close()
    assert events == ["container starts", "container stops"]


def test_a_container_that_does_not_start_gives_way_to_a_program(engine_says: dict[str, str | None]) -> None:
    engine_says[""] = None
    made = Counterparts(wanted([], container_starts=False))
    assert made.address("broker") == "program:1"
    assert made.chosen["broker"].how == "a program"
    assert "image cannot be had" in made.chosen["broker"].why_not
    made.close()


def test_what_is_missing_skips_with_its_reason_and_fails_when_strict(
    engine_says: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Counterparts(wanted([], program=False))
    (line,) = made.header()
    assert "skipped" in line
    with pytest.raises(pytest.skip.Exception, match=r"STAND_IN_BROKER is not set; .*no program is installed"):
        made.address("broker")
    monkeypatch.setenv("STRICT", "1")
    with pytest.raises(pytest.fail.Exception, match="no broker to test with"):
        made.address("broker")


def test_a_silent_or_absent_docker_engine_is_a_reason_and_not_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_ENGINE_ANSWERS_WITHIN_S", 0.1)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert "/nowhere/docker.sock" in str(choice.docker_engine())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        assert "timed out" in str(choice.docker_engine())


def test_a_free_port_is_given_once_and_not_while_somebody_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [choice.free_port() for _ in range(100)]
    assert len(set(given)) == 100
    with socket.create_server(("127.0.0.1", given[0])), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", given[1]))
        drawn = iter([given[0], given[1], given[2], given[3]])
        monkeypatch.setattr(choice, "_drawn", {given[2]})
        monkeypatch.setattr(choice._draw, "randrange", lambda *_: next(drawn))
        assert choice.free_port() == given[3]


@pytest.mark.parametrize("program", programs(), ids=lambda program: program.name)
def test_a_server_starts_survives_a_kill_with_its_data_and_is_gone_in_the_end(program: Program) -> None:
    with running(program) as server:
        plain = server.url.replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(plain, connect_timeout=2)
        server.start()
        with psycopg.connect(plain) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
        with empty_database(server.url) as url:
            psycopg.connect(url.replace("+psycopg", "")).close()
        folder = server._folder
    assert not folder.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(plain, connect_timeout=2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as somebody else")
@pytest.mark.parametrize("program", programs()[:1], ids=lambda program: program.name)
def test_a_program_that_only_root_can_reach_is_copied_to_where_it_runs(program: Program, tmp_path: Path) -> None:
    package = program.folder.parents[1]
    shutil.copytree(program.folder.parent, tmp_path / "hidden" / package.name / program.folder.parent.name)
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, tmp_path / "hidden" / libraries.name)
    (tmp_path / "hidden").chmod(0o700)
    folder = tmp_path / "hidden" / package.name / program.folder.parent.name / program.folder.name
    with running(Program(folder, "hidden")) as server:
        psycopg.connect(server.url.replace("+psycopg", "")).close()
