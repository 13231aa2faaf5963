"""API keys at the door: who is let in, for what, and what the others are told."""

import base64
import time
from types import SimpleNamespace

import pytest

from api import key_ring, key_uses
from api.config import ApiConfig
from api.scopes import scopes_wanted
from store.api_keys import api_keys, create_key, note_uses, revoke_key
from store.connect import open_engine, upgrade
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking, fill, probe_records
from tests.promptness import promptly

ON = ApiConfig(auth="on")
SECOND_NS = 10**9


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("auth") / "tailwatch.db", probe_records(n=60))


@pytest.fixture
def database(tmp_path):
    """An empty database of the test's own."""
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    return url


def made(url, name="grafana", scopes=("read",), expires_ns=None):
    return changed(url, lambda connection: create_key(connection, name, scopes, NOW_NS, expires_ns))[1]


def changed(url, change):
    engine = open_engine(url)
    with engine.begin() as connection:
        result = change(connection)
    engine.dispose()
    return result


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def get(client, path, headers=None):
    return client.request("GET", path, headers=headers)


@pytest.fixture(scope="module")
def keys(filled):
    return {scope: made(filled.url, scope, [scope]) for scope in ("read", "ingest", "agent", "admin")}


@pytest.fixture(scope="module")
def guarded(filled, keys):
    with asking(filled.url, ON) as client:
        yield client


@pytest.mark.parametrize("path", ["/api/v1/agents/a/plan", "/api/v1/agents/a%2Fb/plan", "/api/v1/agents/a/plan%0A"])
def test_no_spelling_of_a_path_changes_the_scope_it_needs(guarded, keys, path):
    assert get(guarded, path, bearer(keys["read"])).json()["scope"] == "agent"
    assert get(guarded, path, bearer(keys["agent"])).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/status", "/metrics", "/docs", "/openapi.json", "/", "/nowhere", "/readyz/"])
def test_without_a_key_nothing_but_health_is_answered(guarded, keys, path):
    response = get(guarded, path)
    problem = problem_of(response)
    assert (problem["status"], problem["type"]) == (401, "urn:tailwatch:problem:unauthorized")
    assert "Authorization: Bearer tw_" in problem["detail"]
    challenge = response.headers["www-authenticate"]
    assert challenge == 'Bearer realm="tailwatch", Basic realm="tailwatch", charset="UTF-8"'
    assert [get(guarded, path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_a_key_is_shown_as_a_bearer_token_or_as_a_password(guarded, keys):
    good = keys["read"]
    for headers in (bearer(good), {"Authorization": f"bEaReR  {good} "}, basic("anyone", good), basic("", good)):
        assert get(guarded, "/api/v1/status", headers).status_code == 200


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer tw_", "Basic", "Basic %%%", "Basic dHc=", "Digest x", "Bearer ü", "Bearer " + "x" * 9_000],
)
def test_what_is_no_key_is_refused_as_such(guarded, keys, value):
    problem = problem_of(guarded.request("GET", "/api/v1/status", headers={"Authorization": value.encode()}))
    assert problem["status"] == 401
    assert "no API key" in problem["detail"]


def test_two_keys_at_once_are_no_key(guarded, keys):
    header = ("Authorization", f"Bearer {keys['read']}")
    assert guarded.request("GET", "/api/v1/status", headers=[header, header]).status_code == 401


def test_a_wrong_secret_is_as_unknown_as_a_wrong_prefix(guarded, keys):
    good = keys["read"]
    wrong_secret = good[:-1] + ("a" if good[-1] != "a" else "b")
    wrong_prefix = "tw_aaaaaaaa" + good[11:]
    told = [get(guarded, "/api/v1/status", bearer(key)) for key in (wrong_secret, wrong_prefix)]
    assert [response.status_code for response in told] == [401, 401]
    assert told[0].json() == told[1].json()
    assert 'error="invalid_token"' in told[0].headers["www-authenticate"]


def test_digests_are_compared_in_constant_time(guarded, keys, monkeypatch):
    monkeypatch.setattr(key_ring.hmac, "compare_digest", lambda *_: False)
    assert get(guarded, "/api/v1/status", bearer(keys["read"])).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("GET", "/healthz/", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/api/v1/quantiles", "read"),
        ("POST", "/api/v1/quantiles", "admin"),
        ("POST", "/api/v1/queries", "admin"),
        ("DELETE", "/api/v1/queries/x", "admin"),
        ("POST", "/api/v1/agents/a/retire", "admin"),
        ("GET", "/api/v1/agents/a/plan", "agent"),
        ("GET", "/api/v1/agents", "read"),
        ("POST", "/api/v1/ingest/x", "ingest"),
        ("POST", "/api/v1/gpu/attempts", "ingest"),
        ("POST", "/api/v1/services/search/requests", "ingest"),
        ("POST", "/api/v1/services/search/target-tables/1/requests", "admin"),
        ("PUT", "/api/v1/services/search/objective", "admin"),
        ("POST", "/api/v1/services/search/target-tables/1/activate", "admin"),
        ("GET", "/api/v1/services/search/objective", "read"),
        ("GET", "/api/v1/gpu/failures", "read"),
        ("POST", "/api/v1/gpu/retry-advice", "read"),
        ("POST", "/api/v1/gpu/retry-models/3/activate", "admin"),
        ("GET", "/prometheus/api/v1/query", "read"),
        ("POST", "/prometheus/api/v1/query_range", "read"),
        ("GET", "/prometheus", "read"),
        ("POST", "/prometheusx", "admin"),
        ("BREW", "/", "admin"),
    ],
)
def test_the_scope_goes_by_path_and_method(method, path, scope):
    assert scopes_wanted(path, method) == ((scope,) if scope else ())


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/status", {"read", "admin"}),
        ("HEAD", "/api/v1/status", {"read", "admin"}),
        ("POST", "/api/v1/status", {"admin"}),
        ("POST", "/prometheus/nothing", {"read", "admin"}),
        ("GET", "/api/v1/agents/a/plan", {"agent", "admin"}),
        ("GET", "/api/v1/tables/hosts/0a1b", {"read", "agent", "admin"}),
        ("PUT", "/api/v1/tables/hosts", {"admin"}),
        ("POST", "/api/v1/ingest", {"ingest", "admin"}),
        ("POST", "/api/v1/gpu/attempts", {"ingest", "admin"}),
        ("GET", "/api/v1/services/search/degree-table", {"read", "ingest", "admin"}),
    ],
)
def test_a_key_may_do_what_its_scopes_say(guarded, keys, method, path, allowed):
    got = {scope: guarded.request(method, path, headers=bearer(key)) for scope, key in keys.items()}
    assert {scope for scope, response in got.items() if response.status_code != 403} == allowed
    assert all(response.status_code != 401 for response in got.values())


def test_a_403_names_the_scope_that_is_wanted(guarded, keys):
    response = guarded.request("POST", "/api/v1/status", headers=bearer(keys["read"]))
    problem = problem_of(response)
    assert (problem["status"], problem["scope"]) == (403, "admin")
    assert "the API key read has read" in problem["detail"]
    assert 'error="insufficient_scope", scope="admin"' in response.headers["www-authenticate"]


def test_below_prometheus_refusals_are_what_its_clients_read(guarded, keys):
    for path, headers, status, kind in (
        ("/prometheus/api/v1/query", None, 401, "unauthorized"),
        ("/prometheus", bearer(keys["agent"]), 403, "forbidden"),
    ):
        response = get(guarded, path, headers)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        body = response.json()
        assert (body["status"], body["errorType"], set(body)) == ("error", kind, {"status", "errorType", "error"})
        assert "www-authenticate" in response.headers


def test_other_sites_get_no_permission_to_ask(guarded, keys):
    origin = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    for headers in (origin, {**origin, **bearer(keys["read"])}):
        for method in ("OPTIONS", "GET"):
            response = guarded.request(method, "/api/v1/status", headers=headers)
            assert [name for name in response.headers if name.startswith("access-control")] == []
    assert guarded.request("OPTIONS", "/api/v1/status", headers=origin).status_code == 401


def test_refusals_are_counted_by_reason_and_by_the_route_they_were_meant_for(filled, keys):
    with asking(filled.url, ON) as client:
        get(client, "/api/v1/status")
        get(client, "/api/v1/status", bearer("nonsense"))
        client.request("POST", "/api/v1/status", headers=bearer(keys["read"]))
        get(client, "/some/where", bearer(keys["read"]))
        text = get(client, "/metrics", bearer(keys["read"])).text
    for line in (
        'tailwatch_api_requests_total{method="GET",route="/api/v1/status",status="401"} 2.0',
        'tailwatch_api_requests_total{method="POST",route="/api/v1/status",status="403"} 1.0',
        'tailwatch_api_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'tailwatch_api_refused_requests_total{reason="no_key"} 1.0',
        'tailwatch_api_refused_requests_total{reason="malformed_key"} 1.0',
        'tailwatch_api_refused_requests_total{reason="scope"} 1.0',
        'tailwatch_api_request_duration_seconds_count{route="/api/v1/status"} 3.0',
    ):
        assert line in text


def test_an_api_without_any_key_says_how_to_make_one(database, caplog):
    with asking(database, ON) as client:
        detail = problem_of(get(client, "/api/v1/status"))["detail"]
    assert "there is none yet; make one with `tailwatch key create NAME --scope read`" in detail
    assert "there is none that is good; make one with `tailwatch key create" in caplog.text


def test_a_key_made_meanwhile_works_within_a_second_and_a_revoked_one_dies_within_five(database, monkeypatch):
    assert key_ring.TRUST_S <= 5
    monkeypatch.setattr(key_ring, "REFRESH_S", 60)
    monkeypatch.setattr(key_ring, "TRUST_S", 60)
    with asking(database, ON) as client:
        assert get(client, "/api/v1/status").status_code == 401
        key = made(database)
        with promptly(2):
            began_s = time.monotonic()
            while get(client, "/api/v1/status", bearer(key)).status_code != 200:
                assert time.monotonic() - began_s < 30
        monkeypatch.setattr(key_ring, "REFRESH_S", 0.05)
        monkeypatch.setattr(key_ring, "TRUST_S", 0.1)
        changed(database, lambda connection: revoke_key(connection, "grafana", NOW_NS))
        with promptly(1):
            began_s = time.monotonic()
            while (response := get(client, "/api/v1/status", bearer(key))).status_code == 200:
                assert time.monotonic() - began_s < 30
        assert "the API key grafana is revoked" in problem_of(response)["detail"]


def test_keys_that_are_fresh_enough_are_not_read_for_each_request(database, monkeypatch):
    key = made(database)
    reads, clock_s = [], [1000.0]
    monkeypatch.setattr(key_ring, "time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    monkeypatch.setattr(key_ring, "api_keys", lambda connection: reads.append(1) or api_keys(connection))
    with asking(database, ON) as client:
        for _ in range(20):
            assert get(client, "/healthz", bearer(key)).status_code == 200
            assert get(client, "/api/v1/status", bearer(key)).status_code == 200
            assert get(client, "/api/v1/status", bearer("tw_aaaaaaaa" + key[11:])).status_code == 401
        assert len(reads) == 1
        clock_s[0] += key_ring.TRUST_S + 0.1
        assert get(client, "/api/v1/status", bearer(key)).status_code == 200
    assert len(reads) == 2


def test_a_key_expires_by_the_clock(database):
    key = made(database, expires_ns=NOW_NS + SECOND_NS)
    clock = [NOW_NS]
    with asking(database, ON, now_ns=lambda: clock[0]) as client:
        assert get(client, "/api/v1/status", bearer(key)).status_code == 200
        clock[0] += SECOND_NS
        response = get(client, "/api/v1/status", bearer(key))
    assert "the API key grafana is expired" in problem_of(response)["detail"]


def test_with_the_keys_out_of_reach_nobody_is_let_in(database, monkeypatch, caplog):
    key = made(database)
    monkeypatch.setattr(key_ring, "TRUST_S", 0.0)
    with asking(database, ON) as client:
        assert get(client, "/api/v1/status", bearer(key)).status_code == 200
        changed(database, lambda connection: connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO gone"))
        for path in ("/api/v1/status", "/prometheus/x"):
            response = get(client, path, bearer(key))
            assert (response.status_code, "retry-after" in response.headers) == (503, True)
            assert "tailwatch db upgrade" in response.text
        assert response.json()["errorType"] == "unavailable"
        assert [get(client, path).status_code for path in ("/api/v1/status", "/healthz")] == [401, 200]
        changed(database, lambda connection: connection.exec_driver_sql("ALTER TABLE gone RENAME TO api_keys"))
        with promptly(3):
            began_s = time.monotonic()
            while get(client, "/api/v1/status", bearer(key)).status_code != 200:
                assert time.monotonic() - began_s < 30


def last_used(url):
    return changed(url, api_keys)[0].last_used_ns


def test_the_last_use_is_written_beside_the_requests(database, monkeypatch):
    monkeypatch.setattr(key_uses, "SAVE_EVERY_S", 0.05)
    key = made(database)
    with asking(database, ON) as client:
        get(client, "/api/v1/status", bearer(key[:-1]))
        assert last_used(database) is None
        get(client, "/api/v1/status", bearer(key))
        with promptly(5):
            began_s = time.monotonic()
            while last_used(database) != NOW_NS:
                assert time.monotonic() - began_s < 30


def test_the_last_use_is_written_at_the_end(database):
    assert key_uses.SAVE_EVERY_S == 60
    key = made(database)
    with asking(database, ON) as client:
        get(client, "/api/v1/status", bearer(key))
        assert last_used(database) is None
    assert last_used(database) == NOW_NS


def test_a_last_use_that_cannot_be_written_is_logged_once_and_harms_nobody(database, monkeypatch, caplog):
    tries = []

    def counted(*arguments):
        tries.append(1)
        note_uses(*arguments)

    monkeypatch.setattr(key_uses, "SAVE_EVERY_S", 0.02)
    monkeypatch.setattr(key_uses, "note_uses", counted)
    monkeypatch.setattr("api.auth.open_engine", lambda url: open_engine(url, read_only=True))
    key = made(database)
    with asking(database, ON) as client, promptly(5):
        began_s = time.monotonic()
        while len(tries) < 4:
            assert get(client, "/api/v1/status", bearer(key)).status_code == 200
            assert time.monotonic() - began_s < 30
    assert caplog.text.count("cannot be written") == 1
    assert last_used(database) is None


def test_keys_never_reach_the_log(database, caplog):
    caplog.set_level("DEBUG")
    key = made(database, scopes=["admin"])
    with asking(database, ON) as client:
        for headers in (bearer(key), basic("x", key), bearer(key + "x"), {"Authorization": key}):
            client.request("POST", "/api/v1/status%0A", headers=headers)
    assert r"admin request key=grafana method=POST path='/api/v1/status\n'" in caplog.text
    assert key.rpartition("_")[2] not in caplog.text


def test_where_only_this_machine_can_connect_nobody_is_asked(filled):
    with asking(filled.url) as client:
        assert get(client, "/api/v1/status").status_code == 200
        assert get(client, "/api/v1/status", bearer("nonsense")).status_code == 200
