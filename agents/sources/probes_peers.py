"""Who is probed: addresses as configurations write them, and lists of the API, to peers that differ from each other."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from agents.errors import SourceError

if TYPE_CHECKING:
    from agents.sources.configs import ProbesConfig

MOST_PEERS: Final = 10_000
#: An answer of the API that names as many peers as there may be, with long names.
MOST_ANSWER_BYTES: Final = 8 * 2**20
OWN_PORT: Final = 7946
_HOST_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PATH: Final = re.compile(r"/[!-~]{0,2000}")
_HIGHEST_PORT: Final = 65_535
_LONGEST_NAME: Final = 256
_IMPLIED_PORTS: Final = {"http": 80, "https": 443}

Key = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer; `name` is what records call it. Labels are "" where nobody told them."""

    name: str
    kind: Literal["tcp", "http", "https"]
    host: str
    port: int
    path: str = ""
    rack: str = ""
    tor: str = ""
    dc: str = ""

    @property
    def key(self) -> Key:
        """What makes it another peer than others."""
        return self.kind, self.host, self.port, self.path

    @property
    def header_host(self) -> str:
        """As a request names it, without the port that its scheme implies."""
        return self.address.rpartition(":")[0] if self.port == _IMPLIED_PORTS.get(self.kind) else self.address

    @property
    def address(self) -> str:
        """HOST:PORT, the host of IPv6 in brackets."""
        return shown_address(self.host, self.port)


class _Named(msgspec.Struct):
    """One peer in the API's answer; keys of newer releases are skipped."""

    agent: str
    address: str
    rack: str = ""
    tor: str = ""
    dc: str = ""


class _Answer(msgspec.Struct):
    peers: Annotated[list[_Named], msgspec.Meta(max_length=MOST_PEERS)]


_answer = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the API named; `bad`: addresses that are none, `foreign`: whose port is not one that may be probed."""

    peers: tuple[Peer, ...] = ()
    bad: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def shown_address(host: str, port: int) -> str:
    """As configurations write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(text: str) -> tuple[str, int]:
    """Host in its one form and port, of HOST:PORT; ValueError says what is wanted."""
    found = _HOST_PORT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:200]!r} is no address; want HOST:PORT, or [HOST]:PORT for IPv6")
    return _host(found.group(1), text), _port(int(found.group(2)), text)


def peer_of(text: str) -> Peer:
    """The peer that a configuration names: HOST:PORT for connects, a URL of http or https for GETs; else ValueError."""
    if "://" not in text:
        host, port = address_of(text)
        return Peer(text, "tcp", host, port)
    try:
        url = urlsplit(text)
        port = _port(_IMPLIED_PORTS.get(url.scheme, 80) if url.port is None else url.port, text)
    except ValueError as error:
        raise ValueError(f"{text[:200]!r}: {error}; want http://HOST:PORT/PATH") from error
    if url.scheme not in ("http", "https"):
        raise ValueError(f"{text[:200]!r}: {url.scheme} is not spoken; want http://, https://, or HOST:PORT to connect")
    if url.username is not None or url.password is not None:
        raise ValueError("a URL with a user or password in it; probes show none, take them out")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if _PATH.fullmatch(path) is None:
        raise ValueError(f"{text[:200]!r}: a path of odd characters or beyond 2,000; want it percent-encoded")
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else (url.hostname or "")
    return Peer(text, "https" if url.scheme == "https" else "http", _host(host, text), port, path)


def check_probes(config: "ProbesConfig") -> None:
    """Refuse settings that contradict each other or cannot be used; ValueError names the one."""
    if not (config.listen or config.peers or config.choose):
        raise ValueError("listen, peers and choose are all empty; set at least one")
    if len(config.peers) > MOST_PEERS:
        raise ValueError(f"peers: {len(config.peers)} of them; at most {MOST_PEERS}, or `choose` from the API")
    if len(unique(peer_of(text) for text in config.peers)) > config.max_peers:
        raise ValueError(f"peers: more than max_peers, {config.max_peers}; raise it, or name fewer")
    if config.timeout_s > config.interval_s:
        raise ValueError(f"timeout_s is {config.timeout_s:g}, above interval_s, {config.interval_s:g}; lower it")
    if config.announce:
        address_of(config.announce)
        if not config.listen:
            raise ValueError("announce is set, but listen is empty: nobody would answer there")


def chosen_of(body: bytes, kind: Literal["tcp", "http"], ports: Iterable[int]) -> Chosen:
    """The peers in an answer of the API.

    Raises:
        SourceError: it is no such answer.
    """
    try:
        answer = _answer.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"no list of peers: {error}") from error
    allowed, peers, bad, foreign = frozenset(ports), [], [], []
    for one in answer.peers:
        try:
            host, port = address_of(one.address)
        except ValueError:
            bad.append(one.address)
            continue
        if port not in allowed:
            foreign.append(one.address)
            continue
        name = one.agent[:_LONGEST_NAME] or one.address
        path = "/" if kind == "http" else ""
        peers.append(
            Peer(name, kind, host, port, path, *(label[:_LONGEST_NAME] for label in (one.rack, one.tor, one.dc)))
        )
    return Chosen(tuple(peers), tuple(bad), tuple(foreign))


def unique(peers: Iterable[Peer]) -> list[Peer]:
    """Each once, in their order; the labels of one that is named twice are the later ones, where it has some."""
    found: dict[Key, Peer] = {}
    for peer in peers:
        before = found.get(peer.key)
        if before is None:
            found[peer.key] = peer
        elif peer.rack or peer.tor or peer.dc:
            found[peer.key] = replace(before, rack=peer.rack, tor=peer.tor, dc=peer.dc)
    return list(found.values())


def _host(host: str, text: str) -> str:
    bare = host.strip("[]")
    if host.startswith("[") or ":" in bare:
        try:
            return ipaddress.IPv6Address(bare).compressed
        except ValueError as error:
            raise ValueError(f"{text[:200]!r}: {error}") from error
    if _NAME.fullmatch(bare) is None:
        raise ValueError(f"{text[:200]!r} names no host; want a name or an address")
    return bare.lower()


def _port(port: int, text: str) -> int:
    if not 1 <= port <= _HIGHEST_PORT:
        raise ValueError(f"{text[:200]!r}: port {port}; want 1 to {_HIGHEST_PORT}")
    return port
