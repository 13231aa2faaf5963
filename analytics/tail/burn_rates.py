"""How fast an error budget goes: shares of slow requests over a long and a short window of minutes.

A promise such as "p99 within 80 ms" lets 1 % of the requests be slower: the budget. The burn rate is how many times too
fast it goes. The long window says that it matters, the short one that it still goes on. Windows and factors are those
of Google's SRE workbook, chapter "Alerting on SLOs".

Minutes without requests count neither as good nor as bad: what burns goes on where its short window is empty and the
long one still burns.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.tail.causes import CAUSES
from analytics.tail.minutes import MinuteTable

#: Slow requests in the short window, below which nothing begins to burn.
FEWEST_SLOW: Final = 20
# What burns goes on down to this share of the factor that it began at.
_KEEPS: Final = 0.8


@dataclass(frozen=True, slots=True)
class Pair:
    """Two windows in minutes, and how many times too fast the budget must go in both."""

    factor: float
    long: int
    short: int


#: By alert, what is looked at first in front.
PAIRS: Final = {
    "tail_burn": (Pair(14.4, 60, 5), Pair(6.0, 360, 30)),
    "tail_burn_slow": (Pair(3.0, 1_440, 120), Pair(1.0, 4_320, 360)),
}


@dataclass(frozen=True, slots=True)
class Burn:
    """A pair, and what was seen in its windows.

    Attributes:
        long_rate, short_rate: times the budget, 0 where nothing came.
        cause: that holds half or more of the slow requests in both windows, or "".
    """

    pair: Pair
    long: MinuteTable
    short: MinuteTable
    long_rate: float
    short_rate: float
    cause: str

    def fires(self, before: bool) -> bool:
        """Whether it burns; `before`: it did so the last time, and goes on until it is well below."""
        if before:
            silent = not self.short.requests.sum()
            kept = _KEEPS * self.pair.factor
            return self.long_rate > kept and (silent or self.short_rate > kept)
        return not self.waits_for and min(self.long_rate, self.short_rate) > self.pair.factor

    @property
    def waits_for(self) -> str:
        """What is missing before anything can begin to burn; "" where nothing is."""
        if int(self.short.slow.sum()) < FEWEST_SLOW:
            return f"{FEWEST_SLOW} slow requests in the short window"
        # The long window must hold as many minutes with requests as the short is long, to say something of its own.
        if len(self.long) < self.pair.short:
            return f"{self.pair.short} minutes with requests (of which {len(self.long)} are there)"
        return ""


def burn(minutes: MinuteTable, end_ns: int, pair: Pair, budget: float) -> Burn:
    """What a pair's windows hold; `budget` is the share of the requests that may be slow."""
    long, short = (minutes.last(end_ns, length) for length in (pair.long, pair.short))
    return Burn(pair, long, short, _rate(long, budget), _rate(short, budget), _cause(long, short))


def _rate(table: MinuteTable, budget: float) -> float:
    requests = int(table.requests.sum())
    return float(table.slow.sum() / requests / budget) if requests else 0.0


def _cause(long: MinuteTable, short: MinuteTable) -> str:
    shares = [table.causes.sum(axis=0) / max(int(table.slow.sum()), 1) for table in (long, short)]
    place = int(np.argmax(shares[0]))
    return CAUSES[place] if min(share[place] for share in shares) >= 0.5 else ""
