"""Services, minutes and profiles: settings by version, documents as they were, and what is forgotten when."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from store import tail_documents
from store.errors import ServiceChangedError, ServiceRowError, UnknownServiceError
from store.tail_alerts import alert_changes, put_alerts
from store.tail_batches import add_batch
from store.tail_minutes import MinuteRow, put_minutes, read_minutes
from store.tail_profiles import active_profile, get_profile, list_profiles, put_profile
from store.tail_retention import PROFILES_KEPT, forget_services, forget_unheard
from store.tail_runs import ask_run, cancel_run, get_run
from store.tail_services import ServiceSettings, check_settings, get_service, known_service, list_services, put_service
from store.tail_targets import activate_table, draft_table, get_table
from tests.store.tail_world import NOW_NS, SECOND_NS, Alert, add, read, requests

MINUTE_NS = 60 * SECOND_NS
WHOLE = ServiceSettings(
    percentile=0.999, target_ms=80.5, fan_out=40, window_days=7, threads=12, workers=24, max_degree=6,
    class_edges_ms=(30.0, 80.0), policy={"kind": "fixed", "degree": 3}, explore_share=0.02,
)  # fmt: skip


def test_settings_come_back_as_they_were_set(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        row = put_service(connection, "sérvice", WHOLE, NOW_NS, by="ana")
        assert known_service(connection, "sérvice") == row
        again = put_service(connection, "sérvice", ServiceSettings(), NOW_NS + 1, 1)
    assert (row.settings, row.version, row.changed_by, row.first_ns, row.latest_ns) == (WHOLE, 1, "ana", NOW_NS, None)
    assert (again.settings, again.version, again.first_ns, again.changed_ns) == (
        ServiceSettings(), 2, NOW_NS, NOW_NS + 1
    )  # fmt: skip


def test_settings_are_not_put_over_those_of_somebody_else(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        put_service(connection, "a", ServiceSettings(), NOW_NS, 0)
    for expected in (0, 2):
        said = f"version 1 now, and {expected} was to be"
        with pytest.raises(ServiceChangedError, match=said) as caught, engine.begin() as connection:
            put_service(connection, "a", WHOLE, NOW_NS, expected)
        assert caught.value.seen == 1
    with engine.connect() as connection:
        assert known_service(connection, "a").settings == ServiceSettings()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"percentile": float("nan")}, "percentile is nan"),
        ({"target_ms": float("inf")}, "target_ms is inf"),
        ({"class_edges_ms": (1.0, float("inf"))}, "class_edges_ms"),
        ({"class_edges_ms": tuple(map(float, range(1, 17)))}, "up to 15 rising numbers"),
        ({"policy": {"x": "y" * 70_000}}, "policy is"),
    ],
)
def test_settings_that_no_request_could_bring_are_refused_too(change: dict[str, object], words: str) -> None:
    with pytest.raises(ServiceRowError, match=words):
        check_settings(replace(WHOLE, **change))  # type: ignore[arg-type]


def test_services_are_listed_by_name_with_their_newest_request(engine: sa.Engine) -> None:
    columns = requests(3)
    for service in ("b", "Z", "a"):
        add(engine, columns, service=service)
    with engine.connect() as connection:
        found = list_services(connection)
        assert [row.service for row in list_services(connection, "Z", 1)] == ["a"]
        assert list_services(connection, "zz\x00") == []
        with pytest.raises(UnknownServiceError, match="unknown service 'A'"):
            known_service(connection, "A")
    assert [(row.service, row.latest_ns) for row in found] == [
        (name, columns["arrival_ns"][-1]) for name in ("Z", "a", "b")
    ]


def test_a_minute_is_written_again_when_more_of_it_is_known(engine: sa.Engine) -> None:
    rows = [MinuteRow("a", NOW_NS + n * MINUTE_NS, {"requests": n, "text": "ñ"}, n) for n in range(4)]
    with engine.begin() as connection:
        put_minutes(connection, rows[2:])
        put_minutes(connection, [replace(rows[2], document={}), *rows, MinuteRow("b", NOW_NS, {"requests": 9})])
        put_minutes(connection, [])
        assert read_minutes(connection, "a", NOW_NS, NOW_NS + 4 * MINUTE_NS) == rows
        assert read_minutes(connection, "a", NOW_NS + 1, NOW_NS + 3 * MINUTE_NS) == rows[1:3]


def test_documents_that_are_no_json_or_too_large_are_refused(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_documents, "DOCUMENT_MAX_BYTES", 100)
    for document, words in (
        ({"x": object()}, "cannot be written"),
        ({"x": "\ud800"}, "cannot"),
        ({"x": "y" * 99}, "bytes"),
    ):
        with engine.begin() as connection, pytest.raises(ServiceRowError, match=words):
            put_minutes(connection, [MinuteRow("a", NOW_NS, document)])


def test_profiles_count_up_and_one_is_in_use(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert active_profile(connection, "a") is None
        first = put_profile(connection, "a", {"n": 1}, NOW_NS)
        second = put_profile(connection, "a", {"n": 2}, NOW_NS, activate=False)
        assert active_profile(connection, "a") == first
        third = put_profile(connection, "a", {"n": 3}, NOW_NS)
        assert active_profile(connection, "a") == third
        assert put_profile(connection, "b", {}, NOW_NS).version == 1
        assert get_profile(connection, "a", 2) == second
        assert get_profile(connection, "a", 4) is None
        found = [(row.version, row.active) for row in list_profiles(connection, "a")]
    assert found == [(3, True), (2, False), (1, False)]


def forgotten(engine: sa.Engine, batches_before_ns: int, before_ns: int) -> int:
    total = 0
    while True:
        with engine.begin() as connection:
            gone = forget_services(connection, batches_before_ns=batches_before_ns, before_ns=before_ns)
        if not gone:
            return total
        total += gone


def test_what_is_old_is_forgotten_in_small_steps_and_the_rest_stays(engine: sa.Engine) -> None:
    for number in range(4):
        add(engine, requests(5, number, NOW_NS + number * MINUTE_NS), str(number))
    with engine.begin() as connection:
        put_minutes(connection, [MinuteRow("search", NOW_NS + n * MINUTE_NS, {}) for n in range(4)])
        waiting, _ = ask_run(connection, "search", "learn", {}, NOW_NS)
        ended, _ = ask_run(connection, "search", "search", {}, NOW_NS)
        cancel_run(connection, "search", ended.id, NOW_NS)
        put_alerts(connection, "search", [Alert("tail_burn")], NOW_NS)
        for number in range(PROFILES_KEPT + 3):
            put_profile(connection, "search", {"n": number}, NOW_NS, activate=not number)
    assert forgotten(engine, NOW_NS, NOW_NS) == 2  # profiles
    middle = NOW_NS + 2 * MINUTE_NS
    assert forgotten(engine, middle, middle) == 2 + 2 + 1 + 1
    assert len(read(engine)) == 10
    with engine.connect() as connection:
        assert len(read_minutes(connection, "search", 0, 2**62)) == 2
        assert get_run(connection, "search", waiting.id) is not None
        assert get_run(connection, "search", ended.id) is None
        assert alert_changes(connection, "search", 0, 2**62) == []
        kept = [row.version for row in list_profiles(connection, "search")]
    assert kept == [*range(PROFILES_KEPT + 3, 3, -1), 1]


def test_a_service_goes_with_the_last_that_is_left_of_it_unless_somebody_means_to_come_back(engine: sa.Engine) -> None:
    for service in ("gone", "set", "used"):
        add(engine, requests(2), service=service)
    with engine.begin() as connection:
        put_service(connection, "set", WHOLE, NOW_NS)
        for service in ("gone", "used"):
            put_profile(connection, service, {}, NOW_NS)
            draft_table(connection, service, {}, NOW_NS)
        activate_table(connection, "used", 1, NOW_NS)
    assert forgotten(engine, 0, NOW_NS + 1) == 0, "requests are left"
    assert forgotten(engine, 2**62, NOW_NS + 1) == 3 + 1
    with engine.connect() as connection:
        assert [row.service for row in list_services(connection)] == ["set", "used"]
        assert get_service(connection, "gone") is None
        assert list_profiles(connection, "gone") == []
        assert get_table(connection, "used", 1).state == "active"


@pytest.mark.parametrize("comes", ["requests", "settings"])
def test_a_service_that_is_heard_of_while_it_is_forgotten_stays(engine: sa.Engine, comes: str) -> None:
    with engine.begin() as connection:
        put_profile(connection, "back", {}, NOW_NS)
    due = [comes]

    def come(connection: sa.Connection, _cursor: object, statement: str, *_rest: object) -> None:
        # As somebody else's transaction that ends between two statements of this one may in PostgreSQL.
        turn = statement.startswith("INSERT INTO gpu_counters")
        if due and due[0] == "requests" and turn:
            due.pop()
            add_batch(connection, "back", "i", None, requests(2), NOW_NS)
        elif due and due[0] == "settings" and statement.startswith("DELETE FROM tail_"):
            due.pop()
            put_service(connection, "back", WHOLE, NOW_NS)

    sa.event.listen(engine, "before_cursor_execute", come)
    with engine.begin() as connection:
        assert forget_unheard(connection, NOW_NS + 1) == 0
        assert not due
        assert get_service(connection, "back") is not None
        assert len(list_profiles(connection, "back")) == 1
