"""`promptly`: a bound on how long something may take that a busy machine does not break.

Tests that want an end "at once" mean: without waiting for a time limit of many seconds. What the machine itself takes
away (cores that others use, a disk that stands still) is no part of that, so it is measured beside and left out.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_TICK_S = 0.005


@contextmanager
def promptly(seconds: float) -> Iterator[None]:
    """Fails where the body takes longer, but for what a thread beside it has overslept meanwhile."""
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
    begun_s = time.monotonic()
    ticking.start()
    try:
        yield
    finally:
        took_s = time.monotonic() - begun_s
        over.set()
        ticking.join()
    told = f"took {took_s:.2f} s, {overslept_s:.2f} s of them the machine's; want less than {seconds}"
    assert took_s - overslept_s < seconds, told
