"""DDSketch messages: both dialects, other gammas with their error stated, and the ddsketch package as the oracle."""

import math
import struct
import sys

import numpy as np
import pytest
from ddsketch import DDSketch, LogCollapsingLowestDenseDDSketch
from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import CubicallyInterpolatedMapping, LogarithmicMapping
from ddsketch.pb import ddsketch_pb2
from ddsketch.pb.proto import DDSketchProto
from ddsketch.store import DenseStore
from hypothesis import given
from hypothesis import strategies as st

from quantiles.bins import bins_of
from quantiles.converters.ddsketch import Dialect, from_ddsketch, to_ddsketch
from quantiles.converters.errors import ConversionError
from quantiles.errors import CorruptSketchError
from tests.quantiles import reference
from tests.quantiles.converters.states import any_sketch, finite_sketch, lists, sketch_of, state
from tests.quantiles.samples import levels, scales

GAMMA_6 = 2.0 ** (1 / 64)
ordinary = st.floats(1e-6, 1e9) | st.floats(-1e9, -1e-6) | st.just(0.0)


def python_sketch(values: list[float], gamma: float, offset: float = 0.0) -> DDSketch:
    """A sketch of the ddsketch package; its bounds come from logarithms, so a value on one may be a bin off."""
    mapping = LogarithmicMapping((gamma - 1) / (gamma + 1), offset=offset)
    sketch = BaseDDSketch(mapping, DenseStore(), DenseStore(), 0)
    for value in values:
        sketch.add(value)
    return sketch


def to_bytes(sketch: DDSketch) -> bytes:
    return DDSketchProto.to_proto(sketch).SerializeToString()


def message(gamma: float = GAMMA_6, offset: float = 0.0, **fields: object) -> bytes:
    """A message made by protobuf itself; `positive` and `negative` map indexes to counts."""
    made = ddsketch_pb2.DDSketch()
    made.mapping.gamma, made.mapping.indexOffset = gamma, offset
    made.mapping.interpolation = fields.pop("interpolation", 0)
    for name, store in (("positive", made.positiveValues), ("negative", made.negativeValues)):
        for index, count in fields.pop(name, {}).items():
            store.binCounts[index] = count
    made.zeroCount = fields.pop("zero_count", 0.0)
    return made.SerializeToString()


def off_bounds(value: float, scale: int) -> bool:
    """Whether a rounded logarithm cannot mistake the bin of the value."""
    if value == 0:
        return True
    bins = bins_of(scale)
    ends = bins.bounds(np.array([reference.cell(abs(value), scale)]))
    return min(abs(abs(value) - float(end[0])) for end in ends) > 1e-11 * abs(value)


@given(sketch=finite_sketch)
def test_finite_sketches_come_back_with_all_their_values(sketch: object) -> None:
    written = to_ddsketch(sketch)
    read = from_ddsketch(written.form, "go")
    assert written.left_out == 0
    assert state(read.sketch) == state(sketch)
    assert (read.added_error, read.rank_error) == (0.0, 0.0)
    assert read.estimated == ({"min", "max", "sum"} if sketch.count else set())


@given(sketch=any_sketch, coarse=scales)
def test_nan_and_infinities_are_left_out_and_counted(sketch: object, coarse: int) -> None:
    coarse = min(coarse, sketch.scale)
    written = to_ddsketch(sketch, scale=coarse)
    read = from_ddsketch(written.form, Dialect.GO)
    assert read.sketch.scale == coarse
    assert read.sketch.count == sketch.count + sketch.nan_count - written.left_out


@given(sketch=finite_sketch)
def test_protobuf_reads_what_we_write(sketch: object) -> None:
    made = ddsketch_pb2.DDSketch.FromString(to_ddsketch(sketch).form)
    first = bins_of(sketch.scale).first_cell
    wanted = dict(zip(*state(sketch)[:2], strict=True))
    assert made.mapping.gamma == 2.0 ** (1 / 2**sketch.scale)
    assert (made.mapping.indexOffset, made.mapping.interpolation) == (0.0, 0)
    seen = {0: made.zeroCount} if made.zeroCount else {}
    for store, sign in ((made.positiveValues, 1), (made.negativeValues, -1)):
        pairs = dict(store.binCounts) | {
            store.contiguousBinIndexOffset + i: count for i, count in enumerate(store.contiguousBinCounts) if count
        }
        seen |= {sign * (index + first): count for index, count in pairs.items()}
    assert seen == wanted
    assert made.HasField("positiveValues")  # sketches-go dereferences both stores
    assert made.HasField("negativeValues")


def test_golden_bytes_in_the_go_dialect() -> None:
    """{1.5, 1.5, 1.51, -3, 0}: bins 37, 38 and -(101)."""
    wanted = bytes.fromhex(
        "0a0909" + struct.pack("<d", GAMMA_6).hex() +  # mapping: gamma
        "12141210" + struct.pack("<dd", 2, 1).hex() + "184a" +  # positive: two packed counts from index 37 (zigzag 74)
        "1a0d1208" + struct.pack("<d", 1).hex() + "18ca01" +  # negative: one packed count at 101 (zigzag 202)
        "21" + struct.pack("<d", 1).hex()
    )  # fmt: skip
    assert to_ddsketch(sketch_of([1.5, 1.5, 1.51, -3.0, 0.0])).form == wanted


def test_bins_far_apart_are_written_as_a_map() -> None:
    written = to_ddsketch(sketch_of([1e-300, 1e300])).form
    assert len(written) < 60
    assert len(ddsketch_pb2.DDSketch.FromString(written).positiveValues.binCounts) == 2


@pytest.mark.parametrize("scale", range(9))
def test_the_dialects_are_one_index_apart(scale: int) -> None:
    """Index 5 is gamma**5..gamma**6 in Go and gamma**4..gamma**5 in Python."""
    data = message(2.0 ** (1 / 2**scale), positive={5: 3.0}, negative={-7: 1.0})
    first = bins_of(scale).first_cell
    assert state(from_ddsketch(data, "go").sketch) == ([-(first - 7), first + 5], [1, 3], 0)
    assert state(from_ddsketch(data, "python").sketch) == ([-(first - 8), first + 4], [1, 3], 0)


@pytest.mark.parametrize("offset", [0.0, 3.0, -70000.0])
def test_whole_offsets_are_taken_off(offset: float) -> None:
    data = message(offset=offset, positive={5 + int(offset): 1.0})
    assert state(from_ddsketch(data, "go").sketch)[0] == [bins_of(6).first_cell + 5]
    assert state(from_ddsketch(data, "python").sketch)[0] == [bins_of(6).first_cell + 4]


def test_a_fractional_offset_moves_the_bounds_in_go_and_means_nothing_in_python() -> None:
    data = message(offset=0.5, positive={10: 4.0})
    read = from_ddsketch(data, "go")
    alpha = (GAMMA_6 - 1) / (GAMMA_6 + 1)
    assert read.added_error == pytest.approx(alpha * (1 + read.sketch.error_bound))
    for value in (GAMMA_6**9.5, GAMMA_6**10.5):
        assert abs(read.sketch.quantile(0.5) - value) <= (read.sketch.error_bound + read.added_error) * value
    with pytest.raises(ConversionError, match="wanted a whole number"):
        from_ddsketch(data, "python")


@given(values=lists(ordinary), scale=st.integers(3, 8), offset=st.sampled_from([0, 5, -1000]))
def test_the_ddsketch_package_counts_in_our_bins(values: list, scale: int, offset: int) -> None:
    values = [x for x in values if off_bounds(x, scale)]
    data = to_bytes(python_sketch(values, 2.0 ** (1 / 2**scale), float(offset)))
    read = from_ddsketch(data, "python")
    kept = [0.0 if abs(x) < sys.float_info.min else x for x in values]
    assert state(read.sketch) == state(sketch_of(kept, scale))
    assert (read.added_error, read.zero_threshold > 0) == (0.0, 0.0 in kept)


@given(values=lists(ordinary).filter(len), q=levels, alpha=st.floats(1e-4, 0.2), scale=scales)
def test_other_gammas_stay_within_the_error_they_state(values: list, q: float, alpha: float, scale: int) -> None:
    gamma = (1 + alpha) / (1 - alpha)
    read = from_ddsketch(to_bytes(python_sketch(values, gamma)), "python", scale)
    truth = reference.quantile(values, q)
    assert read.sketch.scale == scale
    bound = read.sketch.error_bound + read.added_error
    assert abs(read.sketch.quantile(q) - truth) <= bound * abs(truth) * (1 + 1e-9)
    assert read.sketch.sum == pytest.approx(math.fsum(values), abs=2 * alpha * math.fsum(map(abs, values)) + 1e-300)


@pytest.mark.parametrize("make", [lambda: DDSketch(0.01), lambda: LogCollapsingLowestDenseDDSketch(0.01)])
def test_a_package_sketch_of_one_percent_answers_alike(make: object) -> None:
    theirs = make()
    values = np.random.default_rng(6).lognormal(5, 1, 3000)
    for value in values:
        theirs.add(float(value))
    read = from_ddsketch(to_bytes(theirs), "python")
    assert (read.sketch.scale, read.sketch.count) == (6, 3000)
    assert read.added_error == pytest.approx(0.01 * 1.005415, rel=1e-4)
    for q in (0.1, 0.5, 0.9, 0.99, 0.999):
        truth = float(np.quantile(values, q, method="inverted_cdf"))
        assert abs(read.sketch.quantile(q) - truth) <= (read.sketch.error_bound + read.added_error) * truth
        assert read.sketch.quantile(q) == pytest.approx(theirs.get_quantile_value(q), rel=0.03)


def test_the_wrong_dialect_is_off_by_a_bin() -> None:
    """Two percent at alpha = 1 %: the trap that makes the argument mandatory."""
    data = to_bytes(python_sketch([100.0], 1.01 / 0.99))
    right, wrong = (from_ddsketch(data, dialect, 8).sketch.quantile(0.5) for dialect in ("python", "go"))
    assert right == pytest.approx(100, rel=0.0115)
    assert wrong / right == pytest.approx(1.01 / 0.99, rel=0.004)
    with pytest.raises(ConversionError, match="wanted 'go' or 'python'"):
        from_ddsketch(data, "java")


def test_gamma_may_carry_the_rounding_of_writing_it_down() -> None:
    for scale in range(9):
        gamma = 2.0 ** (1 / 2**scale)
        for variant in (gamma, math.nextafter(gamma, 1), (1 + (a := 1 - 2 / (1 + gamma))) / (1 - a)):
            assert from_ddsketch(message(variant, positive={3: 1.0}), "go").added_error == 0.0
        assert from_ddsketch(message(gamma * (1 - 1e-9), positive={3: 1.0}), "go").added_error > 0


def test_a_finer_scale_than_the_message_adds_error_and_a_coarser_one_does_not() -> None:
    data = to_ddsketch(sketch_of([1.0, 2.0, 3.0], 4)).form
    assert from_ddsketch(data, "go", 2).added_error == 0.0
    finer = from_ddsketch(data, "go", 6)
    assert finer.added_error == pytest.approx(bins_of(4).error_bound * (1 + bins_of(6).error_bound))


def test_the_outermost_values_survive() -> None:
    for scale in range(9):
        sketch = sketch_of([5e-324, sys.float_info.min, sys.float_info.max, -sys.float_info.max], scale)
        assert state(from_ddsketch(to_ddsketch(sketch).form, "go").sketch) == state(sketch)


def test_an_empty_sketch_is_an_empty_message() -> None:
    written = to_ddsketch(sketch_of([]))
    read = from_ddsketch(written.form, "go")
    assert (read.sketch.count, read.sketch.sum, read.estimated) == (0, 0, set())
    assert from_ddsketch(to_bytes(DDSketch(0.01)), "python").sketch.count == 0


def test_fractional_counts_need_a_factor() -> None:
    data = message(positive={1: 0.5, 2: 1.5})
    with pytest.raises(ConversionError, match="pass count_factor"):
        from_ddsketch(data, "go")
    assert from_ddsketch(data, "go", count_factor=2).sketch.count == 4
    assert from_ddsketch(data, "go", count_factor=1).rank_error == 0.5


def test_interpolated_mappings_are_refused_by_name() -> None:
    cubic = BaseDDSketch(CubicallyInterpolatedMapping(0.01), DenseStore(), DenseStore(), 0)
    with pytest.raises(ConversionError, match=r"interpolated \(cubic\)"):
        from_ddsketch(to_bytes(cubic), "python")


@pytest.mark.parametrize(
    ("data", "error", "message_"),
    [
        (b"", CorruptSketchError, "gamma is 0.0"),
        (message(1.0), CorruptSketchError, "gamma is 1.0"),
        (message(math.nan), CorruptSketchError, "gamma is nan"),
        (message(math.inf), CorruptSketchError, "gamma is inf"),
        (message(offset=math.nan), CorruptSketchError, "indexOffset nan"),
        (message(offset=1e300), CorruptSketchError, r"indexOffset 1e\+300"),
        (message(2.1), ConversionError, "wanted at most 2"),
        (message(zero_count=-1.0), CorruptSketchError, "a count is -1.0"),
        (message(zero_count=math.nan), CorruptSketchError, "a count is nan"),
        (message(positive={1: math.inf}), CorruptSketchError, "a count is inf"),
        (message(positive={1: 2.0**62}), CorruptSketchError, "less than 2"),
        (message(positive={1 << 20: 1.0}), CorruptSketchError, "no float64 lies in it"),
        (message(1.02, positive={1 << 20: 1.0}), CorruptSketchError, "beyond those of a float64"),
        (message(1.02, negative={-(1 << 20): 1.0}), CorruptSketchError, "beyond those of a float64"),
    ],
)
def test_damaged_messages_are_refused(data: bytes, error: type, message_: str) -> None:
    with pytest.raises(error, match=message_):
        from_ddsketch(data, "go")


def test_empty_bins_beyond_the_floats_do_no_harm() -> None:
    assert from_ddsketch(message(1.02, positive={1 << 20: 0.0, 1: 1.0}), "go").sketch.count == 1
    assert from_ddsketch(message(positive={1 << 20: 0.0, 1: 1.0}), "go").sketch.count == 1
