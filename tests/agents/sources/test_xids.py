"""Xid events: how the driver writes them, several lines, who writes to the kernel's log, and lines of any kind."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sources.xids import DETAILS_LENGTH, MESSAGE_LENGTH, LogLine, XidAssembler, XidEvent


def line(text: str, ts_ns: int = 0, *, follows: bool = False) -> LogLine:
    return LogLine(ts_ns, text, str(ts_ns).encode(), follows)


def events_of(*texts: str) -> list[XidEvent]:
    assembler = XidAssembler()
    found = [event for n, text in enumerate(texts) if (event := assembler.take(line(text, n))) is not None]
    last = assembler.flush()
    return [*found, *([] if last is None else [last])]


@pytest.mark.parametrize(
    ("text", "xid", "pci", "pid", "process", "message"),
    [
        ("NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
         79, "0000:05:00", None, None, "GPU has fallen off the bus."),
        ("NVRM: Xid (PCI:0000:3B:00): 31, pid=251, name=python3.10, Ch 00000008, intr 00000000. MMU Fault",
         31, "0000:3b:00", 251, "python3.10", "Ch 00000008, intr 00000000. MMU Fault"),
        ("NVRM: Xid (PCI:0008:01:00): 149, NETIR_BER_EVENT Nonfatal XC0 i0 Link 01 (0x00082226 0x00000001)",
         149, "0008:01:00", None, None, "NETIR_BER_EVENT Nonfatal XC0 i0 Link 01 (0x00082226 0x00000001)"),
        ("NVRM: Xid (PCI:0000:18:00): 94, pid=7194, Contained: SM (0x1). RST: No, D-RST: No",
         94, "0000:18:00", 7194, None, "Contained: SM (0x1). RST: No, D-RST: No"),
        ("NVRM: Xid (0000:03:00): 8, Channel 00000001", 8, "0000:03:00", None, None, "Channel 00000001"),
        ("NVRM: Xid (PCI:0000:03:00): 62", 62, "0000:03:00", None, None, ""),
        ("NVRM: Xid (PCI:0000:03:00): 43, pid=9, name=a:b c, Ch 1", 43, "0000:03:00", 9, "a:b c", "Ch 1"),
        ("NVRM: Xid (PCI:0000:03:00): 43, pid=9, name=x", 43, "0000:03:00", 9, "x", ""),
    ],
)  # fmt: skip
def test_an_event_is_taken_apart(
    text: str, xid: int, pci: str, pid: int | None, process: str | None, message: str
) -> None:
    (event,) = events_of(text)
    assert (event.kind, event.xid, event.pci) == ("xid", xid, pci)
    assert (event.pid, event.process, event.message) == (pid, process, message)
    assert event.details == []


def test_events_of_an_nvswitch_are_events_of_another_kind() -> None:
    (event,) = events_of("nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, Link 32 egress error")
    assert (event.kind, event.xid, event.pci) == ("sxid", 12028, "0000:c1:00")
    assert event.message == "Non-fatal, Link 32 egress error"


def test_lines_that_the_driver_writes_behind_an_event_belong_to_it() -> None:
    first, second = events_of(
        "NVRM: GPU at PCI:0000:9b:00: GPU-11111111-2222-3333-4444-555555555555",
        "NVRM: GPU Board Serial Number: 1650",
        "NVRM: Xid (PCI:0000:9b:00): 119, pid=20, name=nvidia-smi, Timeout after 6s of waiting for RPC response",
        "NVRM: GPU4 GSP RPC buffer contains function 103 (GSP_RM_ALLOC).",
        "eth0: link is up",
        "NVRM:     entry function                   data0",
        "NVRM: GPU at PCI:0000:03:00: GPU-66666666-7777-8888-9999-000000000000",
        "NVRM: GPU Board Serial Number: 1651",
        "NVRM: Xid (PCI:0000:03:00): 45, pid=21, name=python3, Ch 00000001",
    )
    assert (first.xid, first.ts_ns) == (119, 2)
    assert first.uuid == "GPU-11111111-2222-3333-4444-555555555555"
    assert first.details == [
        "GPU4 GSP RPC buffer contains function 103 (GSP_RM_ALLOC).",
        "    entry function                   data0",
    ]
    assert (second.xid, second.uuid, second.details) == (45, "GPU-66666666-7777-8888-9999-000000000000", [])


def test_a_line_that_goes_on_belongs_to_the_event_before_it_whatever_it_says() -> None:
    assembler = XidAssembler()
    assembler.take(line("NVRM: Xid (PCI:0000:9b:00): 13, pid=1, name=a, Graphics SM Warp Exception"))
    assembler.take(line(" on (GPC 0, TPC 1)", follows=True))
    assembler.take(line(" of somebody else"))
    event = assembler.flush()
    assert event is not None
    assert event.details == [" on (GPC 0, TPC 1)"]
    assert assembler.flush() is None


def test_an_event_is_bounded_in_all_its_parts() -> None:
    long = "x" * 100_000
    (event,) = events_of(
        f"NVRM: Xid (PCI:0000:9b:00): 13, pid=1, name={long}, {long}",
        *[f"NVRM: {n} {'y' * 500}" for n in range(1000)],
    )
    assert event.process is None or len(event.process) <= 64
    assert len(event.message) <= MESSAGE_LENGTH
    assert 0 < sum(map(len, event.details)) <= DETAILS_LENGTH


@pytest.mark.parametrize(
    "text",
    [
        "NVRM: Xid (PCI:0000:9b): 13, Ch 1",
        "NVRM: Xid (PCI:0000:9b:00): many",
        "NVRM: Xid (PCI:0000:9b:00): 99999999999, x",
        "NVRM: Xid (" + "0" * 100_000,
    ],
)
def test_a_line_that_names_an_xid_and_is_written_in_no_known_way_is_counted(text: str) -> None:
    assembler = XidAssembler()
    assert assembler.take(line(text)) is None
    assert assembler.flush() is None
    assert assembler.not_understood == 1


@pytest.mark.parametrize(
    "text",
    [
        "a program says NVRM: Xid (PCI:0000:9b:00): 79, gone",
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.95.05",
        "NVRM: Persistence mode is deprecated",
        "",
    ],
)
def test_other_lines_are_no_events(text: str) -> None:
    assembler = XidAssembler()
    assert assembler.take(line(text)) is None
    assert (assembler.flush(), assembler.not_understood) == (None, 0)


def test_events_in_recorded_logs_are_all_understood(real_data: Path) -> None:
    assembler = XidAssembler()
    written = found = 0
    for path in sorted((real_data / "gpu_logs" / "logs").glob("*.txt")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            begin = text.find("NVRM: ")
            if begin >= 0:
                written += "NVRM: Xid (" in text
                found += assembler.take(line(text[begin:])) is not None
    found += assembler.flush() is not None
    assert (found, assembler.not_understood) == (written, 0)
    assert written >= 20


WORDS = st.sampled_from(
    ["NVRM: ", "Xid ", "(PCI:0000:9b:00)", "(", "): ", "79", ", ", "pid=", "'<unknown>'", "name=", "GPU at ", "SXid ",
     "nvidia-nvswitch0: ", "\x1b[2J", "\ud800", "\n", "9" * 400, "PCI:0000:9b:00: GPU-12345678"]
)  # fmt: skip


@given(texts=st.lists(st.lists(WORDS | st.text(max_size=5), max_size=9).map("".join), max_size=8))
def test_lines_of_any_kind_make_events_that_fit_their_columns_or_none(texts: list[str]) -> None:
    for event in events_of(*texts):
        assert 0 <= event.xid < 10**6
        assert event.pci == "0000:9b:00"
        assert event.pid is None or 0 <= event.pid < 10**10
        for text in (event.message, event.process or "", *event.details):
            assert text.isprintable()
            text.encode()
