"""Recorded requests, cut to stretches and filled up to their weights."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import TooFewDataError
from analytics.tail.policies import RampUp, Sequential
from analytics.tail.replay import replay_of, shares_of_cells, told_predictions
from analytics.tail.speedup import WEB_SEARCH
from tests.analytics.tail.recordings import SERVER, record

RECORDING = record(60_000, 0.3, Sequential())
SAMPLES, RUN = RECORDING.samples, RECORDING.run


def test_a_replay_of_what_was_recorded_is_what_was_recorded() -> None:
    replay = replay_of(SAMPLES)
    forced = np.where(SAMPLES.explored, SAMPLES.degrees, 0).astype(np.int32)
    played = replay.play(RUN.requests.works_ms, SAMPLES.predictions_ms, SERVER, WEB_SEARCH, Sequential(), forced=forced)
    np.testing.assert_array_equal(played.source, np.arange(3_000, 60_000))
    # Times are recorded in nanoseconds.
    np.testing.assert_allclose(played.latencies_ms, RUN.latencies_ms[3_000:], atol=1e-3)


def test_a_long_recording_is_cut_to_stretches_spread_over_it() -> None:
    replay = replay_of(SAMPLES, most=40_000)
    assert len(replay) == pytest.approx(40_000, abs=2)
    assert len(replay.stretches) == 2
    for arrivals, source in zip(replay.stretches, replay.sources, strict=True):
        np.testing.assert_array_equal(np.diff(source), 1)
        np.testing.assert_array_equal(arrivals, SAMPLES.arrivals_ms[source])
    assert replay.sources[0][0] < 10_000
    assert replay.sources[-1][-1] > 50_000


def test_requests_that_were_kept_stand_for_those_that_were_not() -> None:
    some = SAMPLES.where(slice(None, None, 4))
    replay = replay_of(replace(some, weights=np.full(len(some), 4.0)))
    assert len(replay) == len(SAMPLES)
    arrivals, source = replay.stretches[0], replay.sources[0]
    assert np.all(np.diff(arrivals) >= 0)
    np.testing.assert_array_equal(np.bincount(source), 4)
    np.testing.assert_array_equal(np.isin(some.arrivals_ms, arrivals), True)
    assert np.diff(arrivals).std() == pytest.approx(np.diff(SAMPLES.arrivals_ms).std(), rel=0.1)
    again = replay_of(replace(some, weights=np.full(len(some), 4.0)))
    np.testing.assert_array_equal(again.stretches[0], arrivals)


def test_no_requests_cannot_be_replayed() -> None:
    with pytest.raises(TooFewDataError, match="no requests were recorded"):
        replay_of(SAMPLES.where(slice(0, 0)))


def test_a_request_without_a_prediction_counts_as_the_shortest() -> None:
    samples = SAMPLES.where(slice(0, 3))
    samples = replace(samples, predictions_ms=np.array([5.0, np.nan, 7.0]))
    assert told_predictions(samples).tolist() == [5, 5, 7]


def test_time_of_runs_is_shared_out_over_the_degrees_that_they_were_on() -> None:
    replay = replay_of(SAMPLES)
    works, predictions = RUN.requests.works_ms, SAMPLES.predictions_ms
    alone = shares_of_cells(replay.play(works, predictions, SERVER, WEB_SEARCH, Sequential()), WEB_SEARCH)
    assert alone.sum() == pytest.approx(1)
    assert alone[:, 0].sum() == pytest.approx(1)
    by_class = np.bincount(WEB_SEARCH.classes(works[3_000:]), weights=works[3_000:])
    np.testing.assert_allclose(alone[:, 0], by_class / by_class.sum(), rtol=0.02)
    ramp = replay.play(works, predictions, SERVER, WEB_SEARCH, RampUp(10))
    shares = shares_of_cells(ramp, WEB_SEARCH)
    assert shares.sum() == pytest.approx(1)
    assert np.all(shares[2, :4] > 0.01)
    assert shares[2, 0] == pytest.approx(shares[2, 1], rel=0.35)
    slow = shares_of_cells(ramp, WEB_SEARCH, ramp.latencies_ms > np.quantile(ramp.latencies_ms, 0.98))
    assert slow[2].sum() > 0.8 > shares[2].sum()
