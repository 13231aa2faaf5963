"""Effective times: by hand, and beside those of a simulated server, which knows them."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail import thread_clock
from analytics.tail.effective import effective_ms, raise_pauses_ms
from analytics.tail.policies import Policy, Predictive, RampUp, TargetTable, Tpc
from analytics.tail.samples import Samples, take_samples
from tests.analytics.tail.recordings import ORIGIN_NS, Recording, record

THREADS = 12
TPC = Tpc(TargetTable("threads_and_queue", 4, (15, 40, 50, 60, 80, 80, 80)))


def samples_of(rows: list[tuple[float, float, int, int, float]], **columns: list[float]) -> Samples:
    """Requests (start, run, first and last degree, raised after) in milliseconds."""
    start, run, first, last, raised = (np.array(part) for part in zip(*rows, strict=True))
    told = {
        "arrival_ns": ORIGIN_NS + (start * 1e6).astype(np.int64),
        "service_us": run * 1e3,
        "degree": first,
        "degree_final": last,
        "raised_us": raised * 1e3,
    }
    return take_samples(told | {name: np.array(values) for name, values in columns.items()})


def kept(recording: Recording, each: int) -> tuple[Samples, np.ndarray]:
    """One of each so many requests, by chance, weighing so much; and which."""
    chosen = np.random.default_rng(99).random(len(recording.samples)) < 1 / each
    return replace(recording.samples.where(chosen), weights=np.full(chosen.sum(), float(each))), chosen


def test_two_requests_share_the_hardware_while_both_run() -> None:
    effective = effective_ms(samples_of([(0, 10, 2, 2, np.nan), (5, 10, 2, 2, np.nan)]), 2)
    assert effective.times_ms.tolist() == pytest.approx([7.5, 7.5])
    assert effective.shares.tolist() == pytest.approx([0.75, 0.75])
    assert effective.met is not None
    assert effective.met.tolist() == [0, 2]
    assert effective.busy_ms is not None
    assert effective.busy_ms.tolist() == pytest.approx([0, 0, 10, 0, 5])
    assert effective.basis == "reconstructed"


def test_a_raise_counts_from_its_time_on() -> None:
    # From 4 ms on two threads share one: 4 ms undisturbed, then half as fast for 6.
    effective = effective_ms(samples_of([(0, 10, 1, 2, 4.0)]), 1)
    assert effective.times_ms.tolist() == pytest.approx([7.0])
    assert effective.until_raise_ms is not None
    assert effective.until_raise_ms.tolist() == pytest.approx([4.0])


def test_each_instance_has_its_own_hardware() -> None:
    apart = samples_of([(0, 10, 2, 2, np.nan), (5, 10, 2, 2, np.nan)], instance=[0, 1])
    assert effective_ms(apart, 2).times_ms.tolist() == [10, 10]


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_what_is_put_together_is_what_a_server_with_constant_degrees_knows(load: float) -> None:
    recording = record(20_000, load, Predictive(3))
    effective = effective_ms(recording.samples, THREADS)
    assert np.allclose(effective.times_ms, recording.run.effective_ms, rtol=2e-3)
    assert np.mean(np.abs(effective.times_ms / recording.run.effective_ms - 1)) < 1e-4
    assert effective.met is not None
    # Who begins when another ends comes after it; of those that begin at one moment, either may be the first.
    assert np.mean(effective.met != recording.run.active) < 0.03


def test_it_does_not_matter_how_many_are_put_together_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = record(3_000, 0.8, TPC).samples
    whole = effective_ms(samples, THREADS)
    monkeypatch.setattr(thread_clock, "_AT_ONCE", 97)
    parts = effective_ms(samples, THREADS)
    assert np.allclose(parts.times_ms, whole.times_ms, rtol=1e-9)
    assert np.array_equal(parts.met, whole.met)
    assert np.allclose(parts.busy_ms, whole.busy_ms)


@pytest.mark.parametrize(("policy", "error"), [(TPC, 0.012), (RampUp(10), 0.05)], ids=["tpc", "ramp-up"])
def test_further_threads_are_put_together_nearly(policy: Policy, error: float) -> None:
    recording = record(30_000, 0.7, policy)
    truth = recording.run.effective_ms
    ran = recording.samples.services_ms
    effective = effective_ms(recording.samples, THREADS)
    assert np.mean(np.abs(effective.times_ms / truth - 1)) < error
    assert np.mean(ran / truth - 1) > 0.25, "else there was nothing to take out"


def test_pauses_between_further_threads_are_those_of_the_policy() -> None:
    samples = record(20_000, 0.15, RampUp(10), explore=0).samples
    pauses = raise_pauses_ms(samples)
    several = samples.last_degrees > samples.degrees + 1
    assert np.median(pauses[several]) == pytest.approx(10, rel=0.4)
    assert not pauses[~several].any()
    full = replace(TPC, table=replace(TPC.table, full=True))
    assert not raise_pauses_ms(record(20_000, 0.3, full).samples).any()


@pytest.mark.parametrize("each", [2, 20])
def test_of_a_share_of_requests_effective_times_are_near_the_truth(each: int) -> None:
    recording = record(60_000, 0.8, Predictive(3))
    samples, chosen = kept(recording, each)
    effective = effective_ms(samples, THREADS)
    truth = recording.run.effective_ms[chosen]
    assert effective.basis == "at_start"
    assert effective.met is None
    assert np.mean(samples.services_ms / truth - 1) > 0.3
    assert abs(np.mean(effective.times_ms / truth - 1)) < 0.03
    assert abs(np.mean((effective.times_ms / truth - 1)[samples.predictions_ms > 80])) < 0.06


def test_a_share_of_requests_that_tell_nothing_of_others_is_refused() -> None:
    samples, _ = kept(record(2_000, 0.5), 4)
    with pytest.raises(DataError, match="send active_threads, or all requests"):
        effective_ms(replace(samples, active=np.full(len(samples), -1, np.int32)), THREADS)


def test_processor_time_is_used_where_quiet_requests_agree_with_it() -> None:
    recording = record(20_000, 0.6, Predictive(3))
    cpu = recording.run.effective_ms * recording.samples.degrees
    told = replace(recording.samples, cpu_ms=cpu)
    effective = effective_ms(told, THREADS)
    assert effective.basis == "cpu"
    assert np.allclose(effective.times_ms, recording.run.effective_ms, rtol=1e-9)


def test_processor_time_of_threads_that_wait_is_not_believed() -> None:
    recording = record(20_000, 0.6, Predictive(3))
    waiting = replace(recording.samples, cpu_ms=recording.run.effective_ms * recording.samples.degrees * 0.8)
    effective = effective_ms(waiting, THREADS)
    assert effective.basis == "reconstructed"
    assert np.allclose(effective.times_ms, recording.run.effective_ms, rtol=2e-3)


def test_no_threads_are_refused_and_no_requests_are_not() -> None:
    samples = samples_of([(0, 10, 1, 1, np.nan)])
    with pytest.raises(DataError, match="0 hardware threads"):
        effective_ms(samples, 0)
    nothing = samples.where(np.zeros(1, np.bool_))
    assert effective_ms(nothing, 2).times_ms.size == 0
