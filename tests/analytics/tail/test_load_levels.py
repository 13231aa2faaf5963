"""Requests by the load of their window."""

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.load_levels import LEVEL_EDGES, load_levels
from analytics.tail.policies import Predictive
from analytics.tail.samples import Samples, take_samples
from tests.analytics.tail.recordings import ORIGIN_NS, record


def at(seconds: list[float], **columns: list[float]) -> Samples:
    told = {
        "arrival_ns": ORIGIN_NS + (np.array(seconds) * 1e9).astype(np.int64),
        "service_us": np.full(len(seconds), 1e3),
    }
    return take_samples(told | {name: np.array(values) for name, values in columns.items()})


def test_the_level_is_the_work_that_came_in_ten_seconds_beside_the_hardware() -> None:
    samples = at([0, 1, 11, 12, 25, 30])
    # On two threads: 0.2 in the first window, 0.5 in the second, 0.4 in the third.
    levels = load_levels(samples, 2, np.array([2e3, 2e3, 5e3, 5e3, 4e3, 4e3]))
    assert levels.level.tolist() == [1, 1, 3, 3, 2, 2]
    assert levels.requests.tolist() == [0, 2, 2, 2, 0, 0, 0]
    assert levels.share_of_time == pytest.approx(np.array([0, 1, 1, 1, 0, 0, 0]) / 3)
    assert levels.sequential_load == pytest.approx([0, 0.2, 0.4, 0.5, 0, 0, 0])
    assert levels.edges == LEVEL_EDGES


def test_a_rest_of_less_than_half_a_window_joins_the_one_before() -> None:
    levels = load_levels(at([0, 9, 14]), 1, np.array([2e3, 2e3, 3e3]))
    assert levels.level.tolist() == [3, 3, 3]
    assert levels.sequential_load[3] == pytest.approx(0.5)


def test_weights_count_and_instances_have_hardware_of_their_own() -> None:
    samples = at([0, 0, 20, 20], weight=[10, 1, 1, 1], instance=[0, 1, 0, 1])
    levels = load_levels(samples, 1, np.full(4, 500.0))
    assert levels.level.tolist() == [3, 0, 0, 0]
    assert levels.requests.tolist() == [3, 0, 0, 10, 0, 0, 0]
    assert levels.share_of_time.sum() == pytest.approx(1)


def test_a_recording_at_one_load_is_of_that_load() -> None:
    recording = record(60_000, 0.5, Predictive(3))
    levels = load_levels(recording.samples, 12, recording.run.requests.works_ms)
    mean = (levels.sequential_load * levels.share_of_time).sum()
    assert mean == pytest.approx(0.5, rel=0.03)
    assert levels.share_of_time[3] > 0.8
    assert levels.requests.sum() == 60_000


def test_one_request_and_none_have_levels() -> None:
    assert load_levels(at([5]), 2, np.array([1.0])).level.tolist() == [3]
    nothing = load_levels(at([5]).where(slice(0, 0)), 2, np.empty(0))
    assert nothing.requests.sum() == 0
    assert nothing.share_of_time.tolist() == [0] * (len(LEVEL_EDGES) + 1)


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(DataError, match="0 threads and windows of 10000 ms"):
        load_levels(at([0]), 0, np.ones(1))
    with pytest.raises(DataError, match="windows of nan ms"):
        load_levels(at([0]), 1, np.ones(1), float("nan"))
    with pytest.raises(DataError, match=r"works of shape \(2,\) for 1 requests"):
        load_levels(at([0]), 1, np.ones(2))
