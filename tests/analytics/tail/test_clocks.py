"""Times that contradict what requests met are found, and sound ones pass."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.clocks import clock_fault
from analytics.tail.effective import effective_ms
from analytics.tail.learning import learn_profile
from analytics.tail.policies import Fixed, Policy, Predictive, RampUp, Server, TargetTable, Tpc
from analytics.tail.samples import Samples, take_samples
from analytics.tail.simulation import simulate
from analytics.tail.speedup import WEB_SEARCH
from tests.analytics.tail.recordings import SERVER, columns_of, record

THREADS = 12
TPC = Tpc(TargetTable("threads_and_queue", 4, (15, 40, 50, 60, 80, 80, 80)))


def fault(samples: Samples, workers: int | None = None) -> str | None:
    return clock_fault(samples, effective_ms(samples, THREADS), THREADS, workers)


def skewed(samples: Samples, spread_ms: float) -> Samples:
    """Arrivals by clocks of several machines."""
    clocks = np.random.default_rng(7).normal(0, spread_ms, len(samples))
    order = np.argsort(samples.arrivals_ms + clocks, kind="stable")
    return replace(samples.where(order), arrivals_ms=(samples.arrivals_ms + clocks)[order])


@pytest.mark.parametrize("policy", [Predictive(3), TPC, RampUp(5)], ids=["predictive", "tpc", "ramp-up"])
@pytest.mark.parametrize("load", [0.3, 0.8])
def test_times_of_one_server_are_sound(policy: Policy, load: float) -> None:
    assert fault(record(20_000, load, policy).samples, SERVER.workers) is None


def test_who_begins_when_another_ends_is_sound_where_all_queue() -> None:
    samples = record(20_000, 0.57, Fixed(3), server=Server(threads=4, workers=8, max_degree=3)).samples
    assert clock_fault(samples, effective_ms(samples, 4), 4, 8) is None


def test_clocks_that_differ_are_told_from_the_threads_that_requests_met() -> None:
    samples = skewed(record(20_000, 0.6, TPC).samples, 100)
    assert "active_threads at the start is" in str(fault(samples))
    with pytest.raises(DataError, match="clocks that differ"):
        learn_profile(samples, THREADS, max_degree=6, edges_ms=(30, 80))


def test_clocks_that_differ_are_told_from_the_requests_that_requests_met() -> None:
    recording = record(20_000, 0.7, TPC)
    run = recording.run
    running = np.searchsorted(np.sort(run.starts_ms), run.starts_ms) - np.searchsorted(
        np.sort(run.ends_ms), run.starts_ms
    )
    met = replace(
        recording.samples,
        active=np.full(len(recording.samples), -1, np.int32),
        in_system=(running + run.queued).astype(np.int32),
    )
    assert fault(met) is None
    assert "in_system at the start is" in str(fault(skewed(met, 100)))


def test_missing_requests_are_told() -> None:
    samples = record(20_000, 0.6, TPC).samples
    assert "requests are missing" in str(fault(samples.where(np.arange(len(samples)) % 4 == 0)))


def test_more_threads_at_work_than_there_are_workers_are_told() -> None:
    samples = record(20_000, 0.6, TPC).samples
    untold = replace(samples, active=np.full(len(samples), -1, np.int32))
    assert fault(untold, SERVER.workers) is None
    bursts, rest = np.divmod(untold.arrivals_ms, 200)
    together = replace(untold, arrivals_ms=bursts * 200 + rest / 100)
    assert "of 24: requests are missing" in str(fault(together, SERVER.workers))


def test_arrivals_in_steps_longer_than_requests_run_are_told() -> None:
    samples = record(5_000, 0.6).samples
    untold = replace(samples, active=np.full(len(samples), -1, np.int32), arrivals_ms=np.round(samples.arrivals_ms, -3))
    assert "send arrivals in nanoseconds" in str(fault(untold))


def test_requests_that_really_come_in_bursts_are_sound_where_they_tell_what_they_met() -> None:
    plain = record(5_000, 0.6).run.requests
    run = simulate(
        replace(plain, arrivals_ms=np.floor(plain.arrivals_ms / 500) * 500), SERVER, WEB_SEARCH, Predictive(3)
    )
    assert fault(take_samples(columns_of(run)), SERVER.workers) is None


def test_where_nothing_was_shared_it_does_not_matter_who_ran_beside_whom() -> None:
    assert fault(skewed(record(5_000, 0.05).samples, 1_000)) is None
