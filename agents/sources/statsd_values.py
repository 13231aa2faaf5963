"""What a StatsD line means given those before it: how many values it stands for, and where a gauge then stands.

A line with @0.3 stands for three values and a third. Weights are whole numbers, so what is left over is carried to the
next line of the same rate: over many lines they add up, for any batches, and nothing is drawn at random.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.sources.logs_lines import Bools, Ints

_RATES_KEPT: Final = 1000
# Sums of such weights are off by less, and what is whole must not fall below its number.
_SLACK: Final = 1e-6


class Weights:
    """The credit that each rate carries, in [0, 1); of rates out of many, a few are remembered."""

    def __init__(self) -> None:
        self._credit: dict[float, float] = {}

    def of(self, rates: npt.NDArray[np.float64]) -> Ints:
        """For each line, in order; the sum over lines of one rate is within 1 of lines / rate, over all calls."""
        weights = np.ones(rates.size, np.int64)
        sampled = np.flatnonzero(rates < 1.0)
        if not sampled.size:
            return weights
        different, group = np.unique(rates[sampled], return_inverse=True)
        order = np.argsort(group, kind="stable")
        count = np.bincount(group)
        nth = np.arange(order.size) - np.repeat(np.cumsum(count) - count, count) + 1
        credit = np.array([self._credit.get(rate, 0.0) for rate in different.tolist()])
        each, from_before = np.repeat(1.0 / different, count), np.repeat(credit, count)
        here = np.floor(nth * each + from_before + _SLACK)
        before = np.floor((nth - 1) * each + from_before + _SLACK)
        weights[sampled[order]] = (here - before).astype(np.int64)
        left = count / different + credit
        left = np.maximum(0.0, left - np.floor(left + _SLACK))
        for rate, rest in zip(different.tolist(), left.tolist(), strict=True):
            self._credit.pop(rate, None)
            self._credit[rate] = rest  # at the end: what was used last is forgotten last
        for rate in list(self._credit)[: max(0, len(self._credit) - _RATES_KEPT)]:
            del self._credit[rate]
        return weights


class Gauges:
    """Where each gauge stands.

    Attributes:
        forgotten: gauges that made room for others; when one of them is moved next, it begins at 0.
    """

    def __init__(self, most: int) -> None:
        self.forgotten = 0
        self._most = most
        self._last: dict[int, float] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._last)

    def readings(self, series: pl.Series, values: pl.Series, moves: Bools) -> pl.Series:
        """For each line, in order, where its gauge stands then; `moves` are those that add to it.

        `series` are hashes, one for each gauge. One that is moved before it was set begins at 0.
        """
        lines = pl.DataFrame({"series": series, "value": values, "move": pl.Series(moves)})
        # Each value that is set begins a run, to which what follows is added.
        lines = lines.with_columns((~pl.col("move")).cum_sum().over("series").alias("run"))
        if moves.any():
            known = lines["series"].unique()
            bases = pl.DataFrame({"series": known, "base": [self._last.get(one, 0.0) for one in known.to_list()]})
            lines = lines.join(bases, on="series", how="left", maintain_order="left").with_columns(
                pl.col("value").cum_sum().over("series", "run")
                + pl.when(pl.col("run") == 0).then("base").otherwise(0.0)
            )
        ends = lines.unique("series", keep="last", maintain_order=True)  # in the order in which they were heard of last
        for one, value in zip(ends["series"].to_list(), ends["value"].to_list(), strict=True):
            self._last.pop(one, None)
            self._last[one] = value
        excess = len(self._last) - self._most
        if excess > 0:
            self.forgotten += excess
            for one in list(self._last)[:excess]:
                del self._last[one]
        return lines["value"]
