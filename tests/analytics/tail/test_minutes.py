"""Minutes of a service: what they count, that parts add up, and that computing them again changes nothing."""

from dataclasses import fields, replace

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.causes import CAUSES
from analytics.tail.effective import effective_ms
from analytics.tail.minutes import (
    MINUTE_NS,
    Minute,
    MinuteTable,
    merged,
    minute_document,
    minute_from,
    minute_table,
    minutes_of,
)
from analytics.tail.policies import Fixed, Policy, Predictive, Sequential, Server, TargetTable, Tpc
from analytics.tail.samples import Samples, take_samples
from analytics.tail.speedup import WEB_SEARCH
from tests.analytics.tail.recordings import ORIGIN_NS, SERVER, columns_of, record

TARGET_MS = 80.0
FIRST_NS = -(-ORIGIN_NS // MINUTE_NS) * MINUTE_NS
RECORDING = record(100_000, 0.6, Predictive(3))
MINUTES = minutes_of(RECORDING.samples, SERVER, WEB_SEARCH, TARGET_MS, Predictive(3))


def all_of(samples: Samples, policy: Policy | None = None, server: Server = SERVER) -> Minute:
    return merged(minutes_of(samples, server, WEB_SEARCH, TARGET_MS, policy, since_ns=0, until_ns=2**62))


def test_hardware_threads_are_in_use_all_the_same_while_threads_slow_each_other() -> None:
    recording = record(20_000, 0.4, Predictive(3), server=replace(SERVER, slowdown=0.3))
    run, samples = recording.run, recording.samples
    effective = effective_ms(samples, SERVER.threads, 0.3)
    told = merged(minutes_of(samples, SERVER, WEB_SEARCH, TARGET_MS, since_ns=0, until_ns=2**62, effective=effective))
    used_ms = effective.shares * samples.services_ms
    assert told.effective_ms == pytest.approx(used_ms.sum())
    assert told.thread_ms == pytest.approx((used_ms * samples.degrees).sum())
    assert told.work_ms == pytest.approx(run.requests.works_ms.sum(), rel=0.05)


def in_minute(minute: Minute, samples: Samples) -> np.ndarray:
    arrivals_ns = samples.origin_ns + samples.arrivals_ms * 1e6
    return (arrivals_ns >= minute.start_ns) & (arrivals_ns < minute.start_ns + MINUTE_NS)


def test_a_minute_counts_what_arrived_in_it() -> None:
    run, samples = RECORDING.run, RECORDING.samples
    assert [minute.start_ns for minute in MINUTES] == list(
        range(MINUTES[0].start_ns, MINUTES[-1].start_ns + 1, MINUTE_NS)
    )
    assert MINUTES[0].start_ns - MINUTE_NS < samples.origin_ns <= MINUTES[0].start_ns, "the first whole minute"
    minute = MINUTES[0]
    here = in_minute(minute, samples)
    assert minute.requests == here.sum() > 10_000
    assert minute.slow == (run.latencies_ms[here] > TARGET_MS).sum() == sum(minute.causes.values())
    assert set(minute.causes) == set(CAUSES)
    assert minute.mean_ms == pytest.approx(run.latencies_ms[here].mean())
    assert minute.p99_ms == pytest.approx(np.quantile(run.latencies_ms[here], 0.99), rel=0.01)
    assert minute.load == pytest.approx(run.requests.works_ms[here].sum() / (SERVER.threads * 60_000), rel=0.01)
    assert minute.mean_share == pytest.approx(
        run.effective_ms[here].sum() / (run.ends_ms - run.starts_ms)[here].sum(), rel=0.01
    )
    long = run.requests.works_ms[here] >= 80
    # On three threads, 60 ms of middle work look like 91 ms of long work where long was predicted.
    assert minute.long == pytest.approx(long.sum(), rel=0.1)
    missed = long & (run.requests.predictions_ms[here] < 80)
    assert minute.long_missed == pytest.approx(missed.sum(), abs=0.1 * long.sum())
    assert minute.corrected == 0
    # Three threads instead of one take 3 / 2.6 as much of them for the long, which hold .45 of the work.
    assert minute.efficiency == pytest.approx(1 / (0.55 + 0.45 * (0.84 * 3 / 2.6 + 0.16)), rel=0.03)


def test_at_one_degree_efficiency_is_what_the_work_gains_by_the_threads_it_takes() -> None:
    recording = record(30_000, 0.4, Fixed(3), explore=0.0)
    minute = all_of(recording.samples)
    assert minute.mean_degree == pytest.approx(3, abs=0.02)
    assert minute.efficiency == pytest.approx(WEB_SEARCH.average(recording.run.requests.works_ms)[2] / 3, rel=0.02)


def test_a_margin_makes_minutes_the_same_as_of_all_requests() -> None:
    samples, minute = RECORDING.samples, MINUTES[1]
    arrivals_ns = samples.origin_ns + samples.arrivals_ms * 1e6
    near = (arrivals_ns >= minute.start_ns - 5_000_000_000) & (
        arrivals_ns < minute.start_ns + MINUTE_NS + 5_000_000_000
    )
    (again,) = minutes_of(
        samples.where(near), SERVER, WEB_SEARCH, TARGET_MS, Predictive(3),
        since_ns=minute.start_ns, until_ns=minute.start_ns + MINUTE_NS,
    )  # fmt: skip
    for name in ("start_ns", "requests", "slow", "causes", "long", "long_missed", "idle_at_dispatch"):
        assert getattr(again, name) == getattr(minute, name), name
    assert again.work_ms == pytest.approx(minute.work_ms)
    assert minutes_of(samples, SERVER, WEB_SEARCH, TARGET_MS, Predictive(3)) == MINUTES, "again: the same"


def test_minutes_without_requests_are_none_and_nothing_is_of_part_of_a_minute() -> None:
    at_s = [0.5, 59.0, 200.0, 250.0]
    samples = take_samples(
        {
            "arrival_ns": FIRST_NS + np.array([int(each * 1e9) for each in at_s]),
            "service_us": np.full(4, 100_000.0),
        }
    )
    since = minutes_of(samples, SERVER, WEB_SEARCH, TARGET_MS, since_ns=FIRST_NS)
    assert [(one.start_ns - FIRST_NS) // MINUTE_NS for one in since] == [0, 3]
    assert [one.requests for one in since] == [2, 1]
    whole = minutes_of(samples, SERVER, WEB_SEARCH, TARGET_MS)
    assert [(one.start_ns - FIRST_NS) // MINUTE_NS for one in whole] == [3], "the first began before the first request"
    assert minutes_of(samples, SERVER, WEB_SEARCH, TARGET_MS, until_ns=FIRST_NS) == []
    assert minutes_of(samples.where(slice(0, 0)), SERVER, WEB_SEARCH, TARGET_MS) == []


def test_servers_of_one_service_add_up_as_if_computed_together() -> None:
    other = record(60_000, 0.3, Predictive(3), seed=9)
    columns = [
        columns_of(one.run) | {"instance": np.full(len(one.samples), i)} for i, one in enumerate((RECORDING, other))
    ]
    both = take_samples({name: np.concatenate([one[name] for one in columns]) for name in columns[0]})
    together = minutes_of(both, SERVER, WEB_SEARCH, TARGET_MS, Predictive(3), since_ns=FIRST_NS)[0]
    apart = [
        minutes_of(one.samples, SERVER, WEB_SEARCH, TARGET_MS, Predictive(3), since_ns=FIRST_NS)[0]
        for one in (RECORDING, other)
    ]
    added = merged(apart)
    assert together.capacity_ms == added.capacity_ms == 2 * SERVER.threads * 60_000
    assert together.load == pytest.approx(np.mean([one.load for one in apart]))
    assert together.latencies == added.latencies, "the very same sketch"
    for one in fields(Minute):
        assert getattr(together, one.name) == pytest.approx(getattr(added, one.name)), one.name
    assert merged(apart[::-1]).causes == added.causes


def test_several_minutes_add_up_to_a_longer_one() -> None:
    added = merged(MINUTES, start_ns=7)
    assert added.start_ns == 7
    assert added.requests == sum(one.requests for one in MINUTES)
    assert added.load == pytest.approx(np.mean([one.load for one in MINUTES]))
    assert min(one.p99_ms for one in MINUTES) <= added.p99_ms <= max(one.p99_ms for one in MINUTES)
    with pytest.raises(DataError, match="no minutes to add up"):
        merged([])


def test_a_request_counts_as_often_as_its_weight_says() -> None:
    samples = RECORDING.samples
    heavy = replace(samples, weights=np.full(len(samples), 3.0))
    plain, thrice = (all_of(one) for one in (samples, heavy))
    assert (thrice.requests, thrice.slow) == (3 * plain.requests, 3 * plain.slow)
    assert thrice.mean_ms == pytest.approx(plain.mean_ms)
    assert thrice.p99_ms == pytest.approx(plain.p99_ms)


def test_before_speed_ups_are_known_causes_are_not_told() -> None:
    minute = minutes_of(RECORDING.samples, SERVER, None, TARGET_MS)[0]
    assert not minute.profiled
    assert minute.causes == {}
    assert minute.slow == MINUTES[0].slow
    assert minute.work_ms == minute.thread_ms >= MINUTES[0].work_ms
    assert (minute.long, minute.idle_at_dispatch) == (0, 0)
    assert merged([minute, MINUTES[0]]).profiled is False


@pytest.mark.parametrize("metric", ["long_threads", "threads_and_queue", "in_system"])
def test_loads_of_the_last_bucket_are_counted_by_the_metric_of_the_table(metric: str) -> None:
    policy = Tpc(TargetTable(metric, 3.0, (15, 40, 60, 80)))
    recording = record(30_000, 0.8, policy)
    run = recording.run
    columns = columns_of(run)
    begun = np.sort(run.starts_ms)
    ended = np.sort(run.ends_ms)
    # Others running at its start, and those behind it.
    running = np.searchsorted(begun, run.starts_ms) - np.searchsorted(ended, run.starts_ms, side="right")
    columns["in_system"] = running + run.queued
    samples = take_samples(columns)
    found = all_of(samples, policy)
    load = {
        "long_threads": run.long_active,
        "threads_and_queue": run.active + run.queued,
        "in_system": columns["in_system"],
    }[metric]
    assert found.dispatched == 30_000
    assert 0.01 < found.last_bucket_share < 1
    assert found.last_bucket == pytest.approx((load >= 9).sum(), rel=0.01)
    assert all_of(samples, Sequential()).dispatched == 0
    untold = replace(
        samples, active=samples.active * 0 - 1, long_active=samples.active * 0 - 1, in_system=samples.active * 0 - 1
    )
    assert all_of(untold, policy).dispatched == 0


def test_of_a_share_of_the_requests_minutes_are_nearly_the_same() -> None:
    policy = Tpc(TargetTable("threads_and_queue", 4, (15, 40, 50, 60, 80, 80, 80)))
    samples = record(100_000, 0.6, policy).samples
    kept = samples.where(np.arange(len(samples)) % 10 == 0)
    whole, share = (all_of(one, policy) for one in (samples, replace(kept, weights=np.full(len(kept), 10.0))))
    assert share.requests == whole.requests
    assert share.load == pytest.approx(whole.load, rel=0.05)
    assert share.mean_share == pytest.approx(whole.mean_share, rel=0.03)
    assert share.efficiency == pytest.approx(whole.efficiency, rel=0.03)
    assert share.p99_ms == pytest.approx(whole.p99_ms, rel=0.1)
    assert share.causes["contention"] / share.slow == pytest.approx(whole.causes["contention"] / whole.slow, abs=0.1)
    assert (whole.dispatched, share.dispatched) == (100_000, 0), "a queue cannot be told from one in ten"


def test_corrections_and_idle_workers_are_counted() -> None:
    policy = Tpc(TargetTable("threads_and_queue", 4, (15, 40, 50, 60, 80, 80, 80)))
    recording = record(30_000, 0.5, policy)
    corrected = all_of(recording.samples, policy)
    assert corrected.corrected == recording.run.corrected > 500
    idle = all_of(record(30_000, 0.2, Sequential()).samples)
    assert idle.idle_at_dispatch == idle.causes["under_parallel"] > 100, "on one thread each, workers are idle"


def test_a_minute_goes_through_json_and_back() -> None:
    for minute in (MINUTES[0], minutes_of(RECORDING.samples, SERVER, None, TARGET_MS)[0]):
        assert minute_from(minute_document(minute)) == minute
    document = minute_document(MINUTES[0])
    with pytest.raises(DataError, match=r"requests.*compute it again"):
        minute_from(document | {"requests": "many"})
    with pytest.raises(DataError, match="field `slow`"):
        minute_from({name: value for name, value in document.items() if name != "slow"})


def test_a_table_has_each_minute_once_in_order() -> None:
    table = minute_table(MINUTES[::-1])
    assert table.start_ns.tolist() == [one.start_ns for one in MINUTES]
    assert table.causes.tolist() == [[one.causes[name] for name in CAUSES] for one in MINUTES]
    assert table.requests.sum() == sum(one.requests for one in MINUTES)
    end_ns = MINUTES[-1].start_ns + MINUTE_NS
    assert len(table.last(end_ns, 2)) == 2
    assert table.last(end_ns, 2, but=1).start_ns.tolist() == [MINUTES[-2].start_ns]
    with pytest.raises(DataError, match="two minutes begin at"):
        minute_table([*MINUTES, MINUTES[0]])
    empty = minute_table([])
    assert isinstance(empty, MinuteTable)
    assert (len(empty), empty.causes.shape) == (0, (0, 5))
