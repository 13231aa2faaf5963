"""Rounds over failed jobs on GPUs: what is new, why jobs failed, what was learned of retries, which nodes stand out.

Done by the collector that holds the lease `gpu` (leased_rounds.py), in transactions of some jobs each. A collector
without the libraries that logs are read with says so and leaves the lease to others.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from collector import own_metrics
from collector.config import CollectorConfig
from collector.jobs import gpu_rules
from collector.jobs.gpu_diagnosing import GpuDiagnosing
from collector.jobs.gpu_forgetting import forget_old
from collector.jobs.gpu_lag import NOTED
from collector.jobs.gpu_learning import learn
from collector.jobs.gpu_news import GpuNews
from collector.jobs.gpu_node_tests import check_nodes
from collector.jobs.gpu_series import GpuFailureCounts, GpuWindows
from collector.jobs.gpu_waiting import read_waiting
from collector.jobs.job_lag import JobLag
from collector.jobs.leased_rounds import JobMetrics, LeasedRounds
from collector.jobs.pace import Pace

LEASE = "gpu"
_DAY_NS = 86_400 * 10**9


class GpuRounds(LeasedRounds):
    """The work on GPU jobs of one collector."""

    def __init__(self, config: CollectorConfig, engine: sa.Engine, owner: str) -> None:
        """`owner` names the collector in the lease; two of the same name are told apart."""
        self._config = config.jobs.gpu
        shown = JobMetrics(
            own_metrics.gpu_lag_seconds,
            own_metrics.gpu_round_seconds,
            own_metrics.gpu_failures,
            own_metrics.gpu_lease_held,
        )
        super().__init__(engine, self._config, "looking into GPU jobs", LEASE, owner, shown, JobLag(NOTED))
        self._logs = GpuNews(engine)
        self._diagnosing = GpuDiagnosing(engine, self._config, self._logs)
        self._counts = GpuFailureCounts(config.series_max, engine, self._lease.owner)
        self._windows = GpuWindows(config.series_max, engine, self._lease.owner)

    def _libraries(self) -> Sequence[str]:
        return gpu_rules.LIBRARIES

    def _work(self, trusted_ns: int, now_ns: int, pace: Pace) -> None:
        del now_ns  # a clock that is ahead would find jobs quiet that are not
        since_ns = trusted_ns - round(self._config.look_back_s * 1e9)
        waiting = self._logs.take_in(since_ns, trusted_ns, pace)
        self._diagnosing.look_into(waiting, since_ns, trusted_ns, pace)
        self._part("learning from retries", lambda: self._learn(trusted_ns, pace), pace)
        tested_since_ns = trusted_ns - self._config.node_days * _DAY_NS
        self._part("testing nodes", lambda: check_nodes(self._engine, tested_since_ns, trusted_ns, pace), pace)

    def _learn(self, now_ns: int, pace: Pace) -> int:
        with self._engine.connect() as connection:
            waiting, _ = read_waiting(connection)
        return learn(self._engine, waiting, self._config.keep_models, now_ns, pace)

    def _forget(self, trusted_ns: int, pace: Pace) -> None:
        forget_old(self._engine, self._config, trusted_ns, pace)

    def _write(self, now_ns: int, rest: Callable[[], None]) -> int:
        if not self._config.series:
            return 0
        return self._counts.write(now_ns, rest) + self._windows.write(now_ns, rest)
