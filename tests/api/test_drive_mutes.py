"""Mutes over HTTP: of a drive, a model or the fleet; listed, shown at once, taken back; on both databases."""

import pytest

from api.drive_models import MutesPage
from store.drive_actions import fleet_mutes, muted_in
from store.drives import chunk_of, drive_ids
from tests.api.drives_world import MODEL, ODD
from tests.api.test_drive_actions import DAY_S, S1, client, lite, post, refused, said, seen, stored
from tests.api.test_drives_list import filled
from tests.api.test_lists import pages
from tests.api.world import NOW_NS, SECOND_NS, asking

__all__ = ["client", "lite"]
MUTE = "/api/v1/drives/mute"


def listed(client, **parameters):
    answer = client.get(MUTE, **parameters)
    assert answer.status_code == 200, answer.text
    MutesPage.model_validate_json(answer.content, strict=True)
    return [(one["drive"], one["model"], one["column"]) for one in answer.json()["mutes"]]


def test_a_column_is_muted_on_a_drive_a_model_or_the_fleet(client, database_url):
    said(post(client, f"{S1}/mute", {"column": "crc_total", "note": "the cable"}))
    assert [rule["muted"] for rule in seen(client)["rules"]] == [True, False]
    answer = post(client, "/api/v1/drives/mute", {"column": "uncorrectable_total", "model": MODEL})
    assert "probability still looks at all columns" in answer.json()["takes_effect"]
    (of_model,) = said(answer)
    assert (of_model["drive"], of_model["model"], of_model["until"]) == (None, MODEL, None)
    assert [rule["muted"] for rule in seen(client)["rules"]] == [True, True]
    said(post(client, "/api/v1/drives/mute", {"column": "crc_total"}))
    mutes = stored(database_url, lambda connection: fleet_mutes(connection, NOW_NS))
    assert [(one.model, one.cause) for one in mutes] == [(MODEL, "uncorrectable_total"), (None, "crc_total")]

    said(client.request("DELETE", "/api/v1/drives/mute", params={"model": MODEL}), 200)
    assert [rule["muted"] for rule in seen(client)["rules"]] == [True, False]
    said(client.request("DELETE", f"{S1}/mute", params={"column": "crc_total"}), 200)
    assert [rule["muted"] for rule in seen(client)["rules"]] == [True, False], "it is muted for the fleet, too"
    said(client.request("DELETE", "/api/v1/drives/mute", params={"column": "crc_total"}), 200)
    assert [rule["muted"] for rule in seen(client)["rules"]] == [False, False]
    refused(client.request("DELETE", "/api/v1/drives/mute"), 404)
    refused(client.request("DELETE", f"{S1}/mute"), 404)
    (number,) = stored(database_url, lambda connection: drive_ids(connection, ["S1"])).values()
    assert stored(database_url, lambda connection: muted_in(connection, chunk_of(number), NOW_NS)) == {}


@pytest.mark.parametrize("path", [f"{S1}/mute", "/api/v1/drives/mute"])
def test_a_column_that_there_is_not_is_refused_with_all_that_can_be_muted(lite, path):
    problem = refused(post(lite, path, {"column": "crc_totl"}))
    assert (problem["parameter"], problem["nearest"]) == ("column", "crc_total")
    for column in ("realloc_total", "wear_used_pct", "temperature_c", "probability", "wear"):
        assert column in problem["detail"]


def test_a_model_that_no_drive_is_of_is_refused(lite):
    problem = refused(post(lite, "/api/v1/drives/mute", {"column": "crc_total", "model": "SSD 850 PR"}), 404)
    assert (problem["parameter"], problem["nearest"]) == ("model", MODEL)


def test_all_that_is_muted_now_is_listed_the_newest_first(client, database_url):
    assert listed(client) == []
    said(post(client, f"{S1}/mute", {"column": "crc_total", "note": "the cable"}))
    said(post(client, MUTE, {"column": "uncorrectable_total", "model": MODEL, "until": "now+1d"}))
    said(post(client, MUTE, {"column": "wear"}))
    said(post(client, f"{S1}/acknowledge", {}))
    everything = [(None, None, "wear"), (None, MODEL, "uncorrectable_total"), ("S1", None, "crc_total")]
    assert listed(client) == everything
    found = client.get(MUTE).json()
    assert found["next_cursor"] is None
    assert (found["mutes"][2]["note"], found["mutes"][1]["until_ns"]) == ("the cable", NOW_NS + DAY_S * SECOND_NS)
    page = [one["column"] for page in pages(client, MUTE, limit=1) for one in page.json()["mutes"]]
    assert page == ["wear", "uncorrectable_total", "crc_total"]
    with asking(database_url, now_ns=lambda: NOW_NS + DAY_S * SECOND_NS) as later:
        assert listed(later) == [everything[0], everything[2]], "the other one is over"
    said(client.request("DELETE", MUTE), 200)
    assert listed(client) == everything[1:]


def test_what_is_muted_of_a_drive_shows_although_no_rule_fires_any_more(client):
    """Once the job has left a column out there is no rule to mark, and a drive that looks good would hide it."""
    said(post(client, "/api/v1/drives/S2/mute", {"column": "wear"}))
    said(post(client, MUTE, {"column": "crc_total", "model": MODEL}))
    said(post(client, MUTE, {"column": "downshift_total"}))
    assert seen(client, "/api/v1/drives/S2")["muted"] == ["crc_total", "downshift_total", "wear"]
    assert seen(client, "/api/v1/drives/S3")["muted"] == ["downshift_total"]
    odd = client.get("/api/v1/drives", serial="odd").json()["drives"][0]["href"]
    assert seen(client, odd)["muted"] == ["downshift_total"], f"{ODD} tells no model, and is one of the fleet"


@pytest.mark.parametrize(
    ("parameters", "parameter"), [({"limit": 0}, "limit"), ({"cursor": "UzE"}, "cursor"), ({"drive": "S1"}, "drive")]
)
def test_a_list_of_mutes_that_cannot_be_is_refused(lite, parameters, parameter):
    assert refused(lite.get(MUTE, **parameters))["parameter"] == parameter


def test_taking_back_what_is_not_muted_says_what_is(tmp_path):
    with asking(filled(f"sqlite:///{tmp_path / 'mutes.db'}")) as client:
        said(post(client, f"{S1}/mute", {"column": "crc_total"}))
        said(post(client, MUTE, {"column": "realloc_total"}))
        for path, there in ((f"{S1}/mute", "crc_total"), (MUTE, "realloc_total")):
            problem = refused(client.request("DELETE", path, params={"column": "wear"}), 404)
            assert problem["detail"].startswith("'wear' is not muted of ")
            assert problem["detail"].endswith(f"now; what is: {there}")
        problem = refused(client.request("DELETE", MUTE, params={"model": MODEL}), 404)
        assert problem["detail"] == f"nothing is muted of the model {MODEL!r} now; GET {MUTE} lists all that is"
