"""Peers as configurations and the API name them: what is taken, what is refused, what counts as the same."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config import AgentConfig
from agents.errors import SourceError
from agents.sources.configs import ProbesConfig
from agents.sources.probes import ProbesSource
from agents.sources.probes_api import allowed_ports, announced_address, own_places
from agents.sources.probes_peers import MOST_PEERS, Peer, chosen_of, peer_of, unique


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("host-1:7946", ("tcp", "host-1", 7946, "")),
        ("HOST.example.:80", ("tcp", "host.example.", 80, "")),
        ("10.0.0.1:65535", ("tcp", "10.0.0.1", 65535, "")),
        ("[2001:DB8:0::1]:22", ("tcp", "2001:db8::1", 22, "")),
        ("http://web", ("http", "web", 80, "/")),
        ("http://[::1]:81/a%20b?q=1", ("http", "::1", 81, "/a%20b?q=1")),
    ],
)
def test_peers_are_read(text: str, key: tuple[str, str, int, str]) -> None:
    assert (peer_of(text).key, peer_of(text).name) == (key, text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("host", "HOST:PORT"),
        ("::1:80", "HOST:PORT"),
        ("[::1%eth0]:80", "HOST:PORT"),
        ("[1:2]:80", "At least 3 parts"),
        ("host:0", "1 to 65535"),
        ("host:65536", "1 to 65535"),
        ("ho st:80", "HOST:PORT"),
        ("wss://web/", "want http://, https://"),
        ("ftp://web/", "ftp is not spoken"),
        ("http://user:secret@web/", "user or password"),
        ("http://web:99999/", "want http://HOST:PORT"),
        ("http:///path", "names no host"),
        ("http://web/a\r\nX: 1", "percent-encoded"),
        ("http://web/\u00e4", "percent-encoded"),
        ("http://web/" + "a" * 3000, "percent-encoded"),
        ("http://[::1/", "want http://HOST"),
    ],
)
def test_what_is_no_peer_is_refused_with_what_is_wanted(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=r"want|take them out|At least") as refused:
        peer_of(text)
    assert wanted in str(refused.value)
    assert "secret" not in str(refused.value)


@given(st.text(max_size=80) | st.from_regex(r"http://.*", fullmatch=True))
def test_any_text_is_a_peer_or_refused_and_makes_no_second_line_of_a_request(text: str) -> None:
    try:
        peer = peer_of(text)
    except ValueError:
        return
    assert not set(peer.path + peer.host) & set("\r\n \t\0")


def test_addresses_named_twice_are_one_peer_with_the_labels_that_somebody_told() -> None:
    found = unique([peer_of("Web:80"), peer_of("web:80"), Peer("agent-1", "tcp", "web", 80, rack="r1"), peer_of("a:1")])
    assert [(peer.name, peer.rack) for peer in found] == [("Web:80", "r1"), ("a:1", "")]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"listen": "", "peers": []}, "listen, peers and choose are all empty"),
        ({"peers": ["nothing"]}, "HOST:PORT"),
        ({"timeout_s": 11}, "above interval_s"),
        ({"announce": "here"}, "HOST:PORT"),
        ({"announce": "here:1", "listen": "", "peers": ["a:1"]}, "listen is empty"),
        ({"interval_s": 0.5}, ">= 1.0"),
        ({"max_per_s": 1001}, "<= 1000"),
        ({"choose": ["racks"]}, "Invalid enum"),
        ({"peers": ["a:1", "b:1"], "max_peers": 1}, "more than max_peers"),
        ({"peers": [f"h{i}:1" for i in range(100_000)]}, f"at most {MOST_PEERS}"),
        ({"peer_ports": [0]}, ">= 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], wanted: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(settings, ProbesConfig)
    assert wanted in str(refused.value)


def test_to_choose_peers_an_api_must_be_named() -> None:
    with pytest.raises(SourceError, match=r"agent\.plan_url names none"):
        ProbesSource(ProbesConfig(choose=("all",)), AgentConfig())


def answer(*addresses: str) -> bytes:
    peers = [{"agent": f"a{i}", "address": one, "rack": "r1", "new": 1} for i, one in enumerate(addresses)]
    return msgspec.json.encode({"agent": "me", "peers": peers, "new": 1})


def test_of_the_apis_list_only_addresses_with_an_allowed_port_are_taken() -> None:
    chosen = chosen_of(answer("10.0.0.1:7946", "10.0.0.2:22", "nowhere", "[::1]:7946"), "http", [7946])
    assert [(peer.name, peer.address, peer.path, peer.rack) for peer in chosen.peers] == [
        ("a0", "10.0.0.1:7946", "/", "r1"),
        ("a3", "[::1]:7946", "/", "r1"),
    ]
    assert (chosen.foreign, chosen.bad) == (("10.0.0.2:22",), ("nowhere",))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"\xff", b'{"peers": [{"agent": 1}]}', b'{"peers": {}}', b"[" * 100_000, answer(*["a:1"] * 10_001)],
    ids=["empty", "list", "binary", "wrong type", "object", "deep", "too many"],
)
def test_what_is_no_list_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(SourceError, match="no list of peers"):
        chosen_of(body, "tcp", [7946])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_refused(body: bytes) -> None:
    with suppress(SourceError):
        assert chosen_of(body, "tcp", [1]).foreign is not None


def test_ports_that_may_be_probed_are_by_default_the_own_one() -> None:
    assert allowed_ports(ProbesConfig(listen="0.0.0.0:8001")) == (8001,)
    assert allowed_ports(ProbesConfig(listen="", choose=("all",))) == (7946,)
    assert allowed_ports(ProbesConfig(peer_ports=(1, 2))) == (1, 2)


def test_an_agent_knows_itself_in_a_list_that_all_have() -> None:
    me = AgentConfig(host="Web-1")
    for config in (ProbesConfig(), ProbesConfig(listen="127.0.0.1:7946")):
        is_own = own_places(config, me)
        assert is_own(peer_of("web-1:7946"))
        assert is_own(peer_of("http://127.0.0.1:7946/"))
        assert not is_own(peer_of("web-1:80"))
        assert not is_own(peer_of("192.0.2.1:7946"))
    assert own_places(ProbesConfig(announce="192.0.2.1:1"), me)(peer_of("192.0.2.1:1"))
    assert not own_places(ProbesConfig(listen="", choose=("all",)), me)(peer_of("web-1:7946"))


def test_what_is_announced_is_the_address_towards_the_api_or_what_the_operator_says() -> None:
    agent = AgentConfig(plan_url="http://127.0.0.1:8080")
    assert announced_address(ProbesConfig(), agent) == "127.0.0.1:7946"
    assert announced_address(ProbesConfig(listen="127.0.0.2:0"), agent, 4711) == "127.0.0.2:4711"
    assert announced_address(ProbesConfig(listen="[::1]:5"), agent) == "[::1]:5"
    assert announced_address(ProbesConfig(announce="me.example:1"), agent) == "me.example:1"
    assert announced_address(ProbesConfig(listen="", choose=("all",)), agent) == ""
