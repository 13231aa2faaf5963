"""When a partition is stable, and how many epochs it took to get there.

It is stable from the first epoch on that begins a checkpoint interval in which, epoch by epoch, nothing starts up or is
profiled and at most 5 % of the records overflow at any proxy, the shares move by no more than 0.05 of the records, and
the CPU charged is on average at most 1.05 times the budget and leaves nothing idle: at least 0.9 times the budget,
unless 5 % more would save less than 2 % of the bytes by the runtime's own model.
CPU is judged over the interval because it comes in its rhythm: what shipping really took is known once per checkpoint
and charged to the epochs after it.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from benchmarks.jarvis.host import Epoch

#: More than this above the budget is over it, and more than that below it is idle.
OVER: Final = 0.05
IDLE: Final = 0.1
OVERFLOW: Final = 0.05
MOVES: Final = 0.05


def epochs_to_stable(epochs: Sequence[Epoch], interval: int) -> int | None:
    """Counted from the first of `epochs` to the one from which on all is stable, both included; None: it never was."""
    for first in range(len(epochs) - interval + 1):
        if is_stable(epochs[first : first + interval]):
            return first + 1
    return None


def is_stable(stretch: Sequence[Epoch]) -> bool:
    """Whether these epochs, a checkpoint interval, were all of one stable partition."""
    if any(one.state in ("startup", "profile") or one.overflow > OVERFLOW for one in stretch):
        return False
    used = fmean(one.charged_s / one.budget_s for one in stretch)
    idle = used < 1 - IDLE and stretch[0].could_save
    return used <= 1 + OVER and not idle and _moved(stretch) <= MOVES


def _moved(stretch: Sequence[Epoch]) -> float:
    """By how much what is kept after a proxy moved at most."""
    apart = [max(each) - min(each) for each in zip(*(one.kept for one in stretch), strict=True)]
    return max(apart, default=0.0)
