"""The kernel's log from its device and from a file: order, times, gaps, restarts, rotation, permissions, odd input."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.progress import SourceProgress
from agents.reload import SourceChanges
from agents.source_swap import SourceSwap
from agents.sources.configs import GpuConfig
from agents.sources.gpu import GpuSource
from agents.sources.kernel_log import Kmsg
from agents.sources.kernel_log_file import KernelLogFile
from agents.sources.source import Batch
from agents.spool import StoredPosition
from tests.agents.sources.nvml_trace import PlayedNvml, trace_of
from tests.agents.sources.test_gpu import A100, TRACE, Clock
from tests.counterparts.choice import missing

XID = "NVRM: Xid (PCI:0000:9b:00): 79, pid=5, name=python3, GPU has fallen off the bus."
BOOTED_NS = 1_795_000_000_000_000_000
S = 10**9


class Ring:
    """A kernel's ring of messages, read as /dev/kmsg is: a record a read, an error where it was overwritten."""

    def __init__(self) -> None:
        self.now_ns = BOOTED_NS + 1000 * S
        self.records: list[tuple[int, bytes]] = []
        self.next = 100
        self.errors: list[int] = []
        self.boot = "boot-1"
        self.opened = 0

    def say(self, text: str, *, at_s: float | None = None, priority: int = 4, flags: str = "-") -> None:
        since_us = (self.now_ns - BOOTED_NS) // 1000 if at_s is None else int(at_s * 1e6)
        self.records.append((self.next, f"{priority},{self.next},{since_us},{flags};{text}\n KEY=value\n".encode()))
        self.next += 1

    def kmsg(self, place: bytes | None = None, path: Path = Path("/dev/kmsg")) -> Kmsg:
        position = 0

        def opened(_: Path) -> int:
            nonlocal position
            if self.errors and self.errors[0] in (errno.EACCES, errno.ENOENT, errno.EPERM):
                raise OSError(self.errors.pop(0), "no")
            self.opened += 1
            position = 0
            return os.open("/dev/null", os.O_RDONLY)

        def read(_: int, size: int) -> bytes:
            nonlocal position
            if self.errors:
                raise OSError(self.errors.pop(0), "no")
            for sequence, record in self.records:
                if sequence >= position:
                    position = sequence + 1
                    return record[:size]
            raise BlockingIOError

        kmsg = Kmsg(
            path,
            opened=opened,
            read=read,
            clock_ns=lambda: self.now_ns,
            since_boot_ns=lambda: self.now_ns - BOOTED_NS,
            boot_id=lambda: self.boot,
        )
        kmsg.go_to(place)
        return kmsg


@pytest.fixture
def ring() -> Ring:
    return Ring()


def test_a_first_start_begins_with_what_is_written_from_then_on(ring: Ring) -> None:
    ring.say(XID)
    kmsg = ring.kmsg()
    assert kmsg.read() == []
    ring.say("usb 1-1: new device")
    ring.say(XID + " Again")
    assert [line.text for line in kmsg.read()] == [XID + " Again"]
    assert kmsg.read() == []
    assert kmsg.counters() == {"kernel_messages_lost": 0, "kernel_messages_malformed": 0}


def test_a_restarted_agent_goes_on_behind_the_last_message(ring: Ring) -> None:
    before = ring.kmsg()
    ring.say(XID + " 1")
    assert before.read() == []  # a first start
    ring.say(XID + " 2")
    assert len(before.read()) == 1
    place = before.place()
    ring.say(XID + " 3", at_s=900)
    (line,) = ring.kmsg(place).read()
    assert line.text.endswith("3")
    assert line.ts_ns == BOOTED_NS + 900 * S
    ring.records = ring.records[-1:]  # the ring forgot what was never read
    ring.records[0] = (ring.records[0][0], ring.records[0][1])
    later = ring.kmsg(place)
    ring.say(XID + " 4")
    assert [one.text[-1] for one in later.read()] == ["3", "4"]


def test_after_a_restart_of_the_host_its_log_is_read_from_the_beginning(ring: Ring) -> None:
    before = ring.kmsg()
    ring.say("x")
    before.read()
    place = before.place()
    ring.boot, ring.next, ring.records = "boot-2", 0, []
    ring.say(XID, at_s=4.5)
    (line,) = ring.kmsg(place).read()
    assert line.ts_ns == BOOTED_NS + 4_500_000_000


def test_messages_that_were_overwritten_are_counted(ring: Ring) -> None:
    kmsg = ring.kmsg()
    ring.say("one")
    kmsg.read()
    ring.next += 40
    ring.errors = [errno.EPIPE]
    ring.say(XID)
    assert len(kmsg.read()) == 1
    assert kmsg.counters()["kernel_messages_lost"] == 40


def test_a_message_is_as_new_as_the_look_before_whatever_the_kernels_clock_says(ring: Ring) -> None:
    """That clock drifts by seconds a month; the two looks are by the clock that all other records have."""
    kmsg = ring.kmsg()
    kmsg.read()
    looked_ns = ring.now_ns
    ring.now_ns += 2 * S
    ring.say(XID, at_s=990)
    ring.say(XID, at_s=1001)
    ring.say(XID, at_s=1500)
    times = [line.ts_ns for line in kmsg.read()]
    assert times == [looked_ns, BOOTED_NS + 1001 * S, ring.now_ns]


def test_programs_that_write_in_the_kernels_name_are_not_believed(ring: Ring) -> None:
    kmsg = ring.kmsg()
    kmsg.read()
    ring.say(XID, priority=12)  # what a program writes to /dev/kmsg is of facility user
    ring.say(XID, priority=3)
    assert len(kmsg.read()) == 1


def test_only_lines_right_behind_one_of_the_driver_go_on_with_it(ring: Ring) -> None:
    kmsg = ring.kmsg()
    kmsg.read()
    ring.say(" not of ours")
    ring.say(XID)
    ring.say("  its second line")
    ring.say("rest of a line", flags="c")
    ring.say("somebody else")
    ring.say("  their second line")
    assert [(one.text, one.follows) for one in kmsg.read()] == [
        (XID, False),
        ("  its second line", True),
        ("rest of a line", True),
    ]


def test_escaped_bytes_are_themselves_again(ring: Ring) -> None:
    kmsg = ring.kmsg()
    kmsg.read()
    ring.say(r"NVRM: a\x0ab\x5c")
    assert kmsg.read()[0].text == "NVRM: a\nb\\"


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.EPERM, "CAP_SYSLOG"), (errno.EACCES, "CAP_SYSLOG"), (errno.ENOENT, "")]
)
def test_a_log_that_cannot_be_read_is_a_state_and_tried_again(ring: Ring, code: int, hint: str) -> None:
    ring.errors = [code]
    kmsg = ring.kmsg()
    assert kmsg.read() == []
    assert "/dev/kmsg" in kmsg.problem
    assert hint in kmsg.problem
    assert kmsg.read() == []
    assert ring.opened == 0
    ring.now_ns += 61 * S
    ring.say(XID)
    kmsg.read()
    assert (kmsg.problem, ring.opened) == ("", 1)


def test_a_read_that_fails_closes_the_log_and_is_a_state(ring: Ring) -> None:
    kmsg = ring.kmsg()
    ring.errors = [errno.EIO]
    assert kmsg.read() == []
    assert "Input/output error" in kmsg.problem
    ring.now_ns += 61 * S
    kmsg.read()
    assert (kmsg.problem, ring.opened) == ("", 2)


def test_a_place_that_is_no_place_counts_as_none(ring: Ring) -> None:
    ring.say(XID)
    kmsg = ring.kmsg(b"\xff\x00")
    assert kmsg.read() == []
    ring.say(XID)
    assert len(kmsg.read()) == 1


ALMOST = st.from_regex(r"\d{1,25},-?\d{1,25},\d{1,30},[-c];NVRM.*", fullmatch=True).map(str.encode)


@given(records=st.lists(st.binary(max_size=60) | ALMOST, max_size=6))
def test_records_of_any_kind_are_read_without_an_error(records: list[bytes]) -> None:
    ring = Ring()
    kmsg = ring.kmsg()
    kmsg.read()
    ring.records = [(n + 1, record) for n, record in enumerate(records)]
    for line in kmsg.read():
        assert isinstance(line.ts_ns, int)
        assert line.ts_ns <= ring.now_ns
    assert kmsg.problem == ""


def test_a_socket_of_records_is_read_as_the_device_is() -> None:
    """Reads of a descriptor that does not block, as they are."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    kmsg = Kmsg(Path("/dev/kmsg"), opened=lambda _: os.dup(ours.fileno()), boot_id=lambda: "b")
    kmsg.go_to(None)
    assert kmsg.read() == []
    theirs.send(f"4,7,{time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000},-;{XID}\n".encode())
    (line,) = kmsg.read()
    assert abs(line.ts_ns - time.time_ns()) < 60 * S
    kmsg.close()
    ours.close()
    theirs.close()


def test_the_kernels_own_log_is_understood() -> None:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        missing(f"/dev/kmsg cannot be read here: {error}")
    kmsg = Kmsg(Path("/dev/kmsg"))
    kmsg.go_to(None)
    while kmsg.place() is None or kmsg._skip:
        kmsg.read()
        assert kmsg.problem == ""
    assert kmsg.counters()["kernel_messages_malformed"] == 0
    kmsg.close()


class GpuLog:
    """A GPU source whose kernel log is the ring's."""

    def __init__(self, ring: Ring, nvml: Any, clock: Clock, place: bytes | None = None) -> None:
        self._ring = ring
        self.source = GpuSource(GpuConfig(), lambda: nvml, clock, ring.kmsg())
        self.progress = SourceProgress(self.source, place and StoredPosition(place, None, None), ring.now_ns)  # type: ignore[arg-type]

    def poll(self) -> list[dict[str, Any]]:
        batches: list[Batch] = self.progress.poll(self._ring.now_ns)
        return [row for batch in batches if batch.stream == "gpu_xids" for row in batch.rows.to_dicts()]


@pytest.fixture
def gpus(ring: Ring) -> Iterator[GpuLog]:
    started = GpuLog(ring, PlayedNvml(trace_of(TRACE)), Clock())
    yield started
    started.source.close()


def test_an_event_becomes_a_row_with_the_gpu_that_nvml_knows_at_that_address(ring: Ring, gpus: GpuLog) -> None:
    gpus.source.read_all()
    gpus.poll()
    ring.now_ns += S
    ring.say(XID)
    ring.say("NVRM: more about it")
    written_ns = ring.now_ns
    ring.now_ns += S
    assert gpus.poll() == []  # its last lines may still come
    assert gpus.progress.watermark_ns == written_ns
    (row,) = gpus.poll()
    assert (row["xid"], row["pci"], row["gpu"], row["uuid"], row["model"]) == (
        79, "0000:9b:00", "0", A100, "Example A100-SXM4-80GB",
    )  # fmt: skip
    assert (row["pid"], row["process"], row["message"]) == (5, "python3", "GPU has fallen off the bus.")
    assert (row["ts"], row["details"], row["kind"]) == (written_ns, "more about it", "xid")
    assert gpus.source.counters()["xids"] == 1
    assert gpus.progress.watermark_ns == ring.now_ns


def test_events_of_the_time_between_two_runs_of_an_agent_are_read(ring: Ring, gpus: GpuLog) -> None:
    gpus.poll()
    ring.say(XID)
    gpus.poll()
    held = gpus.progress.to_store()  # not yet given: the place is before it
    assert held is not None
    assert len(gpus.poll()) == 1
    given = gpus.progress.to_store()
    assert given is not None
    ring.say(XID.replace("79", "62"))
    again = GpuLog(ring, PlayedNvml(trace_of(TRACE)), Clock(), given.position)
    assert [row["xid"] for _ in range(3) for row in again.poll()] == [62]
    again.source.close()
    from_held = GpuLog(ring, PlayedNvml(trace_of(TRACE)), Clock(), held.position)
    assert [row["xid"] for _ in range(3) for row in from_held.poll()] == [79, 62]
    from_held.source.close()


def test_a_source_that_is_exchanged_gives_each_event_once(ring: Ring, gpus: GpuLog) -> None:
    gpus.poll()
    ring.say(XID)
    gpus.poll()  # held: its last lines may still come
    changed = GpuSource(GpuConfig(interval_s=9), lambda: PlayedNvml(trace_of(TRACE)), Clock(), ring.kmsg())
    given: list[Any] = []

    def take_in(one: SourceProgress) -> None:
        given.extend(row["xid"] for batch in one.poll(ring.now_ns) for row in batch.rows.to_dicts() if "xid" in row)

    swap = SourceSwap(SourceChanges(changed=[(gpus.progress, changed)]), {}, {}, {}, take_in)
    swap.open()
    ring.say(XID.replace("79", "31"))
    (runs,) = swap.close_old()
    for _ in range(3):
        take_in(runs)
    assert given == [79, 31]
    changed.close()


def test_a_kernel_log_that_cannot_be_read_is_a_state_of_the_source(ring: Ring) -> None:
    ring.errors = [errno.EPERM]
    gpus = GpuLog(ring, PlayedNvml(trace_of(TRACE)), Clock())
    assert gpus.poll() == []
    assert "CAP_SYSLOG" in gpus.source.missing()["kernel_log"]
    gpus.source.close()


def test_the_path_decides_how_a_log_is_read(tmp_path: Path) -> None:
    for path, kind in (("/dev/kmsg", Kmsg), (str(tmp_path / "kern.log"), KernelLogFile), ("", type(None))):
        assert type(GpuSource(GpuConfig(kernel_log_path=path))._kernel_log) is kind
