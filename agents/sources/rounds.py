"""Work that may block, done every so often in a thread of its own, one round at a time.

A poll only looks whether a round is due. A round that does not return (a driver or a disk that hangs in the kernel
cannot be told to stop) is left alone: no second one is started beside it, and how long it has been running can be
asked.
"""

import logging
import random
import signal
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Rounds:
    """Calls `work` every `interval_s`, first after `first_s`."""

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        interval_s: float,
        *,
        first_s: float = 0.0,
        jitter: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Each interval is longer or shorter by up to its share `jitter`, so that hosts do not act in step."""
        self.failures = 0
        self._name = name
        self._work = work
        self._interval_s = interval_s
        self._jitter = jitter
        self._clock = clock
        self._due_s = clock() + first_s
        self._began_s = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    def tick(self) -> bool:
        """Begin a round if one is due and none runs; whether one was due that could not begin."""
        now_s = self._clock()
        if self._closed or now_s < self._due_s:
            return False
        self._due_s = now_s + self._interval_s * (1 + random.uniform(-self._jitter, self._jitter))
        if self.running_s is not None:
            return True
        self._began_s = now_s
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        return False

    @property
    def running_s(self) -> float | None:
        """For how long a round has been running; None when none is."""
        if self._thread is None or not self._thread.is_alive():
            return None
        return self._clock() - self._began_s

    def close(self, timeout_s: float) -> bool:
        """Begin no more rounds; whether the last one has ended within the time."""
        self._closed = True
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        # A SIGHUP to the whole unit or group is for the agent; blocked here, it stays blocked in what is started here.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self._work()
        # Whatever a driver's answer breaks, the next round is tried; the count is a metric of the source.
        except Exception:
            self.failures += 1
            log.exception("round failed name=%s", self._name)
