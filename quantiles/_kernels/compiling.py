"""`python -m quantiles._kernels.compiling`: fills numba's cache, so that a process at work only loads what it needs.

It does what collectors and APIs do with sketches, once, on next to no data, for both types of values: that compiles
each kernel for the very argument types it will be called with. From nothing it takes about 5 s of CPU, later 1 s.
"""

import os

import numpy as np

from quantiles._kernels.choice import use_kernels
from quantiles.array_types import SampleArray
from quantiles.growing_column import GrowingColumn
from quantiles.merged_bodies import merge_bodies
from quantiles.sketch_column import SketchColumn
from quantiles.windows import SlidingWindow


def compile_all() -> None:
    """Run everything that a collector or an API runs.

    Raises:
        KernelError: numba is not installed.
        RuntimeError: numba finds no folder where it may keep its cache.
    """
    use_kernels("numba")
    samples: tuple[SampleArray, ...] = (np.array([-2, 0, 3, 3, 500]), np.array([-2.5, 0.0, 1e-9, 3.5, np.nan, 1e30]))
    for values in samples:
        groups = np.arange(values.size) % 2
        column = SketchColumn.from_values(values, groups, 2)
        column = SketchColumn.concat([column, column.take([1, 0])]).reduce(np.array([0, 1, 0, 1]), 2)
        _take_in(column)
        buffer, lengths = column.to_bodies()
        integer = values.dtype.kind == "i"
        for body in (buffer, memoryview(buffer)):
            column = SketchColumn.from_bodies(body, lengths, column.scale, integer)
            merge_bodies(body, lengths, np.zeros(2, np.int64), 1, column.scale, integer).quantiles([0.5, 0.99])
    _slide()


def _take_in(column: SketchColumn) -> None:
    """As a collector takes in what agents sent: rows that are new, that grow, and whose counts outgrow a byte."""
    gaps = column.cells.astype(np.int64)
    gaps[1:] -= column.cells[:-1]
    firsts = column.offsets[:-1][np.diff(column.offsets) > 0]
    gaps[firsts] = column.cells[firsts]
    read = SketchColumn.from_gaps(
        column.scale, gaps, column.counts, column.offsets, column.nan_counts, column.minima, column.maxima, column.sums
    )
    growing, rows = GrowingColumn(column.scale, column.sums.integer), np.arange(len(read))
    far = np.full(len(read), 10**6, np.int64 if column.sums.integer else np.float64)
    for more in (read, read.reweight(300), SketchColumn.from_values(far, rows, len(read))):
        growing.add(rows, more)
    growing.column()


def _slide() -> None:
    """As an API measures its own requests: floats at times, panes that close and expire, quantiles."""
    window = SlidingWindow(4, 2)
    for at in (0, 2, 4, 9):
        window.add([0.25, 0.5, 1e-3], [at] * 3)
        window.quantiles([0.5, 0.99])
    window.advance(20)


if __name__ == "__main__":
    os.nice(19)
    compile_all()
