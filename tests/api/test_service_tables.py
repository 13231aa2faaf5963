"""Tables of targets over HTTP: drafted, in use, taken back; and the degree table, as servers poll it."""

import itertools

import pytest
import sqlalchemy as sa

from api.degree_tables import KEPT_S, DegreeTables
from api.errors import NoActiveTableError
from api.service_models import DegreeTable, TableRolledBack, TargetTableEntry, TargetTablesPage
from store.connect import open_engine
from store.tail_profiles import put_profile
from store.tail_services import ServiceSettings, put_service
from store.tail_tables import tail_profiles, tail_services, tail_target_tables
from store.tail_targets import activate_table
from tests.api.recorded_world import OTHER, POLICY, filled_services, profile
from tests.api.test_lists import pages
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking

PATH = "/api/v1/services/{}/target-tables"
POLLED = "/api/v1/services/{}/degree-table"
_names = (f"service-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('services') / 'tailwatch.db'}"
    filled_services(url)
    with asking(url) as asked:
        yield asked, url


@pytest.fixture
def client(own):
    return own[0]


@pytest.fixture
def service(own):
    """One that has learned its speed-ups, and nothing else."""
    engine, name = open_engine(own[1]), next(_names)
    with engine.begin() as connection:
        put_profile(connection, name, profile(), NOW_NS)
    engine.dispose()
    return name


def draft(client, service, policy=None, **more):
    return client.request("POST", PATH.format(service), json={"policy": policy or POLICY, **more})


def activate(client, service, version, expected, note=""):
    path = f"{PATH.format(service)}/{version}/activate"
    return client.request("POST", path, json={"expected_active": expected, "note": note})


def roll_back(client, service, version, note=""):
    return client.request("POST", f"{PATH.format(service)}/{version}/roll-back", json={"note": note})


def poll(client, service, etag=None):
    return client.request("GET", POLLED.format(service), headers={} if etag is None else {"If-None-Match": etag})


def test_servers_are_told_the_active_table_and_only_when_it_changed(client):
    answer = poll(client, "search")
    DegreeTable.model_validate_json(answer.content, strict=True)
    table = answer.json()
    assert (table["version"], table["profile_version"], table["max_degree"]) == (1, 1, 3)
    assert (table["metric"], table["width"], table["targets_ms"]) == ("threads_and_queue", 4.0, [40.0, 60.0, 90.0])
    assert (table["class_edges_ms"], table["speedups"][1]) == ([30.0], [1.0, 1.8, 2.5])
    assert (table["correction"], table["explore_share"]) == ({"full": False, "every_ms": 5.0}, 0.01)
    plain = client.request("GET", POLLED.format("search"), headers={"Accept-Encoding": "identity"})
    assert (plain.headers["cache-control"], plain.headers["etag"][:10]) == ("no-cache", '"t1-p1-s1-')
    for etag in (answer.headers["etag"], plain.headers["etag"], f'"x", W/{plain.headers["etag"]}'):
        again = poll(client, "search", etag)
        assert (again.status_code, again.content) == (304, b"")
    assert poll(client, "search", '"t2-p1-s1"').status_code == 200


def test_a_table_goes_from_draft_to_active_to_retired_and_back(client, service):
    made = draft(client, service, note="by hand", evidence={"gain": 0.1})
    TargetTableEntry.model_validate_json(made.content, strict=True)
    assert (made.status_code, made.json()["state"], made.headers["location"]) == (
        201,
        "draft",
        f"{PATH.format(service)}/1",
    )
    assert client.get(made.headers["location"]).json() == made.json()
    draft(client, service, OTHER, max_degree=2)
    assert problem_of(poll(client, service))["type"] == "urn:tailwatch:problem:no-active-table"
    assert activate(client, service, 1, None, "try it").json()["state"] == "active"
    first = poll(client, service)
    assert activate(client, service, 2, 1).json()["follows"] == 1
    second = poll(client, service, first.headers["etag"])
    assert (second.status_code, second.json()["version"], second.json()["max_degree"]) == (200, 2, 2)
    assert first.json()["max_degree"] == 3
    back = roll_back(client, service, 2, "slower")
    TableRolledBack.model_validate_json(back.content, strict=True)
    assert (back.json()["rolled_back"], back.json()["active"]["version"]) == (2, 1)
    assert poll(client, service, first.headers["etag"]).status_code == 304
    assert roll_back(client, service, 1).json()["active"] is None
    gone = problem_of(poll(client, service))
    assert (gone["status"], gone["type"]) == (404, "urn:tailwatch:problem:no-active-table")
    assert "active since version 1 was rolled back" in gone["detail"]
    page = client.get(PATH.format(service))
    TargetTablesPage.model_validate_json(page.content, strict=True)
    assert [(one["version"], one["state"]) for one in page.json()["tables"]] == [(2, "rolled_back"), (1, "rolled_back")]
    assert page.json()["active"] is None
    noted = [(one["version"], one["state"], one["note"]) for one in reversed(page.json()["changes"])]
    assert noted == [
        (1, "draft", "by hand"), (2, "draft", ""), (1, "active", "try it"), (1, "retired", "version 2 took its place"),
        (2, "active", ""), (2, "rolled_back", "slower"), (1, "active", "version 2 was rolled back"),
        (1, "rolled_back", ""),
    ]  # fmt: skip
    assert {one["changed_by"] for one in page.json()["changes"]} == {"somebody at 127.0.0.1"}


def test_of_two_who_activate_at_once_the_second_is_told(client, service):
    draft(client, service)
    draft(client, service, OTHER)
    assert activate(client, service, 1, None).status_code == 200
    problem = problem_of(activate(client, service, 2, None))
    assert (problem["status"], "version 1 of" in problem["detail"]) == (409, True)
    assert problem_of(roll_back(client, service, 2))["status"] == 409
    assert activate(client, service, 1, 1).json()["version"] == 1
    assert client.get(PATH.format(service)).json()["active"] == 1


def test_a_table_is_not_put_in_use_before_speedups_were_learned(client):
    assert draft(client, "unlearned").status_code == 201
    problem = problem_of(activate(client, "unlearned", 1, None))
    assert (problem["status"], "nothing was learned of the speed-ups" in problem["detail"]) == (409, True)
    assert client.get(PATH.format("unlearned")).json()["tables"][0]["state"] == "draft"


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"kind": "fixed", "degree": 2}, "policy.kind is 'fixed'; a table of targets is of kind tpc"),
        ({"kind": "tpc"}, "policy has no table"),
        (POLICY | {"table": POLICY["table"] | {"targets_ms": []}}, "targets_ms"),
        (POLICY | {"table": POLICY["table"] | {"width": -1}}, "in buckets of -1.0"),
    ],
)
def test_what_is_no_table_of_targets_is_refused(client, policy, words):
    problem = problem_of(draft(client, "search", policy))
    assert (problem["status"], words in problem["detail"]) == (400, True), problem["detail"]


def test_versions_and_services_that_are_not_there_are_404(client):
    for path in (f"{PATH.format('search')}/99", PATH.format("nobody"), POLLED.format("nobody")):
        assert problem_of(client.get(path))["type"] == "urn:tailwatch:problem:unknown-name"
    assert "newest are 2, 1" in problem_of(activate(client, "search", 99, 1))["detail"]
    assert problem_of(client.get(f"{PATH.format('search')}/x"))["parameter"] == "version"
    assert (
        problem_of(client.request("POST", f"{PATH.format('search')}/1/activate", json={}))["parameter"]
        == "expected_active"
    )


def test_tables_are_listed_page_by_page(client):
    listed = pages(client, PATH.format("search"), limit=1)
    assert [one["version"] for page in listed for one in page.json()["tables"]] == [2, 1]


class Asked:
    """A database that counts what it is asked."""

    def __init__(self, engine):
        self.engine, self.times = engine, 0

    def reading(self):
        self.times += 1
        return self.engine.connect()


def test_a_table_is_looked_for_once_a_second_and_what_changes_elsewhere_shows_then(own, service):
    client, url = own
    draft(client, service)
    draft(client, service, OTHER)
    activate(client, service, 1, None)
    now_s = [0.0]
    engine = open_engine(url)
    asked, tables = Asked(engine), DegreeTables(lambda: now_s[0])
    for _ in range(3):
        assert tables.of(service, asked).etag.startswith('"t1-p1-s0-')
        with pytest.raises(NoActiveTableError, match="lists drafts"):
            tables.of("ads", asked)
    assert asked.times == 2
    with engine.begin() as connection:
        activate_table(connection, service, 2, NOW_NS)
        put_service(connection, service, ServiceSettings(max_degree=2, explore_share=0.05), NOW_NS)
    assert tables.of(service, asked).etag.startswith('"t1-p1-s0-')
    now_s[0] = KEPT_S
    assert tables.of(service, asked).etag.startswith('"t2-p1-s1-')
    assert b'"max_degree":2' in tables.of(service, asked).body
    tables.forget(service)
    tables.of(service, asked)
    assert asked.times == 4
    engine.dispose()


def test_numbers_that_begin_anew_bring_no_table_of_before(own):
    """As where the database was put back to before a table was drafted, or a service was forgotten and came again."""
    client, url = own
    name = next(_names)
    engine, now_s = open_engine(url), [0.0]
    asked, tables = Asked(engine), DegreeTables(lambda: now_s[0])
    told = []
    for place, policy in enumerate((POLICY, OTHER)):
        with engine.begin() as connection:
            for each in (tail_target_tables, tail_profiles, tail_services):
                connection.execute(sa.delete(each).where(each.c.service == name))
            put_profile(connection, name, profile(), NOW_NS + place)
        draft(client, name, policy)
        activate(client, name, 1, None)
        told.append(tables.of(name, asked))
        now_s[0] += KEPT_S
    assert told[0].body != told[1].body
    assert told[0].etag != told[1].etag
    engine.dispose()
