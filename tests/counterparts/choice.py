"""Which real counterpart a test talks to: decided once per run, printed in the header, stopped at the end.

A counterpart is a server of somebody else's making, such as a database or a broker. In this order: an address in the
environment; a container, when a Docker engine answers; a program that pip or apt brought, started on a free loopback
port. What can be had in none of these ways is a skip with its reason, or a failure with STRICT=1. Nothing is started
before the first test asks for it.
"""

import http.client
import os
import random
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

_ENGINE_ANSWERS_WITHIN_S = 2.0
_GIVEN_BY_THE_SYSTEM = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUALLY_FIRST_GIVEN = 32_768
_LOWEST_PORT = 10_240
_draw = random.SystemRandom()  # two processes at once must not draw the same
_drawn: set[int] = set()
Server = AbstractContextManager[str]  # runs while entered; gives the address


@dataclass(frozen=True, slots=True)
class Wanted:
    """A counterpart that tests need, and the ways to it.

    Attributes:
        variable: environment variable that may hold its address.
        container: a server in a container; it may import testcontainers, for a Docker engine answers by then.
        program: (what it is, the server), or only the reason why there is no such program here.
    """

    name: str
    variable: str
    container: Callable[[], Server]
    program: Callable[[], tuple[str, Callable[[], Server]] | str]


@dataclass(slots=True)
class Counterpart:
    """What was decided for one counterpart.

    Attributes:
        how: in words; empty when there is none.
        address: empty until it runs.
        why_not: why there is none, or why the first choice did not start.
    """

    name: str
    how: str = ""
    address: str = ""
    why_not: str = ""

    def __str__(self) -> str:
        what = self.how or f"none; tests that need it are skipped and counted ({self.why_not})"
        return f"{self.name}: {what}"


class Counterparts:
    """All counterparts of one run."""

    def __init__(self, *wanted: Wanted) -> None:
        """Decide, without starting anything."""
        self._servers: dict[str, list[tuple[str, Callable[[], Server]]]] = {}
        self._running = ExitStack()
        self.chosen = {each.name: self._decide(each) for each in wanted}

    def header(self) -> list[str]:
        """One line for each choice."""
        return [f"counterpart {counterpart}" for counterpart in self.chosen.values()]

    def address(self, name: str) -> str:
        """The running counterpart's address; skips the test, or fails it with STRICT=1, where there is none."""
        counterpart = self.chosen[name]
        while not counterpart.address:
            if not self._servers[name]:
                missing(f"no {name} to test with: {counterpart.why_not}")
            counterpart.how, server = self._servers[name].pop(0)
            try:
                counterpart.address = self._running.enter_context(server())
            # Whatever stands in the way of one server, an image that cannot be had say: the next way may work.
            except Exception as error:  # noqa: BLE001
                counterpart.why_not = f"{counterpart.how} did not start: {error}"
        return counterpart.address

    def close(self) -> None:
        """Stop what was started here."""
        self._running.close()

    def _decide(self, wanted: Wanted) -> Counterpart:
        given = os.environ.get(wanted.variable, "")
        servers = self._servers[wanted.name] = []
        if given:
            return Counterpart(wanted.name, f"the one that {wanted.variable} names", given)
        why_not = f"{wanted.variable} is not set; "
        engine = docker_engine()
        if engine is None:
            servers.append(("a container of testcontainers", wanted.container))
        else:
            why_not += f"{engine}; "
        program = wanted.program()
        if isinstance(program, str):
            why_not += program
        else:
            servers.append(program)
        return Counterpart(wanted.name, servers[0][0] if servers else "", "", why_not)


def missing(reason: str) -> NoReturn:
    """End the test: what it needs is not there."""
    if os.environ.get("STRICT") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def docker_engine() -> str | None:
    """None when a Docker engine answers, else why not."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, rest = address.partition("://")
    connection = http.client.HTTPConnection("localhost" if scheme == "unix" else rest, timeout=_ENGINE_ANSWERS_WITHIN_S)
    try:
        if scheme == "unix":
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(_ENGINE_ANSWERS_WITHIN_S)
            connection.sock.connect(rest)
        connection.request("GET", "/_ping")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no Docker engine answers at {address} ({error or type(error).__name__})"
    finally:
        connection.close()
    return None if status == http.client.OK else f"the Docker engine at {address} answers {status}"


def free_port() -> int:
    """A port of the loopback that nobody uses, TCP or UDP, and that is not given twice by this process.

    From below those that the system gives to outgoing connections and to whoever asks for any: one of these may be
    taken before its user binds it, or while that is down between two starts.
    """
    try:
        first_given = int(_GIVEN_BY_THE_SYSTEM.read_text().split()[0])
    except OSError:
        first_given = _USUALLY_FIRST_GIVEN
    while True:
        port = _draw.randrange(_LOWEST_PORT, max(first_given, _LOWEST_PORT + 10_000))
        if port not in _drawn and _is_free(port):
            _drawn.add(port)
            return port


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as held:
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
