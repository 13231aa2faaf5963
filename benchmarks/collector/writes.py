"""Table 3: page writes beside the bare driver, which is given the very rows and the very statement."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.collector.databases import POSTGRESQL, SQLITE, databases
from benchmarks.collector.fleet import METRIC, SPREADS, START_NS, WINDOW_NS, partial_load, probe_plan
from benchmarks.collector.goals import UPSERT
from benchmarks.collector.sizing import Sizing
from benchmarks.rounds import Candidate, interleaved
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from store.days import make_days_for
from store.page_writes import PagePlace, pages_of, upsert_pages
from store.tables import SERIES_PER_PAGE

OURS, DRIVER = "upsert_pages", "bare driver"
KEY = "version_id, metric_id, level, window_ns, series_group, partition"
PLACE = PagePlace(version_id=1, metric_id=1, level=0, partition=0)
Row = tuple[int, int, int, int, int, int, int, bytes]
COLUMNS = [
    Column("database", "database"), Column("pages", "pages"), Column("bytes", "bytes a page", 0),
    Column("way", "way"), Column("rate", "pages/s", 0), Column("low", "lowest", 0), Column("high", "highest", 0),
    Column("ratio", "driver's time / ours", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Both databases, both ways; the target takes the worse database."""
    table = Table("writes", "3. Page writes beside the bare driver", COLUMNS)
    table.notes = [
        "One transaction of pages that are there already, commit included.",
        "CPU time on SQLite, which works in this process; wall time on PostgreSQL, which does not.",
        f"Bare driver: sqlite3 or psycopg executemany. Median of {size.rounds * 4 + 1} rounds in turns.",
    ]
    pages = _pages(size.pages)
    ratios: dict[str, float] = {}
    with databases() as (engines, missing):
        table.notes += [missing] if missing else []
        for name, engine in engines.items():
            ratios[name] = _measure(table, name, engine, pages, size.rounds * 4 + 1)
    if POSTGRESQL not in ratios:
        board.fail(UPSERT, f"{SQLITE} {ratios[SQLITE]:.2f}; {missing}")
    else:
        board.score(UPSERT, min(ratios.values()), ", ".join(f"{name} {found:.2f}" for name, found in ratios.items()))
    return [table]


def _pages(n: int) -> list[tuple[int, int, int, bytes]]:
    """n pages of 64 sketches each, written as the flush writes them, over several windows."""
    load = partial_load(probe_plan(), keys=10 * SERIES_PER_PAGE, groups=10 * SERIES_PER_PAGE, frames=1,
                        spread=SPREADS[46])  # fmt: skip
    state = load.truth.states[METRIC]
    ids = np.arange(len(state))
    ten = [data for *_, data in pages_of(load.truth.keys["window"].to_numpy(), ids, state)]
    return [(START_NS + page // 100 * WINDOW_NS, page % 100, 1, ten[page % len(ten)]) for page in range(n)]


def _measure(table: Table, name: str, engine: sa.Engine, pages: list[tuple[int, int, int, bytes]], n: int) -> float:
    rows: list[Row] = [
        (PLACE.version_id, PLACE.metric_id, PLACE.level, window, group, PLACE.partition, version, data)
        for window, group, version, data in pages
    ]
    windows = sorted({window for window, *_ in pages})
    make_days_for(engine, {PLACE.version_id: np.array(windows, np.int64)}, START_NS)

    def ours(_: object) -> None:
        with engine.begin() as connection:
            upsert_pages(connection, PLACE, pages)

    raw = engine.raw_connection()
    try:
        bare = _bare(raw.driver_connection, rows, postgresql=engine.dialect.name == "postgresql")
        candidates = {OURS: Candidate(ours, per_run=len(pages)), DRIVER: Candidate(bare, per_run=len(pages))}
        found = interleaved(candidates, n, clock=time.perf_counter if name == POSTGRESQL else time.process_time)
    finally:
        raw.close()
    with engine.connect() as connection:
        stored = connection.execute(sa.text("SELECT count(*), max(length(data)) FROM pages")).one()
    assert tuple(stored) == (len(pages), max(len(data) for *_, data in pages)), f"{name} holds {stored}"
    ratio = found.speedup(OURS, DRIVER).median
    for way in (OURS, DRIVER):
        rate = found.rate(way)
        table.rows.append({
            "database": name, "pages": len(pages), "bytes": sum(len(data) for *_, data in pages) / len(pages),
            "way": way, "rate": rate.median, "low": rate.lowest, "high": rate.highest,
            "ratio": ratio if way == OURS else 1.0,
        })  # fmt: skip
    return ratio


def _bare(connection: Any, rows: list[Row], *, postgresql: bool) -> Callable[[object], None]:
    mark = "%s" if postgresql else "?"
    statement = (
        f"INSERT INTO pages ({KEY}, page_version, data) VALUES ({', '.join([mark] * 8)}) "
        f"ON CONFLICT ({KEY}) DO UPDATE SET data = excluded.data, "
        "page_version = pages.page_version + excluded.page_version"
    )

    def write(_: object) -> None:
        cursor = connection.cursor()
        if not postgresql:  # psycopg begins by itself
            cursor.execute("BEGIN")
        cursor.executemany(statement, rows)
        connection.commit()
        cursor.close()

    return write
