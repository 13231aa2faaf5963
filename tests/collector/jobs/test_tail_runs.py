"""Runs: taken, answered one at a time, cancelled, refused, and taken up again after a death, three times at most."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from analytics.tail.comparison import Figure
from analytics.tail.forecast_gates import Gate
from analytics.tail.policies import TargetTable, Tpc
from analytics.tail.policy_documents import policy_from
from analytics.tail.profile_documents import profile_from
from analytics.tail.recorded_search import RecordedSearch
from analytics.tail.table_search import FoundTable
from analytics.tail.what_if import Forecast, Question
from collector.jobs import tail_asking, tail_questions, tail_runs
from collector.jobs.tail_jobs import TailRounds
from store.tail_profiles import active_profile, list_profiles
from store.tail_runs import cancel_run, list_runs, next_run
from store.tail_targets import activate_table, draft_table, list_tables
from tests.collector.jobs.killing import KilledError
from tests.collector.jobs.tail_world import HOUR_NS, MINUTE_NS, NOW, TailWorld, requests

Progress = Callable[[float, str], None]
#: A search as the API asks for it.
SEARCH = {
    "metric": "threads_and_queue",
    "width": None,
    "p999_weight": 0.5,
    "mean_weight": 1.0,
    "mean_over_sequential": 1.08,
    "note": "",
}


@pytest.fixture
def served(quick_tail_world: TailWorld) -> TailWorld:
    """A service with 2,400 requests of four minutes."""
    quick_tail_world.serve()
    quick_tail_world.take(requests(NOW - 20 * MINUTE_NS, n=2_400))
    return quick_tail_world


def test_speed_ups_are_learned_and_used_from_then_on(tail_world: TailWorld) -> None:
    world = tail_world
    world.serve()
    world.take(requests(NOW - 20 * MINUTE_NS, n=6_000))
    run = world.ask("learn")
    assert world.tick()
    found = world.run(run)
    assert (found.state, found.error, found.progress) == ("done", None, 1.0), found.error
    assert found.answer is not None
    assert (found.answer["profile_version"], found.answer["active"], found.answer["requests_seen"]) == (1, True, 6_000)
    with world.engine.connect() as connection:
        profile = active_profile(connection, "search")
    assert profile is not None
    learned = profile_from(profile.document).profile
    assert learned.edges_ms == (30.0, 80.0)
    assert learned.table[1, 5] == pytest.approx(2.05, rel=0.1)
    world.take(requests(NOW - 5 * MINUTE_NS, n=300, seed=2))
    assert world.tick()
    assert world.minutes()[5].version == 1


def test_a_class_begins_where_the_policy_in_use_takes_a_request_for_long(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve(class_edges_ms=None, policy={"kind": "predictive", "degree": 3, "long_ms": 55.0})
    world.take(requests(NOW - 20 * MINUTE_NS, n=6_000))
    world.ask("learn")
    assert world.tick()
    with world.engine.connect() as connection:
        profile = active_profile(connection, "search")
    assert profile is not None
    assert 55.0 in profile_from(profile.document).profile.edges_ms


def test_what_cannot_be_answered_is_refused_with_the_reason(served: TailWorld) -> None:
    world = served
    world.take(requests(NOW - 5 * MINUTE_NS, n=300, predicted_us=None), service="blind")
    world.serve("blind")
    world.take(requests(NOW - 5 * MINUTE_NS, n=300), service="unknown")
    runs = {
        "predict": world.ask("learn", service="blind"),
        "hardware threads": world.ask("learn", service="unknown"),
        "no request": world.ask("learn", end_ns=1),
        "tells a predicted": world.ask("what_if", service="blind", candidate={"kind": "fixed", "degree": 3}),
    }
    assert world.tick()
    for words, run in runs.items():
        service = {"predict": "blind", "tells a predicted": "blind", "hardware threads": "unknown"}.get(words, "search")
        found = world.run(run, service)
        assert found.state == "refused", found
        assert words in (found.error or "")
    forecast = world.run(runs["tells a predicted"], "blind").answer
    assert forecast is not None
    assert (forecast["answered"], forecast["advice"]["gain_p99_pct"]) == (False, None)
    assert forecast["advice"]["failed_gates"].keys() >= {"requests", "predictions"}


def test_a_table_is_replayed_with_the_most_threads_that_servers_run_it_with(
    served: TailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, seen = served, []

    def noted(samples: object, question: Question, *_rest: object, **_more: object) -> Forecast:
        seen.append((question.server.max_degree, (question.candidate_server or question.server).max_degree))
        return forecast(20)

    monkeypatch.setattr(tail_questions, "what_if", noted)
    candidate = {"kind": "tpc", "table": {"metric": "in_system", "width": 4.0, "targets_ms": [15.0, 40.0]}}
    world.ask("what_if", candidate=candidate, table_version=1, table_max_degree=4)
    world.ask("what_if", candidate=candidate, table_version=1, table_max_degree=4, max_degree=3, now_ns=NOW + 1)
    world.ask("what_if", candidate=candidate, table_version=1, table_max_degree=4_000, now_ns=NOW + 2)
    world.ask("what_if", candidate=candidate, now_ns=NOW + 3)
    assert world.tick()
    with world.engine.begin() as connection:
        drafted = draft_table(connection, "search", candidate, NOW, max_degree=2)
        activate_table(connection, "search", drafted.version, NOW)
    world.ask("what_if", candidate=candidate, now_ns=NOW + 4)
    assert world.tick(NOW + MINUTE_NS)
    assert seen == [(6, 4), (6, 3), (6, 24), (6, 6), (2, 6)]


def test_a_fault_ends_its_run_and_no_other(served: TailWorld) -> None:
    world = served
    broken = world.ask("what_if", candidate={"kind": "fixed", "degree": 3}, predictor={"spread": "wide"})
    fine = world.ask("learn", now_ns=NOW + 1)
    assert world.tick()
    assert world.run(broken).state == "failed"
    assert "TypeError" in (world.run(broken).error or "")
    assert world.run(fine).state == "done"


def test_what_is_learned_by_itself_changes_nothing_under_a_target_table(served: TailWorld) -> None:
    world = served
    world.ask("learn", asked_by="collector")
    assert world.tick()
    with world.engine.begin() as connection:
        drafted = draft_table(connection, "search", {"kind": "adaptive"}, NOW)
        activate_table(connection, "search", drafted.version, NOW)
    world.ask("learn", asked_by="collector")
    assert world.tick(NOW + MINUTE_NS)
    with world.engine.connect() as connection:
        assert [(one.version, one.active) for one in list_profiles(connection, "search")] == [(2, False), (1, True)]
    world.ask("learn", asked_by="anna")
    assert world.tick(NOW + 2 * MINUTE_NS)
    with world.engine.connect() as connection:
        assert next((one.version, one.active) for one in list_profiles(connection, "search")) == (3, True)


def test_a_run_that_nobody_wants_any_more_ends_and_leaves_nothing(
    served: TailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = served
    run = world.ask("learn")
    whole = tail_runs.answer

    def cancelled_meanwhile(engine: sa.Engine, one: tail_runs.RunRow, most: int, progress: Progress) -> object:
        with world.engine.begin() as connection:
            cancel_run(connection, "search", run, NOW)
        return whole(engine, one, most, progress)

    monkeypatch.setattr(tail_runs, "answer", cancelled_meanwhile)
    assert world.tick()
    assert world.run(run).state == "cancelled"
    with world.engine.connect() as connection:
        assert list_profiles(connection, "search") == [], "cancelled before its end, which was not told of it"
    run = world.ask("learn")
    monkeypatch.setattr(tail_runs, "_NOTED_EVERY_S", 0.0)
    assert world.tick(NOW + MINUTE_NS)
    assert world.run(run).state == "cancelled"
    assert world.run(run).progress == 0.0


def test_progress_is_noted(served: TailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = served
    run = world.ask("learn")
    monkeypatch.setattr(tail_runs, "_NOTED_EVERY_S", 0.0)
    noted: list[tuple[float, str]] = []
    whole = tail_runs.note_progress

    def seen(connection: sa.Connection, one: str, owner: str, share: float, text: str) -> bool:
        noted.append((share, text))
        return whole(connection, one, owner, share, text)

    monkeypatch.setattr(tail_runs, "note_progress", seen)
    assert world.tick()
    assert world.run(run).state == "done"
    assert [share for share, _ in noted] == [0.0, 0.3]
    assert "2400 requests" in noted[1][1]


def test_a_run_that_collectors_die_of_is_begun_three_times(served: TailWorld) -> None:
    world = served
    run = world.ask("learn")
    for deaths in range(3):
        rounds = world.rounds(owner=f"dies{deaths}")
        with world.engine.begin() as connection:
            taken = next_run(connection, "dead", NOW)
            assert taken is not None
            assert taken.attempts == deaths + 1
        rounds.leave()
        if deaths < 2:
            with world.engine.begin() as connection:
                tail_runs.take_back_runs(connection, tail_runs.MOST_ATTEMPTS, NOW)
    assert world.tick()
    found = world.run(run)
    assert found.state == "failed"
    assert "3 times" in (found.error or "")


def test_a_run_whose_collector_died_is_taken_up_again(served: TailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = served
    run = world.ask("learn")

    def dies(*_: object) -> object:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(tail_runs, "answer", dies)
        with pytest.raises(KilledError):
            world.tick()
    assert world.run(run).state == "running"
    assert world.tick(NOW + MINUTE_NS)
    assert (world.run(run).state, world.run(run).attempts) == ("done", 2)


def test_a_collector_that_stops_leaves_its_run_to_the_next_as_if_not_begun(
    served: TailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = served
    run = world.ask("learn")
    rounds = world.rounds(cpu_share=0.5)

    def stopped(engine: sa.Engine, one: object, most: int, progress: Progress) -> object:
        rounds._stop.set()
        progress(0.0, "")
        raise AssertionError("a stop ends it at its next step")

    monkeypatch.setattr(tail_runs, "answer", stopped)
    with pytest.raises(BaseException, match=r"^$"):
        rounds.tick(NOW)
    rounds.leave()
    assert (world.run(run).state, world.run(run).attempts) == ("waiting", 0)


def test_rounds_that_are_due_go_on_within_a_run(served: TailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = served
    run = world.ask("learn")
    whole = tail_runs.answer

    def meanwhile(engine: sa.Engine, one: tail_runs.RunRow, most: int, progress: Progress) -> object:
        world.take(requests(NOW - 8 * MINUTE_NS, n=60, seed=5), instance="i2")
        progress(0.0, "")
        assert world.counts()[8] == 60
        return whole(engine, one, most, progress)

    monkeypatch.setattr(tail_runs, "answer", meanwhile)
    assert world.tick(interval_s=1e-9)
    assert world.run(run).state == "done", world.run(run).error


def test_enough_new_requests_are_learned_from_and_again_after_an_interval(served: TailWorld) -> None:
    world = served
    states = []
    for minutes in (0, 1, 61, 122):
        now_ns = NOW + minutes * MINUTE_NS
        assert world.tick(now_ns, learn_every_s=3600.0)
        with world.engine.connect() as connection:
            states.append(len(list_profiles(connection, "search")))
        if minutes == 61:
            world.take(requests(now_ns, n=1_000, seed=9), received_ns=now_ns)
    assert states == [1, 1, 1, 2], "once at first, and again when 1,000 more came and an hour was over"


def test_what_the_job_asks_leaves_room_and_comes_to_each_service(
    quick_tail_world: TailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_tail_world
    monkeypatch.setattr(tail_asking, "_MOST_WAITING", 2)
    monkeypatch.setattr(TailRounds, "_forget", lambda *_: None)
    for place, name in enumerate("abc"):
        world.serve(name)
        world.take(requests(NOW - 5 * MINUTE_NS, n=1_000 + place), service=name)
    rounds = world.rounds()
    assert rounds.take(NOW)
    assert rounds.round(NOW)
    with world.engine.connect() as connection:
        asked = {name: len(list_runs(connection, name)) for name in "abc"}
    assert asked == {"a": 0, "b": 1, "c": 1}, "those with the most new requests"
    rounds.leave()


def test_advice_is_asked_for_once_a_day_where_it_is_wanted(served: TailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = served
    asked: list[str] = []
    whole = tail_runs.answer

    def noted(engine: sa.Engine, one: tail_runs.RunRow, most: int, progress: Progress) -> object:
        asked.append(one.kind)
        return whole(engine, one, most, progress) if one.kind == "learn" else tail_runs.Answer("done", {"advice": None})

    monkeypatch.setattr(tail_runs, "answer", noted)
    for hours in (0, 1, 2, 23, 25):
        now_ns = NOW + hours * HOUR_NS
        world.take(requests(now_ns, n=1_000, seed=hours), received_ns=now_ns)
        assert world.tick(now_ns, learn_every_s=3 * 86_400.0, advise_every_s=86_400.0)
    assert asked == ["learn", "search", "search"], "the first when speed-ups are known"


def forecast(gain_pct: float) -> Forecast:
    """One that passed its gates, give or take 1 %."""
    gain, change = Figure(gain_pct, gain_pct - 1, gain_pct + 1), Figure(1.0, 0.5, 1.5)
    return Forecast(
        True, (), (Gate("calibration", True, 0.01, 0.1, "near"),), gain_p99_pct=gain, mean_change_pct=change
    )


@pytest.mark.parametrize(
    ("gain_pct", "asked_by", "drafted"), [(20, "collector", 1), (8, "collector", 0), (8, "anna", 1)]
)
def test_a_search_ends_with_a_draft_where_somebody_asked_or_it_is_worth_it(
    served: TailWorld, monkeypatch: pytest.MonkeyPatch, gain_pct: float, asked_by: str, drafted: int
) -> None:
    world = served
    table = TargetTable("threads_and_queue", 4.0, (30.0, 40.0))

    def found(*_: object, **__: object) -> RecordedSearch:
        return RecordedSearch(FoundTable(table, 0.9, 100), forecast(gain_pct), 5, ((0.3, 1.0),))

    monkeypatch.setattr(tail_questions, "search_recorded", found)
    run = world.ask("search", asked_by=asked_by, **SEARCH)
    assert world.tick()
    done = world.run(run)
    assert (done.state, done.error) == ("done", None)
    assert done.answer is not None
    with world.engine.connect() as connection:
        tables = list_tables(connection, "search")
    assert [one.version for one in tables] == [done.answer["table_version"]] * drafted
    assert done.answer["advice"]["gain_p99_pct"] == gain_pct
    assert done.answer["advice"]["gain_low_pct"] == pytest.approx(gain_pct - 0.84, abs=0.01)
    for one in tables:
        assert (one.state, one.max_degree) == ("draft", 5)
        assert policy_from(one.document) == Tpc(table)
        assert one.evidence is not None
        assert one.evidence["forecast"]["gain_p99_pct"]["value"] == gain_pct
    assert world.tick(NOW + 6 * MINUTE_NS)
    ready = world.alerts()["advice_ready"]
    assert ready.firing == (gain_pct >= 10)
    assert run in ready.text or not ready.firing


def test_a_search_that_the_requests_do_not_bear_is_refused_and_blocks_advice(served: TailWorld) -> None:
    world = served
    run = world.ask("search", **SEARCH)
    assert world.tick()
    refused = world.run(run)
    assert refused.state == "refused"
    assert refused.error
    assert refused.answer is not None
    assert refused.answer["advice"]["failed_gates"]
    assert (refused.answer["table"], refused.answer["table_version"]) == (None, None)
