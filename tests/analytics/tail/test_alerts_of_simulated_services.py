"""Simulated services that go wrong in a known way: their requests make minutes, and minutes the alert that says so."""

from analytics.tail.minutes import MINUTE_NS, minute_table, minutes_of
from analytics.tail.policies import Fixed, Policy, Predictive, Sequential, Server, TargetTable, Tpc
from analytics.tail.samples import Samples
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.tail_alerts import Alert, Context, Promise, evaluate
from analytics.tail.workloads import ModelledPredictor
from tests.analytics.tail.recordings import record

SMALL = Server(threads=4, workers=12, max_degree=6)
TPC = Tpc(TargetTable("threads_and_queue", 2, (25, 40, 60, 80, 80)))


def alerts_of(samples: Samples, policy: Policy) -> dict[str, Alert]:
    minutes = minute_table(minutes_of(samples, SMALL, WEB_SEARCH, 80.0, policy))
    now_ns = int(minutes.start_ns[-1]) + MINUTE_NS
    buckets = len(policy.table.targets_ms) if isinstance(policy, Tpc) else 0
    return {one.name: one for one in evaluate(minutes, Promise(0.99, 80.0), Context(now_ns, table_buckets=buckets))}


def firing(found: dict[str, Alert]) -> set[str]:
    return {name for name, alert in found.items() if alert.firing}


def test_a_fixed_degree_at_a_load_that_it_cannot_carry_pages_as_over_parallel() -> None:
    # 305 requests a second offer all of four threads; .53 of that for 12 minutes. With three threads each they are full
    # at .54, and somewhat later where a request gets fewer, as many as are idle.
    found = alerts_of(record(120_000, 0.53, Fixed(3), server=SMALL).samples, Fixed(3))
    assert {"tail_burn", "over_parallel"} <= firing(found)
    assert found["over_parallel"].severity == "page"
    assert 1.63 / 3 < found["over_parallel"].figures["full_at"] < 0.59
    assert found["tail_burn"].cause == "queueing"


def test_one_thread_each_leaves_workers_idle_beside_slow_requests() -> None:
    found = alerts_of(record(110_000, 0.2, Sequential(), server=SMALL, explore=0.03).samples, Sequential())
    assert found["under_parallel_idle"].firing
    assert found["under_parallel_idle"].figures["share"] > 0.6
    assert found["tail_burn_slow"].firing is False, "2 h say too little of a day"
    assert "over_parallel" not in firing(found)


def test_a_predictor_that_breaks_is_found_by_the_long_requests_that_it_does_not_foresee() -> None:
    bad = ModelledPredictor(sigma=1.0, mistaken=0.5)
    broken = alerts_of(record(50_000, 0.3, TPC, server=SMALL, predictor=bad).samples, TPC)["predictor_drift"]
    assert broken.firing
    assert broken.figures["recall"] < 0.7
    whole = alerts_of(record(50_000, 0.3, TPC, server=SMALL).samples, TPC)["predictor_drift"]
    assert not whole.firing
    assert whole.figures["recall"] > 0.8


def test_more_load_than_the_table_knows_is_out_of_its_range() -> None:
    found = alerts_of(record(40_000, 0.7, TPC, server=SMALL, explore=0.05).samples, TPC)
    assert found["table_out_of_range"].firing
    calm = alerts_of(record(30_000, 0.15, TPC, server=SMALL, explore=0.05).samples, TPC)
    assert not calm["table_out_of_range"].firing
    assert calm["table_out_of_range"].figures["share"] > 0


def test_long_requests_in_parallel_keep_the_promise_that_one_thread_each_breaks() -> None:
    """What the alert advises helps: the same load with predicted long requests on three threads burns far less."""
    rates = {}
    for policy in (Sequential(), Predictive(3)):
        found = alerts_of(record(60_000, 0.2, policy, server=SMALL, explore=0.03).samples, policy)
        rates[policy.name] = found["tail_burn"].figures["long_rate"]
    assert rates["predictive d=3"] < 0.5 * rates["sequential"]
