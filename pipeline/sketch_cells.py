"""Columns of sketches: what sources write into them, and the bytes that queries merge.

Each cell is a dense body (quantiles/dense_bodies.py) of a scale of its own, or NULL. Cells are made of whole batches of
histograms; nothing here is done cell by cell but what takes a tenth of a microsecond.
"""

from itertools import pairwise

import numpy as np
import polars as pl

from pipeline.state import IntArray
from quantiles.histogram_bodies import Bodies


def cells_of(bodies: Bodies, name: str) -> pl.Series:
    """The bodies as a column; NULL in the place of one that was refused."""
    ends = [0, *np.cumsum(bodies.lengths).tolist()]
    data = bodies.data
    return pl.Series(name, [data[start:end] or None for start, end in pairwise(ends)], dtype=pl.Binary)


def bytes_of(cells: pl.Series) -> tuple[bytes, IntArray]:
    """Cells that are not NULL one behind the other, and their sizes, int64[n]."""
    return b"".join(cells.to_list()), cells.bin.size().cast(pl.Int64).to_numpy()
