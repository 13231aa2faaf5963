"""Threads that slow each other: in the simulator, in effective times, and learned back from what requests met."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.effective import effective_ms
from analytics.tail.policies import Fixed, Policy, Predictive, RampUp, Sequential, Server, TargetTable, Tpc
from analytics.tail.simulation import Requests, simulate
from analytics.tail.slowdown import own, rate
from analytics.tail.speedup import WEB_SEARCH
from tests.analytics.tail.recordings import record

THREADS = 12
SLOWED = Server(slowdown=0.3)
TPC = Tpc(TargetTable("threads_and_queue", 4, (25, 40, 60, 80, 100, 100, 170)))


def at_once(works: list[float]) -> Requests:
    return Requests(np.zeros(len(works)), np.array(works), np.array(works))


def test_no_slowdown_is_the_plain_share_to_the_bit() -> None:
    active = np.arange(50)
    assert np.array_equal(rate(active, THREADS, 0.0), np.minimum(1.0, THREADS / np.maximum(active, 1)))
    assert np.array_equal(own(active, THREADS, 0.0), np.ones(50))
    recording = record(3_000, 0.8, TPC)
    again = simulate(recording.run.requests, Server(slowdown=0.0), WEB_SEARCH, TPC)
    assert np.array_equal(again.ends_ms, recording.run.ends_ms)
    plain, told = effective_ms(recording.samples, THREADS), effective_ms(recording.samples, THREADS, 0.0)
    assert np.array_equal(plain.times_ms, told.times_ms)


def test_the_rate_falls_with_busy_hardware_threads_and_then_with_their_share() -> None:
    found = rate(np.arange(7), 3, 0.5)
    assert found.tolist() == pytest.approx([1, 1, 1 / 1.25, 1 / 1.5, 0.75 / 1.5, 0.6 / 1.5, 0.5 / 1.5])
    assert rate(np.array([1, 2]), 1, 0.5).tolist() == [1, 0.5], "one hardware thread has nobody beside it"


def test_two_requests_on_two_threads_slow_each_other() -> None:
    run = simulate(at_once([10.0, 20.0]), Server(2, 4, 1, slowdown=0.5), WEB_SEARCH, Sequential())
    assert run.ends_ms.tolist() == pytest.approx([15, 25])
    assert run.effective_ms.tolist() == pytest.approx([10, 20])


@pytest.mark.parametrize("degree", [1, 3, 6])
def test_alone_a_request_runs_as_fast_as_its_speedup_says(degree: int) -> None:
    run = simulate(at_once([100.0]), replace(SLOWED, slowdown=0.7), WEB_SEARCH, Fixed(degree))
    assert run.ends_ms[0] == pytest.approx(100 / WEB_SEARCH.table[2, degree - 1])
    assert run.effective_ms[0] == pytest.approx(run.ends_ms[0])


def test_further_threads_of_its_own_do_not_count_as_others() -> None:
    run = simulate(at_once([100.0]), SLOWED, WEB_SEARCH, RampUp(10))
    plain = simulate(at_once([100.0]), Server(), WEB_SEARCH, RampUp(10))
    assert run.last_degrees[0] > 2
    assert run.ends_ms[0] == pytest.approx(plain.ends_ms[0])
    assert run.effective_ms[0] == pytest.approx(run.ends_ms[0])


@pytest.mark.parametrize(
    ("policy", "error"), [(Predictive(3), 1e-4), (TPC, 0.02), (RampUp(10), 0.06)], ids=["constant", "tpc", "ramp-up"]
)
def test_effective_times_leave_the_slowdown_out(policy: Policy, error: float) -> None:
    recording = record(20_000, 0.5, policy, server=SLOWED)
    truth = recording.run.effective_ms
    effective = effective_ms(recording.samples, THREADS, 0.3)
    assert effective.slowdown == 0.3
    assert np.mean(np.abs(effective.times_ms / truth - 1)) < error
    plain = effective_ms(recording.samples, THREADS)
    assert np.mean(plain.times_ms / truth - 1) > 0.1, "else there was nothing to take out"
    assert np.array_equal(effective.shares, plain.shares), "shares of the hardware are what they were"


def test_processor_time_holds_the_slowdown_which_is_taken_out() -> None:
    recording = record(20_000, 0.4, Predictive(3), server=SLOWED)
    samples = recording.samples
    plain = effective_ms(samples, THREADS)
    told = replace(samples, cpu_ms=plain.shares * samples.services_ms * samples.degrees)
    effective = effective_ms(told, THREADS, 0.3)
    assert effective.basis == "cpu"
    assert np.allclose(effective.times_ms, recording.run.effective_ms, rtol=2e-3)


def test_of_a_share_of_requests_it_is_nearly_left_out() -> None:
    recording = record(60_000, 0.5, Predictive(3), server=SLOWED)
    chosen = np.random.default_rng(99).random(len(recording.samples)) < 0.5
    samples = replace(recording.samples.where(chosen), weights=np.full(chosen.sum(), 2.0))
    effective = effective_ms(samples, THREADS, 0.3)
    assert effective.basis == "at_start"
    assert abs(np.mean(effective.times_ms / recording.run.effective_ms[chosen] - 1)) < 0.03


@pytest.mark.parametrize("slowdown", [-0.1, np.nan, np.inf])
def test_what_is_no_slowdown_is_refused(slowdown: float) -> None:
    with pytest.raises(DataError, match="a slowdown of"):
        Server(slowdown=slowdown)
    with pytest.raises(DataError, match="a slowdown of"):
        effective_ms(record(10, 0.3).samples, THREADS, slowdown)
