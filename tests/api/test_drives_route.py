"""GET /api/v1/drives/{drive}: one drive, by serial number or number, with its reasons and its history."""

from datetime import timedelta
from urllib.parse import quote

import msgspec
import pytest
import sqlalchemy as sa

from api.drive_models import DriveDetail
from store.connect import open_engine
from store.drive_tables import drives as table
from tests.api.drives_world import MODEL, ODD, REPLACE, SCORED_NS, TODAY, VIRTUAL
from tests.api.test_drives_list import drives, filled
from tests.api.world import asking

__all__ = ["drives"]


def shown(client, drive, **parameters):
    answer = client.get(f"/api/v1/drives/{quote(str(drive), safe='')}", **parameters)
    assert answer.status_code == 200, answer.text
    DriveDetail.model_validate_json(answer.content, strict=True)
    return answer.json()


def test_the_three_outputs_stand_apart_with_their_reasons(drives):
    found = shown(drives, "S1")
    assert found["state"] == "replace"
    assert [(rule["rule"], rule["severity"], rule["before"], rule["value"]) for rule in found["rules"]] == [
        ("crc-grew", "watch", 4, 9),
        ("uncorrectable-grew", "replace", 0, 12),
    ]
    assert found["wear"]["why_not"] == "the drive does not tell its wear"
    assert (found["probability_7d"], found["probability_30d"], found["why_no_probability"]) == (0.4, 0.71, "")
    assert [reason["text"] for reason in found["reasons"]] == ["reallocated sectors 4 -> 61 in 7 days"]
    assert found["causes"] == [
        {"cause": "uncorrectable-grew", "level": 12.0, "acknowledged": False},
        {"cause": "probability", "level": 0.71, "acknowledged": False},
    ]
    assert found["model_digest"] == "sha256:0"


def test_wear_has_a_day_and_an_interval_whose_end_may_be_open(drives):
    wear = shown(drives, "S2")["wear"]
    assert (wear["used_percent"], wear["percent_per_day"], wear["confidence"]) == (93.0, 0.1, 0.9)
    assert wear["basis"] == "window"
    assert wear["ends"] == (TODAY + timedelta(days=70)).isoformat()
    assert (wear["ends_early"], wear["ends_late"]) == ((TODAY + timedelta(days=60)).isoformat(), None)


def test_days_are_the_newest_first_and_what_is_unknown_is_null(drives):
    days = shown(drives, "S1")["days"]
    assert [day["day"] for day in days] == [(TODAY - timedelta(days=back)).isoformat() for back in range(20)]
    assert [day["realloc_total"] for day in days[:3]] == [61, 58, 55]
    assert days[0]["crc_total"] is None
    assert len(shown(drives, "S1", days=4)["days"]) == 5
    assert shown(drives, "S1", days=0)["days"] == []
    assert shown(drives, "S2")["days"] == []


def test_changes_of_state_are_the_newest_first(drives):
    changes = shown(drives, "S1")["states"]
    assert [(change["was"], change["state"], change["why"]) for change in changes] == [
        ("good", "replace", "as it was"),
        ("unknown", "good", "nothing speaks against it"),
    ]
    assert changes[0]["at_ns"] == SCORED_NS
    assert len(shown(drives, "S1", changes=1)["states"]) == 1


@pytest.mark.parametrize("name", [VIRTUAL, ODD, "1001"])
def test_a_drive_of_any_name_is_found_where_its_link_leads(drives, name):
    listed = drives.get("/api/v1/drives", sort="drive").json()["drives"]
    (entry,) = [one for one in listed if one["drive"] == name]
    assert drives.get(entry["href"]).json()["drive"] == name


def test_a_number_is_a_serial_number_first(tmp_path):
    """Serial numbers may be plain numbers: whoever types one off a label must not get another drive."""
    url = filled(f"sqlite:///{tmp_path / 'numbers.db'}")
    with asking(url) as client:
        second = shown(client, "S2")["id"]
        assert shown(client, second)["drive"] == "S2"
        engine = open_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.update(table).where(table.c.drive == "1001").values(drive=str(second)))
        engine.dispose()
        assert shown(client, second)["drive"] == str(second)


@pytest.mark.parametrize("name", ["host0:/dev/sdc", "nobody", "9" * 30, "%00", "-1", "S1/"])
def test_an_unknown_drive_is_a_404_that_names_one_that_is_alike(drives, name):
    answer = drives.get(f"/api/v1/drives/{name}")
    assert answer.status_code == 404, answer.text
    assert answer.json()["parameter"] == "drive"
    if name == "host0:/dev/sdc":
        assert answer.json()["nearest"] == VIRTUAL
        assert f"did you mean {VIRTUAL!r}?" in answer.json()["detail"]
    if name == "nobody":
        assert "?serial=TEXT" in answer.json()["detail"]


@pytest.mark.parametrize(
    "parameters", [{"days": 401}, {"days": -1}, {"changes": 1_001}, {"days": "many"}, {"day": 3}, {"days": "9" * 30}]
)
def test_more_than_may_be_shown_is_refused(drives, parameters):
    answer = drives.get("/api/v1/drives/S1", **parameters)
    assert (answer.status_code, answer.json()["parameter"]) == (400, next(iter(parameters)))


def test_a_drive_without_a_verdict_shows_what_its_row_knows(tmp_path):
    """The job may leave the verdict out where nothing speaks against a drive; an older one may not be readable."""
    url = filled(f"sqlite:///{tmp_path / 'plain.db'}")
    engine = open_engine(url)
    for text in (None, "{}", '{"drive": 1'):
        with engine.begin() as connection:
            connection.execute(
                sa.update(table).where(table.c.drive == "S3").values(verdict=text, wear_used_pct=12.0, p30=0.001)
            )
        with asking(url) as client:
            found = shown(client, "S3")
        assert (found["state"], found["rules"], found["reasons"], found["causes"]) == ("good", [], [], [])
        assert (found["wear"]["used_percent"], found["why_no_probability"], found["why_unknown"]) == (12.0, "", "")
        assert (found["wear"]["basis"], found["shadow"]) == (None, None)
    with asking(url) as client:
        assert shown(client, ODD)["why_unknown"] == shown(client, ODD)["why_no_probability"] == "not judged yet"
    engine.dispose()


def test_an_unchanged_drive_is_a_304(drives):
    first = drives.get("/api/v1/drives/S1")
    again = drives.request("GET", "/api/v1/drives/S1", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert first.json()["model"] == MODEL


def test_what_the_shadow_model_says_stands_apart_from_what_counts(tmp_path):
    url = filled(f"sqlite:///{tmp_path / 'shadow.db'}")
    engine = open_engine(url)

    def verdict(shadow):
        with engine.begin() as connection:
            text = msgspec.json.encode({**msgspec.to_builtins(REPLACE, str_keys=True), "shadow": shadow}).decode()
            connection.execute(sa.update(table).where(table.c.drive == "S1").values(verdict=text))
        with asking(url) as client:
            return shown(client, "S1")

    found = verdict({"digest": "sha256:1", "probabilities": {"7": 0.01, "30": 0.02}})
    assert found["shadow"] == {"digest": "sha256:1", "probability_7d": 0.01, "probability_30d": 0.02}
    assert (found["probability_7d"], found["probability_30d"], found["model_digest"]) == (0.4, 0.71, "sha256:0")
    assert verdict({"digest": "sha256:1", "probabilities": {"30": 0.02}})["shadow"]["probability_7d"] is None
    for nothing in (None, {"digest": "sha256:1", "probabilities": {}}, {"digest": 1}):
        found = verdict(nothing)
        assert found["shadow"] is None
        assert found["rules"], "the verdict itself can be read"
    engine.dispose()
