"""Reports, diagnoses and plans of statements for the tests of jobs on GPUs."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from store.connect import open_engine
from store.gpu_attempts import AttemptRow
from store.gpu_failures import FailureRow

NOW_NS = 1_795_330_800 * 10**9
HOUR_NS = 3600 * 10**9
BAD_TEXTS = "a\x00b", "a\udc80", "ä" * 257


def report(job: str = "train", number: int = 1, **told: object) -> AttemptRow:
    """A report that tells only this."""
    values = {"reported_ns": NOW_NS} | told
    return AttemptRow(job=job, number=number, **values)  # type: ignore[arg-type]


def failure(job: str = "train", number: int = 1, **said: object) -> FailureRow:
    """A diagnosis that is sure of itself, unless told otherwise."""
    values: dict[str, object] = {
        "failed_ns": NOW_NS,
        "found_ns": NOW_NS + 1,
        "status": "answered",
        "reason": "gpu_oom",
        "category": "ai_engine",
        "guess": "gpu_oom",
        "confidence": 0.9,
        "diagnosis": '{"status": "answered"}',
        "rules_version": "v1",
    }
    return FailureRow(job=job, number=number, **(values | said))  # type: ignore[arg-type]


def somebody_waits(connection: sa.Connection) -> bool:
    """Whether a session of this database waits for another one's lock."""
    connection.rollback()  # what a transaction has seen of this it sees to its end
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(connection.exec_driver_sql(asked).scalar_one())


def patient(url: str) -> sa.Engine:
    """An engine for writers of which one waits for the other, however slow the machine."""
    engine = open_engine(url, immediate=True)

    def wait_long(driver: Any, record: object) -> None:
        del record
        postgresql = engine.dialect.name == "postgresql"
        driver.execute("SET lock_timeout = '60s'" if postgresql else "PRAGMA busy_timeout = 60000")
        driver.commit()

    sa.event.listen(engine, "connect", wait_long)
    return engine


def plans(connection: sa.Connection, table: str, act: Callable[[], object]) -> list[str]:
    """How the database would go about each statement that `act` runs on a large table of this name."""
    asked: list[tuple[str, Any]] = []

    def remember(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if table in statement and not statement.startswith("INSERT"):
            asked.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", remember)
    act()
    sa.event.remove(connection, "before_cursor_execute", remember)
    explain = "EXPLAIN QUERY PLAN "
    if connection.dialect.name == "postgresql":
        explain = "EXPLAIN "
        for short_cut in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            connection.exec_driver_sql(f"SET LOCAL {short_cut} = off")
    found = [" / ".join(str(row) for row in connection.exec_driver_sql(explain + each, given)) for each, given in asked]
    if connection.dialect.name == "postgresql":
        for short_cut in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            connection.exec_driver_sql(f"SET LOCAL {short_cut} = on")
    return found
