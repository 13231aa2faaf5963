"""Lines of a log become clean, and tell of themselves what launchers and daemons wrote before them."""

import json

import pytest

from analytics.gpu.cleaning import LONGEST_LINE, Origin, lines_of
from analytics.gpu.cleaning_blocks import BLOCK_BYTES, blocks_of
from analytics.gpu.cleaning_prefixes import time_ns, without_prefixes
from analytics.gpu.log_lines import LogLine

NOON_NS = 1_735_819_200_000_000_000  # 2025-01-02 12:00:00 UTC


def lines(data: bytes, origin: Origin | None = None) -> list[LogLine]:
    return list(lines_of([data], origin or Origin("log")))


def texts(data: bytes) -> list[str]:
    return [line.text for line in lines(data)]


def test_colours_titles_and_nuls_are_taken_out() -> None:
    assert texts(b"\x1b[1;31mCUDA\x1b[0m out\x00 of \x1b]0;title\x07memory\x1b[K\n") == ["CUDA out of memory"]


def test_colours_that_a_container_log_escapes_are_taken_out_before_texts_are_looked_for() -> None:
    entry = json.dumps({"log": "\x1b[31mKeyError\x1b[0m: 'x'\r\n", "stream": "stderr"})
    assert texts(entry.encode() + b"\n") == ["KeyError: 'x'"]
    (block,) = blocks_of([entry.encode()])
    assert b"KeyError: 'x'" in block.data


def test_a_backslash_before_an_escaped_colour_keeps_the_entry_whole() -> None:
    entry = json.dumps({"log": r"pattern \u001b[31m is red"})
    assert texts(entry.encode() + b"\n") == [r"pattern \u001b[31m is red"]


@pytest.mark.parametrize("control", ["\x07", "\x08", "\x9b", "\x9d", "\u202e", "\x7f"])
def test_nothing_that_steers_a_terminal_is_left_in_a_text(control: str) -> None:
    assert texts(f"Key{control}Error:\t'é'{control}\n".encode()) == ["KeyError:\t'é'"]


def test_progress_within_an_entry_of_json_becomes_lines() -> None:
    entry = json.dumps({"log": " 10%|# |\r 20%|## |\rValueError: x\n"})
    assert texts(entry.encode()) == [" 10%|# |\n 20%|## |\nValueError: x"]


def test_a_progress_bar_is_taken_apart_and_keeps_its_line_number() -> None:
    found = lines(b"one\r\n 10%|#  |\r 20%|## |\rValueError: x\r\nthree\n")
    assert [(line.number, line.text) for line in found] == [
        (1, "one"),
        (2, " 10%|#  |"),
        (2, " 20%|## |"),
        (2, "ValueError: x"),
        (3, "three"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_are_told_apart(encoding: str) -> None:
    text = "épuisé — CUDA out of memory\nsecond line of text\n"
    data = text.encode(encoding)
    for size in (1, 7, len(data)):
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        assert [line.text for line in lines_of(chunks, Origin("log"))] == text.split("\n")[:-1]


def test_what_is_no_utf_8_is_read_as_latin_1_line_by_line() -> None:
    assert texts("caf\u00e9 \u20ac\n".encode() + b"caf\xe9\n") == ["café €", "café"]


def test_a_long_line_is_cut_between_characters() -> None:
    (line,) = lines("é".encode() * LONGEST_LINE)
    assert line.text == "é" * (LONGEST_LINE // 2)
    (line,) = lines(b"x" + "é".encode() * LONGEST_LINE)
    assert line.text == "x" + "é" * (LONGEST_LINE // 2 - 1)


def test_an_endless_line_comes_in_bounded_blocks_that_overlap() -> None:
    data = bytes(range(32, 127)) * 40_000
    blocks = list(blocks_of([data[:7], data[7:], b"\nend"]))
    assert max(len(block.data) for block in blocks) <= BLOCK_BYTES
    assert b"".join(block.data[block.continued :] for block in blocks) == data + b"\nend"
    assert [block.first_line for block in blocks] == [1] * len(blocks)
    assert len(blocks) > 3


@pytest.mark.parametrize(
    ("raw", "text", "source", "rank", "node"),
    [
        ("[rank3]: RuntimeError: x", "RuntimeError: x", "stderr", 3, None),
        ("[default12]:Killed", "Killed", "stderr", 12, None),
        ("[1,2]<stderr>:Killed", "Killed", "stderr", 2, None),
        ("[job@1,7]<stdout>: step 9", "step 9", "stdout", 7, None),
        ("[4]<stdout>:step 9", "step 9", "stdout", 4, None),
        ("  7: Traceback", "Traceback", "stderr", 7, None),
        ("gpu-a3: Traceback", "Traceback", "stderr", None, "gpu-a3"),
        ("worker3: Traceback", "Traceback", "stderr", None, "worker3"),
        ("Rank 3: Traceback", "Traceback", "stderr", 3, None),
        ("ib0: link down", "ib0: link down", "stderr", None, None),
        ("python3.10: x", "python3.10: x", "stderr", None, None),
        ("RuntimeError: node7: x", "RuntimeError: node7: x", "stderr", None, None),
        ("[gpu4:01234] *** Process received signal ***", "*** Process received signal ***", "stderr", None, "gpu4"),
        ("(TrainWorker pid=77, ip=192.0.2.4) boom", "boom", "stderr", None, "192.0.2.4"),
        ("[pod/train-1/main] boom", "boom", "stderr", None, "train-1"),
        ("worker-2  | boom", "boom", "stderr", None, "worker-2"),
        ("| a | table |", "| a | table |", "stderr", None, None),
        ("2025-01-02T12:00:00Z stdout F boom", "boom", "stdout", None, None),
        ("Jan  2 12:00:00 gpu-7 kernel: [ 9.123456] NVRM: Xid", "NVRM: Xid", "kernel", None, "gpu-7"),
        ("<4>[ 99.123456] mce: [Hardware Error]: x", "mce: [Hardware Error]: x", "kernel", None, None),
        ("[Thu Jan  2 12:00:00 2025] NVRM: x", "NVRM: x", "kernel", None, None),
        ("2025-01-02T12:00:00+00:00 gpu-7 slurmd[88]: error: x", "error: x", "scheduler", None, "gpu-7"),
        ("srun: error: gpu-9: task 3: Killed", "srun: error: gpu-9: task 3: Killed", "scheduler", 3, "gpu-9"),
        ("gpu-9:11:22 [5] NCCL WARN x", "gpu-9:11:22 [5] NCCL WARN x", "stderr", None, "gpu-9"),
        ("[E Work.cpp:1] [Rank 6] Watchdog x", "[E Work.cpp:1] [Rank 6] Watchdog x", "stderr", 6, None),
        ("2025-01-02 12:00:00,5 - [rank1]: boom", "boom", "stderr", 1, None),
    ],
)
def test_what_stands_before_a_line_is_taken_off_and_believed(
    raw: str, text: str, source: str, rank: int | None, node: str | None
) -> None:
    (line,) = lines(raw.encode())
    assert (line.text, line.source, line.rank, line.node) == (text, source, rank, node)


def test_a_line_is_believed_before_its_origin() -> None:
    origin = Origin("log", source="stdout", rank=1, node="a")
    first, second = lines(b"[rank3]: x\nsrun: error: b7: task 5: Killed\n", origin)
    assert (first.source, first.rank, first.node) == ("stdout", 3, "a")
    assert (second.source, second.rank, second.node) == ("scheduler", 5, "b7")


def test_a_container_s_json_is_unpacked() -> None:
    entry = {"log": 'say "x"\n', "stream": "stdout", "time": "2025-01-02T12:00:00.25Z"}
    (line,) = lines(json.dumps(entry).encode())
    assert (line.text, line.source, line.time_ns) == ('say "x"', "stdout", NOON_NS + 250_000_000)


def test_an_entry_of_the_journal_is_unpacked() -> None:
    entry = {
        "MESSAGE": "NVRM: x",
        "_HOSTNAME": "g1",
        "__REALTIME_TIMESTAMP": "1735819200000001",
        "_TRANSPORT": "kernel",
    }
    (line,) = lines(json.dumps(entry).encode())
    assert (line.text, line.source, line.node, line.time_ns) == ("NVRM: x", "kernel", "g1", NOON_NS + 1_000)


def test_a_logger_s_json_is_unpacked() -> None:
    entry = {"level": "error", "msg": "ValueError: x", "timestamp": "2025-01-02T12:00:00Z", "rank": 5, "hostname": "g4"}
    (line,) = lines(json.dumps(entry).encode())
    assert (line.text, line.rank, line.node, line.time_ns) == ("ValueError: x", 5, "g4", NOON_NS)


def test_what_json_says_of_itself_is_not_believed_blindly() -> None:
    entry = {"message": "x", "rank": True, "hostname": 7, "time": "noon", "__REALTIME_TIMESTAMP": "²", "stream": []}
    (line,) = lines(json.dumps(entry).encode())
    assert (line.text, line.rank, line.node, line.time_ns, line.source) == ("x", None, None, None, "stderr")


def test_other_json_is_text() -> None:
    for raw in (b'{"log": 7}', b'{"log": "cut', b'{"MESSAGE": [1, 2]}', b'{"loss": 0.1}', b'{"log": "\xe9"}'):
        assert texts(raw) == [raw.decode("latin-1")]
    assert len(texts(b'{"msg": ' + b"[" * 4_000)) == 1


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2025-01-02T12:00:00Z", NOON_NS),
        ("2025-01-02 12:00:00,5", NOON_NS + 500_000_000),
        ("2025-01-02T14:00:00.123456789+02:00", NOON_NS + 123_456_789),
        ("2025-01-02T12:00:00.000001234Z", NOON_NS + 1_234),
        ("2025-13-02T12:00:00Z", None),
    ],
)
def test_times_are_utc_to_the_nanosecond(stamp: str, expected: int | None) -> None:
    assert time_ns(stamp) == expected


def test_a_day_without_a_year_is_a_time_only_where_the_year_is_known() -> None:
    syslog = b"Jan  2 12:00:00 gpu-7 kernel: NVRM: x\n"
    assert [line.time_ns for line in lines(syslog)] == [None]
    assert [line.time_ns for line in lines(syslog, Origin("log", year=2025))] == [NOON_NS]
    (line,) = lines(b"[Thu Jan  2 12:00:00 2025] NVRM: x\n", Origin("log", year=1999))
    assert line.time_ns == NOON_NS
    assert [line.time_ns for line in lines(b"Xyz 99 12:00:00 gpu-7 kernel: x\n", Origin("log", year=2025))] == [None]
    assert [line.time_ns for line in lines(b"Feb 30 12:00:00 gpu-7 kernel: x\n", Origin("log", year=2025))] == [None]


def test_prefixes_end_at_some_number() -> None:
    told = without_prefixes("[rank1]: " * 100 + "x")
    assert told.text.endswith("[rank1]: x")


@pytest.mark.parametrize(
    "text",
    ["CUDA error: an illegal memory access", "Segmentation fault: 11", "Connection refused: 10.0.0.7", "Bus error: 10"],
)
def test_two_words_behind_a_time_are_no_host_and_daemon(text: str) -> None:
    (line,) = lines(f"2025-01-02T12:00:00Z {text}\n".encode())
    assert (line.text, line.node, line.time_ns) == (text, None, NOON_NS)


@pytest.mark.parametrize(
    "host", ["gpu-7 sshd", "node7 app", "login kernel", "login app[7]", "a.b app", "localhost app"]
)
def test_hosts_and_daemons_behind_a_time_are_taken_off(host: str) -> None:
    (line,) = lines(f"2025-01-02T12:00:00Z {host}: CUDA error: x\n".encode())
    assert (line.text, line.node) == ("CUDA error: x", host.partition(" ")[0])
