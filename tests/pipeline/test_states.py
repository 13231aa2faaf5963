"""States: what they answer, and that damaged bytes and columns of them can only raise StateError."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StateError
from pipeline.grouping import Grouping
from pipeline.plan import FUNCTIONS, LINE_FUNCTIONS, Metric
from pipeline.ragged import as_series
from pipeline.states import CountState, SketchState, State, state_class

VALUES = {True: [5, None, -3, 2**63 - 1, 2**63 - 1, None], False: [0.5, None, math.nan, -0.0, 1e300, math.inf]}
GROUPS = Grouping(np.array([0, 0, 1, 2, 2, 3]), np.array([0, 2, 3, 5]))


def metric(function: str, integer: bool) -> Metric:
    return Metric("x_us", function, integer, "us", 6)


def state_of(function: str, integer: bool) -> State:
    values = pl.Series(VALUES[integer], dtype=pl.Int64 if integer else pl.Float64)
    return state_class(function).from_values(metric(function, integer), values, GROUPS)


KINDS = [
    (function, integer)
    for function in FUNCTIONS
    for integer in (True, False)
    if function not in LINE_FUNCTIONS and (function != "count" or integer)
]
each_kind = pytest.mark.parametrize(("function", "integer"), KINDS)


@pytest.mark.parametrize(
    ("function", "integer", "wanted"),
    [
        ("count", True, [1, 1, 2, 0]),
        ("sum", True, [5, -3, 2**64 - 2, None]),
        ("sum", False, [0.5, math.nan, 1e300, math.inf]),
        ("min", True, [5, -3, 2**63 - 1, None]),
        ("max", True, [5, -3, 2**63 - 1, None]),
        ("min", False, [0.5, None, 0.0, math.inf]),
        ("max", False, [0.5, None, 1e300, math.inf]),
        ("avg", True, [5.0, -3.0, float(2**63 - 1), None]),
        ("avg", False, [0.5, math.nan, 5e299, math.inf]),
        ("sketch", False, [1, 0, 2, 1]),
    ],
)
def test_a_group_without_values_is_absent_not_zero(function, integer, wanted):
    assert repr(state_of(function, integer).answers()) == repr(wanted)


def test_count_of_a_column_counts_nan_but_not_null():
    state = state_class("count").from_values(metric("count", True), pl.Series(VALUES[False]), GROUPS)
    assert state.answers() == [1, 1, 2, 1]


def test_minus_zero_is_zero_or_min_would_depend_on_the_order_of_records():
    for values in ([-0.0, 0.0], [0.0, -0.0]):
        for function in ("min", "max"):
            one = Grouping(np.zeros(2, np.int64), np.zeros(1, np.int64))
            state = state_class(function).from_values(metric(function, False), pl.Series(values), one)
            assert repr(state.answers()) == "[0.0]"


@each_kind
def test_bodies_and_columns_give_the_state_back(function, integer):
    state, described = state_of(function, integer), metric(function, integer)
    buffer, lengths = state.to_bodies()
    assert int(lengths.sum()) == len(buffer)
    assert type(state).from_bodies(described, buffer, lengths).to_bodies()[0] == buffer
    columns = state.to_columns("x_us")
    types = type(state).columns(described, "x_us")
    assert {name: as_series(name, column, types[name]).dtype for name, column in columns.items()} == types
    assert type(state).from_columns(described, "x_us", columns).to_bodies()[0] == buffer


@each_kind
def test_no_groups_are_a_state_too(function, integer):
    state, described = state_of(function, integer).take(np.empty(0, np.int64)), metric(function, integer)
    assert len(state) == 0
    again = type(state).from_bodies(described, *state.to_bodies())
    assert len(type(state).concat([state, again])) == 0
    assert len(type(state).concat([state, state_of(function, integer)])) == 4
    nothing = 0 if function in ("count", "sketch") else None
    assert again.reduce(np.empty(0, np.int64), 2).answers() == [nothing, nothing]


@each_kind
def test_reduce_merges_and_take_picks(function, integer):
    state = state_of(function, integer)
    twice = type(state).concat([state, state.take(np.array([3, 2, 1, 0]))])
    merged = twice.reduce(np.array([0, 1, 2, 3, 3, 2, 1, 0]), 4)
    doubled = type(state).concat([state, state]).reduce(np.array([0, 1, 2, 3, 0, 1, 2, 3]), 4)
    assert merged.to_bodies()[0] == doubled.to_bodies()[0]
    alone = merged.reduce(np.array([1, 0, 1, 1]), 2).take(np.array([0]))
    assert merged.take(np.array([1])).to_bodies()[0] == alone.to_bodies()[0]


def test_states_of_several_aggregates_do_not_concatenate():
    for first, second in (("min", "max"), ("sum", "avg"), ("sketch", "count")):
        with pytest.raises(StateError, match="cannot put"):
            type(state_of(first, True)).concat([state_of(first, True), state_of(second, True)])
    with pytest.raises(StateError, match="integer and float"):
        type(state_of("min", True)).concat([state_of("min", True), state_of("min", False)])
    with pytest.raises(StateError, match="at least one"):
        CountState.concat([])


def test_an_unknown_aggregate_names_the_nearest():
    with pytest.raises(StateError, match="did you mean 'sketch'"):
        state_class("sketsh")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_damaged_bodies_raise_state_errors_or_decode_to_what_they_say(kind, place, flip, cut):
    function, integer = kind
    buffer, lengths = state_of(function, integer).to_bodies()
    damaged = bytearray(buffer)
    damaged[place % len(damaged)] ^= flip
    if cut:
        damaged = damaged[: place % len(damaged)]
    try:
        state = state_class(function).from_bodies(metric(function, integer), bytes(damaged), lengths)
    except StateError:
        return
    assert state.to_bodies()[0] == bytes(damaged)


@each_kind
def test_bodies_of_another_metric_are_refused(function, integer):
    buffer, lengths = state_of(function, integer).to_bodies()
    for other, also in KINDS:
        if (other, also) != (function, integer):
            with pytest.raises(StateError):
                state_class(other).from_bodies(metric(other, also), buffer, lengths)


@pytest.mark.parametrize("function", ["sum", "avg", "sketch"])
@pytest.mark.parametrize("far", [math.inf, -math.inf])
def test_an_infinite_sum_stays_infinite_when_parts_merge(function, far):
    one, two = Grouping(np.zeros(1, np.int64), np.zeros(1, np.int64)), np.zeros(2, np.int64)
    parts = [state_class(function).from_values(metric(function, False), pl.Series([x]), one) for x in (far, 0.5)]
    merged = type(parts[0]).concat(parts).reduce(two, 1)
    sums = merged.column.sums if isinstance(merged, SketchState) else merged.sums
    assert sums.values().tolist() == [far]
