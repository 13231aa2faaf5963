"""Grouping by codes is grouping by values: two rows share a code exactly when their keys are equal."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.grouping import group, label_text, window_starts

TEXT = st.one_of(st.none(), st.sampled_from(["", "a", "b", "\x00", "é", "tor-1"]))
INTEGERS = st.one_of(st.none(), st.sampled_from([0, 1, -1, 70_000, 2**62, -(2**62), 2**63 - 1, -(2**63)]))
FLOATS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 1.5]))


@st.composite
def keys(draw):
    n = draw(st.integers(0, 40))
    window_ns = draw(st.sampled_from([1, 10**9, 86_400 * 10**9]))
    times = np.array(draw(st.lists(st.integers(-(2**62), 2**62), min_size=n, max_size=n)), np.int64)
    kinds = draw(st.lists(st.sampled_from([(TEXT, pl.String), (INTEGERS, pl.Int64), (FLOATS, pl.Float64)]), max_size=4))
    labels = [pl.Series(draw(st.lists(values, min_size=n, max_size=n)), dtype=dtype) for values, dtype in kinds]
    if n and draw(st.booleans()):
        labels.append(label_text(labels[0] if labels else pl.Series([""] * n)).cast(pl.Categorical))
    return times, window_ns, labels


@settings(max_examples=200, deadline=None)
@given(keys())
def test_rows_share_a_code_exactly_when_their_keys_are_equal(key):
    times, window_ns, labels = key
    starts = window_starts(times, window_ns)
    assert starts.tolist() == [t // window_ns * window_ns for t in times.tolist()]
    assert_groups(times, window_ns, labels, group(starts, window_ns, labels))


@settings(max_examples=100, deadline=None)
@given(keys())
def test_keys_that_share_a_hash_stay_apart(key):
    times, window_ns, labels = key
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.grouping._mixed", lambda keys: keys[-1].hashes() & np.uint64(1 << 63))
        groups = group(window_starts(times, window_ns), window_ns, labels)
    assert_groups(times, window_ns, labels, groups)


def assert_groups(times, window_ns, labels, groups):
    starts = window_starts(times, window_ns)
    texts = [label_text(label).to_list() for label in labels]
    values = list(zip(starts.tolist(), *texts, strict=True))
    assert len(set(values)) == groups.n_groups
    assert len(set(zip(values, groups.codes.tolist(), strict=True))) == groups.n_groups
    assert sorted(set(groups.codes.tolist())) == list(range(groups.n_groups))
    assert [values[first] for first in groups.firsts] == [
        values[groups.codes.tolist().index(c)] for c in range(groups.n_groups)
    ]


def test_many_wide_keys_do_not_overflow_the_packed_code():
    n = 3_000
    labels = [pl.Series(np.random.default_rng(i).integers(-(2**63), 2**63 - 1, n)) for i in range(6)]
    labels += [pl.Series([f"{i}-{k % 2_999}" for k in range(n)]) for i in range(4)]
    groups = group(np.arange(n, dtype=np.int64) * 10**15, 10**15, labels)
    assert groups.n_groups == n


def test_rows_are_numbered_alike_by_a_table_and_by_a_sort():
    random = np.random.default_rng(3)
    starts = np.zeros(2_000, np.int64)
    narrow, wide = random.integers(0, 300, 2_000), random.integers(0, 300, 2_000) * 10**9
    for values in (narrow, wide):
        groups = group(starts, 1, [pl.Series(values), pl.Series(values % 7 == 0)])
        assert groups.n_groups == len(set(values.tolist()))
        assert np.array_equal(values[groups.firsts][groups.codes], values)
