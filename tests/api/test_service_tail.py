"""Tails of services over time and by load, why requests were slow, and what was learned of speed-ups."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analytics.tail.causes import CAUSES, attribute
from analytics.tail.effective import effective_ms
from analytics.tail.samples import take_samples
from api.config import ApiConfig, ServicesConfig
from api.service_tail_models import CausesAnswer, ProfileAnswer, TailAnswer
from store.connect import open_engine
from store.tail_batches import add_batch
from store.tail_profiles import put_profile
from store.tail_services import put_service
from tests.api.services_world import (
    MINUTE_NS,
    PROFILE,
    SERVER,
    SETTINGS,
    SINCE_NS,
    TARGET_MS,
    UNTIL_NS,
    all_columns,
    learned,
    recorded,
)
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking

TAIL = "/api/v1/services/shop/tail"
CAUSES_OF = "/api/v1/services/shop/tail/causes"
ERROR = 0.0055


@pytest.fixture
def client(services_client):
    return services_client


def samples():
    return take_samples(all_columns())


def arrived_in(minute, of):
    """Which requests came in the minute with this number."""
    times = of.origin_ns + np.round(of.arrivals_ms * 1e6).astype(np.int64)
    return (times - SINCE_NS) // MINUTE_NS == minute


def nearest(latencies, q):
    return np.sort(latencies)[max(1, math.ceil(q * latencies.size)) - 1]


def tail(client, **parameters):
    answer = client.get(TAIL, **parameters)
    assert answer.status_code == 200, answer.text
    TailAnswer.model_validate_json(answer.content, strict=True)
    return answer.json()


def test_a_tail_has_the_quantiles_of_the_recorded_requests_at_their_nearest_ranks(client):
    found, latencies = tail(client, q="0,0.5,0.99,0.999,1"), samples().latencies_ms
    (group,) = found["groups"]
    assert found["synthetic"]
    assert (group["requests"], group["minutes"]) == (latencies.size, 4)
    assert group["mean_ms"] == pytest.approx(latencies.mean())
    for one in group["quantiles"]:
        assert one["ms"] == pytest.approx(nearest(latencies, one["q"]), rel=ERROR)
        assert one["beyond"] == latencies.size - max(1, math.ceil(one["q"] * latencies.size))
    slowest_of_four = nearest(latencies, 0.99**0.25)
    assert group["fan_out_ms"] == pytest.approx(slowest_of_four, rel=ERROR)


def test_over_time_each_window_has_its_own_minutes(client):
    groups, of = tail(client, step="90s", q="0.9")["groups"], samples()
    assert [one["minutes"] for one in groups] == [2, 2]  # 90 s are rounded up to two minutes
    assert groups[0]["start_ns"] == SINCE_NS
    last = of.latencies_ms[arrived_in(2, of) | arrived_in(3, of)]
    assert groups[1]["quantiles"][0]["ms"] == pytest.approx(nearest(last, 0.9), rel=ERROR)
    assert groups[1]["slow"] == np.count_nonzero(last > TARGET_MS)
    assert groups[1]["promise_kept"] is bool(np.mean(last > TARGET_MS) <= 0.01)


def test_minutes_of_which_little_was_known_count_for_latencies_alone(client):
    found = tail(client, step="1m")
    first, second, third, _ = found["groups"]
    assert (first["causes"], first["slow"] > 0, first["load"] > 0) == (None, True, True)
    assert [second[name] for name in ("slow", "slow_ratio", "promise_kept", "load", "mean_share")] == [None] * 5
    assert second["requests"] == np.count_nonzero(arrived_in(1, samples()))
    assert sum(third["causes"].values()) == third["slow"]
    coverage = found["coverage"]
    assert [coverage[name] for name in ("unprofiled", "unpromised", "unmeasured")] == [1, 1, 1]
    assert (coverage["minutes"], coverage["minutes_asked"]) == (4, 61)
    whole = tail(client)["groups"][0]
    told = samples().latencies_ms[~arrived_in(1, samples())]
    assert whole["slow_ratio"] == pytest.approx(np.mean(told > TARGET_MS))


def test_by_load_minutes_are_grouped_by_the_work_that_came_in_them(client):
    groups = tail(client, by="load")["groups"]
    assert groups[0]["load_level"] is None  # of one minute nobody had said how many threads there are
    for one in groups[1:]:
        assert one["load_level"]["at_least"] <= one["load"] < one["load_level"]["below"]
    assert sum(one["requests"] for one in groups) == len(samples())


def test_a_tail_that_has_not_changed_is_a_304(client):
    first = client.get(TAIL, start=str(SINCE_NS // 10**9))
    again = client.request(
        "GET", TAIL, params={"start": str(SINCE_NS // 10**9)}, headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"by": "instance"}, "want by=load"),
        ({"start": "-90d"}, "at most 62 days"),
        ({"start": "now", "end": "-1h"}, "is not before"),
        ({"step": "0"}, "must be longer than 0"),
        ({"q": "99"}, "did you mean 0.99?"),
        ({"stp": "1m"}, "did you mean step?"),
    ],
)
def test_a_tail_of_nothing_that_can_be_meant_is_refused(client, parameters, words):
    problem = problem_of(client.get(TAIL, **parameters))
    assert (problem["status"], words in problem["detail"]) == (400, True), problem["detail"]


@pytest.mark.parametrize(
    ("service", "parameters", "status", "words"),
    [
        ("nobody", {}, 404, "unknown service 'nobody'"),
        ("quiet", {}, 404, "POST /api/v1/services/quiet/requests"),
        ("new", {}, 404, "collector.jobs.tail.enabled"),
        ("shop", {"start": "-3d", "end": "-2d"}, 404, "the newest recorded request came at"),
    ],
)
def test_where_no_minutes_are_the_answer_says_what_there_is(client, service, parameters, status, words):
    problem = problem_of(client.get(f"/api/v1/services/{service}/tail", **parameters))
    assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]


def causes(client, **parameters):
    answer = client.get(CAUSES_OF, **parameters)
    assert answer.status_code == 200, answer.text
    CausesAnswer.model_validate_json(answer.content, strict=True)
    return answer.json()


def test_causes_are_those_of_the_attribution_and_shares_add_up_to_one(client):
    found, of = causes(client), samples()
    wanted = attribute(of, effective_ms(of, SERVER.threads), learned(), TARGET_MS, SERVER.max_degree)
    counts = np.bincount(wanted[wanted >= 0], minlength=len(CAUSES))
    assert found["counts"] == dict(zip(CAUSES, counts.tolist(), strict=True))
    assert found["slow"] == counts.sum() > 100
    assert sum(found["shares"].values()) == pytest.approx(1)
    for level in found["levels"]:
        assert sum(level["counts"].values()) == level["slow"]
        assert level["shares"] is None or sum(level["shares"].values()) == pytest.approx(1)
    assert sum(level["requests"] for level in found["levels"]) == found["requests"] == len(of)
    assert sum(level["share_of_time"] for level in found["levels"]) == pytest.approx(1)
    assert (found["unreachable"], found["synthetic"]) == (None, True)
    assert found["coverage"]["notes"] == []


def test_the_slowest_requests_are_listed_with_what_they_met(client):
    listed, of = causes(client, slowest="3")["slowest"], samples()
    assert [one["latency_ms"] for one in listed] == pytest.approx(np.sort(of.latencies_ms)[::-1][:3])
    first = listed[0]
    assert first["wait_ms"] + first["service_ms"] == pytest.approx(first["latency_ms"])
    assert first["instance"] in ("web-0", "web-1")
    source = recorded(int(first["instance"][-1]))
    place = np.flatnonzero(source["arrival_ns"] == first["arrived_ns"])
    assert first["predicted_ms"] == pytest.approx(source["predicted_us"][place[0]] / 1e3)
    assert causes(client, slowest="0")["slowest"] == []


def test_more_requests_than_may_be_read_leave_the_older_ones_out_and_say_so(services_url):
    with asking(services_url, ApiConfig(services=ServicesConfig(max_requests=5_000))) as client:
        found = causes(client)
    of, coverage = samples(), found["coverage"]
    assert 0 < coverage["requests_read"] <= 5_000
    assert coverage["requests_recorded"] == len(of)
    times = of.origin_ns + np.round(of.arrivals_ms * 1e6).astype(np.int64)
    assert found["requests"] == np.count_nonzero(times >= coverage["since_ns"])
    assert "ask for a shorter stretch" in coverage["notes"][0]


@pytest.mark.parametrize(
    ("service", "parameters", "status", "words"),
    [
        ("nobody", {}, 404, "unknown service"),
        ("new", {}, 409, 'PUT /api/v1/services/new/objective with what is true of it, such as {"target_ms": 80}'),
        ("quiet", {}, 409, "POST /api/v1/services/quiet/speedup-profile/learn"),
        ("shop", {"start": "-3d", "end": "-2d"}, 404, "the newest recorded request came at"),
        ("shop", {"slowest": "1001"}, 400, "no whole number from 0 to 1000"),
    ],
)
def test_where_causes_cannot_be_told_the_answer_says_why(client, service, parameters, status, words):
    problem = problem_of(client.get(f"/api/v1/services/{service}/tail/causes", **parameters))
    assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]


def settle(url, **settings):
    engine = open_engine(url)
    with engine.begin() as connection:
        put_service(connection, "shop", replace(SETTINGS, **settings), NOW_NS)
    engine.dispose()


def test_a_promise_that_no_policy_can_keep_is_told(services_url):
    settle(services_url, target_ms=20.0)
    with asking(services_url) as client:
        beyond = causes(client)["unreachable"]
    assert beyond["share"] > beyond["allowed"] == pytest.approx(0.01)
    assert beyond["reachable_ms"] > 20
    assert "cannot be kept" in beyond["text"]


def test_no_more_threads_are_reckoned_with_than_speedups_are_known_for(services_client, services_url):
    settle(services_url, max_degree=None, workers=4)
    with asking(services_url) as client:
        assert causes(client)["counts"] == causes(services_client)["counts"]
    settle(services_url, threads=None)
    with asking(services_url) as client:
        problem = problem_of(client.get(CAUSES_OF))
    # A PUT replaces all settings: the one it names keeps what was told.
    assert (problem["status"], '"threads": 12}' in problem["detail"]) == (409, True), problem["detail"]
    assert f'"target_ms": {TARGET_MS}' in problem["detail"]


def test_requests_that_stand_for_several_count_so(services_url):
    settle(services_url)
    engine = open_engine(services_url)
    weighted = {name: values[:2_000] for name, values in recorded(0).items()}
    weighted |= {"arrival_ns": weighted["arrival_ns"] + 30 * MINUTE_NS, "weight": np.full(2_000, 7)}
    with engine.begin() as connection:
        add_batch(connection, "shop", "web-0", "sampled", weighted, NOW_NS)
    engine.dispose()
    with asking(services_url, now_ns=lambda: NOW_NS + 60 * MINUTE_NS) as client:
        found = causes(client, start=str((SINCE_NS + 30 * MINUTE_NS) // 10**9))
    slow = np.count_nonzero(weighted["wait_us"] + weighted["service_us"] > TARGET_MS * 1e3)
    assert (found["requests"], found["slow"], found["basis"]) == (14_000, 7 * slow, "at_start")
    assert "stand for several" in found["coverage"]["notes"][-1]


def test_one_question_about_causes_too_many_is_told_when_to_come_back(services_url):
    with asking(services_url) as client:
        reads = client.app.state.service.reads
        waiting = [reads._waiting.acquire(blocking=False) for _ in range(4)]
        try:
            answer = client.get(CAUSES_OF)
        finally:
            for _ in waiting:
                reads._waiting.release()
        assert all(waiting)
        assert (problem_of(answer)["status"], answer.headers["retry-after"]) == (503, "5")
        assert client.get(CAUSES_OF).status_code == 200


def profile(client, service="shop", **parameters):
    answer = client.get(f"/api/v1/services/{service}/speedup-profile", **parameters)
    assert answer.status_code == 200, answer.text
    ProfileAnswer.model_validate_json(answer.content, strict=True)
    return answer.json()


def test_speedups_are_shown_with_what_they_rest_on_and_how_learning_went(client):
    found = profile(client)
    shown = found["profile"]
    assert shown["speedups"] == PROFILE.table.tolist()
    assert shown["extrapolated"][0] == [False, True, False]
    assert shown["slowdown"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (shown["counts"][0], shown["age_s"], shown["active"]) == ([400, 7, 400], 3600.0, True)
    assert (found["learning"]["state"], found["learning"]["text"]) == ("refused", "all predictions are the same")
    assert client.get(found["learning"]["href"]).json()["kind"] == "learn"
    assert profile(client, version="1")["profile"] == shown


def test_where_nothing_was_learned_the_answer_says_so(client):
    found = profile(client, "quiet")
    assert (found["profile"], found["versions"], found["learning"]["state"]) == (None, [], "never")
    assert found["why_no_profile"].startswith("nothing is in use")
    for version, status, words in (("2", 404, "there are 1"), ("x", 400, "no whole number"), ("0", 400, "from 1")):
        problem = problem_of(client.get("/api/v1/services/shop/speedup-profile", version=version))
        assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]


def test_speedups_that_another_release_wrote_are_no_answer(services_url):
    engine = open_engine(services_url)
    with engine.begin() as connection:
        put_profile(connection, "shop", {"speedups": "many"}, NOW_NS)
    engine.dispose()
    with asking(services_url) as client:
        problem = problem_of(client.get("/api/v1/services/shop/speedup-profile"))
        assert (problem["status"], "learns them anew" in problem["detail"]) == (503, True)
        assert problem_of(client.get(CAUSES_OF))["status"] == 503


def test_recorded_minutes_are_whole(client):
    assert SINCE_NS % MINUTE_NS == 0
    assert UNTIL_NS < NOW_NS
    assert tail(client)["coverage"]["newest_request_ns"] < UNTIL_NS
