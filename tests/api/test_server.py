"""The server as a process part: binding, answering over a socket, stopping in time."""

import contextlib
import socket
import threading

import httpx
import pytest

import api.server as server_module
from api.config import ApiConfig
from api.errors import BindError, PortInUseError
from api.server import bind, serve, url_of
from tests.api.endless_statement import EndlessStatement
from tests.api.world import BEGIN_NS, SECOND_NS
from tests.promptness import promptly


@contextlib.contextmanager
def serving(world, config=None):
    """serve() in a thread of its own on a free port; yields (url, stop event, thread)."""
    config = config or ApiConfig(port=0)
    listener = bind(config)
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(config, world.url, stop, listener))
    thread.start()
    try:
        yield url_of(listener), stop, thread
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def stopped_within(stop, thread, seconds):
    with promptly(seconds):
        stop.set()
        thread.join(30)
    return not thread.is_alive()


def test_it_answers_over_a_socket_and_stops_within_a_second(world):
    with serving(world) as (url, stop, thread), httpx.Client(base_url=url, timeout=30) as http:
        answer = http.get(
            "/api/v1/quantiles",
            params={"metric": "probe_rtt_us", "q": "0.99", "start": BEGIN_NS // SECOND_NS, "end": "now+1w"},
        )
        assert answer.json()["groups"][0]["count"] == 6_000
        assert http.head("/healthz").status_code == 200
        assert http.get("/nope").headers["content-type"] == "application/problem+json"
        assert stopped_within(stop, thread, 1.0)


def test_idle_connections_do_not_hold_up_the_stop(world):
    with serving(world) as (url, stop, thread), contextlib.ExitStack() as held:
        host, port = url.removeprefix("http://").split(":")
        for _ in range(5):
            held.enter_context(socket.create_connection((host, int(port)))).sendall(b"GET /hea")
        assert stopped_within(stop, thread, 1.0)


def test_a_long_read_does_not_hold_up_the_stop(world, monkeypatch):
    endless = EndlessStatement()
    monkeypatch.setattr("api.routes.catalog.metrics", lambda connection, *_: endless.run(connection))
    with serving(world) as (url, stop, thread):
        answers = []
        asker = threading.Thread(target=lambda: answers.append(httpx.get(url + "/api/v1/metrics", timeout=30)))
        asker.start()
        assert endless.begun.wait(30)
        assert stopped_within(stop, thread, 1.0)
        asker.join(30)
    assert [answer.status_code for answer in answers] == [503]
    assert "stopping" in answers[0].json()["detail"]


def test_a_stop_before_the_start_ends_at_once(world):
    stop = threading.Event()
    stop.set()
    with promptly(2):
        serve(ApiConfig(port=0), world.url, stop)


def test_the_port_is_free_again_after_a_stop(world):
    config = ApiConfig(port=0)
    with serving(world, config) as (url, stop, thread):
        port = int(url.rsplit(":", 1)[1])
        httpx.get(url + "/healthz", timeout=30)
        stop.set()
        thread.join(30)
        bind(ApiConfig(port=port)).close()


def test_a_taken_port_is_one_line_that_names_the_setting(world):
    with serving(world) as (url, _, _):
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(PortInUseError) as refused:
            serve(ApiConfig(port=port), world.url, threading.Event())
    assert f"127.0.0.1:{port} is in use" in str(refused.value)
    assert "api.port" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(BindError, match=r"api\.host"):
        bind(ApiConfig(host=host, port=0, allow_unauthenticated=True))


def test_ipv6_addresses_are_written_in_brackets():
    class Listener:
        def getsockname(self):
            return ("::1", 8080, 0, 0)

    assert url_of(Listener()) == "http://[::1]:8080"


def test_signals_are_left_to_the_command_line(world):
    import signal

    stop, config = threading.Event(), ApiConfig(port=0)
    listener = bind(config)
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def look():
        try:
            answered = httpx.get(url_of(listener) + "/healthz", timeout=30).status_code  # it is under way
            seen.append((answered, signal.getsignal(signal.SIGTERM)))
        finally:
            stop.set()

    looker = threading.Thread(target=look)
    looker.start()
    server_module.serve(config, world.url, stop, listener)  # in the main thread, where uvicorn would take them
    looker.join()
    assert seen == [(200, before)]
