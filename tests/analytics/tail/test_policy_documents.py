"""Policies as documents and words: each comes back as it was, and what is wrong is named."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.errors import DataError
from analytics.tail.policies import (
    METRICS,
    Adaptive,
    Fixed,
    Policy,
    Predictive,
    RampUp,
    Sequential,
    TargetTable,
    Tpc,
    WqLinear,
)
from analytics.tail.policy_documents import MOST_TARGETS, degree_table, policy_document, policy_from, policy_of_text
from analytics.tail.speedup import WEB_SEARCH

_POSITIVE = st.floats(1e-3, 1e9, exclude_max=True)
_DEGREES = st.integers(1, 4096)
_TABLES = st.builds(
    TargetTable, st.sampled_from(list(METRICS)), _POSITIVE, st.lists(_POSITIVE, min_size=1, max_size=9).map(tuple),
    st.booleans(),
)  # fmt: skip
_POLICIES = st.one_of(
    st.just(Sequential()), st.just(Adaptive()), st.builds(Fixed, _DEGREES), st.builds(Predictive, _DEGREES, _POSITIVE),
    st.builds(WqLinear, _POSITIVE), st.builds(RampUp, _POSITIVE),
    st.builds(Tpc, _TABLES, st.booleans(), st.booleans(), _POSITIVE),
)  # fmt: skip


@given(_POLICIES)
@settings(max_examples=100)
def test_a_policy_comes_back_from_json_as_it_was(policy: Policy) -> None:
    assert policy_from(json.loads(json.dumps(policy_document(policy)))) == policy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("sequential", Sequential()),
        (" fixed:3 ", Fixed(3)),
        ("adaptive", Adaptive()),
        ("predictive:3", Predictive(3)),
        ("predictive:6:120.5", Predictive(6, 120.5)),
        ("wq-linear", WqLinear()),
        ("wq_linear:20", WqLinear(20)),
        ("ramp-up:10", RampUp(10)),
        (
            '{"kind": "tpc", "correction": false, "table": {"metric": "in_system", "width": 3, "targets_ms": [2, 40]}}',
            Tpc(TargetTable("in_system", 3, (2, 40)), correction=False),
        ),
    ],
)
def test_words_name_a_policy(text: str, policy: Policy) -> None:
    assert policy_of_text(text) == policy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "policy ''; want sequential, fixed:DEGREE"),
        ("fast", "policy 'fast'; want"),
        ("fixed", "policy has no degree"),
        ("fixed:2.5", "policy.degree is 2.5; want a whole number from 1 to 4096"),
        ("fixed:0", "policy.degree is 0"),
        ("fixed:3:4", "policy 'fixed:3:4'; want"),
        ("fixed:three", "degree is 'three'; want a number"),
        ("ramp-up:nan", "policy.interval_ms is nan; want a finite number"),
        ("ramp-up:-3", "with -3.0; want 0.001 or more"),
        ("tpc", "want sequential"),
        ('{"kind": "tpc"', "no JSON"),
        ("[1" * 5, "want sequential"),
        ('{"kind": "tpc"}', "policy has no table"),
        ('{"kind": ["fixed"]}', "policy.kind is ['fixed']; want one of sequential, fixed"),
        ('{"kind": "fixed", "degree": true}', "policy.degree is True"),
        ('{"kind": "fixed", "degree": 3, "shade": 1}', "unknown field 'shade'; leave it out"),
        ('{"kind": "tpc", "table": 3}', "policy.table is 3; want an object"),
        ('{"kind": "tpc", "table": {"metric": "cpu"}}', "policy.table.metric is 'cpu'; want one of long_threads"),
        (
            '{"kind": "tpc", "table": {"metric": "in_system", "width": 3, "targets_ms": [1, "2"]}}',
            "policy.table.targets_ms is [1, '2']; want a list of finite numbers",
        ),
        ('{"kind": "tpc", "table": {"metric": "in_system", "width": 3, "targets_ms": []}}', "is '0 numbers'; want"),
        ('{"kind": "tpc", "table": {"metric": "in_system", "width": 0, "targets_ms": [1]}}', "buckets of 0"),
        (
            '{"kind": "tpc", "table": {"metric": "in_system", "width": 3, "targets_ms": [1], "full": 1}}',
            "policy.table.full is 1; want true or false",
        ),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused_with_the_field(text: str, says: str) -> None:
    with pytest.raises(DataError) as refused:
        policy_of_text(text)
    assert says in str(refused.value)


def test_a_table_of_too_many_targets_is_refused_without_showing_them() -> None:
    table = {"metric": "in_system", "width": 3, "targets_ms": [1.0] * (MOST_TARGETS + 1)}
    with pytest.raises(DataError, match="1001 numbers") as refused:
        policy_from({"kind": "tpc", "table": table})
    assert len(str(refused.value)) < 200


def test_a_server_gets_all_that_it_needs_to_choose_degrees() -> None:
    policy = Tpc(TargetTable("long_threads", 3, (15, 40), full=True), correct_every_ms=7)
    table = degree_table(policy, WEB_SEARCH, 2)
    assert json.loads(json.dumps(table)) == {
        "metric": "long_threads",
        "width": 3,
        "targets_ms": [15, 40],
        "correction": {"full": True, "every_ms": 7},
        "prediction": True,
        "max_degree": 2,
        "class_edges_ms": [30, 80],
        "speedups": [[1, 1.06], [1, 1.45], [1, 1.85]],
    }
    assert degree_table(Tpc(policy.table, correction=False), WEB_SEARCH, 6)["correction"] is None
    np.testing.assert_array_equal(degree_table(policy, WEB_SEARCH, 6)["speedups"], WEB_SEARCH.table)
    with pytest.raises(DataError, match="degrees up to 7; the profile of speed-ups knows 1 to 6"):
        degree_table(policy, WEB_SEARCH, 7)
