"""The source `probes` against real sockets of this host: every outcome, what is lost, peers from an API."""

import contextlib
import errno
import http.server
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.config import AgentConfig
from agents.errors import SourceError
from agents.plan_client import PlanClient
from agents.sources import probes, probes_flight, probes_loop
from agents.sources.configs import ProbesConfig
from agents.sources.probes import ProbesSource
from agents.sources.probes_api import ChosenPeers
from agents.sources.probes_flight import OUTCOMES, Address, Flight
from agents.sources.probes_names import KEPT_S, Names
from agents.sources.probes_peers import Peer
from agents.sources.source import Lost
from tests.agents.live import until
from tests.agents.sources.test_logs_real import nginx
from tests.counterparts.choice import free_port

Make = Callable[..., ProbesSource]


def quick(interval_s: float = 0.1, **settings: Any) -> ProbesConfig:
    """More often than a configuration may say."""
    config = ProbesConfig(**({"listen": "", "interval_s": 3600.0, "timeout_s": 20.0, "max_per_s": 1000.0} | settings))
    msgspec.structs.force_setattr(config, "interval_s", interval_s)
    return config


@pytest.fixture
def make() -> Iterator[Make]:
    opened: list[ProbesSource] = []

    def opener(agent: AgentConfig | None = None, /, look_up: Any = None, **settings: Any) -> ProbesSource:
        more = {} if look_up is None else {"look_up": look_up}
        opened.append(ProbesSource(quick(**settings), agent or AgentConfig(id="a", host="h"), **more))
        opened[-1].open(None)
        return opened[-1]

    yield opener
    for source in opened:
        source.close()


def rows_until(source: ProbesSource, count: int = 1) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    assert until(
        lambda: found.extend(row for one in source.poll() for row in one.rows.to_dicts()) or len(found) >= count, 30
    )
    return found


def own_port(source: ProbesSource) -> int:
    assert source._chosen.port is not None
    return source._chosen.port


@contextlib.contextmanager
def full_listener() -> Iterator[socket.socket]:
    """One whose queue has no room: the kernel drops further SYNs."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        assert select.select([listener], [], [], 30)[0], "one waits in it: it is full"
        yield listener


@contextlib.contextmanager
def server_that(does: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port that treats each connection so, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), connection:
                        does(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def answering(data: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(data)

    return answer


def resetting(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_agents_reach_each_others_ports_by_connect_and_get(make: Make, listen: str) -> None:
    there = make(listen=listen)
    address = f"{listen.rpartition(':')[0]}:{own_port(there)}"
    here = make(peers=(address, f"http://{address}/"))
    found: dict[str, dict[str, Any]] = {}
    assert until(lambda: found.update({row["kind"]: row for row in rows_until(here)}) or len(found) == 2, 30)
    for kind, row in found.items():
        assert (row["outcome"], row["ok"], row["failed"], row["peer_address"]) == ("ok", 1, 0, address)
        assert row["http_status"] == (200 if kind == "http" else None)
        assert 0 < row["connect_us"] <= row["latency_us"] < 20e6
        assert row["syn_retransmits"] == 0
        assert 0 < row["rtt_us"] < 20e6
        assert abs(row["ts"] - time.time_ns()) < 60e9
    assert found["tcp"]["latency_us"] == found["tcp"]["connect_us"]
    assert until(lambda: there.counters()["knocks_answered"] >= 1 and there.counters()["knocks"] >= 2)


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "ok", 204),
        (b"HTTP/1.0 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "ok", 302),
        (b"HTTP/1.1 404 \r\n\r\n", "http_status", 404),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nA: b\r\n\r\nbody", "http_status", 503),
        (b"HTTP/1.1 200 OK\nA: b\n\n", "ok", 200),
        (b"", "bad_http", None),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "bad_http", None),
        (b"HTTP/1.1 999 Odd\r\n\r\n", "bad_http", None),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, "bad_http", None),
        (b"\xff\x00" * 100, "bad_http", None),
    ],
    ids=["204", "redirect", "404", "interim", "bare lines", "closed", "ssh", "999", "endless head", "binary"],
)
def test_answers_to_a_get_are_outcomes(make: Make, answer: bytes, outcome: str, status: int | None) -> None:
    with server_that(answering(answer)) as port:
        row = rows_until(make(peers=(f"http://127.0.0.1:{port}/a?b",)))[0]
    assert (row["outcome"], row["http_status"], row["ok"], row["failed"]) == (
        outcome, status, int(outcome == "ok"), int(outcome != "ok"),
    )  # fmt: skip
    assert (row["latency_us"] is None) == (outcome != "ok")
    assert row["connect_us"] > 0


def test_a_peer_that_resets_is_told_from_one_that_refuses(make: Make) -> None:
    with server_that(resetting) as port:
        reset = rows_until(make(peers=(f"http://127.0.0.1:{port}",)))[0]
    refused = rows_until(make(peers=(f"127.0.0.1:{free_port()}",)))[0]
    assert (reset["outcome"], refused["outcome"]) == ("reset", "refused")
    assert (refused["connect_us"], refused["latency_us"], refused["rtt_us"]) == (None, None, None)


def test_a_socket_that_met_itself_found_nobody() -> None:
    with socket.socket() as both:
        both.bind(("127.0.0.1", 0))
        both.connect(both.getsockname())
        flight = Flight(Peer("p", "tcp", "127.0.0.1", both.getsockname()[1]), time.monotonic)
        flight.socket = both
        result = flight.ready(1.0)
    assert result is not None
    assert (result.outcome, result.latency_us) == ("refused", None)


def test_a_peer_that_drops_syns_times_out(make: Make) -> None:
    with full_listener() as listener:
        source = make(peers=(f"127.0.0.1:{listener.getsockname()[1]}",), timeout_s=0.3)
        row = rows_until(source)[0]
    assert (row["outcome"], row["failed"], row["latency_us"]) == ("timeout", 1, None)


def test_a_get_without_an_answer_times_out_although_it_was_connected(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        row = rows_until(make(peers=(f"http://127.0.0.1:{silent.getsockname()[1]}/",), timeout_s=0.2))[0]
    assert row["outcome"] == "timeout"
    assert row["connect_us"] > 0


def test_a_syn_that_was_dropped_shows_as_sent_again_and_as_a_second_of_latency(make: Make) -> None:
    with full_listener() as listener:
        source = make(peers=(f"127.0.0.1:{listener.getsockname()[1]}",), interval_s=1.0)
        assert until(lambda: source.counters()["probes"])
        listener.listen(100)  # from now on there is room
        late: list[dict[str, Any]] = []  # the next probe, a second later, may be through before the first
        assert until(lambda: late.extend(row for row in rows_until(source) if row["syn_retransmits"]) or late, 30)
        row = late[0]
    assert row["outcome"] == "ok"
    assert row["latency_us"] > 0.9e6
    assert row["rtt_us"] is None, "of a handshake that was sent twice nobody knows the round trip"


def test_a_name_without_an_address_is_a_failure_of_its_own(make: Make) -> None:
    def no_such(host: str) -> Address:
        raise OSError(host)

    row = rows_until(make(look_up=no_such, peers=("nowhere.example:80",)))[0]
    assert (row["outcome"], row["peer"], row["peer_address"]) == ("dns", "nowhere.example:80", "nowhere.example:80")


def test_a_resolver_that_hangs_holds_up_nobody_else(make: Make) -> None:
    go_on = threading.Event()

    def hanging(host: str) -> Address:
        go_on.wait(60)
        return socket.AF_INET, ("127.0.0.1", 0)

    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        peers = (f"slow.example:{port}", f"127.0.0.1:{port}")
        source = make(look_up=hanging, peers=peers, timeout_s=0.3)
        found: dict[str, str] = {}
        assert until(lambda: found.update({r["peer"]: r["outcome"] for r in rows_until(source)}) or len(found) == 2)
        assert found == {peers[0]: "dns", peers[1]: "ok"}
        go_on.set()
        assert until(lambda: any(r["outcome"] == "ok" for r in rows_until(source) if r["peer"] == peers[0]))


def test_names_are_looked_up_again_after_a_minute_and_kept_meanwhile() -> None:
    now_s, asked = [0.0], []

    def counted(host: str) -> Address:
        asked.append(host)
        if len(asked) == 2:
            raise OSError
        return socket.AF_INET6, ("::1", 0, 0, 7)

    names = Names(counted, lambda: now_s[0])

    def looked_up(times: int) -> bool:
        """And what was found is kept from now on."""
        return len(asked) == times and not names._known["a"].asking

    assert names.address("10.0.0.1", 5, 1.0) == (socket.AF_INET, ("10.0.0.1", 5))
    assert until(lambda: names.address("a", 5, 1.0) == (socket.AF_INET6, ("::1", 5, 0, 7)))
    assert until(lambda: looked_up(1))
    now_s[0] = KEPT_S - 1
    assert (names.address("a", 6, 1.0), len(asked)) == ((socket.AF_INET6, ("::1", 6, 0, 7)), 1)
    now_s[0] = KEPT_S + 100

    def failing() -> bool:
        try:
            return names.address("a", 5, 1.0) is None
        except LookupError:
            return True

    assert until(failing)
    assert until(lambda: looked_up(2))
    now_s[0] += 100
    assert until(lambda: not failing())
    assert asked == ["a"] * 3
    names.close()


def test_what_this_host_cannot_do_is_lost_and_nobodys_failure(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoDescriptors(socket.socket):
        def connect_ex(self, _address: object) -> int:
            return errno.EADDRNOTAVAIL

    monkeypatch.setattr(probes_flight.socket, "socket", NoDescriptors)
    source = make(peers=("127.0.0.1:80",))
    lost: list[Lost] = []
    assert until(lambda: lost.extend(gone for one in source.poll() for gone in one.lost) or lost)
    assert {one.reason for one in lost} == {"probes_local"}
    assert source.counters()["probes_local"] >= 1
    assert sum(source.counters()[f"outcome_{outcome}"] for outcome in OUTCOMES) == 0


def test_what_nobody_polls_is_bounded_and_lost_in_its_second(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MOST_WAITING", 3)
    source = make(peers=(f"127.0.0.1:{free_port()}",), interval_s=0.01)
    assert until(lambda: source.counters()["queue_full"] >= 5)
    (batch,) = source.poll()
    assert batch.rows.height == 3
    assert sum(one.count for one in batch.lost) >= 5
    assert all(one.reason == "queue_full" and abs(one.ts_ns - time.time_ns()) < 60e9 for one in batch.lost)


def test_probes_in_the_air_are_bounded_and_their_turn_comes_later(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_loop, "MOST_IN_FLIGHT", 2)
    with full_listener() as listener:
        port = listener.getsockname()[1]
        peers = tuple(f"127.0.0.{i}:{port}" for i in range(1, 2)) + tuple(
            f"http://127.0.0.1:{port}/{i}" for i in range(4)
        )
        source = make(peers=peers, timeout_s=0.2, interval_s=0.2)
        assert until(lambda: source.counters()["held_back"] and source.counters()["probes"] >= 2)
        assert source._loop is not None
        assert until(lambda: len({row["peer"] for row in rows_until(source, 4)}) > 2)
        assert len(source._loop._flights) <= 2


def test_probes_in_the_air_when_the_agent_stops_are_counted(make: Make) -> None:
    with full_listener() as listener:
        source = make(peers=(f"127.0.0.1:{listener.getsockname()[1]}",))
        assert until(lambda: source.counters()["probes"])
        source.close()
        sent = source.counters()["probes"]  # another one where this test was held up
        lost: list[Lost] = []
        assert until(lambda: lost.extend(gone for one in source.poll() for gone in one.lost) or lost)
        assert {one.reason for one in lost} == {"probes_stopped"}
        assert sum(one.count for one in lost) == sent >= 1
        source.close()
        assert source.poll() == []


def test_a_loop_that_ends_by_mistake_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(peers=("127.0.0.1:80",))
    monkeypatch.setattr(probes_loop.ProbeLoop, "_step", lambda _: {}["broken"])

    def polled() -> str:
        try:
            return str(source.poll())
        except SourceError as error:
            return str(error)

    assert until(lambda: "probes have ended: KeyError" in polled())


def test_a_rate_that_does_not_suffice_is_told() -> None:
    config = ProbesConfig(listen="", peers=tuple(f"10.0.0.{i}:1" for i in range(200)), max_per_s=0.001, max_peers=500)
    source = ProbesSource(config, AgentConfig(id="a"))
    source.open(None)
    assert source.missing()["rate"] == "200 peers at max_per_s, 0.001, are probed every 200000 s instead of every 10 s"
    source.close()


@settings(deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=60) | st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"]), max_size=6)
)
def test_no_answer_breaks_a_probe(pieces: list[bytes]) -> None:
    flight = Flight(Peer("p", "http", "127.0.0.1", 1, "/"), time.monotonic)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        flight.socket = ours
        result = flight._connected(0.0)
        for piece in pieces:
            if result is None:
                theirs.sendall(piece)
                result = flight.ready(1.0)
        theirs.close()
        result = result or flight.ready(2.0)
    assert result is not None
    assert result.outcome in OUTCOMES


def test_nginx_is_probed_when_the_operator_names_it(make: Make, tmp_path: Path) -> None:
    with nginx(tmp_path) as (port, _):
        source = make(peers=(f"http://127.0.0.1:{port}/gone", f"http://127.0.0.1:{port}/", f"127.0.0.1:{port}"))
        found: dict[str, tuple[str, int | None]] = {}
        rows: Callable[[], Any] = lambda: {r["peer"]: (r["outcome"], r["http_status"]) for r in rows_until(source)}  # noqa: E731
        assert until(lambda: found.update(rows()) or len(found) == 3)
    assert list(dict(sorted(found.items())).values()) == [("ok", None), ("ok", 200), ("http_status", 404)]


class PeersApi(http.server.BaseHTTPRequestHandler):
    """Answers as the API does; `script` says with what."""

    script: dict[str, Any]

    def do_GET(self) -> None:
        self.script.setdefault("asked", []).append((self.path, self.headers.get("Authorization")))
        status, body = self.script["answer"]
        etag = f'"{hash(body)}"'
        if status == 200 and self.headers.get("If-None-Match") == etag:
            status, body = 304, b""
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[tuple[str, dict[str, Any]]]:
    script: dict[str, Any] = {"answer": (200, b'{"agent": "a", "peers": []}')}
    handler = type("Handler", (PeersApi,), {"script": script})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", script
        server.shutdown()


def named(*addresses: str) -> tuple[int, bytes]:
    peers = [
        {"agent": f"agent-{i}", "address": one, "rack": "r1", "tor": "", "dc": "d"} for i, one in enumerate(addresses)
    ]
    return 200, json.dumps({"agent": "me", "peers": peers}).encode()


def test_peers_that_the_api_names_are_probed_under_their_names_and_labels(
    make: Make, api: tuple[str, dict[str, Any]]
) -> None:
    url, script = api
    there = make(listen="127.0.0.1:0")
    script["answer"] = named(f"127.0.0.1:{own_port(there)}", "127.0.0.1:22", "nonsense")
    agent = AgentConfig(id="rack 7/a", plan_url=url, api_key="secret")
    here = make(agent, choose=("same_rack", "each_rack"), peer_ports=(own_port(there),), max_peers=50)
    row = rows_until(here)[0]
    assert until(lambda: "peers" not in here.missing())  # the last thing that is done with a list
    assert (row["peer"], row["peer_rack"], row["peer_dc"], row["outcome"]) == ("agent-0", "r1", "d", "ok")
    path, key = script["asked"][0]
    assert (urlsplit(path).path, key) == ("/api/v1/agents/rack%207%2Fa/peers", "Bearer secret")
    assert parse_qs(urlsplit(path).query) == {
        "choose": ["same_rack,each_rack"], "per_group": ["1"], "most": ["50"],
    }  # fmt: skip
    counters = here.counters()
    assert (counters["peer_lists"], counters["foreign_ports"], counters["bad_addresses"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((503, b"busy"), "status 503: busy"),
        ((302, b""), "status 302"),
        ((404, b'{"title": "Unknown", "detail": "agent"}'), "Unknown: agent"),
        ((200, b"<html>"), "no list of peers"),
        ((200, b'{"peers": ["a"]}'), "no list of peers"),
        ((200, b" " * (8 * 2**20 + 1)), "more than 8388608 bytes"),
        (named(*["h:1"] * 10_001), "no list of peers"),
    ],
    ids=["busy", "redirect", "unknown", "html", "wrong type", "huge", "too many"],
)
def test_the_last_good_list_is_kept_while_the_api_says_nothing_usable(
    make: Make, api: tuple[str, dict[str, Any]], answer: tuple[int, bytes], told: str
) -> None:
    url, script = api
    there = make(listen="127.0.0.1:0")
    script["answer"] = named(f"127.0.0.1:{own_port(there)}")
    ports = (own_port(there),)
    here = make(AgentConfig(id="a", plan_url=url), choose=("all",), peer_ports=ports, refresh_s=0.1)
    rows_until(here)
    script["answer"] = answer
    assert until(lambda: here.poll() is not None and told in here.missing().get("peers", ""))
    assert here.missing()["peers"].endswith("the last list is kept")
    assert rows_until(here)[0]["peer"] == "agent-0"
    script["answer"] = named()
    assert until(
        lambda: here.poll() is not None and not here._peer_count and "names nobody" in here.missing().get("peers", "")
    )


def test_the_list_goes_on_to_a_successor_that_would_ask_the_same(api: tuple[str, dict[str, Any]]) -> None:
    url, script = api
    agent = AgentConfig(id="a", plan_url=url)
    script["answer"] = named("10.0.0.1:7946")
    before = ChosenPeers(quick(choose=("all",)), agent, PlanClient)
    before.refresh()
    for config, peers in ((quick(choose=("all",), interval_s=1.0), 1), (quick(choose=("same_rack",)), 0)):
        after = ChosenPeers(config, agent, PlanClient)
        after.go_on_from(before)
        assert (len(after.peers), "peers" in after.missing) == (peers, not peers)


def test_an_api_that_never_answered_is_a_state(make: Make) -> None:
    here = make(AgentConfig(id="a", plan_url=f"http://127.0.0.1:{free_port()}"), choose=("all",), refresh_s=0.1)
    assert here.missing()["peers"] == "the API has not been asked yet"
    assert until(lambda: here.poll() == [] and here.counters()["peer_lists_failed"] >= 2)
    assert here.missing()["peers"].endswith("nobody is chosen yet")


def test_rows_are_as_the_stream_is_declared(make: Make) -> None:
    source = make(peers=(f"127.0.0.1:{free_port()}",))
    batches: list[Any] = []
    assert until(lambda: batches.extend(source.poll()) or batches)
    assert batches[0].rows.columns == [name for name in source.streams["peer_probes"] if name != "host"]
    assert isinstance(batches[0].rows, pl.DataFrame)
