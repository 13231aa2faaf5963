"""One cheap test per fault that other sketches were reported to have. The report heads each test."""

import itertools
import math
import time

import numpy as np
import pytest

from quantiles.errors import CorruptSketchError, EmptySketchError, IncompatibleSketchError
from quantiles.merged_bodies import merge_bodies
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from quantiles.windows import SlidingWindow
from tests.quantiles import reference


def filled(values: object, **more: object) -> Sketch:
    sketch = Sketch(**more)  # type: ignore[arg-type]
    sketch.add(values)  # type: ignore[arg-type]
    return sketch


@pytest.mark.parametrize("name", ["pareto", "lognormal", "bimodal"])
def test_high_quantiles_and_shares_have_a_bound(name: str) -> None:
    """thanos/ex_data_sketch#370: p99 off by 194 %; apache/datasketches-java#425: range counts without usable error."""
    rng = np.random.default_rng(1)
    values = {
        "pareto": 10 / (1 - rng.random(100_000)),
        "lognormal": rng.lognormal(6, 2, 100_000),
        "bimodal": np.where(rng.random(100_000) < 0.7, rng.normal(200, 20, 100_000), rng.normal(2e4, 2e3, 100_000)),
    }[name]
    sketch, ordered = filled(values), np.sort(values)
    for q in (0.5, 0.9, 0.99, 0.999, 0.9999):
        truth = ordered[reference.rank(q, len(ordered)) - 1]
        assert abs(sketch.quantile(q) / truth - 1) <= sketch.error_bound
        slack = sketch.error_bound * abs(truth) * 1.02
        low, high = np.searchsorted(ordered, [truth - slack, truth + slack])
        assert low <= sketch.rank(truth) <= high


def test_billions_of_values_keep_their_tail() -> None:
    """ClickHouse/ClickHouse#107197 (no fault there): 7.3 G rows at p99 and p99.9."""
    sketch = Sketch()
    sketch.add(np.arange(1, 1001), weights=7_300_000)
    assert sketch.count == 7_300_000_000
    assert sketch.quantile(0.999) == pytest.approx(999, rel=sketch.error_bound)
    sketch.add([1], weights=2**33)  # a 32-bit count would wrap
    assert sketch.rank(1) == 7_300_000 + 2**33


def test_the_order_of_merges_leaves_no_trace() -> None:
    """tdunning/t-digest#94, #25: the result depends on the merge order; merging made the error 20x larger."""
    rng = np.random.default_rng(2)
    parts = [filled(rng.integers(1, 10**6, size)) for size in (1, 10, 1000, 5000)]
    states = set()
    for order in itertools.permutations(parts):
        total = Sketch()
        for part in order:
            total.merge(part)
        states.add(total.to_bytes())
    assert len(states) == 1


def test_odd_merges_are_plain_merges() -> None:
    """tdunning/t-digest#145, #165, #219: NaN after a merge, an assertion in one."""
    sketch = Sketch()
    for other in (Sketch(), filled([math.nan]), filled([]), filled([5.0]), filled([math.inf]), filled([5.0])):
        sketch.merge(other)
        sketch.merge(sketch.copy())
    assert (sketch.count, sketch.nan_count) == (14, 32)
    assert sketch.quantile(0.5) == 5.0


def test_hostile_bytes_are_refused_in_no_time() -> None:
    """tdunning/t-digest#229: NaN in fromBytes takes quadratic time."""
    rng = np.random.default_rng(3)
    body = filled(rng.lognormal(5, 2, 50_000)).to_bytes()
    begun = time.process_time()
    for _ in range(300):
        broken = bytearray(body)
        broken[rng.integers(len(body))] ^= 1 << rng.integers(8)
        for read in (Sketch.from_bytes, lambda data: merge_bodies(data, [len(data)])):
            try:
                read(bytes(broken))
            except CorruptSketchError:
                continue
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("value", [28, 1234, 0.1, -7.25, 0, 1e-310])
def test_a_single_value_is_the_answer_to_every_question(value: float) -> None:
    """DataDog/sketches-go#83: {28} gives 27.5; rust-sketches-ddsketch#7, sketches-py: 1234 gives 1224."""
    sketch = filled([value, value])
    assert sketch.quantiles([0, 0.3, 0.5, 0.99, 1]).tolist() == [value] * 5
    assert (sketch.min, sketch.max) == (value, value)


def test_zeros_and_negatives_count() -> None:
    """ProjectASAP/asap_sketchlib#70, #141: both dropped; compatibility checked in debug builds only."""
    sketch = filled([-100.0, -1.0, 0.0, 0.0, 1.0])
    assert sketch.count == 5
    assert sketch.quantile(0.5) == 0.0
    assert sketch.quantile(0.2) == -100.0
    assert sketch.quantile(0.4) == pytest.approx(-1.0, rel=sketch.error_bound)
    with pytest.raises(IncompatibleSketchError):
        sketch.merge(Sketch(5))


def test_a_stream_without_end_does_not_grow_the_sketch() -> None:
    """ProjectASAP/asap_sketchlib#141: unbounded growth. timescaledb-toolkit#41 asks for a bounded sketch."""
    rng = np.random.default_rng(4)
    bounded, fixed = Sketch(max_bins=160), Sketch()
    for _ in range(30):
        values = 10.0 ** rng.uniform(-12, 12, 2000)
        bounded.add(values)
        fixed.add(values)
    assert len(bounded.to_bytes()) < 700
    assert len(fixed.column().cells) <= 64 * 81
    assert bounded.error_bound > fixed.error_bound


def test_far_ranges_nan_and_infinity_go_in() -> None:
    """DataDog/sketches-py#57 and 3.0.1: IndexError in merge, NaN counted as 0, +Inf an OverflowError."""
    far, near = filled([1e-300, 1e300, math.inf, -math.inf, math.nan]), filled([1.0, 1.5])
    far.merge(near)
    near.merge(far)
    assert (near.count, near.nan_count, near.min, near.max) == (8, 1, -math.inf, math.inf)
    assert near.rank(0.0) == 1


@pytest.mark.parametrize("n", range(1, 21))
def test_small_and_discrete_sets_are_right(n: int) -> None:
    """ClickHouse/ClickHouse#1158, #22408: wrong for small and discrete sets."""
    for values in (np.arange(1, n + 1), np.arange(n) % 3, np.full(n, 9)):
        sketch = filled(values)
        for q in np.linspace(0, 1, 41).tolist():
            truth = reference.quantile(values.tolist(), q)
            assert abs(sketch.quantile(q) - truth) <= sketch.error_bound * truth


def test_an_extreme_range_has_no_scale_too_small() -> None:
    """open-telemetry/opentelemetry-python#3600: "scale is smaller than -10" raised."""
    sketch = filled(np.geomspace(5e-324, 1.7e308, 5000), max_bins=2)
    assert (sketch.scale, sketch.count) == (0, 5000)
    assert len(sketch.column().cells) <= 2099


def test_a_zero_before_a_value_costs_nothing() -> None:
    """open-telemetry/opentelemetry-ruby#1891: a zero first kept scale 0 and lost data; micrometer#5393: zeros."""
    for values in ([0.0, 5.5], [5.5, 0.0], [-0.0, 0.0, 5.5]):
        sketch = filled(values, max_bins=160)
        assert (sketch.scale, sketch.max, sketch.min) == (6, 5.5, 0.0)
        assert sketch.quantile(0.1) == 0.0


def test_a_bounded_sketch_owns_up_to_its_error() -> None:
    """OTel SDK: 160 buckets mean 2.1 % at p99 of round-trip times, reported nowhere."""
    rng = np.random.default_rng(5)
    values = np.rint(np.exp(math.log(798) + 0.348 * rng.standard_normal(50_000))).clip(1)
    sketch = filled(values, max_bins=160)
    truth = np.sort(values)[reference.rank(0.99, 50_000) - 1]
    assert sketch.error_bound > 0.0055
    assert abs(sketch.quantile(0.99) / truth - 1) <= sketch.error_bound


def test_nan_alone_has_no_quantile() -> None:
    """prometheus/prometheus#16724: a histogram of NaN alone answered 0."""
    sketch = filled([math.nan])
    with pytest.raises(EmptySketchError):
        sketch.quantile(0.5)
    assert np.isnan(sketch.column().quantiles([0.0, 0.5, 1.0])).all()


def test_answers_stay_in_order_where_exact_ones_begin() -> None:
    """pola-rs/polars#29206: choosing the sketch by quantile breaks the order of the answers."""
    rng = np.random.default_rng(6)
    window = SlidingWindow(100, 10, tail=5)
    for pane in range(10):
        window.add(rng.integers(1000, 1020, 50), pane * 10)
        levels = np.linspace(0.9, 1, 300)
        answers, exact = window.quantiles(levels), window.exact(levels)
        assert np.all(np.diff(answers) >= 0)
        assert exact.any()
        assert not exact.all()


def test_merging_thousands_of_states_is_quick() -> None:
    """ClickHouse/ClickHouse#1463: 1.5 s for a million states, which is 1.5 ms for 1,000."""
    rng = np.random.default_rng(7)
    column = SketchColumn.from_values(rng.lognormal(5, 1, 200_000), np.repeat(np.arange(2000), 100), 2000)
    begun = time.process_time()
    assert column.reduce(np.zeros(2000, np.int64), 1).totals().tolist() == [200_000]
    assert time.process_time() - begun < 1
