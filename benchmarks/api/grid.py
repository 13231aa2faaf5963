"""Tables 2 and 3: p99 over 1, 100 and 1,000 series x 5 minutes, an hour and a day; and answers a second."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks.api.goals import CACHED, ONE_SERIES, SMALL
from benchmarks.api.peers import SCHEMAS, DuckDb, Prometheus, prometheus
from benchmarks.api.serving import Connection, api, per_second
from benchmarks.api.sizing import Sizing
from benchmarks.api.telemetry import HOUR_S, START_S, Content, fill, grid_content
from benchmarks.api.turns import asking, in_turns, path_of
from benchmarks.collector.databases import SQLITE, databases
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

COLUMNS = [
    Column("series", "series"), Column("range", "range"), Column("who", "who"), Column("p50", "median ms", 2),
    Column("p99", "p99 ms", 2), Column("rounds", "rounds"), Column("error", "error of p99 %", 3),
]  # fmt: skip
RATES = [
    Column("who", "who"), Column("rate", "answers/s", 0), Column("low", "lowest", 0), Column("high", "highest", 0),
]  # fmt: skip
COMPUTED, FROM_BEFORE = "computed", "from before"
_AT_ONCE = 8
_DISTINCT = 200
_DUCKDB_VALUES = 20_000_000


_GRID_NOTES = (
    "Windows of a minute, 100 values in each; whole hours are rolled up, as the jobs leave them.",
    "Ranges begin and end half an hour past the hour: an hour is 60 windows, a day 23 hours and 60 minutes.",
    "One process each with an API key; `computed`: without answers from before.",
    "`one of`: the same hour of one series of the largest metric, by where. All caches of the system are warm.",
    f"The peers hold one hour; DuckDB also a day where that is at most {_DUCKDB_VALUES:,} values.",
)
_RATES_NOTES = (
    f"p99 of one series over 5 minutes, {_DISTINCT} different questions in turns over {_AT_ONCE} connections.",
    "API keys are on. The client takes the other core.",
)


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Both databases, computed and from before, and the peers."""
    contents = [grid_content(size, series) for series in size.grid_series]
    table = Table("grid", "2. p99 by series and range", COLUMNS)
    table.notes = list(_GRID_NOTES)
    rates = Table("throughput", "3. Answers a second of one process", RATES)
    rates.notes = list(_RATES_NOTES)
    with ExitStack() as opened:
        engines, missing = opened.enter_context(databases())
        table.notes += [missing] if missing else []
        ours: dict[str, Connection] = {}
        for name, engine in engines.items():
            for content in contents:
                fill(engine, content, rolled_up=True)
            url = engine.url.render_as_string(hide_password=False)
            ours[f"{name}, {COMPUTED}"] = opened.enter_context(api(url, engine, answer_cache_bytes=0))
            ours[f"{name}, {FROM_BEFORE}"] = opened.enter_context(api(url, engine))
        server, duck = _peers(opened, contents, table)
        for content in contents:
            for label, seconds in (("5 min", 300), ("1 h", HOUR_S), ("24 h", 24 * HOUR_S)):
                if seconds <= (size.grid_hours - 1) * HOUR_S:
                    _measure(table, content, label, seconds, ours, _asked(content, seconds, server, duck), size, board)
        _one_of(table, contents, ours[f"{SQLITE}, {COMPUTED}"], size, board)
        _throughput(rates, contents[0], ours, size, board)
    return [table, rates]


def _peers(opened: ExitStack, contents: Sequence[Content], table: Table) -> tuple[Prometheus | None, DuckDb]:
    duck = DuckDb()
    for content in contents:
        day = 24 * 60 if content.values[0].size * 24 * 60 <= _DUCKDB_VALUES and content.windows > 24 * 60 else 60
        duck.load(content, content.windows - day, content.windows)
    try:
        server = opened.enter_context(prometheus())
        for content in contents:
            for schema in SCHEMAS:
                server.write(content, schema, content.windows - 60, content.windows)
    except (FileNotFoundError, ImportError) as error:
        table.notes.append(f"Prometheus is absent: {error}")
        return None, duck
    return server, duck


def _asked(content: Content, seconds: int, server: Prometheus | None, duck: DuckDb) -> dict[str, Callable[[], float]]:
    """The peers that hold so much."""
    end_s, start_s = content.end_s, content.end_s - seconds
    found: dict[str, Callable[[], float]] = {}
    if server is not None and seconds <= HOUR_S:
        for schema in SCHEMAS:
            found[f"Prometheus, schema {schema}"] = lambda schema=schema: server.p99(content, schema, seconds, end_s)  # type: ignore[misc]
    if seconds <= HOUR_S or content.values[0].size * 24 * 60 <= _DUCKDB_VALUES:
        found["DuckDB"] = lambda: duck.p99(content, start_s, end_s)
    return found


def _measure(
    table: Table, content: Content, label: str, seconds: int, ours: dict[str, Connection],
    peers: dict[str, Callable[[], float]], size: Sizing, board: Scoreboard,
) -> None:  # fmt: skip
    path = path_of(content.metric, content.end_s - seconds, content.end_s)
    candidates = {name: asking(connection, path) for name, connection in ours.items()} | peers
    windows = range(content.windows - seconds // content.window_s, content.windows)
    exact = content.exact(0.99, windows[-60:])
    for name, times in in_turns(candidates, size.grid_rounds).items():
        table.rows.append({
            "series": content.series, "range": label, "who": name, "p50": times.p50, "p99": times.p99,
            "rounds": len(times.ms), "error": abs(times.answer - exact) / exact * 100,
        })  # fmt: skip
        if name == f"{SQLITE}, {FROM_BEFORE}" and label == "1 h" and content.series == max(size.grid_series):
            board.score(CACHED, times.p50, f"{name}, {content.series:,} series over an hour; p99 {times.p99:.2f} ms")


def _one_of(table: Table, contents: Sequence[Content], connection: Connection, size: Sizing, board: Scoreboard) -> None:
    """The target takes the slower of: a metric's only series, and one of the largest metric's series."""
    largest, single = contents[-1], contents[0]
    end_s = largest.end_s
    asked = {
        f"one of {largest.series:,}": path_of(largest.metric, end_s - HOUR_S, end_s, f"&where=host:{largest.host(0)}"),
        "the only one": path_of(single.metric, end_s - HOUR_S, end_s),
    }
    found = in_turns({name: asking(connection, path) for name, path in asked.items()}, size.grid_rounds)
    for name, times in found.items():
        table.rows.append({
            "series": 1, "range": "1 h", "who": f"{SQLITE}, {COMPUTED}, {name}", "p50": times.p50, "p99": times.p99,
            "rounds": len(times.ms),
        })  # fmt: skip
    slower = max(found, key=lambda name: found[name].p50)
    board.score(ONE_SERIES, found[slower].p50, f"{SQLITE}, {slower}; p99 {found[slower].p99:.2f} ms")


def _throughput(table: Table, content: Content, ours: dict[str, Connection], size: Sizing, board: Scoreboard) -> None:
    first_s = START_S + HOUR_S // 2
    paths = [
        path_of(content.metric, first_s + 60 * at, first_s + 60 * at + 300)
        for at in range(min(_DISTINCT, content.windows - 40))
    ]
    found: dict[str, list[float]] = {name: [] for name in ours}
    for _ in range(size.rounds):
        for name, connection in ours.items():
            found[name].append(per_second(connection, paths, _AT_ONCE, size.seconds))
    for name, rates in found.items():
        table.rows.append({"who": name, "rate": median(rates), "low": min(rates), "high": max(rates)})
    computed = found[f"{SQLITE}, {COMPUTED}"]
    board.score(SMALL, median(computed), f"{SQLITE}, {COMPUTED}, keys on; {min(computed):.0f} to {max(computed):.0f}")
