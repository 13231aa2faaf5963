"""Table 1: one p99 over 30,000 sketches, nothing from before, beside the same question to Prometheus and DuckDB."""

from contextlib import ExitStack
from statistics import median

from benchmarks.api.goals import LARGE, SCHEMA_3, SCHEMA_6
from benchmarks.api.peers import SCHEMAS, DuckDb, prometheus
from benchmarks.api.serving import api
from benchmarks.api.sizing import Sizing
from benchmarks.api.telemetry import START_S, fill, large_content
from benchmarks.api.turns import asking, in_turns, path_of
from benchmarks.collector.databases import SQLITE, databases
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

COLUMNS = [
    Column("who", "who"), Column("p50", "median ms", 1), Column("p99", "p99 ms", 1), Column("low", "lowest", 1),
    Column("high", "highest", 1), Column("rounds", "rounds"), Column("ratio", "times ours", 1),
    Column("error", "error of p99 %", 3),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Ours on both databases and the peers."""
    content = large_content(size)
    sketches = len(content.sketches)
    table = Table("large", f"1. One p99 over {sketches:,} sketches", COLUMNS)
    cells = len(content.sketches.cells) / sketches
    table.notes = [
        f"{content.series} series in {content.windows} windows, {content.values.shape[2]:,} values, {cells:.0f} cells.",
        "Ours over HTTP with an API key and without answers from before.",
        "Prometheus 2.42: histogram_quantile(0.99, sum(increase(m[..]))) over native histograms of the same values.",
        "DuckDB: approx_quantile over the raw values, in the process, on all cores.",
        "Wall time; all in turns, then ours alone for its p99. `times ours`: over SQLite, median of the rounds.",
    ]
    end_s, seconds = content.end_s, content.end_s - START_S
    exact = content.exact(0.99, range(content.windows))
    candidates = {}
    with ExitStack() as opened:
        engines, missing = opened.enter_context(databases())
        table.notes += [missing] if missing else []
        for name, engine in engines.items():
            fill(engine, content, rolled_up=False)
            url = engine.url.render_as_string(hide_password=False)
            connection = opened.enter_context(api(url, engine, answer_cache_bytes=0))
            candidates[name] = asking(connection, path_of(content.metric, START_S, end_s))
        absent = ""
        try:
            server = opened.enter_context(prometheus())
            for schema in SCHEMAS:
                server.write(content, schema, 0, content.windows)
                candidates[f"Prometheus, schema {schema}"] = lambda schema=schema: server.p99(  # type: ignore[misc]
                    content, schema, seconds, end_s
                )
        except (FileNotFoundError, ImportError) as error:
            absent = f"Prometheus is absent: {error}"
            table.notes.append(absent)
        duck = DuckDb()
        duck.load(content, 0, content.windows)
        candidates["DuckDB"] = lambda: duck.p99(content, START_S, end_s)
        together = in_turns(candidates, size.rounds)
        alone = in_turns({name: candidates[name] for name in engines}, size.more_rounds)
    for name, times in together.items():
        shown = alone.get(name, times)
        ratio = median(theirs / mine for theirs, mine in zip(times.ms, together[SQLITE].ms, strict=False))
        table.rows.append({
            "who": name, "p50": shown.p50, "p99": shown.p99, "low": min(shown.ms), "high": max(shown.ms),
            "rounds": len(shown.ms), "ratio": ratio, "error": abs(shown.answer - exact) / exact * 100,
        })  # fmt: skip
        for schema, target in zip(SCHEMAS, (SCHEMA_6, SCHEMA_3), strict=True):
            if name == f"Prometheus, schema {schema}":
                board.score(target, ratio, f"median of {len(times.ms)} rounds: {times.p50:.0f} ms")
    ours = alone[SQLITE]
    board.score(
        LARGE,
        ours.p50,
        f"median of {len(ours.ms)} questions for p99 of {sketches:,} sketches; slowest 1 %: {ours.p99:.1f} ms",
    )
    for target in (SCHEMA_6, SCHEMA_3) if absent else ():
        board.fail(target, absent)
    return [table]
