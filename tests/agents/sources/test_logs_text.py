"""Whole lines as a column, where each begins in its file, and lines without a time among such with one."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest

from agents.errors import SourceError
from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource
from agents.sources.streams import JOB_LOGS

NOW_NS = 1_795_000_000 * 10**9
OWN = {"ts": "int64", "host": "string"}
PLACED = {**OWN, "file": "string", "place": "int64", "text": "string"}
TIMED = r"^(?P<text>(?:(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) )?.*)"


def opened(folder: Path, schema: dict[str, str], settings: dict[str, str], position: bytes | None = None) -> LogsSource:
    fields = {"kind": "logs", "paths": [str(folder / "*.log")], "begin": "beginning", **settings}
    entry = msgspec.convert(fields, LogsConfig)
    source = LogsSource(entry, schema, clock_ns=lambda: NOW_NS)
    source.open(position)
    return source


def rows_of(folder: Path, schema: dict[str, str], **settings: str) -> pl.DataFrame:
    source = opened(folder, schema, settings)
    try:
        return source.poll()[0].rows
    finally:
        source.close()


def test_a_line_is_the_text_and_the_place_is_where_it_begins(tmp_path: Path) -> None:
    content = "first\n\n  indented é\r\n\tlast one\n"
    (tmp_path / "a.log").write_bytes(content.encode())
    rows = rows_of(tmp_path, JOB_LOGS, pattern="text")
    assert rows["text"].to_list() == ["first", "  indented é", "\tlast one"]
    assert rows["place"].to_list() == [content.encode().index(line.encode()) for line in rows["text"]]
    assert rows["file"].to_list() == [str(tmp_path / "a.log")] * 3
    assert rows["ts"].to_list() == [NOW_NS] * 3


def test_places_go_on_after_a_restart_and_begin_anew_in_a_file_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\n")
    source = opened(tmp_path, JOB_LOGS, {"pattern": "text"})
    assert source.poll()[0].rows["place"].to_list() == [0, 4]
    position = source.position()
    source.close()
    with path.open("ab") as file:
        file.write(b"three\nfour\n")
    source = opened(tmp_path, JOB_LOGS, {"pattern": "text"}, position)
    assert source.poll()[0].rows["place"].to_list() == [8, 14]
    path.write_bytes(b"5\n6\n")
    assert source.poll()[0].rows.select("place", "text").rows() == [(0, "5"), (2, "6")]
    source.close()


def test_each_file_of_a_block_has_places_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.log").write_bytes(f"{name}1\n{name}22\nx\n".encode())
    rows = rows_of(tmp_path, JOB_LOGS, pattern="text").sort("file", "place")
    assert rows["place"].to_list() == [0, 3, 7] * 3
    assert rows["text"].to_list() == ["a1", "a22", "x", "b1", "b22", "x", "c1", "c22", "x"]


def test_a_line_that_was_written_over_is_what_a_terminal_shows_of_it(tmp_path: Path) -> None:
    data = b"10 %\r20 %\r30 % Traceback (most recent call last):\ndone\r\r\n\rnext\n a\rb\n"
    (tmp_path / "a.log").write_bytes(data)
    rows = rows_of(tmp_path, JOB_LOGS, pattern="text")
    assert rows["text"].to_list() == ["30 % Traceback (most recent call last):", "done\r", "next", "b"]
    assert rows["place"].to_list() == [0, data.index(b"done"), data.index(b"\rnext"), data.index(b" a")]


def test_records_of_several_lines_keep_all_of_them_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"# one\nin one\n# two\n10 %\rin two\n# three\n")
    rows = rows_of(tmp_path, JOB_LOGS, pattern="text", record_start="^#")
    assert rows.select("place", "text").rows() == [(0, "# one\nin one"), (13, "# two\nin two")]


def test_expressions_give_the_place_too_unless_a_group_of_theirs_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"a 7\nnot this\nb 8\n")
    settings = {"pattern": "regex", "stream": "x"}
    rows = rows_of(tmp_path, PLACED, regex=r"^(?P<text>\w) \d", **settings)
    assert rows.select("place", "text").rows() == [(0, "a"), (13, "b")]
    rows = rows_of(tmp_path, PLACED, regex=r"^(?P<text>\w) (?P<place>\d)", **settings)
    assert rows.select("place", "text").rows() == [(7, "a"), (8, "b")]


def test_a_key_of_json_that_is_called_place_stays_a_key(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b'{"text": "a", "place": 99}\n{"text": "b"}\n')
    rows = rows_of(tmp_path, PLACED, pattern="json", stream="x")
    assert rows.select("place", "text").rows() == [(99, "a"), (None, "b")]


def test_lines_without_a_time_stay_with_the_line_before_them(tmp_path: Path) -> None:
    at_s = NOW_NS // 10**9 - 100
    stamps = [f"{datetime.fromtimestamp(at_s + later, UTC):%Y-%m-%dT%H:%M:%SZ}" for later in (0, 7)]
    (tmp_path / "a.log").write_text(f"before\n{stamps[0]} one\n  at x\n  at y\n{stamps[1]} two\n  at z\n")
    (tmp_path / "b.log").write_text("none\nof these\n")
    rows = rows_of(tmp_path, JOB_LOGS, pattern="regex", stream="job_logs", regex=TIMED, time_column="at")
    times = [None if ts == NOW_NS else ts // 10**9 - at_s for ts in rows.sort("file", "place")["ts"]]
    assert times == [0, 0, 0, 0, 7, 7, None, None]


def test_lines_behind_a_time_that_is_not_believed_are_read_now(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("2199-01-01T00:00:00Z one\n  at x\n")
    rows = rows_of(tmp_path, JOB_LOGS, pattern="regex", stream="job_logs", regex=TIMED, time_column="at")
    assert rows["ts"].to_list() == [NOW_NS, NOW_NS]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({**OWN, "text": "string", "level": "string"}, "no column 'level'"),
        ({**OWN, "text": "int64"}, "no column 'text' of type int64; it gives text as string"),
        ({**OWN, "place": "string"}, "place is declared as string; .* int64"),
    ],
)
def test_what_whole_lines_do_not_have_is_refused(tmp_path: Path, schema: dict[str, str], told: str) -> None:
    with pytest.raises(SourceError, match=told):
        opened(tmp_path, schema, {"pattern": "text"})


@pytest.mark.parametrize("wrong", [{"time_column": "at"}, {"regex": "(?P<text>.*)"}])
def test_whole_lines_take_no_settings_of_other_patterns(wrong: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"pattern text reads no times|regex goes with"):
        msgspec.convert({"kind": "logs", "paths": ["/x"], "pattern": "text", **wrong}, LogsConfig)
