"""The control proxies of one query: how many of the rows that reach an operator go into it.

A batch is split by slice, not row by row: of n rows the first round(p * n + credit) go on, and what rounding gave or
took is the credit of the next batch. So over any number of batches, and whatever p was for each, the rows sent on are
within one row of what the shares ask for. A share of 0 or 1 splits nothing and costs nothing.
Invariant: every credit is within half a row of zero.
"""

from math import floor

from agents.shares import ProxyCounts, Shares


def up_to(cut: int, operators: int) -> Shares:
    """Shares that send everything through the first `cut` operators and into none behind."""
    return (1.0,) * min(cut, operators) + (0.0,) * max(0, operators - cut)


class Proxies:
    """The M proxies of a query: their shares, the credits they carry, and what they did in the running epoch."""

    def __init__(self, shares: Shares) -> None:
        """These shares hold with and without CPU left, until others are set."""
        self.shares = shares
        self.fallback = shares
        self.counts = ProxyCounts.zeros(len(shares))
        self._credits = [0.0] * len(shares)
        self._fallback_credits = [0.0] * len(shares)

    def begin(self, *, overflow: bool = False, at_least: int = 0) -> "Passage":
        """A batch comes; with `overflow` it goes by the fallback. Of the rows that reach a proxy, `at_least` go on."""
        return Passage(self, overflow=overflow, at_least=at_least)

    def take_counts(self) -> ProxyCounts:
        """The counts since the last call."""
        counts, self.counts = self.counts, ProxyCounts.zeros(len(self.shares))
        return counts


class Passage:
    """One batch on its way through the proxies; until `keep` is called, it has left no trace on them."""

    def __init__(self, proxies: Proxies, *, overflow: bool, at_least: int) -> None:
        self._proxies = proxies
        self._overflow = overflow
        self._at_least = at_least
        self._credits = list(proxies._credits)
        self._fallback_credits = list(proxies._fallback_credits)
        operators = len(self._credits)
        self.reached = [0] * operators
        self.local = [0] * operators
        self.overflowed = [0] * operators

    def through(self, i: int, rows: int) -> int:
        """How many of the rows that reached proxy i (1..M) go on."""
        place = i - 1
        local = asked = _split(self._credits, place, self._proxies.shares[place], rows)
        if self._overflow:
            local = _split(self._fallback_credits, place, self._proxies.fallback[place], rows)
        local = max(local, min(self._at_least, rows))
        self.reached[place] += rows
        self.local[place] += local
        self.overflowed[place] += max(0, asked - local)
        return local

    def keep(self, *, crowded: int = 0) -> None:
        """The batch was taken; `crowded` of its rows were drained at the last proxy for want of memory."""
        counts = self._proxies.counts
        for total, more in (
            (counts.reached, self.reached),
            (counts.local, self.local),
            (counts.overflowed, self.overflowed),
        ):
            for place, rows in enumerate(more):
                total[place] += rows
        counts.local[-1] -= crowded
        counts.crowded += crowded
        self._proxies._credits = self._credits
        self._proxies._fallback_credits = self._fallback_credits


def _split(carried: list[float], place: int, share: float, rows: int) -> int:
    if share >= 1.0:
        return rows
    if share <= 0.0:
        return 0
    wanted = share * rows + carried[place]
    local = min(max(floor(wanted + 0.5), 0), rows)
    carried[place] = wanted - local
    return local
