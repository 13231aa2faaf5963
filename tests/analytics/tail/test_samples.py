"""Columns as services send them, and what of them can be used."""

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.samples import REASONS, take_samples

HOUR_NS = 1_790_000_000_000_000_000


def columns(**changed: list[float]) -> dict[str, np.ndarray]:
    """Three requests, the last of which came first."""
    told = {
        "arrival_ns": np.array([HOUR_NS + 2_000_000, HOUR_NS + 3_000_000, HOUR_NS], np.int64),
        "service_us": np.array([2000.0, 3000.0, 1000.0]),
    }
    return told | {name: np.array(values) for name, values in changed.items()}


def test_requests_are_sorted_by_arrival_and_what_is_not_told_says_so() -> None:
    samples = take_samples(columns())
    assert samples.arrivals_ms.tolist() == [0, 2, 3]
    assert samples.services_ms.tolist() == [1, 2, 3]
    assert samples.origin_ns == HOUR_NS
    assert samples.waits_ms.tolist() == [0, 0, 0]
    assert np.isnan(samples.predictions_ms).all()
    assert samples.degrees.tolist() == samples.last_degrees.tolist() == [1, 1, 1]
    assert samples.active.tolist() == samples.in_system.tolist() == [-1, -1, -1]
    assert samples.weights.tolist() == [1, 1, 1]
    assert samples.instances.tolist() == [0, 0, 0]
    assert samples.left_out == {}


def test_a_weight_of_nan_or_below_one_counts_for_one() -> None:
    samples = take_samples(columns(weight=[np.nan, 0.0, 10.0], instance=[2, 1, 0]))
    assert samples.weights.tolist() == [10, 1, 1]
    assert samples.instances.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("name", "bad", "reason"),
    [
        ("service_us", 0.0, "no_service_time"),
        ("service_us", np.nan, "no_service_time"),
        ("service_us", -5.0, "no_service_time"),
        ("service_us", np.inf, "bad_time"),
        ("wait_us", -1.0, "bad_time"),
        ("cpu_us", np.inf, "bad_time"),
        ("arrival_ns", 0, "no_arrival"),
        ("degree", 0, "bad_degree"),
        ("degree_final", 5000, "bad_degree"),
    ],
)
def test_what_cannot_be_is_left_out_and_counted_by_reason(name: str, bad: float, reason: str) -> None:
    given = columns(wait_us=[1.0, 1.0, 1.0], cpu_us=[1.0, 1.0, 1.0], degree=[1, 1, 1], degree_final=[1, 1, 1])
    given[name] = given[name].copy()
    given[name][1] = bad
    samples = take_samples(given)
    assert len(samples) == 2
    assert samples.left_out == {reason: 1}
    assert reason in REASONS


def test_some_of_them_can_be_chosen_by_mask_or_number() -> None:
    samples = take_samples(columns())
    assert samples.where(samples.services_ms > 1).services_ms.tolist() == [2, 3]
    assert samples.where(np.array([2, 0])).services_ms.tolist() == [3, 1]
    assert samples.where(samples.services_ms > 1).origin_ns == HOUR_NS


def test_columns_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(DataError, match="service_us is wanted"):
        take_samples({"arrival_ns": np.array([1])})
    with pytest.raises(DataError, match=r"column wait_us has shape \(1,\); want one value for each of 3"):
        take_samples(columns(wait_us=[1.0]))


def test_no_requests_are_no_requests() -> None:
    samples = take_samples({"arrival_ns": np.empty(0, np.int64), "service_us": np.empty(0)})
    assert len(samples) == 0
    assert samples.latencies_ms.size == 0
