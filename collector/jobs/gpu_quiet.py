"""Whether a log was quiet after a failure that only its lines told of: what is written later is another attempt's.

Lines that are late (an agent that could not send) are no silence: they are counted by when they were written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector.jobs.gpu_log_counts import with_lines
from collector.jobs.gpu_log_query import LogQuery, LogSeries
from collector.jobs.gpu_runs import Death
from store.snapshot import Snapshot

#: Windows of the past may be so long.
_MINUTE_NS: Final = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Quiet:
    """What is read to tell, in one transaction; what failed before `since_ns` is over."""

    seen: Snapshot
    query: LogQuery | None
    series: LogSeries
    quiet_ns: int
    since_ns: int

    def deaths(self, job: str, died: Sequence[tuple[int, int]], last_ns: int | None) -> list[Death]:
        """Its failures that nobody reported; all but the newest are over.

        Args:
            died: (number, when it failed), by number. last_ns: when the job's last line was written.
        """
        return [
            Death(number, failed_ns, place < len(died) - 1 or self._is_over(job, failed_ns, last_ns))
            for place, (number, failed_ns) in enumerate(died)
        ]

    def _is_over(self, job: str, failed_ns: int, last_ns: int | None) -> bool:
        if failed_ns < self.since_ns or self.query is None:
            return failed_ns < self.since_ns
        until_ns = failed_ns + self.quiet_ns
        if last_ns is None or last_ns <= until_ns:
            return False
        # From the next window of any level on: those before hold its own last lines.
        begin_ns = (failed_ns // _MINUTE_NS + 1) * _MINUTE_NS
        if begin_ns >= until_ns:
            return True
        ids = np.array(sorted(self.series.of_job.get(job, ())), np.int64)
        return not with_lines(self.seen, self.query, ids, begin_ns, until_ns).size
