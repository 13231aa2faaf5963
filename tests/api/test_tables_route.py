"""Static tables over HTTP: uploaded, listed, given out by content, and pinned by the queries that join them."""

import polars as pl
import pytest

from api.config import ApiConfig
from api.query_models import TableEntry, TablesPage
from pipeline.tables import load_table, read_table
from store.connect import upgrade
from tests.api.world import asking

STREAMS = {"probes": {"ts": "int64", "host": "string", "src": "string", "rtt_us": "int64"}}
CONFIG = ApiConfig(streams=STREAMS, valid_from_lead_s=25, max_body_bytes=2_000)
SQL = """SELECT h.rack AS rack, sketch(rtt_us) AS rtt_us FROM probes JOIN hosts AS h ON probes.src = h.ip
GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), h.rack"""
FIRST = b"ip,rack\n10.0.0.1,r1\n10.0.0.2,007\n"
SECOND = FIRST + b"10.0.0.3,r3\n"


@pytest.fixture
def client(upgraded_url):
    with asking(upgraded_url, CONFIG) as asked:
        yield asked


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """A client for what is refused before the database is asked: one database does for all."""
    url = f"sqlite:///{tmp_path_factory.mktemp('tables') / 'tailwatch.db'}"
    upgrade(url)
    with asking(url, CONFIG) as asked:
        yield asked


def put(client, content=FIRST, name="hosts", **parameters):
    return client.request("PUT", f"/api/v1/tables/{name}", content=content, params=parameters)


def post(client, **body):
    return client.request("POST", "/api/v1/queries", json={"sql": SQL, "name": "probes"} | body)


def test_an_uploaded_file_has_the_hash_that_an_agent_gives_the_same_file(client, tmp_path):
    answer = put(client)
    TableEntry.model_validate_json(answer.content, strict=True)
    (tmp_path / "hosts.csv").write_bytes(FIRST)
    wanted = load_table("hosts", tmp_path / "hosts.csv")
    entry = answer.json()
    assert (answer.status_code, entry["content_hash"], entry["rows"], entry["current"]) == (
        201, wanted.content_hash, 2, True,
    )  # fmt: skip
    assert entry["columns"] == {"ip": "string", "rack": "string"}
    rows = client.get(entry["href"])
    assert "immutable" in rows.headers["cache-control"]
    assert read_table("hosts", rows.content, wanted.content_hash).frame.equals(wanted.frame)
    again = client.request("GET", entry["href"], headers={"If-None-Match": rows.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_rows_as_json_are_the_same_table(client):
    rows = [{"ip": "10.0.0.1", "rack": "r1"}, {"rack": "007", "ip": "10.0.0.2"}]
    first = put(client)
    answer = client.request("PUT", "/api/v1/tables/hosts", json=rows)
    assert (answer.status_code, answer.json()["content_hash"]) == (200, first.json()["content_hash"])


def test_the_type_of_a_column_can_be_given(client):
    content = b"ip,rack\na,7\n"
    assert put(client, content).json()["columns"]["rack"] == "int64"
    assert put(client, content, types="rack:string").json()["columns"]["rack"] == "string"


@pytest.mark.parametrize(
    ("content", "name", "parameters", "words"),
    [
        (b"", "hosts", {}, "empty"),
        (b" \n", "hosts", {}, "empty"),
        (b"\xff\xfe\x00", "hosts", {}, "hosts"),
        (b"a b,c\n1,2\n", "hosts", {}, "column name 'a b'"),
        (b"[{", "hosts", {}, "neither CSV"),
        (b'[{"a": [1]}]', "hosts", {}, "neither CSV"),
        (b'{"a": 1}', "hosts", {}, "neither CSV"),
        (b'[{"a": 99999999999999999999999}]', "hosts", {}, "hosts"),
        (b"[]", "hosts", {}, "no column"),
        (FIRST, "ho-sts", {}, "want letters"),
        (FIRST, "h" * 200, {}, "at most 128"),
        (FIRST, "hosts", {"types": "rack:text"}, "want column:type"),
        (FIRST, "hosts", {"types": "rak:string"}, "'rak'"),
        (FIRST, "hosts", {"types": "rack:int64"}, "neither CSV"),
        (b'[{"a": 1}, {"a": 2.5}]', "hosts", {"types": "a:int64"}, "2.5, which is no Int64"),
        (b'[{"a": 7}]', "hosts", {"types": "a:bool"}, "7, which is no Boolean"),
        (b'[{"a": "x"}]', "hosts", {"types": "a:float64"}, "'x', which is no Float64"),
        (FIRST, "hosts", {"tpyes": "rack:string"}, "did you mean types"),
    ],
)
def test_what_is_no_table_is_a_400_that_says_why(unchanged, content, name, parameters, words):
    answer = put(unchanged, content, name, **parameters)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]
    assert unchanged.get("/api/v1/tables").json()["tables"] == []


def test_more_than_is_taken_is_a_413_with_the_limit(client):
    answer = put(client, FIRST * 100)
    assert (answer.status_code, answer.json()["limit"]) == (413, 2_000)


def test_a_query_keeps_the_content_it_was_posted_with_until_it_is_posted_again(client):
    first = put(client).json()["content_hash"]
    posted = post(client).json()
    assert posted["tables"] == [{"name": "hosts", "content_hash": first}]
    second = put(client, SECOND).json()["content_hash"]
    assert client.get("/api/v1/queries/probes").json()["version"] == posted["version"]
    changed = post(client).json()
    assert (changed["outcome"], changed["tables"][0]["content_hash"]) == ("changed", second)
    page = client.get("/api/v1/tables")
    TablesPage.model_validate_json(page.content, strict=True)
    assert [(row["content_hash"], row["current"]) for row in page.json()["tables"]] == [(second, True), (first, False)]
    put(client)
    assert [row["content_hash"] for row in client.get("/api/v1/tables").json()["tables"]] == [first, second]


def test_a_query_may_name_the_content_it_wants(client):
    first = put(client).json()["content_hash"]
    put(client, SECOND)
    posted = post(client, tables=[{"name": "hosts", "content_hash": first}]).json()
    assert posted["tables"] == [{"name": "hosts", "content_hash": first}]
    unused = post(client, sql=SQL.replace("hosts", "racks"), tables=[{"name": "hosts", "content_hash": first}])
    assert (unused.status_code, "no table 'racks'" in unused.json()["detail"]) == (400, True)


def test_a_table_that_repeats_its_key_is_refused_with_its_place_in_the_query(client):
    put(client, FIRST + b"10.0.0.1,r9\n")
    answer = post(client)
    assert (answer.status_code, answer.json()["line"]) == (400, 1)
    assert "stands in 2 rows" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["hosts/0000000000000000", "nothing/x", "%00/%00", "hosts/%ff"])
def test_an_unknown_content_is_a_404(client, path):
    put(client)
    assert client.get(f"/api/v1/tables/{path}").status_code == 404


def test_tables_come_in_pages(client):
    for name in ("a", "b"):
        for content in (FIRST, SECOND):
            put(client, content, name)
    seen, cursor = [], None
    while True:
        page = client.get("/api/v1/tables", limit=1, **({} if cursor is None else {"cursor": cursor})).json()
        seen += [(row["name"], row["rows"]) for row in page["tables"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [("a", 3), ("a", 2), ("b", 3), ("b", 2)]


def test_null_and_every_type_survive(client):
    frame = pl.DataFrame({"k": ["a", None], "i": [1, None], "f": [0.5, None], "b": [True, None], "s": ["", None]})
    entry = client.request("PUT", "/api/v1/tables/all", json=frame.to_dicts()).json()
    data = client.get(entry["href"]).content
    assert read_table("all", data, entry["content_hash"]).frame.equals(frame.select(list(entry["columns"])))
