"""Round trips to peers, as in Pingmesh: a connect or a GET to each every so often; failures are records, too.

Peers are those that the configuration names and those that the API chooses among the agents of the fleet. Probes are
sent by a thread of their own (probes_loop.py); what waits for the agent is bounded, and what finds no room is lost in
its second, so that coverage tells.
"""

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from agents.config import AgentConfig
from agents.errors import SourceError
from agents.sources.authorities import trusting
from agents.sources.configs import ProbesConfig
from agents.sources.probes_api import Asking, ChosenPeers, own_places
from agents.sources.probes_flight import OK, OUTCOMES, Result
from agents.sources.probes_loop import ProbeLoop
from agents.sources.probes_names import Lookup, Names, look_up
from agents.sources.probes_peers import Key, Peer, peer_of, unique
from agents.sources.probes_port import listening_socket
from agents.sources.probes_schedule import Schedule
from agents.sources.rounds import Rounds
from agents.sources.source import Batch, Lost, Source
from agents.sources.streams import PEER_PROBES
from pipeline.schema import HOST_COLUMN, Schema, polars_schema

MOST_WAITING: Final = 65_536
_MOST_LOST_SECONDS: Final = 1024
_SECOND_NS: Final = 10**9
_REFRESH_JITTER: Final = 0.1
_NO_KNOCKS: Final = {"knocks": 0, "knocks_answered": 0, "knocks_cut": 0, "knocks_held_back": 0}
Row = tuple[object, ...]


class ProbesSource:
    """The stream peer_probes."""

    name: Final = "probes"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(
        self,
        config: ProbesConfig,
        agent: AgentConfig,
        *,
        client: Callable[[AgentConfig], Asking] | None = None,
        look_up: Lookup = look_up,
    ) -> None:
        """Nothing is sent or listened to before `open`.

        Raises:
            SourceError: peers are to be chosen, and no API is named.
        """
        if config.choose and not agent.plan_url:
            raise SourceError("probes source: choose asks the API, and agent.plan_url names none; set it")
        self._config = config
        self._agent = agent
        self._types = polars_schema({name: kind for name, kind in PEER_PROBES.items() if name != HOST_COLUMN})
        self._chosen = ChosenPeers(config, agent, client or _client)
        self._look_up = look_up
        self._rounds: Rounds | None = None
        self._loop: ProbeLoop | None = None
        self._names: Names | None = None
        self._listener: socket.socket | None = None
        self._before: ProbesSource | None = None
        self._sent_s: Mapping[Key, float] = {}
        self._peers: list[Peer] = []
        self._given: tuple[Peer, ...] = ()
        self._peer_count = 0
        self._lock = threading.Lock()
        self._waiting: deque[Row] = deque()
        self._lost: dict[tuple[int, str], int] = {}
        self._counters = {f"outcome_{outcome}": 0 for outcome in OUTCOMES}
        self._counters |= {"queue_full": 0, "probes_local": 0, "probes_stopped": 0}
        self._ended_counters: dict[str, int] = {}

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {"peer_probes": PEER_PROBES}

    @property
    def announced(self) -> str:
        """HOST:PORT at which peers find this agent."""
        return self._chosen.announced if self._loop is not None else ""

    @property
    def depends_on(self) -> object:
        """What of the agent's own configuration this source was made with: who it is, and whom it asks."""
        agent = self._agent
        return agent.agent_id, agent.plan_url, agent.plan_ca_path, agent.api_key, agent.api_key_path

    def take_over(self, before: Source) -> None:
        """Go on where this one is, which is still open: the port with who waits at it, and when peers were probed.

        Else a reload would refuse the peers that knock just then, and probe everybody anew.
        """
        if not isinstance(before, ProbesSource) or before._loop is None:
            return
        self._before = before
        self._sent_s = before._loop.pause()
        self._chosen.go_on_from(before._chosen)
        if before._listener is not None and before._config.listen == self._config.listen:
            self._listener = before._listener.dup()

    def open(self, position: bytes | None) -> None:
        """Listen, and begin to probe whom the configuration names; the API is asked with the first poll."""
        del position
        config = self._config
        try:
            if config.listen and self._listener is None:
                self._listener = listening_socket(config.listen)
            self._chosen.port = None if self._listener is None else self._listener.getsockname()[1]
            is_own = own_places(config, self._agent)
            tls = _trusting(config)
        except SourceError:
            self.close()
            raise
        schedule = Schedule(config.interval_s, config.max_per_s, seed=self._agent.agent_id)
        schedule.go_on_from(self._sent_s)
        self._names = Names(self._look_up)
        self._loop = ProbeLoop(schedule, self._names, config.timeout_s, self._ended, self._count_lost, tls=tls)
        self._peers = [peer for peer in map(peer_of, config.peers) if not is_own(peer)]
        self._give_peers()
        self._loop.start(self._listener)
        self._rounds = Rounds("probe-peers", self._chosen.refresh, config.refresh_s, jitter=_REFRESH_JITTER)

    def poll(self) -> list[Batch]:
        """The probes whose outcome became known since the last poll; asks the API when that is due.

        Raises:
            SourceError: no more probes are sent, for a reason that nobody thought of.
        """
        self._before = None
        if self._rounds is not None:
            self._rounds.tick()
        if self._loop is not None:
            if self._loop.failure:
                raise SourceError(f"probes have ended: {self._loop.failure}; reload or restart the agent")
            if self._chosen.peers is not self._given:
                self._give_peers()
        with self._lock:
            rows, self._waiting = self._waiting, deque()
            lost, self._lost = self._lost, {}
        if not rows and not lost:
            return []
        told = tuple(Lost(second * _SECOND_NS, count, reason) for (second, reason), count in lost.items())
        return [Batch("peer_probes", pl.DataFrame(list(rows), schema=self._types, orient="row"), told)]

    def position(self) -> bytes | None:
        """None: the past cannot be probed."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: a record has the time at which it was put where the poll finds it."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Probes and their outcomes, lists of peers, who knocked, and what was lost, by reason."""
        running = self._ended_counters or {"probes": 0, "held_back": 0, "names_pending": 0, **_NO_KNOCKS}
        if self._loop is not None:
            running = {**_NO_KNOCKS, **self._loop.counters, **self._loop.port_counters}
        failed = {"rounds_failed": 0 if self._rounds is None else self._rounds.failures}
        return {**running, **self._counters, **self._chosen.counters, **self._chosen.bad, **failed}

    def missing(self) -> Mapping[str, str]:
        """Peers that are not known, an address that cannot be announced, and a rate that does not suffice."""
        found = dict(self._chosen.missing)
        peers, config = self._peer_count, self._config
        if peers > config.max_per_s * config.interval_s:
            found["rate"] = (
                f"{peers} peers at max_per_s, {config.max_per_s:g}, are probed every {peers / config.max_per_s:.0f} s "
                f"instead of every {config.interval_s:g} s"
            )
        return found

    def close(self) -> None:
        """Wait a moment for probes in the air, and stop listening; what came can still be polled."""
        before, self._before = self._before, None
        if before is not None and before._loop is not None:
            before._loop.resume()
        rounds, self._rounds = self._rounds, None
        if rounds is not None:
            rounds.close(0)
        loop = self._loop
        if loop is not None:
            self._sent_s = loop.pause()
            loop.stop()
            self._ended_counters = {**_NO_KNOCKS, **loop.counters, **loop.port_counters}
        self._loop = None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        names, self._names = self._names, None
        if names is not None:
            names.close()

    def _give_peers(self) -> None:
        """Configured ones come first; where both name one, the API's labels count."""
        self._given = self._chosen.peers
        peers = unique([*self._peers, *self._given])[: self._config.max_peers]
        self._peer_count = len(peers)
        if self._loop is not None:
            self._loop.set_peers(peers)

    def _ended(self, result: Result) -> None:
        peer, ok = result.peer, result.outcome == OK
        with self._lock:
            now_ns = time.time_ns()
            self._counters[f"outcome_{result.outcome}"] += 1
            if len(self._waiting) >= MOST_WAITING:
                self._lose(now_ns, "queue_full")
                return
            self._waiting.append(
                (
                    now_ns,
                    peer.name,
                    peer.address,
                    peer.rack,
                    peer.tor,
                    peer.dc,
                    peer.kind,
                    result.outcome,
                    int(ok),
                    int(not ok),
                    result.latency_us,
                    result.connect_us,
                    result.rtt_us,
                    result.syn_retransmits,
                    result.http_status,
                )
            )

    def _count_lost(self, reason: str) -> None:
        with self._lock:
            self._lose(time.time_ns(), reason)

    def _lose(self, now_ns: int, reason: str) -> None:
        self._counters[reason] += 1
        key = now_ns // _SECOND_NS, reason
        if key not in self._lost and len(self._lost) >= _MOST_LOST_SECONDS:
            key = next(reversed(self._lost))
        self._lost[key] = self._lost.get(key, 0) + 1


def _trusting(config: ProbesConfig) -> ssl.SSLContext | None:
    """Whom probes over TLS believe; None where there are none.

    Raises:
        SourceError: the file of authorities cannot be used.
    """
    if not any(peer_of(text).kind == "https" for text in config.peers):
        return None
    try:
        return trusting(config.ca_path)
    except OSError as error:  # also what is no certificate
        raise SourceError(f"ca_path {config.ca_path!r}: {error}; want a PEM file of certificates") from error


def _client(agent: AgentConfig) -> Asking:
    from agents.plan_client import PlanClient  # noqa: PLC0415  # an HTTP client that an agent without it need not hold

    return PlanClient(agent)
