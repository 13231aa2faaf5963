"""The one thread of the probes: sends them when the schedule says so, waits for all at once, and serves the own port.

Outcomes go to whoever made it, as they are known. In the air are at most so many; beyond that the schedule waits.
"""

import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from agents.sources.probes_flight import DNS, LOCAL, Flight, Result
from agents.sources.probes_names import Names
from agents.sources.probes_peers import Key, Peer
from agents.sources.probes_port import ProbePort
from agents.sources.probes_schedule import Schedule

log = logging.getLogger(__name__)

MOST_IN_FLIGHT: Final = 512
#: How long those in the air may still come back once the loop is told to stop.
DRAINED_WITHIN_S: Final = 0.3
_LONGEST_WAIT_S: Final = 0.5
_STOPPING_WAIT_S: Final = 0.02
_SHORTEST_WAIT_S: Final = 0.0005


class ProbeLoop:
    """From `start` to `stop`."""

    def __init__(
        self,
        schedule: Schedule,
        names: Names,
        timeout_s: float,
        ended: Callable[[Result], None],
        lost: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`ended` is given each outcome, `lost` a word for each probe without one; both called by the thread."""
        self.failure = ""
        self.counters = {"probes": 0, "held_back": 0, "names_pending": 0}
        self._schedule = schedule
        self._names = names
        self._timeout_s = timeout_s
        self._ended = ended
        self._lost = lost
        self._clock = clock
        self._tls = tls
        self._port: ProbePort | None = None
        self._flights: dict[Flight, None] = {}
        self._turn = threading.Lock()
        self._news: list[Peer] | None = None
        self._paused = self._stopping = self._full = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)

    def start(self, listener: socket.socket | None) -> None:
        """Begin; `listener` stays its owner's to close, after `stop`."""
        if listener is not None:
            self._port = ProbePort(listener, self._selector)
        self._thread.start()

    def set_peers(self, peers: Iterable[Peer]) -> None:
        """Probe these from now on."""
        self._news = list(peers)
        self._wake()

    def pause(self) -> Mapping[Key, float]:
        """Send nothing more until `resume`; when each peer was probed last."""
        with self._turn:
            self._paused = True
            return dict(self._schedule.sent_s)

    def resume(self) -> None:
        """Go on sending."""
        self._paused = False
        self._wake()

    def stop(self) -> None:
        """Send nothing more; returns once those in the air have ended or were given up, and the thread with them."""
        self._stopping = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(DRAINED_WITHIN_S + 2)

    @property
    def port_counters(self) -> Mapping[str, int]:
        """What knocked on the own port."""
        return {} if self._port is None else self._port.counters

    def _wake(self) -> None:
        with suppress(OSError):  # it has been woken often enough, or has ended
            self._waker.send(b".")

    def _run(self) -> None:
        try:
            stop_s = None
            while stop_s is None or (self._flights and self._clock() < stop_s):
                self._step()
                if self._stopping and stop_s is None:
                    stop_s = self._clock() + DRAINED_WITHIN_S
        except Exception as error:  # a source that does not measure must say so
            log.exception("probes have ended")
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._end_all()

    def _step(self) -> None:
        now_s = self._clock()
        news, self._news = self._news, None
        if news is not None:
            with self._turn:
                self._schedule.set_peers(news, now_s)
            for peer in news:  # looked up before their turn comes
                with suppress(LookupError):
                    self._names.address(peer.host, peer.port, self._timeout_s)
        with self._turn:
            sending = not self._paused and not self._stopping
            if sending:
                self._send_due()
        for key, _ in self._selector.select(self._wait_s(sending=sending)):
            now_s = self._clock()
            if isinstance(key.data, Flight):
                self._go_on(key.data, now_s)
            elif isinstance(key.data, ProbePort):
                key.data.ready(key.fileobj, now_s)
            else:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
        now_s = self._clock()
        while self._flights and now_s >= next(iter(self._flights)).began_s + self._timeout_s:
            flight = next(iter(self._flights))
            self._land(flight, flight.late())

    def _wait_s(self, *, sending: bool) -> float:
        now_s = self._clock()
        until_s = now_s + (_STOPPING_WAIT_S if self._stopping else _LONGEST_WAIT_S)
        if self._flights:
            until_s = min(until_s, next(iter(self._flights)).began_s + self._timeout_s)
        if sending and not self._full:
            until_s = min(until_s, self._schedule.next_s())
        if self._port is not None:
            until_s = min(until_s, self._port.tick(now_s))
        return max(_SHORTEST_WAIT_S, until_s - now_s)

    def _send_due(self) -> None:
        while True:
            full = len(self._flights) >= MOST_IN_FLIGHT
            if full and not self._full:
                self.counters["held_back"] += 1
            self._full = full
            peer = None if full else self._schedule.take(self._clock())
            if peer is None:
                return
            self._send(peer)

    def _send(self, peer: Peer) -> None:
        try:
            address = self._names.address(peer.host, peer.port, self._timeout_s)
        except LookupError:
            self.counters["probes"] += 1
            self._ended(Result(peer, DNS))
            return
        if address is None:
            self.counters["names_pending"] += 1
            return
        flight = Flight(peer, self._clock, self._tls)
        result = flight.start(address)
        self.counters["probes"] += 1
        if result is None and flight.socket is not None:
            self._flights[flight] = None
            self._selector.register(flight.socket, flight.wants, flight)
        elif result is not None:
            flight.close()
            self._tell(result)

    def _go_on(self, flight: Flight, now_s: float) -> None:
        wanted = flight.wants
        result = flight.ready(now_s)
        if result is not None:
            self._land(flight, result)
        elif flight.wants != wanted and flight.socket is not None:
            self._selector.modify(flight.socket, flight.wants, flight)

    def _land(self, flight: Flight, result: Result) -> None:
        del self._flights[flight]
        if flight.socket is not None:
            self._selector.unregister(flight.socket)
        flight.close()
        self._tell(result)

    def _tell(self, result: Result) -> None:
        if result.outcome == LOCAL:
            self._lost("probes_local")
        else:
            self._ended(result)

    def _end_all(self) -> None:
        for flight in self._flights:
            flight.close()
            self._lost("probes_stopped")
        self._flights.clear()
        if self._port is not None:
            self._port.close()
        self._selector.close()
        self._woken.close()
        self._waker.close()
