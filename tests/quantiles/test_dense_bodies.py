"""Dense bodies: exponential histograms become the sketches that the converters make of them, merged or one by one."""

import contextlib
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantiles.bins import bins_of
from quantiles.converters.reading import sketch_of_bins
from quantiles.converters.signed_bins import BinCounts, SignedBins
from quantiles.dense_bodies import HEAD, VALUES_LIMIT, Runs
from quantiles.errors import CorruptSketchError, SampleError
from quantiles.histogram_bodies import FAULTS, Bodies, Said, exponential_bodies
from quantiles.merged_dense import merge_dense
from quantiles.sketch_column import SketchColumn


@dataclass(frozen=True)
class Histogram:
    """One exponential histogram as a test writes it down."""

    scale: int
    negative: tuple[int, list[int]] = (0, [])
    positive: tuple[int, list[int]] = (0, [])
    zeros: int = 0
    total: float = math.nan
    low: float = math.nan
    high: float = math.nan


def bodies_of(histograms: list[Histogram]) -> Bodies:
    def runs(sides: list[tuple[int, list[int]]]) -> Runs:
        offsets = np.cumsum([0, *(len(counts) for _, counts in sides)])
        counts = [count for _, held in sides for count in held]
        return Runs(np.array([first for first, _ in sides], np.int64), offsets, np.array(counts, np.int64))

    return exponential_bodies(
        np.array([one.scale for one in histograms], np.int64),
        runs([one.negative for one in histograms]),
        runs([one.positive for one in histograms]),
        np.array([one.zeros for one in histograms], np.int64),
        Said(*(np.array([getattr(one, name) for one in histograms]) for name in ("total", "low", "high"))),
    )


def converted(one: Histogram, scale: int) -> SketchColumn:
    """What the converter of single histograms makes of it; what it works out, it does at the histogram's own scale."""
    own = min(one.scale, 8)
    if scale < own:
        return converted(one, own).downscale(scale)
    sides = [
        BinCounts.of(first + np.arange(len(counts)), np.array(counts, np.int64))
        for first, counts in (one.negative, one.positive)
    ]
    known = [None if math.isnan(x) else x for x in (one.low, one.high, one.total)]
    source = SignedBins(one.scale, *sides, one.zeros, minimum=known[0], maximum=known[1], total=known[2])
    return sketch_of_bins(source, scale).sketch.column()


def sides(scale: int) -> st.SearchStrategy[tuple[int, list[int]]]:
    reach = 30 << scale  # octaves
    counts = st.sampled_from([0, 0, 1, 1, 2, 7, 255, 256, 70_000, 2**33])
    return st.tuples(st.integers(-reach, reach), st.lists(counts, max_size=12))


def values_of(cell: int, scale: int) -> list[float]:
    """The smallest value of a cell, one within and the largest."""
    if cell == 0:
        return [0.0]
    bins = bins_of(scale)
    below, most = (float(end[0]) for end in bins.bounds(np.array([abs(cell)])))
    inner = float(bins.representatives(np.array([abs(cell)]))[0])
    return [math.copysign(x, cell) for x in (math.nextafter(below, math.inf), inner, most)]


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """Histograms of values, some of which say their sum and extremes."""
    scale = draw(st.sampled_from([0, 1, 3, 5, 6, 7, 8, 9, 11, 20]))
    one = Histogram(
        scale,
        draw(st.just((0, [])) | sides(scale)),
        draw(sides(scale)),
        draw(st.sampled_from([0, 0, 1, 300])),
    )
    if not (one.zeros or any(one.negative[1]) or any(one.positive[1])):
        return one
    column = converted(one, min(scale, 8))
    low, high = (draw(st.sampled_from(values_of(int(column.cells[end]), column.scale))) for end in (0, -1))
    if len(column.cells) == 1:
        low, high = sorted((low, low if column.totals()[0] == 1 else high))
    said = {"total": draw(st.sampled_from([math.nan, 12.5])), "low": low, "high": high}
    return replace(one, **{name: said[name] for name in draw(st.sets(st.sampled_from(sorted(said))))})


def assert_same(found: SketchColumn, wanted: SketchColumn) -> None:
    SketchColumn.from_parts(found)
    for part in ("offsets", "cells", "counts", "nan_counts", "minima", "maxima"):
        assert np.array_equal(getattr(found, part), getattr(wanted, part), equal_nan=part[0] == "m"), part
    magnitude = float(np.abs(bins_of(wanted.scale).representatives(wanted.cells) * wanted.counts).sum())
    assert np.allclose(found.sums.values(), wanted.sums.values(), rtol=0, atol=1e-12 * (magnitude + 100))


@settings(max_examples=100, deadline=None)
@given(st.lists(histograms(), min_size=1, max_size=8), st.sampled_from([0, 3, 5, 6, 8]), st.data())
def test_merged_bodies_are_the_merged_sketches_of_the_converter(
    many: list[Histogram], scale: int, data: st.DataObject
) -> None:
    bodies = bodies_of(many)
    assert not bodies.faults.any(), [FAULTS[fault] for fault in bodies.faults]
    groups = np.array([data.draw(st.integers(0, 2)) for _ in many], np.int64)
    found = merge_dense(bodies.data, bodies.lengths, groups, 3, scale)
    each = SketchColumn.concat([converted(one, scale) for one in many])
    assert_same(found, each.reduce(groups, 3))


def test_many_bodies_of_many_groups_are_merged_block_by_block() -> None:
    random = np.random.default_rng(3)
    n, width = 3_000, 60
    counts = random.integers(0, 300, (n, width))
    counts[:, [0, -1]] += 1
    firsts = random.integers(-400, 400, n)
    for scale in (6, 4):
        runs = Runs(firsts, np.arange(n + 1) * width, counts.reshape(-1))
        bodies = exponential_bodies(np.full(n, scale), Runs.none(n), runs, np.zeros(n, np.int64), Said.nothing(n))
        for n_groups in (1, 7, n):
            groups = random.permutation(np.arange(n) % n_groups)
            found = merge_dense(bodies.data, bodies.lengths, groups, n_groups, 6)
            SketchColumn.from_parts(found)
            assert found.totals().sum() == counts.sum()
            group = int(groups[0])
            mine = np.flatnonzero(groups == group)
            ends = np.cumsum(bodies.lengths)
            one_by_one = [
                merge_dense(bodies.data[ends[i] - bodies.lengths[i] : ends[i]], bodies.lengths[i : i + 1], [0], 1, 6)
                for i in mine[:200]
            ]
            if len(mine) <= 200:
                each = SketchColumn.concat(one_by_one)
                assert_same(found.take([group]), each.reduce(np.zeros(len(mine), np.int64), 1))


def test_what_cannot_be_is_refused_with_its_reason_and_the_others_are_not() -> None:
    good = Histogram(6, positive=(10, [1, 2, 3]))
    bad = {
        "scale_too_coarse": Histogram(-1, positive=(1, [2])),
        "negative_count": Histogram(6, positive=(1, [2, -1, 2])),
        "too_many_values": Histogram(6, positive=(1, [2**39, 2**39])),
        "impossible_bucket": Histogram(6, positive=(2**40, [1])),
        "impossible_extremes": Histogram(6, positive=(10, [1, 1]), low=7.0),
        "sum_without_values": Histogram(6, total=3.0),
    }
    bodies = bodies_of([one for wrong in bad.values() for one in (wrong, good)])
    assert [FAULTS[fault] for fault in bodies.faults[::2]] == list(bad)
    assert not bodies.faults[1::2].any()
    assert bodies.lengths[::2].tolist() == [0] * len(bad)
    alone = bodies_of([good])
    assert bodies.data == alone.data * len(bad)
    assert FAULTS[bodies_of([Histogram(6, zeros=-1)]).faults[0]] == "negative_count"
    assert (
        FAULTS[bodies_of([Histogram(6, positive=(0, [1]), low=1.001, high=1.002)]).faults[0]] == "impossible_extremes"
    )


def test_an_extreme_beside_its_bucket_by_rounding_is_moved_into_it() -> None:
    low, high = bins_of(6).bounds(np.array([10 + bins_of(6).first_cell]))
    bodies = bodies_of([Histogram(6, positive=(10, [5]), low=float(low[0]), high=float(high[0]) * 1.001)])
    found = merge_dense(bodies.data, bodies.lengths, [0], 1, 6)
    assert (found.minima[0], found.maxima[0]) == (np.nextafter(low[0], 9), high[0])


def test_counts_told_one_by_one_become_runs() -> None:
    runs = Runs.of_pairs(np.array([2, 0, 2, 2]), np.array([5, -3, 7, 5]), np.array([1, 2, 3, 4]), 3)
    assert (runs.firsts.tolist(), runs.sizes.tolist(), runs.counts.tolist()) == ([-3, 0, 5], [1, 0, 3], [2, 5, 0, 3])
    with pytest.raises(SampleError, match="no scale has as many"):
        Runs.of_pairs(np.array([0, 0]), np.array([0, 2**31]), np.array([1, 1]), 1)


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(SampleError, match="parts of 2 histograms"):
        exponential_bodies(np.array([6, 6]), Runs.none(2), Runs.none(2), np.zeros(1, np.int64), Said.nothing(2))


EXAMPLE = bodies_of(
    [
        Histogram(6, positive=(10, [1, 0, 300]), zeros=2, total=5.0),
        Histogram(3, negative=(-5, [4, 1]), positive=(2, [9])),
        Histogram(6),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(EXAMPLE.data) * 8 - 1))
def test_a_flipped_bit_is_told_or_leaves_sketches(bit: int) -> None:
    data = bytearray(EXAMPLE.data)
    data[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(CorruptSketchError):
        SketchColumn.from_parts(merge_dense(bytes(data), EXAMPLE.lengths, np.array([0, 1, 1]), 2, 6))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("form", 1, "is no dense body"),
        ("scale", 9, "scale above 8"),
        ("spare", 1, "where nothing belongs"),
        ("width", 3, "no width"),
        ("positive", 2**31, "not as long as its head says"),
        ("positive_first", -(2**30), "no number lies"),
        ("zeros", -1, "count of zeros"),
        ("zeros", VALUES_LIMIT, "count of zeros"),
        ("sum", math.nan, "a sum that cannot be"),
        ("minimum", math.nan, "a minimum without values"),
        ("minimum", -0.0, "-0.0 as its minimum"),
        ("minimum", -1.0, "minimum outside its bin"),
        ("maximum", 9.0, "maximum outside its bin"),
    ],
)
def test_a_body_that_is_none_is_named_with_what_is_wrong(field: str, value: float, words: str) -> None:
    data = bytearray(EXAMPLE.data)
    head = np.frombuffer(data, HEAD, 1)
    head[field] = value
    groups = np.array([2, 1, 0])
    with pytest.raises(CorruptSketchError, match=f"body 0 .*{words}"):
        merge_dense(bytes(data), EXAMPLE.lengths, groups, 3, 6)
    with pytest.raises(CorruptSketchError, match="lengths do not add up"):
        merge_dense(EXAMPLE.data, EXAMPLE.lengths - 8, groups, 3, 6)


def test_an_empty_bin_at_an_end_is_refused_by_its_body() -> None:
    second = int(EXAMPLE.lengths[0]) + HEAD.itemsize
    data = bytearray(EXAMPLE.data)
    data[second] = 0
    with pytest.raises(CorruptSketchError, match="body 1 begins or ends with an empty bin"):
        merge_dense(bytes(data), EXAMPLE.lengths, np.array([1, 0, 0]), 2, 6)


def test_no_bodies_are_empty_sketches() -> None:
    found = merge_dense(b"", np.zeros(0, np.int64), np.zeros(0, np.int64), 2, 5)
    assert found == SketchColumn.empty(5, n=2)
