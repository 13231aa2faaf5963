"""Reads the kernel's log from a file that a syslog daemon writes, for agents that may not read /dev/kmsg.

Rotation and truncation are survived: a file that was moved aside is read to its end first, and for a while on, since
its writer goes on with it until it is told. Lines carry their time as
syslog or dmesg write it; one that is missing, or more than an hour ahead, is replaced
by the time of reading. What is more than a week old is history, and left out.
"""

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Final

import msgspec

from agents.sources.logs_file import HEAD_BYTES
from agents.sources.xids import LogLine

log = logging.getLogger(__name__)

READ_AT_ONCE_BYTES: Final = 2**20
#: A file that was moved aside is looked at for so long.
LINGER_S: Final = 60.0
_LONGEST_LINE_BYTES: Final = 2**16
_OLDEST: Final = timedelta(days=7)
_NEWEST: Final = timedelta(hours=1)
# Time, host and program as syslog puts them before the kernel's words; or what dmesg does.
_HEAD = re.compile(
    r"(?:(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)) "
    r"|(?P<syslog>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) "
    r"|\[(?P<dmesg>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] )?"
    r"(?:[^\s:\[\]]{1,255} )?(?:kernel: )?(?:\[ *\d+\.\d+\] )?(?=NVRM: |nvidia-nvswitch\d+: )",
    re.ASCII,
)


class FilePlace(msgspec.Struct, frozen=True):
    """The next line to read, in the file of this number."""

    inode: int
    offset: int


@dataclass(slots=True)
class _Opened:
    """A file, how far it was read, and its first bytes as they were read: others there mean that it was cut."""

    file: IO[bytes]
    inode: int
    offset: int
    head: bytes
    grew: bool = False

    def place(self) -> bytes:
        """The next line."""
        return _place_of(self.inode, self.offset)


class KernelLogFile:
    """A file that grows.

    Attributes:
        problem: why it cannot be read now; empty when it can.
    """

    def __init__(self, path: Path, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Nothing is opened before the first `read`."""
        self.problem = ""
        self._path = path
        self._clock_ns = clock_ns
        self._now: _Opened | None = None
        self._moved: _Opened | None = None
        self._moved_at_ns = 0
        self._begun = False
        self._wanted: FilePlace | None = None
        self._last_place = _place_of(0, 0)
        self._counters = {
            "kernel_lines_time_off": 0,
            "kernel_lines_too_old": 0,
            "kernel_lines_too_long": 0,
            "kernel_lines_not_kernel": 0,
        }

    def go_to(self, place: bytes | None) -> None:
        """Begin behind what was read before the agent was restarted, or at the end where that is not known."""
        if place is not None:
            with contextlib.suppress(msgspec.MsgspecError):
                self._wanted = msgspec.msgpack.decode(place, type=FilePlace)

    def place(self) -> bytes | None:
        """The next line; None before the file was found."""
        if self._now is None:
            return self._last_place if self._begun else None
        return self._now.place()

    def read(self) -> list[LogLine]:
        """Lines of the driver's that came since the last call, of at most 1 MiB a file."""
        lines = [] if self._moved is None else self._read(self._moved)
        if self._moved is not None and not 0 <= self._clock_ns() - self._moved_at_ns < LINGER_S * 1e9:
            self._let_go_of_moved()
        if self._now is None and not self._open():
            return lines
        if self._now is not None:
            lines += self._read(self._now)
            if not self._now.grew:
                self._follow(self._now)
        return lines

    def counters(self) -> dict[str, int]:
        """Lines whose time is odd, that are too old or too long, or in which a program claims to be the kernel."""
        return self._counters

    def close(self) -> None:
        """Close the files."""
        self._let_go_of_moved()
        if self._now is not None:
            self._last_place = self._now.place()
            self._now.file.close()
            self._now = None

    def _open(self) -> bool:
        wanted, moved = self._wanted, self._path.with_name(self._path.name + ".1")
        path = self._path
        if wanted is not None:
            with contextlib.suppress(OSError):
                if moved.stat().st_ino == wanted.inode:
                    path = moved
        try:
            file = path.open("rb")
        except OSError as error:
            problem = f"{self._path}: {error.strerror}"
            if problem != self.problem:
                log.warning("kernel log cannot be read reason=%s", problem)
            self.problem = problem
            # A file that appears later is new, and counts from its beginning.
            self._begun = True
            return False
        status = os.fstat(file.fileno())
        if wanted is not None:
            offset = wanted.offset if status.st_ino == wanted.inode and wanted.offset <= status.st_size else 0
        else:
            offset = 0 if self._begun else status.st_size
        self._now = _Opened(file, status.st_ino, offset, os.pread(file.fileno(), min(HEAD_BYTES, offset), 0))
        self._wanted, self._begun, self.problem = None, True, ""
        return True

    def _read(self, one: _Opened) -> list[LogLine]:
        return [line for text, at in self._lines(one) if (line := self._line(text, one.inode, at)) is not None]

    def _lines(self, one: _Opened) -> Iterator[tuple[bytes, int]]:
        """Whole lines with the place where each begins; the rest of one that is not complete waits."""
        if os.pread(one.file.fileno(), len(one.head), 0) != one.head:
            one.offset, one.head = 0, b""
        one.file.seek(one.offset)
        data = one.file.read(READ_AT_ONCE_BYTES)
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_LINE_BYTES:
            self._counters["kernel_lines_too_long"] += 1
            end = len(data)
        one.grew = end > 0
        begin = one.offset
        one.offset += end
        if len(one.head) < HEAD_BYTES:
            one.head = (one.head + data[:end])[:HEAD_BYTES]
        for text in data[:end].split(b"\n"):
            if (b"NVRM" in text or b"nvidia-nvswitch" in text) and len(text) <= _LONGEST_LINE_BYTES:
                yield text, begin
            begin += len(text) + 1

    def _follow(self, one: _Opened) -> None:
        """After the end: is it still that file, and as long?"""
        try:
            status = self._path.stat()
        except OSError:
            return  # moved aside, and the new one is not there yet
        if status.st_ino != one.inode:
            self._let_go_of_moved()
            self._last_place = one.place()
            self._moved, self._now, self._moved_at_ns = one, None, self._clock_ns()
        elif status.st_size < one.offset:
            one.offset, one.head = 0, b""

    def _let_go_of_moved(self) -> None:
        if self._moved is not None:
            self._moved.file.close()
            self._moved = None

    def _line(self, data: bytes, inode: int, offset: int) -> LogLine | None:
        text = data.decode("utf-8", "replace")
        head = _HEAD.match(text)
        if head is None:
            if "Xid (" in text:
                self._counters["kernel_lines_not_kernel"] += 1
            return None
        ts_ns = self._time_of(head)
        if ts_ns is None:
            self._counters["kernel_lines_too_old"] += 1
            return None
        return LogLine(ts_ns, text[head.end() :], _place_of(inode, offset))

    def _time_of(self, head: re.Match[str]) -> int | None:
        """When a line was written; None of one that is more than a week old."""
        now_ns = self._clock_ns()
        now = datetime.fromtimestamp(now_ns / 1e9).astimezone()
        written = None
        with contextlib.suppress(ValueError, OverflowError):
            if head["iso"]:
                written = datetime.fromisoformat(head["iso"])
            elif head["syslog"]:
                written = _with_year(head["syslog"], now)
            elif head["dmesg"]:
                written = datetime.strptime(head["dmesg"], "%a %b %d %H:%M:%S %Y").astimezone()
            else:
                return now_ns
        if written is None or written > now + _NEWEST:
            self._counters["kernel_lines_time_off"] += 1
            return now_ns
        if written < now - _OLDEST:
            return None
        return int(written.timestamp() * 1e6) * 1000


def _place_of(inode: int, offset: int) -> bytes:
    return msgspec.msgpack.encode(FilePlace(inode, offset))


def _with_year(text: str, now: datetime) -> datetime | None:
    """Syslog leaves the year out: it is the one that brings the time closest to now."""
    found = []
    for year in (now.year - 1, now.year, now.year + 1):
        with contextlib.suppress(ValueError):  # 29 February
            found.append(datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S").astimezone())
    return min(found, key=lambda written: abs(written - now), default=None)
