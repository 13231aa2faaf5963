"""A database, services whose made-up requests are in it, and the job that works on them, driven step by step."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.workloads import bing_like
from collector.config import CollectorConfig
from collector.jobs.config import JobsConfig, TailConfig
from collector.jobs.job_series import STEP_NS
from collector.jobs.job_streams import COLLECTOR_STREAMS
from collector.jobs.tail_jobs import TailRounds
from pipeline.sql import compile_query
from store.registry import register_queries
from store.tail_alerts import AlertRow, list_alerts
from store.tail_batches import add_batch
from store.tail_minutes import MinuteRow, read_minutes
from store.tail_runs import RunRow, ask_run, get_run
from store.tail_services import ServiceSettings, put_service
from store.windows import Selection, merged
from tailwatch.query_set import builtin_queries

S_NS = 10**9
MINUTE_NS = 60 * S_NS
HOUR_NS = 3600 * S_NS
DAY_NS = 24 * HOUR_NS
#: 2024-11-20 13:30: a day in the past of every machine, for the job trusts no clock that is ahead of the server's.
NOW = 20_047 * DAY_NS + 13 * HOUR_NS + 30 * MINUTE_NS
LONG_AGO = 20_000 * DAY_NS
QUERIES = ("service_minutes", "service_causes", "service_alerts")
PLANS = [
    compile_query(one.name, one.sql, dict(COLLECTOR_STREAMS), {}) for one in builtin_queries() if one.name in QUERIES
]
SETTINGS = ServiceSettings(target_ms=80.0, threads=12, workers=24, max_degree=6, class_edges_ms=(30.0, 80.0))
#: One round of each collector, none within a run, and no search that the test does not ask for.
STILL: dict[str, Any] = {"interval_s": 3600.0, "series": False, "advise_every_s": 0.0}


def requests(from_ns: int, n: int = 600, gap_ns: int = 100_000_000, seed: int = 1, **columns: Any) -> dict[str, Any]:
    """Requests `gap_ns` apart that never share the hardware: works as of web search, most on degrees by chance."""
    rng = np.random.default_rng(seed)
    works = bing_like(n, rng)
    explored = rng.random(n) < 0.8
    degrees = np.where(explored, rng.integers(1, 7, n), 1)
    times = works / WEB_SEARCH.table[WEB_SEARCH.classes(works), degrees - 1]
    made = {
        "arrival_ns": from_ns + np.arange(n, dtype=np.int64) * gap_ns,
        "wait_us": np.zeros(n),
        "service_us": times * 1e3,
        "predicted_us": works * np.exp(rng.normal(0, 0.1, n)) * 1e3,
        "degree": degrees,
        "degree_final": degrees,
        "active_threads": np.zeros(n, np.int64),
        "explored": explored.astype(np.int64),
    }
    return {name: np.asarray(values) for name, values in {**made, **columns}.items() if values is not None}


@dataclass
class TailWorld:
    """Requests go in as the API would put them; the job is a collector's."""

    engine: sa.Engine

    @staticmethod
    def made(engine: sa.Engine) -> "TailWorld":
        """A world whose database is upgraded and knows the queries on services, and no service yet."""
        with engine.begin() as connection:
            register_queries(connection, PLANS, 0)
        return TailWorld(engine)

    def serve(self, service: str = "search", **settings: Any) -> None:
        """Set an objective, threads and what else is given."""
        with self.engine.begin() as connection:
            put_service(connection, service, replace(SETTINGS, **settings), LONG_AGO)

    def take(
        self,
        columns: dict[str, Any],
        service: str = "search",
        received_ns: int = NOW,
        instance: str = "i1",
        **more: Any,
    ) -> None:
        """A batch, as it came then."""
        with self.engine.begin() as connection:
            add_batch(connection, service, instance, None, columns, received_ns, **more)

    def rounds(self, owner: str = "tester", series_max: int = 10_000, **settings: Any) -> TailRounds:
        """The job as a collector has it; it rests for nobody."""
        tail = TailConfig(**{"cpu_share": 1.0, **STILL, **settings})
        return TailRounds(CollectorConfig(series_max=series_max, jobs=JobsConfig(tail=tail)), self.engine, owner)

    def tick(self, now_ns: int = NOW, **settings: Any) -> bool:
        """One round, runs included, of a collector that then leaves."""
        rounds = self.rounds(**settings)
        try:
            return rounds.tick(now_ns)
        finally:
            rounds.leave()

    def minutes(self, service: str = "search") -> dict[int, MinuteRow]:
        """Minutes before now -> row."""
        with self.engine.connect() as connection:
            rows = read_minutes(connection, service, 0, NOW + DAY_NS)
        return {(NOW - row.start_ns) // MINUTE_NS: row for row in rows}

    def counts(self, service: str = "search", name: str = "requests") -> dict[int, int]:
        """Minutes before now -> a count of each."""
        return {start: row.document[name] for start, row in self.minutes(service).items()}

    def ask(self, kind: Any, service: str = "search", asked_by: str = "anna", now_ns: int = NOW, **request: Any) -> str:
        """Ask for a run; returns its id."""
        whole = {"start_ns": 0, "end_ns": NOW, "instance": None, "class_edges_ms": None} | request
        with self.engine.begin() as connection:
            return ask_run(connection, service, kind, whole, now_ns, asked_by=asked_by)[0].id

    def run(self, run: str, service: str = "search") -> RunRow:
        """What became of one."""
        with self.engine.connect() as connection:
            found = get_run(connection, service, run)
        assert found is not None
        return found

    def alerts(self, service: str = "search") -> dict[str, AlertRow]:
        """By name."""
        with self.engine.connect() as connection:
            return {one.name: one for one in list_alerts(connection, service)}

    def series(self, name: str, *by: str) -> dict[tuple[Any, ...], Any]:
        """(minutes before now that the window begins, labels) -> value."""
        step_ns = STEP_NS if name == "service_alert_state" else MINUTE_NS
        with self.engine.connect() as connection:
            answer = merged(connection, Selection(name, NOW - DAY_NS, NOW + DAY_NS, by=by, step_ns=step_ns))
        return {
            ((NOW - one.start_ns) // MINUTE_NS, *(one.labels[label] for label in by)): one.state.answers()[0]
            for one in answer.groups
            if one.state.answers()[0] is not None
        }

    def table(self, name: str, *left_out: str) -> list[tuple[Any, ...]]:
        """All rows of a table, in order, without columns that say when."""
        table = sa.Table(name, sa.MetaData(), autoload_with=self.engine)
        columns = [column for column in table.c if column.name not in left_out]
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(*columns)).all()
        return sorted((tuple(row) for row in found), key=repr)
