"""One sketch as a user of the library meets it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.errors import (
    CorruptSketchError,
    EmptySketchError,
    IncompatibleSketchError,
    LevelError,
    SampleError,
    ScaleError,
)
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from tests.quantiles import reference
from tests.quantiles.samples import few_laws, finite, laws, levels, numbers, scales


def filled(values: object, scale: int = 6) -> Sketch:
    sketch = Sketch(scale)
    sketch.add(values)  # type: ignore[arg-type]
    return sketch


@laws
@given(values=st.lists(numbers, min_size=1, max_size=40), q=levels, scale=scales)
def test_estimate_stays_within_its_bound(values: list[float], q: float, scale: int) -> None:
    sketch, truth = filled(values, scale), reference.quantile(values, q)
    estimate = sketch.quantile(q)
    assert estimate == truth or abs(estimate - truth) <= sketch.error_bound * abs(truth) * (1 + 1e-9) + 5e-324


@laws
@given(values=st.lists(finite, min_size=1, max_size=20))
def test_ends_and_count_are_exact(values: list[float]) -> None:
    sketch = filled([*values, math.nan])
    assert sketch.quantile(0) == sketch.min == min(values)
    assert sketch.quantile(1) == sketch.max == max(values)
    assert (sketch.count, sketch.nan_count) == (len(values), 1)


@few_laws
@given(a=st.lists(numbers, max_size=20), b=st.lists(numbers, max_size=20), c=st.lists(numbers, max_size=20))
def test_merging_is_commutative_and_associative_in_all_but_the_float_sum(
    a: list[float], b: list[float], c: list[float]
) -> None:
    def merged(*groups: list[float]) -> list[bytes]:
        total = Sketch()
        for group in groups:
            total.merge(filled(group))
        state = total.column()
        return [x.tobytes() for x in (state.cells, state.counts, state.minima, state.maxima, state.nan_counts)]

    right = filled(b)
    right.merge(filled(c))
    left_first = filled(a)
    left_first.merge(right)
    assert merged(a, b, c) == merged(c, a, b) == merged(a + b + c)
    assert left_first.column().cells.tobytes() == filled(a + b + c).column().cells.tobytes()


def test_a_single_value_comes_back_exactly() -> None:
    for value in (1234, 1e-300, -7.3, 0.0, math.inf, 5e-324):
        assert filled([value]).quantiles([0, 0.01, 0.5, 0.99, 1]).tolist() == [value] * 5


def test_the_usual_questions() -> None:
    sketch = filled(np.arange(1, 1001))
    assert (sketch.count, sketch.sum, sketch.mean, sketch.min, sketch.max) == (1000, 500_500, 500.5, 1.0, 1000.0)
    assert isinstance(sketch.sum, int)
    assert sketch.quantile(0.99) == pytest.approx(990, rel=sketch.error_bound)
    assert sketch.error_bound == pytest.approx(0.005415159)
    assert repr(sketch) == "Sketch(scale=6, count=1000, nan_count=0)"


def test_integers_and_floats_may_meet_in_one_sketch() -> None:
    for first, second in (([1, 2, 2**60], [0.5]), ([0.5], [1, 2, 2**60])):
        sketch = filled(first)
        sketch.add(second)
        assert sketch.count == 4
        assert sketch.sum == float(2**60 + 3.5)
        assert isinstance(sketch.sum, float)


def test_an_empty_sketch_takes_the_kind_of_what_it_meets_first() -> None:
    sketch = Sketch()
    sketch.add([])
    sketch.merge(filled(np.array([3, 4])))
    assert sketch.sum == 7
    assert isinstance(sketch.sum, int)


def test_a_copy_goes_its_own_way() -> None:
    sketch = filled([1.0, 2.0])
    twin = sketch.copy()
    assert twin == sketch
    twin.add([3.0])
    assert (sketch.count, twin.count) == (2, 3)
    assert twin != sketch
    assert sketch != "sketch"


def test_an_empty_sketch_has_a_count_but_no_answers() -> None:
    sketch = Sketch()
    sketch.add([math.nan, math.nan])
    assert (sketch.count, sketch.nan_count, sketch.sum) == (0, 2, 0)
    for question in (lambda: sketch.quantile(0.5), lambda: sketch.min, lambda: sketch.max, lambda: sketch.mean):
        with pytest.raises(EmptySketchError, match="holds no values"):
            question()


def test_bad_input_is_refused_by_name() -> None:
    sketch = filled([1.0])
    with pytest.raises(LevelError, match=r"did you mean 0\.99\?"):
        sketch.quantile(99)
    with pytest.raises(SampleError, match="object"):
        sketch.add([None])
    with pytest.raises(SampleError, match="2 dimensions"):
        sketch.add([[1.0]])
    with pytest.raises(ScaleError, match="9"):
        Sketch(9)
    with pytest.raises(IncompatibleSketchError, match="scale 5 into one of scale 6"):
        sketch.merge(Sketch(5))
    with pytest.raises(IncompatibleSketchError, match="holds 2 sketches"):
        Sketch.from_column(SketchColumn.empty(6, True, 2))
    assert sketch.count == 1


@laws
@given(values=st.lists(numbers, max_size=30), scale=scales)
def test_bytes_round_trip(values: list[float], scale: int) -> None:
    sketch = filled(values, scale)
    again = Sketch.from_bytes(sketch.to_bytes())
    assert again == sketch
    assert again.to_bytes() == sketch.to_bytes()


def test_no_bytes_are_no_sketch() -> None:
    with pytest.raises(CorruptSketchError, match="empty"):
        Sketch.from_bytes(b"")


@pytest.mark.parametrize(("sigma", "limit"), [(0.5, 430), (1.0, 630)])
def test_ten_thousand_lognormal_values_stay_small(sigma: float, limit: int) -> None:
    rng = np.random.default_rng(2)
    assert len(filled(rng.lognormal(6, sigma, 10_000)).to_bytes()) <= limit
