"""Lines of log files that are too long, broken, or several to a record."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sources import logs
from tests.agents.sources.logs_reader import append, started


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def test_lines_that_are_too_long_are_left_out_and_counted_however_they_come(log: Path) -> None:
    log.write_bytes(b"a\n" + b"x" * 300 + b"\nb\n" + b"y" * 5000)
    reader = started(log, max_line_bytes=256).poll()
    assert reader.words == ["a", "b"]
    assert reader.count("too_long") == 1
    with log.open("ab") as file:
        file.write(b"y" * 5000 + b"\nc\n")
    assert reader.restart().poll().words == ["a", "b", "c"]
    assert reader.count("too_long") == 1
    with log.open("ab") as file:
        file.write(b"\0" * 3_000_000)
    reader.poll()
    append(log, "", "d")
    assert reader.restart().poll().words[-1] == "d"
    assert reader.count("too_long") == 0  # it was counted when it began


def test_carriage_returns_empty_lines_and_broken_text_are_read(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    log.write_bytes(b"a\r\n\r\n\nb\xff\xfe\n\x00\x01c\n")
    reader = started(log).poll()
    assert reader.words == ["a", "b\ufffd\ufffd", "\x00\x01c"]
    assert reader.count("bad_utf8") == 1
    assert "example='b\ufffd\ufffd'" in caplog.text


def test_records_of_several_lines_wait_for_the_next_or_for_a_while(log: Path) -> None:
    append(log, "  orphan", "A 1", "  more", "B 2")
    reader = started(log, record_start=r"^[A-Z] ").poll()
    assert reader.words == ["A 1\n  more"]
    append(log, "  of it")
    assert reader.poll(0.5).words == ["A 1\n  more"]
    assert reader.restart().poll(0.5).words == ["A 1\n  more"]
    assert reader.poll(logs.RECORD_WAIT_S).words == ["A 1\n  more", "B 2\n  of it"]
    append(log, "  too late", "C 3", "D 4")
    assert reader.poll().words[2:] == ["C 3"]
    assert reader.count("no_start") == 1


def test_a_line_too_long_to_be_read_inside_of_a_record_holds_nothing_up(log: Path) -> None:
    log.write_bytes(b"A 1\n  more\n" + b"x" * 3_000_000 + b"\n  rest\nB 2\n" + b"B" * 3_000_000 + b"\nC 3\nD 4\n")
    reader = started(log, record_start=r"^[A-Z] ", max_line_bytes=256).poll()
    assert reader.words == ["A 1\n  more", "B 2", "C 3"]
    assert (reader.count("too_long"), reader.count("no_start")) == (2, 1)


def records_in(lines: list[bytes], longest: int) -> list[str]:
    """What a reader that sees all lines at once makes of them."""
    found: list[bytes] = []
    is_open = False
    for line in lines:
        if len(line) > longest:
            is_open = False
        elif line.startswith(b"R"):
            found.append(line)
            is_open = True
        elif is_open:
            found[-1] += b"\n" + line
    return [one.decode() for one in found if len(one) <= longest]


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(
            [b"R", b"R" + b"." * 200, b"R" * 256, b" c" * 9, b" c" * 90, b"R" * 257, b"x" * 700, b"x" * 3000]
        ),
        max_size=40,
    ),
    chunks=st.lists(st.sampled_from([1, 7, 90, 700, 3000]), min_size=1, max_size=20),
    pauses_s=st.lists(st.sampled_from([0.1, 1.0]), min_size=1, max_size=20),
    block=st.sampled_from([50, 700, 2**20]),
)
def test_records_of_several_lines_are_the_same_however_they_come(
    lines: list[bytes], chunks: list[int], pauses_s: list[float], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("logs") / "a.log"
    log.touch()
    data = b"".join(line + b"\n" for line in lines)
    with pytest.MonkeyPatch.context() as patched, log.open("ab", buffering=0) as writer:
        patched.setattr(logs, "BLOCK_BYTES", block)
        reader = started(log, record_start="^R", max_line_bytes=256)
        for number in range(len(data)):
            if not data:
                break
            size = chunks[number % len(chunks)]
            writer.write(data[:size])
            data = data[size:]
            reader.poll(pauses_s[number % len(pauses_s)])
        assert reader.poll(logs.RECORD_WAIT_S).words == records_in(lines, 256)
    reader.source.close()


def test_a_record_without_end_does_not_fill_the_memory(log: Path) -> None:
    append(log, "A 1", *("  more and more" for _ in range(100)), "B 2", "C 3")
    reader = started(log, record_start=r"^[A-Z] ", max_line_bytes=256).poll()
    assert reader.words == ["B 2"]
    assert reader.count("too_long") == 1
