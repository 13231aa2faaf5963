"""Moves frames from the spool to the transport, oldest first, and lets go of them once they are durable there.

A frame may be published twice, after a failure or a restart, but always with the same bytes, so the collector knows
it. No more frames are under way than a collector keeps gaps open for: were one of them to arrive late, it fits.
Once the backlog is more than goes at once, live frames go first, and the backlog by its allowance (catch_up.py). No
more of it is under way than is let through in a second, so that on a slow line, too, live frames wait for little.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Final

from agents.catch_up import AT_ONCE_BYTES, Allowance, Outage
from agents.hand_over import HandedFrame, Lane
from agents.spool import Spool
from wire.errors import TransportError, TransportFullError
from wire.transport import Publisher

log = logging.getLogger(__name__)

MAX_UNDER_WAY: Final = 64
# Neither lane may take all the places.
_LANE_UNDER_WAY: Final = 48
FIRST_RETRY_S: Final = 0.2
LONGEST_RETRY_S: Final = 30.0
FULL_RETRY_S: Final = 0.5
ACKNOWLEDGE_TIMEOUT_S: Final = 60.0


class Uplink:
    """The way from one spool to one publisher."""

    def __init__(
        self,
        spool: Spool,
        publisher: Publisher,
        clock: Callable[[], float] = time.monotonic,
        *,
        catch_up_bytes_per_s: int = 0,
    ) -> None:
        """`clock` gives seconds; `catch_up_bytes_per_s` caps the backlog, 0 does not."""
        self.up = True
        self.failures = 0
        self.frames_published = 0
        self.bytes_published = 0
        self.bytes_by_kind: Counter[str] = Counter()
        self._spool = spool
        self._publisher = publisher
        self._clock = clock
        self._random = random.Random()  # jitter: agents of one fleet must not come back all at once
        self._allowance = Allowance(catch_up_bytes_per_s, clock)
        self._outage = Outage(clock)
        self._under_way: set[int] = set()
        self._backlog_under_way: dict[int, int] = {}  # bytes by id of those that are of the backlog
        self._durable: set[int] = set()
        self._told: set[str] = set()
        self._last_heard_s = clock()
        self._retry_s = FIRST_RETRY_S
        self._retry_at_s = clock()

    def configure(self, catch_up_bytes_per_s: int) -> None:
        """Cap the backlog anew from now on."""
        self._allowance = Allowance(catch_up_bytes_per_s, self._clock)

    def left_behind(self) -> bool:
        """Whether an outage is over that left more live frames than go at once: time for a new incarnation."""
        behind = self._outage.left_behind(self._spool.bytes - self._spool.backlog_bytes)
        return behind and self.up

    def step(self, timeout_s: float = 0.0) -> None:
        """Collect acknowledgements, hand over what there is room for; waits at most about `timeout_s`.

        Raises:
            SpoolWriteError: the spool cannot be written now; nothing is lost, frames may be sent once more.
        """
        if not self._spool.frames or (self.up and not self._held):  # what waits else is stuck, or held back here
            self._outage.nothing_waits()
        try:
            self._collect(0.0)
            if self._clock() >= self._retry_at_s:
                self._publish()
                self._collect(timeout_s)
        except TransportError as error:
            self._back_off(error)

    def drain(self, timeout_s: float) -> None:
        """Hand over as much as fits into `timeout_s`; ends early when nothing is left or the transport is down.

        It is tried once in any case: a machine that has just paused is no reason to leave all for the next start.
        """
        deadline_s = self._clock() + timeout_s
        self._retry_at_s = self._clock()
        while self._spool.frames:
            published = self.frames_published
            self.step(min(0.05, max(0.0, deadline_s - self._clock())))
            if (now_s := self._clock()) < self._retry_at_s or now_s >= deadline_s:
                return
            if self.frames_published == published and not self._under_way:
                return  # what is left is stuck

    def _publish(self) -> None:
        if self._spool.frames <= len(self._held) or len(self._held) >= MAX_UNDER_WAY:
            return
        if not self.up and self._under_way:  # whether it is back shows in what was handed over last
            return
        at_most = inf if self.up and not self.left_behind() else AT_ONCE_BYTES
        try:
            if self._spool.backlog_bytes <= min(AT_ONCE_BYTES, self._allowance.left()):
                self._send(Lane.BOTH, MAX_UNDER_WAY, at_most)
            else:
                self._send(Lane.LIVE, _LANE_UNDER_WAY - (len(self._held) - len(self._backlog_under_way)), at_most)
                unanswered = sum(self._backlog_under_way.values())
                left = min(at_most, self._allowance.left(), self._allowance.most - unanswered)
                self._send(Lane.BACKLOG, _LANE_UNDER_WAY - len(self._backlog_under_way), left)
        except TransportFullError as error:
            self._retry_at_s = self._clock() + FULL_RETRY_S
            if self.up:
                log.warning("transport full, frames stay in the spool frames=%d error=%s", self._spool.frames, error)
            self.up = False

    @property
    def _held(self) -> set[int]:
        """Frames with the transport: on their way, or durable and not yet out of the spool."""
        return self._under_way | self._durable

    def _send(self, lane: Lane, places: int, max_bytes: float) -> None:
        limit = min(places, MAX_UNDER_WAY - len(self._held))
        if limit <= 0 or max_bytes <= 0:
            return
        for frame in self._spool.hand_over(limit, self._held, self._publisher.partitions, lane, max_bytes):
            self._publisher.publish(frame.partition, frame.id, frame.payload)
            if not self._under_way:
                self._last_heard_s = self._clock()
            self._under_way.add(frame.id)
            self._count(frame)

    def _count(self, frame: HandedFrame) -> None:
        self.frames_published += 1
        self.bytes_published += len(frame.payload)
        self.bytes_by_kind[frame.kind] += len(frame.payload)
        if frame.backlog:
            self._allowance.spend(len(frame.payload))
            self._backlog_under_way[frame.id] = len(frame.payload)

    def _collect(self, timeout_s: float) -> None:
        if self._under_way:
            durable = self._publisher.acknowledged(timeout_s)
            if durable:
                self._came_through()
            self._durable.update(durable)
            self._under_way.difference_update(durable)
            if self._under_way and self._clock() - self._last_heard_s > ACKNOWLEDGE_TIMEOUT_S:
                raise TransportError(f"{len(self._under_way)} frames not acknowledged in {ACKNOWLEDGE_TIMEOUT_S:.0f} s")
        if self._durable:
            self._spool.acknowledge(sorted(self._durable))
            self._durable.clear()
            self._keep_of_backlog(self._under_way)

    def _keep_of_backlog(self, ids: set[int]) -> None:
        self._backlog_under_way = {one: size for one, size in self._backlog_under_way.items() if one in ids}

    def _came_through(self) -> None:
        self._outage.came_through()
        self._last_heard_s = self._clock()
        self._retry_s = FIRST_RETRY_S
        if not self.up and self._clock() >= self._retry_at_s:
            log.info("uplink up spooled=%d", self._spool.frames)
            self.up = True
            self._told.clear()

    def _back_off(self, error: TransportError) -> None:
        """What was under way may or may not have arrived: it will be published again."""
        self._under_way.clear()
        self._keep_of_backlog(self._durable)
        self.failures += 1
        wait_s = self._retry_s * self._random.uniform(0.5, 1.0)
        self._retry_at_s = self._clock() + wait_s
        self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        if str(error) not in self._told:  # each reason once: the first to be known is often not the best
            self._told.add(str(error))
            log.warning("uplink down retry_s=%.1f spooled=%d error=%s", wait_s, self._spool.frames, error)
        self.up = False
