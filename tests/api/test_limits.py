"""How often callers may ask, and how much a request may bring."""

import asyncio

import pytest

from api import size_limits
from api.config import ApiConfig
from api.own_metrics import OwnMetrics
from api.rate_limit import TokenBuckets, network_of
from api.size_limits import BodyLimit
from store.api_keys import create_key
from store.connect import open_engine, upgrade
from tests.api.test_auth import bearer
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking

SLOW = {"rate_limit_per_s": 0.01, "rate_limit_burst": 3}


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate():
    clock = Clock()
    buckets = TokenBuckets(2.0, 3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    clock.now_s += 0.25
    assert buckets.take("a") == 0.25
    clock.now_s += 0.25
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now_s += 1e6
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_no_rate_is_no_limit():
    assert not any(TokenBuckets(0.0, 1).take("a") for _ in range(100))


def test_buckets_of_those_who_ask_no_more_are_forgotten():
    buckets = TokenBuckets(1.0, 1, max_buckets=2, clock=Clock())
    assert [buckets.take(caller) > 0 for caller in "aabca"] == [False, True, False, False, False]
    assert buckets.take("c") > 0


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::9%eth0", "2001:db8:1:2::"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("no:address", "no:address"),
    ],
)
def test_an_ipv6_host_is_one_caller_whatever_address_it_takes(host, network):
    assert network_of(host) == network


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('limits') / 'tailwatch.db'}"
    upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        keys = [create_key(connection, name, ["read"], NOW_NS)[1] for name in ("one", "two")]
    engine.dispose()
    return url, keys


def asked(client, key=None, path="/api/v1/status"):
    return client.request("GET", path, headers=bearer(key) if key else None)


def test_a_key_that_asks_too_often_is_told_when_to_come_again_and_others_are_not(keyed):
    url, (one, two) = keyed
    with asking(url, ApiConfig(auth="on", **SLOW)) as client:
        assert [asked(client, one).status_code for _ in range(4)] == [200, 200, 200, 429]
        response = asked(client, one)
        assert problem_of(response)["type"] == "urn:tailwatch:problem:too-many-requests"
        assert "the API key one may make 0.01 requests a second" in response.json()["detail"]
        assert 90 <= int(response.headers["retry-after"]) <= 100
        envelope = asked(client, one, "/prometheus/api/v1/query")
        assert (envelope.status_code, envelope.json()["errorType"]) == (429, "too_many_requests")
        assert envelope.headers["retry-after"]
        assert asked(client, two).status_code == 200
        assert [asked(client, path="/healthz").status_code for _ in range(9)] == [200] * 9
        counted = asked(client, two, "/metrics").text
    assert 'refused_requests_total{reason="rate_of_key"} 3.0' in counted
    assert 'requests_total{method="GET",route="/api/v1/status",status="429"} 2.0' in counted


def test_guessing_keys_counts_against_the_address(keyed):
    url, (one, _) = keyed
    with asking(url, ApiConfig(auth="on", **SLOW), address="10.0.0.9") as client:
        assert [asked(client, "guess").status_code for _ in range(5)] == [401, 401, 401, 429, 429]
        assert asked(client, path="/healthz").status_code == 429
        assert asked(client, one).status_code == 200


def test_without_keys_callers_are_told_apart_by_address_and_this_machine_is_not_limited(keyed):
    config = ApiConfig(auth="off", **SLOW)
    for address, statuses in (("10.0.0.9", [200, 200, 200, 429]), ("127.0.0.1", [200] * 4), ("::1", [200] * 4)):
        with asking(keyed[0], config, address=address) as client:
            assert [asked(client).status_code for _ in range(4)] == statuses


def test_a_url_that_is_too_long_is_414(client):
    for path, status in (("/api/v1/metrics?cursor=" + "x" * 16_400, 414), ("/" + "x" * 16_384, 414)):
        problem = problem_of(client.get(path))
        assert (problem["status"], problem["limit"]) == (status, 16_384)
    assert client.get("/" + "x" * 16_000).status_code == 404
    response = client.get("/prometheus/api/v1/query?query=" + "x" * 16_400)
    assert (response.status_code, response.json()["errorType"]) == (414, "bad_data")


def test_headers_that_are_too_large_are_431(client):
    for headers in ({"X-Big": "x" * 33_000}, {f"X-{n}": "x" * 100 for n in range(400)}):
        problem = problem_of(client.request("GET", "/api/v1/metrics", headers=headers))
        assert (problem["status"], problem["limit"]) == (431, 32_768)


def test_a_body_that_is_too_large_is_413_announced_or_not(client):
    async def pieces():
        for _ in range(9):
            yield b"x" * 2**20

    for content in (b"x" * (2**23 + 1), pieces()):
        problem = problem_of(client.request("POST", "/api/v1/status", content=content))
        assert (problem["status"], problem["limit"]) == (413, 2**23)
    envelope = client.request("POST", "/prometheus/api/v1/query", content=b"x" * (2**23 + 1))
    assert (envelope.status_code, envelope.json()["errorType"]) == (413, "bad_data")
    assert client.request("POST", "/api/v1/status", content=b"x" * 2**23).status_code == 405


def limited(messages, headers=(), max_bytes=10):
    """What BodyLimit makes of messages: what the app received, what was answered, how many messages were taken."""
    received, answered, taken = [], [], []

    async def app(scope, receive, send):
        received.append(await receive())
        received.append(await receive())

    async def receive():
        if len(taken) == len(messages):
            await asyncio.sleep(60)
        taken.append(1)
        return messages[len(taken) - 1]

    async def send(message):
        answered.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": list(headers)}
    limit = BodyLimit(app, ApiConfig(max_body_bytes=max_bytes), OwnMetrics())
    asyncio.run(limit(scope, receive, send))
    return received, answered, len(taken)


CHUNKED = [(b"transfer-encoding", b"chunked")]


def piece(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_within_the_limit_arrives_whole_and_so_does_what_comes_after_it():
    gone = {"type": "http.disconnect"}
    received, answered, _ = limited([piece(b"12345"), piece(b"67890", more=False), gone], CHUNKED)
    assert received == [piece(b"1234567890", more=False), gone]
    assert answered == []


def test_never_more_than_the_limit_is_taken_in():
    received, answered, taken = limited([piece(b"12345")] * 100, CHUNKED)
    assert (received, answered[0]["status"], taken) == ([], 413, 3)
    received, answered, taken = limited([piece(b"12345")] * 100, [(b"content-length", b"11")])
    assert (received, answered[0]["status"], taken) == ([], 413, 0)


def test_a_client_that_goes_away_in_its_body_asks_nothing():
    assert limited([piece(b"12345"), {"type": "http.disconnect"}], CHUNKED) == ([], [], 2)


def test_a_body_that_does_not_come_is_408_and_the_connection_ends(monkeypatch):
    monkeypatch.setattr(size_limits, "BODY_WITHIN_S", 0.05)
    received, answered, _ = limited([piece(b"12345")], CHUNKED)
    assert (received, answered[0]["status"]) == ([], 408)
    assert (b"connection", b"close") in answered[0]["headers"]


def test_a_length_that_is_no_number_does_not_break_it():
    received, _, _ = limited([piece(b"1", more=False), piece(b"")], [(b"content-length", b"1, 1")])
    assert received[0] == piece(b"1", more=False)
