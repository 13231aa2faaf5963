"""What operators say about drives: written down with who said it, shown at once, taken back; on both databases."""

from dataclasses import replace
from datetime import date, timedelta

import msgspec
import pytest
import sqlalchemy as sa

from analytics.ssd.states import Cause, Memory, dump_memory
from analytics.ssd.verdicts import State
from api.config import ApiConfig
from api.drive_models import ActionsAnswer, DriveDetail
from store.connect import open_engine
from store.drive_actions import acknowledged_in, failures
from store.drive_tables import drives
from store.drives import chunk_of, drive_ids
from tests.api.drives_world import ODD, REPLACE, TODAY
from tests.api.test_auth import bearer, made
from tests.api.test_drives_list import filled
from tests.api.world import NOW_NS, SECOND_NS, asking

S1 = "/api/v1/drives/S1"
DAY_S = 86_400


@pytest.fixture
def client(database_url):
    with asking(filled(database_url)) as asked:
        yield asked


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    """On SQLite alone and for the whole module, for what is refused: nothing is written."""
    with asking(filled(f"sqlite:///{tmp_path_factory.mktemp('lite') / 'tailwatch.db'}")) as asked:
        yield asked


def post(client, path, body, **options):
    return client.request("POST", path, json=body, **options)


def said(answer, status=201):
    assert answer.status_code == status, answer.text
    ActionsAnswer.model_validate_json(answer.content, strict=True)
    return answer.json()["actions"]


def refused(answer, status=400):
    assert answer.status_code == status, answer.text
    return answer.json()


def stored(url, ask):
    engine = open_engine(url)
    with engine.connect() as connection:
        found = ask(connection)
    engine.dispose()
    return found


def seen(client, path=S1):
    answer = client.get(path)
    DriveDetail.model_validate_json(answer.content, strict=True)
    return answer.json()


def test_all_causes_are_acknowledged_for_thirty_days_and_show_it_at_once(client, database_url):
    actions = said(post(client, f"{S1}/acknowledge", {"note": "ordered"}))
    assert [(one["cause"], one["level"], one["note"]) for one in actions] == [
        ("uncorrectable-grew", 12.0, "ordered"),
        ("probability", 0.71, "ordered"),
    ]
    assert {one["until_ns"] for one in actions} == {NOW_NS + 30 * DAY_S * SECOND_NS}
    found = seen(client)
    assert [cause["acknowledged"] for cause in found["causes"]] == [True, True]
    assert found["state"] == "replace", "the state is the job's"
    assert [one["kind"] for one in found["actions"]] == ["acknowledge", "acknowledge"]
    assert [one["drive"] for one in client.get("/api/v1/drives", acknowledged="true").json()["drives"]] == ["S1"]
    (number,) = stored(database_url, lambda connection: drive_ids(connection, ["S1"])).values()
    held = stored(database_url, lambda connection: acknowledged_in(connection, chunk_of(number), NOW_NS))
    assert [one.cause for one in held[number]] == ["uncorrectable-grew", "probability"]


def test_one_cause_can_be_acknowledged_and_taken_back(client):
    said(post(client, f"{S1}/acknowledge", {"causes": ["probability"], "until": "now+1w"}))
    assert [cause["acknowledged"] for cause in seen(client)["causes"]] == [False, True]
    taken = said(client.request("DELETE", f"{S1}/acknowledge", params={"cause": "probability"}), 200)
    assert taken[0]["ended_ns"] == NOW_NS
    assert [cause["acknowledged"] for cause in seen(client)["causes"]] == [False, False]
    assert [one["ended_ns"] for one in seen(client)["actions"]] == [NOW_NS], "what was said stays in the history"
    problem = refused(client.request("DELETE", f"{S1}/acknowledge"), 404)
    assert problem["detail"].startswith("nothing is acknowledged of drive 'S1'")


def test_a_cause_that_got_worse_is_news_again(client, database_url):
    said(post(client, f"{S1}/acknowledge", {}))
    worse = replace(REPLACE, causes={"uncorrectable-grew": 12.0, "probability": 0.8})
    engine = open_engine(database_url)
    with engine.begin() as connection:
        text = msgspec.json.encode(worse).decode()
        connection.execute(sa.update(drives).where(drives.c.drive == "S1").values(verdict=text))
    engine.dispose()
    assert [cause["acknowledged"] for cause in seen(client)["causes"]] == [True, False]


def test_a_cause_that_the_job_still_takes_for_known_shows_as_known(client, database_url):
    """For the job a probability that is a little higher is no news; the answer must not say that it is."""
    said(post(client, f"{S1}/acknowledge", {"causes": ["probability"]}))
    engine = open_engine(database_url)

    def judged(level):
        verdict = msgspec.json.encode(replace(REPLACE, causes={"probability": level})).decode()
        memory = Memory(TODAY, State.REPLACE, TODAY, {"probability": Cause(State.REPLACE, level, 0.2, 0)})
        with engine.begin() as connection:
            told = {"verdict": verdict, "memory": dump_memory(memory)}
            connection.execute(sa.update(drives).where(drives.c.drive == "S1").values(told))
        (cause,) = seen(client)["causes"]
        return cause["acknowledged"]

    assert [judged(level) for level in (0.71, 0.9, 0.92)] == [True, True, False]
    with engine.begin() as connection:
        connection.execute(sa.update(drives).where(drives.c.drive == "S1").values(memory="{"))
    assert seen(client)["causes"][0]["acknowledged"] is False
    engine.dispose()


def test_an_acknowledgement_ends_on_its_day(database_url):
    now = [NOW_NS]
    with asking(filled(database_url), now_ns=lambda: now[0]) as client:
        said(post(client, f"{S1}/acknowledge", {"until": "now+2d"}))
        now[0] += 2 * DAY_S * SECOND_NS - 1
        assert [cause["acknowledged"] for cause in seen(client)["causes"]] == [True, True]
        now[0] += 1
        assert [cause["acknowledged"] for cause in seen(client)["causes"]] == [False, False]


def test_a_drive_that_nothing_speaks_against_cannot_be_acknowledged(lite):
    for path in ("/api/v1/drives/S3", "/api/v1/drives/1001"):
        problem = refused(post(lite, f"{path}/acknowledge", {}), 409)
        assert "nothing speaks against" in problem["detail"]


def test_a_cause_that_is_not_there_is_refused_with_those_that_are(lite):
    problem = refused(post(lite, f"{S1}/acknowledge", {"causes": ["probabilty"]}))
    assert (problem["parameter"], problem["nearest"]) == ("causes", "probability")
    assert "uncorrectable-grew, probability" in problem["detail"]


def test_what_became_of_a_drive_is_kept_for_training(client, database_url):
    (failed,) = said(post(client, f"{S1}/outcome", {"outcome": "failed", "day": "2026-11-20", "note": "dead"}))
    assert (failed["outcome"], failed["day"], failed["cause"]) == ("failed", "2026-11-20", None)
    (number,) = stored(database_url, lambda connection: drive_ids(connection, ["S1"])).values()
    day = (date(2026, 11, 20) - date(1970, 1, 1)).days
    assert stored(database_url, failures) == [(number, day)]
    (back,) = said(post(client, f"{S1}/outcome", {"outcome": "back"}))
    assert back["day"] == TODAY.isoformat()
    assert stored(database_url, failures) == []


@pytest.mark.parametrize(
    ("body", "parameter", "said_of_it"),
    [
        ({"outcome": "failed", "day": "yesterday"}, "day", "2026-11-22"),
        ({"outcome": "failed", "day": "1999-12-31"}, "day", "between 2000-01-01"),
        ({"outcome": "failed", "day": (TODAY + timedelta(days=2)).isoformat()}, "day", "between"),
        ({"outcome": "broken"}, "outcome", "failed"),
        ({}, "outcome", "missing"),
        ({"outcome": "failed", "dy": "2026-11-22"}, "dy", "did you mean day"),
        ({"outcome": "failed", "note": "x" * 1_001}, "note", "1000"),
        ({"outcome": "failed", "note": "a\x00"}, "note", "zero byte"),
    ],
)
def test_an_outcome_that_cannot_be_is_refused(lite, body, parameter, said_of_it):
    problem = refused(post(lite, f"{S1}/outcome", body))
    assert problem["parameter"] == parameter
    assert said_of_it in problem["detail"]


@pytest.mark.parametrize("until", ["-5m", "now", "soon", "2026-01-01T00:00:00Z"])
def test_what_ends_before_it_begins_is_refused(lite, until):
    for path, body in ((f"{S1}/acknowledge", {}), (f"{S1}/mute", {"column": "crc_total"})):
        problem = refused(post(lite, path, {**body, "until": until}))
        assert problem["parameter"] == "until"
        assert "now+30d" in problem["detail"], "an end lies ahead, so times that lie behind are no example"
    assert seen(lite)["actions"] == []


@pytest.mark.parametrize("action", ["acknowledge", "mute", "outcome"])
def test_nothing_can_be_said_of_a_drive_that_there_is_not(lite, action):
    body = {"acknowledge": {}, "mute": {"column": "crc_total"}, "outcome": {"outcome": "failed"}}[action]
    assert refused(post(lite, f"/api/v1/drives/S9/{action}", body), 404)["parameter"] == "drive"


def test_a_drive_whose_name_has_a_slash_can_be_spoken_of(client):
    listed = client.get("/api/v1/drives", serial="odd").json()["drives"]
    (action,) = said(post(client, f"{listed[0]['href']}/outcome", {"outcome": "replaced_healthy"}))
    assert action["drive"] == ODD


def test_who_said_it_is_the_name_of_the_key_and_reading_is_not_enough(tmp_path):
    url = filled(f"sqlite:///{tmp_path / 'keys.db'}")
    reader, admin = made(url, "viewer", ("read",)), made(url, "oncall", ("read", "admin"))
    with asking(url, ApiConfig(auth="on")) as client:
        for method, path in (
            ("POST", f"{S1}/acknowledge"), ("POST", "/api/v1/drives/mute"), ("DELETE", f"{S1}/mute"),
            ("POST", f"{S1}/outcome"),
        ):  # fmt: skip
            answer = client.request(method, path, json={}, headers=bearer(reader))
            assert (answer.status_code, answer.json()["scope"]) == (403, "admin")
        (action,) = said(post(client, f"{S1}/outcome", {"outcome": "failed"}, headers=bearer(admin)))
        assert action["who"] == "oncall"
        assert client.request("GET", S1, headers=bearer(reader)).json()["actions"][0]["who"] == "oncall"
    with asking(url, ApiConfig(auth="off"), address="10.0.0.7") as client:
        (action,) = said(post(client, f"{S1}/outcome", {"outcome": "back"}))
        assert action["who"] == "somebody at 10.0.0.7"


def test_a_body_that_is_too_large_is_a_413(tmp_path):
    with asking(filled(f"sqlite:///{tmp_path / 'large.db'}"), ApiConfig(max_body_bytes=200)) as client:
        assert post(client, f"{S1}/outcome", {"outcome": "failed", "note": "x" * 300}).status_code == 413
