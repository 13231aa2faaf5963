"""Apache DataSketches (C++): KLL, REQ and t-digest, at their usual parameters."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import datasketches
import numpy as np

from benchmarks.quantiles.peers.method import Method, asking, decoding, merging
from quantiles.array_types import FloatArray


def methods() -> list[Method]:
    """KLL k = 200, REQ k = 12 with high-rank accuracy (its values are float32), t-digest k = 200."""
    kll, req, digest = datasketches.kll_doubles_sketch, datasketches.req_floats_sketch, datasketches.tdigest_double
    new_kll, new_req, new_digest = partial(kll, 200), partial(req, 12, True), partial(digest, 200)
    return [
        Method(
            name="datasketches KLL 200", package="datasketches", kind="sketch", guarantee="rank error",
            promise="1.33 % of the ranks, with probability", takes="array", new=new_kll, add=kll.update,
            quantiles=_ranked, to_bytes=kll.serialize, merge=merging(new_kll, kll.merge),
            merge_bodies=decoding(new_kll, kll.merge, kll.deserialize),
        ),
        Method(
            name="datasketches REQ 12", package="datasketches", kind="sketch", guarantee="rank error",
            promise="relative to the ranks from the top, with probability", takes="array, as float32", new=new_req,
            add=_add_as_float32, quantiles=_ranked, to_bytes=req.serialize, merge=merging(new_req, req.merge),
            merge_bodies=decoding(new_req, req.merge, req.deserialize),
        ),
        Method(
            name="datasketches t-digest 200", package="datasketches", kind="sketch", guarantee="empirical",
            promise="none proven; best at the tails", takes="array", new=new_digest, add=digest.update,
            quantiles=asking(digest.get_quantile), to_bytes=digest.serialize,
            merge=merging(new_digest, digest.merge),
            merge_bodies=decoding(new_digest, digest.merge, digest.deserialize),
        ),
    ]  # fmt: skip


def _add_as_float32(sketch: Any, batch: FloatArray) -> None:
    sketch.update(batch.astype(np.float32))


def _ranked(sketch: Any, levels: Sequence[float]) -> list[float]:
    return [float(x) for x in sketch.get_quantiles(list(levels), True)]
