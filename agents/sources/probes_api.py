"""Whom the API says this agent is to probe, and what the agent says of its own port: asked and found out in a thread.

The last good list is kept for as long as the API is away. The choice is the API's, which knows the fleet; the rules are
in api/peer_choice.py. What it names is only probed at ports that this agent's own configuration allows: whoever can
announce an address to the API must not be able to turn the fleet against a service.
"""

import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

import psutil

from agents.config import AgentConfig
from agents.errors import PlanUnavailableError, SourceError
from agents.sources.bad_input import BadInput
from agents.sources.configs import ProbesConfig
from agents.sources.listening import listening_address
from agents.sources.probes_peers import (
    MOST_ANSWER_BYTES,
    OWN_PORT,
    Peer,
    address_of,
    chosen_of,
    shown_address,
)

if TYPE_CHECKING:
    from agents.plan_client import Reply

log = logging.getLogger(__name__)

# Documentation's own addresses (RFC 5737): nothing is sent, the system only says by which of its own it would go.
_FAR_AWAY: Final = ("192.0.2.1", 9)


class Asking(Protocol):
    """One question to an API."""

    def get(self, path: str, etag: str = "", most_bytes: int = ...) -> "Reply | None":
        """As PlanClient."""


class ChosenPeers:
    """Of one source; `refresh` runs in a thread, the attributes may be read at any time.

    Attributes:
        peers: the last good list, a new object whenever it changed.
        announced: HOST:PORT at which this agent answers, or "".
        port: at which it really listens, where the configuration lets the system choose.
    """

    def __init__(self, config: ProbesConfig, agent: AgentConfig, client: Callable[[AgentConfig], Asking]) -> None:
        """`client` makes what asks the API."""
        self.peers: tuple[Peer, ...] = ()
        self.announced = ""
        self.port: int | None = None
        self.counters = {"peer_lists": 0, "peer_lists_failed": 0}
        self._config = config
        self._agent = agent
        self._client = client
        self._bad = BadInput("probes")
        self._etag = ""
        self._known = False
        self._missing: dict[str, str] = {}
        if config.choose:
            self._missing["peers"] = "the API has not been asked yet"

    @property
    def missing(self) -> Mapping[str, str]:
        """Why there is no list, or an old one, and no address to announce."""
        return self._missing

    @property
    def bad(self) -> Mapping[str, int]:
        """What could not be used of the API's answers, by reason."""
        return self._bad.counts

    def refresh(self) -> None:
        """Find out the own address and ask for a new list."""
        missing = {}
        self.announced = announced_address(self._config, self._agent, self.port)
        if self._config.listen and not self.announced:
            missing["announce"] = "no address is known at which peers reach this host; set `announce`"
        if self._config.choose:
            try:
                self._ask()
            except (PlanUnavailableError, SourceError) as error:
                self.counters["peer_lists_failed"] += 1
                missing["peers"] = f"{error}; " + ("the last list is kept" if self._known else "nobody is chosen yet")
            else:
                self.counters["peer_lists"] += 1
                if not self.peers:
                    missing["peers"] = (
                        "the API names nobody by these rules; no other agent has a port that it announces"
                    )
        self._tell_changes(missing)
        self._missing = missing

    def go_on_from(self, before: "ChosenPeers") -> None:
        """The list of the one before, where it was asked for in the same way."""
        self.announced = before.announced
        if _question(self._config, self._agent) == _question(before._config, before._agent):
            self.peers, self._known, self._missing = before.peers, before._known, dict(before._missing)

    def _ask(self) -> None:
        config = self._config
        reply = self._client(self._agent).get(_question(config, self._agent), self._etag, MOST_ANSWER_BYTES)
        if reply is None:
            return
        try:
            chosen = chosen_of(reply.body, config.choose_kind, allowed_ports(config))
        except SourceError:
            self._bad.add("bad_lists", reply.body[:400])
            raise
        for text in chosen.bad:
            self._bad.add("bad_addresses", text)
        for text in chosen.foreign:
            self._bad.add("foreign_ports", text)
        self.peers, self._etag, self._known = chosen.peers[: config.max_peers], reply.etag, True

    def _tell_changes(self, missing: Mapping[str, str]) -> None:
        for name, reason in missing.items():
            if self._missing.get(name) != reason:
                log.warning("probes lack something what=%s reason=%s", name, reason)
        for name in self._missing:
            if name not in missing:
                log.info("probes have it again what=%s", name)


def allowed_ports(config: ProbesConfig) -> tuple[int, ...]:
    """Where peers that the API names may be probed."""
    return config.peer_ports or (int(config.listen.rpartition(":")[2] or 0) or OWN_PORT,)


def announced_address(config: ProbesConfig, agent: AgentConfig, port: int | None = None) -> str:
    """Where peers are to knock; "" where nobody listens, or no address is known."""
    if config.announce or not config.listen:
        return config.announce
    at = listening_address(config.listen)
    host = at.host
    if ipaddress.ip_address(host).is_unspecified:
        host = _address_towards(agent.plan_url)
    return shown_address(host, port or at.port) if host else ""


def own_places(config: ProbesConfig, agent: AgentConfig) -> Callable[[Peer], bool]:
    """Whether a peer is this very agent: a list that is the same on all hosts names each to itself."""
    if not config.listen:
        return lambda _: False
    at = listening_address(config.listen)
    hosts = {at.host, agent.host_name.lower(), *([address_of(config.announce)[0]] if config.announce else [])}
    if ipaddress.ip_address(at.host).is_unspecified:
        with suppress(OSError):
            found = psutil.net_if_addrs().values()
            hosts |= {one.address.partition("%")[0] for addresses in found for one in addresses}
        hosts |= {"localhost"}
    ports = {at.port, *([address_of(config.announce)[1]] if config.announce else [])}
    return lambda peer: peer.port in ports and peer.host in hosts


def _address_towards(url: str) -> str:
    """This host's address on the way to the API, or else to the world; "" without any."""
    parts = urlsplit(url)
    places: list[tuple[socket.AddressFamily, object]] = [(socket.AF_INET, _FAR_AWAY)]
    if parts.hostname:
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(parts.hostname, parts.port or 9, type=socket.SOCK_DGRAM)
            places = [(one[0], one[4]) for one in found[:1]] + places
    for family, at in places:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.connect(at)  # type: ignore[arg-type]  # as getaddrinfo gave it
            host = str(tried.getsockname()[0]).partition("%")[0]
            if not ipaddress.ip_address(host).is_unspecified:
                return host
    return ""


def _question(config: ProbesConfig, agent: AgentConfig) -> str:
    asked = {"choose": ",".join(config.choose), "per_group": config.per_group, "most": config.max_peers}
    return f"/api/v1/agents/{quote(agent.agent_id, safe='')}/peers?{urlencode(asked, safe=',')}"
