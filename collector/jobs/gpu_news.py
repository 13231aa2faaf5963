"""What is new: lines that came since an hour was last looked at, and reports since the last one seen.

Jobs with something new are noted as waiting in the transaction that notes how far that was read, so that neither a
stop nor another collector loses any.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import sqlalchemy as sa

from analytics.gpu.node_events import SLACK_NS, short_name
from collector import own_metrics
from collector.errors import UnusableQueryError
from collector.jobs.gpu_damaged import tell_damaged
from collector.jobs.gpu_log_counts import SERIES_AT_ONCE, LineCounts, SeriesNews
from collector.jobs.gpu_log_query import LogQuery, LogSeries, log_query, log_series
from collector.jobs.gpu_waiting import PROGRESS, Waiting, key_of, read_waiting, write_to_learn, write_waiting
from collector.jobs.pace import Pace
from store.catalog import Catalog
from store.changes import HOUR_NS, hour_changes
from store.errors import CorruptPageError
from store.gpu_attempts import AttemptRow, attempts_between, attempts_of, changed_attempts
from store.gpu_overview import WAITING_SCOPE
from store.gpu_tables import gpu_failures
from store.job_progress import Progress
from store.series_labels import SeriesLabels
from store.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Hours whose windows were looked at: hour -> the count of changes that they held.
HOURS_SCOPE: Final = "gpu hours"
#: Under key 0, the newest change of attempts that was seen.
ATTEMPTS_SCOPE: Final = "gpu attempts seen"
_REPORTS_AT_ONCE: Final = 2_000


class GpuNews:
    """Looks for it; remembers labels and counts between rounds."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._counts = LineCounts()
        self._told: dict[str, str] = {}
        self._labels: tuple[SeriesLabels | None, LogSeries] = None, log_series(())
        self.catalog = Catalog()

    def take_in(self, since_ns: int, now_ns: int, pace: Pace) -> dict[str, Waiting]:
        """Note the jobs with something new since then; returns all that wait."""
        with self._engine.connect() as connection:
            waiting, damaged = read_waiting(connection)
        if damaged:
            waiting |= self._note_anew(damaged, since_ns, now_ns, pace)
        self._take_reports(waiting, now_ns, pace)
        self._take_lines(waiting, since_ns, now_ns, pace)
        own_metrics.gpu_waiting.set(len(waiting))
        return waiting

    def logs(self, connection: sa.Connection) -> tuple[Snapshot, LogQuery | None, LogSeries]:
        """What there is of logs in this transaction."""
        seen = Snapshot(connection, self.catalog)
        try:
            query = log_query(seen)
        except UnusableQueryError as error:
            self._tell("query", str(error))
            query = None
        if query is None:
            return seen, None, log_series(())
        labels = seen.labels(query.query_id)
        if labels is not self._labels[0]:
            self._labels = labels, log_series(labels.by_id())
        series = self._labels[1]
        if series.unusable is not None:
            shown = f"{series.unusable[:80]!r} of {len(series.unusable)} characters"
            self._tell("name", f"a job's name cannot be kept: {shown}; want 256 at most, without NUL")
        return seen, query, series

    def _note_anew(self, damaged: Mapping[int, str], since_ns: int, now_ns: int, pace: Pace) -> dict[str, Waiting]:
        """The jobs of entries that cannot be read, as if all of each were new, in place of the entries."""
        with self._engine.connect() as connection:
            names = set(self.logs(connection)[2].of_job)
            names |= {one.job for one in attempts_between(connection, since_ns, now_ns + 1)}
        found = {job: Waiting(job, last_ns=now_ns) for job in names if key_of(job) in damaged}
        with self._engine.begin() as connection:
            pace.hold(connection)
            PROGRESS.drop(connection, WAITING_SCOPE, list(damaged))
            write_waiting(connection, found.values(), now_ns)
        for key, why in damaged.items():
            tell_damaged(f"job that waits, {key}", why)
        return found

    def _take_reports(self, waiting: dict[str, Waiting], now_ns: int, pace: Pace) -> None:
        while True:
            with self._engine.connect() as connection:
                seen = PROGRESS.read(connection, ATTEMPTS_SCOPE).get(0, Progress(0))
                changed = changed_attempts(connection, seen.value, _REPORTS_AT_ONCE)
            if not changed:
                return
            news: dict[str, Waiting] = {}
            for one in changed:
                before = news.get(one.job) or waiting.get(one.job) or Waiting(one.job, from_ns=_begin_ns(one))
                # Tried again at once, also where only a fact like its exit code is new.
                news[one.job] = Waiting(one.job, min(before.from_ns, _begin_ns(one)), before.last_ns)
            with self._engine.begin() as connection:
                pace.hold(connection)
                write_waiting(connection, news.values(), now_ns)
                write_to_learn(connection, news, now_ns)
                PROGRESS.write(connection, ATTEMPTS_SCOPE, {0: Progress(changed[-1].changed)}, now_ns)
            waiting.update(news)
            pace.rest()

    def _take_lines(self, waiting: dict[str, Waiting], since_ns: int, now_ns: int, pace: Pace) -> None:
        with self._engine.connect() as connection:
            _, query, series = self.logs(connection)
            if query is None:
                return
            taken = PROGRESS.read(connection, HOURS_SCOPE)
            # Read before the windows: what is flushed in between makes the hour a changed one again.
            changes = hour_changes(connection, query.versions, since_ns // HOUR_NS, now_ns // HOUR_NS)
        for hour, count in sorted(changes.items()):
            if hour in taken and count <= taken[hour].value:
                continue
            try:
                self._take_hour(waiting, query, series, hour, count, now_ns, pace)
            except CorruptPageError as error:
                pace.spare(f"lines of the hour {hour}", error)
            pace.rest()

    def _take_hour(
        self,
        waiting: dict[str, Waiting],
        query: LogQuery,
        series: LogSeries,
        hour: int,
        count: int,
        now_ns: int,
        pace: Pace,
    ) -> None:
        ids = np.array(sorted(series.labels), np.int64)
        parts: list[SeriesNews] = []
        self._counts.begin()
        for start in range(0, ids.size, SERIES_AT_ONCE):
            with self._engine.connect() as connection:
                some = ids[start : start + SERIES_AT_ONCE]
                parts.append(self._counts.news(Snapshot(connection, self.catalog), query, some, hour))
            pace.rest()
        kernels, news = _by_owner(waiting, SeriesNews.concat(parts), series)
        with self._engine.connect() as connection:
            for job in self._meant_by(connection, kernels, series):
                before = news.get(job) or waiting.get(job) or Waiting(job, from_ns=(hour + 1) * HOUR_NS)
                news[job] = before.with_news(hour * HOUR_NS - SLACK_NS, None)
        changed = [one for one in news.values() if one != waiting.get(one.job)]
        with self._engine.begin() as connection:
            pace.hold(connection)
            write_waiting(connection, changed, now_ns)
            PROGRESS.write(connection, HOURS_SCOPE, {hour: Progress(count)}, now_ns)
        self._counts.remember(hour)
        waiting.update(news)

    def _meant_by(
        self, connection: sa.Connection, kernels: Mapping[str, tuple[int, int]], series: LogSeries
    ) -> list[str]:
        """Jobs that failed around the time of new kernel lines of one of their nodes."""
        if not kernels:
            return []
        table = gpu_failures
        low, high = min(low for low, _ in kernels.values()), max(high for _, high in kernels.values())
        query = sa.select(table.c.job, table.c.failed_ns).where(
            table.c.failed_ns >= low - SLACK_NS, table.c.failed_ns <= high + SLACK_NS
        )
        failed = [(row.job, row.failed_ns) for row in connection.execute(query)]
        attempts = attempts_of(connection, [job for job, _ in failed])
        return [
            job
            for job, failed_ns in failed
            for node in _nodes(job, series, attempts.get(job, ()))
            if node in kernels and kernels[node][0] - SLACK_NS <= failed_ns <= kernels[node][1] + SLACK_NS
        ]

    def _tell(self, what: str, text: str) -> None:
        """Count it, and log it where something else of the same kind was said last."""
        own_metrics.gpu_failures.labels("data").inc()
        if self._told.get(what) != text:
            self._told[what] = text
            log.warning("lines of GPU jobs left out reason=%s: %s", what, text)


def _by_owner(
    waiting: Mapping[str, Waiting], found: SeriesNews, series: LogSeries
) -> tuple[dict[str, tuple[int, int]], dict[str, Waiting]]:
    """(node -> the time of its kernel's new lines, job -> it with its news)."""
    kernels: dict[str, tuple[int, int]] = {}
    news: dict[str, Waiting] = {}
    for one, from_ns, last_ns in found.rows():
        owner = series.owner(one)
        if owner is None:
            continue
        kind, name = owner
        if kind == "node":
            low, high = kernels.get(name, (from_ns, last_ns))
            kernels[name] = min(low, from_ns), max(high, last_ns)
        else:
            before = news.get(name) or waiting.get(name) or Waiting(name, from_ns=from_ns)
            news[name] = before.with_news(from_ns, last_ns)
    return kernels, news


def _nodes(job: str, series: LogSeries, attempts: Iterable[AttemptRow]) -> set[str]:
    named = {node for one in attempts for node in one.nodes} | series.nodes_of(job)
    return {short_name(node) for node in named}


def _begin_ns(one: AttemptRow) -> int:
    known = (time_ns for time_ns in (one.start_ns, one.submitted_ns) if time_ns is not None)
    return max(0, next(known, 0) - SLACK_NS)
