"""Learned speed-ups as documents: to JSON and back without a changed bit, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import DataError
from analytics.tail.learning import LearnedProfile
from analytics.tail.profile_documents import profile_document, profile_from
from analytics.tail.slowdown_learning import NO_SLOWDOWN, Slowdown
from analytics.tail.speedup import SpeedupProfile


@st.composite
def profiles(draw: st.DrawFn) -> LearnedProfile:
    classes, degrees = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    table = np.cumsum(np.concatenate([np.ones((classes, 1)), rng.random((classes, degrees - 1))], axis=1), axis=1)
    edges = tuple(np.cumsum(rng.random(classes - 1) + 1e-3).tolist())
    return LearnedProfile(
        SpeedupProfile(edges, table), rng.integers(0, 10**12, table.shape), table - 0.1, table * 1.1,
        rng.random(table.shape) < 0.5, draw(st.integers(0, 10**12)), draw(st.integers(0, 10**9)), "at_start",
        Slowdown(*sorted(rng.random(3).tolist())),
    )  # fmt: skip


@given(profiles())
def test_a_profile_comes_back_as_it_was(learned: LearnedProfile) -> None:
    back = profile_from(json.loads(json.dumps(profile_document(learned))))
    assert back.profile.edges_ms == learned.profile.edges_ms
    for name in ("counts", "low", "high", "extrapolated"):
        assert np.array_equal(getattr(back, name), getattr(learned, name))
        assert getattr(back, name).dtype == getattr(learned, name).dtype
    assert np.array_equal(back.profile.table, learned.profile.table)
    assert (back.requests, back.explored, back.basis) == (learned.requests, learned.explored, learned.basis)
    assert back.slowdown == learned.slowdown


def document(**changed: Any) -> dict[str, Any]:
    rows = [[1.0, 1.5], [1.0, 2.0]]
    told = {
        "edges_ms": [30.0], "speedups": rows, "counts": [[5, 5], [5, 5]], "low": rows, "high": rows,
        "extrapolated": [[False, True], [True, False]], "requests": 20, "explored": 2, "basis": "cpu",
    }  # fmt: skip
    return told | changed


def test_integers_are_read_where_numbers_are_wanted() -> None:
    assert profile_from(document(edges_ms=[30])).profile.edges_ms == (30.0,)


def test_a_document_that_says_nothing_of_a_slowdown_has_none() -> None:
    assert profile_from(document()).slowdown == NO_SLOWDOWN
    assert profile_from(document(slowdown={"value": 0.2, "low": 0.1, "high": 0.3})).slowdown == Slowdown(0.2, 0.1, 0.3)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"counts": [[5, 5]]}, "counts of a speed-up profile: want 2 rows of 2"),
        ({"low": [[1.0], [1.0]]}, "low of a speed-up profile: want 2 rows of 2"),
        ({"speedups": []}, "speedups of a speed-up profile: want 2 rows"),
        ({"speedups": [[1.0, 0.5], [1.0, 2.0]]}, "falls"),
        ({"edges_ms": ["a"]}, r"\$.edges_ms\[0\]"),
        ({"basis": "guess"}, r"\$.basis"),
        ({"requests": None}, r"\$.requests"),
        ({"classes": 3}, "classes"),
        ({"slowdown": {"value": "much"}}, r"\$.slowdown.value"),
        ({"slowdown": {"value": -0.1}}, "a slowdown of -0.1"),
    ],
)
def test_what_no_profile_looks_like_is_refused_by_field(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        profile_from(document(**changed))


def test_a_missing_field_is_named() -> None:
    told = document()
    del told["high"]
    with pytest.raises(DataError, match="`high`"):
        profile_from(told)
