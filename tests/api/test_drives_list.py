"""GET /api/v1/drives: filters, orders and pages, on both databases; and the drives at a glance."""

import csv
import io

import pytest

from api.drive_models import DrivesPage, DrivesSummary, ModelCards
from store.connect import open_engine, upgrade
from store.drive_models import install
from tests.api.drives_world import CARD, MODEL, ODD, SCORED_NS, TODAY, VIRTUAL, add_drives
from tests.api.test_lists import pages
from tests.api.world import asking

WORST_FIRST = ["S1", "S2", ODD, "1001", "S3", VIRTUAL]


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    """A client of a SQLite database with the drives, which only reads."""
    with asking(filled(f"sqlite:///{tmp_path_factory.mktemp('drives') / 'tailwatch.db'}")) as asked:
        yield asked


def filled(url, *, model=True):
    upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        add_drives(connection, model=model)
    engine.dispose()
    return url


def names(client, **parameters):
    answer = client.get("/api/v1/drives", **parameters)
    assert answer.status_code == 200, answer.text
    DrivesPage.model_validate_json(answer.content, strict=True)
    return [entry["drive"] for entry in answer.json()["drives"]]


def test_a_drive_stands_in_the_list_with_what_is_said_of_it(drives):
    first, second = drives.get("/api/v1/drives", limit=2).json()["drives"]
    assert {name: first[name] for name in ("drive", "state", "node", "rack", "model", "vendor", "synthetic")} == {
        "drive": "S1", "state": "replace", "node": "host0", "rack": "r1", "model": MODEL, "vendor": "Samsung",
        "synthetic": False,
    }  # fmt: skip
    assert (first["probability_7d"], first["probability_30d"], first["wear_used_percent"]) == (0.4, 0.71, None)
    assert first["first_reason"] == "uncorrectable errors 0 -> 12 in 7 days"
    assert first["assessed_ns"] == SCORED_NS
    assert (second["wear_used_percent"], second["wear_ends_late"]) == (93.0, None)
    assert second["wear_ends"] > second["wear_ends_early"] > TODAY.isoformat()
    assert second["first_reason"] == "93 % of the rated life used"


def test_a_drive_that_nobody_has_judged_is_unknown_and_says_so(drives):
    (entry,) = drives.get("/api/v1/drives", serial="odd").json()["drives"]
    assert (entry["state"], entry["since"], entry["assessed"]) == ("unknown", None, None)
    assert entry["first_reason"] == "not judged yet"
    (virtual,) = drives.get("/api/v1/drives", serial=VIRTUAL).json()["drives"]
    assert virtual["first_reason"].startswith("a virtual disk")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_lists_are_filtered_sorted_and_paged_alike_in_both_databases(database, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'd.db'}" if database == "sqlite" else request.getfixturevalue("postgres_url")
    with asking(filled(url)) as client:
        assert names(client)[:2] == ["S1", "S2"]
        assert names(client, sort="drive") == sorted(WORST_FIRST)
        assert names(client, sort="drive", order="desc") == sorted(WORST_FIRST, reverse=True)
        assert names(client, sort="probability")[:2] == ["S1", "S2"]
        assert names(client, sort="probability", order="asc")[:2] == ["S2", "S1"]
        assert names(client, sort="wear")[0] == "S2"
        for asked, found in (
            ({"state": "replace"}, ["S1"]),
            ({"state": "replace,watch"}, ["S1", "S2"]),
            ({"model": MODEL}, ["S1", "S2"]),
            ({"vendor": "Intel", "sort": "drive"}, ["1001", "S3"]),
            ({"node": "host1", "rack": "r1"}, ["S2"]),
            ({"firmware": "VDV10131"}, ["S3"]),
            ({"min_probability": "0.5"}, ["S1"]),
            ({"min_probability": "0.004"}, ["S1", "S2"]),
            ({"serial": "s", "sort": "drive"}, ["S1", "S2", "S3", VIRTUAL]),
            ({"serial": "%"}, []),
            ({"synthetic": "true"}, ["1001"]),
            ({"synthetic": "false", "state": "good"}, ["S3"]),
            ({"acknowledged": "true"}, []),
            ({"acknowledged": "false", "state": "watch"}, ["S2"]),
            ({"model": "none such"}, []),
        ):
            assert names(client, **asked) == found, asked
        for sort in ("state", "probability", "wear", "since", "drive"):
            for order in ("asc", "desc"):
                whole = names(client, sort=sort, order=order)
                listed = [
                    one["drive"]
                    for page in pages(client, "/api/v1/drives", sort=sort, order=order, limit=1)
                    for one in page.json()["drives"]
                ]
                assert listed == whole
                assert sorted(listed) == sorted(WORST_FIRST)


@pytest.mark.parametrize(
    ("parameters", "parameter", "said"),
    [
        ({"state": "bad"}, "state", "unknown, good, watch, replace"),
        ({"state": "replce"}, "state", "did you mean replace"),
        ({"state": "good,,watch"}, "state", "empty item"),
        ({"sort": "age"}, "sort", "probability, state, wear, drive, since"),
        ({"order": "up"}, "order", "asc, desc"),
        ({"min_probability": "10"}, "min_probability", "did you mean 0.1"),
        ({"min_probability": "NaN"}, "min_probability", "no number"),
        ({"min_probability": "."}, "min_probability", "no number"),
        ({"synthetic": "yes"}, "synthetic", "true, false"),
        ({"acknowledged": "1"}, "acknowledged", "true, false"),
        ({"format": "xml"}, "format", "format=csv"),
        ({"limit": 0}, "limit", "between 1"),
        ({"cursor": "aG9zdA"}, "cursor", "not one that this API gave"),
        ({"cursor": "%%%"}, "cursor", "not one that this API gave"),
        ({"stat": "good"}, "stat", "did you mean state"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(drives, parameters, parameter, said):
    answer = drives.get("/api/v1/drives", **parameters)
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)
    assert said in answer.json()["detail"]


def test_a_cursor_of_another_order_is_refused_and_not_misread(drives):
    cursor = drives.get("/api/v1/drives", limit=1, sort="wear").json()["next_cursor"]
    answer = drives.get("/api/v1/drives", limit=1, sort="drive", cursor=cursor)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "cursor")
    assert "sorted by wear, not by drive" in answer.json()["detail"]


def test_the_list_as_csv_has_the_same_drives_and_no_formulas(drives):
    answer = drives.get("/api/v1/drives", format="csv", sort="drive")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["drive"] for row in rows] == ["1001", f"'{ODD}", "S1", "S2", "S3", VIRTUAL]
    (first,) = [row for row in rows if row["drive"] == "S1"]
    assert (first["probability_30d"], first["state"], first["family"]) == ("0.71", "replace", "")
    one = drives.get("/api/v1/drives", format="csv", limit=1)
    again = drives.get("/api/v1/drives", format="csv", limit=1, cursor=one.headers["tailwatch-next-cursor"])
    assert again.text.splitlines()[1].startswith("S2,")


def test_an_unchanged_list_of_drives_is_a_304(drives):
    first = drives.get("/api/v1/drives")
    assert first.headers["cache-control"] == "no-cache"
    again = drives.request("GET", "/api/v1/drives", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_the_summary_counts_and_says_which_model_and_that_it_is_synthetic(drives):
    answer = drives.get("/api/v1/drives/summary")
    DrivesSummary.model_validate_json(answer.content, strict=True)
    found = answer.json()
    assert (found["drives"], found["states"]) == (6, {"unknown": 2, "good": 2, "watch": 1, "replace": 1})
    assert {"model": MODEL, "unknown": 0, "good": 0, "watch": 1, "replace": 1} in found["models"]
    assert (found["synthetic_drives"], found["synthetic"]) == (1, True)
    assert found["last_round_ns"] == SCORED_NS - 10**9
    assert (found["last_assessed_ns"], found["last_day"]) == (SCORED_NS, TODAY.isoformat())
    assert found["scoring_model"]["synthetic"] is True
    assert found["scoring_model"]["horizons"] == [7, 30]
    assert found["why_no_model"] == ""


def test_the_card_of_the_model_is_shown_whole(drives):
    answer = drives.get("/api/v1/drives/model")
    ModelCards.model_validate_json(answer.content, strict=True)
    found = answer.json()
    assert found["active"]["card"] == CARD
    assert found["shadow"] is None


def test_without_a_model_it_is_said_why_there_is_no_probability(tmp_path):
    with asking(filled(f"sqlite:///{tmp_path / 'none.db'}", model=False)) as client:
        for path in ("/api/v1/drives/summary", "/api/v1/drives/model"):
            assert "no model is installed" in client.get(path).json()["why_no_model"]
        assert client.get("/api/v1/drives/model").json()["active"] is None
        assert client.get("/api/v1/drives/summary").json()["scoring_model"] is None


def test_a_card_that_says_nothing_does_not_break_the_summary(tmp_path):
    url = filled(f"sqlite:///{tmp_path / 'card.db'}", model=False)
    engine = open_engine(url)
    with engine.begin() as connection:
        install(connection, b"x", {"horizons": "30", "synthetic": "no", "made": 7}, "active", SCORED_NS)
    engine.dispose()
    with asking(url) as client:
        answer = client.get("/api/v1/drives/summary")
    DrivesSummary.model_validate_json(answer.content, strict=True)
    assert answer.json()["scoring_model"]["synthetic"] is None


def test_no_drives_at_all_are_an_empty_list_and_a_summary_of_zeros(tmp_path):
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    upgrade(url)
    with asking(url) as client:
        assert client.get("/api/v1/drives").json() == {"drives": [], "next_cursor": None}
        found = client.get("/api/v1/drives/summary").json()
        assert (found["drives"], found["last_assessed"], found["synthetic"]) == (0, None, False)
