"""Whether requests are corrected more often than usual, or long ones less often foreseen: minutes against those before.

A policy that corrects gives more threads to requests that overrun. How often that happens hangs on the load and on how
good predictions are; at a load of the same tenth, only on predictions.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.tail.minutes import MinuteTable
from analytics.tail.speedup import Float64Array

#: Minutes that are looked at, and those that they are compared with.
RECENT: Final = 30
WEEK: Final = 7 * 1_440
#: Long requests that recall is told of.
FEWEST_LONG: Final = 200
# Loads that are taken for alike; requests that a minute needs, and minutes that a load needs, to be compared with.
_LOAD_WIDTH: Final = 0.1
_MOST_BUCKETS: Final = 64
_FEWEST_REQUESTS: Final = 20
_FEWEST_MINUTES: Final = 30
# Expected corrections in half of the minutes, below which it is not chance and not a service that never corrects.
_FLOOR: Final = 10.0


@dataclass(frozen=True, slots=True)
class Corrections:
    """Of the last 30 minutes, in two halves: corrected requests, and how many are usual at their loads.

    Attributes:
        requests: in minutes at loads of which it is known what is usual; 0: nothing can be said.
    """

    requests: int
    halves: tuple[tuple[float, float], tuple[float, float]]

    @property
    def corrected(self) -> float:
        """In both halves."""
        return sum(corrected for corrected, _ in self.halves)

    @property
    def usual(self) -> float:
        """In both halves."""
        return sum(usual for _, usual in self.halves)

    def above(self, factor: float) -> bool:
        """Whether both halves have more than so many times the usual, and enough that it is not by chance."""
        return all(corrected > factor * max(usual, _FLOOR) for corrected, usual in self.halves)


def corrections(minutes: MinuteTable, end_ns: int, policy_since_ns: int) -> Corrections:
    """The last 30 minutes beside the 7 days before, as far back as the policy has been the same."""
    usual = _usual(minutes.last(end_ns, WEEK, RECENT), policy_since_ns)
    halves = []
    requests = 0
    for part in (minutes.last(end_ns, RECENT, RECENT // 2), minutes.last(end_ns, RECENT // 2)):
        wanted = usual[_buckets(part)]
        known = ~np.isnan(wanted)
        requests += int(part.requests[known].sum())
        halves.append((float(part.corrected[known].sum()), float((part.requests * wanted)[known].sum())))
    return Corrections(requests, (halves[0], halves[1]))


def newest_long(minutes: MinuteTable, end_ns: int) -> tuple[int, int]:
    """Long requests and those not foreseen, of the last 30 minutes, or of as many up to a day as 200 long ones take."""
    day = minutes.last(end_ns, 1_440)
    least = int(np.searchsorted(np.cumsum(day.long[::-1]), FEWEST_LONG)) + 1
    recent = len(minutes.last(end_ns, RECENT))
    part = day.where(slice(max(0, len(day) - max(least, recent)), None))
    return int(part.long.sum()), int(part.long_missed.sum())


def _usual(past: MinuteTable, policy_since_ns: int) -> Float64Array:
    """Median share of corrected requests by load bucket; NaN where too few minutes had such a load."""
    past = past.where((past.start_ns >= policy_since_ns) & (past.requests >= _FEWEST_REQUESTS))
    buckets, rates = _buckets(past), past.corrected / past.requests
    usual = np.full(_MOST_BUCKETS, np.nan)
    for bucket in np.flatnonzero(np.bincount(buckets) >= _FEWEST_MINUTES):
        usual[bucket] = np.median(rates[buckets == bucket])
    return usual


def _buckets(table: MinuteTable) -> npt.NDArray[np.int64]:
    return np.minimum(table.work_ms / table.capacity_ms / _LOAD_WIDTH, _MOST_BUCKETS - 1).astype(np.int64)
