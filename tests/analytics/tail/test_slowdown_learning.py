"""How much threads slow each other, learned back from simulated recordings; and none where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.tail.effective import effective_ms
from analytics.tail.learning import learn_profile, works_ms
from analytics.tail.policies import Adaptive, Policy, Predictive, RampUp, Sequential, Server, TargetTable, Tpc
from analytics.tail.samples import Samples
from analytics.tail.slowdown_learning import NO_SLOWDOWN, Slowdown, learn_slowdown
from analytics.tail.speedup import WEB_SEARCH
from tests.analytics.tail.recordings import record

THREADS = 12
SLOWED = Server(slowdown=0.3)
TPC = Tpc(TargetTable("threads_and_queue", 4, (25, 40, 60, 80, 100, 100, 170)))


def found(samples: Samples, threads: int = THREADS) -> Slowdown:
    return learn_slowdown(samples, threads, effective_ms(samples, threads))


@pytest.mark.parametrize(
    "policy", [Sequential(), Predictive(3), TPC, Adaptive(), RampUp(10)], ids=lambda policy: str(policy.name)
)
def test_it_is_learned_back_within_its_interval(policy: Policy) -> None:
    told = found(record(60_000, 0.4, policy, server=SLOWED, seed=3).samples)
    assert told.low < 0.3 < told.high
    assert told.value == pytest.approx(0.3, abs=0.08)


def test_of_two_hardware_threads_it_is_learned_too() -> None:
    small = Server(threads=2, workers=4, max_degree=2, slowdown=0.5)
    told = found(record(40_000, 0.4, Predictive(2), server=small, seed=3).samples, 2)
    assert told.low < 0.5 < told.high
    assert told.high - told.low < 0.2


@pytest.mark.parametrize("policy", [Predictive(3), TPC, RampUp(10)], ids=["predictive", "tpc", "ramp-up"])
def test_where_there_is_none_it_is_none(policy: Policy) -> None:
    told = found(record(40_000, 0.7, policy, seed=3).samples)
    assert told.value == told.low == 0
    assert told.high < 0.05


def test_what_requests_did_not_tell_is_put_together() -> None:
    samples = record(40_000, 0.4, Predictive(3), server=SLOWED, seed=3).samples
    told = found(replace(samples, active=np.full(len(samples), -1, np.int32)))
    assert told.value == pytest.approx(0.3, abs=0.05)


def test_requests_that_tell_nothing_tell_no_slowdown() -> None:
    samples = record(3_000, 0.4, Predictive(3), server=SLOWED).samples
    assert found(replace(samples, predictions_ms=np.full(len(samples), np.nan))) == NO_SLOWDOWN
    assert found(samples.where(slice(0, 50))) == NO_SLOWDOWN
    assert found(samples, 1) == NO_SLOWDOWN, "nobody is beside the one hardware thread"
    few = found(record(400, 0.4, Predictive(3), server=SLOWED).samples)
    assert few.value == 0
    assert np.isfinite(few.high)


def test_speedups_and_work_are_those_of_nobody_beside_them() -> None:
    recording = record(150_000, 0.4, Predictive(3), explore=0.05, server=SLOWED, seed=3)
    learned = learn_profile(recording.samples, THREADS, max_degree=6, edges_ms=WEB_SEARCH.edges_ms)
    assert learned.slowdown.low < 0.3 < learned.slowdown.high
    assert np.allclose(learned.profile.table, WEB_SEARCH.table, rtol=0.1)
    effective = effective_ms(recording.samples, THREADS, learned.slowdown.value)
    works = works_ms(recording.samples, effective, learned.profile)
    truth = recording.run.requests.works_ms
    assert np.median(np.abs(works / truth - 1)) < 0.01
    assert works.sum() == pytest.approx(truth.sum(), rel=0.02)
