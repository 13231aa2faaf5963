"""`promptly`: a bound on how long something may take that a busy machine does not break.

Tests that want an end "at once" mean: without waiting for a time limit of many seconds. What the machine itself takes
away is no part of that: a process that was stopped, and time in which somebody had to wait for a core, as Linux counts
it. Both are measured beside and left out, so the bound is as strict as it says on an idle machine alone.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRESSURE = Path("/proc/pressure/cpu")
_TICK_S = 0.005


@contextmanager
def promptly(seconds: float) -> Iterator[None]:
    """Fails where the body takes longer, but for what the machine took away meanwhile."""
    over = threading.Event()
    overslept_s = 0.0

    def tick() -> None:
        nonlocal overslept_s
        last_s = time.monotonic()
        ended = False
        while not ended:
            ended = over.wait(_TICK_S)
            now_s = time.monotonic()
            overslept_s += max(0.0, now_s - last_s - 2 * _TICK_S)
            last_s = now_s

    ticking = threading.Thread(target=tick, name="ticking", daemon=True)
    begun_s, waited_s = time.monotonic(), _waited_s()
    ticking.start()
    try:
        yield
    finally:
        took_s = time.monotonic() - begun_s
        over.set()
        ticking.join()
    taken_s = max(overslept_s, _waited_s() - waited_s)
    told = f"took {took_s:.2f} s, {taken_s:.2f} s of them the machine's; want less than {seconds}"
    assert took_s - taken_s < seconds, told


def _waited_s() -> float:
    """For how long some process of this machine has waited for a core since it started; 0 where nobody counts that."""
    try:
        first = _PRESSURE.read_text().split("\n")[0]
    except OSError:
        return 0.0
    return int(first.rpartition("total=")[2]) / 1e6
