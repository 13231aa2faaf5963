"""What patterns take from lines: against plain Python, against each kind of line by hand, and never a crash."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import SourceError
from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource
from agents.sources.logs_lines import PADDING, Records, lines_of, place_of, records_of_texts
from agents.sources.logs_numbers import decimals_at, digits_at
from agents.sources.logs_times import Zone, access_times, counted_times, iso8601_times, syslog_times
from agents.sources.streams import ACCESS_LOG, JOB_LOGS, SYSLOG

NOW = datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC)
LOCAL = NOW.replace(tzinfo=None)
NOW_NS = round(NOW.timestamp()) * 10**9
OWN = {"ts": "int64", "host": "string"}


def read(folder: Path, data: bytes, schema: dict[str, str], **settings: object) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of a file with this content, and the events that are not zero."""
    path = folder / "a.log"
    path.write_bytes(data)
    entry = LogsConfig(paths=(str(path),), begin="beginning", **settings)  # type: ignore[arg-type]
    source = LogsSource(entry, schema, clock_ns=lambda: NOW_NS)
    source.open(None)
    try:
        batches = source.poll()
        rows = batches[0].rows if batches else pl.DataFrame(schema={"ts": pl.Int64})
        return rows, {event: count for event, count in source.counters().items() if count}
    finally:
        source.close()


def access(
    folder: Path, *lines: str, columns: tuple[str, ...] = tuple(ACCESS_LOG)
) -> tuple[pl.DataFrame, dict[str, int]]:
    schema = {name: kind for name, kind in ACCESS_LOG.items() if name in (*OWN, *columns)}
    return read(folder, "".join(f"{line}\n" for line in lines).encode(), schema, pattern="access")


COMMON = '10.0.0.1 - bob [22/Nov/2026:10:00:00 +0000] "GET /a/b?c=1 HTTP/1.1" 200 5316'


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (COMMON, ("10.0.0.1", "GET", "/a/b", 200, 5316, None, None, None)),
        (f"{COMMON} 0.125", ("10.0.0.1", "GET", "/a/b", 200, 5316, None, None, 0.125)),
        (f'{COMMON} "-" "-"', ("10.0.0.1", "GET", "/a/b", 200, 5316, None, None, None)),
        (
            f'{COMMON} "http://r/" "curl/8 (x)" 12',
            ("10.0.0.1", "GET", "/a/b", 200, 5316, "http://r/", "curl/8 (x)", 12.0),
        ),
        (f'{COMMON} "r" "a \\"q\\" \\\\" 0.5', ("10.0.0.1", "GET", "/a/b", 200, 5316, "r", 'a \\"q\\" \\\\', 0.5)),
        (f'{COMMON} "r" "a" "10.9.8.7" 0.001 0.2', ("10.0.0.1", "GET", "/a/b", 200, 5316, "r", "a", 0.001)),
        (f'{COMMON} "r" "a" -', ("10.0.0.1", "GET", "/a/b", 200, 5316, "r", "a", None)),
        (f'{COMMON} "r" "a" .5x', ("10.0.0.1", "GET", "/a/b", 200, 5316, "r", "a", None)),
        (
            '::1 - a b [c] [22/Nov/2026:10:00:00 +0000] "OPTIONS * HTTP/1.0" 204 -',
            ("::1", "OPTIONS", "*", 204, 0, None, None, None),
        ),
        ('h - - [22/Nov/2026:10:00:00 +0000] "-" 400 0', ("h", None, None, 400, 0, None, None, None)),
        ('h - - [22/Nov/2026:10:00:00 +0000] "" 499 0 "" ""', ("h", None, None, 499, 0, "", "", None)),
        ('h - - [22/Nov/2026:10:00:00 +0000] "\\x16\\x03" 400 7', ("h", None, None, 400, 7, None, None, None)),
        (
            'h - - [22/Nov/2026:10:00:00 +0000] "GET /é?é" 200 123456789012345678 "é" "é" 99999.999',
            ("h", "GET", "/é", 200, 123456789012345678, "é", "é", 99999.999),
        ),
    ],
)
def test_each_form_of_an_access_line_gives_its_fields(tmp_path: Path, line: str, wanted: tuple[object, ...]) -> None:
    rows, events = access(tmp_path, line, COMMON)
    names = ["client", "method", "path", "status", "sent_bytes", "referer", "user_agent", "request_s"]
    assert rows.select(names).row(0) == wanted
    assert rows["ts"].to_list() == [NOW_NS - 30 * 10**9] * 2
    assert rows["file"][0] == str(tmp_path / "a.log")
    assert events == {"records": 2}


@pytest.mark.parametrize(
    "line",
    [
        "plain text", '"', '""', '" "', "[]", "-", '"GET / HTTP/1.1" 200 1', 'x "GET / HTTP/1.1" 200 1',
        COMMON.replace("[", "("), COMMON.replace("]", ")"), COMMON.replace("Nov", "Nev"),
        COMMON.replace("22/", "32/"), COMMON.replace("22/Nov", "31/Nov"), COMMON.replace(":10:", ":24:"),
        COMMON.replace("+0000", "+000"), COMMON.replace("+0000", "00000"), COMMON.replace("2026", "0026"),
        COMMON.replace(" 200 ", " 20 "), COMMON.replace(" 200 ", " 2000 "), COMMON.replace(" 200 ", " 2x0 "),
        COMMON.replace(" 5316", ""), COMMON.replace(" 5316", " 5x"), COMMON.replace(" 5316", " " + "9" * 19),
        COMMON[:60], COMMON[:-8], f'{COMMON[:50]}', "\0" * 100,
    ],
)  # fmt: skip
def test_what_is_no_access_line_is_counted_and_leaves_the_others_alone(tmp_path: Path, line: str) -> None:
    rows, events = access(tmp_path, COMMON, line, COMMON)
    assert rows["sent_bytes"].to_list() == [5316, 5316]
    assert events == {"records": 2, "malformed": 1}


REFERENCE = re.compile(
    r'(?P<client>\S+) .*\[(?P<time>[^\[\]]{26})\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<sent>\d{1,18}|-)'
    r'(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?(?: (?P<took>\d+(?:\.\d+)?))?'
)
WORD = st.text(st.characters(codec="utf-8", exclude_characters='\n\r"\\ \x85\u2028\u2029'), max_size=12)
QUOTED = st.lists(st.one_of(WORD, st.sampled_from([" ", '\\"', "\\\\", "?", "/"])), max_size=5).map("".join)


@st.composite
def access_lines(draw: Callable[..., str]) -> str:
    time = draw(st.datetimes(LOCAL.replace(month=1), LOCAL))
    zone = draw(st.sampled_from(["+0000", "-0730", "+1400"]))
    request = draw(st.one_of(QUOTED, st.builds("{} {} HTTP/1.1".format, st.sampled_from(["GET", "PUT"]), WORD)))
    line = (
        f"{draw(st.from_regex(r'[0-9a-f.:]{1,39}', fullmatch=True))} - {draw(WORD)} [{time:%d/%b/%Y:%H:%M:%S} {zone}]"
    )
    sent = draw(st.one_of(st.just("-"), st.integers(0, 10**18 - 1).map(str)))
    line += f' "{request}" {draw(st.integers(100, 599))} {sent}'
    if draw(st.booleans()):
        line += f' "{draw(QUOTED)}" "{draw(QUOTED)}"'
    if draw(st.booleans()):
        line += f" {draw(st.integers(0, 10**6))}" + draw(st.sampled_from(["", ".5", ".125", ".001", ".000001"]))
    return line


@settings(max_examples=80, deadline=None)
@given(lines=st.lists(access_lines(), min_size=1, max_size=20))
def test_access_lines_are_read_as_a_regular_expression_reads_them(
    lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows, events = access(tmp_path_factory.mktemp("logs"), *lines)
    assert events == {"records": len(lines)}
    for line, row in zip(lines, rows.to_dicts(), strict=True):
        match = REFERENCE.fullmatch(line)
        assert match is not None
        assert row["ts"] == round(datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()) * 10**9
        assert (row["client"], row["status"]) == (match["client"], int(match["status"]))
        assert row["sent_bytes"] == (0 if match["sent"] == "-" else int(match["sent"]))
        assert row["request_s"] == (None if match["took"] is None else float(match["took"]))
        method, blank, rest = match["request"].partition(" ")
        assert row["method"] == (method if blank else None)
        assert row["path"] == (rest.partition(" ")[0].partition("?")[0] if blank else None)
        assert row["referer"] == (None if match["referer"] == "-" else match["referer"])
        assert row["user_agent"] == (None if match["agent"] == "-" else match["agent"])


def test_only_wanted_columns_are_taken_and_give_what_all_of_them_give(tmp_path: Path) -> None:
    line = f'{COMMON} "r" "a" 0.5'
    everything, _ = access(tmp_path, line)
    for name in everything.columns:
        rows, _ = access(tmp_path, line, columns=(name,))
        assert rows.columns == list(dict.fromkeys(["ts", name]))
        assert rows[name].equals(everything[name])


SYSLOG_LINES = [
    ("Nov 22 10:00:00 web1 sshd[812]: Accepted key", (0, None, None, "web1", "sshd", 812, "Accepted key")),
    ("Nov 22 10:00:00 web1 kernel: [12.5] oops: x", (0, None, None, "web1", "kernel", None, "[12.5] oops: x")),
    ("Nov  2 10:00:00 web1 a/b: x", (-20 * 86400, None, None, "web1", "a/b", None, "x")),
    ("<34>Nov 22 10:00:01 web1 su: 'su root'", (1, "auth", "crit", "web1", "su", None, "'su root'")),
    ("Nov 22 10:00:00 web1 -- MARK --", (0, None, None, "web1", None, None, "-- MARK --")),
    ("2026-11-22T11:00:00.250000+01:00 web1 app[7]: x", (0.25, None, None, "web1", "app", 7, "x")),
    ("<0>2026-11-22T10:00:00Z web1 app: x", (0, "kern", "emerg", "web1", "app", None, "x")),
    (
        '<165>1 2026-11-22T10:00:00.003Z web1 app 99 ID47 [a@1 b="\\"]" c="]"][d] \ufeffthe message',
        (0.003, "local4", "notice", "web1", "app", 99, "the message"),
    ),
    ("<191>1 2026-11-22T10:00:00Z web1 app - - - x", (0, "local7", "debug", "web1", "app", None, "x")),
    ("<13>1 2026-11-22T10:00:00Z - - w1 - -", (0, "user", "notice", "-", None, None, None)),
]


@pytest.mark.parametrize(("line", "wanted"), SYSLOG_LINES)
def test_each_form_of_a_syslog_line_gives_its_fields(tmp_path: Path, line: str, wanted: tuple[object, ...]) -> None:
    rows, events = read(tmp_path, f"{line}\n".encode(), SYSLOG, pattern="syslog", time_zone="UTC")
    late_s, *fields = wanted
    names = ["facility", "severity", "sender", "program", "pid", "message"]
    assert list(rows.select(names).row(0)) == fields
    assert rows["ts"][0] == NOW_NS - 30 * 10**9 + round(late_s * 10**9)  # type: ignore[operator]
    assert events == {"records": 1}


def test_syslog_forms_may_be_mixed_and_what_is_none_is_counted(tmp_path: Path) -> None:
    bad = ["", "Nov 22", "Nov 22 10:00:00", "Nov 32 10:00:00 h a: b", "<999>Nov 22 10:00:00 h a: b", "<1>", "no"]
    lines = [line for line, _ in SYSLOG_LINES] + bad
    rows, events = read(tmp_path, "\n".join([*lines, ""]).encode(), SYSLOG, pattern="syslog", time_zone="UTC")
    assert rows["program"].to_list() == [wanted[4] for _, wanted in SYSLOG_LINES]
    assert events == {"records": len(SYSLOG_LINES), "malformed": len(bad) - 1}
    few = {**OWN, "severity": "string"}
    rows, _ = read(tmp_path, "\n".join([*lines, ""]).encode(), few, pattern="syslog", time_zone="UTC")
    assert rows["severity"].drop_nulls().to_list() == ["crit", "emerg", "notice", "debug", "notice"]


@pytest.mark.parametrize(
    ("text", "now", "wanted"),
    [
        ("Dec 31 23:59:59", "2027-01-01 00:00:01", "2026-12-31 23:59:59"),
        ("Jan  1 00:00:01", "2026-12-31 23:59:59", "2027-01-01 00:00:01"),  # a clock that is ahead
        ("Nov 24 00:00:00", "2026-11-22 10:00:00", "2025-11-24 00:00:00"),
        ("Feb 29 12:00:00", "2026-03-01 00:00:00", "2024-02-29 12:00:00"),
    ],
)
def test_a_year_that_is_not_told_is_the_latest_that_can_be(text: str, now: str, wanted: str) -> None:
    now_ns, wanted_ns = (round(datetime.fromisoformat(f"{one}+00:00").timestamp()) * 10**9 for one in (now, wanted))
    times, good = syslog_times(of(text), np.zeros(1, np.int64), Zone("UTC"), now_ns)
    assert (times.tolist(), good.tolist()) == ([wanted_ns], [True])


def of(*texts: str) -> Records:
    return records_of_texts(pl.Series(list(texts), dtype=pl.String))


@given(
    times=st.lists(st.datetimes(LOCAL.replace(year=1970), LOCAL.replace(year=2200)), min_size=1, max_size=8),
    sign=st.sampled_from("T t"),
    zone=st.sampled_from(["Z", "z", "+00:00", "-0330", "+14", " +0100", ""]),
    places=st.integers(0, 9),
    mark=st.sampled_from(".,"),
)
def test_iso_times_are_read_exactly(times: list[datetime], sign: str, zone: str, places: int, mark: str) -> None:
    part = "123456789"[:places]
    texts = [time.strftime(f"%Y-%m-%d{sign}%H:%M:%S") + (mark + part if part else "") + zone for time in times]
    records = of(*texts)
    found, good, after = iso8601_times(records, records.starts, Zone("Asia/Kolkata"))
    ahead = {"-0330": -210, "+14": 840, " +0100": 60, "": 330}.get(zone, 0)
    wanted = []
    for time in times:
        whole = time.replace(microsecond=0)
        if zone == "":
            ahead = round(whole.replace(tzinfo=ZoneInfo("Asia/Kolkata")).utcoffset().total_seconds() / 60, 6)  # type: ignore[union-attr]
        since = whole.replace(tzinfo=timezone(timedelta(minutes=ahead))) - datetime(1970, 1, 1, tzinfo=UTC)
        wanted.append((since.days * 86400 + since.seconds) * 10**9 + int((part or "0").ljust(9, "0")))
    assert good.all()
    assert found.tolist() == wanted
    assert after.tolist() == records.ends.tolist()


@given(st.lists(st.text(max_size=40).map(lambda text: text.replace("\n", " ")), min_size=1, max_size=9))
def test_texts_that_are_no_times_are_told_apart(texts: list[str]) -> None:
    records = of(*texts)
    for reader in (
        lambda: access_times(records, records.starts),
        lambda: iso8601_times(records, records.starts, Zone("UTC"))[:2],
        lambda: syslog_times(records, records.starts, Zone("UTC"), NOW_NS),
        lambda: counted_times(records, 10**6),
    ):
        times, good = reader()
        assert times.shape == good.shape == (len(texts),)


def test_a_time_that_a_clock_shows_twice_or_never_has_an_answer() -> None:
    texts = ["2026-10-25 02:30:00", "2026-03-29 02:30:00", "2026-07-01 00:00:00"]
    records = of(*texts)
    found, good, _ = iso8601_times(records, records.starts, Zone("Europe/Berlin"))
    assert good.all()
    shown = [datetime.fromtimestamp(ns // 10**9, UTC).strftime("%m-%d %H:%M") for ns in found.tolist()]
    assert shown == ["10-25 00:30", "03-29 01:30", "06-30 22:00"]


def test_the_host_s_own_zone_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        local = np.array([1_795_000_000, 1_780_000_000], np.int64)
        assert (Zone().utc_s(local) - local).tolist() == [-3600, -7200]
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.lists(st.one_of(st.integers(0, 10**18 - 1).map(str), st.sampled_from(["", "x", "007", "9" * 25]))))
def test_digits_are_read_as_python_reads_them(texts: list[str]) -> None:
    records = lines_of("".join(f"{text}|\n" for text in texts).encode())
    values, counts = digits_at(records.words, records.starts)
    for text, value, count in zip(texts, values.tolist(), counts.tolist(), strict=True):
        digits = re.match(r"\d*", text)
        assert digits is not None
        if len(digits[0]) <= 18:
            assert (value, count) == (int(digits[0] or 0), len(digits[0]))
        else:
            assert count > 18


@given(st.lists(st.decimals(0, 10**9, places=6).map(lambda x: format(x.normalize(), "f")), min_size=1))
def test_decimals_are_the_nearest_floats(texts: list[str]) -> None:
    records = lines_of("".join(f"{text} \n" for text in texts).encode())
    values, good, after = decimals_at(records, records.starts)
    assert good.all()
    assert values.tolist() == [float(text) for text in texts]
    assert after.tolist() == [start + len(text) for start, text in zip(records.starts.tolist(), texts, strict=True)]


@given(st.lists(st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")), min_size=1), st.integers(0, 255))
def test_a_byte_is_found_where_it_first_stands(lines: list[bytes], octet: int) -> None:
    data = b"\n".join(lines) + b"\n"
    ends = np.cumsum([len(line) + 1 for line in lines]) - 1
    starts = ends - [len(line) for line in lines]
    found = place_of(Records(data + PADDING, starts, ends), octet, starts, ends)
    for line, start, place in zip(lines, starts.tolist(), found.tolist(), strict=True):
        assert place - start == (line.index(octet) if octet in line else len(line))


JSON_SCHEMA = {
    **OWN, "status": "int64", "took_s": "float64", "message": "string", "ok": "bool", "http_status_code": "int64",
}  # fmt: skip


def test_json_takes_keys_typed_and_from_inside_of_objects(tmp_path: Path) -> None:
    objects: list[object] = [
        {"@timestamp": "2026-11-22T10:00:00.5Z", "status": 200, "took_s": 1, "message": "a\nb", "ok": True,
         "http": {"status-code": 7}},
        {"@timestamp": "2026-11-22T10:00:01Z", "status": "201", "took_s": "1.5", "message": 5, "ok": "false",
         "http": {"status-code": 8.0}, "more": [{}]},
        {"@timestamp": 12, "status": 2.5, "took_s": [1], "message": {}, "ok": 3, "http": 4},
        {"status": 2**70, "message": None, "ok": False},
    ]  # fmt: skip
    data = "".join(json.dumps(one) + "\n" for one in objects) + '[1]\n{"a"\nnull\n{} {}\n' + '{"a":' * 3000 + "\n"
    rows, events = read(tmp_path, data.encode(), JSON_SCHEMA, pattern="json", stream="j", time_column="@timestamp")
    assert rows.drop("ts").rows() == [
        (200, 1.0, "a\nb", True, 7),
        (201, 1.5, "5", False, 8),
        (None, None, None, None, None),
        (None, None, None, False, None),
    ]
    assert rows["ts"].to_list() == [NOW_NS - 29_500_000_000, NOW_NS - 29 * 10**9, NOW_NS, NOW_NS]
    assert events == {"records": 4, "malformed": 5, "bad_values": 6}


@pytest.mark.parametrize(
    "beside", [b'"\xff"', b"1e999", b"9" * 5000, b'"\\ud800"', b"[" * 5000 + b"]" * 5000, b'1, "\xff": 2']
)
def test_json_that_cannot_be_read_beside_the_wanted_keys_harms_nothing(tmp_path: Path, beside: bytes) -> None:
    """The key of `word` is looked for in whole records, as no record has it under that name."""
    schema = {"ts": "int64", "host": "string", "took": "int64", "a_word": "string"}
    lines = b'{"took": 1, "x": %b}\n{"took": 2, "a-word": "w"}\n' % beside
    rows, events = read(tmp_path, lines, schema, pattern="json", stream="s")
    assert rows["took"].to_list()[-1] == 2
    assert rows["a_word"].to_list()[-1] == "w"
    assert rows.height + events.get("malformed", 0) == 2


@pytest.mark.parametrize("pattern", ["json", "key_value", "regex"])
def test_numbers_that_are_none_are_bad_values(tmp_path: Path, pattern: str) -> None:
    form = '{{"took": "{}"}}' if pattern == "json" else "took={}"
    data = "".join(form.format(text) + "\n" for text in ("nan", "inf", "-Infinity", "1e400", "2.5", "NaN")).encode()
    settings = {"regex": r"took=(?P<took>\S+)"} if pattern == "regex" else {}
    schema = {"ts": "int64", "host": "string", "took": "float64"}
    rows, events = read(tmp_path, data, schema, pattern=pattern, stream="s", **settings)
    assert rows["took"].to_list() == [None, None, None, None, 2.5, None]
    assert events == {"records": 6, "bad_values": 5}


def test_key_value_pairs_may_be_quoted_nested_in_signs_and_missing(tmp_path: Path) -> None:
    schema = {**OWN, "status": "int64", "request_time": "float64", "msg": "string"}
    data = (
        b'time=1795341600123 status=200 request-time=0.5 msg="a \\"b\\" c" xstatus=9\n'
        b"level=info,request.time=7,status=x;msg={plain}\n"
        b"msg= status=- took=1\n"
        b"no pairs here = at all\n"
    )
    rows, events = read(tmp_path, data, schema, pattern="key_value", stream="k", time_column="time", time_format="ms")
    assert rows.drop("ts").rows() == [(200, 0.5, 'a "b" c'), (None, 7.0, "{plain"), (None, None, "")]
    assert rows["ts"][0] == NOW_NS - 30 * 10**9 + 123_000_000
    assert events == {"records": 3, "malformed": 1, "bad_values": 1}


def test_named_groups_are_columns_and_groups_may_be_left_out_of_a_match(tmp_path: Path) -> None:
    schema = {**OWN, "took_ms": "float64", "who": "string"}
    regex = r"^(?P<at>\S+ \S+) took (?P<took_ms>\S+)ms(?: by (?P<who>\w+))?(?P<unused>.*)"
    data = b"2026/11/22 11:00:00 took 5.5ms by bob!\nnever took 7ms\n2026/11/22 11:00:01 took xms\nelse\n"
    rows, events = read(
        tmp_path, data, schema, pattern="regex", regex=regex, stream="r", time_column="at",
        time_format="%Y/%m/%d %H:%M:%S", time_zone="Europe/Berlin",
    )  # fmt: skip
    assert rows.rows() == [(NOW_NS - 30 * 10**9, 5.5, "bob"), (NOW_NS - 29 * 10**9, None, None)]
    assert events == {"records": 2, "malformed": 2, "bad_values": 1}
    rows, events = read(tmp_path, b"a\n\n1b\n", {**OWN, "n": "int64"}, pattern="regex", regex=r"(?P<n>\d)?", stream="r")
    assert rows["n"].to_list() == [None, 1]  # nothing of it has to be there for it to match


def test_times_far_off_are_not_believed(tmp_path: Path) -> None:
    times_s = [NOW_NS // 10**9 + off for off in (0, 3599, 3601, 10**9, -399 * 86400, -401 * 86400)]
    data = "".join(f'{{"t": {at}}}\n' for at in [*times_s, 0, -1, "1e999", 2**62, "null"]).encode()
    rows, events = read(tmp_path, data, OWN, pattern="json", stream="j", time_column="t", time_format="s")
    kept = [times_s[0], times_s[1], NOW_NS // 10**9, NOW_NS // 10**9, times_s[4]]
    assert rows["ts"].to_list()[:5] == [at * 10**9 for at in kept]
    assert rows["ts"].to_list()[5:] == [NOW_NS] * 3
    assert events == {"records": 8, "time_off": 2, "too_old": 2, "bad_values": 2, "malformed": 1}


SETTINGS: list[tuple[dict[str, object], dict[str, str]]] = [
    ({"pattern": "access"}, ACCESS_LOG),
    ({"pattern": "syslog"}, SYSLOG),
    ({"pattern": "syslog", "record_start": r"^\S"}, SYSLOG),
    ({"pattern": "json", "stream": "x", "time_column": "t"}, JSON_SCHEMA),
    ({"pattern": "key_value", "stream": "x", "time_column": "t", "time_format": "s"}, JSON_SCHEMA),
    ({"pattern": "regex", "stream": "x", "regex": r"(?P<status>\d+) (?P<message>\w*)"}, {**OWN, "status": "int64"}),
    ({"pattern": "text"}, JOB_LOGS),
    ({"pattern": "text", "record_start": r"^\S"}, JOB_LOGS),
]
PIECES = [
    COMMON.encode(), *(line.encode() for line, _ in SYSLOG_LINES), b'{"t": 1, "status": 2}', b't=1 status="2', b"{",
    b"}", b'"', b"\\", b"[", b"]", b" ", b"<", b">", b"\r", b"\n", b"\0", b"\xff\xc3", "é".encode(), b"9" * 21,
    b'{"status": NaN}', b'{"t": "2026-11-22T10:00:00"}', b"Nov 22 10:00:00", b"2026-11-22T10:00:00", b"-", b"1e400",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    which=st.sampled_from(SETTINGS),
    pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=30)), max_size=30),
)
def test_whatever_stands_in_a_log_each_line_is_a_record_or_counted(
    which: tuple[dict[str, object], dict[str, str]],
    pieces: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    values, schema = which
    data = b"".join(pieces) + b"\n"
    rows, events = read(tmp_path_factory.mktemp("logs"), data, schema, max_line_bytes=256, **values)
    events.pop("bad_values", 0)
    events.pop("bad_utf8", 0)
    events.pop("time_off", 0)
    assert rows.height == events.get("records", 0)
    if "record_start" not in values:
        lines = [line for line in data.split(b"\n") if line.removesuffix(b"\r")]
        assert sum(events.values()) == len(lines)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"pattern": "regex", "stream": "x", "regex": r"(?P<a>\d+"},
            r"(?s)regex: .*\n    \(\?P<a>\\d\+\n    \^\nerror: unclosed",
        ),
        ({"pattern": "regex", "stream": "x", "regex": r"(\d+)"}, "has no named group"),
        ({"pattern": "regex", "stream": "x"}, "regex goes with the pattern regex"),
        ({"pattern": "access", "regex": "(?P<a>b)"}, "regex goes with the pattern regex"),
        ({"pattern": "json"}, "no stream of its own"),
        (
            {"pattern": "json", "stream": "x", "record_start": "[z-a]"},
            r"record_start: (?s:.*)start must be <= the end\Z",
        ),
        ({"pattern": "json", "stream": "x", "time_column": "t", "time_format": "%Q"}, "reads no times"),
        ({"pattern": "json", "stream": "x", "time_format": "s"}, "time_column is not"),
        ({"pattern": "json", "stream": "x", "time_zone": "Mars/Olympus"}, "time_zone 'Mars/Olympus' is not known"),
        ({"pattern": "access", "time_column": "t"}, "knows its time"),
        ({"pattern": "access", "record_start": "x"}, "a record per line"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_they_are_read(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=told):
        msgspec.convert({"kind": "logs", "paths": ["a"], **wrong}, LogsConfig)


@pytest.mark.parametrize(
    ("values", "schema", "told"),
    [
        ({"pattern": "access", "stream": "x"}, {**OWN, "stauts": "int64"}, "no column 'stauts'.*status"),
        ({"pattern": "access"}, {**OWN, "status": "string"}, "of type string; it gives status as int64"),
        ({"pattern": "regex", "stream": "x", "regex": "(?P<code>a)"}, {**OWN, "cod": "string"}, "no group 'cod'.*code"),
    ],
)
def test_a_column_that_no_pattern_gives_is_refused(
    values: dict[str, object], schema: dict[str, str], told: str
) -> None:
    with pytest.raises(SourceError, match=told):
        LogsSource(LogsConfig(paths=("a",), **values), schema)  # type: ignore[arg-type]
