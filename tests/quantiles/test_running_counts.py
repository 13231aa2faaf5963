"""Counts that go up and down, against a dictionary."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantiles.running_counts import RunningCounts
from tests.quantiles.samples import laws

panes = st.lists(st.dictionaries(st.integers(-3000, 3000), st.integers(1, 2**40), max_size=8), max_size=8)


@laws
@given(panes=panes, kept=st.integers(1, 4))
def test_a_ring_of_panes_holds_what_is_left(panes: list[dict[int, int]], kept: int) -> None:
    running, ring = RunningCounts(), []
    for pane in panes:
        cells = np.array(sorted(pane), np.int32)
        counts = np.array([pane[cell] for cell in sorted(pane)], np.int64)
        running.add(cells, counts)
        ring.append((cells, counts))
        if len(ring) > kept:
            running.subtract(*ring.pop(0))
        expected: Counter[int] = Counter()
        for ring_cells, ring_counts in ring:
            expected.update(dict(zip(ring_cells.tolist(), ring_counts.tolist(), strict=True)))
        found, totals = running.filled()
        assert dict(zip(found.tolist(), totals.tolist(), strict=True)) == dict(expected)
        assert found.tolist() == sorted(expected)
        assert found.dtype == np.int32
