"""The window estimator of the AOMG paper as published: what SlidingWindow is compared with, and no part of Tailwatch.

Source: Lim, Hassan, Jin, Volos, Jeon, "Approximate Quantiles for Datacenter Telemetry Monitoring", arXiv 1906.00228,
ICDE 2020. Written from our notes on it, not from the authors' code (none is known to us).

Level 1 cuts each value to 3 leading decimal digits and counts equal ones over one sub-window; at its end the exact
quantiles of the cut values stay, and few-k values for the high levels. Level 2 answers with the mean of the
sub-windows' quantiles. Few-k replaces that mean for a high level in two cases: top-k where a sub-window holds fewer
than T_s values above the level, sample-k while a burst is in the window.

Where the paper is silent, or not known to us, we chose; the last three after trying the alternatives on the data of
window_experiment.py and taking the one with the smallest mean error at p99 and p99.9:
- ranks are nearest ranks; the need of a level, N(1-phi) in the paper, is N - ceil(phi N) + 1 as everywhere here;
- the cut rounds down and keeps 3 digits at every magnitude, so values below 100 do not become whole numbers;
- few-k lists hold cut values, repeated ones repeated; k_t and k_s are shares of the need, given apart;
- few-k serves levels from 0.99 on; a list that ends before the rank answers with its lowest value;
- the sample holds the middle rank of each s = round(1/alpha) ranks of the need, so that it stands for all of them, and
  is asked at rank round(need / s): ranks 1, 1+s ... or s, 2s ... over- or underestimate when many lists are merged;
- the Mann-Whitney test is one-sided at 0.1 %, by the normal approximation with corrections for ties and continuity;
- an alarm at one level is one for all, and it lasts while the sub-window that raised it is in the window: an alarm for
  its own period only would forget the burst while that still rules the window's tail.
The tree per value is replaced by one sort per sub-window: same answers, another speed than the paper's.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from benchmarks.quantiles.errors import MILLION, nearest_ranks
from quantiles.array_types import FloatArray

DIGITS = 3
POWERS = np.array([float(f"1e{exponent}") for exponent in range(-300, 301)])  # correctly rounded, unlike 10.0**n
SPARSE = 10.0  # T_s: below so many values above a level per sub-window, its mean of quantiles is not trusted
FEW_K_FROM = 0.99
SIGNIFICANCE = 0.001
RESUM_PERIODS = 1024  # the running sums of floats drift; add the ring up afresh now and then


@dataclass(frozen=True, slots=True)
class _SubWindow:
    """What stays of one sub-window: its quantiles, and for each high level its few-k values, descending."""

    quantiles: FloatArray
    top: FloatArray  # the k_t largest of the neediest level; other levels use the front of it
    samples: dict[float, FloatArray]
    burst: bool  # stochastically larger than the sub-window before


class PaperEstimator:
    """The levels asked for, over the newest window / period closed sub-windows, by count of values."""

    def __init__(
        self, window: int, period: int, levels: tuple[float, ...], top_share: float = 0.1, sample_share: float = 0.1
    ) -> None:
        """An estimator over nothing yet.

        Args:
            window, period: numbers of values; the window is a multiple of the period.
            levels: phi, whole millionths in (0, 1); no other level can be asked for later.
            top_share, sample_share: k_t and k_s as shares of each level's need, in (0, 1]; sample_share is alpha.
        """
        if period < 1 or window % period:
            raise ValueError(f"window is {window} and period {period}, wanted a multiple of a positive period")
        if not (0 < top_share <= 1 and 0 < sample_share <= 1):
            raise ValueError(f"shares are {top_share} and {sample_share}, wanted in (0, 1]")
        self._window, self._period, self._levels = window, period, levels
        millionths = [round(phi * MILLION) for phi in levels]
        self._ranks = nearest_ranks(period, millionths)  # in a sub-window
        from_top = window - nearest_ranks(window, millionths) + 1
        self._needs = {phi: int(need) for phi, need in zip(levels, from_top, strict=True) if phi >= FEW_K_FROM}
        self._top_k = {phi: math.ceil(top_share * need) for phi, need in self._needs.items()}
        self._stride = round(1 / sample_share)
        self._open: list[FloatArray] = []
        self._open_values = 0
        self._ring: deque[_SubWindow] = deque()
        self._sums = np.zeros(len(levels))
        self._closed = 0
        self.alarms = 0  # sub-windows so far that looked like a burst

    def add(self, values: FloatArray) -> None:
        """Adds float64[n] in their order; each must be finite and at least 1e-298, or 0."""
        begin = 0
        while begin < len(values):
            piece = values[begin : begin + self._period - self._open_values]
            self._open.append(piece)
            self._open_values += len(piece)
            begin += len(piece)
            if self._open_values == self._period:
                self._close(np.concatenate(self._open))
                self._open, self._open_values = [], 0

    def quantiles(self) -> FloatArray:
        """Estimates at the levels, in their order, over the closed sub-windows; one at least must have closed."""
        if not self._ring:
            raise ValueError("no sub-window has closed yet, so there is no answer; add a period's values first")
        answers: FloatArray = self._sums / len(self._ring)
        burst = any(sub.burst for sub in self._ring)
        for column, phi in enumerate(self._levels):
            if phi not in self._needs:
                continue
            if burst:
                answers[column] = self._from_samples(phi)
            elif self._period * (1 - phi) < SPARSE:
                answers[column] = self._from_top(phi)
        return answers

    @property
    def kept_values(self) -> int:
        """How many numbers the closed sub-windows and Level 2 hold."""
        few = sum(len(sub.top) + sum(map(len, sub.samples.values())) for sub in self._ring)
        return few + len(self._levels) * (len(self._ring) + 1)

    def _close(self, values: FloatArray) -> None:
        """The end of a period: one walk over the cut values in their order, then they go."""
        ordered = cut(np.sort(values))
        quantiles = ordered[self._ranks - 1]
        descending = ordered[::-1]
        top = descending[: max(self._top_k.values(), default=0)].copy()
        samples = {phi: sampled(descending[:need], self._stride) for phi, need in self._needs.items()}
        before = self._ring[-1].samples if self._ring else samples
        burst = any(is_larger(sample, before[phi]) for phi, sample in samples.items())
        self.alarms += burst
        self._ring.append(_SubWindow(quantiles, top, samples, burst))
        self._sums += quantiles
        if len(self._ring) > self._window // self._period:
            self._sums -= self._ring.popleft().quantiles
        self._closed += 1
        if self._closed % RESUM_PERIODS == 0:
            self._sums = np.sum([sub.quantiles for sub in self._ring], axis=0)

    def _from_top(self, phi: float) -> float:
        """top-k: the value at the need's rank from the top; the lowest one kept where the lists end before it."""
        merged = np.sort(np.concatenate([sub.top[: self._top_k[phi]] for sub in self._ring]))[::-1]
        return float(merged[min(self._needs[phi], len(merged)) - 1])

    def _from_samples(self, phi: float) -> float:
        """sample-k: as top-k, where each value stands for `stride` of them."""
        merged = np.sort(np.concatenate([sub.samples[phi] for sub in self._ring]))[::-1]
        rank = max(1, round(self._needs[phi] / self._stride))
        return float(merged[min(rank, len(merged)) - 1])


def cut(values: FloatArray) -> FloatArray:
    """Each value with its 3 leading decimal digits kept and the others zero: 74265 -> 74200, 20.377 -> 20.3.

    Values are finite and at least 1e-298, or 0, which stays; the change is below 1 %.
    """
    if len(values) and not (np.isfinite(values).all() and ((values >= 1e-298) | (values == 0)).all()):
        raise ValueError("values below 1e-298, infinities or NaN cannot be cut to leading digits, wanted positive ones")
    exponents = np.searchsorted(POWERS, values, side="right") - 1 - 300  # of the leading digit
    shifts = np.maximum(exponents - (DIGITS - 1), -300)  # of 0, which has no digits, any will do
    steps, inverse = POWERS[np.maximum(shifts, 0) + 300], POWERS[np.maximum(-shifts, 0) + 300]
    kept = np.floor(values / steps * inverse)
    # The product is rounded: 1.13 * 100 is 112.99999999999999, yet 1.13 has the digits 113.
    kept += (kept + 1) * steps / inverse <= values
    kept -= kept * steps / inverse > values
    result: FloatArray = kept * steps / inverse
    return result


def sampled(descending: FloatArray, stride: int) -> FloatArray:
    """sample-k: the middle one of each `stride` values; the last value where there is no middle one."""
    sample = descending[stride // 2 :: stride]
    return (sample if len(sample) else descending[-1:]).copy()


def u_statistic(sample: FloatArray, other: FloatArray) -> float:
    """Mann-Whitney U: how many pairs have sample above other, ties counted half."""
    ordered = np.sort(other)
    below, up_to = np.searchsorted(ordered, sample, "left"), np.searchsorted(ordered, sample, "right")
    return float(np.sum(below + up_to)) / 2


def is_larger(sample: FloatArray, other: FloatArray, level: float = SIGNIFICANCE) -> bool:
    """The burst test: is `sample` stochastically larger than `other`, by a one-sided Mann-Whitney test?"""
    n, m = len(sample), len(other)
    counts = np.unique(np.concatenate([sample, other]), return_counts=True)[1].astype(np.float64)
    total = n + m
    variance = n * m / 12 * (total + 1 - float(np.sum(counts**3 - counts)) / (total * (total - 1)))
    if variance <= 0:  # all values are equal
        return False
    z = (u_statistic(sample, other) - n * m / 2 - 0.5) / math.sqrt(variance)
    return 0.5 * math.erfc(z / math.sqrt(2)) < level
