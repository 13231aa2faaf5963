"""Laws of narrowed integers: the same values again, over the whole range of both types."""

import contextlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.columns import pack_columns
from wire.errors import CorruptFrameError
from wire.integers import Narrowed, narrow, widen

EDGES = [sign * edge + near for edge in (0, 2**8, 2**16, 2**32, 2**62) for sign in (1, -1) for near in (-1, 0, 1)]
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([*EDGES, -(2**63), 2**63 - 1]) | st.integers(-300, 300)
INT32 = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([-(2**31), 2**31 - 1]) | st.integers(-300, 300)


@given(
    values=st.lists(INT64, max_size=30).map(lambda found: np.array(found, np.int64))
    | st.lists(INT64, max_size=30).map(lambda found: np.cumsum(np.array(found, np.int64)))
    | st.lists(INT32, max_size=30).map(lambda found: np.array(found, np.int32)),
    in_order=st.booleans(),
)
@settings(max_examples=500)
def test_integers_come_back_whatever_their_range(values: np.ndarray, in_order: bool) -> None:
    how, stored = narrow(values, in_order=in_order)
    assert len(stored) == how.stored_bytes <= 8 * values.size
    found = widen(how, stored, values.size)
    assert found.dtype == np.int64
    assert found.tolist() == values.tolist()
    assert narrow(values.copy(), in_order=in_order) == (how, stored)


def test_steps_between_int32_that_are_no_int32_are_not_cut_off() -> None:
    values = np.array([-(2**31), 2**31 - 1] * 3, np.int32)
    assert widen(*narrow(values), 6).tolist() == values.tolist()


@given(
    how=st.builds(
        Narrowed,
        items=st.integers(-2, 6),
        size=st.integers(-9, 9),
        steps=st.booleans(),
        base=st.integers(-(2**64), 2**64),
        first=st.integers(-(2**64), 2**64),
    ),
    stored=st.binary(max_size=48),
    items=st.integers(0, 6),
)
@settings(max_examples=300)
def test_what_nobody_narrowed_gives_the_wanted_number_of_integers_or_a_known_error(
    how: Narrowed, stored: bytes, items: int
) -> None:
    with contextlib.suppress(CorruptFrameError, ValueError, OverflowError):
        assert widen(how, stored, items).size == items


@pytest.mark.parametrize("span", [2**8, 2**16 - 1, 2**16, 2**32 - 1])
def test_numbers_of_two_and_four_bytes_lie_in_planes(span: int) -> None:
    how, stored = narrow(np.array([7, 7 + span, 8]), in_order=False)
    bytes_each = 2 if span < 2**16 else 4
    assert (how.size, how.base) == (-bytes_each, 7)
    numbers = [(0).to_bytes(bytes_each, "little"), span.to_bytes(bytes_each, "little"), b"\1" + bytes(bytes_each - 1)]
    assert stored == bytes(number[plane] for plane in range(bytes_each) for number in numbers)
    as_words = Narrowed(3, bytes_each, steps=False, base=7, first=0)
    assert widen(as_words, b"".join(numbers), 3).tolist() == [7, 7 + span, 8], "as they were written before"


def test_bytes_that_do_not_fill_their_planes_are_corrupt_or_no_array() -> None:
    for size in (-2, -4):
        with pytest.raises(ValueError, match="buffer is smaller"):
            widen(Narrowed(3, size, steps=False, base=0, first=0), bytes(-3 * size - 1), 3)
    for size in (-1, -3, -8, 3):
        with pytest.raises(CorruptFrameError, match=f"integers of {size} bytes; want 0, 1, 2, 4, 8, -2 or -4"):
            widen(Narrowed(3, size, steps=False, base=0, first=0), bytes(24), 3)


def test_another_number_of_integers_is_corrupt() -> None:
    with pytest.raises(CorruptFrameError, match="2 integers stored where 3 belong"):
        widen(*narrow(np.array([1, 2])), 3)


def test_times_with_gaps_in_them_take_hardly_more_bytes_than_times_without() -> None:
    steps = np.where(np.arange(100_000) % 5_000 == 0, 20_000_000, 16_666)
    regular, gappy = np.cumsum(np.full_like(steps, 16_666)), np.cumsum(steps)
    sizes = [len(pack_columns(pl.DataFrame({"ts": times}))) for times in (regular, gappy)]
    assert sizes[1] < sizes[0] + 1_000
    how, stored = narrow(gappy)
    assert widen(how, stored, gappy.size).tolist() == gappy.tolist()


def test_values_without_order_travel_as_differences_from_the_least() -> None:
    how, _ = narrow(np.random.default_rng(1).integers(0, 2**31, 10_000))
    assert not how.steps
