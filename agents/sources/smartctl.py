"""Runs smartctl: finds the drives, reads one at a time, and gives up on one that does not answer.

smartctl is a program of others that speaks to hardware, so everything about it is bounded: its time, the bytes that it
prints, its priority. It is never asked to write to a drive or to start a test, and a sleeping disk is left asleep.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

LARGEST_ANSWER_BYTES: Final = 8 * 2**20
MOST_DRIVES: Final = 4096
_NICENESS: Final = 19
_KILLED_WITHIN_S: Final = 1.0
_LONGEST_NAME: Final = 256
_FOUND_OUT: Final = frozenset({"auto", "ata", "scsi", "sat", "nvme"})

Trouble: TypeAlias = Literal["timeout", "too_long", "garbage", "no_tool", "stopped", "stuck"]


@dataclass(frozen=True, slots=True)
class Drive:
    """How smartctl is told which drive: its path, and its type where the path is not enough (behind a controller)."""

    path: str
    type: str = ""

    @property
    def name(self) -> str:
        """Unique among the drives of a host."""
        return f"{self.path} -d {self.type}" if self.type else self.path


@dataclass(frozen=True, slots=True)
class Answer:
    """What smartctl printed, decoded; or what went wrong, with an example of what it printed."""

    document: object = None
    trouble: Trouble | None = None
    example: bytes = b""
    took_s: float = 0.0


class Smartctl:
    """One program; used from one thread, `stop` from any."""

    def __init__(self, path: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`path` is looked up where it has no slash."""
        self._path = path
        self._timeout_s = timeout_s
        self._clock = clock
        self._stop = threading.Event()
        self._stuck: dict[str, subprocess.Popen[bytes]] = {}
        self.running: int | None = None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def scan(self) -> Answer:
        """Ask which drives there are."""
        return self._ask("scan", ["--scan"])

    def read(self, drive: Drive) -> Answer:
        """All that a drive tells of itself."""
        kind = ["-d", drive.type] if drive.type else []
        return self._ask(drive.name, ["-x", "-n", "standby", *kind, drive.path])

    def stop(self) -> None:
        """End what runs; nothing is started afterwards."""
        self._stop.set()
        running = self.running
        if running is not None:
            with contextlib.suppress(OSError):
                os.killpg(running, signal.SIGKILL)

    def _ask(self, name: str, arguments: Sequence[str]) -> Answer:
        stuck = self._stuck.get(name)
        if stuck is not None:
            if stuck.poll() is None:
                return Answer(trouble="stuck")
            del self._stuck[name]
        began_s = self._clock()
        output, trouble = self._run(name, arguments, began_s + self._timeout_s)
        if self.stopped:
            return Answer(trouble="stopped")
        document = None if trouble else _decoded(output)
        if trouble is None and document is None:
            trouble = "garbage"
        return Answer(document, trouble, output if trouble else b"", self._clock() - began_s)

    def _run(self, name: str, arguments: Sequence[str], until_s: float) -> tuple[bytes, Trouble | None]:
        program = shutil.which(self._path)
        if program is None or self.stopped:
            return b"", "no_tool"
        try:
            process = subprocess.Popen(
                [program, "--json=c", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            return str(error).encode(), "no_tool"
        self.running = process.pid
        with contextlib.suppress(OSError):  # it may have ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        output, trouble = self._output(process, until_s)
        self.running = None
        self._end(name, process, trouble)
        return output, trouble

    def _output(self, process: subprocess.Popen[bytes], until_s: float) -> tuple[bytes, Trouble | None]:
        """What it prints until it closes its output, and what kept it from doing so."""
        assert process.stdout is not None  # we asked for a pipe
        parts: list[bytes] = []
        size = 0
        readable = select.poll()
        readable.register(process.stdout, select.POLLIN)
        while size <= LARGEST_ANSWER_BYTES:
            left_s = until_s - self._clock()
            if left_s <= 0 or not readable.poll(left_s * 1e3):
                return b"".join(parts), "timeout"
            part = os.read(process.stdout.fileno(), 2**16)
            if not part:
                return b"".join(parts), None
            parts.append(part)
            size += len(part)
        return b"".join(parts), "too_long"

    def _end(self, name: str, process: subprocess.Popen[bytes], trouble: Trouble | None) -> None:
        """Reap it; one that hangs in the kernel cannot even be killed, and is remembered until it ends."""
        assert process.stdout is not None
        process.stdout.close()
        for kill in (False, True) if trouble is None else (True,):
            if kill:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
            try:
                process.wait(_KILLED_WITHIN_S)
            except subprocess.TimeoutExpired:
                continue
            return
        self._stuck[name] = process


def found_drives(document: object) -> list[Drive] | None:
    """The drives that a scan's answer lists; None when it is no answer of smartctl's."""
    if not isinstance(document, dict) or not isinstance(document.get("smartctl"), dict):
        return None
    listed = document.get("devices")
    drives: dict[str, Drive] = {}
    for one in listed[:MOST_DRIVES] if isinstance(listed, list) else []:
        if not isinstance(one, dict):
            continue
        path, kind = one.get("name"), one.get("type", "")
        if not (isinstance(path, str) and path.startswith("/") and isinstance(kind, str) and not kind.startswith("-")):
            continue
        if max(len(path), len(kind)) > _LONGEST_NAME or not (path + kind).isprintable():
            continue
        # A scan opens nothing: it calls a SATA disk "scsi", and asking for that by name would keep smartctl from
        # finding out.
        drive = Drive(path, "" if kind in _FOUND_OUT else kind)
        drives.setdefault(drive.name, drive)
    return list(drives.values())


def drive_from_text(text: str) -> Drive:
    """A drive as the configuration names it: `/dev/sda`, or `/dev/sda -d megaraid,3`."""
    path, _, kind = text.partition(" -d ")
    return Drive(path, kind)


def _decoded(output: bytes) -> object:
    """The JSON, or None when it is none."""
    try:
        return json.loads(output, parse_constant=_refuse)
    except (ValueError, RecursionError):  # ValueError covers broken text, broken JSON and numbers of 10,000 digits
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
