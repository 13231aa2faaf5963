"""CPU that the agent and its child processes have taken, as one figure that never goes backwards.

The process's own time counts all of its threads: Polars' pool thread does most of the work, and a broker's client has
one as well. Children are the hiccup sampler; one that dies takes at most its last epoch with it uncounted, and the one
that is started in its place adds to what the first one took.
"""

import time
from collections.abc import Callable, Iterable

import psutil


def process_seconds(process_id: int) -> float | None:
    """CPU seconds of a child that runs; None when it cannot be read any more."""
    try:
        times = psutil.Process(process_id).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


class CpuMeter:
    """CPU since the meter was made."""

    def __init__(
        self,
        children: Callable[[], Iterable[int]] = tuple,
        *,
        own_s: Callable[[], float] = time.process_time,
        child_s: Callable[[int], float | None] = process_seconds,
    ) -> None:
        """`children` names the child processes that run now; a child's number may come back for another one."""
        self._children = children
        self._own_s = own_s
        self._child_s = child_s
        self._began_s = own_s()
        self._running: dict[int, float] = {}
        self._ended_s = 0.0

    def own_s(self) -> float:
        """CPU seconds of this process; cheap enough to be asked before each batch."""
        return self._own_s() - self._began_s

    def children_s(self) -> float:
        """CPU seconds of all children so far; reads one file per child."""
        now: dict[int, float] = {}
        for child in self._children():
            last_s = self._running.get(child, 0.0)
            read_s = self._child_s(child)
            if read_s is None:
                read_s = last_s
            elif read_s < last_s:  # another process under an old number
                self._ended_s += last_s
            now[child] = read_s
        self._ended_s += sum(last_s for child, last_s in self._running.items() if child not in now)
        self._running = now
        return self._ended_s + sum(now.values())
