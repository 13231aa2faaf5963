"""The k largest values, against a plain sort."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.tail_values import largest, merged
from tests.quantiles.samples import anything, laws


@laws
@given(values=st.lists(anything, max_size=40), k=st.integers(0, 12), floor=st.sampled_from([-math.inf, 0.0, 1.0]))
def test_the_largest_are_those_a_sort_puts_last(values: list[float], k: int, floor: float) -> None:
    wanted = sorted((x for x in values if x > floor or (x == floor == -math.inf)), reverse=True)[:k]
    assert largest(np.array(values, np.float64), k, floor).tolist() == wanted


@pytest.mark.parametrize("kind", ["constant", "few", "many", "sorted", "integers", "nan"])
@pytest.mark.parametrize("k", [1, 32])
def test_long_arrays_take_the_short_way_to_the_same_values(kind: str, k: int) -> None:
    rng = np.random.default_rng(1)
    values = {
        "constant": np.full(10_000, 7.0),
        "few": rng.integers(0, 5, 10_000).astype(np.float64),
        "many": rng.normal(0, 5, 10_007),
        "sorted": np.arange(10_000.0),
        "integers": rng.integers(-50, 1000, 10_000),
        "nan": np.where(rng.random(10_000) < 0.1, math.nan, rng.random(10_000)),
    }[kind]
    expected = np.sort(values[~np.isnan(values)])[::-1][:k]
    assert largest(values, k).tolist() == expected.tolist()
    halves = [largest(values[:3000], k), largest(values[3000:], k)]
    assert merged(halves, k).tolist() == expected.tolist()


def test_no_lists_merge_to_nothing() -> None:
    assert merged([], 3).tolist() == []
