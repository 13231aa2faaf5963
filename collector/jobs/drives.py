"""Rounds of scoring drives: what is new taken in, drives judged, and every five minutes their series written.

Done by the collector that holds the lease `drives` (leased_rounds.py), in transactions of one chunk of drives
(docs/decisions/0008).
"""

from collections.abc import Callable

import sqlalchemy as sa

from collector import own_metrics
from collector.config import CollectorConfig
from collector.jobs.drive_forgetting import forget_old
from collector.jobs.drive_intake import DriveIntake
from collector.jobs.drive_lag import NOTED
from collector.jobs.drive_scoring import DriveScoring
from collector.jobs.drive_series import DriveSeries
from collector.jobs.job_lag import JobLag
from collector.jobs.leased_rounds import JobMetrics, LeasedRounds
from collector.jobs.pace import Pace

LEASE = "drives"
DAY_NS = 86_400 * 10**9


class DriveRounds(LeasedRounds):
    """The scoring of one collector."""

    def __init__(self, config: CollectorConfig, engine: sa.Engine, owner: str) -> None:
        """`owner` names the collector in the lease; two of the same name are told apart."""
        self._config = config.jobs.drives
        shown = JobMetrics(
            own_metrics.drives_lag_seconds,
            own_metrics.drives_round_seconds,
            own_metrics.drives_failures,
            own_metrics.drives_lease_held,
        )
        super().__init__(engine, self._config, "scoring drives", LEASE, owner, shown, JobLag(NOTED))
        self._intake = DriveIntake(engine, self._config.keep_days)
        self._scoring = DriveScoring(engine, self._config)
        self._series = DriveSeries(self._config, config.series_max, engine, self._lease.owner)

    def _work(self, trusted_ns: int, now_ns: int, pace: Pace) -> None:
        today = trusted_ns // DAY_NS
        self._intake.take_in(today, now_ns, pace)
        self._scoring.score(today, now_ns, pace)

    def _forget(self, trusted_ns: int, pace: Pace) -> None:
        forget_old(self._engine, self._config, trusted_ns // DAY_NS, pace)

    def _write(self, now_ns: int, rest: Callable[[], None]) -> int:
        return self._series.write(now_ns, rest)

    def _news(self) -> bool:
        """Whether an operator said something, or another model was installed."""
        with self._engine.connect() as connection:
            return self._scoring.has_news(connection)
