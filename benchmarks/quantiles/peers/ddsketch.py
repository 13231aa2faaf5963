"""ddsketch, Datadog's own in Python, one value a call; its bytes are its protobuf form."""

from math import nan
from typing import Any

import ddsketch
from ddsketch.pb import proto
from ddsketch.pb.ddsketch_pb2 import DDSketch as Message

from benchmarks.quantiles.peers.method import Method, asking, decoding, merging, one_by_one
from quantiles.array_types import FloatArray

PROTOBUF: Any = proto.DDSketchProto


def methods() -> list[Method]:
    """DDSketch at 1 %."""
    return [
        Method(
            name="ddsketch 1%", package="ddsketch", kind="sketch", guarantee="value error",
            promise="1 % of the value", takes="one value a call (list)", most_values=100_000, new=_new, add=_add,
            quantiles=asking(_quantile), to_bytes=_to_bytes,
            merge=merging(_new, ddsketch.DDSketch.merge),
            merge_bodies=decoding(_new, ddsketch.DDSketch.merge, _from_bytes),
        )
    ]  # fmt: skip


def _new() -> Any:
    return ddsketch.DDSketch(0.01)


def _add(sketch: Any, batch: FloatArray) -> None:
    one_by_one(sketch.add, batch.tolist())


def _quantile(sketch: Any, q: float) -> float:
    answer = sketch.get_quantile_value(q)
    return nan if answer is None else float(answer)


def _to_bytes(sketch: Any) -> bytes:
    written: bytes = PROTOBUF.to_proto(sketch).SerializeToString()
    return written


def _from_bytes(body: bytes) -> Any:
    return PROTOBUF.from_proto(Message.FromString(body))
