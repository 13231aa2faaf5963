"""Explicit histograms as bodies: every value stays in its bucket, counts are kept, and so is what else is said."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantiles.errors import SampleError
from quantiles.explicit_bodies import explicit_bodies
from quantiles.histogram_bodies import FAULTS, Bodies, Said
from quantiles.merged_dense import merge_dense
from quantiles.sketch_column import SketchColumn

LATENCIES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
AROUND_ZERO = [-40.0, -3.0, 0.0, 2.0, 100.0]


def counted(values: list[float], bounds: list[float]) -> list[int]:
    """How many values each bucket holds, the last one without an end."""
    places = np.searchsorted(np.array(bounds), values, side="left")
    return np.bincount(places, minlength=len(bounds) + 1).tolist()


def body_of(bounds: list[float], counts: list[int], **said: float) -> Bodies:
    known = Said(*(np.array([said.get(name, math.nan)]) for name in ("total", "low", "high")))
    return explicit_bodies([*bounds, math.inf], counts, [0, len(counts)], known)


def sketch_of(bodies: Bodies) -> SketchColumn:
    assert [FAULTS[fault] for fault in bodies.faults] == [""]
    found = merge_dense(bodies.data, bodies.lengths, [0], 1, 6)
    SketchColumn.from_parts(found)
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([LATENCIES, AROUND_ZERO, [1.0], []]),
    st.lists(st.floats(-60, 60) | st.sampled_from([0.0, -3.0, 0.005, 1e-9, 2e4]), min_size=1, max_size=60),
    st.booleans(),
)
def test_every_bucket_keeps_its_count_and_what_is_said_is_kept(
    bounds: list[float], values: list[float], says: bool
) -> None:
    # Without a maximum nothing is known of values above all bounds.
    bounded = [x + 0.0 for x in values if says or x <= max(bounds, default=-math.inf)]
    assume(bounded)
    counts = counted(bounded, bounds)
    total = math.fsum(bounded)
    said = {"total": total, "low": min(bounded), "high": max(bounded)} if says else {}
    found = sketch_of(body_of(bounds, counts, **said))
    assert found.totals()[0] == len(bounded)
    if says:
        assert (found.minima[0], found.maxima[0]) == (said["low"], said["high"])
        assert math.isclose(found.sums.values()[0], total, abs_tol=1e-9)
    # Within a piece's width of a bound, 4.5 %, values may be on either side of it.
    for bound, below in zip(bounds, np.cumsum(counts), strict=False):
        room = abs(bound) * 0.09
        ranks = found.ranks([bound - room, bound + room])[0]
        if not says and bound == bounds[0] and bound <= 0:
            continue  # all of it stands at the bound
        assert ranks[0] <= below <= ranks[1] or bound == 0


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([LATENCIES, AROUND_ZERO, [1.0], [-1.7e308, -5e-324, 1.7e308]]),
    st.lists(st.floats(-60, 60) | st.sampled_from([0.0, 5e-324, -1e-300, 1e300, -1e300]), min_size=1, max_size=20),
    st.sampled_from(["low", "high"]),
    st.booleans(),
)
def test_a_minimum_without_a_maximum_is_kept_and_the_other_way_round(
    bounds: list[float], values: list[float], known: str, has_total: bool
) -> None:
    exact = [x + 0.0 for x in values]
    said = {"low": min(exact)} if known == "low" else {"high": max(exact)}
    if has_total:
        said["total"] = sum(exact)
    found = sketch_of(body_of(bounds, counted(exact, bounds), **said))
    assert found.totals()[0] == len(exact)
    assert (found.minima if known == "low" else found.maxima)[0] == said[known]
    assert found.minima[0] <= found.maxima[0]


def test_values_are_spread_evenly_as_prometheus_interpolates() -> None:
    found = sketch_of(body_of([100.0, 200.0], [0, 1000, 0]))
    levels = np.array([0.1, 0.25, 0.5, 0.9, 0.99])
    assert np.allclose(found.quantiles(levels)[0], 100 + 100 * levels, rtol=0.03)
    from_zero = sketch_of(body_of([100.0, 200.0], [1000, 0, 0]))
    assert np.allclose(from_zero.quantiles(levels)[0], 100 * levels, rtol=0.03)


def test_what_lies_above_all_bounds_stands_at_the_last_or_reaches_to_the_maximum() -> None:
    assert sketch_of(body_of([1.0, 2.0], [0, 0, 5])).quantiles([0.5, 1.0])[0] == pytest.approx([2.0, 2.0], rel=0.03)
    known = sketch_of(body_of([1.0, 2.0], [0, 0, 5], high=64.0))
    assert known.maxima[0] == 64.0
    assert known.minima[0] >= 2.0


def test_a_lone_value_is_its_minimum_and_maximum() -> None:
    found = sketch_of(body_of([1.0, 2.0], [0, 1, 0], high=1.25))
    assert (found.minima[0], found.maxima[0], found.totals()[0]) == (1.25, 1.25, 1)


def test_without_bounds_the_mean_stands_for_all() -> None:
    found = sketch_of(body_of([], [4], total=10.0))
    assert found.quantiles([0.5])[0] == pytest.approx([2.5], rel=0.03)


def test_what_cannot_be_is_refused_with_its_reason_and_the_others_are_not() -> None:
    good = ([1.0, 2.0], [3, 4, 5])
    bad = [
        ("bounds_not_ascending", [2.0, 1.0], [1, 1, 1], {}),
        ("bounds_not_ascending", [1.0, math.nan], [1, 1, 1], {}),
        ("negative_count", [1.0], [1, -1], {}),
        ("too_many_values", [1.0], [2**40, 1], {}),
        ("impossible_extremes", [1.0, 2.0], [0, 3, 0], {"low": 5.0}),
        ("impossible_extremes", [1.0, 2.0], [0, 3, 0], {"low": 1.9, "high": 1.1}),
        ("no_bounds", [], [4], {}),
        ("sum_without_values", [1.0], [0, 0], {"total": 4.0}),
    ]
    for reason, bounds, counts, said in bad:
        known = [[said.get(name, math.nan), math.nan] for name in ("total", "low", "high")]
        bodies = explicit_bodies(
            [*bounds, math.inf, *good[0], math.inf],
            counts + good[1],
            [0, len(counts), len(counts) + 3],
            Said(*map(np.array, known)),
        )
        assert [FAULTS[fault] for fault in bodies.faults] == [reason, ""]
        assert bodies.data == body_of(*good).data
        assert bodies.lengths[0] == 0
    with pytest.raises(SampleError, match="do not fit 1 histograms"):
        explicit_bodies([1.0, math.inf], [1], [0, 2], Said.nothing(1))
    assert FAULTS[explicit_bodies([1.0, 2.0], [1, 1], [0, 2], Said.nothing(1)).faults[0]] == "bounds_not_ascending"
