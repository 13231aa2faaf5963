"""Addresses of the names of peers, looked up beside the probes: a resolver may take many seconds.

A name is looked up when it is first wanted and again every minute; until then, its address from before is used. One
that cannot be found fails as a peer does that cannot be reached, until a later look-up finds it.
"""

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agents.sources.probes_flight import Address

KEPT_S: Final = 60.0
AGAIN_S: Final = 10.0
_THREADS: Final = 4
_MOST_NAMES: Final = 20_000

Lookup = Callable[[str], Address]


def look_up(host: str) -> Address:
    """The first address that the resolver gives; OSError or UnicodeError where it gives none."""
    family, _, _, _, at = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    return family, at


@dataclass(slots=True)
class _Known:
    asked_s: float
    asking: bool = True
    address: Address | None = None
    failed: bool = False
    due_s: float = 0.0


class Names:
    """Those of one source; `address` is called by one thread."""

    def __init__(self, look_up: Lookup = look_up, clock: Callable[[], float] = time.monotonic) -> None:
        """No thread runs before a name is asked for."""
        self._look_up = look_up
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def address(self, host: str, port: int, patience_s: float) -> Address | None:
        """Where to connect; None as long as the first look-up lasts, but for `patience_s` at most.

        Raises:
            LookupError: the name has no address that is known.
        """
        try:
            bare = ipaddress.ip_address(host)
        except ValueError:
            return self._of_name(host, port, patience_s)
        return (socket.AF_INET6 if bare.version == 6 else socket.AF_INET), (host, port)

    def close(self) -> None:
        """Look up no more; a look-up that lasts is left alone."""
        for _ in self._threads:
            self._wanted.put(None)
        self._threads.clear()

    def _of_name(self, host: str, port: int, patience_s: float) -> Address | None:
        now_s = self._clock()
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _MOST_NAMES:
                self._known.clear()
            known = self._known[host] = _Known(now_s)
            self._ask(host)
        elif not known.asking and now_s >= known.due_s:
            known.asked_s, known.asking = now_s, True
            self._ask(host)
        if known.failed or (known.address is None and now_s >= known.asked_s + patience_s):
            raise LookupError(host)
        return None if known.address is None else _with_port(known.address, port)

    def _ask(self, host: str) -> None:
        if len(self._threads) < min(_THREADS, len(self._known)):
            thread = threading.Thread(target=self._run, name="probe-names", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._wanted.put(host)

    def _run(self) -> None:
        while (host := self._wanted.get()) is not None:
            known = self._known.get(host)
            if known is None:
                continue
            try:
                known.address, known.failed = self._look_up(host), False
            except (OSError, UnicodeError):
                known.failed = True
            known.due_s = self._clock() + (AGAIN_S if known.failed else KEPT_S)
            known.asking = False


def _with_port(address: Address, port: int) -> Address:
    family, at = address
    rest: tuple[Any, ...] = at[2:]
    return family, (at[0], port, *rest)
