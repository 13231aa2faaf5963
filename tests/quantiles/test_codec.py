"""Bytes: one encoding per state, golden files that pin it, and hostile bytes that can only raise CorruptSketchError."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles import codec
from quantiles.errors import CorruptSketchError
from quantiles.sketch_column import SketchColumn
from tests.quantiles import reference
from tests.quantiles.samples import anything, few_laws, grouped, integers, laws, scales

GOLDEN = Path(__file__).parent / "golden"


def golden_states() -> dict[str, SketchColumn]:
    """The states that the golden files hold, one body each; see golden/README.md."""

    def column(values: list[float] | list[int], scale: int = 6) -> SketchColumn:
        return SketchColumn.from_values(np.array(values), np.zeros(len(values), np.int64), 1, scale)

    small = [0.0, -0.0, 1.0, 2.0, 2.0, -1.5, 5e-324, -5e-324]
    return {
        "empty_integer": SketchColumn.empty(6, True, 1),
        "empty_float": SketchColumn.empty(6, False, 1),
        "only_nan": column([math.nan, math.nan]),
        "one_integer": column([1253]),
        "one_float": column([0.1]),
        "around_zero": column(small),
        "infinities": column([-math.inf, math.inf, 1.0, math.nan]),
        "large_counts": column([1] * 96 + [2] * 97 + [3] * 300 + [4] * 9000),
        "gaps": column([2.0 ** (k / 64 - 0.001) for k in (0, 2, 11, 12, 21, 31, 31, 31, 31, 31, 33, 33, 33, 33, 33)]),
        "wide_sums": column([-(2**63), -(2**63), 2**63 - 1, 7]),
        "scale_0": column([0.001, 1.0, 3.0, 5e8], 0),
        "scale_8": column([0.001, 1.0, 3.0, 5e8], 8),
    }


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @pytest.mark.parametrize("name", sorted(golden_states()))
    def test_golden_bytes_have_not_changed(self, name: str) -> None:
        expected = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
        state = golden_states()[name]
        assert state.to_bodies()[0] == expected, "changed bytes need a new VERSION, see FORMAT.md"
        assert SketchColumn.from_bodies(expected, [len(expected)]) == state

    @laws
    @given(data=grouped(anything), scale=scales)
    def test_float_sketches_are_written_as_the_format_says_and_read_back(self, data: tuple, scale: int) -> None:
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        column = SketchColumn.from_values(values, groups, n_groups, scale)
        buffer, lengths = column.to_bodies()
        expected = [
            reference.body(
                reference.sketch(values[groups == g].tolist(), scale),
                scale,
                None,
                (float(column.sums.hi[g]), float(column.sums.lo[g])),
            )
            for g in range(n_groups)
        ]
        assert buffer == b"".join(expected)
        assert lengths.tolist() == [len(body) for body in expected]
        assert SketchColumn.from_bodies(buffer, lengths) == column

    @laws
    @given(data=grouped(integers), repeat=st.sampled_from([1, 4, 5, 96, 97, 5000]), scale=scales)
    def test_integer_sketches_are_written_as_the_format_says_and_read_back(
        self, data: tuple, repeat: int, scale: int
    ) -> None:
        values, groups, n_groups = np.repeat(data[0].astype(np.int64), repeat), np.repeat(data[1], repeat), data[2]
        column = SketchColumn.from_values(values, groups, n_groups, scale)
        buffer, lengths = column.to_bodies()
        totals = [sum(values[groups == g].tolist()) for g in range(n_groups)]
        states = [reference.sketch(values[groups == g].tolist(), scale) for g in range(n_groups)]
        assert buffer == b"".join(
            reference.body(state, scale, total, None) for state, total in zip(states, totals, strict=True)
        )
        assert SketchColumn.from_bodies(buffer, lengths) == column

    @laws
    @given(data=grouped(anything), position=st.integers(0, 10**6), bit=st.integers(0, 7))
    def test_a_flipped_bit_is_refused_or_is_another_valid_state(self, data: tuple, position: int, bit: int) -> None:
        buffer, lengths = SketchColumn.from_values(data[0].astype(np.float64), data[1], data[2]).to_bodies()
        broken = bytearray(buffer)
        broken[position % len(broken)] ^= 1 << bit
        check_hostile(bytes(broken), lengths)

    @laws
    @given(data=grouped(anything), cut=st.integers(1, 60))
    def test_truncated_bytes_are_refused(self, data: tuple, cut: int) -> None:
        buffer, lengths = SketchColumn.from_values(data[0].astype(np.float64), data[1], data[2]).to_bodies()
        with pytest.raises(CorruptSketchError):
            SketchColumn.from_bodies(buffer[:-cut], lengths)
        check_hostile(buffer[: -min(cut, int(lengths[-1]))], [*lengths[:-1], max(0, int(lengths[-1]) - cut)])

    @laws
    @given(
        junk=st.binary(min_size=0, max_size=40), head=st.sampled_from([b"", b"\1\4\6", b"\1\5\6", b"\1\0\6", b"\1\2\0"])
    )
    def test_junk_is_refused_or_is_a_valid_state(self, junk: bytes, head: bytes) -> None:
        check_hostile(head + junk, [len(head + junk)])

    @laws
    @given(
        tokens=st.lists(st.one_of(st.integers(0, 130), st.integers(0, 2**64 - 1), st.integers(0, 2**22)), max_size=12),
        flags=st.integers(0, 7),
    )
    def test_any_row_of_varints_is_refused_or_is_a_valid_state(self, tokens: list[int], flags: int) -> None:
        low, high = (int.from_bytes(np.float64(x).tobytes(), "big") for x in (1.0, 8.0))
        sums = [3, 5] if flags & 1 else [high, 0]
        for middle in (tokens, [low, high, *sums, *tokens], [low, low, *sums, *tokens]):
            body = b"".join(map(reference.varint, [1, flags, 6, *middle]))
            check_hostile(body, [len(body)])


def check_hostile(data: bytes, lengths: object) -> None:
    """The bytes raise CorruptSketchError and nothing else, or they are the one encoding of what they decode to."""
    try:
        column = SketchColumn.from_bodies(data, lengths)  # type: ignore[arg-type]
    except CorruptSketchError:
        return
    assert column.to_bodies()[0] == data


@few_laws
@given(a=grouped(anything, max_groups=1), b=grouped(anything, max_groups=1))
def test_equal_states_and_equal_bytes_mean_the_same(a: tuple, b: tuple) -> None:
    one, two = (SketchColumn.from_values(x[0].astype(np.float64), x[1], 1) for x in (a, b))
    assert (one == two) == (one.to_bodies()[0] == two.to_bodies()[0])
    assert one.to_bodies()[0] == SketchColumn.concat([one, two]).take([0]).to_bodies()[0]


def body(*tokens: int | float) -> bytes:
    """A hand-written body: whole numbers as varints, floats with their bytes reversed."""
    raw = (int.from_bytes(np.float64(t).tobytes(), "big") if isinstance(t, float) else t for t in tokens)
    return b"".join(map(reference.varint, raw))


GOOD = (1, 4, 6, 1.0, 2.0, 3.0, 0.0)  # {1.0, 2.0} up to its cells: 1.0, then 63 empty cells, then 2.0
GAP_63 = 128 + 2 * 62 + 1


def test_the_hand_written_body_is_good() -> None:
    data = body(*GOOD, 0, GAP_63, 0)
    assert SketchColumn.from_bodies(data, [len(data)]) == SketchColumn.from_values(np.array([1.0, 2.0]), [0, 0], 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (body(2, 4, 6), "version other than 1"),
        (body(1, 8, 6), "unknown flags"),
        (body(1, 0, 9), "scale above 8"),
        (b"\1\0", "shorter than its 3-byte head"),
        (b"\1\0\x86", "cut short"),
        (b"\1\0\x86\0", "padded"),
        (b"\1\x84\x80\x80", "cut short"),
        (b"\1\4\6" + b"\xff" * 9 + b"\2", "too long or padded"),
        (b"\1\4\6" + b"\xff" * 30 + b"\1", "too long or padded"),
        (b"\1\x80\1", "too few varints"),
        (body(1, 0, 6, 0), "too few or too many varints"),
        (body(1, 4, 6, 1.0, 2.0, 3.0), "too few or too many varints"),
        (body(*GOOD), "too few or too many varints"),
        (body(1, 2, 6, 0), "NaN count"),
        (body(1, 2, 6, 2**62), "NaN count"),
        (body(1, 4, 6, math.nan, 2.0, 3.0, 0.0, 0), "NaN as its minimum"),
        (body(*GOOD, 96, GAP_63, 0), "gap before its first cell"),
        (body(*GOOD, GAP_63, 0, 0), "gap before its first cell"),
        (body(*GOOD, 0, GAP_63), "ends with a gap"),
        (body(*GOOD, 0, GAP_63 - 2, 129, 0), "two gaps in a row"),
        (body(*GOOD, 0, GAP_63 - 2, 96), "two gaps in a row"),
        (body(*GOOD, 0, 129, 0), "spells a short gap in two tokens"),
        (body(*GOOD, 0, 128 + 2 * 2**60 + 1, 0), "wider than all cells"),
        (body(*GOOD, 0, 128 + 2 * 200_000 + 1, 0), "cell outside its scale"),
        (body(*GOOD, 0, GAP_63, 128 + 2 * 2**62), "more than"),
        (body(*GOOD, 0, GAP_63 + 2, 0), "maximum outside its last cell"),
        (body(*GOOD, 0, GAP_63, 0, 0), "maximum outside its last cell"),
        (body(1, 4, 6, 2.0, 1.0, 3.0, 0.0, 0), "minimum above its maximum"),
        (body(1, 4, 6, -0.0, 0.0, 0.0, 0.0, 0), "-0.0 as an extreme"),
        (body(1, 4, 6, 1.0, 1.0, 1.0, 1.0, 0), "two parts overlap"),
        (body(1, 4, 6, 1.0, 1.0, 1.0, math.inf, 0), "two parts overlap"),
        (body(1, 4, 6, 1.0, 1.0, math.nan, 0.0, 0).replace(body(math.nan), body(-math.nan)), "not the canonical NaN"),
        (body(1, 5, 6, 1.0, 1.0, 0, 2**32, 0), "low part"),
        (body(1, 5, 6, 1.0, 1.0, 2**63, 0, 0), "beyond"),
    ],
)
@pytest.mark.usefixtures("kernel_name")
def test_each_rule_of_the_format_is_enforced(data: bytes, message: str) -> None:
    with pytest.raises(CorruptSketchError, match=message):
        SketchColumn.from_bodies(data, [len(data)])


@pytest.mark.parametrize("lengths", [[3], [3, 4], [7, -1], [2**62, 2**62], [6, 0], [[6]], []])
def test_lengths_must_add_up_to_the_bytes(lengths: object) -> None:
    with pytest.raises(CorruptSketchError):
        SketchColumn.from_bodies(b"\1\0\6\1\0\6", lengths)  # type: ignore[arg-type]


def test_a_body_must_end_where_its_length_says() -> None:
    data = body(*GOOD, 0, GAP_63, 0)
    for length in range(len(data)):
        with pytest.raises(CorruptSketchError):
            SketchColumn.from_bodies(data + data, [length, 2 * len(data) - length])


def test_bodies_of_one_batch_share_scale_and_kind() -> None:
    for other, message in ((b"\1\0\5", "another scale"), (b"\1\1\6", "another kind of sum")):
        with pytest.raises(CorruptSketchError, match=message):
            SketchColumn.from_bodies(b"\1\0\6" + other, [3, 3])
    for wanted in ({"scale": 5}, {"integer": True}):
        with pytest.raises(CorruptSketchError, match="belong to another metric"):
            SketchColumn.from_bodies(b"\1\0\6", [3], **wanted)


def test_an_error_names_the_body_that_is_wrong() -> None:
    good, bad = body(*GOOD, 0, GAP_63, 0), body(*GOOD, 0, GAP_63, 0, 0)
    with pytest.raises(CorruptSketchError, match=r"\b2 has a maximum"):
        SketchColumn.from_bodies(b"\1\0\6" + good + bad + good, [3, len(good), len(bad), len(good)])


def test_a_body_that_claims_much_allocates_little() -> None:
    data = body(*GOOD, 0, 128 + 2 * (2**62) + 1, 128 + 2 * (2**61))
    tracemalloc.start()
    for _ in range(3):
        with pytest.raises(CorruptSketchError):
            SketchColumn.from_bodies(data, [len(data)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000


def test_many_blocks_join_seamlessly_and_faults_name_the_right_body() -> None:
    one = body(1, 5, 6, 1.0, 1.0, 0, 9, 8)
    buffer, lengths = one * 40_000, [len(one)] * 40_000
    assert len(buffer) > 2 * codec.BLOCK
    column = SketchColumn.from_bodies(buffer, lengths)
    assert column.totals().tolist() == [9] * 40_000
    assert column.to_bodies()[0] == buffer
    for other, message in ((b"\1\1\5", "body 40000 is of another scale"), (b"\1\0\6", "body 40000 has another kind")):
        with pytest.raises(CorruptSketchError, match=message):
            SketchColumn.from_bodies(buffer + other + one, [*lengths, 3, len(one)])
    with pytest.raises(CorruptSketchError, match="body 39999 "):
        SketchColumn.from_bodies(buffer[:-1] + b"\x80", lengths)


def test_a_large_batch_round_trips() -> None:
    rng = np.random.default_rng(4)
    values = rng.lognormal(5, 2, 50_000) * rng.choice([1, -1], 50_000, p=[0.9, 0.1])
    column = SketchColumn.from_values(values, rng.integers(0, 2000, 50_000), 2100)
    buffer, lengths = column.to_bodies()
    assert SketchColumn.from_bodies(memoryview(buffer), lengths) == column
    ends = np.cumsum(lengths)
    for row in (0, 7, 2099):
        one = buffer[ends[row] - lengths[row] : ends[row]]
        assert SketchColumn.from_bodies(one, [len(one)]) == column.take([row])
