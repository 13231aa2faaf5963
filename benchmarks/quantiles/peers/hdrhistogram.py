"""HdrHistogram in Python: whole numbers only, one value a call, range known beforehand but wide and cheap."""

from typing import Any

from hdrh.histogram import HdrHistogram

from benchmarks.quantiles.peers.method import Method, asking, decoding, merging, one_by_one
from quantiles.array_types import FloatArray

HIGHEST = 10**10


def methods() -> list[Method]:
    """Two significant digits, 1 to 10**10; fractions are cut off, which its error includes."""
    return [
        Method(
            name="hdrhistogram 2 digits", package="hdrhistogram", kind="sketch", guarantee="value error",
            promise="1 % of whole numbers; fractions are cut off", takes="one value a call (list)",
            most_values=50_000, new=_new, add=_add, quantiles=asking(_quantile), to_bytes=HdrHistogram.encode,
            merge=merging(_new, HdrHistogram.add),
            merge_bodies=decoding(_new, HdrHistogram.add, HdrHistogram.decode),
        )
    ]  # fmt: skip


def _new() -> Any:
    return HdrHistogram(1, HIGHEST, 2)


def _add(histogram: Any, batch: FloatArray) -> None:
    one_by_one(histogram.record_value, batch.astype("int64").tolist())


def _quantile(histogram: Any, q: float) -> float:
    return float(histogram.get_value_at_percentile(100 * q))
