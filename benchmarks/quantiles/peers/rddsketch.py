"""rddsketch: DDSketch in Rust, one value a call."""

from math import nan

import rddsketch

from benchmarks.quantiles.peers.method import Method, asking, decoding, merging, one_by_one
from quantiles.array_types import FloatArray


def methods() -> list[Method]:
    """DDSketch at 1 %."""
    sketch = rddsketch.DDSketch
    return [
        Method(
            name="rddsketch 1%", package="rddsketch", kind="sketch", guarantee="value error",
            promise="1 % of the value", takes="one value a call (list)", most_values=400_000, new=_new, add=_add,
            quantiles=asking(_quantile), to_bytes=sketch.to_bytes, merge=merging(_new, sketch.merge),
            merge_bodies=decoding(_new, sketch.merge, _from_bytes),
        )
    ]  # fmt: skip


def _new() -> rddsketch.DDSketch:
    return rddsketch.DDSketch(0.01)


def _add(sketch: rddsketch.DDSketch, batch: FloatArray) -> None:
    one_by_one(sketch.add, batch.tolist())


def _quantile(sketch: rddsketch.DDSketch, q: float) -> float:
    answer = sketch.quantile(q)
    return nan if answer is None else answer


def _from_bytes(body: bytes) -> rddsketch.DDSketch:
    return rddsketch.DDSketch.from_bytes(body, 0.01)
