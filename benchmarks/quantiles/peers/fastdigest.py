"""fastdigest: a t-digest in Rust. It takes any sequence, and a list made from an array faster than the array itself."""

from collections.abc import Sequence
from typing import Any

import fastdigest

from benchmarks.quantiles.peers.method import Method, asking
from quantiles.array_types import FloatArray


def methods() -> list[Method]:
    """Its default of 1,000 centroids."""
    digest: Any = fastdigest.TDigest
    return [
        Method(
            name="fastdigest 1000", package="fastdigest", kind="sketch", guarantee="empirical",
            promise="none proven; best at the tails", takes="list (converted)", new=digest, add=_add,
            quantiles=asking(digest.quantile), to_bytes=digest.to_bytes, merge=_merged, merge_bodies=_merged_bodies,
        )
    ]  # fmt: skip


def _add(digest: Any, batch: FloatArray) -> None:
    digest.batch_update(batch.tolist())  # up to 1.5 times as fast as with the array, never slower


def _merged(digests: Sequence[Any]) -> Any:
    return fastdigest.merge_all(list(digests))


def _merged_bodies(bodies: Sequence[bytes]) -> Any:
    return fastdigest.merge_all([fastdigest.TDigest.from_bytes(body) for body in bodies])
