"""Moves frames from the spool to the transport, oldest first, and lets go of them once they are durable there.

A frame may be published twice, after a failure or a restart, but always with the same bytes, so the collector knows
it. No more frames are under way than a collector keeps gaps open for: were one of them to arrive late, it fits.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import Final

from agents.spool import Spool
from wire.errors import TransportError, TransportFullError
from wire.transport import Publisher

log = logging.getLogger(__name__)

MAX_UNDER_WAY: Final = 64
FIRST_RETRY_S: Final = 0.2
LONGEST_RETRY_S: Final = 30.0
FULL_RETRY_S: Final = 0.5
ACKNOWLEDGE_TIMEOUT_S: Final = 60.0


class Uplink:
    """The way from one spool to one publisher."""

    def __init__(self, spool: Spool, publisher: Publisher, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self.up = True
        self.failures = 0
        self.frames_published = 0
        self.bytes_published = 0
        self._spool = spool
        self._publisher = publisher
        self._clock = clock
        self._random = random.Random()  # jitter: agents of one fleet must not come back all at once
        self._under_way: set[int] = set()
        self._durable: set[int] = set()
        self._told: set[str] = set()
        self._last_heard_s = clock()
        self._retry_s = FIRST_RETRY_S
        self._retry_at_s = clock()

    def step(self, timeout_s: float = 0.0) -> None:
        """Collect acknowledgements, hand over what there is room for; waits at most about `timeout_s`.

        Raises:
            SpoolWriteError: the spool cannot be written now; nothing is lost, frames may be sent once more.
        """
        try:
            self._collect(0.0)
            if self._clock() >= self._retry_at_s:
                self._publish()
                self._collect(timeout_s)
        except TransportError as error:
            self._back_off(error)

    def drain(self, timeout_s: float) -> None:
        """Hand over as much as fits into `timeout_s`; ends early when nothing is left or the transport is down."""
        deadline_s = self._clock() + timeout_s
        self._retry_at_s = self._clock()
        while self._spool.frames and self._clock() < deadline_s:
            published = self.frames_published
            self.step(min(0.05, max(0.0, deadline_s - self._clock())))
            if self._clock() < self._retry_at_s:
                return
            if self.frames_published == published and not self._under_way:
                return  # what is left is stuck

    def _publish(self) -> None:
        held = self._under_way | self._durable
        if self._spool.frames <= len(held) or len(held) >= MAX_UNDER_WAY:
            return
        try:
            for frame in self._spool.hand_over(MAX_UNDER_WAY - len(held), held, self._publisher.partitions):
                self._publisher.publish(frame.partition, frame.id, frame.payload)
                if not self._under_way:
                    self._last_heard_s = self._clock()
                self._under_way.add(frame.id)
                self.frames_published += 1
                self.bytes_published += len(frame.payload)
        except TransportFullError as error:
            self._retry_at_s = self._clock() + FULL_RETRY_S
            if self.up:
                log.warning("transport full, frames stay in the spool frames=%d error=%s", self._spool.frames, error)
            self.up = False

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

    def _came_through(self) -> None:
        self._last_heard_s = self._clock()
        self._retry_s = FIRST_RETRY_S
        if not self.up and self._clock() >= self._retry_at_s:
            log.info("uplink up spooled=%d", self._spool.frames)
            self.up = True
            self._told.clear()

    def _back_off(self, error: TransportError) -> None:
        """What was under way may or may not have arrived: it will be published again."""
        self._under_way.clear()
        self.failures += 1
        wait_s = self._retry_s * self._random.uniform(0.5, 1.0)
        self._retry_at_s = self._clock() + wait_s
        self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        if str(error) not in self._told:  # each reason once: the first to be known is often not the best
            self._told.add(str(error))
            log.warning("uplink down retry_s=%.1f spooled=%d error=%s", wait_s, self._spool.frames, error)
        self.up = False
