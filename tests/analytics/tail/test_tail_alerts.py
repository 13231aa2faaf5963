"""Alerts out of a service's minutes: each condition from both sides, gaps, flapping, and what the words say."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.causes import CAUSES, unreachable
from analytics.tail.learning import LearnedProfile
from analytics.tail.minutes import MINUTE_NS, MinuteTable
from analytics.tail.speedup import WEB_SEARCH, SpeedupProfile
from analytics.tail.tail_alerts import NAMES, Advice, Alert, Context, Promise, evaluate

NOW_NS = 30_000_000 * MINUTE_NS
PROMISE = Promise(0.99, 80.0)
DAY = 1_440


def minutes_until_now(count: int = 7 * DAY, **changed: object) -> MinuteTable:
    """Quiet minutes: .2 % slow, 2 % corrected, load .5, one thread each."""
    plain: dict[str, object] = {
        "requests": 1_000, "slow": 2, "corrected": 20, "long": 40, "long_missed": 4, "idle_at_dispatch": 0,
        "dispatched": 1_000, "last_bucket": 10, "service_ms": 4e5, "effective_ms": 4e5, "work_ms": 3.6e5,
        "thread_ms": 3.6e5, "capacity_ms": 7.2e5, "profiled": True,
    } | changed  # fmt: skip
    kinds = {name: np.float64 if name.endswith("_ms") else np.int64 for name in plain} | {"profiled": np.bool_}
    columns = {name: np.broadcast_to(np.asarray(plain[name], kinds[name]), (count,)).copy() for name in plain}
    causes = np.zeros((count, len(CAUSES)), np.int64)
    causes[:, CAUSES.index("contention")] = columns["slow"]
    starts = NOW_NS - np.arange(count, 0, -1) * MINUTE_NS
    return MinuteTable(start_ns=starts, causes=causes, **columns)


def recent(count: int, minutes: int, value: float, otherwise: float) -> np.ndarray:
    """`value` in the last so many minutes."""
    return np.where(np.arange(count) >= count - minutes, value, otherwise)


def alerts(minutes: MinuteTable, promise: Promise = PROMISE, **context: object) -> dict[str, Alert]:
    return {one.name: one for one in evaluate(minutes, promise, Context(**({"now_ns": NOW_NS} | context)))}


def firing(minutes: MinuteTable, **context: object) -> set[str]:
    return {name for name, alert in alerts(minutes, **context).items() if alert.firing}


def test_all_are_told_of_and_none_fires_where_all_is_well() -> None:
    found = alerts(minutes_until_now(), promise_requests=40_000_000, promise_slow=80_000)
    assert tuple(found) == NAMES
    assert not any(alert.firing for alert in found.values())
    assert all(alert.text and alert.since_ns == NOW_NS and not alert.cause for alert in found.values())
    assert found["tail_burn"].figures["budget_left"] == pytest.approx(0.8)
    assert "Of the budget of 28 days, 80% is left" in found["tail_burn"].text


def test_nothing_is_known_of_a_service_without_minutes_and_nothing_fires() -> None:
    found = alerts(minutes_until_now(0))
    assert tuple(found) == NAMES
    assert not any(alert.firing for alert in found.values())
    assert "none of no requests" in found["tail_burn"].text
    assert "not judged" in found["over_parallel"].text


@pytest.mark.parametrize(
    ("lasts", "share", "burns"),
    [
        (60, 0.150, {"tail_burn"}),  # 15 times over 1 h
        (60, 0.140, set()),  # and 2.5 times over 6 h
        (4, 0.150, set()),  # the long window does not burn
        (360, 0.065, {"tail_burn"}),  # 6.5 times over 6 h, 1.6 over 1 d, .5 over 3 d
        (360, 0.055, set()),
        (DAY, 0.035, {"tail_burn_slow"}),
        (3 * DAY, 0.012, {"tail_burn_slow"}),
        (3 * DAY, 0.009, set()),
    ],
)
def test_budgets_burn_where_both_windows_are_above_the_factor(lasts: int, share: float, burns: set[str]) -> None:
    minutes = minutes_until_now(slow=recent(7 * DAY, lasts, share * 1_000, 0))
    found = alerts(minutes)
    assert {name for name in ("tail_burn", "tail_burn_slow") if found[name].firing} == burns
    assert [found[name].severity for name in ("tail_burn", "tail_burn_slow")] == ["page", "ticket"]
    for name in burns:
        assert found[name].cause == "contention"
        assert "Half or more by contention: too many threads shared the hardware" in found[name].text


def test_what_is_over_no_longer_burns() -> None:
    over = np.where(np.arange(DAY) >= DAY - 6, 0, recent(DAY, 60, 450, 0))
    found = alerts(minutes_until_now(DAY, slow=over))["tail_burn"]
    assert found.firing, "6 times over 6 h and 30 min still"
    assert found.figures["short_minutes"] == 30
    assert "tail_burn" not in firing(minutes_until_now(DAY, slow=np.where(over == 0, 0, 300)))
    later = np.where(np.arange(DAY) >= DAY - 31, 0, recent(DAY, 60, 450, 0))
    assert "tail_burn" not in firing(minutes_until_now(DAY, slow=later))


def test_few_slow_requests_are_no_burn() -> None:
    few = alerts(minutes_until_now(DAY, requests=10, slow=recent(DAY, 120, 3, 0)))["tail_burn"]
    assert few.firing
    assert (few.figures["short_minutes"], few.figures["slow_short"]) == (30, 90), "15 in 5 min do not count"
    fewer = minutes_until_now(DAY, requests=1, slow=(np.arange(DAY) % 2 == 0).astype(float))
    found = alerts(fewer)["tail_burn"]
    assert found.figures["short_rate"] > 39
    assert not found.firing, "15 in 30 min"
    assert "it fires from 20 slow requests in the short window on" in found.text


def test_a_service_that_just_began_has_no_long_window() -> None:
    assert "tail_burn" not in firing(minutes_until_now(4, slow=500))
    assert "tail_burn" in firing(minutes_until_now(5, slow=500))
    early = alerts(minutes_until_now(119, slow=50))["tail_burn_slow"]
    assert not early.firing, "2 h say nothing of a day yet"
    assert "it fires from 120 minutes with requests (of which 119 are there) on" in early.text
    assert "tail_burn_slow" in firing(minutes_until_now(120, slow=50))


def test_no_traffic_is_no_burn_and_gaps_are_not_zeros() -> None:
    bad = minutes_until_now(DAY, slow=recent(DAY, 60, 200, 0))
    with_gaps = bad.where((np.arange(DAY) < DAY - 60) | (np.arange(DAY) % 2 == 0))
    assert alerts(with_gaps)["tail_burn"].figures["long_rate"] > 19
    assert "tail_burn" in firing(with_gaps)
    # Told of ten minutes late: the windows end with what is known.
    assert "tail_burn" in firing(bad, now_ns=NOW_NS + 10 * MINUTE_NS)
    assert "tail_burn" not in firing(bad, now_ns=NOW_NS + 40 * MINUTE_NS), "nothing begins where nothing comes"
    before = evaluate(bad, PROMISE, Context(NOW_NS))
    assert "tail_burn" in firing(bad, now_ns=NOW_NS + 40 * MINUTE_NS, before=before), (
        "what fired is not known to be over"
    )
    assert "tail_burn" not in firing(bad, now_ns=NOW_NS + 7 * DAY * MINUTE_NS, before=before)


def test_minutes_after_now_are_not_looked_at() -> None:
    minutes = minutes_until_now(DAY, slow=recent(DAY, 60, 200, 0))
    assert "tail_burn" not in firing(minutes, now_ns=NOW_NS - 60 * MINUTE_NS)


def test_what_hovers_around_its_bound_does_not_flap() -> None:
    above, near, below = (minutes_until_now(DAY, slow=recent(DAY, 60, slow, 0)) for slow in (150, 135, 70))
    began = alerts(above)
    assert not alerts(near)["tail_burn"].firing
    later = alerts(near, now_ns=NOW_NS, before=[replace(one, since_ns=5) for one in began.values()])
    assert later["tail_burn"].firing
    assert later["tail_burn"].since_ns == 5
    ended = alerts(below, before=list(later.values()))["tail_burn"]
    assert (ended.firing, ended.since_ns, ended.cause) == (False, NOW_NS, "")


def test_a_cause_is_told_where_it_holds_half_in_both_windows() -> None:
    minutes = minutes_until_now(DAY, slow=recent(DAY, 60, 200, 0))
    queueing = np.zeros_like(minutes.causes)
    queueing[:, CAUSES.index("queueing")] = minutes.slow
    changed = replace(minutes, causes=np.where(np.arange(DAY)[:, None] >= DAY - 5, queueing, minutes.causes))
    found = alerts(changed)["tail_burn"]
    assert found.cause == "", "contention over 1 h, queueing over 5 min"
    assert "no cause holds half of them" in found.text
    assert alerts(replace(minutes, causes=queueing))["tail_burn"].cause == "queueing"


def test_a_promise_that_can_hardly_burn_says_so() -> None:
    all_slow = minutes_until_now(DAY, slow=1_000)
    found = alerts(all_slow, Promise(0.9, 80.0))["tail_burn"]
    assert found.firing
    assert found.figures["bound"] == 6, "10 times the budget is all there is"
    quiet = alerts(minutes_until_now(DAY), Promise(0.9, 80.0))["tail_burn"]
    assert "cannot burn faster than 10" in quiet.text
    assert "all is spent, and 100% more" in alerts(all_slow, promise_requests=1_000, promise_slow=20)["tail_burn"].text


def test_drift_is_twice_the_usual_corrections_of_the_load_in_both_halves() -> None:
    count = 2 * DAY
    assert firing(minutes_until_now(count, corrected=recent(count, 30, 45, 20))) == {"predictor_drift"}
    assert firing(minutes_until_now(count, corrected=recent(count, 30, 39, 20))) == set()
    assert firing(minutes_until_now(count, corrected=recent(count, 15, 90, 20))) == set(), "for 15 minutes only"
    # At a load of .8 more is usual than at .5.
    heavy = np.arange(count) % DAY >= DAY - 60
    work = np.where(heavy, 0.8 * 7.2e5, 3.6e5)
    assert firing(minutes_until_now(count, work_ms=work, thread_ms=work, corrected=np.where(heavy, 45, 20))) == set()
    new_load = recent(count, 30, 0.8 * 7.2e5, 3.6e5)
    found = alerts(minutes_until_now(count, work_ms=new_load, thread_ms=new_load, corrected=recent(count, 30, 90, 20)))
    assert not found["predictor_drift"].firing
    assert "not judged" in found["predictor_drift"].text


def test_corrections_are_compared_since_the_policy_is_the_same_and_beyond_chance() -> None:
    count = 2 * DAY
    minutes = minutes_until_now(count, corrected=recent(count, 300, 45, 5))
    assert "predictor_drift" in firing(minutes_until_now(count, corrected=recent(count, 30, 45, 5)))
    assert "predictor_drift" not in firing(minutes, policy_since_ns=NOW_NS - 300 * MINUTE_NS)
    rare = minutes_until_now(count, corrected=recent(count, 30, 1, 0))
    assert "predictor_drift" not in firing(rare), "15 in a half: chance, as far as can be told"
    before = evaluate(minutes_until_now(count, corrected=recent(count, 30, 45, 20)), PROMISE, Context(NOW_NS))
    assert "predictor_drift" in firing(minutes_until_now(count, corrected=recent(count, 30, 35, 20)), before=before)
    assert "predictor_drift" not in firing(minutes_until_now(count, corrected=recent(count, 30, 31, 20)), before=before)


def test_drift_is_also_that_long_requests_are_not_foreseen() -> None:
    found = alerts(minutes_until_now(DAY, long_missed=11))["predictor_drift"]
    assert found.firing
    assert found.figures["recall"] == pytest.approx(0.725)
    assert "train it on newer ones" in found.text
    # Eight an hour: 200 of them take more than a day, 20 minutes of 10 each are enough.
    assert "predictor_drift" not in firing(minutes_until_now(2 * DAY, long=np.arange(2 * DAY) % 8 == 0, long_missed=0))
    rare = np.where(np.arange(DAY) % 60 == 0, 10, 0)
    assert "predictor_drift" in firing(minutes_until_now(DAY, long=rare, long_missed=rare // 2))
    few = np.where(np.arange(DAY) % 120 == 0, 10, 0)
    assert "predictor_drift" not in firing(minutes_until_now(DAY, long=few, long_missed=few // 2)), "120 of a day"


def test_over_parallel_is_a_hardware_full_of_threads_that_gain_little() -> None:
    full = {"effective_ms": 3e5, "work_ms": 3.6e5, "thread_ms": 6.6e5}  # share .75, load .5, full at .545
    assert firing(minutes_until_now(DAY, **full)) == {"over_parallel"}
    assert firing(minutes_until_now(DAY, **full | {"effective_ms": 3.3e5})) == set(), "threads have .825 each"
    assert firing(minutes_until_now(DAY, **full | {"thread_ms": 6e5})) == set(), "full at .6 only"
    assert firing(minutes_until_now(DAY, **full | {"profiled": False})) == set(), "speed-ups are not known"
    assert firing(minutes_until_now(DAY, **full | {"effective_ms": recent(DAY, 5, 4e5, 2.9e5)})) == set(), "it is over"
    assert alerts(minutes_until_now(DAY, **full))["over_parallel"].severity == "ticket"
    paged = alerts(minutes_until_now(DAY, slow=200, **full))
    assert [paged[name].severity for name in ("tail_burn", "over_parallel")] == ["page", "page"]
    before = list(alerts(minutes_until_now(DAY, **full)).values())
    assert "over_parallel" in firing(minutes_until_now(DAY, **full | {"effective_ms": 3.3e5}), before=before)


def test_idle_workers_beside_slow_requests_are_advice() -> None:
    found = alerts(minutes_until_now(DAY, idle_at_dispatch=1))["under_parallel_idle"]
    assert found.firing
    assert found.severity == "info"
    assert "30 of 60 slow requests" in found.text
    assert firing(minutes_until_now(DAY, slow=3, idle_at_dispatch=1)) == set()
    few = minutes_until_now(DAY, slow=recent(DAY, 19, 1, 0), idle_at_dispatch=recent(DAY, 19, 1, 0))
    assert firing(few) == set(), "19 slow requests"


def learned(table: np.ndarray, spread: float = 1.02, edges_ms: tuple[float, ...] = (30.0, 80.0)) -> LearnedProfile:
    known = np.zeros(table.shape, bool)
    counts = np.full(table.shape, 100)
    return LearnedProfile(
        SpeedupProfile(edges_ms, table), counts, table / spread, table * spread, known, 1_800, 100, "reconstructed"
    )


def test_a_profile_is_stale_where_a_speed_up_changed_beyond_chance() -> None:
    used = learned(WEB_SEARCH.table)
    slower = WEB_SEARCH.table.copy()
    slower[2, 1:] *= 0.8
    minutes = minutes_until_now(60)
    found = alerts(minutes, profile=used, learned=learned(slower))["profile_stale"]
    assert found.firing
    assert found.figures["learned"] / found.figures["used"] == pytest.approx(0.8)
    assert found.figures["work_ms"] > 80
    assert "profile_stale" not in firing(minutes, profile=used, learned=learned(slower, spread=1.5)), "may be chance"
    assert "profile_stale" not in firing(minutes, profile=used, learned=learned((WEB_SEARCH.table + slower) / 2))
    few = replace(learned(slower), extrapolated=np.ones((3, 6), bool))
    assert "profile_stale" not in firing(minutes, profile=used, learned=few), "no requests of its own tell so"
    assert firing(minutes, profile=used) == set()
    # Other edges: what was middle is long, and only there it is another speed-up.
    moved = alerts(minutes, profile=used, learned=learned(WEB_SEARCH.table, edges_ms=(30.0, 50.0)))["profile_stale"]
    assert moved.firing
    assert 50 < moved.figures["work_ms"] < 80
    assert "profile_stale" not in firing(
        minutes, profile=used, learned=learned(WEB_SEARCH.table, edges_ms=(31.0, 78.0))
    )
    one_class = learned(np.array([[1.0, 1.5]]), edges_ms=())
    assert "profile_stale" in firing(minutes, profile=one_class, learned=learned(np.array([[1.0, 1.9]]), edges_ms=()))


def test_a_table_is_out_of_range_where_its_last_bucket_is_met_often() -> None:
    often = minutes_until_now(DAY, last_bucket=60)
    assert "table_out_of_range" in firing(often, table_buckets=7)
    assert "table_out_of_range" not in firing(minutes_until_now(DAY, last_bucket=50), table_buckets=7)
    assert "table_out_of_range" not in firing(often, table_buckets=1), "a flat table has no other"
    assert "table_out_of_range" not in firing(often)
    assert "table_out_of_range" not in firing(often, table_buckets=7, policy_since_ns=NOW_NS), "of another table"
    assert "table_out_of_range" not in firing(minutes_until_now(DAY, dispatched=10, last_bucket=9), table_buckets=7)


def test_advice_is_ready_where_a_forecast_gains_enough_for_sure() -> None:
    good = Advice("run-1", "tpc", NOW_NS, gain_p99_pct=12.0, gain_low_pct=6.0, mean_change_pct=2.0)
    minutes = minutes_until_now(60)
    found = alerts(minutes, advice=good)["advice_ready"]
    assert found.firing
    assert "tpc would lower p99 by 12.0%" in found.text
    assert "run-1" in found.text
    for worse in (
        {"gain_p99_pct": 9.0}, {"gain_low_pct": 4.0}, {"mean_change_pct": 6.0}, {"gain_low_pct": None},
        {"failed_gates": {"saturation": "the queue grows"}}, {"made_ns": NOW_NS - 8 * DAY * MINUTE_NS},
    ):  # fmt: skip
        assert firing(minutes, advice=replace(good, **worse)) == set(), worse


def test_advice_is_blocked_where_the_service_tells_too_little() -> None:
    said = {"identifiability": "12 requests on 3 threads; want 30", "saturation": "the queue grows"}
    found = alerts(minutes_until_now(60), advice=Advice("run-2", "tpc", NOW_NS, failed_gates=said))["advice_blocked"]
    assert found.firing
    assert found.text == "12 requests on 3 threads; want 30"


def test_an_objective_below_the_work_is_told_as_unreachable() -> None:
    why = unreachable(np.full(1_000, 400.0), WEB_SEARCH, 80.0, 0.99, 6)
    found = alerts(minutes_until_now(60), unreachable=why)["objective_unreachable"]
    assert found.firing
    assert found.cause == "intrinsic"
    assert "97.6 ms" in found.text


def test_the_same_minutes_give_the_same_alerts_and_stay_as_they_were() -> None:
    minutes = minutes_until_now(slow=recent(7 * DAY, 60, 200, 0))
    before = {name: getattr(minutes, name).copy() for name in ("slow", "start_ns", "causes")}
    assert evaluate(minutes, PROMISE, Context(NOW_NS)) == evaluate(minutes, PROMISE, Context(NOW_NS))
    assert all(np.array_equal(getattr(minutes, name), value) for name, value in before.items())


@pytest.mark.parametrize(
    ("percentile", "target_ms", "days"), [(99, 80, 28), (0.99, 0, 28), (0.99, np.nan, 28), (0.99, 80, 0)]
)
def test_promises_that_cannot_be_are_refused(percentile: float, target_ms: float, days: int) -> None:
    with pytest.raises(DataError, match="want a percentile above 0 and below 1"):
        Promise(percentile, target_ms, days)
