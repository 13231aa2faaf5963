"""The API over PostgreSQL: the answers that SQLite gives, and plain sentences when the server is gone or locked."""

import pytest

from api import key_ring
from api.config import ApiConfig
from api.database import Database
from api.errors import DatabaseUnavailableError
from api.own_metrics import OwnMetrics
from store import postgresql
from store.api_keys import api_keys, create_key, revoke_key
from store.connect import open_engine, upgrade
from tests.api.recorded_world import filled_services
from tests.api.test_auth import bearer, changed, get
from tests.api.world import NOW_NS, asking, fill, probe_records
from tests.counterparts.choice import missing
from tests.counterparts.postgres import programs, running

QUESTIONS = (
    {"path": "/api/v1/quantiles", "metric": "probe_rtt_us", "q": "0,0.5,0.99,1", "by": "host", "step": "10s"},
    {"path": "/api/v1/quantiles", "metric": "odd_ratio", "by": ["host", "tor"]},
    {"path": "/api/v1/quantiles", "metric": "probe_rtt_us", "where": "tor:t:1, a"},
    {"path": "/api/v1/values", "metric": "probes_total", "by": "tor"},
    {"path": "/api/v1/values", "metric": "odd_sum_ratio", "step": "20s"},
)


def test_every_answer_is_the_one_that_sqlite_gives(world, client, postgres_url, tmp_path):
    fill(tmp_path / "unused.db", world.records, address=postgres_url)
    with asking(postgres_url) as on_postgresql:
        for question in QUESTIONS:
            wanted, got = (each.over_the_minute(**question) for each in (client, on_postgresql))
            assert (got.status_code, got.json()) == (wanted.status_code, wanted.json()) == (200, wanted.json())
            assert got.headers["etag"] == wanted.headers["etag"]
        for path in ("/api/v1/metrics", "/api/v1/agents", "/api/v1/status"):
            wanted, got = client.get(path), on_postgresql.get(path)
            assert (got.status_code, got.json().keys()) == (200, wanted.json().keys())
        assert on_postgresql.get("/api/v1/agents").json() == client.get("/api/v1/agents").json()
        assert on_postgresql.get("/readyz").status_code == 200


def test_services_record_and_are_told_as_over_sqlite(postgres_url):
    filled_services(postgres_url)
    with asking(postgres_url) as client:
        body = [{"wait_ms": 1, "service_ms": 2}] * 3
        answers = [
            client.request("POST", "/api/v1/services/ads/requests", json=body, params={"batch": "x", "instance": "i"})
            for _ in range(2)
        ]
        assert [(one.json()["accepted"], one.json()["duplicate"]) for one in answers] == [(3, False), (0, True)]
        put = client.request(
            "PUT", "/api/v1/services/ads/objective", json={"target_ms": 5}, headers={"If-Match": '"0"'}
        )
        assert (put.status_code, put.json()["version"]) == (200, 1)
        assert [one["service"] for one in client.get("/api/v1/services").json()["services"]] == ["ads", "search"]
        assert client.get("/api/v1/services/search/degree-table").json()["version"] == 1
        back = client.request("POST", "/api/v1/services/search/target-tables/1/roll-back", json={})
        assert (back.status_code, back.json()["active"]) == (200, None)
        assert client.get("/api/v1/services/search/degree-table").status_code == 404


def test_a_locked_table_is_a_503_that_says_locked(postgres_url, tmp_path):
    fill(tmp_path / "unused.db", probe_records(n=60), address=postgres_url)
    with asking(f"{postgres_url}?options=-c%20lock_timeout%3D100") as client:
        with open_engine(postgres_url).connect() as blocker:
            blocker.exec_driver_sql("LOCK TABLE pages IN ACCESS EXCLUSIVE MODE")
            response = client.over_the_minute(**QUESTIONS[0])
            blocker.engine.dispose()
        assert (response.status_code, "locked" in response.json()["detail"]) == (503, True)
        assert client.over_the_minute(**QUESTIONS[0]).status_code == 200


def test_a_connection_that_the_server_cuts_in_the_middle_of_a_read_leaves_nothing_behind(postgres_url):
    upgrade(postgres_url)
    engine = open_engine(postgres_url, read_only=True)
    database = Database(engine, OwnMetrics())

    def cut_in_the_middle() -> None:
        with database.reading() as connection:
            process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with open_engine(postgres_url).begin() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({process})")
                other.engine.dispose()
            while True:
                connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailableError):
        cut_in_the_middle()
    assert not database._reading
    assert engine.pool.checkedout() == 0
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()


@pytest.mark.parametrize(("trusted_s", "failures"), [(0.0, 0), (1e9, 1)])
def test_a_connection_cut_while_idle_is_found_out_after_a_pause_and_fails_one_read_before(
    postgres_url, monkeypatch, trusted_s, failures
):
    monkeypatch.setattr(postgresql, "_TRUSTED_S", trusted_s)
    upgrade(postgres_url)
    engine = open_engine(postgres_url, read_only=True)
    database = Database(engine, OwnMetrics())

    def process() -> int:
        with database.reading() as connection:
            return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()

    cut = process()
    with open_engine(postgres_url).begin() as other:
        assert other.exec_driver_sql(f"SELECT pg_terminate_backend({cut}, 10000)").scalar()
        other.engine.dispose()
    for _ in range(failures):
        with pytest.raises(DatabaseUnavailableError):
            process()
    assert process() != cut
    database.close()


def test_keys_let_in_note_their_use_and_die_as_on_sqlite(postgres_url, monkeypatch):
    upgrade(postgres_url)
    _, key = changed(postgres_url, lambda connection: create_key(connection, "grafana", ["read"], NOW_NS))
    monkeypatch.setattr(key_ring, "TRUST_S", 0.0)
    with asking(postgres_url, ApiConfig(auth="on")) as client:
        assert [get(client, "/api/v1/status", headers).status_code for headers in (None, bearer(key))] == [401, 200]
        changed(postgres_url, lambda connection: revoke_key(connection, "grafana", NOW_NS))
        assert get(client, "/api/v1/status", bearer(key)).status_code == 401
    assert changed(postgres_url, api_keys)[0].last_used_ns == NOW_NS


def test_a_server_that_dies_is_a_503_and_a_200_once_it_is_back(tmp_path):
    if not programs():
        missing("no PostgreSQL program to kill")
    with running(programs()[0]) as server:
        fill(tmp_path / "unused.db", probe_records(n=60), address=server.url)
        with asking(server.url) as client:
            assert client.over_the_minute(**QUESTIONS[0]).status_code == 200
            server.kill()
            response = client.over_the_minute(**QUESTIONS[0])
            assert (response.status_code, "cannot be reached" in response.json()["detail"]) == (503, True)
            assert client.get("/readyz").json()["checks"]["database"]["ok"] is False
            server.start()
            assert client.over_the_minute(**QUESTIONS[0]).status_code == 200


@pytest.mark.parametrize(("revision", "words"), [("0001", "tailwatch db upgrade"), ("9999", "install the release")])
def test_another_schema_is_refused_with_what_to_do(postgres_url, revision, words):
    upgrade(postgres_url)
    engine = open_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    engine.dispose()
    with asking(postgres_url) as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert words in response.text
