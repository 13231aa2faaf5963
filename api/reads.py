"""What all questions of a process share: the catalog, earlier answers, threads, and what one question may cost."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from api.answer_cache import AnswerCache
from api.config import ApiConfig
from api.errors import BusyError, LimitError
from api.own_metrics import OwnMetrics
from store.catalog import Catalog
from store.page_reads import Cost
from store.windows import Bounds

# As many as there are connections in the pool of an engine, less some for lists and health.
_THREADS = 12
# From this size on a read is one of the few that may run at a time; so many more may wait for their turn.
HEAVY_BYTES = 32 << 20
_WAITING = 4
_LOOK_S = 0.05


class Reads:
    """The shared parts; safe to use from any thread."""

    def __init__(self, config: ApiConfig, metrics: OwnMetrics) -> None:
        self.catalog = Catalog()
        self.answers = AnswerCache(config.answer_cache_bytes, metrics)
        self.metrics = metrics
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="question")
        self.timeout_s = config.question_timeout_s
        self._max_bytes = config.max_read_bytes
        self._max_groups = config.max_groups
        self._heavy = threading.BoundedSemaphore(config.max_heavy_reads)
        self._waiting = threading.BoundedSemaphore(_WAITING)

    def close(self) -> None:
        """Take no more questions; those that run end by themselves."""
        self.threads.shutdown(wait=False, cancel_futures=True)

    def admission(self, check: Callable[[], None] = lambda: None) -> "Admission":
        """What one question may read."""
        return Admission(self, check)

    def refuse_costly(self, cost: Cost) -> None:
        """Return when a read is not too large.

        Raises:
            LimitError: it is; with the estimate.
        """
        if cost.read_bytes > self._max_bytes:
            self.metrics.questions_ended.labels("too_costly").inc()
            raise LimitError(
                f"the answer would be merged from about {cost.pages:,} pages with up to {cost.sketches:,} summaries, "
                f"{_megabytes(cost.read_bytes)}; at most {_megabytes(self._max_bytes)} are read for one answer; ask "
                "for a shorter range, for a step of whole minutes or hours, or for fewer series with where",
                limit=self._max_bytes,
                estimate={"pages": cost.pages, "summaries": cost.sketches, "bytes": cost.read_bytes},
            )


class Admission:
    """The bounds of one question, and its turn among the heavy ones; a context manager that gives the turn back."""

    def __init__(self, reads: Reads, check: Callable[[], None]) -> None:
        self._reads = reads
        self._check = check
        self._holds = False
        self.bounds = Bounds(self._admit, check, reads._max_groups)

    def __enter__(self) -> "Admission":
        return self

    def __exit__(self, *error: object) -> None:
        if self._holds:
            self._holds = False
            self._reads._heavy.release()

    def admit_bytes(self, held_bytes: int) -> None:
        """Wait for a turn where work that holds so much memory needs one.

        Raises:
            BusyError: as many as may are waiting already.
        """
        if held_bytes >= HEAVY_BYTES and not self._holds:
            self._take_turn()

    def _admit(self, cost: Cost) -> None:
        self._reads.refuse_costly(cost)
        self.admit_bytes(cost.read_bytes)

    def _take_turn(self) -> None:
        if not self._reads._waiting.acquire(blocking=False):
            self._reads.metrics.questions_ended.labels("busy").inc()
            raise BusyError(
                f"{_WAITING} other large questions wait for their turn already; ask for less, or again in a moment",
                retry_after_s=5,
            )
        try:
            while not self._reads._heavy.acquire(timeout=_LOOK_S):
                self._check()
            self._holds = True
        finally:
            self._reads._waiting.release()


def _megabytes(n: int) -> str:
    return f"{n / 1e6:,.0f} MB"
