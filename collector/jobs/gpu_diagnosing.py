"""Jobs that wait, looked into: which of their attempts are due, why they failed, and what to do about that.

Some jobs at a time, those whose logs end together; of each batch first everything is read, then all of it is written
in one transaction, with what still waits. A job that fails in it is set aside for longer and longer times, and ends
nothing for the others. Looking into a job again finds the same and writes nothing.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import sqlalchemy as sa

from analytics.gpu.attempts import Attempt
from analytics.gpu.classifier import diagnose
from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.node_events import JobFacts
from analytics.gpu.reported import attempt_of, by_scheduler, facts_of
from collector import own_metrics
from collector.jobs.config import GpuConfig
from collector.jobs.gpu_damaged import tell_damaged_attempts
from collector.jobs.gpu_findings import failure_row, says_the_same
from collector.jobs.gpu_log_lines import TOGETHER_NS
from collector.jobs.gpu_log_query import LogSeries
from collector.jobs.gpu_neighbours import others_beside, tells_of_kernel
from collector.jobs.gpu_news import GpuNews
from collector.jobs.gpu_quiet import Quiet
from collector.jobs.gpu_retry import RetryShelf
from collector.jobs.gpu_rules import RuleShelf
from collector.jobs.gpu_runs import FOREVER_NS, Death, Run, Waits, runs_of
from collector.jobs.gpu_scans import SERIES_AT_ONCE, Logs, pieces_of, series_of_nodes
from collector.jobs.gpu_waiting import Waiting, drop_waiting, write_to_learn, write_waiting
from collector.jobs.pace import Pace
from store.errors import LeaseLostError
from store.gpu_advice import AdviceRow, advice_of, put_advice
from store.gpu_attempts import AttemptRow, attempts_of
from store.gpu_failures import FailureRow, drop_failure, failures_of, put_failure, unreported_of

log = logging.getLogger(__name__)

_JOBS_AT_ONCE: Final = 500
_FIRST_DELAY_NS: Final = 60 * 10**9
_LONGEST_DELAY_NS: Final = 3600 * 10**9


@dataclass(slots=True)
class _Case:
    """One job in a round.

    Attributes:
        runs: all its attempts that there are.
        due: attempts to look into now, with what their logs say. later: those of which more is waited for.
    """

    waiting: Waiting
    attempts: Sequence[AttemptRow]
    runs: Sequence[Run]
    due: list[tuple[Run, Logs]] = field(default_factory=list)
    later: list[Run] = field(default_factory=list)

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(run.number for run in self.runs)

    @property
    def series(self) -> int:
        return sum(len(logs.series) + len(logs.of_nodes) for _, logs in self.due)

    @property
    def ends_ns(self) -> int:
        return max((logs.to_ns for _, logs in self.due), default=0)


@dataclass(slots=True)
class _Written:
    """What is to be written of one job."""

    failures: list[FailureRow] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    advice: list[AdviceRow] = field(default_factory=list)


class GpuDiagnosing:
    """Looks into jobs; remembers rules and the retry model between rounds."""

    def __init__(self, engine: sa.Engine, config: GpuConfig, news: GpuNews) -> None:
        self._engine = engine
        self._config = config
        self._news = news
        self._rules = RuleShelf(config.rules_path)
        self._shelf = RetryShelf()
        self._waits = Waits(round(config.settle_s * 1e9), round(config.quiet_s * 1e9))

    def look_into(self, waiting: Mapping[str, Waiting], since_ns: int, now_ns: int, pace: Pace) -> int:
        """All that is due of the jobs that wait; returns how many still do.

        Args:
            since_ns: lines and attempts before then are left alone.
        """
        left = len(waiting)
        tried = [one for one in waiting.values() if one.after_ns <= now_ns]
        tried.sort(key=lambda one: (one.last_ns or 0, one.job))
        for start in range(0, len(tried), _JOBS_AT_ONCE):
            some = tried[start : start + _JOBS_AT_ONCE]
            with self._engine.connect() as connection:
                seen, query, series = self._news.logs(connection)
                attempts = attempts_of(connection, [one.job for one in some])
                tell_damaged_attempts(row for rows in attempts.values() for row in rows)
                died = unreported_of(connection, [one.job for one in some])
                some = [_with_last(one, died.get(one.job, ()), since_ns) for one in some]
                quiet = Quiet(seen, query, series, self._waits.quiet_ns, since_ns)
                deaths = {one.job: quiet.deaths(one.job, died.get(one.job, ()), one.last_ns) for one in some}
            cases = [
                self._case(one, attempts.get(one.job, ()), deaths[one.job], series, since_ns, now_ns) for one in some
            ]
            for batch in _batches(cases):
                left -= self._look_into(batch, series, now_ns, pace)
                pace.rest()
        own_metrics.gpu_waiting.set(left)
        return left

    def _case(
        self,
        waiting: Waiting,
        attempts: Sequence[AttemptRow],
        deaths: Sequence[Death],
        series: LogSeries,
        since_ns: int,
        now_ns: int,
    ) -> _Case:
        runs = runs_of(attempts, waiting.last_ns, since_ns, self._waits, deaths)
        case = _Case(waiting, attempts, runs)
        for run in runs:
            if run.due_ns is None or run.to_ns <= max(waiting.from_ns, since_ns):
                continue
            if run.due_ns > now_ns:
                case.later.append(run)
                continue
            nodes = set(series.nodes_of(waiting.job)) | set(run.attempt.nodes if run.attempt else ())
            # Nothing was written later than the last line; what has no end in sight is read up to there.
            to_ns = min(run.to_ns, now_ns + TOGETHER_NS)
            if run.to_ns == FOREVER_NS and waiting.last_ns is not None:
                to_ns = max(run.from_ns, min(to_ns, waiting.last_ns))
            own = () if run.ended_well else series.of_job.get(waiting.job, ())
            of_nodes = () if run.ended_well else series_of_nodes(series, nodes)
            case.due.append((run, Logs(waiting.job, own, of_nodes, run.from_ns, to_ns)))
        return case

    def _look_into(self, batch: Sequence[_Case], series: LogSeries, now_ns: int, pace: Pace) -> int:
        """A batch of jobs; returns how many wait no longer."""
        try:
            self._read(batch, series, pace)
            written = {case.waiting.job: self._found(case, now_ns) for case in batch}
            self._write(batch, written, now_ns, pace)
        except (LeaseLostError, sa.exc.SQLAlchemyError):
            raise
        # Damaged data, or a fault of ours: whichever of these jobs it is about, the others are looked into.
        except Exception as error:  # noqa: BLE001
            if len(batch) > 1:
                for case in batch:
                    for _, logs in case.due:
                        logs.scans, logs.last_ns, logs.others = [], None, {}
                return sum(self._look_into([case], series, now_ns, pace) for case in batch)
            self._set_aside(batch[0].waiting, error, now_ns, pace)
            return 0
        return sum(not case.later for case in batch)

    def _read(self, batch: Sequence[_Case], series: LogSeries, pace: Pace) -> None:
        logs = [one for case in batch for _, one in case.due if one.series or one.of_nodes]
        if not logs:
            return
        scanner, _ = self._rules.scanner()
        for piece in pieces_of(logs):
            with self._engine.connect() as connection:
                seen, query, _ = self._news.logs(connection)
                if query is not None:
                    piece.scan(seen, query, series, scanner)
            pace.rest()
        for one in (one for one in logs if one.of_nodes and tells_of_kernel(one.scans)):
            with self._engine.connect() as connection:
                seen, query, _ = self._news.logs(connection)
                if query is not None:
                    one.others = others_beside(seen, query, series, one.job, one.scans)

    def _found(self, case: _Case, now_ns: int) -> _Written:
        """What the due attempts of a job died of; reads what was found before, writes nothing."""
        found = _Written()
        job = case.waiting.job
        with self._engine.connect() as connection:
            before = {row.number: row for row in failures_of(connection, job)}
            for run, logs in case.due:
                earlier = before.get(run.number)
                if earlier is not None and earlier.origin == "upload":
                    continue  # somebody gave whole logs; what was kept of them here knows no better
                row = None if run.ended_well else self._row(job, run, logs, now_ns)
                if row is None:
                    if earlier is not None:
                        found.passed.append(run.number)
                        del before[run.number]
                    continue
                advised = advice_of(connection, job, run.number) is not None
                if earlier is None or not says_the_same(row, earlier):
                    found.failures.append(row)
                elif advised:
                    continue
                before[run.number] = row
                if run.number == max(case.numbers) or not advised:
                    chain = _chain(case.attempts, before, run)
                    found.advice.append(self._shelf.advice(connection, chain, row.retry, now_ns))
        # What no report told of, and what now turns out to be part of another attempt.
        found.passed += [
            number
            for number, row in before.items()
            if not row.reported
            and row.origin == "agents"
            and number not in case.numbers
            and any(run.from_ns <= row.failed_ns < run.to_ns for run in case.runs)
        ]
        return found

    def _row(self, job: str, run: Run, logs: Logs, now_ns: int) -> FailureRow | None:
        facts = JobFacts() if run.attempt is None else facts_of(run.attempt)
        facts = replace(facts, job=job, others=logs.others)
        return failure_row(
            job,
            run,
            by_scheduler(self._diagnosis(logs, facts), "" if run.attempt is None else run.attempt.outcome),
            logs.last_ns,
            now_ns,
            self._rules.scanner()[1],
        )

    def _diagnosis(self, logs: Logs, facts: JobFacts) -> Diagnosis:
        found = diagnose(logs.scans, facts)
        if logs.scans:
            kept = "of its logs these lines were kept; line numbers count them, not those of the file"
            return replace(found, notes=(*found.notes, kept))
        return found

    def _write(self, batch: Sequence[_Case], written: Mapping[str, _Written], now_ns: int, pace: Pace) -> None:
        done, left, learn = [], [], []
        for case in batch:
            job = case.waiting.job
            if not case.later:
                done.append(job)
            else:
                from_ns = max(case.waiting.from_ns, min(run.from_ns for run in case.later))
                if from_ns != case.waiting.from_ns or case.waiting.tries:
                    left.append(replace(case.waiting, from_ns=from_ns, tries=0, after_ns=0))
            if case.attempts and (written[job].failures or written[job].passed):
                learn.append(job)
        if not (done or left or learn or any(one.failures or one.passed or one.advice for one in written.values())):
            return
        with self._engine.begin() as connection:
            pace.hold(connection)
            for job, one in written.items():
                for row in one.failures:
                    put_failure(connection, row)
                for number in one.passed:
                    drop_failure(connection, job, number, now_ns)
                for advice in one.advice:
                    put_advice(connection, advice)
            write_waiting(connection, left, now_ns)
            drop_waiting(connection, done)
            write_to_learn(connection, learn, now_ns)
        for one in written.values():
            for row in one.failures:
                own_metrics.gpu_diagnosed.labels(row.status).inc()

    def _set_aside(self, waiting: Waiting, error: Exception, now_ns: int, pace: Pace) -> None:
        pace.spare(f"job {waiting.job[:80]}", error)
        delay_ns = min(_LONGEST_DELAY_NS, _FIRST_DELAY_NS << min(waiting.tries, 10))
        aside = replace(waiting, tries=waiting.tries + 1, after_ns=now_ns + delay_ns)
        with self._engine.begin() as connection:
            pace.hold(connection)
            write_waiting(connection, [aside], now_ns)


def _with_last(waiting: Waiting, died: Sequence[tuple[int, int]], since_ns: int) -> Waiting:
    """Where something else than lines is new, what its lines alone told of is still an attempt of it."""
    times = [failed_ns for _, failed_ns in died if failed_ns >= since_ns]
    return replace(waiting, last_ns=max(times) + 1) if waiting.last_ns is None and times else waiting


def _batches(cases: Sequence[_Case]) -> Iterator[list[_Case]]:
    """Cases whose logs end together, so many that their series are read at once; one that has more stands alone."""
    batch: list[_Case] = []
    series, ends_ns = 0, 0
    for case in sorted(cases, key=lambda one: (one.ends_ns // TOGETHER_NS, one.waiting.job)):
        full = series + case.series > SERIES_AT_ONCE or len(batch) >= SERIES_AT_ONCE
        if batch and (full or case.ends_ns // TOGETHER_NS != ends_ns // TOGETHER_NS):
            yield batch
            batch, series = [], 0
        batch.append(case)
        series, ends_ns = series + case.series, case.ends_ns
    if batch:
        yield batch


def _chain(attempts: Sequence[AttemptRow], found: Mapping[int, FailureRow], run: Run) -> list[Attempt]:
    """The job's attempts up to this one, which failed, with their reasons."""
    chain = [attempt_of(one, found.get(one.number)) for one in attempts if one.number <= run.number]
    row = found[run.number]
    if run.attempt is None:
        nodes = () if row.node is None else (row.node,)
        last = AttemptRow(
            job=row.job,
            number=run.number,
            nodes=nodes,
            end_ns=row.failed_ns,
            outcome="failed",
            reported_ns=row.found_ns,
        )
        chain.append(attempt_of(last, row))
    elif not run.reported:
        chain[-1] = replace(chain[-1], outcome="failed", end_ns=row.failed_ns)
    return chain
