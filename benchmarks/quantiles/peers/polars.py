"""Polars' approx_quantile, KLL or REQ inside a data frame engine: one thread, column in its own memory."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from benchmarks.quantiles.peers.method import Method
from quantiles.array_types import FloatArray, IntArray


def methods() -> list[Method]:
    """One expression over the whole column, at the default rank error of 0.001."""
    return [
        Method(
            name="polars approx_quantile", package="polars", kind="engine", guarantee="rank error",
            promise="0.1 % of the ranks, with probability", takes="whole column", most_values=400_000,
            load=_load, ask=_ask, load_groups=_load_groups, ask_groups=_ask_groups,
        )
    ]  # fmt: skip


def _load(values: FloatArray) -> pl.DataFrame:
    return pl.DataFrame({"x": values})


def _load_groups(values: FloatArray, codes: IntArray) -> pl.DataFrame:
    return pl.DataFrame({"x": values, "series": codes})


def _ask(frame: pl.DataFrame, levels: Sequence[float]) -> list[float]:
    answers: Any = frame.select(pl.col("x").approx_quantile(list(levels))).to_series()[0]
    return [float(x) for x in answers]


def _ask_groups(frame: pl.DataFrame, levels: Sequence[float]) -> object:
    return frame.group_by("series").agg(pl.col("x").approx_quantile(list(levels)))
