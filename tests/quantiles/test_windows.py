"""Sliding windows against a list of everything that was added, and exact quantiles of what is live."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.errors import EmptySketchError, IncompatibleSketchError, LevelError, SampleError, WindowError
from quantiles.sketch import Sketch
from quantiles.windows import SlidingWindow
from tests.quantiles import reference
from tests.quantiles.samples import few_laws, laws, levels

ordinary = st.one_of(st.integers(-3, 40).map(float), st.floats(0.1, 1e6), st.sampled_from([math.nan, 0.0]))
batches = st.lists(st.lists(st.tuples(st.integers(0, 120), ordinary), max_size=25), min_size=1, max_size=12)


def filled(values: object, scale: int = 6) -> Sketch:
    sketch = Sketch(scale)
    sketch.add(values)  # type: ignore[arg-type]
    return sketch


def check(window: SlidingWindow, live: list[float], qs: list[float], tail: int) -> None:
    """The window answers for exactly the live values, exactly where it must."""
    numbers = [x for x in live if not math.isnan(x)]
    state, whole = window.sketch(), filled(np.array(live, np.float64))
    assert state.column().cells.tolist() == whole.column().cells.tolist()
    assert state.column().counts.tolist() == whole.column().counts.tolist()
    assert (state.count, state.nan_count) == (len(numbers), len(live) - len(numbers))
    if not numbers:
        with pytest.raises(EmptySketchError):
            window.quantile(0.5)
        return
    assert (state.min, state.max) == (min(numbers), max(numbers))
    assert abs(state.sum - math.fsum(numbers)) <= 1e-12 * math.fsum(map(abs, numbers))
    answers = window.quantiles(sorted(qs)).tolist()
    assert answers == sorted(answers)
    for q, answer, exact in zip(sorted(qs), answers, window.exact(sorted(qs)).tolist(), strict=True):
        truth = reference.quantile(numbers, q)
        need = len(numbers) - reference.rank(q, len(numbers)) + 1
        assert exact or need > tail
        if exact:
            assert answer == truth
        else:
            assert abs(answer - truth) <= window.error_bound * abs(truth) * (1 + 1e-9)


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @laws
    @given(batches=batches, qs=st.lists(levels, min_size=1, max_size=5), tail=st.sampled_from([0, 1, 3, 32]))
    def test_a_window_by_time_holds_its_live_panes_whatever_comes_when(
        self, batches: list, qs: list[float], tail: int
    ) -> None:
        window = SlidingWindow(30, 10, tail=tail)
        kept: list[tuple[int, float]] = []
        newest, refused = -(10**9), 0
        for batch in batches:
            late = [row for row in batch if row[0] // 10 <= newest - 3]
            kept += [row for row in batch if row[0] // 10 > newest - 3]
            newest = max([newest, *(row[0] // 10 for row in batch)])
            kept = [row for row in kept if row[0] // 10 > newest - 3]
            refused += len(late)
            values = np.array([x for _, x in batch], np.float64)
            assert window.add(values, np.array([t for t, _ in batch], np.int64)) == len(late)
            check(window, [x for _, x in kept], qs, tail)
        assert window.refused == refused

    @laws
    @given(
        batches=st.lists(st.lists(ordinary, max_size=40), min_size=1, max_size=8),
        qs=st.lists(levels, min_size=1, max_size=5),
        tail=st.sampled_from([0, 2, 32]),
    )
    def test_a_window_by_count_holds_the_newest_values(self, batches: list, qs: list[float], tail: int) -> None:
        window = SlidingWindow(24, 8, by="count", tail=tail)
        everything: list[float] = []
        for batch in batches:
            assert window.add(np.array(batch, np.float64)) == 0
            everything += batch
            begin = max(0, ((len(everything) - 1) // 8 - 2) * 8)
            check(window, everything[begin:], qs, tail)

    def test_the_windows_of_the_paper(self) -> None:
        """Window 128K, period 16K, burst x10 in one pane: within the bound throughout, exact where few values lie."""
        rng = np.random.default_rng(2)
        values = np.rint(np.exp(math.log(798) + 0.348 * rng.standard_normal(40 * 16_384)))
        values[20 * 16_384 : 21 * 16_384 : 1000] *= 10
        window = SlidingWindow(131_072, 16_384, by="count", tail=150)
        for pane in range(40):
            window.add(values[pane * 16_384 : (pane + 1) * 16_384])
            live = np.sort(values[max(0, pane - 7) * 16_384 : (pane + 1) * 16_384])
            assert window.count == len(live)
            for q in (0.5, 0.9, 0.99, 0.999):
                truth = live[reference.rank(q, len(live)) - 1]
                assert abs(window.quantile(q) - truth) <= window.error_bound * truth
            assert window.exact([0.999]).all()
            assert window.quantile(0.999) == live[reference.rank(0.999, len(live)) - 1]


@few_laws
@given(rows=st.lists(st.tuples(st.integers(0, 60), st.integers(-50, 5000)), min_size=1, max_size=60))
def test_the_answer_kept_incrementally_is_the_one_counted_afresh(rows: list) -> None:
    window = SlidingWindow(20, 5)
    for time, value in rows:
        window.add([value], time)
        afresh = Sketch()
        for _, pane in window.panes():
            afresh.merge(pane)
        assert window.sketch().to_bytes() == afresh.to_bytes()


def test_a_late_fragment_joins_its_pane_and_the_window() -> None:
    window = SlidingWindow(30, 10)
    window.add([1.0, 2.0], 5)
    window.add([3.0], 25)
    assert window.merge(filled([50.0, 60.0]), 12)
    assert window.add([0.5], 7) == 0
    assert [(start, pane.count) for start, pane in window.panes()] == [(0, 3), (10, 2), (20, 1)]
    assert (window.count, window.sketch().min, window.sketch().max) == (6, 0.5, 60.0)
    assert window.exact([0.5, 1.0]).tolist() == [False, True]  # the fragment's own largest values are not known
    window.add([4.0], 45)
    assert (window.count, window.span) == (2, (20, 50))
    assert window.exact([0.5]).all()
    assert not window.merge(filled([1.0, math.nan]), 19)
    assert (window.refused, window.count) == (2, 2)
    assert window.merge(filled([9.0]), 65)
    assert window.sketch().max == 9.0


def test_time_alone_expires_panes() -> None:
    window = SlidingWindow(30, 10)
    window.add([1.0, 2.0], [5, 15])
    window.advance(35)
    assert (window.count, window.quantile(0.5)) == (1, 2.0)
    window.advance(20)  # time does not go back
    assert window.count == 1
    window.advance(10**6)
    assert window.count == 0
    with pytest.raises(EmptySketchError, match="holds no values"):
        window.quantile(0.5)


def test_integer_sums_stay_exact_and_kinds_come_and_go() -> None:
    window = SlidingWindow(20, 10)
    window.add([2**60, 1], 5)
    window.add([0.5], 15)
    assert window.sketch().sum == float(2**60 + 1.5)
    window.add([2**62, 3], 25)
    window.add([4], 35)
    assert window.sketch().sum == 2**62 + 7
    window.add([math.nan], 45)
    window.add([1], 55)
    assert (window.sketch().sum, window.sketch().nan_count) == (1, 1)


def test_what_a_window_gives_away_is_a_copy() -> None:
    window = SlidingWindow(20, 10)
    window.add([1.0], 0)
    window.sketch().add([100.0])
    window.panes()[0][1].add([100.0])
    assert (window.count, window.quantile(1)) == (1, 1.0)


def test_negative_times_and_huge_gaps_are_panes_like_others() -> None:
    window = SlidingWindow(20, 10)
    assert window.add([1.0, 2.0], [-15, -5]) == 0
    assert window.span == (-20, 0)
    assert window.add([3.0], [2**62]) == 0
    assert window.count == 1


def test_bad_windows_and_times_are_named() -> None:
    for window, period in ((0, 0), (10, 20), (25, 10), (-10, -10), (10, 0)):
        with pytest.raises(WindowError, match="multiple of a positive period"):
            SlidingWindow(window, period)
    with pytest.raises(WindowError, match="'rows', wanted one of time, count"):
        SlidingWindow(10, 10, by="rows")
    with pytest.raises(WindowError, match="tail is -1"):
        SlidingWindow(10, 10, tail=-1)
    timed, counted = SlidingWindow(20, 10), SlidingWindow(20, 10, by="count")
    for times in (None, [1.5], ["now"]):
        with pytest.raises(WindowError, match="wanted int64 nanoseconds"):
            timed.add([1.0], times)  # type: ignore[arg-type]
    with pytest.raises(WindowError, match="one per value"):
        timed.add([1.0], [1, 2])
    with pytest.raises(WindowError, match="by count"):
        counted.add([1.0], [1])
    for move in (lambda: counted.advance(3), lambda: counted.merge(Sketch(), 3)):
        with pytest.raises(WindowError, match="by count"):
            move()
    with pytest.raises(IncompatibleSketchError, match="scale 5"):
        timed.merge(Sketch(5), 3)
    with pytest.raises(SampleError):
        timed.add([[1.0]], 3)
    with pytest.raises(EmptySketchError, match="no span"):
        timed.span  # noqa: B018
    timed.add([], 3)
    timed.add([1.0], 3)
    with pytest.raises(LevelError, match=r"did you mean 0\.99\?"):
        timed.quantile(99)
