"""What goes with a service's own times: classes, targets, pauses."""

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.policies import Predictive, RampUp
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.table_search import GRID_MS
from analytics.tail.time_scale import WEB_SCALE, scale_of
from analytics.tail.workloads import bing_like

TIMES = bing_like(50_000, np.random.default_rng(3))


def test_of_web_search_itself_nearly_nothing_changes() -> None:
    found = scale_of(TIMES)
    assert found.profile.edges_ms == pytest.approx((14.8, 62.0), rel=0.05)
    assert found.grid_ms == pytest.approx(GRID_MS, rel=0.06)
    assert found.ramps_ms == pytest.approx(WEB_SCALE.ramps_ms, rel=0.06)
    assert WEB_SCALE.baselines[3] == Predictive(3)
    assert WEB_SCALE.profile is WEB_SEARCH


@pytest.mark.parametrize("factor", [1e-3, 0.1, 40.0])
def test_all_of_it_goes_with_the_times(factor: float) -> None:
    found, usual = scale_of(TIMES * factor), scale_of(TIMES)
    assert found.profile.edges_ms == pytest.approx([edge * factor for edge in usual.profile.edges_ms], rel=0.06)
    assert found.grid_ms == pytest.approx([target * factor for target in usual.grid_ms], rel=0.06)
    assert found.correct_every_ms == pytest.approx(usual.correct_every_ms * factor, rel=0.06)
    assert found.baselines[3] == Predictive(3, found.profile.edges_ms[1])
    assert [one.interval_ms for one in found.baselines if isinstance(one, RampUp)] == list(found.ramps_ms)


def test_times_that_are_nearly_all_the_same_still_make_classes() -> None:
    low, high = scale_of(np.full(10, 5.0)).profile.edges_ms
    assert 0 < low < high


@pytest.mark.parametrize("times", [[], [1.0, 0.0], [np.nan], [np.inf]])
def test_times_that_are_none_are_refused(times: list[float]) -> None:
    with pytest.raises(DataError, match="service times to go by"):
        scale_of(np.array(times))


def test_edges_are_two() -> None:
    with pytest.raises(DataError, match="want two"):
        scale_of(TIMES, (30.0,))
