"""Table 1 and 2: an access log of nginx from the disk's cache to p99 of the request time by status; and other patterns.

Ours is the whole way of an agent: files found, bytes read, lines taken apart, times, the query's chain with sketches.
Peers give the same p99: a loop over pygtail's lines with Python's `re`, one over a plain file, and the regular
expressions of Polars and DuckDB. Whoever is off by more than the sketch's error has no number.
"""

import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource
from agents.sources.streams import ACCESS_LOG, BUILTIN_STREAMS, SYSLOG
from benchmarks.rounds import Candidate, interleaved
from benchmarks.sources.feeding import Answer, answer_of, fed
from benchmarks.sources.goals import LOG_MB
from benchmarks.sources.peer_rows import peer_row
from benchmarks.sources.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from pipeline.plan import Plan
from pipeline.sql import compile_query

OURS: Final = "tailwatch"
START_S: Final = 1_795_341_600  # 2026-11-22 10:00:00 UTC
LINES_PER_S: Final = 500
STATUSES: Final = (200, 200, 200, 200, 204, 301, 404, 500)
REGEX: Final = (
    r'^(?P<client>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<sent_bytes>\d+) '
    r'"(?P<referer>[^"]*)" "(?P<user_agent>[^"]*)" (?P<request_s>[\d.]+)$'
)
BROWSERS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0",
    "curl/8.5.0",
)
COLUMNS: Final = [
    Column("who", "who"), Column("median", "MB/s", 1), Column("low", "lowest", 1), Column("high", "highest", 1),
    Column("ratio", "ours / peer", 1), Column("state", ""),
]  # fmt: skip
PATTERN_COLUMNS: Final = [
    Column("pattern", "pattern"), Column("read", "columns read"), Column("bytes", "bytes a line", 0),
    Column("median", "MB/s", 1), Column("low", "lowest", 1), Column("high", "highest", 1),
    Column("lines", "lines/s", 0),
]  # fmt: skip
STREAMS: Final = {
    **BUILTIN_STREAMS,
    "jobs": {"ts": "int64", "host": "string", "status": "int64", "request_s": "float64", "path": "string"},
}


def run(sizing: Sizing, board: Scoreboard) -> list[Table]:
    """Both tables."""
    with tempfile.TemporaryDirectory(prefix="tailwatch-logs-") as folder:
        return [_beside_peers(sizing, board, Path(folder)), _patterns(sizing, Path(folder))]


def access_lines(count: int) -> Iterator[str]:
    """Combined lines with the request time, as nginx writes them, from one fixed seed."""
    draw = np.random.default_rng(7)
    took = draw.lognormal(-3.5, 1.2, count)
    sent, page = draw.integers(100, 100_000, count), draw.zipf(1.3, count) % 100_000
    status, agent = draw.integers(0, len(STATUSES), count), draw.integers(0, len(BROWSERS), count)
    client = draw.integers(0, 2**24, count)
    for i in range(count):
        second = i // LINES_PER_S
        at = f"{10 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        address = int(client[i])
        yield (
            f'10.{address >> 16}.{address >> 8 & 255}.{address & 255} - - [22/Nov/2026:{at} +0000] "GET /api/v1/items/'
            f'{page[i]}?page=2 HTTP/1.1" {STATUSES[status[i]]} {sent[i]} "https://shop.example.com/list" '
            f'"{BROWSERS[agent[i]]}" {took[i]:.3f}'
        )


def access_plan(metric: str = "request_s") -> Plan:
    """Sketches of one column by status."""
    sql = f"SELECT status, sketch({metric}) AS nginx_{metric} FROM access_log"
    return compile_query("nginx", f"{sql} GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), status", STREAMS, {})


def ours(path: Path, plan: Plan, schema: dict[str, str], **values: Any) -> tuple[Answer, LogsSource]:
    """What an agent makes of the file."""
    wanted = {name: kind for name, kind in schema.items() if name in (*plan.source_schema, "ts", "host")}
    entry = LogsConfig(paths=(str(path),), begin="beginning", **values)
    source = LogsSource(entry, wanted, clock_ns=lambda: (START_S + 7200) * 10**9)
    return answer_of(fed(source, plan, lambda: not source.lag_bytes), plan.metrics[0].name), source


def _beside_peers(sizing: Sizing, board: Scoreboard, folder: Path) -> Table:
    lines = list(access_lines(sizing.log_lines))
    whole, part = _written(folder / "access.log", lines), _written(folder / "part.log", lines[: sizing.slow_lines])
    table = Table("logs", "1. nginx' access log to p99 of the request time by status", COLUMNS)
    table.notes.append(f"{len(lines):,} lines, {_mb(whole):.0f} MB, from the disk's cache; CPU time, one thread each")
    table.notes.append(f"whoever goes line by line reads the first {sizing.slow_lines:,} of them")
    plan = access_plan()
    candidates = {OURS: _candidate(whole, lambda path: ours(path, plan, ACCESS_LOG, pattern="access")[0])}
    candidates[f"{OURS}, pattern regex"] = _candidate(whole, _ours_by_regex)
    candidates["Polars, regular expression"] = _candidate(whole, _by_polars)
    candidates["DuckDB, regular expression"] = _candidate(whole, _by_duckdb)
    candidates["Python re, a loop over the file"] = _candidate(part, lambda path: _by_loop(path.open(encoding="utf-8")))
    candidates["Python re, a loop over pygtail"] = _candidate(part, _by_pygtail)
    found = interleaved(candidates, sizing.rounds)
    for who in candidates:
        row = peer_row(who, found, None if who == OURS else OURS)
        table.rows.append(row)
    if OURS in found.seconds:
        board.score(
            LOG_MB, found.rate(OURS).median, "read, taken apart, through a query with sketch(request_s) by status"
        )
    else:
        board.fail(LOG_MB, found.failed[OURS])
    return table


def _patterns(sizing: Sizing, folder: Path) -> Table:
    """Every pattern, with few and with all columns read."""
    table = Table("patterns", "2. Patterns and columns", PATTERN_COLUMNS)
    table.notes.append("each through a query with one sketch; the cost is that of what the query reads")
    candidates: dict[str, Candidate] = {}
    about: dict[str, tuple[str, str, float]] = {}
    for pattern, read, lines, sql, values in _workloads(sizing.slow_lines):
        name = f"{pattern} {read}"
        path = _written(folder / f"{len(about)}.log", lines)
        plan = compile_query("q", f"{sql} GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), {_label(sql)}", STREAMS, {})
        candidates[name] = Candidate(partial(_read_all, path, plan, len(lines), values), per_run=_mb(path))
        about[name] = pattern, read, path.stat().st_size / len(lines)
    found = interleaved(candidates, sizing.rounds)
    for name, (pattern, read, line_bytes) in about.items():
        if name in found.failed:
            table.notes.append(f"{name} failed: {found.failed[name]}")
            continue
        rate = found.rate(name)
        table.rows.append(
            {"pattern": pattern, "read": read, "bytes": line_bytes, "median": rate.median, "low": rate.lowest,
             "high": rate.highest, "lines": rate.median * 1e6 / line_bytes}
        )  # fmt: skip
    return table


def _workloads(count: int) -> Iterator[tuple[str, str, list[str], str, dict[str, Any]]]:
    """Pattern, what is read, lines, the query up to GROUP BY with its only label first, settings of the source."""
    lines = list(access_lines(count))
    access: dict[str, Any] = {"pattern": "access"}
    yield "access", "status, sent_bytes", lines, "SELECT status, sketch(sent_bytes) AS x_bytes FROM access_log", access
    yield "access", "path, request_s", lines, "SELECT path, sketch(request_s) AS x_s FROM access_log", access
    matches = [match for match in map(re.compile(REGEX).match, lines) if match is not None]
    jobs = "SELECT status, sketch(request_s) AS x_s FROM jobs"
    mine: dict[str, Any] = {"stream": "jobs", "time_column": "at"}
    times = [f"2026-11-22T10:00:00.{i % 1000:03}Z" for i in range(count)]
    yield "json", "status, request_s", [
        f'{{"at":"{at}","level":"info","status":{m["status"]},"request_s":{m["request_s"]},"request":"{m["request"]}",'
        f'"user_agent":"{m["user_agent"]}"}}' for at, m in zip(times, matches, strict=True)
    ], jobs, {**mine, "pattern": "json"}  # fmt: skip
    yield "key_value", "status, request_s", [
        f'at={at} level=info status={m["status"]} request_s={m["request_s"]} request="{m["request"]}"'
        for at, m in zip(times, matches, strict=True)
    ], jobs, {**mine, "pattern": "key_value"}  # fmt: skip
    regex: dict[str, Any] = {"pattern": "regex", "stream": "jobs", "regex": REGEX, "time_column": "time"}
    yield "regex", "status, request_s", lines, jobs, {**regex, "time_format": "%d/%b/%Y:%H:%M:%S %z"}
    syslog = "SELECT program, sketch(pid) AS x_count FROM syslog"
    assert set(SYSLOG) >= {"program", "pid"}
    yield "syslog", "program, pid", [
        f'Nov 22 10:00:00 web1 app{i % 9}[{i}]: {m["request"]} took {m["request_s"]} s' for i, m in enumerate(matches)
    ], syslog, {"pattern": "syslog", "time_zone": "UTC"}  # fmt: skip


def _label(sql: str) -> str:
    return sql.removeprefix("SELECT ").partition(",")[0]


def _read_all(path: Path, plan: Plan, wanted: int, values: dict[str, Any], _: object) -> None:
    source = ours(path, plan, STREAMS[plan.source], **values)[1]
    if source.counters()["records"] != wanted:
        raise AssertionError(f"{source.counters()} of {wanted} lines")


def _written(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _mb(path: Path) -> float:
    return path.stat().st_size / 1e6


def _candidate(path: Path, run: Callable[[Path], Answer | None]) -> Candidate:
    """Reads the file; whoever gives a p99 gives one within the sketch's error of the exact one."""
    exact = _exact(path)

    def checked(_: object) -> None:
        answer = run(path)
        for status, (count, p99) in (answer or {}).items():
            wanted = exact[status]
            if count != wanted[0] or abs(p99 - wanted[1]) > 0.005416 * wanted[1]:
                raise AssertionError(f"status {status}: {count} values with p99 {p99}, wanted {wanted}")
        if answer is not None and answer.keys() != exact.keys():
            raise AssertionError(f"statuses {sorted(answer)}, wanted {sorted(exact)}")

    return Candidate(checked, per_run=_mb(path))


@cache
def _exact(path: Path) -> Answer:
    """The truth, from the ends of the lines; empty for logs of other patterns."""
    text = path.read_text(encoding="utf-8")
    values: dict[str, list[float]] = defaultdict(list)
    for line in text.splitlines() if "[22/Nov/2026:" in text[:100] else ():
        values[line.split('" ', 2)[1][:3]].append(float(line.rpartition(" ")[2]))
    return {status: _p99(took) for status, took in values.items()}


def _p99(values: list[float]) -> tuple[int, float]:
    """How many, and the one at the nearest rank."""
    rank = max(1, int(np.ceil(0.99 * len(values))))
    return len(values), float(np.sort(values)[rank - 1])


def _ours_by_regex(path: Path) -> Answer:
    sql = "SELECT status, sketch(request_s) AS x_s FROM jobs GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), status"
    plan = compile_query("q", sql, STREAMS, {})
    return ours(
        path, plan, STREAMS["jobs"], pattern="regex", stream="jobs", regex=REGEX, time_column="time",
        time_format="%d/%b/%Y:%H:%M:%S %z",
    )[0]  # fmt: skip


def _by_loop(lines: Iterable[str]) -> Answer:
    """What a script of an evening does."""
    match = re.compile(REGEX).match
    values: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        found = match(line)
        if found is not None:
            values[found["status"]].append(float(found["request_s"]))
    return {status: _p99(took) for status, took in values.items()}


def _by_pygtail(path: Path) -> Answer:
    """pygtail keeps its place in a file beside the log."""
    if find_spec("pygtail") is None:
        raise ModuleNotFoundError("pygtail is not installed")
    from pygtail import Pygtail

    with _fresh(path.with_suffix(".offset")) as offset:
        return _by_loop(Pygtail(str(path), offset_file=str(offset)))


@contextmanager
def _fresh(path: Path) -> Iterator[Path]:
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


def _by_polars(path: Path) -> Answer:
    """All at once, which a follower cannot do."""
    lines = pl.read_csv(
        path, has_header=False, separator="\x01", quote_char=None, infer_schema=False, new_columns=["line"]
    )
    fields = lines.select(pl.col("line").str.extract_groups(REGEX)).unnest("line")
    took = fields.select("status", pl.col("request_s").cast(pl.Float64))
    rank = (pl.len() * 0.99).ceil().cast(pl.Int64) - 1
    p99 = took.group_by("status").agg(pl.len(), pl.col("request_s").sort().get(rank))
    return {status: (count, value) for status, count, value in p99.rows()}


def _by_duckdb(path: Path) -> Answer:
    """All at once, on one thread."""
    import duckdb

    with duckdb.connect() as db:
        db.execute("SET threads = 1")
        names = ["client", "time", "request", "status", "sent_bytes", "referer", "user_agent", "request_s"]
        regex = re.sub(r"\?P<\w+>", "", REGEX)
        rows = db.execute(
            "SELECT f.status, count(*), quantile_disc(f.request_s::DOUBLE, 0.99) FROM ("
            "SELECT regexp_extract(line, ?, ?) AS f FROM read_csv(?, header=false, delim='\x01', quote='', escape='', "
            "columns={'line': 'VARCHAR'})) GROUP BY 1",
            [regex, names, os.fspath(path)],
        ).fetchall()
    return {status: (count, value) for status, count, value in rows}
