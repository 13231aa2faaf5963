"""When which peer is probed: never two probes closer than the rate allows, nor one peer twice within its interval.

Both hold whatever happens: lists that change, loops that come late, settings taken over from an earlier schedule. What
is late is not made up for: the rate stays, intervals grow. Peers are spread over the interval by a seed, and each
interval is up to a tenth longer than it must be, so that hosts fall out of step with each other and with what happens
every ten seconds.
"""

import heapq
import math
import random
from collections.abc import Iterable, Mapping
from typing import Final

from agents.sources.probes_peers import Key, Peer

_JITTER: Final = 0.1


class Schedule:
    """Of one agent; times are seconds of any clock that only goes forward."""

    def __init__(self, interval_s: float, max_per_s: float, seed: str) -> None:
        """`seed`: the same one makes the same schedule."""
        self._interval_s = interval_s
        self._gap_s = 1.0 / max_per_s
        self._random = random.Random(seed)
        self._peers: dict[Key, Peer] = {}
        self._due: list[tuple[float, Key]] = []
        self._sent_s: dict[Key, float] = {}
        self._free_s = -math.inf

    @property
    def every_s(self) -> float:
        """How often each peer is probed: its interval, or longer where the rate does not suffice for so many."""
        return max(self._interval_s, len(self._peers) * self._gap_s)

    @property
    def sent_s(self) -> Mapping[Key, float]:
        """When each peer was probed last, for a schedule that takes over."""
        return self._sent_s

    def go_on_from(self, sent_s: Mapping[Key, float]) -> None:
        """These were probed then, by an earlier schedule."""
        self._sent_s |= sent_s
        self._free_s = max([self._free_s, *(at_s + self._gap_s for at_s in sent_s.values())])

    def set_peers(self, peers: Iterable[Peer], now_s: float) -> None:
        """Probe these from now on; those that stay keep their turn."""
        self._peers = {peer.key: peer for peer in peers}
        every_s = self.every_s
        self._due = [entry for entry in self._due if entry[1] in self._peers]
        waiting = {key for _, key in self._due}
        for key in self._peers:
            if key not in waiting:
                first_s = now_s + self._random.uniform(0, every_s)
                self._due.append((max(first_s, self._sent_s.get(key, -math.inf) + every_s), key))
        heapq.heapify(self._due)
        self._forget(now_s)

    def next_s(self) -> float:
        """When there is something to send; infinity without peers."""
        return max(self._due[0][0], self._free_s) if self._due else math.inf

    def take(self, now_s: float) -> Peer | None:
        """A peer to be probed now; it counts as probed."""
        if not self._due or now_s < self.next_s():
            return None
        _, key = heapq.heappop(self._due)
        self._sent_s[key] = now_s
        self._free_s = now_s + self._gap_s
        heapq.heappush(self._due, (now_s + self.every_s * (1 + self._random.uniform(0, _JITTER)), key))
        return self._peers[key]

    def _forget(self, now_s: float) -> None:
        """One that is named again soon must still wait for its interval; one that is not need not be remembered."""
        oldest_s = now_s - self._interval_s
        self._sent_s = {key: at_s for key, at_s in self._sent_s.items() if key in self._peers or at_s > oldest_s}
