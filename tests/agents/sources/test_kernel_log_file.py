"""The kernel's log as a file of syslog: times, rotation, and who may speak for the kernel."""

from datetime import datetime
from pathlib import Path

import pytest

from agents.sources.kernel_log_file import LINGER_S, KernelLogFile
from tests.agents.sources.test_kernel_log import XID, S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kern.log"


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def local(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone().timestamp()) * S


NOW = local("2026-11-22T12:00:00")


@pytest.mark.parametrize(
    ("head", "ts_ns"),
    [
        ("2026-11-22T11:59:30.250000+00:00 node7 kernel: ",
         int(datetime.fromisoformat("2026-11-22T11:59:30+00:00").timestamp()) * S + S // 4),
        ("Nov 22 11:59:30 node7 kernel: [240314.528856] ", local("2026-11-22T11:59:30")),
        ("Nov 22 11:59:30 node7 kernel: ", local("2026-11-22T11:59:30")),
        ("[Sun Nov 22 11:59:30 2026] ", local("2026-11-22T11:59:30")),
        ("[240314.528856] ", NOW),
        ("kernel: ", NOW),
        ("", NOW),
        ("Nov 22 14:00:00 node7 kernel: ", NOW),  # two hours ahead
    ],
)  # fmt: skip
def test_times_are_read_as_syslog_and_dmesg_write_them(path: Path, head: str, ts_ns: int) -> None:
    write(path, "old line")
    # The first case is of another zone than this host's, perhaps.
    log = KernelLogFile(path, clock_ns=lambda: max(NOW, ts_ns))
    log.read()
    write(path, head + XID)
    (line,) = log.read()
    assert (line.text, line.ts_ns) == (XID, ts_ns)


def test_around_new_year_the_year_is_the_one_that_fits(path: Path) -> None:
    now = local("2027-01-01T00:10:00")
    log = KernelLogFile(path, clock_ns=lambda: now)
    write(path, "old")
    log.read()
    write(path, "Dec 31 23:50:00 node7 kernel: " + XID)
    assert log.read()[0].ts_ns == local("2026-12-31T23:50:00")


def test_what_is_more_than_a_week_old_is_left_out_and_counted(path: Path) -> None:
    log = KernelLogFile(path, clock_ns=lambda: NOW)
    assert log.read() == []  # a file that appears later counts from its beginning
    write(path, *(f"Nov {day} 11:00:00 node7 kernel: {XID}" for day in (10, 31, 20)))
    assert [line.ts_ns for line in log.read()] == [NOW, local("2026-11-20T11:00:00")]
    assert log.counters()["kernel_lines_too_old"] == 1
    assert log.counters()["kernel_lines_time_off"] == 1


@pytest.mark.parametrize("head", ["Nov 22 11:59:30 node7 python[77]: ", "Nov 22 11:59:30 node7 python: ", "app: x "])
def test_programs_that_claim_to_be_the_kernel_are_counted_only(path: Path, head: str) -> None:
    log = KernelLogFile(path, clock_ns=lambda: NOW)
    log.read()
    write(path, head + XID)
    assert log.read() == []
    assert log.counters()["kernel_lines_not_kernel"] == 1


def test_a_file_is_read_on_from_its_end_and_over_rotation_and_truncation(path: Path) -> None:
    write(path, XID + " 0")
    log = KernelLogFile(path)
    assert log.read() == []
    with path.open("a", encoding="utf-8") as file:
        file.write(XID + " 1\n" + XID)
        file.flush()
        assert [line.text[-1] for line in log.read()] == ["1"]
        file.write(" 2\n")
    path.rename(path.with_name("kern.log.1"))
    assert [line.text[-1] for line in log.read()] == ["2"]
    assert log.read() == []  # the new one is not there yet
    write(path, XID + " 3")
    assert log.read() == []
    assert [line.text[-1] for line in log.read()] == ["3"]
    path.write_text("", encoding="utf-8")
    assert log.read() == []
    write(path, XID + " 4")
    assert [line.text[-1] for line in log.read()] == ["4"]
    assert log.problem == ""
    log.close()


def test_a_restarted_agent_reads_a_file_on_even_if_it_was_rotated_meanwhile(path: Path) -> None:
    write(path, "x")
    before = KernelLogFile(path)
    before.read()
    write(path, XID + " 1")
    assert len(before.read()) == 1
    place = before.place()
    before.close()
    write(path, XID + " 2")
    path.rename(path.with_name("kern.log.1"))
    write(path, XID + " 3")
    after = KernelLogFile(path)
    after.go_to(place)
    found = [line.text[-1] for _ in range(4) for line in after.read()]
    assert found == ["2", "3"]
    after.close()


def test_a_file_that_was_moved_aside_is_read_on_while_its_writer_goes_on(path: Path) -> None:
    now = [NOW]
    write(path, "x")
    log = KernelLogFile(path, clock_ns=lambda: now[0])
    assert log.read() == []
    with path.open("a", encoding="utf-8") as writer:
        path.rename(path.with_name("kern.log.1"))
        write(path, "of another program")
        assert log.read() == log.read() == []
        writer.write(XID + " 1\n")  # it has not been told yet
    write(path, XID + " 2")
    assert [line.text[-1] for line in log.read()] == ["1", "2"]
    now[0] += int(LINGER_S * 1e9)
    log.read()
    write(path.with_name("kern.log.1"), XID + " 3")
    assert log.read() == []
    log.close()


def test_a_file_that_was_cut_and_has_grown_beyond_is_read_from_its_beginning(path: Path) -> None:
    write(path, "x")
    log = KernelLogFile(path)
    log.read()
    write(path, XID + " 1")
    assert len(log.read()) == 1
    path.write_text("".join(f"{XID} {number}\n" for number in range(5)), encoding="utf-8")
    assert [line.text[-1] for line in log.read()] == list("01234")
    log.close()


def test_a_file_that_cannot_be_read_is_a_state(tmp_path: Path) -> None:
    log = KernelLogFile(tmp_path / "absent")
    assert log.read() == []
    assert "No such file" in log.problem
    (tmp_path / "absent").write_text(XID + "\n", encoding="utf-8")
    assert len(log.read()) == 1
    assert log.problem == ""
    log.close()


def test_a_line_without_end_fills_no_memory(path: Path) -> None:
    write(path, "x")
    log = KernelLogFile(path)
    log.read()
    with path.open("ab") as file:
        file.write(b"NVRM: " + b"\x00" * 3_000_000 + b"\n" + XID.encode() + b"\n")
    found = [line.text for _ in range(6) for line in log.read()]
    assert found == [XID]
    assert log.counters()["kernel_lines_too_long"] >= 1
    log.close()
