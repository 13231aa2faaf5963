"""The search on a synthetic recording: what it finds is forecast, and what the record does not bear is refused."""

import numpy as np
import pytest

from analytics.tail.learning import LearnedProfile, learn_profile
from analytics.tail.load_levels import load_levels
from analytics.tail.policies import Predictive, Server, TargetTable
from analytics.tail.recorded_search import campaign_of, search_recorded
from analytics.tail.samples import Samples
from tests.analytics.tail.recordings import SERVER, record

CURRENT = Predictive(3)


def learned(samples: Samples) -> LearnedProfile:
    return learn_profile(samples, SERVER.threads, max_degree=SERVER.max_degree, edges_ms=(30.0, 80.0))


@pytest.fixture(scope="module")
def explored() -> Samples:
    recording = record(60_000, 0.37, CURRENT, explore=0.3)
    return recording.samples


def test_a_found_table_comes_with_its_forecast(explored: Samples) -> None:
    shares: list[float] = []
    answer = search_recorded(
        explored, SERVER, learned(explored), current=CURRENT, buckets=2, progress=lambda share, _: shares.append(share)
    )
    assert answer.found is not None
    assert isinstance(answer.found.table, TargetTable)
    assert answer.max_degree == 6
    assert len(answer.found.table.targets_ms) == 2
    assert answer.forecast.answered, answer.forecast.refusals
    assert answer.forecast.gain_p99_pct is not None
    assert answer.forecast.gain_p99_pct.value > 10
    assert shares == sorted(shares)
    assert shares[-1] <= 1
    assert sum(weight for _, weight in answer.levels) == pytest.approx(len(answer.levels))


def test_a_record_that_bears_no_forecast_bears_no_search(explored: Samples) -> None:
    few = explored.where(slice(0, 5_000))
    answer = search_recorded(few, SERVER, learned(explored), current=CURRENT)
    assert answer.found is None
    assert not answer.forecast.answered
    assert any("take a longer time" in text for text in answer.forecast.refusals)
    alone = search_recorded(explored, Server(12, 24, 1), learned(explored), current=None)
    assert alone.found is None
    assert alone.forecast.refusals


def test_it_can_be_ended_on_its_way(explored: Samples) -> None:
    def stop(share: float, _text: str) -> None:
        if share > 0.1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        search_recorded(explored, SERVER, learned(explored), current=CURRENT, progress=stop)


def test_levels_are_joined_from_their_windows(explored: Samples) -> None:
    works = explored.services_ms
    levels = load_levels(explored, SERVER.threads, works)
    campaign = campaign_of(explored, works, levels, most=30_000)
    assert campaign
    for load, requests in campaign.items():
        assert 20_000 <= len(requests) <= 30_001
        level = int(np.flatnonzero(levels.sequential_load == load)[0])
        span_ms = float(requests.arrivals_ms[-1])
        offered = float(requests.works_ms.sum()) / (span_ms * SERVER.threads)
        assert offered == pytest.approx(levels.sequential_load[level], rel=0.1)
