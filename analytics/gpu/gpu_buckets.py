"""How many GPUs and nodes an attempt had, in the few classes that tables of reports have.

Half a GPU and less than one belong to "<1"; a fraction above one is rounded up.
"""

from typing import Final

import polars as pl

#: Up to how many, and the name; what is above the last is named so.
_GPUS: Final = ((1, "1"), (4, "2-4"), (8, "5-8"), (16, "9-16"), (64, "17-64"))
_NODES: Final = ((1, "1"), (2, "2"), (4, "3-4"), (8, "5-8"))
GPU_BUCKETS: Final = pl.Enum(["<1", *(name for _, name in _GPUS), ">64"])
NODE_BUCKETS: Final = pl.Enum([*(name for _, name in _NODES), ">8"])


def gpu_bucket(gpus: str = "gpus") -> pl.Expr:
    """The class of a column of GPU counts, above 0; NULL where unknown."""
    count = pl.col(gpus)
    below_one = pl.when(count < 1).then(pl.lit("<1"))
    return pl.coalesce(below_one, *_classes(count, _GPUS, ">64")).cast(GPU_BUCKETS)


def node_bucket(nodes: str = "node_count") -> pl.Expr:
    """The class of a column of node counts, from 1 up; NULL where unknown."""
    return pl.coalesce(*_classes(pl.col(nodes), _NODES, ">8")).cast(NODE_BUCKETS)


def _classes(count: pl.Expr, up_to: tuple[tuple[int, str], ...], above: str) -> list[pl.Expr]:
    """The first of these that is not NULL is the class."""
    named = [pl.when(count <= most).then(pl.lit(name)) for most, name in up_to]
    return [*named, pl.when(count.is_not_null()).then(pl.lit(above))]
