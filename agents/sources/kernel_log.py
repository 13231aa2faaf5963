"""Reads the kernel's log, from /dev/kmsg: what was written since the last look, without waiting.

The kernel keeps its messages in a ring: what was not read in time is overwritten, which the sequence numbers show. They
also are the position from which an agent that was restarted goes on, as long as the host was not.
Times are those of the kernel's own clock, which counts from the start of the host and drifts: a message that was not
there at the last look is at least as new as that, so its time is put between the two looks.
"""

import errno
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from agents.sources.xids import LogLine

log = logging.getLogger(__name__)

MOST_MESSAGES: Final = 4096
_LONGEST_MESSAGE_BYTES: Final = 16384
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_RETRY_S: Final = 60.0
_NUMBER = re.compile(rb"[0-9]{1,16}")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


class Place(msgspec.Struct, frozen=True):
    """The next message to read; `boot` says which start of the host the number belongs to."""

    boot: str
    sequence: int


class KernelLog(Protocol):
    """A log that can be read on."""

    problem: str

    def read(self) -> list[LogLine]:
        """Messages of NVIDIA's driver that came since the last call."""

    def place(self) -> bytes | None:
        """Where the next one will begin."""

    def go_to(self, place: bytes | None) -> None:
        """Begin there; without a place, with what comes from now on."""

    def counters(self) -> dict[str, int]:
        """What was read, and what could not be."""

    def close(self) -> None:
        """Let go of it."""


class Kmsg:
    """/dev/kmsg, or what looks like it.

    Attributes:
        problem: why it cannot be read now; empty when it can.
    """

    def __init__(
        self,
        path: Path,
        *,
        opened: Callable[[Path], int] = lambda path: os.open(path, os.O_RDONLY | os.O_NONBLOCK),
        read: Callable[[int, int], bytes] = os.read,
        clock_ns: Callable[[], int] = time.time_ns,
        since_boot_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        boot_id: Callable[[], str] = lambda: _BOOT_ID.read_text(encoding="ascii").strip(),
    ) -> None:
        """Nothing is opened before the first `read`."""
        self.problem = ""
        self._path = path
        self._open = opened
        self._read = read
        self._clock_ns = clock_ns
        self._since_boot_ns = since_boot_ns
        self._boot_id = boot_id
        self._descriptor: int | None = None
        self._retry_at_ns = 0
        self._boot = ""
        self._next: int | None = None
        self._skip = True
        self._ours: int | None = None  # the last message that was the driver's
        self._drained_ns: int | None = None
        self._counters = {"kernel_messages_lost": 0, "kernel_messages_malformed": 0}

    def go_to(self, place: bytes | None) -> None:
        """Begin behind what was read before the agent was restarted.

        A host that was restarted has another log, of which nothing was read: its beginning counts then.
        """
        self._skip = place is None  # read up to the end, to learn its number
        self._next = None
        if place is None:
            return
        try:
            decoded = msgspec.msgpack.decode(place, type=Place)
            if decoded.boot == self._boot_id():
                self._next = decoded.sequence
        except (msgspec.MsgspecError, OSError) as error:
            log.warning("place in the kernel's log cannot be used error=%s", error)
            self._skip = True

    def place(self) -> bytes | None:
        """The next message; None while nothing was read."""
        return None if self._next is None else self._place_of(self._next)

    def read(self) -> list[LogLine]:
        """What came since the last call, at most 4,096 messages at once."""
        descriptor = self._ready()
        lines: list[LogLine] = []
        if descriptor is None:
            return lines
        for _ in range(MOST_MESSAGES):
            try:
                record = self._read(descriptor, _LONGEST_MESSAGE_BYTES)
            except BlockingIOError:
                self._drained_ns = self._clock_ns()
                self._skip = False
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten; the next one that is there follows
                    self._drained_ns = None
                    continue
                if error.errno == errno.EINVAL:  # longer than any message should be
                    self._counters["kernel_messages_malformed"] += 1
                    continue
                self._fail(error)
                break
            if not record:
                break
            line = self._line(record)
            if line is not None and not self._skip:
                lines.append(line)
        return lines

    def counters(self) -> dict[str, int]:
        """Messages overwritten before they were read, and such that could not be understood."""
        return self._counters

    def close(self) -> None:
        """Close the device."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _ready(self) -> int | None:
        if self._descriptor is None and self._clock_ns() >= self._retry_at_ns:
            try:
                self._boot = self._boot_id()
                self._descriptor = self._open(self._path)
            except OSError as error:
                self._fail(error)
            else:
                self.problem = ""
        return self._descriptor

    def _fail(self, error: OSError) -> None:
        self.close()
        self._drained_ns = None
        self._retry_at_ns = self._clock_ns() + int(_RETRY_S * 1e9)
        hint = ""
        if error.errno in (errno.EPERM, errno.EACCES):
            hint = "; reading it needs root or CAP_SYSLOG"
        problem = f"{self._path}: {os.strerror(error.errno or 0)}{hint}"
        if problem != self.problem:
            log.warning("kernel log cannot be read reason=%s", problem)
        self.problem = problem

    def _line(self, record: bytes) -> LogLine | None:
        """PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,...];TEXT, then lines of a dictionary that begin with a space."""
        head, _, rest = record.partition(b";")
        fields = head.split(b",")
        numbers = [int(number) for number in fields[:3] if _NUMBER.fullmatch(number)]
        if len(numbers) < 3:
            self._counters["kernel_messages_malformed"] += 1
            return None
        priority, sequence, since_boot_us = numbers
        if self._next is not None:
            if sequence < self._next:  # read before the restart
                return None
            self._counters["kernel_messages_lost"] += sequence - self._next
        self._next = sequence + 1
        text = rest.split(b"\n", 1)[0]
        follows = (len(fields) > 3 and fields[3][:1] == b"c") or text[:1] in (b" ", b"\t")
        follows = follows and self._ours == sequence - 1
        # Programs can write to the log as well, but not in the kernel's name.
        if priority >> 3 or not (follows or b"NVRM" in text or b"nvidia-nvswitch" in text):
            return None
        self._ours = sequence
        decoded = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text.decode("utf-8", "replace"))
        return LogLine(self._time_of(since_boot_us), decoded, self._place_of(sequence), follows)

    def _time_of(self, since_boot_us: int) -> int:
        now_ns = self._clock_ns()
        ts_ns = now_ns - max(0, self._since_boot_ns() - since_boot_us * 1000)
        return ts_ns if self._drained_ns is None else min(max(ts_ns, self._drained_ns), now_ns)

    def _place_of(self, sequence: int) -> bytes:
        return msgspec.msgpack.encode(Place(self._boot, sequence))
