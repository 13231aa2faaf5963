"""Decoding and merging in one call gives what decoding and then merging gives: the same columns and the same errors."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles import merged_bodies
from quantiles.errors import CorruptSketchError, QuantilesError, SampleError, StateOverflowError
from quantiles.merged_bodies import merge_bodies
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from tests.quantiles import reference
from tests.quantiles.samples import anything, grouped, integers, laws, moderate, scales
from tests.quantiles.test_codec import GAP_63, GOOD, body
from tests.quantiles.test_sketch_column import same_but_float_sums


def both_ways(buffer: bytes, lengths: object, groups: object, n_groups: int) -> tuple[object, object]:
    """Columns, or the errors raised instead."""
    results: list[object] = []
    for way in (
        lambda: merge_bodies(buffer, lengths, groups, n_groups),  # type: ignore[arg-type]
        lambda: SketchColumn.from_bodies(buffer, lengths).reduce(groups, n_groups),  # type: ignore[arg-type]
    ):
        try:
            results.append(way())
        except QuantilesError as error:
            results.append((type(error), str(error)))
    return results[0], results[1]


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @laws
    @given(data=grouped(anything), scale=scales, codes=st.lists(st.integers(0, 2), min_size=5, max_size=5))
    def test_floats_merge_to_the_same_sketches(self, data: tuple, scale: int, codes: list[int]) -> None:
        column = SketchColumn.from_values(data[0].astype(np.float64), data[1], data[2], scale)
        groups = codes[: len(column)]
        merged, wanted = both_ways(*column.to_bodies(), groups, 3)
        assert isinstance(merged, SketchColumn)
        assert isinstance(wanted, SketchColumn)
        assert same_but_float_sums(merged, wanted)
        assert np.array_equal(np.isnan(merged.sums.hi), np.isnan(wanted.sums.hi))
        assert SketchColumn.from_bodies(*merged.to_bodies()) == merged

    @laws
    @given(data=grouped(moderate), codes=st.lists(st.integers(0, 1), min_size=5, max_size=5))
    def test_float_sums_stay_within_their_bound(self, data: tuple, codes: list[int]) -> None:
        values, groups = data[0].astype(np.float64), np.array(codes)[data[1]]
        column = SketchColumn.from_values(values, data[1], data[2])
        merged = merge_bodies(*column.to_bodies(), codes[: len(column)], 2)
        for g, total in enumerate(merged.sums.values()):
            mine = values[groups == g].tolist()
            assert abs(reference.exact_sum([total]) - reference.exact_sum(mine)) <= 1e-12 * sum(map(abs, mine))

    @laws
    @given(data=grouped(integers), repeat=st.sampled_from([1, 4, 97, 5000]), scale=scales)
    def test_integers_merge_to_the_same_bits(self, data: tuple, repeat: int, scale: int) -> None:
        values, groups = np.repeat(data[0].astype(np.int64), repeat), np.repeat(data[1], repeat)
        column = SketchColumn.from_values(values, groups, data[2], scale)
        merged, wanted = both_ways(*column.to_bodies(), np.zeros(len(column), np.int64), 1)
        assert merged == wanted

    @laws
    @given(data=grouped(anything), position=st.integers(0, 10**6), bit=st.integers(0, 7))
    def test_a_flipped_bit_has_the_decoders_answer(self, data: tuple, position: int, bit: int) -> None:
        buffer, lengths = SketchColumn.from_values(data[0].astype(np.float64), data[1], data[2]).to_bodies()
        broken = bytearray(buffer)
        broken[position % len(broken)] ^= 1 << bit
        check_alike(bytes(broken), lengths)

    @laws
    @given(
        tokens=st.lists(st.one_of(st.integers(0, 130), st.integers(0, 2**64 - 1), st.integers(0, 2**22)), max_size=12),
        flags=st.integers(0, 7),
        junk=st.binary(max_size=3),
    )
    def test_any_row_of_varints_has_the_decoders_answer(self, tokens: list[int], flags: int, junk: bytes) -> None:
        low, high = (int.from_bytes(np.float64(x).tobytes(), "big") for x in (1.0, 8.0))
        sums = [3, 5] if flags & 1 else [high, 0]
        for middle in (tokens, [low, high, *sums, *tokens], [low, low, *sums, *tokens]):
            data = b"".join(map(reference.varint, [1, flags, 6, *middle])) + junk
            check_alike(data, [len(data)])

    @pytest.mark.parametrize(
        "data",
        [
            body(*GOOD, 0, GAP_63, 0),
            body(1, 4, 6, -0.0, 0.0, 0.0, 0.0, 0),
            body(1, 4, 6, 1.0, 1.0, 1.0, 1.0, 0),
            body(1, 4, 6, 1.0, 1.0, 1.0, math.inf, 0),
            body(1, 4, 6, 1.0, 1.0, math.inf, 1.0, 0),
            body(1, 4, 6, 1.0, 1.0, math.inf, 0.0, 0),
            body(1, 4, 6, 1.0, 1.0, math.nan, 0.0, 0),
            body(1, 4, 6, 1.0, 1.0, -0.0, 0.0, 0),
            body(1, 4, 6, 1.0, 1.0, 1.0, -0.0, 0),
            body(1, 4, 6, 1.0, math.nan, 1.0, 0.0, 0),
            body(1, 4, 6, 2.0, 1.0, 1.0, 0.0, 0),
            body(1, 5, 6, 1.0, 1.0, 0, 2**32, 0),
            body(1, 5, 6, 1.0, 1.0, 2**63, 0, 0),
            body(1, 5, 6, 1.0, 1.0, 2**63 - 2, 1, 0),
            body(*GOOD, 0, GAP_63, 128 + 2 * 2**61),
            body(*GOOD, 128 + 2 * 2**60, GAP_63, 128 + 2 * 2**60),
            body(1, 6, 6, 2**61, 1.0, 1.0, 1.0, 0.0, 0),
            body(*GOOD, 0, 129, 0),
            body(*GOOD, 0, GAP_63, 0, 0),
            body(*GOOD, 0, GAP_63, 0)[:-1] + b"\x80\x00",
            body(*GOOD, 0, GAP_63) + b"\xff" * 9 + b"\x02",
            body(*GOOD, 96, 0),
            body(*GOOD, GAP_63, 0),
            b"\1\0\6",
            b"\1\0",
            b"\1\0\x09",
            b"\2\0\6",
        ],
    )
    def test_each_rule_of_the_format_holds_here_too(self, data: bytes) -> None:
        check_alike(data, [len(data)])

    def test_many_bodies_to_one_and_to_many(self) -> None:
        rng = np.random.default_rng(4)
        values = np.rint(rng.lognormal(6, 1, 300_000)).astype(np.int64) * rng.choice([1, -1], 300_000, p=[0.9, 0.1])
        column = SketchColumn.from_values(values, rng.integers(0, 3000, 300_000), 3000)
        buffer, lengths = column.to_bodies()
        for n_groups in (1, 7, 3000):
            groups = rng.integers(0, n_groups, 3000)
            assert merge_bodies(memoryview(buffer), lengths, groups, n_groups) == column.reduce(groups, n_groups)
        assert merge_bodies(buffer, lengths) == column.reduce(np.zeros(3000, np.int64), 1)

    def test_blocks_are_merged_now_and_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(merged_bodies, "WAITING_CELLS", 100)
        column = SketchColumn.from_values(np.arange(1, 200_001), np.arange(200_000) % 2000, 2000)
        groups = np.arange(2000) % 3
        assert merge_bodies(*column.to_bodies(), groups, 3) == column.reduce(groups, 3)

    def test_totals_that_no_sketch_can_count_are_refused(self) -> None:
        counted = body(1, 5, 6, 1.0, 1.0, 0, 9, 128 + 2 * 2**60)
        with pytest.raises(StateOverflowError, match=r"2\*\*62"):
            merge_bodies(counted * 4, [len(counted)] * 4)
        summed = body(1, 5, 6, 1.0, 1.0, 2**62, 9, 0)
        with pytest.raises(StateOverflowError, match=r"2\*\*94"):
            merge_bodies(summed * 2, [len(summed)] * 2)
        there_and_back = summed + body(1, 5, 6, 1.0, 1.0, 2**62 + 1, 9, 0)
        assert both_ways(there_and_back * 9, [len(summed), len(there_and_back) - len(summed)] * 9, [0] * 18, 1)[0] == (
            SketchColumn.from_bodies(there_and_back * 9, [len(summed), len(there_and_back) - len(summed)] * 9)
        ).reduce([0] * 18, 1)

    def test_bodies_that_claim_the_whole_range_take_little_memory(self) -> None:
        one, width = Sketch(8), 500
        one.add([-1e308, 1e308])
        data = one.to_bytes()
        merge_bodies(data, [len(data)])  # compiles
        tracemalloc.start()
        column = merge_bodies(data * width, [len(data)] * width, np.arange(width), width)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert column.totals().tolist() == [2] * width
        assert (
            peak < 20_000_000
        )  # the compiled decoder has one row of the widest scale, 8.6 MB; the claims are 500 such rows


def check_alike(data: bytes, lengths: object) -> None:
    groups = np.arange(np.size(lengths)) % 2
    merged, wanted = both_ways(data, lengths, groups, 2)
    if isinstance(merged, SketchColumn) and isinstance(wanted, SketchColumn):
        assert same_but_float_sums(merged, wanted)
        assert merged.sums.integer == wanted.sums.integer
    else:
        assert merged == wanted


def test_an_error_names_the_body_that_is_wrong() -> None:
    good, bad = body(*GOOD, 0, GAP_63, 0), body(*GOOD, 0, GAP_63, 0, 0)
    with pytest.raises(CorruptSketchError, match=r"sketch 9999 has a maximum"):
        merge_bodies(good * 9999 + bad, [*[len(good)] * 9999, len(bad)])


def test_no_bodies_are_empty_sketches_and_wrong_company_is_refused() -> None:
    assert merge_bodies(b"", [], [], 3, scale=4, integer=True) == SketchColumn.empty(4, True, 3)
    assert merge_bodies(b"\1\0\6" * 2, [3, 3]) == SketchColumn.empty(6, False, 1)
    for other, message in ((b"\1\0\5", "another scale"), (b"\1\1\6", "another kind of sum")):
        with pytest.raises(CorruptSketchError, match=message):
            merge_bodies(b"\1\0\6" + other, [3, 3])
    for wanted in ({"scale": 5}, {"integer": True}):
        with pytest.raises(CorruptSketchError, match="belong to another metric"):
            merge_bodies(b"\1\0\6", [3], **wanted)  # type: ignore[arg-type]
    with pytest.raises(SampleError, match="group codes run"):
        merge_bodies(b"\1\0\6", [3], [1], 1)
    with pytest.raises(CorruptSketchError, match="do not add up"):
        merge_bodies(b"\1\0\6", [4])
