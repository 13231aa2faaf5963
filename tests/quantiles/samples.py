"""Inputs that the laws of quantiles are tested on, with the awkward ones well represented."""

import math
import sys

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

laws = settings(max_examples=60, deadline=None)
few_laws = settings(max_examples=25, deadline=None)


@st.composite
def near_powers(draw: st.DrawFn) -> float:
    """A power of two or one of its two neighbours, over the whole range of floats."""
    power = math.ldexp(1.0, draw(st.integers(-1074, 1023)))
    return draw(st.sampled_from([power, math.nextafter(power, 0), math.nextafter(power, math.inf)]))


SPECIALS = [0.0, -0.0, 5e-324, -5e-324, sys.float_info.min, math.nextafter(sys.float_info.min, 0), sys.float_info.max]

positives = st.one_of(
    near_powers(),
    st.floats(min_value=5e-324, allow_infinity=False),
    st.floats(1e-3, 1e6),
    st.integers(1, 10_000).map(float),
    st.floats(5e-324, 1e-308),
)
finite = st.one_of(positives, positives.map(lambda x: -x), st.sampled_from(SPECIALS))
numbers = st.one_of(finite, st.sampled_from([math.inf, -math.inf]))
anything = st.one_of(numbers, st.just(math.nan))
moderate = st.one_of(st.floats(-1e12, 1e12), st.integers(-5000, 5000).map(float))
integers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 5000), st.integers(-3, 3))
levels = st.one_of(st.floats(0, 1), st.integers(0, 1000).map(lambda i: i / 1000))
scales = st.integers(0, 8)


@st.composite
def grouped(
    draw: st.DrawFn, values: st.SearchStrategy[float], max_groups: int = 5
) -> tuple[np.ndarray, np.ndarray, int]:
    """Values, their group codes and the number of groups."""
    n_groups = draw(st.integers(1, max_groups))
    rows = draw(st.lists(st.tuples(values, st.integers(0, n_groups - 1)), max_size=60))
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.int64), n_groups


def cut(rng: np.random.Generator, n: int, pieces: int) -> list[np.ndarray]:
    """0..n-1 in random order, cut at random places: a split of n records over `pieces` agents."""
    ends = np.sort(rng.integers(0, n + 1, pieces - 1))
    return np.split(rng.permutation(n), ends)
