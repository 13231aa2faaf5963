"""Our own sketches, with either kernel, in one process."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.quantiles.peers.method import Method
from quantiles._kernels.choice import use_kernels
from quantiles.array_types import FloatArray, IntArray
from quantiles.errors import KernelError
from quantiles.merged_bodies import merge_bodies
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from quantiles.sketch_table import SketchTable

NUMBA, NUMPY = "tailwatch numba", "tailwatch NumPy"


def methods() -> list[Method]:
    """Both kernels; numba's only where numba is installed."""
    try:
        use_kernels("numba")
    except KernelError:
        return [_method(NUMPY, partial(use_kernels, "numpy"))]
    return [_method(NUMBA, partial(use_kernels, "numba")), _method(NUMPY, partial(use_kernels, "numpy"))]


def _method(name: str, ready: Callable[[], None]) -> Method:
    return Method(
        name=name,
        package="tailwatch",
        kind="ours",
        guarantee="value error",
        promise="0.5415 % of the value; count, sum, min and max exact",
        takes="array",
        most_values=4_000_000,
        ready=ready,
        new=Sketch,
        add=Sketch.add,
        quantiles=lambda sketch, levels: [float(x) for x in sketch.quantiles(list(levels))],
        to_bytes=Sketch.to_bytes,
        merge=_merged,
        merge_bodies=_merged_bodies,
        new_groups=SketchTable,
        add_groups=_add_groups,
    )


def _add_groups(table: SketchTable, values: FloatArray, codes: IntArray) -> None:
    table.add(values, codes)


def _merged(sketches: Sequence[Sketch]) -> Sketch:
    """The way for many: side by side as a column, and one reduction."""
    columns = SketchColumn.concat([sketch.column() for sketch in sketches])
    return columns.reduce(np.zeros(len(columns), np.int64), 1).sketch(0)


def _merged_bodies(bodies: Sequence[bytes]) -> Sketch:
    lengths = np.fromiter(map(len, bodies), np.int64, len(bodies))
    return merge_bodies(b"".join(bodies), lengths).sketch(0)
