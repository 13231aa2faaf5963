"""sketch_oxide: DDSketch, t-digest and KLL in Rust. DDSketch has no bytes, KLL and t-digest take lists."""

import sketch_oxide

from benchmarks.quantiles.peers.method import Method, asking, decoding, merging
from quantiles.array_types import FloatArray


def methods() -> list[Method]:
    """DDSketch at 1 %, t-digest at its default compression, KLL at k = 200."""
    return [
        Method(
            name="sketch_oxide DDSketch 1%", package="sketch_oxide", kind="sketch", guarantee="value error",
            promise="1 % of the value", takes="array", new=_new_ddsketch, add=sketch_oxide.DDSketch.update_batch,
            quantiles=asking(sketch_oxide.DDSketch.quantile),
            merge=merging(_new_ddsketch, sketch_oxide.DDSketch.merge),
        ),
        Method(
            name="sketch_oxide t-digest 100", package="sketch_oxide", kind="sketch", guarantee="empirical",
            promise="none proven; best at the tails", takes="list (converted)", most_values=400_000,
            new=_new_tdigest, add=_add_to_tdigest, quantiles=asking(sketch_oxide.TDigest.quantile),
            to_bytes=sketch_oxide.TDigest.serialize, merge=merging(_new_tdigest, sketch_oxide.TDigest.merge),
            merge_bodies=decoding(_new_tdigest, sketch_oxide.TDigest.merge, sketch_oxide.TDigest.from_bytes),
        ),
        Method(
            name="sketch_oxide KLL 200", package="sketch_oxide", kind="sketch", guarantee="rank error",
            promise="a share of the ranks, with probability", takes="list (converted)", most_values=400_000,
            new=_new_kll, add=_add_to_kll, quantiles=asking(sketch_oxide.KllSketch.quantile),
            to_bytes=sketch_oxide.KllSketch.serialize, merge=merging(_new_kll, sketch_oxide.KllSketch.merge),
            merge_bodies=decoding(_new_kll, sketch_oxide.KllSketch.merge, sketch_oxide.KllSketch.from_bytes),
        ),
    ]  # fmt: skip


def _new_ddsketch() -> sketch_oxide.DDSketch:
    return sketch_oxide.DDSketch(relative_accuracy=0.01)


def _new_tdigest() -> sketch_oxide.TDigest:
    return sketch_oxide.TDigest()


def _new_kll() -> sketch_oxide.KllSketch:
    return sketch_oxide.KllSketch(200)


def _add_to_tdigest(sketch: sketch_oxide.TDigest, batch: FloatArray) -> None:
    sketch.update_batch(batch.tolist())


def _add_to_kll(sketch: sketch_oxide.KllSketch, batch: FloatArray) -> None:
    sketch.update_batch(batch.tolist())
