"""Questions that take long: asked once, answered once, whoever dies meanwhile; and alerts with what became of them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from store import tail_runs
from store.connect import open_engine
from store.errors import ServiceLimitError, UnknownServiceError
from store.tail_alerts import alert_changes, list_alerts, put_alerts
from store.tail_runs import (
    ask_run,
    asked_last,
    cancel_run,
    count_waiting,
    end_run,
    get_run,
    list_runs,
    next_run,
    note_progress,
    release_run,
    take_back_runs,
)
from store.tail_services import ensure_service
from tests.store.tail_world import NOW_NS, Alert

QUESTION = {"candidate": {"kind": "fixed", "degree": 2}, "load_multiplier": 1.5}


@pytest.fixture
def connection(engine):
    with engine.begin() as opened:
        ensure_service(opened, "a", NOW_NS)
        yield opened


def ask(connection: sa.Connection, number: int = 1, **more: object) -> str:
    return ask_run(connection, "a", "what_if", QUESTION | {"n": number}, NOW_NS + number, **more)[0].id  # type: ignore[arg-type]


def test_a_question_is_answered_with_progress(connection: sa.Connection) -> None:
    run = ask(connection, asked_by="ana")
    waiting = get_run(connection, "a", run)
    assert waiting is not None
    assert (waiting.state, waiting.request, waiting.asked_by) == ("waiting", QUESTION | {"n": 1}, "ana")
    taken = next_run(connection, "c1", NOW_NS + 5)
    assert taken is not None
    assert (taken.id, taken.state, taken.owner, taken.started_ns, taken.attempts) == (
        run,
        "running",
        "c1",
        NOW_NS + 5,
        1,
    )
    assert next_run(connection, "c1", NOW_NS) is None
    assert note_progress(connection, run, "c1", 0.5, "half")
    assert not note_progress(connection, run, "c2", 0.9, "not mine")
    assert end_run(connection, run, "c1", "done", NOW_NS + 9, answer={"gain": 0.2})
    done = get_run(connection, "a", run)
    assert done is not None
    assert (done.state, done.progress, done.answer, done.ended_ns) == ("done", 1.0, {"gain": 0.2}, NOW_NS + 9)
    assert done.progress_text == "", "nothing is done any more"
    assert not end_run(connection, run, "c1", "failed", NOW_NS, error="late")


def test_a_question_that_is_asked_twice_is_one_until_it_is_answered(connection: sa.Connection) -> None:
    first, new = ask_run(connection, "a", "learn", {"x": 1, "y": 2}, NOW_NS)
    assert new
    assert ask_run(connection, "a", "learn", {"y": 2, "x": 1}, NOW_NS) == (first, False)
    assert ask_run(connection, "a", "learn", {"y": 2, "x": 1}, NOW_NS, fresh=True)[1]
    assert ask_run(connection, "a", "search", {"y": 2, "x": 1}, NOW_NS)[1]
    for row in list_runs(connection, "a", kind="learn"):
        cancel_run(connection, "a", row.id, NOW_NS)
    assert ask_run(connection, "a", "learn", {"x": 1, "y": 2}, NOW_NS)[1]


def test_two_who_ask_the_same_at_once_get_one_run(upgraded_url: str) -> None:
    engines = [open_engine(upgraded_url, immediate=True) for _ in range(3)]
    with engines[0].begin() as connection:
        ensure_service(connection, "a", NOW_NS)
    together = threading.Barrier(len(engines))

    def question(engine: sa.Engine) -> str:
        together.wait(60)
        with engine.begin() as connection:
            return ask(connection)

    with ThreadPoolExecutor(len(engines)) as pool:
        assert len(set(pool.map(question, engines))) == 1
    for engine in engines:
        engine.dispose()


def test_what_waits_longest_comes_first(connection: sa.Connection) -> None:
    runs = [ask(connection, number) for number in (3, 1, 2)]
    taken = [next_run(connection, "c1", NOW_NS) for _ in range(3)]
    assert [row.id for row in taken if row is not None] == [runs[1], runs[2], runs[0]]
    listed = list_runs(connection, "a")
    assert [row.id for row in listed] == [runs[0], runs[2], runs[1]]
    assert list_runs(connection, "a", (listed[0].asked_ns, listed[0].id), 1) == [listed[1]]
    assert list_runs(connection, "a", state="waiting") == []


def test_a_run_that_is_cancelled_takes_no_answer(connection: sa.Connection) -> None:
    run, waiting = ask(connection, 1), ask(connection, 2)
    next_run(connection, "c1", NOW_NS)
    assert note_progress(connection, run, "c1", 0.5, "half")
    for one in (run, waiting):
        cancelled = cancel_run(connection, "a", one, NOW_NS + 9)
        assert cancelled is not None
        assert (cancelled.state, cancelled.ended_ns, cancelled.progress_text) == ("cancelled", NOW_NS + 9, "")
    assert not note_progress(connection, run, "c1", 0.5, "")
    assert not end_run(connection, run, "c1", "done", NOW_NS, answer={})
    assert next_run(connection, "c1", NOW_NS) is None
    assert cancel_run(connection, "a", "nothing", NOW_NS) is None
    assert cancel_run(connection, "b", run, NOW_NS) is None
    assert get_run(connection, "a", "\x00") is None


def test_a_run_that_is_cancelled_while_it_is_taken_stays_cancelled(connection: sa.Connection) -> None:
    run, second = ask(connection, 1), ask(connection, 2)
    due = [run]

    @sa.event.listens_for(connection, "before_cursor_execute")
    def _cancel(_one: object, _cursor: object, statement: str, *_rest: object) -> None:
        # As somebody else's transaction, which takes no turn, may in PostgreSQL.
        if statement.startswith("UPDATE tail_runs") and due:
            cancel_run(connection, "a", due.pop(), NOW_NS + 9)

    taken = next_run(connection, "c1", NOW_NS)
    assert taken is not None
    assert taken.id == second
    cancelled = get_run(connection, "a", run)
    assert cancelled is not None
    assert (cancelled.state, cancelled.ended_ns) == ("cancelled", NOW_NS + 9)


def test_what_people_ask_is_answered_before_what_a_job_asks(connection: sa.Connection) -> None:
    ask(connection, 1, asked_by="collector")
    people = [ask(connection, number, asked_by="ana") for number in (2, 3)]
    taken = [next_run(connection, "c1", NOW_NS) for _ in range(3)]
    assert [one.id for one in taken[:2] if one] == people
    assert taken[2] is not None
    assert taken[2].asked_by == "collector"


def test_a_kind_of_question_says_when_it_was_asked_last(connection: sa.Connection) -> None:
    assert asked_last(connection, "a", "what_if") == (None, False)
    ask(connection, 1)
    run = ask(connection, 2)
    assert asked_last(connection, "a", "what_if") == (NOW_NS + 2, True)
    assert asked_last(connection, "a", "learn") == (None, False)
    assert count_waiting(connection) == 2
    for one in (1, 2):
        next_run(connection, "c1", NOW_NS + one)
        assert asked_last(connection, "a", "what_if") == (NOW_NS + 2, True)
    for one in list_runs(connection, "a"):
        cancel_run(connection, "a", one.id, NOW_NS)
    assert asked_last(connection, "a", "what_if") == (NOW_NS + 2, False)
    assert get_run(connection, "a", run) is not None


def test_what_a_process_died_over_waits_again_and_fails_in_the_end(connection: sa.Connection) -> None:
    run = ask(connection)
    for attempt in (1, 2):
        taken = next_run(connection, f"c{attempt}", NOW_NS)
        assert taken is not None
        assert taken.attempts == attempt
        assert take_back_runs(connection, 3, NOW_NS) == 1
    next_run(connection, "c3", NOW_NS)
    assert release_run(connection, run, "c3")
    next_run(connection, "c4", NOW_NS)
    assert note_progress(connection, run, "c4", 0.5, "replaying")
    assert take_back_runs(connection, 3, NOW_NS + 1) == 0
    failed = get_run(connection, "a", run)
    assert failed is not None
    assert (failed.state, failed.ended_ns, failed.progress_text) == ("failed", NOW_NS + 1, "")
    assert "3 times" in (failed.error or "")
    assert (failed.error or "").endswith("; the last time while replaying")


def test_few_questions_wait_at_a_time(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_runs, "WAITING_MAX", 2)
    monkeypatch.setattr(tail_runs, "WAITING_IN_ALL_MAX", 3)
    ask(connection, 1)
    ask(connection, 2)
    with pytest.raises(ServiceLimitError, match="2 questions about 'a' wait already; at most 2 may, and 3 about all"):
        ask(connection, 3)
    next_run(connection, "c1", NOW_NS)
    ask(connection, 3)
    ensure_service(connection, "b", NOW_NS)
    ask_run(connection, "b", "learn", {}, NOW_NS)
    with pytest.raises(ServiceLimitError):
        ask_run(connection, "b", "search", {}, NOW_NS)
    with pytest.raises(UnknownServiceError):
        ask_run(connection, "nobody", "learn", {}, NOW_NS)


def test_alerts_begin_change_and_end_and_each_time_is_kept(connection: sa.Connection) -> None:
    def put(at: int, *alerts: Alert) -> int:
        return put_alerts(connection, "a", alerts, NOW_NS + at)

    well = Alert("profile_stale", firing=False, severity="info", cause=None)
    assert put(1, Alert("tail_burn"), well) == 1
    assert put(2, Alert("tail_burn", text="slower", figures={"rate": 20.0}), well) == 0
    assert put(3, Alert("tail_burn", cause="contention"), well) == 1
    (row,) = list_alerts(connection, "a", firing=True)
    assert (row.cause, row.changed_ns, row.since_ns) == ("contention", NOW_NS + 3, NOW_NS)
    assert put(4, well) == 1
    assert put(5, well) == 0
    assert list_alerts(connection, firing=True) == []
    assert [row.name for row in list_alerts(connection, "a")] == ["profile_stale", "tail_burn"]
    assert [row.name for row in list_alerts(connection, after=("a", "profile_stale"), severity="page")] == ["tail_burn"]
    changes = alert_changes(connection, "a", NOW_NS, NOW_NS + 10)
    assert [(one.changed_ns - NOW_NS, one.firing, one.cause) for one in changes] == [
        (4, False, "contention"), (3, True, "contention"), (1, True, "queueing")
    ]  # fmt: skip
    assert alert_changes(connection, "a", NOW_NS, NOW_NS + 10, before_id=changes[1].id) == changes[2:]
    assert alert_changes(connection, "a", NOW_NS + 2, NOW_NS + 4) == changes[1:2]
