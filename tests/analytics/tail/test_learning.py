"""Speed-ups and works learned from synthetic recordings, beside what they were made with."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import DataError, TooFewDataError
from analytics.tail.effective import EffectiveTimes, effective_ms
from analytics.tail.learning import LearnedProfile, class_edges, learn_profile, works_ms
from analytics.tail.policies import Predictive, RampUp, Sequential, TargetTable, Tpc
from analytics.tail.samples import Samples
from analytics.tail.speedup import WEB_SEARCH, Float64Array
from analytics.tail.speedup_cells import shrunk
from tests.analytics.tail.recordings import SERVER, Recording, record

THREADS, EDGES = 12, (30.0, 80.0)
TPC = Tpc(TargetTable("threads_and_queue", 4, (15, 40, 50, 60, 80, 80, 80)))


def learned(samples: Samples, effective: EffectiveTimes | None = None) -> LearnedProfile:
    return learn_profile(samples, THREADS, max_degree=6, edges_ms=EDGES, effective=effective, workers=SERVER.workers)


def errors(profile: LearnedProfile) -> Float64Array:
    """By class, the largest error of a speed-up beside the truth."""
    return np.asarray(np.abs(profile.profile.table / WEB_SEARCH.table - 1).max(axis=1))


@pytest.fixture(scope="module")
def busy() -> Recording:
    return record(120_000, 0.6, Predictive(3), explore=0.03, seed=2)


def test_speedups_are_found_where_hardware_is_shared(busy: Recording) -> None:
    found = learned(busy.samples)
    assert np.all(errors(found) < 0.1)
    assert np.array_equal(found.extrapolated, found.counts < 30)
    assert found.basis == "reconstructed"
    assert found.requests == 120_000
    assert found.explored == int(busy.samples.explored.sum())
    assert np.all(found.low <= found.profile.table)
    assert np.all(found.profile.table <= found.high)
    told = (found.low <= WEB_SEARCH.table) & (WEB_SEARCH.table <= found.high)
    assert told[:, 1:].mean() > 0.7
    assert np.all(np.median(found.high / found.low, axis=1) < [1.2, 1.4, 1.6]), "intervals say something"


def test_with_sharing_left_in_speedups_are_clearly_wrong(busy: Recording) -> None:
    tpc = record(120_000, 0.6, TPC, explore=0.03, seed=2)
    naive = EffectiveTimes(tpc.samples.services_ms, np.ones(len(tpc.samples)), "reconstructed")
    wrong, right = learned(tpc.samples, naive), learned(tpc.samples)
    assert errors(right).max() < 0.1
    assert errors(wrong).max() > 2 * errors(right).max()
    left_in = works_ms(tpc.samples, naive, wrong.profile)
    taken_out = works_ms(tpc.samples, effective_ms(tpc.samples, THREADS), right.profile)
    truth = tpc.run.requests.works_ms
    assert np.mean(np.abs(left_in / truth - 1)) > 0.15
    assert np.mean(np.abs(taken_out / truth - 1)) < 0.05


def test_requests_raised_on_their_way_do_not_make_one_thread_look_quick() -> None:
    # Nearly every long request on one thread was corrected: without those, there are none left to compare with.
    recording = record(200_000, 0.8, TPC, explore=0.02, seed=3)
    found = learned(recording.samples)
    assert np.all(errors(found) < 0.12)
    long = recording.samples.where(recording.samples.predictions_ms > EDGES[1] * 1.3)
    on_one = long.degrees == 1
    assert np.mean(long.last_degrees[on_one] > 1) > 0.7


def test_where_all_do_their_work_on_the_same_further_threads_nothing_is_concluded() -> None:
    found = learned(record(60_000, 0.3, RampUp(5), explore=0.03).samples)
    assert found.profile.table[2].tolist() == [1] * 6
    assert found.extrapolated[2, 1:].all()
    assert found.low[2].tolist() == [1] * 6
    assert found.high[2].tolist() == [1, 2, 3, 4, 5, 6]


def test_works_are_those_that_were_simulated(busy: Recording) -> None:
    truth = busy.run.requests.works_ms
    works = works_ms(busy.samples, effective_ms(busy.samples, THREADS), WEB_SEARCH)
    assert np.mean(np.abs(works / truth - 1) < 3e-3) > 0.99
    assert works.mean() == pytest.approx(truth.mean(), rel=0.005)
    from_learned = works_ms(busy.samples, effective_ms(busy.samples, THREADS), learned(busy.samples).profile)
    assert np.quantile(from_learned, [0.5, 0.95, 0.99]) == pytest.approx(
        np.quantile(truth, [0.5, 0.95, 0.99]), rel=0.05
    )


def test_works_of_raised_requests_are_the_sum_of_their_parts() -> None:
    recording = record(60_000, 0.6, TPC)
    samples, truth = recording.samples, recording.run.requests.works_ms
    works = works_ms(samples, effective_ms(samples, THREADS), WEB_SEARCH)
    raised = samples.last_degrees > samples.degrees
    assert raised.mean() > 0.02
    assert np.median(np.abs(works / truth - 1)[raised]) < 0.05
    assert works.sum() == pytest.approx(truth.sum(), rel=0.01)


def test_without_predictions_works_go_by_effective_times(busy: Recording) -> None:
    unknown = replace(busy.samples, predictions_ms=np.full(len(busy.samples), np.nan))
    works = works_ms(unknown, effective_ms(unknown, THREADS), WEB_SEARCH)
    one = unknown.degrees == 1
    assert works[one] == pytest.approx(busy.run.requests.works_ms[one], rel=3e-3)


def test_where_few_requests_tell_speedups_lean_on_amdahls_law() -> None:
    # p = 0.8: 1.667, 2.143, 2.5; what is told on four threads is too much, and is told by 30 requests.
    told = np.log([[1.0, 1 / 0.6, 3 / 1.4, 4.0]])
    own = shrunk(told, np.array([[10_000, 10_000, 10_000, 30]]))[0]
    assert own[:3] == pytest.approx([1, 1.667, 2.143], rel=0.002)
    assert own[3] == pytest.approx(np.sqrt(4.0 * 2.5), rel=0.01)
    # Nothing told of four threads: the law alone. A fall is flattened.
    assert shrunk(np.where(np.arange(4) == 3, np.nan, told), np.full((1, 4), 10_000))[0, 3] == pytest.approx(
        2.5, rel=0.002
    )
    falling = shrunk(np.log([[1.0, 2.0, 1.5]]), np.full((1, 3), 10**9))[0]
    assert falling == pytest.approx([1, 2, 2])
    assert shrunk(np.full((1, 3), np.nan), np.zeros((1, 3), np.int64))[0].tolist() == [1, 1, 1]


def test_class_edges_are_found_where_more_threads_begin_to_help_otherwise(busy: Recording) -> None:
    short, long = class_edges(busy.samples, effective=effective_ms(busy.samples, THREADS))
    assert 24 < short < 40
    assert 64 < long < 100


def test_class_edges_that_nothing_tells_are_percentiles_of_predictions() -> None:
    samples = record(20_000, 0.3, Sequential(), explore=0).samples
    at = np.quantile(samples.predictions_ms, (0.85, 0.95))
    found = class_edges(samples, effective=effective_ms(samples, THREADS))
    assert found == class_edges(samples) == pytest.approx(at, rel=0.05)
    assert all(edge == float(f"{edge:.2g}") for edge in found)
    assert class_edges(samples, (7.0,)) == (7.0,)


def test_learning_is_the_same_each_time(busy: Recording) -> None:
    one, other = learned(busy.samples), learned(busy.samples)
    assert np.array_equal(one.profile.table, other.profile.table)
    assert np.array_equal(one.low, other.low)


def test_what_nothing_can_be_learned_from_is_refused() -> None:
    samples = record(20_000, 0.3, Predictive(3), explore=0).samples
    with pytest.raises(TooFewDataError, match=r"0 explored.*drawn by chance"):
        learned(samples)
    with pytest.raises(DataError, match="none of 20000 requests tells a predicted time; send predicted_us"):
        learned(replace(samples, predictions_ms=np.full(len(samples), np.nan)))
    with pytest.raises(DataError, match="predicted time of all 20000 requests is 5 ms"):
        learned(replace(samples, predictions_ms=np.full(len(samples), 5.0)))
    with pytest.raises(TooFewDataError, match="50 requests with a predicted time; want 100"):
        learned(samples.where(slice(0, 50)))
    with pytest.raises(DataError, match="up to 3 threads, and the largest degree is said to be 2"):
        learn_profile(samples, THREADS, max_degree=2)
    with pytest.raises(DataError, match="ran on 3 threads, and speed-ups are known up to 2"):
        works_ms(samples, effective_ms(samples, THREADS), replace(WEB_SEARCH, table=WEB_SEARCH.table[:, :2]))
