"""Sketches that converters are tested on, and what must survive a conversion."""

import math

import numpy as np
from hypothesis import strategies as st

from quantiles.sketch import Sketch
from tests.quantiles.samples import anything, finite, moderate, scales


def sketch_of(values: list[float], scale: int = 6) -> Sketch:
    sketch = Sketch(scale)
    sketch.add(np.array(values, np.float64))
    return sketch


def state(sketch: Sketch) -> tuple[list[int], list[int], int]:
    """Cells, counts and NaN count."""
    column = sketch.column()
    return column.cells.tolist(), column.counts.tolist(), sketch.nan_count


def exact_state(sketch: Sketch) -> tuple[object, ...]:
    """All that a float64 sum, minimum and maximum can carry."""
    ends = (sketch.min, sketch.max) if sketch.count else (None, None)
    return (*state(sketch), *ends, "NaN" if math.isnan(sketch.sum) else sketch.sum)


def lists(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(st.one_of(values, moderate), max_size=40)


any_sketch = st.builds(sketch_of, lists(anything), scales)
finite_sketch = st.builds(sketch_of, lists(finite), scales)
