"""The work of the example: the price of a call option by Monte Carlo, in pieces that threads take in any order.

Compiled without the interpreter's lock, so threads run side by side. Each piece draws from a seed of its own: the price
does not depend on how many threads there were.
"""

import math
import threading
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit

#: A piece is long beside what it costs to take one (some 20 microseconds), short beside the requests that are long.
PIECE_MS: Final = 0.5
_STRIKE: Final = 105.0


@njit(nogil=True, cache=True)
def payoffs(seed, paths, strike):  # type: ignore[no-untyped-def]
    """The sum of payoffs on so many paths: a stock at 100, volatility 20 %, one year. seed: uint64, not 0."""
    state, total = seed, 0.0
    for _ in range(paths):
        normal = -6.0
        for _ in range(12):  # twelve uniform numbers add up to one that is near enough to normal
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            normal += (state >> np.uint64(11)) * 1.1102230246251565e-16
        total += max(100.0 * math.exp(-0.02 + 0.2 * normal) - strike, 0.0)
    return total


@dataclass(slots=True)
class Pricing:
    """One request's work; pieces are handed out once each, to whoever asks.

    Attributes:
        paths: to draw in all. piece: of them in one piece.
    """

    paths: int
    piece: int
    seed: int = 1
    _taken: int = 0
    _total: float = 0.0
    _lock: threading.Lock = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Refuses what is no work."""
        if self.paths < 1 or self.piece < 1:
            raise ValueError(f"{self.paths} paths in pieces of {self.piece}; want 1 or more of both")
        self._lock = threading.Lock()

    def run(self) -> None:
        """Piece after piece until none is left; any number of threads may do so at once."""
        total = 0.0
        while (first := self._next()) < self.paths:
            seed = np.uint64((self.seed + first) * 0x9E3779B97F4A7C15 % 2**64 or 1)
            total += payoffs(seed, min(self.piece, self.paths - first), _STRIKE)
        with self._lock:
            self._total += total

    def price(self) -> float:
        """Once all pieces are done."""
        return self._total / self.paths

    def _next(self) -> int:
        with self._lock:
            first = self._taken
            self._taken = min(first + self.piece, self.paths)
            return first


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a core of this machine is."""

    paths_per_ms: float

    def work(self, milliseconds: float, seed: int = 1) -> Pricing:
        """Work that takes one thread so long when it has a core for itself."""
        piece = max(1, round(PIECE_MS * self.paths_per_ms))
        return Pricing(max(1, round(milliseconds * self.paths_per_ms)), piece, seed)


def measured_speed(rounds: int = 15, paths: int = 20_000) -> Speed:
    """By CPU time of this thread, the median of several rounds: what else runs on the machine hardly counts."""
    payoffs(np.uint64(1), 1, _STRIKE)
    spent = []
    for _ in range(rounds):
        before = time.thread_time_ns()
        payoffs(np.uint64(88172645463325252), paths, _STRIKE)
        spent.append(time.thread_time_ns() - before)
    return Speed(paths * 1e6 / max(float(np.median(spent)), 1.0))
